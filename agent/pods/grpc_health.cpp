#include "agent/pods/grpc_health.h"

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <utility>

namespace keelson::pods {
namespace {

constexpr size_t kFrameHeader = 9;
constexpr size_t kMaxFrame = 16384;   // we announce no other
constexpr size_t kMaxMessage = 4096;  // a status takes seven bytes
constexpr size_t kMessagePrefix = 5;  // compressed or not, length
enum FrameType : unsigned { kDataFrame = 0, kHeadersFrame = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7 };
constexpr unsigned kAck = 1, kEndStream = 1, kEndHeaders = 4, kPadded = 8;

void put_number(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

uint32_t number_at(std::string_view bytes, size_t at, int size) {
  uint32_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<size_t>(i)]);
  return value;
}

std::string make_frame(unsigned type, unsigned flags, uint32_t stream, std::string_view payload) {
  std::string out;
  put_number(out, payload.size(), 3);
  put_number(out, type, 1);
  put_number(out, flags, 1);
  put_number(out, stream, 4);
  out += payload;
  return out;
}

// An integer of HPACK in the low `bits` of its first byte (RFC 7541, 5.1).
void put_integer(std::string& out, unsigned first, int bits, size_t value) {
  const size_t limit = (1u << bits) - 1;
  if (value < limit) {
    out += static_cast<char>(first | value);
    return;
  }
  out += static_cast<char>(first | limit);
  for (value -= limit; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  out += static_cast<char>(value);
}

void put_text(std::string& out, std::string_view text) {
  put_integer(out, 0, 7, text.size());
  out += text;
}

// A literal header without indexing, its name from the static table (RFC 7541, appendix A).
void put_header(std::string& out, size_t name, std::string_view value) {
  put_integer(out, 0, 4, name);
  put_text(out, value);
}

std::string status_name(uint64_t status) {
  constexpr std::array kNames = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  return status < kNames.size() ? kNames[status] : std::to_string(status);
}

}  // namespace

std::string grpc_health_request(const std::string& authority, const std::string& service) {
  constexpr size_t kAuthority = 1, kPath = 4, kContentType = 31, kUserAgent = 58;
  std::string headers = "\x83\x86";  // :method POST, :scheme http
  put_header(headers, kPath, "/grpc.health.v1.Health/Check");
  put_header(headers, kAuthority, authority);
  put_header(headers, kContentType, "application/grpc");
  put_header(headers, kUserAgent, "kube-probe/1.30");
  put_integer(headers, 0, 4, 0);  // a name that is not in the table
  put_text(headers, "te");
  put_text(headers, "trailers");

  std::string request;  // HealthCheckRequest: 1 service
  if (!service.empty()) {
    request += '\x0a';
    size_t length = service.size();
    for (; length >= 128; length >>= 7) request += static_cast<char>((length & 127) | 128);
    request += static_cast<char>(length);
    request += service;
  }
  std::string message(1, '\0');
  put_number(message, request.size(), 4);
  message += request;
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + make_frame(kSettings, 0, 0, "") +
         make_frame(kHeadersFrame, kEndHeaders, 1, headers) + make_frame(kDataFrame, kEndStream, 1, message);
}

GrpcHealthAnswer::Verdict GrpcHealthAnswer::fail(std::string reason) {
  reason_ = std::move(reason);
  return Verdict::failed;
}

GrpcHealthAnswer::Verdict GrpcHealthAnswer::take(std::string_view bytes, std::string& reply) {
  buffer_ += bytes;
  while (buffer_.size() >= kFrameHeader) {
    const size_t size = number_at(buffer_, 0, 3);
    if (size > kMaxFrame) return fail("the server does not speak HTTP/2");
    if (buffer_.size() < kFrameHeader + size) return Verdict::open;
    const unsigned type = number_at(buffer_, 3, 1);
    const unsigned flags = number_at(buffer_, 4, 1);
    const std::string payload = buffer_.substr(kFrameHeader, size);
    buffer_.erase(0, kFrameHeader + size);
    if (auto verdict = frame(type, flags, payload, reply); verdict != Verdict::open) return verdict;
  }
  return Verdict::open;
}

GrpcHealthAnswer::Verdict GrpcHealthAnswer::frame(unsigned type, unsigned flags, std::string_view payload,
                                                  std::string& reply) {
  switch (type) {
    case kSettings:
      if ((flags & kAck) == 0) reply += make_frame(kSettings, kAck, 0, "");
      return Verdict::open;
    case kPing:
      if ((flags & kAck) == 0) reply += make_frame(kPing, kAck, 0, payload);
      return Verdict::open;
    case kReset:
    case kGoAway:
      return fail("the server refused the call");
    case kHeadersFrame:
      // What they say is not read: a call that went well has a message before its end.
      if ((flags & kEndStream) == 0) return Verdict::open;
      return fail("the server gave no health status: it does not know the service, or has no grpc.health.v1.Health");
    case kDataFrame: {
      size_t padding = 0;
      if ((flags & kPadded) != 0) {
        if (payload.empty()) return fail("a malformed frame");
        padding = number_at(payload, 0, 1);
        payload.remove_prefix(1);
      }
      if (padding > payload.size()) return fail("a malformed frame");
      message_ += payload.substr(0, payload.size() - padding);
      if (message_.size() > kMaxMessage) return fail("the answer is too long");
      return judge();
    }
    default:
      return Verdict::open;
  }
}

GrpcHealthAnswer::Verdict GrpcHealthAnswer::judge() {
  if (message_.size() < kMessagePrefix) return Verdict::open;
  if (message_[0] != 0) return fail("a compressed answer, which was not asked for");
  const size_t size = number_at(message_, 1, 4);
  if (message_.size() - kMessagePrefix < size) return Verdict::open;
  // HealthCheckResponse: 1 status, absent when it is 0.
  const std::string_view body = std::string_view(message_).substr(kMessagePrefix, size);
  const uint64_t status = body.size() == 2 && body[0] == '\x08' ? static_cast<unsigned char>(body[1]) : 0;
  if (status == 1) return Verdict::serving;
  return fail(fmt::format("service unhealthy (responded with \"{}\")", status_name(status)));
}

}  // namespace keelson::pods
