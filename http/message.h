#pragma once
// What an HTTP request and response are made of, for the server and the client
// alike. Plain data; any thread.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/error.h"

namespace keelson::http {

// Header fields in the order given; names compare without case (RFC 9110 5.1).
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // Replaces every field of that name.
  void set(std::string name, std::string value);
  // The first of that name; empty when there is none.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// "a=1&b=two+words", decoded; names may repeat.
class Query {
 public:
  Query() = default;
  // Invalid when an escape is malformed.
  static host::Result<Query> parse(std::string_view text);

  void add(std::string name, std::string value) { items_.emplace_back(std::move(name), std::move(value)); }
  // The first of that name; nothing when it is absent. "?follow" is present and empty.
  std::optional<std::string> get(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  // As Go's ParseBool (1 t T TRUE true True …), which Kubernetes uses. Absent: false.
  // Present and empty, as in "?follow": true. Anything else is invalid.
  host::Result<bool> flag(std::string_view name) const;
  // A decimal number of at least 0; nothing when absent.
  host::Result<std::optional<int64_t>> number(std::string_view name) const;

  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

// %XX decoded; '+' stays ('+' means a blank in queries only). Invalid on a malformed escape and on %00.
host::Result<std::string> percent_decode(std::string_view text);
std::string percent_encode(std::string_view text);

// http://host:port/path?query, taken apart.
struct Url {
  bool tls = false;
  std::string host;      // without brackets
  std::string port;      // "80" and "443" filled in
  std::string target;    // path and query, "/" at least
  std::string userinfo;  // "user:password", decoded, may be empty

  // "host", "host:8080", "[::1]:8080", as the Host header wants it.
  std::string authority() const;
};
host::Result<Url> parse_url(std::string_view text);

// The reason phrase of a status code; "Unknown" for what has none.
std::string_view reason_phrase(int status);

}  // namespace keelson::http
