// JSON as YAML, in the form that kubectl prints: keys sorted, lists not indented.
#include <fmt/core.h>

#include <algorithm>

#include "api/codec.h"
#include "api/tree.h"
#include "api/yaml_scalar.h"

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Dates, with or without a time, and numbers of base 60 (1:30): strings to go-yaml
// when it reads, but quoted when it writes, for readers that know them.
bool looks_like_time(std::string_view text) {
  size_t at = 0;
  const auto digits = [&](size_t most) {
    const size_t first = at;
    while (at < text.size() && at - first < most && text[at] >= '0' && text[at] <= '9') ++at;
    return at - first;
  };
  const auto rest_is_of = [&](std::string_view characters) {
    return text.find_first_not_of(characters, at) == std::string_view::npos;
  };
  if (digits(4) == 4 && at < text.size() && text[at] == '-') {
    ++at;
    if (digits(2) == 0 || at == text.size() || text[at] != '-') return false;
    ++at;
    return digits(2) != 0 && (at == text.size() || (std::string_view("Tt ").find(text[at]) != std::string_view::npos &&
                                                    (++at, rest_is_of("0123456789:.Zz+- "))));
  }
  at = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  if (digits(text.size()) == 0 || at == text.size() || text[at] != ':') return false;
  return text.back() != ':' && rest_is_of("0123456789:._");
}

// What libyaml's emitter asks of a scalar before it may stand in each style.
struct Allowed {
  bool plain = true;
  bool single_quoted = true;
  bool block = true;
};

Allowed styles_of(std::string_view text) {
  Allowed allowed;
  if (text.empty()) return {.plain = false, .single_quoted = true, .block = false};
  if (text.starts_with("---") || text.starts_with("...")) allowed.plain = false;
  if (std::string_view("#,[]{}&*!|>'\"%@`").find(text[0]) != std::string_view::npos) allowed.plain = false;
  const auto blank_after = [&](size_t at) {
    return at + 1 == text.size() || is_blank(text[at + 1]) || text[at + 1] == '\n';
  };
  if (std::string_view("?:-").find(text[0]) != std::string_view::npos && blank_after(0)) allowed.plain = false;
  if (text.front() == ' ' || text.front() == '\n' || text.back() == '\n') allowed.plain = false;
  if (text.back() == ' ') allowed.plain = allowed.block = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const char before = at == 0 ? '\n' : text[at - 1];
    if (c == ':' && blank_after(at)) allowed.plain = false;
    if (c == '#' && (is_blank(before) || before == '\n')) allowed.plain = false;
    if (c == '\n') allowed.plain = allowed.single_quoted = false;
    if (c == ' ' && at != 0 && before == '\n') allowed.plain = allowed.single_quoted = false;
    const auto byte = static_cast<unsigned char>(c);
    const bool special = (byte < 0x20 && c != '\n') || byte == 0x7F;
    if (special || (c == '\n' && is_blank(before))) return {.plain = false, .single_quoted = false, .block = false};
  }
  return allowed;
}

class YamlText {
 public:
  void value(const Value& node, size_t indent) {
    switch (node.kind) {
      case Value::Kind::null:
        out_ += "null";
        return;
      case Value::Kind::boolean:
        out_ += node.flag ? "true" : "false";
        return;
      case Value::Kind::integer:
      case Value::Kind::real:
        out_ += node.text;
        return;
      case Value::Kind::string:
        string(node.text, indent, false);
        return;
      case Value::Kind::list:
        list(node, indent);
        return;
      case Value::Kind::object:
        object(node, indent);
        return;
    }
  }

  std::string take() {
    out_ += '\n';
    return std::move(out_);
  }

 private:
  void object(const Value& node, size_t indent) {
    if (node.members.empty()) {
      out_ += "{}";
      return;
    }
    std::vector<const Value::Member*> sorted;
    for (const Value::Member& member : node.members) sorted.push_back(&member);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->key < b->key; });
    bool first = true;
    for (const Value::Member* member : sorted) {
      if (!first) new_line(indent);
      first = false;
      string(member->key, indent, true);
      out_ += ':';
      const Value& value = *member->value;
      const bool nested = !value.members.empty();
      // A list stands at its key's own indentation.
      const size_t inner = value.kind == Value::Kind::list ? indent : indent + 2;
      if (nested) {
        new_line(inner);
      } else {
        out_ += ' ';
      }
      this->value(value, inner);
    }
  }

  void list(const Value& node, size_t indent) {
    if (node.members.empty()) {
      out_ += "[]";
      return;
    }
    bool first = true;
    for (const Value::Member& member : node.members) {
      if (!first) new_line(indent);
      first = false;
      out_ += "- ";
      value(*member.value, indent + 2);
    }
  }

  void string(std::string_view text, size_t indent, bool key) {
    const Allowed allowed = styles_of(text);
    if (!key && allowed.block && text.find('\n') != std::string_view::npos) {
      block(text, indent);
    } else if (resolve_plain(text).kind != Value::Kind::string || is_not_finite(text) || text == "<<" ||
               looks_like_time(text)) {
      append_json_string(out_, text);
    } else if (allowed.plain) {
      out_ += text;
    } else if (allowed.single_quoted) {
      single_quoted(text);
    } else {
      append_json_string(out_, text);  // a JSON string is a double-quoted YAML scalar
    }
  }

  void single_quoted(std::string_view text) {
    out_ += '\'';
    for (const char c : text) {
      if (c == '\'') out_ += '\'';
      out_ += c;
    }
    out_ += '\'';
  }

  void block(std::string_view text, size_t indent) {
    out_ += '|';
    if (text.front() == ' ' || text.front() == '\n') out_ += '2';  // the indentation cannot be seen
    const bool ends = text.back() == '\n';
    if (!ends) out_ += '-';
    if (ends && (text.size() == 1 || text[text.size() - 2] == '\n')) out_ += '+';
    if (ends) text.remove_suffix(1);
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      out_ += '\n';
      if (end > at) out_.append(indent, ' ');
      out_ += text.substr(at, end - at);
      at = end + 1;
    }
  }

  void new_line(size_t indent) {
    out_ += '\n';
    out_.append(indent, ' ');
  }

  std::string out_;
};

}  // namespace

Result<std::string> json_to_yaml(std::string_view json) {
  Tree tree;
  size_t used = 0;
  auto root = read_json(json, tree, 1, used);
  if (!root)
    return fail(Error::Code::invalid,
                fmt::format("invalid JSON: line {}: {}", root.error().line, root.error().message));
  YamlText text;
  text.value(**root, 0);
  return text.take();
}

}  // namespace keelson::api
