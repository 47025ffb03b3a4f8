#pragma once
// What JSON and YAML texts have in common: a tree of values with line numbers.
// The readers make it within limits, decode.cpp turns it into objects.
//
// A Tree owns all memory of its nodes; they live and die with it. A node may hang
// in several places (YAML aliases), never below itself. Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::api {

inline constexpr size_t kMaxText = size_t{4} << 20;  // bytes of one text
inline constexpr int kMaxDepth = 64;                 // lists and objects within each other
inline constexpr size_t kMaxValues = 200'000;        // in one text, aliases expanded

struct Value {
  enum class Kind : uint8_t { null, boolean, integer, real, string, list, object };
  struct Member {
    std::string_view key;  // empty in a list
    int line = 0;
    const Value* value = nullptr;
  };

  Kind kind = Kind::null;
  bool flag = false;                // of a boolean
  uint8_t height = 0;               // lists and objects from here down; at most kMaxDepth
  int line = 0;                     // 1-based
  std::string_view text;            // of a string or number, as decimal JSON would write it
  std::span<const Member> members;  // of a list or object; keys may repeat

  const Value* find(std::string_view key) const;
  std::string_view string(std::string_view key) const;  // "" when there is no such string
};

struct SyntaxError {
  int line = 0;
  std::string message;
};

class Tree {
 public:
  Value* make(Value::Kind kind, int line);
  std::string_view keep(std::string_view text);
  void fill(Value* parent, std::span<const Value::Member> members);
  // Counts values made or copied; false when there are too many.
  bool count(size_t values = 1) { return (values_ += values) <= kMaxValues; }

 private:
  std::pmr::monotonic_buffer_resource memory_{4 << 10};
  size_t values_ = 0;
};

// One JSON value at the start of `text`; `used` is how much of it was read.
// Keys that repeat are kept; RFC 8259 otherwise, UTF-8 checked.
std::expected<const Value*, SyntaxError> read_json(std::string_view text, Tree& tree, int first_line, size_t& used);

// The documents of a YAML stream, resolved as Kubernetes does (YAML 1.1: yes, on
// and 0644 are no strings; aliases and merge keys work). On an error `documents`
// holds those before it.
std::expected<void, SyntaxError> read_yaml(std::string_view text, Tree& tree, int first_line,
                                           std::vector<const Value*>& documents);

// Compact JSON of a tree; `budget` counts values down, and cuts the text at 0.
void write_json(const Value& node, std::string& out, size_t& budget);
// "text" with its quotes; what is no UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);
void append_json_string(std::string& out, std::string_view text);

// How many bytes from the start on are UTF-8 (RFC 3629).
size_t utf8_prefix(std::string_view text);
bool is_utf8(std::string_view text);

}  // namespace keelson::api
