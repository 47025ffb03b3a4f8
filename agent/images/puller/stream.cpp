#include "agent/images/puller/stream.h"

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace keelson::images {
namespace {

using host::Error;
using host::fail;

constexpr size_t kChunk = 256 << 10;
// A zstd frame may ask for a window of any size; 128 MiB is what `zstd --ultra` writes.
constexpr int kZstdWindowLog = 27;

}  // namespace

host::Result<size_t> FileSource::read(std::span<char> buffer) {
  while (true) {
    ssize_t got = ::read(file_.get(), buffer.data(), buffer.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return host::sys_fail("read");
  }
}

host::Result<size_t> HashingSource::read(std::span<char> buffer) {
  auto got = inner_.read(buffer);
  if (!got) return got;
  if (overflowed_ || *got > size_limit_ - size_) {
    overflowed_ = true;  // also when nothing more comes
    return fail(Error::Code::invalid, fmt::format("{} is larger than the {} bytes it may have", what_, size_limit_));
  }
  size_ += *got;
  hash_.update(buffer.data(), *got);
  return got;
}

host::Status HashingSource::drain() {
  std::vector<char> buffer(kChunk);
  while (true) {
    auto got = read(buffer);
    if (!got) return std::unexpected(std::move(got.error()));
    if (*got == 0) return {};
  }
}

struct Decompressor::State {
  enum class Kind { unknown, plain, gzip, zstd };

  ByteSource& inner;
  uint64_t ratio_limit;
  uint64_t ratio_free_bytes;
  Kind kind = Kind::unknown;
  std::vector<char> input = std::vector<char>(kChunk);
  size_t begin = 0, end = 0;  // of what is left in `input`
  bool inner_ended = false;
  bool frame_open = false;  // a gzip member or zstd frame has begun and not ended
  uint64_t bytes_in = 0, bytes_out = 0;
  z_stream gzip{};
  bool gzip_ready = false;
  ZSTD_DStream* zstd = nullptr;

  ~State() {
    if (gzip_ready) inflateEnd(&gzip);
    ZSTD_freeDStream(zstd);
  }

  host::Status fill() {
    if (begin > 0) {
      std::memmove(input.data(), input.data() + begin, end - begin);
      end -= begin;
      begin = 0;
    }
    if (inner_ended || end == input.size()) return {};
    auto got = inner.read(std::span(input).subspan(end));
    if (!got) return std::unexpected(std::move(got.error()));
    if (*got == 0) inner_ended = true;
    end += *got;
    bytes_in += *got;
    return {};
  }

  host::Status detect() {
    while (end - begin < 4 && !inner_ended) {
      if (auto filled = fill(); !filled) return filled;
    }
    auto magic = [&](std::string_view bytes) {
      return end - begin >= bytes.size() && std::memcmp(input.data() + begin, bytes.data(), bytes.size()) == 0;
    };
    if (magic("\x1f\x8b")) {
      kind = Kind::gzip;
      if (inflateInit2(&gzip, 16 + MAX_WBITS) != Z_OK) return fail("zlib: out of memory");
      gzip_ready = true;
    } else if (magic("\x28\xb5\x2f\xfd") || (end - begin >= 4 && (input[begin] & 0xf0) == 0x50 &&
                                             std::memcmp(input.data() + begin + 1, "\x2a\x4d\x18", 3) == 0)) {
      kind = Kind::zstd;
      zstd = ZSTD_createDStream();
      if (!zstd || ZSTD_isError(ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, kZstdWindowLog))) {
        return fail("zstd: out of memory");
      }
    } else {
      kind = Kind::plain;
    }
    return {};
  }

  // One step; may produce nothing although the end has not come.
  host::Result<size_t> step(std::span<char> out) {
    std::span<char> in(input.data() + begin, end - begin);
    if (kind == Kind::plain) {
      size_t size = std::min(in.size(), out.size());
      std::memcpy(out.data(), in.data(), size);
      begin += size;
      return size;
    }
    if (kind == Kind::gzip) {
      if (!frame_open && gzip.total_out + gzip.total_in > 0) inflateReset(&gzip);
      gzip.next_in = reinterpret_cast<Bytef*>(in.data());
      gzip.avail_in = static_cast<uInt>(in.size());
      gzip.next_out = reinterpret_cast<Bytef*>(out.data());
      gzip.avail_out = static_cast<uInt>(std::min(out.size(), kChunk));
      size_t room = gzip.avail_out;
      frame_open = true;
      int code = inflate(&gzip, Z_NO_FLUSH);
      begin = end - gzip.avail_in;
      if (code == Z_STREAM_END) {
        frame_open = false;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return fail(Error::Code::invalid,
                    fmt::format("gzip: the data is damaged: {}", gzip.msg ? gzip.msg : "not gzip"));
      }
      return room - gzip.avail_out;
    }
    ZSTD_inBuffer source{in.data(), in.size(), 0};
    ZSTD_outBuffer target{out.data(), out.size(), 0};
    size_t left = ZSTD_decompressStream(zstd, &target, &source);
    begin += source.pos;
    if (ZSTD_isError(left)) {
      return fail(Error::Code::invalid, fmt::format("zstd: the data is damaged: {}", ZSTD_getErrorName(left)));
    }
    frame_open = left != 0;
    return target.pos;
  }
};

Decompressor::Decompressor(ByteSource& inner, uint64_t ratio_limit, uint64_t ratio_free_bytes)
    : state_(new State{inner, ratio_limit, ratio_free_bytes}) {}
Decompressor::~Decompressor() = default;

host::Result<size_t> Decompressor::read(std::span<char> buffer) {
  State& s = *state_;
  if (s.kind == State::Kind::unknown) {
    if (auto detected = s.detect(); !detected) return std::unexpected(std::move(detected.error()));
  }
  while (!buffer.empty()) {
    bool compressed = s.kind != State::Kind::plain;
    if (s.begin == s.end && !s.inner_ended) {
      if (auto filled = s.fill(); !filled) return std::unexpected(std::move(filled.error()));
    }
    bool starved = s.begin == s.end;
    if (starved && (!compressed || !s.frame_open)) return 0;
    auto got = s.step(buffer);
    if (!got) return got;
    if (*got == 0) {
      if (starved) return fail(Error::Code::invalid, "the compressed data ends too early");
      continue;
    }
    s.bytes_out += *got;
    if (compressed && s.bytes_out > s.ratio_free_bytes && s.bytes_out / s.ratio_limit > s.bytes_in) {
      return fail(Error::Code::invalid,
                  fmt::format("compression bomb: {} bytes became more than {}, the ratio allowed is {}", s.bytes_in,
                              s.bytes_out, s.ratio_limit));
    }
    return got;
  }
  return 0;
}

}  // namespace keelson::images
