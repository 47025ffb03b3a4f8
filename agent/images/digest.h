#pragma once
// Content digests. Only sha256: it is what registries and tools write; another
// algorithm is refused by name.

#include <compare>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "host/error.h"

namespace keelson::images {

struct Digest {
  std::string hex;  // 64 lower-case hexadecimal digits; safe as a file name
  auto operator<=>(const Digest&) const = default;
  std::string text() const { return "sha256:" + hex; }
};

// "sha256:<hex>"; code invalid otherwise.
host::Result<Digest> parse_digest(std::string_view text);

// One running hash. Pure computation; one thread at a time.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(const void* data, size_t size);
  Digest finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::string_view content);

}  // namespace keelson::images
