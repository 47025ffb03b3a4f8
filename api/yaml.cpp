// YAML text to a tree: the only file that knows yaml-cpp.
#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "api/tree.h"
#include "api/yaml_scalar.h"

namespace keelson::api {

namespace {

// Our own reason to stop; it travels through yaml-cpp and ends in read_yaml.
struct Stop {
  SyntaxError error;
};

[[noreturn]] void stop(int line, std::string message) { throw Stop{{line, std::move(message)}}; }

// Takes yaml-cpp's events of one document after the other.
class YamlHandler : public YAML::EventHandler {
 public:
  YamlHandler(Tree& tree, int first_line) : tree_(tree), first_line_(first_line) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    // yaml-cpp makes one empty document after the other of a stray "," or "}".
    if (mark.pos == document_start_) stop(line_of(mark), "text that belongs to no value");
    document_start_ = mark.pos;
    root_ = nullptr;
    anchors_.clear();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(tree_.make(Value::Kind::null, line_of(mark)), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const int line = line_of(mark);
    const bool plain = tag == "?";
    if (plain && value == "<<" && expects_key()) {
      open_.back().merging = true;
      open_.back().has_key = true;
      return;
    }
    const ResolvedScalar resolved = resolve(line, tag, value);
    if (expects_key()) {
      std::string key = key_text(line, resolved.kind, resolved.flag, resolved.text);
      set_key(tree_.keep(key), line);
      // An anchored key may be used as an alias later.
      if (anchor != 0) anchors_[anchor] = scalar(line, resolved);
      return;
    }
    add(scalar(line, resolved), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const int line = line_of(mark);
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) stop(line, "an anchor contains an alias to itself");
    if (expects_key()) {
      const Value& node = *found->second;
      set_key(tree_.keep(key_text(line, node.kind, node.flag, std::string(node.text))), line);
      return;
    }
    add(found->second, 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Value::Kind::list, mark, anchor);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Value::Kind::object, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

  const Value* root() const { return root_; }

 private:
  struct Open {
    Value* node = nullptr;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    bool merging = false;  // the key was <<
    std::string_view key;
    int key_line = 0;
    std::vector<Value::Member> members;
    std::vector<const Value*> merged;
  };

  int line_of(const YAML::Mark& mark) const { return first_line_ + std::max(mark.line, 0); }

  bool expects_key() const {
    return !open_.empty() && open_.back().node->kind == Value::Kind::object && !open_.back().has_key;
  }

  static ResolvedScalar resolve(int line, const std::string& tag, const std::string& value) {
    constexpr std::string_view kStandard = "tag:yaml.org,2002:";
    if (tag == "?") {
      if (is_not_finite(value)) stop(line, fmt::format("{} is no number that JSON can hold", value));
      return resolve_plain(value);
    }
    if (tag == "!" || tag == "!!str" || tag == fmt::format("{}str", kStandard)) {
      return {Value::Kind::string, false, value};
    }
    if (tag == fmt::format("{}binary", kStandard)) return {Value::Kind::string, false, value};
    for (std::string_view known : {"int", "float", "bool", "null"}) {
      if (tag == fmt::format("{}{}", kStandard, known)) return resolve_plain(value);
    }
    return {Value::Kind::string, false, value};
  }

  static std::string key_text(int line, Value::Kind kind, bool flag, std::string text) {
    switch (kind) {
      case Value::Kind::boolean:
        return flag ? "true" : "false";
      case Value::Kind::string:
      case Value::Kind::integer:
      case Value::Kind::real:
        return text;
      default:
        stop(line, "a key must be a string");
    }
  }

  Value* scalar(int line, const ResolvedScalar& resolved) {
    Value* node = tree_.make(resolved.kind, line);
    node->flag = resolved.flag;
    node->text = tree_.keep(resolved.text);
    return node;
  }

  void set_key(std::string_view key, int line) {
    open_.back().key = key;
    open_.back().key_line = line;
    open_.back().has_key = true;
  }

  void open(Value::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    const int line = line_of(mark);
    if (expects_key()) stop(line, "a key must be a string");
    if (open_.size() == static_cast<size_t>(kMaxDepth)) too_deep(line);
    open_.push_back({.node = tree_.make(kind, line), .anchor = anchor});
  }

  void close() {
    Open closed = std::move(open_.back());
    open_.pop_back();
    merge(closed);
    tree_.fill(closed.node, closed.members);
    add(closed.node, closed.anchor);
  }

  // https://yaml.org/type/merge.html: keys of the map itself win, then the first map merged.
  void merge(Open& into) {
    if (into.merged.empty()) return;
    std::unordered_set<std::string_view> keys;
    for (const Value::Member& member : into.members) keys.insert(member.key);
    for (const Value* map : into.merged) {
      for (const Value::Member& member : map->members) {
        if (!tree_.count()) too_many(into.node->line);
        if (keys.insert(member.key).second) into.members.push_back(member);
      }
    }
  }

  void add_merged(Open& parent, const Value* node) {
    if (node->kind == Value::Kind::object) {
      parent.merged.push_back(node);
      return;
    }
    const auto is_map = [](const Value::Member& member) { return member.value->kind == Value::Kind::object; };
    if (node->kind != Value::Kind::list || !std::all_of(node->members.begin(), node->members.end(), is_map)) {
      stop(node->line, "<< needs a map or a list of maps");
    }
    for (const Value::Member& member : node->members) parent.merged.push_back(member.value);
  }

  void add(const Value* node, YAML::anchor_t anchor) {
    if (expects_key()) stop(node->line, "a key must be a string");
    if (!tree_.count()) too_many(node->line);
    if (open_.size() + node->height > static_cast<size_t>(kMaxDepth)) too_deep(node->line);
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Open& parent = open_.back();
    if (parent.merging) {
      add_merged(parent, node);
    } else {
      const bool list = parent.node->kind == Value::Kind::list;
      parent.members.push_back({.key = parent.key, .line = list ? node->line : parent.key_line, .value = node});
    }
    parent.has_key = parent.merging = false;
    if (parent.node->kind == Value::Kind::list) parent.key = {};
  }

  [[noreturn]] static void too_many(int line) { stop(line, fmt::format("more than {} values", kMaxValues)); }

  [[noreturn]] static void too_deep(int line) { stop(line, fmt::format("nested more than {} levels deep", kMaxDepth)); }

  Tree& tree_;
  int first_line_;
  int document_start_ = -1;
  const Value* root_ = nullptr;
  std::vector<Open> open_;
  std::unordered_map<YAML::anchor_t, const Value*> anchors_;  // complete ones only
};

// An istream over memory that is not copied.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // NOLINT: streambuf's signature; only read from
    setg(begin, begin, begin + text.size());
  }
};

}  // namespace

std::expected<void, SyntaxError> read_yaml(std::string_view text, Tree& tree, int first_line,
                                           std::vector<const Value*>& documents) {
  if (text.size() > kMaxText) {
    return std::unexpected(SyntaxError{first_line, fmt::format("larger than {} bytes", kMaxText)});
  }
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    YamlHandler handler(tree, first_line);
    while (parser.HandleNextDocument(handler)) {
      if (handler.root() != nullptr) documents.push_back(handler.root());
    }
  } catch (const Stop& stopped) {
    return std::unexpected(stopped.error);
  } catch (const YAML::Exception& error) {
    return std::unexpected(SyntaxError{first_line + std::max(error.mark.line, 0), error.msg});
  }
  return {};
}

}  // namespace keelson::api
