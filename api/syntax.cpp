#include "api/syntax.h"

#include <fmt/core.h>

#include <algorithm>

#include "host/ip.h"

namespace keelson::api::syntax {

namespace {

constexpr size_t kLongestLabel = 63;
constexpr size_t kLongestSubdomain = 253;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower_alnum(char c) { return is_lower(c) || is_digit(c); }
bool is_alnum(char c) { return is_lower_alnum(c) || is_upper(c); }

std::string at_most(size_t length) { return fmt::format("must be no more than {} bytes", length); }

// [a-z0-9]([-a-z0-9]*[a-z0-9])?
bool is_label(std::string_view text) {
  return !text.empty() && is_lower_alnum(text.front()) && is_lower_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_lower_alnum(c) || c == '-'; });
}

// ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
bool is_name_part(std::string_view text) {
  return !text.empty() && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_subdomain(std::string_view text) {
  for (;;) {
    const size_t dot = text.find('.');
    if (!is_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

constexpr std::string_view kQualifiedName =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

void no_backsteps_prefix(std::string_view text, Complaints& complaints) {
  if (text == ".") {
    complaints.emplace_back("must not be '.'");
  } else if (text == "..") {
    complaints.emplace_back("must not be '..'");
  } else if (text.starts_with("..")) {
    complaints.emplace_back("must not start with '..'");
  }
}

}  // namespace

Complaints dns1123_label(std::string_view text) {
  Complaints complaints;
  if (text.size() > kLongestLabel) complaints.push_back(at_most(kLongestLabel));
  if (!is_label(text)) {
    complaints.emplace_back(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
  }
  return complaints;
}

Complaints dns1123_subdomain(std::string_view text) {
  Complaints complaints;
  if (text.size() > kLongestSubdomain) complaints.push_back(at_most(kLongestSubdomain));
  if (!is_subdomain(text)) {
    complaints.emplace_back(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  }
  return complaints;
}

Complaints dns1035_label(std::string_view text) {
  Complaints complaints;
  if (text.size() > kLongestLabel) complaints.push_back(at_most(kLongestLabel));
  if (!is_label(text) || !is_lower(text.front())) {
    complaints.emplace_back(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
        "is '[a-z]([-a-z0-9]*[a-z0-9])?')");
  }
  return complaints;
}

Complaints qualified_name(std::string_view text) {
  Complaints complaints;
  const size_t slash = text.find('/');
  std::string_view name = text;
  if (slash != std::string_view::npos) {
    const std::string_view prefix = text.substr(0, slash);
    name = text.substr(slash + 1);
    if (name.find('/') != std::string_view::npos) {
      return {
          fmt::format("a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. "
                      "'example.com/MyName')",
                      kQualifiedName)};
    }
    if (prefix.empty()) {
      complaints.emplace_back("prefix part must be non-empty");
    } else {
      for (const std::string& complaint : dns1123_subdomain(prefix)) complaints.push_back("prefix part " + complaint);
    }
  }
  if (name.empty()) {
    complaints.emplace_back("name part must be non-empty");
  } else if (name.size() > kLongestLabel) {
    complaints.push_back("name part " + at_most(kLongestLabel));
  }
  if (!is_name_part(name)) complaints.push_back(fmt::format("name part {}", kQualifiedName));
  return complaints;
}

Complaints label_value(std::string_view text) {
  Complaints complaints;
  if (text.size() > kLongestLabel) complaints.push_back(at_most(kLongestLabel));
  if (!text.empty() && !is_name_part(text)) {
    complaints.emplace_back(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
  }
  return complaints;
}

// RFC 6335 section 5.1.
Complaints port_name(std::string_view text) {
  Complaints complaints;
  if (text.size() > 15) complaints.push_back(at_most(15));
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) { return is_lower_alnum(c) || c == '-'; })) {
    complaints.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!std::any_of(text.begin(), text.end(), is_lower)) {
    complaints.emplace_back("must contain at least one letter (a-z)");
  }
  if (text.find("--") != std::string_view::npos) complaints.emplace_back("must not contain consecutive hyphens");
  if (text.starts_with('-') || text.ends_with('-')) complaints.emplace_back("must not begin or end with a hyphen");
  return complaints;
}

Complaints port_number(int64_t port) {
  if (port >= 1 && port <= 65535) return {};
  return {"must be between 1 and 65535, inclusive"};
}

Complaints env_name(std::string_view text) {
  const bool right =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; });
  if (right) return {};
  return {"a valid environment variable name must consist only of printable ASCII characters other than '='"};
}

Complaints config_key(std::string_view text) {
  Complaints complaints;
  if (text.size() > kLongestSubdomain) complaints.push_back(at_most(kLongestSubdomain));
  const auto allowed = [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; };
  if (text.empty() || !std::all_of(text.begin(), text.end(), allowed)) {
    complaints.emplace_back(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
  }
  no_backsteps_prefix(text, complaints);
  return complaints;
}

Complaints http_header_name(std::string_view text) {
  if (!text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '-'; })) return {};
  return {
      "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for "
      "validation is '[-A-Za-z0-9]+')"};
}

Complaints ip_address(std::string_view text) {
  if (host::IpAddress::parse(text)) return {};
  return {"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"};
}

Complaints cidr(std::string_view text) {
  if (text.find('/') != std::string_view::npos && host::Cidr::parse(text)) return {};
  return {"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"};
}

Complaints routable_address(std::string_view text) {
  const auto address = host::IpAddress::parse(text);
  if (!address) return ip_address(text);
  if (address->is_unspecified()) return {"may not be unspecified (0.0.0.0 or ::)"};
  if (address->is_loopback()) return {"may not be in the loopback range (127.0.0.0/8, ::1/128)"};
  if (address->is_link_local()) return {"may not be in the link-local range (169.254.0.0/16, fe80::/10)"};
  if (address->is_multicast()) return {"may not be in the multicast range (224.0.0.0/4, ff00::/8)"};
  return {};
}

Complaints path_below(std::string_view path) {
  if (path.starts_with('/')) return {"must be a relative path"};
  for (;;) {
    const size_t slash = path.find('/');
    if (path.substr(0, slash) == "..") return {"must not contain '..'"};
    if (slash == std::string_view::npos) return {};
    path.remove_prefix(slash + 1);
  }
}

Complaints file_below(std::string_view path) {
  Complaints complaints = path_below(path);
  if (path.starts_with("..") && !path.starts_with("../")) complaints.emplace_back("must not start with '..'");
  return complaints;
}

bool is_ipv6(std::string_view address) {
  const auto parsed = host::IpAddress::parse(address);
  return parsed && !parsed->is_v4();
}

}  // namespace keelson::api::syntax
