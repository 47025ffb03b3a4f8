#include "api/yaml_scalar.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

namespace keelson::api {

namespace {

constexpr std::string_view kTrue[] = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"};
constexpr std::string_view kFalse[] = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"};
constexpr std::string_view kNull[] = {"", "~", "null", "Null", "NULL"};
constexpr std::string_view kNotFinite[] = {".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF",
                                           "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"};

template <size_t n>
bool one_of(const std::string_view (&words)[n], std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

// 0x1f, 0o17, 0b1, 017 and decimals, as Go's ParseInt with base 0 reads them.
std::optional<std::string> as_integer(std::string_view digits) {
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  int base = 10;
  const auto prefixed = [&](char lower) {
    return digits.size() > 2 && digits[0] == '0' && (digits[1] | 0x20) == lower;
  };
  if (prefixed('x')) base = 16;
  if (prefixed('o')) base = 8;
  if (prefixed('b')) base = 2;
  if (base != 10) {
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
  }
  uint64_t value = 0;
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (negative && value > uint64_t{1} << 63) return std::nullopt;
  return fmt::format("{}{}", negative && value != 0 ? "-" : "", value);
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t first = at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
    return at - first;
  };
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
  const size_t whole = digits();
  size_t fraction = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = digits();
  }
  if (whole + fraction == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

std::optional<ResolvedScalar> as_float(std::string_view text) {
  if (!looks_like_float(text)) return std::nullopt;
  if (text[0] == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  // Go's JSON prints a float that is whole without a fraction, so that it fits an integer field.
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    return ResolvedScalar{Value::Kind::integer, false, fmt::format("{}", static_cast<int64_t>(value))};
  }
  return ResolvedScalar{Value::Kind::real, false, fmt::format("{}", value)};
}

}  // namespace

bool is_not_finite(std::string_view text) { return one_of(kNotFinite, text); }

ResolvedScalar resolve_plain(std::string_view text) {
  if (one_of(kNull, text)) return {Value::Kind::null, false, {}};
  if (one_of(kTrue, text)) return {Value::Kind::boolean, true, {}};
  if (one_of(kFalse, text)) return {Value::Kind::boolean, false, {}};
  const char first = text[0];
  if (first == '+' || first == '-' || first == '.' || std::isdigit(static_cast<unsigned char>(first)) != 0) {
    std::string bare(text);
    std::erase(bare, '_');
    if (auto integer = as_integer(bare)) return {Value::Kind::integer, false, std::move(*integer)};
    if (auto real = as_float(bare)) return std::move(*real);
  }
  return {Value::Kind::string, false, std::string(text)};
}

}  // namespace keelson::api
