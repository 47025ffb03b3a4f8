#include "agent/images/reference.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace keelson::images {
namespace {

using host::Error;
using host::fail;

constexpr std::string_view kDefaultRegistry = "docker.io";
constexpr size_t kMaxRepositoryName = 255;
constexpr size_t kMaxTag = 128;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_lower(c) || is_upper(c) || is_digit(c); }

std::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(Error::Code::invalid,
              fmt::format("couldn't parse image name \"{}\": invalid reference format: {}", text.substr(0, 300), why));
}

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
bool valid_component(std::string_view text) {
  if (text.empty()) return false;
  size_t i = 0;
  while (true) {
    size_t start = i;
    while (i < text.size() && (is_lower(text[i]) || is_digit(text[i]))) ++i;
    if (i == start) return false;
    if (i == text.size()) return true;
    if (text[i] == '.') {
      ++i;
    } else if (text[i] == '_') {
      ++i;
      if (i < text.size() && text[i] == '_') ++i;
    } else if (text[i] == '-') {
      while (i < text.size() && text[i] == '-') ++i;
    } else {
      return false;
    }
  }
}

bool valid_host_label(std::string_view text) {
  return !text.empty() && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '-'; });
}

bool valid_registry(std::string_view text) {
  std::string_view port;
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == text.npos) return false;
    in6_addr address{};
    if (inet_pton(AF_INET6, std::string(text.substr(1, end - 1)).c_str(), &address) != 1) return false;
    port = text.substr(end + 1);
    if (port.empty()) return true;
  } else {
    size_t colon = text.find(':');
    std::string_view name = text.substr(0, colon);
    while (true) {
      size_t dot = name.find('.');
      if (!valid_host_label(name.substr(0, dot))) return false;
      if (dot == name.npos) break;
      name.remove_prefix(dot + 1);
    }
    if (colon == text.npos) return true;
    port = text.substr(colon);
  }
  return port.size() >= 2 && port.size() <= 6 && port.front() == ':' && std::ranges::all_of(port.substr(1), is_digit);
}

bool valid_tag(std::string_view text) {
  if (text.empty() || text.size() > kMaxTag || !(is_alnum(text.front()) || text.front() == '_')) return false;
  return std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

}  // namespace

std::string Reference::name() const { return registry + "/" + repository; }

std::string Reference::text() const {
  if (digest) return name() + "@" + digest->text();
  return name() + ":" + tag;
}

std::string Reference::version() const { return digest ? digest->text() : tag; }

host::Result<Reference> parse_reference(std::string_view text) {
  if (text.empty()) return bad(text, "the name is empty");
  if (text.size() > 1024) return bad(text, "the name is too long");
  Reference reference;
  std::string_view rest = text;
  if (size_t at = rest.find('@'); at != rest.npos) {
    auto digest = parse_digest(rest.substr(at + 1));
    if (!digest) return bad(text, digest.error().message);
    reference.digest = *digest;
    rest = rest.substr(0, at);
  }
  size_t slash = rest.find('/');
  std::string_view first = rest.substr(0, slash);
  bool has_registry = slash != rest.npos && (first.find_first_of(".:") != first.npos || first == "localhost" ||
                                             std::ranges::any_of(first, is_upper));
  if (has_registry) {
    reference.registry = first;
    rest = rest.substr(slash + 1);
  } else {
    reference.registry = kDefaultRegistry;
  }
  if (reference.registry == "index.docker.io") reference.registry = kDefaultRegistry;
  if (!valid_registry(reference.registry)) return bad(text, fmt::format("\"{}\" is no host name", first));

  if (size_t colon = rest.find(':'); colon != rest.npos) {
    reference.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!valid_tag(reference.tag)) return bad(text, fmt::format("\"{}\" is no tag", reference.tag));
  }
  if (!has_registry && reference.tag.empty() && !reference.digest && rest.size() == 64 &&
      rest.find_first_not_of("0123456789abcdef") == rest.npos) {
    return bad(text, "a bare image id is no name");
  }
  if (reference.registry == kDefaultRegistry && rest.find('/') == rest.npos) {
    reference.repository = "library/" + std::string(rest);
  } else {
    reference.repository = rest;
  }
  if (std::ranges::any_of(rest, is_upper)) return bad(text, "repository name must be lowercase");
  std::string_view path = reference.repository;
  while (true) {
    size_t end = path.find('/');
    if (!valid_component(path.substr(0, end))) {
      return bad(text, fmt::format("\"{}\" is no repository name", reference.repository));
    }
    if (end == path.npos) break;
    path.remove_prefix(end + 1);
  }
  if (reference.name().size() > kMaxRepositoryName)
    return bad(text, "repository name must not be more than 255 characters");
  if (reference.tag.empty() && !reference.digest) reference.tag = "latest";
  return reference;
}

std::string traffic_host(std::string_view registry) {
  return registry == kDefaultRegistry ? "registry-1.docker.io" : std::string(registry);
}

std::string host_without_port(std::string_view registry) {
  if (registry.starts_with('[')) return std::string(registry.substr(1, registry.find(']') - 1));
  return std::string(registry.substr(0, registry.find(':')));
}

bool is_loopback(std::string_view registry) {
  std::string host = host_without_port(registry);
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

}  // namespace keelson::images
