#pragma once
// The scalar types of the Kubernetes API that JSON has no word for.
//
// Plain values, no I/O, safe on every thread. Parsing and printing live in
// value.cpp; the syntax is Kubernetes' own (API concepts; "Quantity" in the
// reference of the common definitions).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "host/error.h"

namespace keelson::api {

// An optional struct kept out of line, with the semantics of a value: copying
// copies the content, comparing compares it. Most of a Pod's structs are
// absent; an empty Box costs one pointer.
template <typename T>
class Box {
 public:
  Box() = default;
  Box(T value) : value_(std::make_unique<T>(std::move(value))) {}  // NOLINT(google-explicit-constructor)
  Box(const Box& other) : value_(other.value_ ? std::make_unique<T>(*other.value_) : nullptr) {}
  Box(Box&&) noexcept = default;
  Box& operator=(const Box& other) {
    if (this != &other) value_ = other.value_ ? std::make_unique<T>(*other.value_) : nullptr;
    return *this;
  }
  Box& operator=(Box&&) noexcept = default;
  ~Box() = default;

  explicit operator bool() const { return value_ != nullptr; }
  bool has_value() const { return value_ != nullptr; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return value_.get(); }
  const T* operator->() const { return value_.get(); }
  T& emplace() {
    value_ = std::make_unique<T>();
    return *value_;
  }
  void reset() { value_.reset(); }

  bool operator==(const Box& other) const {
    return value_ && other.value_ ? *value_ == *other.value_ : !value_ && !other.value_;
  }

 private:
  std::unique_ptr<T> value_;
};

// Base64 in JSON, raw here.
struct Bytes {
  std::string data;
  bool operator==(const Bytes&) const = default;
};

// Any JSON value, kept as its text.
struct RawJson {
  std::string text;
  bool operator==(const RawJson&) const = default;
};

// RFC 3339 in JSON; seconds since the epoch here.
struct Time {
  int64_t seconds = 0;
  bool operator==(const Time&) const = default;
};

// RFC 3339 with six decimals in JSON; microseconds since the epoch here.
struct MicroTime {
  int64_t microseconds = 0;
  bool operator==(const MicroTime&) const = default;
};

// A port by number or by name.
struct IntOrString {
  bool is_string = false;
  int32_t number = 0;
  std::string text;
  bool operator==(const IntOrString&) const = default;
};

// "500m", "64Mi", "2". Keeps the text as written, so that what was read is what
// is written back; arithmetic goes through the two readings below.
struct Quantity {
  std::string text;
  bool operator==(const Quantity&) const = default;

  // The value in units (bytes, cores, counts), rounded up; in thousandths,
  // rounded up (cpu). Text that is no quantity reads as 0: the validator has
  // refused it before anyone asks. Saturates at INT64_MAX.
  int64_t value() const;
  int64_t milli_value() const;
};

host::Result<Quantity> parse_quantity(std::string_view text);
host::Result<Time> parse_time(std::string_view text);
host::Result<MicroTime> parse_micro_time(std::string_view text);
std::string to_string(Time time);
std::string to_string(MicroTime time);

}  // namespace keelson::api
