#pragma once
// Bytes on their way from a registry or file to a directory: sources that are
// pulled from, one wrapped around the other. One thread at a time; blocking.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "agent/images/digest.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills the front of `buffer` and says how much; 0 is the end. After an error
  // the source is spent.
  virtual host::Result<size_t> read(std::span<char> buffer) = 0;
  // Its beginning was kept from an earlier attempt, and may be damaged.
  virtual bool resumed() const { return false; }
};

// A file from its current position. Owns the descriptor.
class FileSource : public ByteSource {
 public:
  explicit FileSource(host::Fd file) : file_(std::move(file)) {}
  host::Result<size_t> read(std::span<char> buffer) override;

 private:
  host::Fd file_;
};

// Passes on and takes the sha256 and the size of what went through. Borrows `inner`.
class HashingSource : public ByteSource {
 public:
  // More than `size_limit` bytes is an error (invalid) that calls the content `what`.
  HashingSource(ByteSource& inner, uint64_t size_limit, std::string what)
      : inner_(inner), size_limit_(size_limit), what_(std::move(what)) {}
  host::Result<size_t> read(std::span<char> buffer) override;
  // Reads on to the end, so that the hash covers everything.
  host::Status drain();
  uint64_t size() const { return size_; }
  Digest finish() { return hash_.finish(); }  // once, after the end

 private:
  ByteSource& inner_;
  uint64_t size_limit_;
  bool overflowed_ = false;
  std::string what_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

// Decompresses gzip (several members too) and zstd, known by their magic bytes, and
// passes anything else on. More than `ratio_limit` bytes out per byte in, once
// `ratio_free_bytes` have come out, is an error (invalid): a compression bomb.
// Borrows `inner`.
class Decompressor : public ByteSource {
 public:
  Decompressor(ByteSource& inner, uint64_t ratio_limit, uint64_t ratio_free_bytes);
  ~Decompressor() override;
  host::Result<size_t> read(std::span<char> buffer) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace keelson::images
