#pragma once
// The images of a node on disk: <root-dir>/images. Everything is written under a
// temporary name, synced and renamed; several processes (the agent, keelsonctl) work
// on it at once, under a flock for the moments that change it. A crash leaves nothing
// but staging directories, which the next to come removes.
//
//   layers/<diff_id>/root        an unpacked layer, for overlayfs
//   layers/<diff_id>/layer.json  its size and its opaque directories
//   blobs/sha256/<hex>           configs and manifests (layers' blobs are not kept)
//   refs/<sha256 of name>.json   a name and what it means; its mtime is the last use
//   staging/<id>/                an import or pull under way, flocked by its owner
//   partial/<hex>                what has been downloaded of a blob, to be resumed
//   locks/<diff_id>              one puller at a time per layer
//   lock                         the flock
//
// The directory is 0700: programs in layers keep their setuid bits.
// Blocking; an object may be used by several threads, its methods are const or locked
// on disk.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/images/digest.h"
#include "agent/images/layer_tree.h"
#include "api/cri.h"
#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"

namespace keelson::images {

// What a puller says about an image once its layers are in the store.
struct StagedImage {
  std::vector<std::string> names;
  std::vector<std::string> digests;  // "sha256:…" of index and manifest
  std::string config;                // "sha256:…"
};

// A ref's file, decoded.
struct StoredReference {
  std::string name;                  // "docker.io/library/nginx:1.25"
  std::vector<std::string> digests;  // "sha256:…" of index and manifest
  std::string config;                // "sha256:…"; the image's id
  std::chrono::system_clock::time_point last_use;
  api::ImageInfo image;  // tags and digests are of this reference alone
};

struct Removed {
  std::vector<std::string> references;
  uint64_t layers = 0;
  uint64_t bytes = 0;  // unpacked, of the layers removed
};

// What must stay, whatever is asked: image ids ("sha256:…"), names as a Pod has them
// ("nginx"), or layer directories.
// So must layers that somebody holds locked (LOCK_SH on layers/<diff_id>/root: the shims,
// of their containers), and images of which all layers are.
using InUse = std::set<std::string>;

class ImageDirectory;

// A directory for one import or pull. Destroying it removes what was not committed.
class Staging {
 public:
  Staging(Staging&&) noexcept = default;
  Staging& operator=(Staging&&) noexcept = default;
  ~Staging();

  const host::Fd& directory() const { return directory_; }
  const host::Path& path() const { return path_; }
  // <staging>/<hex> becomes layers/<hex>: opaque directories marked, synced, renamed.
  // One that is there already is success.
  host::Status commit_layer(const Digest& diff_id);
  // Documents, then references. Unavailable when a layer has gone meanwhile (pruned by
  // somebody else): do it again. The digests of what the puller wrote are checked.
  host::Status commit_image(const StagedImage& image);

 private:
  friend class ImageDirectory;
  Staging(const ImageDirectory* owner, host::Path path, host::Fd directory)
      : owner_(owner), path_(std::move(path)), directory_(std::move(directory)) {}
  const ImageDirectory* owner_;  // outlives this
  host::Path path_;
  host::Fd directory_;
};

class ImageDirectory {
 public:
  // Makes what is missing and sweeps what crashes left.
  static host::Result<std::unique_ptr<ImageDirectory>> open(const host::Path& path);

  // All references whose layers are all there. One that cannot be read is left out.
  host::Result<std::vector<StoredReference>> references() const;
  // The same, one element per image: names and digests gathered. Sorted by first tag.
  host::Result<std::vector<api::ImageInfo>> list() const;
  // As api::ImageStore::find; reads the disk each time.
  host::Result<api::ImageInfo> find(const std::string& reference) const;
  // Notes that it was used now.
  void touch(const std::string& name) const;

  // Takes the name away ("sha256:…" takes all names of that image) and then the layers
  // that nothing needs any more. not_found when there is no such name; denied when it is
  // in use.
  host::Result<Removed> remove(const std::string& reference, const InUse& in_use) const;
  // Removes layers that belong to no image, then images that are not in use, the longest
  // unused first, until `enough` says so. Images used after `newest` stay.
  host::Result<Removed> prune(const InUse& in_use, std::chrono::system_clock::time_point newest,
                              const std::function<bool(const Removed&)>& enough) const;

  host::Result<Staging> stage() const;
  // What a new image may take: what is free, less a reserve of 5 % (at most 2 GiB).
  host::Result<std::pair<uint64_t, uint64_t>> room() const;  // bytes, inodes

  const host::Path& path() const { return path_; }
  const host::Fd& descriptor() const { return directory_; }

 private:
  friend class Staging;
  ImageDirectory(host::Path path, host::Fd directory) : path_(std::move(path)), directory_(std::move(directory)) {}
  host::Result<host::Fd> lock() const;
  host::Status sweep() const;
  host::Status load_image(StoredReference& reference) const;
  host::Result<std::vector<StoredReference>> read_references() const;
  host::Result<host::Path> discard(const host::Path& directory) const;
  void empty(const std::vector<host::Path>& trash) const;
  host::Result<std::set<std::string>> held_layers() const;
  host::Status remove_reference(const std::string& name) const;
  host::Status remove_unneeded(const std::vector<StoredReference>& kept, const InUse& in_use, Removed& removed,
                               std::vector<host::Path>& trash) const;

  host::Path path_;
  host::Fd directory_;
};

// The reference among them that a user's name means; nullptr when there is none.
const StoredReference* match(const std::vector<StoredReference>& references, const std::string& parsed_text);
// References to images: names and digests gathered by id.
std::vector<api::ImageInfo> gather(const std::vector<StoredReference>& references);

}  // namespace keelson::images
