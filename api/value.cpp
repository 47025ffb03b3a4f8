#include "api/value.h"

#include <fmt/core.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <optional>

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

constexpr std::string_view kQuantityRule =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
constexpr size_t kLongestQuantity = 64;

// ±mantissa × 10^exponent10 × 2^exponent2, `inexact` when digits were cut off.
struct Number {
  bool negative = false;
  __int128 mantissa = 0;
  int exponent10 = 0;
  int exponent2 = 0;
  bool inexact = false;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Where the suffix begins; nullopt when the text does not start with a number.
std::optional<size_t> read_digits(std::string_view text, Number& number) {
  constexpr int kSignificant = 19;  // leaves room for 2^60 in 127 bits
  size_t at = 0;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) number.negative = text[at++] == '-';
  bool any = false;
  bool fraction = false;
  int significant = 0;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !fraction)); ++at) {
    if (text[at] == '.') {
      fraction = true;
      continue;
    }
    any = true;
    if (significant == kSignificant) {
      if (text[at] != '0') number.inexact = true;
      if (!fraction) ++number.exponent10;
      continue;
    }
    number.mantissa = number.mantissa * 10 + (text[at] - '0');
    if (number.mantissa != 0) ++significant;
    if (fraction) --number.exponent10;
  }
  if (!any) return std::nullopt;
  return at;
}

bool read_suffix(std::string_view suffix, Number& number) {
  struct Suffix {
    std::string_view text;
    int exponent10;
    int exponent2;
  };
  static constexpr Suffix kSuffixes[] = {{"", 0, 0},    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},
                                         {"k", 3, 0},   {"M", 6, 0},   {"G", 9, 0},   {"T", 12, 0},
                                         {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
                                         {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60}};
  for (const Suffix& known : kSuffixes) {
    if (known.text != suffix) continue;
    number.exponent10 += known.exponent10;
    number.exponent2 = known.exponent2;
    return true;
  }
  if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return false;
  suffix.remove_prefix(1);
  if (suffix[0] == '+') suffix.remove_prefix(1);
  int exponent = 0;
  auto [end, error] = std::from_chars(suffix.data(), suffix.data() + suffix.size(), exponent);
  if (error == std::errc::invalid_argument || end != suffix.data() + suffix.size()) return false;
  if (error == std::errc::result_out_of_range || std::abs(exponent) > 100) exponent = suffix[0] == '-' ? -100 : 100;
  number.exponent10 += exponent;
  return true;
}

std::optional<Number> read_number(std::string_view text) {
  Number number;
  if (text.size() > kLongestQuantity) return std::nullopt;
  auto suffix = read_digits(text, number);
  if (!suffix || !read_suffix(text.substr(*suffix), number)) return std::nullopt;
  return number;
}

// number × 10^scale as an integer, rounded away from zero as Kubernetes does.
int64_t scaled(Number number, int scale) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  __int128 value = number.mantissa << number.exponent2;
  int exponent = number.exponent10 + scale;
  bool inexact = number.inexact;
  for (; exponent < 0 && value != 0; ++exponent) {
    inexact = inexact || value % 10 != 0;
    value /= 10;
  }
  for (; exponent > 0 && value != 0 && value <= kMax; --exponent) value *= 10;
  if (inexact) ++value;
  const int64_t magnitude = value > kMax ? kMax : static_cast<int64_t>(value);
  return number.negative ? -magnitude : magnitude;
}

// Two or four digits at `at`, which moves behind them.
std::optional<int> take_digits(std::string_view text, size_t& at, size_t count) {
  int value = 0;
  if (at + count > text.size()) return std::nullopt;
  for (size_t i = 0; i < count; ++i, ++at) {
    if (!is_digit(text[at])) return std::nullopt;
    value = value * 10 + (text[at] - '0');
  }
  return value;
}

bool take(std::string_view text, size_t& at, char expected) {
  if (at >= text.size() || text[at] != expected) return false;
  ++at;
  return true;
}

