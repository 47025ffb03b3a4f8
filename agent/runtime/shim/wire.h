#pragma once
// Bytes on the shim's socket and in its journal: little-endian integers and
// length-prefixed text, every read checked against what is left. No allocation, no
// exceptions, no dependencies: the shim, the agent and the fuzzers share it.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace keelson::shim {

// Fills a caller's buffer. Past its end nothing is written, but size() goes on
// counting, so that encoding once into nothing tells the room that is needed.
class Writer {
 public:
  Writer(char* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  void u8(uint8_t value) { raw(&value, sizeof value); }
  void u32(uint32_t value) { raw(&value, sizeof value); }
  void i32(int32_t value) { raw(&value, sizeof value); }
  void u64(uint64_t value) { raw(&value, sizeof value); }
  void i64(int64_t value) { raw(&value, sizeof value); }
  void text(std::string_view value) {
    u32(static_cast<uint32_t>(value.size()));
    raw(value.data(), value.size());
  }
  // With a NUL behind it, so that the reader can hand it to the kernel in place.
  void c_string(std::string_view value) {
    u32(static_cast<uint32_t>(value.size()) + 1);
    raw(value.data(), value.size());
    u8(0);
  }

  size_t size() const { return size_; }
  bool fits() const { return size_ <= capacity_; }

 private:
  void raw(const void* data, size_t size) {
    if (size > 0 && size_ <= capacity_ && size <= capacity_ - size_) memcpy(buffer_ + size_, data, size);
    size_ += size;
  }

  char* buffer_;
  size_t capacity_;
  size_t size_ = 0;
};

// Takes a buffer apart. After the first read past its end, and after a malformed
// string, ok() is false and every further value is zero or empty.
class Reader {
 public:
  Reader(const char* data, size_t size) : data_(data), size_(size) {}

  uint8_t u8() { return value<uint8_t>(); }
  uint32_t u32() { return value<uint32_t>(); }
  int32_t i32() { return value<int32_t>(); }
  uint64_t u64() { return value<uint64_t>(); }
  int64_t i64() { return value<int64_t>(); }
  std::string_view text() {
    const uint32_t length = u32();
    const char* start = take(length);
    return start ? std::string_view(start, length) : std::string_view();
  }
  // "" when malformed: no NUL at its end, or one before.
  const char* c_string() {
    const uint32_t length = u32();
    const char* start = take(length);
    if (!start || length == 0 || strnlen(start, length) != length - 1) {
      ok_ = false;
      return "";
    }
    return start;
  }
  // A number of things to follow, each of at least `least` bytes; 0 and not ok()
  // when so many cannot be there or they are more than `limit`.
  uint32_t count(uint32_t limit, size_t least = 1) {
    const uint32_t number = u32();
    if (!ok_ || number > limit || number > size_ / least) {
      ok_ = false;
      return 0;
    }
    return number;
  }

  bool ok() const { return ok_; }
  bool complete() const { return ok_ && size_ == 0; }

 private:
  const char* take(size_t size) {
    if (!ok_ || size > size_) {
      ok_ = false;
      return nullptr;
    }
    const char* start = data_;
    data_ += size;
    size_ -= size;
    return start;
  }
  template <typename T>
  T value() {
    T result{};
    if (const char* start = take(sizeof(T))) memcpy(&result, start, sizeof(T));
    return result;
  }

  const char* data_;
  size_t size_;
  bool ok_ = true;
};

// CRC-32C (Castagnoli), bitwise: for journal records, which are short and rare.
inline uint32_t crc32c(const void* data, size_t size) {
  uint32_t crc = ~0U;
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0x82f63b78U & (0U - (crc & 1U)));
  }
  return ~crc;
}

}  // namespace keelson::shim
