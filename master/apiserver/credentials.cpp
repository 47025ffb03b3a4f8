#include "master/apiserver/credentials.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace keelson::apiserver {

namespace {

std::string digest(std::string_view token) {
  std::string out(32, '\0');
  unsigned int size = 0;
  EVP_Digest(token.data(), token.size(), reinterpret_cast<unsigned char*>(out.data()), &size, EVP_sha256(), nullptr);
  return out;
}

std::string_view without_blanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// The fields of a line of CSV (RFC 4180): quoted ones may hold commas, and "" for a quote.
host::Result<std::vector<std::string>> fields_of(std::string_view line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (quoted) return host::fail(host::Error::Code::invalid, "a quotation mark is not closed");
  for (auto& field : fields) field = without_blanks(field);
  return fields;
}

void add_groups(std::string_view text, std::vector<std::string>& groups) {
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    if (const auto group = without_blanks(text.substr(0, comma)); !group.empty()) groups.emplace_back(group);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
}

User authenticated(std::string name, std::vector<std::string> groups) {
  User user{.name = std::move(name), .groups = std::move(groups)};
  if (!user.in_group(kAuthenticated)) user.groups.emplace_back(kAuthenticated);
  return user;
}

// What a load balancer's probe and `kubectl version` ask without credentials.
bool open_to_all(const http::Request& head) {
  if (head.method != "GET" && head.method != "HEAD") return false;
  if (head.segments.empty()) return false;
  const std::string& first = head.segments.front();
  if (first == "version") return head.segments.size() == 1;
  return first == "healthz" || first == "livez" || first == "readyz";
}

}  // namespace

host::Status Credentials::read_token_file(std::string_view text, std::string_view file_name) {
  Tokens tokens;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = without_blanks(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with('#')) continue;
    const auto invalid = [&](std::string_view why) {
      return host::fail(host::Error::Code::invalid,
                        fmt::format("{}:{}: {}; a line is token,user,uid,\"group1,group2\"", file_name, number, why));
    };
    auto fields = fields_of(line);
    if (!fields) return invalid(fields.error().message);
    if (fields->size() < 3) return invalid("fewer than three fields");
    if (fields->at(0).empty()) return invalid("the token is empty");
    if (fields->at(1).empty()) return invalid("the user is empty");
    std::vector<std::string> groups;
    // Also without the quotation marks, as people write it.
    for (size_t i = 3; i < fields->size(); ++i) add_groups(fields->at(i), groups);
    const auto [at, added] = tokens.emplace(digest(fields->at(0)), authenticated(fields->at(1), std::move(groups)));
    if (!added) return invalid("the token has been given before");
  }
  file_tokens_ = std::move(tokens);
  return {};
}

host::Result<std::string> Credentials::issue_token(User user) {
  std::array<unsigned char, 32> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) return host::fail("no random bytes for a token");
  std::string token;
  for (const unsigned char byte : random) token += fmt::format("{:02x}", byte);
  own_tokens_.insert_or_assign(digest(token), authenticated(std::move(user.name), std::move(user.groups)));
  return token;
}

std::optional<User> Credentials::authenticate(const http::Request& head) {
  if (head.certificate && !head.certificate->common_name.empty()) {
    return authenticated(head.certificate->common_name, head.certificate->organizations);
  }
  const std::string_view field = head.headers.get("Authorization");
  if (field.empty()) {
    if (!open_to_all(head)) return std::nullopt;
    return User{.name = std::string(kAnonymous), .groups = {std::string(kUnauthenticated)}};
  }
  // "Bearer", in any case (RFC 9110 11.1), and the token.
  const size_t space = field.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  std::string scheme(field.substr(0, space));
  std::ranges::transform(scheme, scheme.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view token = without_blanks(field.substr(space + 1));
  if (scheme != "bearer" || token.empty()) return std::nullopt;
  const std::string key = digest(token);
  for (const Tokens* tokens : {&own_tokens_, &file_tokens_}) {
    if (const auto found = tokens->find(key); found != tokens->end()) return found->second;
  }
  return std::nullopt;
}

}  // namespace keelson::apiserver
