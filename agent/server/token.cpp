#include "agent/server/token.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <openssl/crypto.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>

namespace keelson::server {

namespace {

constexpr size_t kRandomBytes = 32;
constexpr size_t kShortest = 32;
constexpr size_t kLongest = 4096;

host::Result<std::string> make_token(const host::Path& file) {
  unsigned char random[kRandomBytes];
  if (getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) return host::sys_fail("getrandom");
  std::string token;
  for (const auto byte : random) token += fmt::format("{:02x}", byte);
  if (auto made = host::make_directories(file.parent_path(), 0755); !made) return std::unexpected(made.error());
  if (auto written = host::write_file_atomically(file, token + "\n", 0600); !written) {
    return std::unexpected(written.error());
  }
  return token;
}

}  // namespace

host::Result<std::string> load_token(const host::Path& file) {
  auto text = host::read_file(file, kLongest);
  if (!text) {
    if (text.error().code == host::Error::Code::not_found) return make_token(file);
    return std::unexpected(text.error());
  }
  struct stat status;
  if (stat(file.c_str(), &status) != 0) return host::sys_fail(file.string());
  if ((status.st_mode & 0077) != 0) {
    return host::fail(host::Error::Code::denied,
                      fmt::format("{}: mode {:04o} lets others read the token; chmod 600 it (and replace it, if others "
                                  "may have read it: delete it and restart the agent)",
                                  file.string(), status.st_mode & 07777));
  }
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ' || text->back() == '\r')) text->pop_back();
  if (text->size() < kShortest) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("{}: a token of at least {} characters is needed; delete the file and restart the "
                                  "agent for a new one",
                                  file.string(), kShortest));
  }
  return std::move(*text);
}

bool bears_token(std::string_view authorization, std::string_view token) {
  static constexpr std::string_view kScheme = "Bearer ";
  const auto is_same_letter = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  if (token.empty() || !std::ranges::equal(authorization.substr(0, kScheme.size()), kScheme, is_same_letter)) {
    return false;
  }
  authorization.remove_prefix(kScheme.size());
  // The length is no secret: every token we make has the same.
  return authorization.size() == token.size() && CRYPTO_memcmp(authorization.data(), token.data(), token.size()) == 0;
}

}  // namespace keelson::server