// Seconds to add to local time to get UTC.
std::optional<int> take_offset(std::string_view text, size_t& at) {
  if (take(text, at, 'Z') || take(text, at, 'z')) return 0;
  const bool east = take(text, at, '+');
  if (!east && !take(text, at, '-')) return std::nullopt;
  auto hours = take_digits(text, at, 2);
  if (!hours || *hours > 23 || !take(text, at, ':')) return std::nullopt;
  auto minutes = take_digits(text, at, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const int seconds = (*hours * 60 + *minutes) * 60;
  return east ? -seconds : seconds;
}

// RFC 3339 section 5.6; a leap second counts as the second after it.
std::optional<int64_t> read_microseconds(std::string_view text) {
  size_t at = 0;
  auto year = take_digits(text, at, 4);
  if (!year || !take(text, at, '-')) return std::nullopt;
  auto month = take_digits(text, at, 2);
  if (!month || !take(text, at, '-')) return std::nullopt;
  auto day = take_digits(text, at, 2);
  if (!day || (!take(text, at, 'T') && !take(text, at, 't'))) return std::nullopt;
  auto hour = take_digits(text, at, 2);
  if (!hour || *hour > 23 || !take(text, at, ':')) return std::nullopt;
  auto minute = take_digits(text, at, 2);
  if (!minute || *minute > 59 || !take(text, at, ':')) return std::nullopt;
  auto second = take_digits(text, at, 2);
  if (!second || *second > 60) return std::nullopt;
  int64_t micros = 0;
  if (take(text, at, '.')) {
    int64_t unit = 100'000;
    const size_t first = at;
    for (; at < text.size() && is_digit(text[at]); ++at, unit /= 10) micros += unit * (text[at] - '0');
    if (at == first) return std::nullopt;
  }
  auto offset = take_offset(text, at);
  if (!offset || at != text.size()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t seconds = days * 86'400 + int64_t{*hour} * 3'600 + int64_t{*minute} * 60 + *second + *offset;
  return seconds * 1'000'000 + micros;
}

// Towards the past, so that a time before 1970 keeps its second.
int64_t floor_seconds(int64_t microseconds) {
  return microseconds / 1'000'000 - (microseconds % 1'000'000 < 0 ? 1 : 0);
}

// "2026-01-02T03:04:05"; years beyond what RFC 3339 can write are clamped.
std::string date_and_time(int64_t seconds) {
  constexpr int64_t kFirst = -62'167'219'200;  // 0000-01-01
  constexpr int64_t kLast = 253'402'300'799;   // 9999-12-31T23:59:59
  seconds = std::min(std::max(seconds, kFirst), kLast);
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto rest = (time - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), rest / 3'600,
                     rest / 60 % 60, rest % 60);
}

}  // namespace

int64_t Quantity::value() const {
  auto number = read_number(text);
  return number ? scaled(*number, 0) : 0;
}

int64_t Quantity::milli_value() const {
  auto number = read_number(text);
  return number ? scaled(*number, 3) : 0;
}

Result<Quantity> parse_quantity(std::string_view text) {
  if (!read_number(text)) return fail(Error::Code::invalid, std::string(kQuantityRule));
  return Quantity{std::string(text)};
}

Result<Time> parse_time(std::string_view text) {
  auto micros = read_microseconds(text);
  if (!micros) return fail(Error::Code::invalid, fmt::format("not an RFC 3339 time: \"{}\"", text));
  return Time{floor_seconds(*micros)};
}

Result<MicroTime> parse_micro_time(std::string_view text) {
  auto micros = read_microseconds(text);
  if (!micros) return fail(Error::Code::invalid, fmt::format("not an RFC 3339 time: \"{}\"", text));
  return MicroTime{*micros};
}

std::string to_string(Time time) { return date_and_time(time.seconds) + "Z"; }

std::string to_string(MicroTime time) {
  const int64_t seconds = floor_seconds(time.microseconds);
  return fmt::format("{}.{:06}Z", date_and_time(seconds), time.microseconds - seconds * 1'000'000);
}

}  // namespace keelson::api
