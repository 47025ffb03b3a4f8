#include "agent/sources/digest.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <array>
#include <cassert>

namespace keelson::sources {

std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  [[maybe_unused]] const int done = EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  assert(done == 1 && size == 32);
  std::string hex;
  hex.reserve(64);
  for (size_t i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace keelson::sources
