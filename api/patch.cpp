// JSON merge patch (RFC 7386) and JSON patch (RFC 6902).
#include "api/patch.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "api/draft.h"

namespace keelson::api {

namespace {

constexpr size_t kMostOperations = 10'000;

// --- RFC 7386 ---

Draft* merged(Drafts& drafts, Draft* target, const Value& patch) {
  if (patch.kind != Draft::Kind::object) return drafts.copy(patch);
  if (target == nullptr || target->kind != Draft::Kind::object) target = drafts.make(Draft::Kind::object);
  for (const Value::Member& member : patch.members) {
    if (drafts.overflow() || !drafts.work(target->members.size())) break;
    if (member.value->kind == Draft::Kind::null) {
      target->erase(member.key);
    } else {
      target->set(member.key, merged(drafts, target->find(member.key), *member.value));
    }
  }
  return target;
}

// --- RFC 6902 ---

using Pointer = std::vector<std::string>;

std::unexpected<PatchFailure> malformed(std::string message) {
  return std::unexpected(PatchFailure{400, std::move(message), {}});
}
std::unexpected<PatchFailure> impossible(std::string_view message) {
  return std::unexpected(PatchFailure{
      422, fmt::format("the server rejected our request due to an error in our request: {}", message), {}});
}

std::optional<Pointer> parse_pointer(std::string_view text) {
  Pointer pointer;
  if (text.empty()) return pointer;
  if (text.front() != '/') return std::nullopt;
  std::string token;
  for (size_t at = 1; at <= text.size(); ++at) {
    if (at == text.size() || text[at] == '/') {
      pointer.push_back(std::move(token));
      token.clear();
      if (pointer.size() > static_cast<size_t>(kMaxDepth)) return std::nullopt;
    } else if (text[at] != '~') {
      token += text[at];
    } else if (++at < text.size() && (text[at] == '0' || text[at] == '1')) {
      token += text[at] == '0' ? '~' : '/';
    } else {
      return std::nullopt;
    }
  }
  return pointer;
}

// Where a token points in a list of that size; nothing when it is no index in it.
std::optional<size_t> parse_index(std::string_view token, size_t most) {
  if (token.empty() || token.size() > 9 || (token.size() > 1 && token.front() == '0')) return std::nullopt;
  size_t index = 0;
  for (const char c : token) {
    if (c < '0' || c > '9') return std::nullopt;
    index = index * 10 + static_cast<size_t>(c - '0');
  }
  if (index > most) return std::nullopt;
  return index;
}

class JsonPatch {
 public:
  JsonPatch(Drafts& drafts, Draft* root) : drafts_(drafts), root_(root) {}

  std::expected<void, PatchFailure> apply(const Value& operation) {
    if (operation.kind != Draft::Kind::object) return malformed("a JSON patch's operations are objects");
    const std::string_view name = operation.string("op");
    const Value* path = operation.find("path");
    if (path == nullptr || path->kind != Draft::Kind::string) return malformed("a JSON patch operation needs a path");
    path_ = path->text;
    const auto pointer = parse_pointer(path_);
    if (!pointer) return malformed(fmt::format("\"{}\" is no JSON pointer", path_));
    if (name == "remove") return remove(*pointer);
    if (name == "add" || name == "replace" || name == "test") {
      const Value* value = operation.find("value");
      static const Value kNull;
      if (value == nullptr && name != "test") return malformed(fmt::format("{} needs a value", name));
      Draft* draft = drafts_.copy(value == nullptr ? kNull : *value);
      if (name == "add") return add(*pointer, draft);
      if (name == "replace") return replace(*pointer, draft);
      return test(*pointer, *draft);
    }
    if (name == "move" || name == "copy") return transfer(operation, *pointer, name == "move");
    return malformed(fmt::format("Unexpected kind: {}", name));
  }

  const Draft& root() const { return *root_; }

 private:
  std::expected<void, PatchFailure> missing(std::string_view operation) const {
    return impossible(
        fmt::format("{} operation does not apply: doc is missing path: {}: missing value", operation, path_));
  }

  // The parent of what the pointer points to; null when there is none.
  Draft* parent_of(const Pointer& pointer) {
    Draft* at = root_;
    for (size_t i = 0; i + 1 < pointer.size() && at != nullptr; ++i) at = child(*at, pointer[i]);
    return at != nullptr && at->is_container() ? at : nullptr;
  }

  Draft* child(const Draft& parent, const std::string& token) {
    if (!drafts_.work(parent.kind == Draft::Kind::object ? parent.members.size() : 1)) return nullptr;
    if (parent.kind == Draft::Kind::object) return parent.find(token);
    if (parent.kind != Draft::Kind::list || parent.members.empty()) return nullptr;
    const auto index = parse_index(token, parent.members.size() - 1);
    return index ? parent.members[*index].second : nullptr;
  }

