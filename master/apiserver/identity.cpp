#include "master/apiserver/identity.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace keelson::apiserver {

namespace {

template <size_t size>
std::array<uint8_t, size> random_bytes() {
  std::array<uint8_t, size> bytes;
  // getrandom(2): up to 256 bytes come whole, once the kernel's pool is initialised.
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) std::abort();
  return bytes;
}

}  // namespace

std::string new_uid() {
  auto b = random_bytes<16>();
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  std::string text;
  text.reserve(36);
  static constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 0; i < b.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[b[i] >> 4];
    text += kHex[b[i] & 15];
  }
  return text;
}

std::string generated_name(std::string_view base) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";  // no words by accident
  static constexpr size_t kLongest = 63, kSuffix = 5;
  std::string name(base.substr(0, kLongest - kSuffix));
  for (const uint8_t byte : random_bytes<kSuffix>()) name += kAlphabet[byte % kAlphabet.size()];
  return name;
}

api::Time now() { return {.seconds = ::time(nullptr)}; }

}  // namespace keelson::apiserver
