#pragma once
// What the tests of the images room feed it: archives made entry by entry, good and
// hostile, and a scratch directory.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/images/digest.h"
#include "agent/images/puller/stream.h"
#include "host/fd.h"

namespace keelson::images::test {

class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }
  host::Fd open(const std::string& child = ".") const;  // a directory, made when missing

 private:
  std::filesystem::path path_;
};

// A tar in memory. Everything belongs to whoever runs the test, so that no test needs root.
class Tar {
 public:
  Tar& file(const std::string& path, std::string_view content = "x", int mode = 0644);
  Tar& directory(const std::string& path, int mode = 0755);
  Tar& symlink(const std::string& path, const std::string& target);
  Tar& hardlink(const std::string& path, const std::string& target);
  Tar& device(const std::string& path, bool block = false);
  Tar& fifo(const std::string& path);
  Tar& sparse(const std::string& path, uint64_t size);
  Tar& owner(int64_t uid, int64_t gid);                           // of the entry added last
  Tar& xattr(const std::string& name, const std::string& value);  // of the entry added last
  std::string bytes() const;

 private:
  struct Item {
    std::string path, target, content;
    int type = 0, mode = 0644;
    bool hard = false;
    uint64_t size = 0;
    bool sparse = false;
    int64_t uid = -1, gid = -1;
    std::vector<std::pair<std::string, std::string>> xattrs;
  };
  Tar& add(Item item);
  std::vector<Item> items_;
};

std::string gzip(std::string_view plain);
std::string zstd(std::string_view plain);

// Hands out a string, `step` bytes at a time.
class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string text, size_t step = SIZE_MAX) : text_(std::move(text)), step_(step) {}
  host::Result<size_t> read(std::span<char> buffer) override;

 private:
  std::string text_;
  size_t step_, position_ = 0;
};

host::Result<std::string> read_all(ByteSource& source);
std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view content);

// An OCI layout of one image in a directory; returns the manifest's digest.
struct CraftedImage {
  std::vector<std::string> layers = {Tar().file("a", "1").bytes()};  // uncompressed tars
  bool compress = true;
  std::string name = "docker.io/library/crafted:1";
  std::string architecture;      // empty: this machine's
  std::vector<Digest> diff_ids;  // empty: the right ones
  int index_depth = 0;           // indexes between index.json and the manifest
};
Digest write_layout(const std::filesystem::path& directory, const CraftedImage& image);
// All files below a directory as a tar.
std::string tar_of(const std::filesystem::path& directory);

}  // namespace keelson::images::test
