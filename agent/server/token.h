#pragma once
// The bearer token of the agent's API. Blocking (a small file); start-up only.

#include <string>
#include <string_view>

#include "host/error.h"
#include "host/file.h"

namespace keelson::server {

// Reads the file, or makes it: 256 bits from getrandom(2), in hex, mode 0600, written
// atomically. Denied when others than its owner may read an existing one; invalid when
// that holds fewer than 32 characters.
host::Result<std::string> load_token(const host::Path& file);

// Whether an Authorization field's value is "Bearer <token>"; takes the same time
// wherever they differ.
bool bears_token(std::string_view authorization, std::string_view token);

}  // namespace keelson::server
