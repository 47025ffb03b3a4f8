#include "api/findings.h"

#include <fmt/core.h>

#include "api/tree.h"

namespace keelson::api {

void Findings::required(std::string field, std::string_view detail) {
  add(std::move(field), detail.empty() ? "Required value" : fmt::format("Required value: {}", detail));
}

void Findings::invalid(std::string field, std::string_view value, std::string_view detail) {
  add(std::move(field), fmt::format("Invalid value: {}: {}", json_string(value), detail));
}

void Findings::invalid(std::string field, int64_t value, std::string_view detail) {
  add(std::move(field), fmt::format("Invalid value: {}: {}", value, detail));
}

void Findings::invalid_raw(std::string field, std::string_view value, std::string_view detail) {
  add(std::move(field), fmt::format("Invalid value: {}: {}", value, detail));
}

void Findings::invalid(const std::string& field, std::string_view value, const std::vector<std::string>& complaints) {
  for (const std::string& complaint : complaints) invalid(field, value, std::string_view(complaint));
}

void Findings::unsupported(std::string field, std::string_view value, std::span<const std::string_view> supported) {
  std::string list;
  for (const std::string_view word : supported) {
    if (!list.empty()) list += ", ";
    list += json_string(word);
  }
  add(std::move(field), fmt::format("Unsupported value: {}: supported values: {}", json_string(value), list));
}

void Findings::duplicate(std::string field, std::string_view value) {
  add(std::move(field), fmt::format("Duplicate value: {}", json_string(value)));
}

void Findings::not_found(std::string field, std::string_view value) {
  add(std::move(field), fmt::format("Not found: {}", json_string(value)));
}

void Findings::forbidden(std::string field, std::string_view detail) {
  add(std::move(field), fmt::format("Forbidden: {}", detail));
}

void Findings::too_long(std::string field, size_t most_bytes) {
  add(std::move(field), fmt::format("Too long: may not be more than {} bytes", most_bytes));
}

void Findings::below(std::string_view path, Findings inner) {
  for (FieldError& error : inner.errors_) {
    add(error.field.empty() ? std::string(path) : fmt::format("{}.{}", path, error.field), std::move(error.message));
  }
}

void Findings::too_many(std::string field, size_t count, size_t most) {
  add(std::move(field), fmt::format("Too many: {}: must have at most {} items", count, most));
}

std::string item(std::string_view path, size_t index) { return fmt::format("{}[{}]", path, index); }
std::string entry(std::string_view path, std::string_view key) { return fmt::format("{}[{}]", path, key); }

}  // namespace keelson::api
