#pragma once
// One layer's directory, filled entry by entry from an archive that may be hostile.
//
// Every path is resolved by openat2(2) beneath the directory, through no symbolic
// link, no magic link and no mount; nothing existing is ever opened for writing. So
// the worst entry can only harm the layer that it came in. Whiteouts (OCI image-spec,
// layer.md) become overlayfs' (Documentation/filesystems/overlayfs.rst): a removed
// name is a character device 0/0; directories that hide everything below them are
// listed, because marking them (trusted.overlay.opaque) takes CAP_SYS_ADMIN, which
// the puller does not have: whoever commits the layer marks them (mark_opaque).
//
// Blocking; one thread at a time. After an error the tree is to be thrown away.

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

// What may still be used up, shared by the layers that are unpacked side by side.
struct Budget {
  std::atomic<int64_t> bytes;  // of content, holes of sparse files included
  std::atomic<int64_t> inodes;
};

struct Entry {
  enum class Type { file, directory, symlink, hardlink, character_device, block_device, fifo, other };
  Type type = Type::other;
  std::string path;
  std::string target;  // of a symlink or hardlink
  mode_t mode = 0;
  int64_t uid = 0, gid = 0;
  timespec mtime{};
  uint64_t size = 0;                                        // of a file, holes included
  std::vector<std::pair<std::string, std::string>> xattrs;  // only user.* and security.capability are kept
};

// Writes `data` at `offset` of the file that is being added.
using WriteAt = std::function<host::Status(std::span<const char> data, uint64_t offset)>;
// Hands a file's content to the function it is given.
using Content = std::function<host::Status(const WriteAt&)>;

class LayerTree {
 public:
  // Borrows `budget`; owns the descriptor of an empty directory.
  LayerTree(host::Fd root, Budget& budget) : root_(std::move(root)), budget_(budget) {}

  // Places one entry; a later one of the same name replaces it, as tar does. Refused
  // (invalid) are paths that are absolute, leave the layer, go through a symbolic
  // link or are too long; devices and FIFOs, but for those below /dev, which are
  // left out: every container gets a /dev of its own.
  host::Status add(const Entry& entry, const Content& content);
  // After the last entry: the times of directories.
  host::Status finish();

  // Directories that hide what lower layers have in them; relative paths.
  const std::set<std::string>& opaque() const { return opaque_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t inodes() const { return inodes_; }

 private:
  using Parts = std::vector<std::string>;
  host::Result<Parts> split(std::string_view path, std::string_view what) const;
  host::Result<int> open_parent(const Parts& parts, bool create);
  host::Result<host::Fd> enter(int directory, const std::string& name, const std::string& path, bool create);
  host::Status clear(int parent, const std::string& name, const std::string& path, bool keep_directory, bool& kept,
                     bool& was_whiteout);
  host::Status whiteout(const Parts& parts);
  host::Status add_root(const Entry& entry);
  host::Status add_file(int parent, const std::string& name, const Entry& entry, const Content& content);
  host::Status add_directory(int parent, const std::string& name, const std::string& path, const Entry& entry,
                             bool exists);
  host::Status add_hardlink(const Parts& parts, const Entry& entry);
  host::Status take_inode();

  host::Fd root_;
  Budget& budget_;
  Parts cached_path_;  // of cached_parent_
  host::Fd cached_parent_;
  std::map<std::string, timespec> directory_times_;
  std::set<std::string> opaque_;
  uint64_t bytes_ = 0, inodes_ = 0;
};

// Marks the directories as opaque for overlayfs; for the process that commits.
host::Status mark_opaque(const host::Fd& root, const std::vector<std::string>& directories);

// A name directly in a directory, or a relative path, opened beneath it through no
// symbolic link (openat2). O_CLOEXEC is added.
host::Result<host::Fd> open_beneath(int directory, const std::string& path, int flags);

}  // namespace keelson::images
