#include "api/tree.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

namespace keelson::api {

const Value* Value::find(std::string_view key) const {
  if (kind != Kind::object) return nullptr;
  for (const Member& member : members) {
    if (member.key == key) return member.value;
  }
  return nullptr;
}

std::string_view Value::string(std::string_view key) const {
  const Value* node = find(key);
  return node != nullptr && node->kind == Kind::string ? node->text : std::string_view();
}

Value* Tree::make(Value::Kind kind, int line) {
  Value* node = new (memory_.allocate(sizeof(Value), alignof(Value))) Value;
  node->kind = kind;
  node->line = line;
  return node;
}

std::string_view Tree::keep(std::string_view text) {
  if (text.empty()) return {};
  char* copy = static_cast<char*>(memory_.allocate(text.size(), 1));
  std::memcpy(copy, text.data(), text.size());
  return {copy, text.size()};
}

void Tree::fill(Value* parent, std::span<const Value::Member> members) {
  uint8_t below = 0;
  for (const Value::Member& member : members) below = std::max(below, member.value->height);
  parent->height = static_cast<uint8_t>(below + 1);
  if (members.empty()) return;
  void* memory = memory_.allocate(members.size() * sizeof(Value::Member), alignof(Value::Member));
  auto* copy = static_cast<Value::Member*>(memory);
  std::uninitialized_copy(members.begin(), members.end(), copy);
  parent->members = {copy, members.size()};
}

namespace {

// The length of the UTF-8 sequence at the start of `text`, 0 when it is none
// (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return length;
}

// How much of the text JSON writes as it is: ASCII but for controls, quotes and backslashes.
size_t plain_prefix(std::string_view text) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  const auto has_zero = [](uint64_t word) { return (word - kOnes) & ~word & kHigh; };
  size_t at = 0;
  for (uint64_t word = 0; at + sizeof(word) <= text.size(); at += sizeof(word)) {
    std::memcpy(&word, text.data() + at, sizeof(word));
    const uint64_t below_space = (word - kOnes * 0x20) & ~word & kHigh;
    if (((word & kHigh) | below_space | has_zero(word ^ kOnes * '"') | has_zero(word ^ kOnes * '\\')) != 0) break;
  }
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
    ++at;
  }
  return at;
}

}  // namespace

size_t utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight = 0;  // mostly a text is ASCII
    if (at + sizeof(eight) <= text.size()) {
      std::memcpy(&eight, text.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    const size_t length = utf8_sequence(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

bool is_utf8(std::string_view text) { return utf8_prefix(text) == text.size(); }

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  while (true) {
    // Most texts are plain from end to end, and are taken over in one piece.
    const size_t plain = plain_prefix(text);
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const char c = text.front();
    if (const size_t length = utf8_sequence(text); length != 1) {
      out += length == 0 ? std::string_view("\xEF\xBF\xBD") : text.substr(0, length);
      text.remove_prefix(std::max<size_t>(length, 1));
      continue;
    }
    text.remove_prefix(1);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
  }
  out += '"';
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

void write_json(const Value& node, std::string& out, size_t& budget) {
  if (budget == 0) return;
  --budget;
  switch (node.kind) {
    case Value::Kind::null:
      out += "null";
      return;
    case Value::Kind::boolean:
      out += node.flag ? "true" : "false";
      return;
    case Value::Kind::integer:
    case Value::Kind::real:
      out += node.text;
      return;
    case Value::Kind::string:
      append_json_string(out, node.text);
      return;
    case Value::Kind::list:
    case Value::Kind::object:
      break;
  }
  const bool object = node.kind == Value::Kind::object;
  out += object ? '{' : '[';
  bool first = true;
  for (const Value::Member& member : node.members) {
    if (!first) out += ',';
    first = false;
    if (object) {
      append_json_string(out, member.key);
      out += ':';
    }
    write_json(*member.value, out, budget);
  }
  out += object ? '}' : ']';
}

}  // namespace keelson::api
