#include "agent/images/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cassert>

namespace keelson::images {

host::Result<Digest> parse_digest(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("digest \"{}\" is not sha256, the only kind supported", text.substr(0, 150)));
  }
  std::string_view hex = text.substr(kPrefix.size());
  if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != hex.npos) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("digest \"{}\" does not have 64 lower-case hexadecimal digits", text.substr(0, 150)));
  }
  return Digest{std::string(hex)};
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  [[maybe_unused]] int done = EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
  assert(done == 1);
}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(const void* data, size_t size) { EVP_DigestUpdate(state_->context, data, size); }

Digest Sha256::finish() {
  std::array<unsigned char, 32> raw{};
  EVP_DigestFinal_ex(state_->context, raw.data(), nullptr);
  Digest digest;
  digest.hex.reserve(64);
  for (unsigned char byte : raw) fmt::format_to(std::back_inserter(digest.hex), "{:02x}", byte);
  return digest;
}

Digest sha256(std::string_view content) {
  Sha256 hash;
  hash.update(content.data(), content.size());
  return hash.finish();
}

}  // namespace keelson::images
