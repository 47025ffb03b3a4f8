#pragma once
// SHA-256, for identities and for seals of files. Pure.

#include <string>
#include <string_view>

namespace keelson::sources {

std::string sha256_hex(std::string_view text);

}  // namespace keelson::sources
