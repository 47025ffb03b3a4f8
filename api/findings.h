#pragma once
// Collects what a validator finds, in the words of Kubernetes' field errors.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/validate.h"

namespace keelson::api {

class Findings {
 public:
  void required(std::string field, std::string_view detail = {});
  void invalid(std::string field, std::string_view value, std::string_view detail);
  void invalid(std::string field, int64_t value, std::string_view detail);
  // The value as it is to be shown: a list or map in Go's words.
  void invalid_raw(std::string field, std::string_view value, std::string_view detail);
  // One error for each complaint about the value.
  void invalid(const std::string& field, std::string_view value, const std::vector<std::string>& complaints);
  void unsupported(std::string field, std::string_view value, std::span<const std::string_view> supported);
  void unsupported(std::string field, std::string_view value, std::initializer_list<std::string_view> supported) {
    unsupported(std::move(field), value, std::span(supported.begin(), supported.size()));
  }
  void duplicate(std::string field, std::string_view value);
  void not_found(std::string field, std::string_view value);
  void forbidden(std::string field, std::string_view detail);
  void too_long(std::string field, size_t most_bytes);

  // What another found, with its paths below `path`.
  void below(std::string_view path, Findings inner);
  void too_many(std::string field, size_t count, size_t most);

  std::vector<FieldError> take() { return std::move(errors_); }

 private:
  void add(std::string field, std::string message) { errors_.push_back({std::move(field), std::move(message)}); }

  std::vector<FieldError> errors_;
};

// "path[3]" and "path[key]".
std::string item(std::string_view path, size_t index);
std::string entry(std::string_view path, std::string_view key);

}  // namespace keelson::api
