// JSON text to a tree: the only file that knows RapidJSON.
#ifdef __SSE2__
#define RAPIDJSON_SSE2  // skips the plain part of strings in steps; it does not look at their encoding, so we do
#endif
#include <fmt/core.h>
#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <span>
#include <utility>

#include "api/tree.h"

namespace keelson::api {

namespace {

constexpr size_t kPadding = 16;
constexpr size_t kStack = 8 << 10;  // of the reader, to begin with: a long string and what is around it

// The lines of a text, asked for from its beginning to its end.
class Lines {
 public:
  Lines(std::string_view text, int first_line) : text_(text), line_(first_line) { find_end(0); }

  int at(size_t offset) {
    while (end_ < offset) {
      ++line_;
      find_end(end_ + 1);
    }
    return line_;
  }

 private:
  void find_end(size_t from) { end_ = text_.find('\n', from); }

  std::string_view text_;
  size_t end_ = 0;  // of the line: its newline, or npos
  int line_;
};

// Takes RapidJSON's events; returns false to stop it, with the reason in `error`.
class JsonHandler {
 public:
  JsonHandler(Tree& tree, const rapidjson::StringStream& stream, Lines& lines)
      : tree_(tree), stream_(stream), lines_(lines) {}

  bool Null() { return add(tree_.make(Value::Kind::null, line())); }
  bool Bool(bool value) {
    Value* node = tree_.make(Value::Kind::boolean, line());
    node->flag = value;
    return add(node);
  }
  bool RawNumber(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view number(text, length);
    const bool real = number.find_first_of(".eE") != std::string_view::npos;
    return scalar(real ? Value::Kind::real : Value::Kind::integer, number);
  }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    return scalar(Value::Kind::string, std::string_view(text, length));
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    open_.back().key = tree_.keep(std::string_view(text, length));
    open_.back().key_line = line();
    return true;
  }
  bool StartObject() { return open(Value::Kind::object); }
  bool StartArray() { return open(Value::Kind::list); }
  bool EndObject(rapidjson::SizeType) { return close(); }
  bool EndArray(rapidjson::SizeType) { return close(); }

  // All numbers arrive as text.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(int64_t) { return false; }
  bool Uint64(uint64_t) { return false; }
  bool Double(double) { return false; }

  const Value* root = nullptr;
  std::string error;

 private:
  struct Open {
    Value* node = nullptr;
    size_t first = 0;  // of its members
    std::string_view key;
    int key_line = 0;
  };

  int line() { return lines_.at(stream_.Tell()); }

  bool scalar(Value::Kind kind, std::string_view text) {
    Value* node = tree_.make(kind, line());
    node->text = tree_.keep(text);
    return add(node);
  }

  bool open(Value::Kind kind) {
    if (open_.size() == static_cast<size_t>(kMaxDepth)) {
      error = fmt::format("nested more than {} levels deep", kMaxDepth);
      return false;
    }
    open_.push_back({.node = tree_.make(kind, line()), .first = members_.size()});
    return true;
  }

  bool close() {
    const Open closed = open_.back();
    open_.pop_back();
    tree_.fill(closed.node, std::span(members_).subspan(closed.first));
    members_.resize(closed.first);
    return add(closed.node);
  }

  bool add(const Value* node) {
    if (!tree_.count()) {
      error = fmt::format("more than {} values", kMaxValues);
      return false;
    }
    if (open_.empty()) {
      root = node;
      return true;
    }
    const Open& parent = open_.back();
    const bool list = parent.node->kind == Value::Kind::list;
    members_.push_back({.key = parent.key, .line = list ? node->line : parent.key_line, .value = node});
    return true;
  }

  Tree& tree_;
  const rapidjson::StringStream& stream_;
  Lines& lines_;
  std::vector<Open> open_;
  std::vector<Value::Member> members_;  // of all that are open, the innermost last
};

}  // namespace

std::expected<const Value*, SyntaxError> read_json(std::string_view text, Tree& tree, int first_line, size_t& used) {
  if (text.size() > kMaxText) {
    return std::unexpected(SyntaxError{first_line, fmt::format("larger than {} bytes", kMaxText)});
  }
  Lines lines(text, first_line);
  if (const size_t bad = utf8_prefix(text); bad != text.size()) {
    return std::unexpected(SyntaxError{lines.at(bad), "Invalid encoding in string."});
  }
  // RapidJSON reads up to a NUL, sixteen bytes at a time.
  std::string padded;
  padded.reserve(text.size() + kPadding);
  padded.append(text).append(kPadding, '\0');
  rapidjson::StringStream stream(padded.c_str());
  JsonHandler handler(tree, stream, lines);
  rapidjson::Reader reader(nullptr, kStack);
  constexpr unsigned kFlags =
      rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseStopWhenDoneFlag;
  const rapidjson::ParseResult result = reader.Parse<kFlags>(stream, handler);
  used = stream.Tell();
  if (!result) {
    std::string message = handler.error;
    if (message.empty()) message = rapidjson::GetParseError_En(result.Code());
    return std::unexpected(SyntaxError{lines.at(used), std::move(message)});
  }
  return handler.root;
}

}  // namespace keelson::api
