#include "api/draft.h"

#include <algorithm>

namespace keelson::api {

namespace {

constexpr size_t kMostWork = 50'000'000;  // nodes moved or visited: well below a second

}  // namespace

Draft* Draft::find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return value;
  }
  return nullptr;
}

void Draft::set(std::string_view key, Draft* value) {
  for (auto& [name, old] : members) {
    if (name == key) {
      old = value;
      return;
    }
  }
  members.emplace_back(key, value);
}

bool Draft::erase(std::string_view key) {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const auto& member) { return member.first == key; });
  if (found == members.end()) return false;
  members.erase(found);
  return true;
}

bool same(const Draft& left, const Draft& right) {
  if (left.kind != right.kind || left.flag != right.flag || left.text != right.text ||
      left.members.size() != right.members.size()) {
    return false;
  }
  for (size_t i = 0; i < left.members.size(); ++i) {
    const auto& [key, value] = left.members[i];
    // Mostly both were written in the same order.
    const Draft* other = right.members[i].first == key ? right.members[i].second : right.find(key);
    if (other == nullptr || !same(*value, *other)) return false;
  }
  return true;
}

Draft* Drafts::make(Draft::Kind kind) {
  if (all_.size() >= kMaxValues) overflow_ = true;
  return &all_.emplace_back(
      Draft{.kind = kind, .flag = false, .text = {}, .members = decltype(Draft::members)(&memory_)});
}

Draft* Drafts::copy(const Value& value) {
  Draft* draft = make(value.kind);
  draft->flag = value.flag;
  draft->text = value.text;
  draft->members.reserve(value.members.size());
  for (const Value::Member& member : value.members) {
    if (overflow_) break;
    draft->members.emplace_back(member.key, copy(*member.value));
  }
  return draft;
}

Draft* Drafts::copy(const Draft& from) {
  Draft* draft = make(from.kind);
  draft->flag = from.flag;
  draft->text = from.text;
  draft->members.reserve(from.members.size());
  for (const auto& [key, value] : from.members) {
    if (overflow_) break;
    draft->members.emplace_back(key, copy(*value));
  }
  return draft;
}

bool Drafts::work(size_t amount) {
  work_ += amount;
  if (work_ > kMostWork) overflow_ = true;
  return !overflow_;
}

size_t Drafts::height(const Draft& draft) {
  if (!draft.is_container() || !work(draft.members.size() + 1)) return 0;
  size_t below = 0;
  for (const auto& [key, value] : draft.members) below = std::max(below, height(*value));
  return below + 1;
}

const Value* Drafts::build(const Draft& draft, Tree& tree, int depth) {
  if (depth > kMaxDepth || !tree.count()) {
    overflow_ = true;
    return tree.make(Value::Kind::null, 1);
  }
  Value* value = tree.make(draft.kind, 1);
  value->flag = draft.flag;
  value->text = texts_.empty() ? draft.text : tree.keep(draft.text);
  if (!draft.is_container()) return value;
  std::vector<Value::Member> members;
  members.reserve(draft.members.size());
  for (const auto& [key, child] : draft.members) {
    members.push_back(
        {.key = texts_.empty() ? key : tree.keep(key), .line = 1, .value = build(*child, tree, depth + 1)});
  }
  tree.fill(value, members);
  return value;
}

Patched Drafts::finish(const Draft& root, Tree& tree) {
  const Value* value = overflow_ ? nullptr : build(root, tree, 1);
  if (overflow_) return std::unexpected(PatchFailure{413, "the patched object is too large or too deep", {}});
  return value;
}

}  // namespace keelson::api