  Draft* at(const Pointer& pointer) {
    Draft* draft = root_;
    for (size_t i = 0; i < pointer.size() && draft != nullptr; ++i) draft = child(*draft, pointer[i]);
    return draft;
  }

  std::expected<void, PatchFailure> add(const Pointer& pointer, Draft* value) {
    if (pointer.size() + drafts_.height(*value) > static_cast<size_t>(kMaxDepth))
      return impossible("nested too deeply");
    if (pointer.empty()) {
      root_ = value;
      return {};
    }
    Draft* parent = parent_of(pointer);
    if (parent == nullptr) return missing("add");
    const std::string& token = pointer.back();
    if (!drafts_.work(parent->members.size())) return {};
    if (parent->kind == Draft::Kind::object) {
      parent->set(drafts_.keep(token), value);
      return {};
    }
    const size_t size = parent->members.size();
    const auto index = token == "-" ? std::optional(size) : parse_index(token, size);
    if (!index) return impossible(fmt::format("add operation does not apply: {}: invalid index", path_));
    parent->members.insert(parent->members.begin() + static_cast<std::ptrdiff_t>(*index), {{}, value});
    return {};
  }

  std::expected<void, PatchFailure> remove(const Pointer& pointer) {
    if (pointer.empty()) return impossible("the whole object cannot be removed");
    Draft* parent = parent_of(pointer);
    if (parent == nullptr || child(*parent, pointer.back()) == nullptr) return missing("remove");
    drafts_.work(parent->members.size());
    if (parent->kind == Draft::Kind::object) {
      parent->erase(pointer.back());
    } else {
      const auto index = parse_index(pointer.back(), parent->members.size() - 1);
      parent->members.erase(parent->members.begin() + static_cast<std::ptrdiff_t>(*index));
    }
    return {};
  }

  std::expected<void, PatchFailure> replace(const Pointer& pointer, Draft* value) {
    if (pointer.size() + drafts_.height(*value) > static_cast<size_t>(kMaxDepth))
      return impossible("nested too deeply");
    Draft* old = at(pointer);
    if (old == nullptr) return missing("replace");
    *old = *value;
    return {};
  }

  std::expected<void, PatchFailure> test(const Pointer& pointer, const Draft& value) {
    const Draft* found = at(pointer);
    const bool equal = found == nullptr ? value.kind == Draft::Kind::null : same(*found, value);
    drafts_.work(found == nullptr ? 0 : drafts_.height(*found));
    if (!equal) return impossible(fmt::format("testing value {} failed: test failed", path_));
    return {};
  }

  std::expected<void, PatchFailure> transfer(const Value& operation, const Pointer& to, bool move) {
    const Value* source = operation.find("from");
    if (source == nullptr || source->kind != Draft::Kind::string) return malformed("move and copy need a from");
    const auto from = parse_pointer(source->text);
    if (!from) return malformed(fmt::format("\"{}\" is no JSON pointer", source->text));
    Draft* value = at(*from);
    if (value == nullptr) return missing(move ? "move" : "copy");
    if (!move) return add(to, drafts_.copy(*value));
    if (from->size() <= to.size() && std::equal(from->begin(), from->end(), to.begin())) {
      if (from->size() == to.size()) return {};
      return impossible("an object cannot be moved into itself");
    }
    if (auto removed = remove(*from); !removed) return removed;
    return add(to, value);
  }

  Drafts& drafts_;
  Draft* root_;
  std::string_view path_;
};

}  // namespace

Patched merge_patch(const Value& target, const Value& patch, Tree& tree) {
  Drafts drafts;
  const Draft* result = merged(drafts, drafts.copy(target), patch);
  return drafts.finish(*result, tree);
}

Patched json_patch(const Value& target, const Value& patch, Tree& tree) {
  if (patch.kind != Draft::Kind::list) {
    return malformed("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  }
  if (patch.members.size() > kMostOperations) {
    return std::unexpected(PatchFailure{413,
                                        fmt::format("The allowed maximum operations in a JSON patch is {}, got {}",
                                                    kMostOperations, patch.members.size()),
                                        {}});
  }
  Drafts drafts;
  JsonPatch patcher(drafts, drafts.copy(target));
  for (const Value::Member& operation : patch.members) {
    if (drafts.overflow()) break;
    if (auto applied = patcher.apply(*operation.value); !applied) return std::unexpected(std::move(applied.error()));
  }
  return drafts.finish(patcher.root(), tree);
}

}  // namespace keelson::api
