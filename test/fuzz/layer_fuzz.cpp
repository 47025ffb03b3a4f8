// A layer's blob, unpacked: decompression, tar, the tree on disk. Nothing may leave the directory.
#include <fcntl.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "agent/images/puller/unpack.h"

using namespace keelson;

namespace {

class Bytes : public images::ByteSource {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  host::Result<size_t> read(std::span<char> buffer) override {
    const size_t size = std::min(buffer.size(), left_);
    memcpy(buffer.data(), data_, size);
    data_ += size;
    left_ -= size;
    return size;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

struct Scratch {
  std::filesystem::path path;
  Scratch() {
    char name[] = "/dev/shm/keelson-fuzz-XXXXXX";
    if (!mkdtemp(name)) std::abort();
    path = name;
  }
  ~Scratch() { std::filesystem::remove_all(path); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Scratch scratch;  // one for the whole run: removed at exit
  const auto root = scratch.path / "jail" / "root";
  std::filesystem::create_directories(root);
  host::Fd directory(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) std::abort();
  images::Budget budget{1 << 20, 256};
  Bytes blob(data, size);
  const images::ExpectedLayer expected{
      .blob = {},
      .blob_size = 0,
      .diff_id = *images::parse_digest("sha256:0000000000000000000000000000000000000000000000000000000000000000")};
  // No input has that digest: it is refused, at the end at the latest.
  if (images::unpack_layer(blob, expected, std::move(directory), budget,
                           {.blob_bytes = 1 << 20, .ratio = 16, .ratio_free = 1 << 20}))
    std::abort();
  size_t beside = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path / "jail")) beside += entry.path() != root;
  if (beside != 0) std::abort();
  std::filesystem::remove_all(root);
  return 0;
}
