#pragma once
// A tree that can be changed, for the patches: copied from Values, worked on, and
// finished into a Tree. Bounded: what exceeds the limits sets `overflow`, and the
// patch that sees it fails.

#include <deque>
#include <memory_resource>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/patch.h"

namespace keelson::api {

struct Draft {
  using Kind = Value::Kind;
  Kind kind = Kind::null;
  bool flag = false;
  std::string_view text;
  std::pmr::vector<std::pair<std::string_view, Draft*>> members;  // of a list: without keys

  bool is_container() const { return kind == Kind::list || kind == Kind::object; }
  Draft* find(std::string_view key) const;
  void set(std::string_view key, Draft* value);
  bool erase(std::string_view key);
};

// Numbers by their text: 1 and 1.0 differ, as they do for Kubernetes' integers.
// The order of an object's keys does not matter.
bool same(const Draft& left, const Draft& right);

// Owns the nodes of one patch.
class Drafts {
 public:
  Draft* make(Draft::Kind kind);
  Draft* copy(const Value& value);
  Draft* copy(const Draft& draft);
  // Text that no tree holds, kept until finish() copies it.
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  // Counts what a patch goes through beside what it makes; false when it is too much.
  bool work(size_t amount);
  bool overflow() const { return overflow_; }
  // Lists and objects within each other, from here down.
  size_t height(const Draft& draft);

  Patched finish(const Draft& root, Tree& tree);

 private:
  const Value* build(const Draft& draft, Tree& tree, int depth);

  std::pmr::monotonic_buffer_resource memory_;  // of all members
  std::deque<Draft> all_;
  std::deque<std::string> texts_;
  size_t work_ = 0;
  bool overflow_ = false;
};

// What an object's JSON would be copied as, kind and apiVersion aside, without writing and reading it.
// The texts point into the object, which must outlive the drafts. Raw JSON is one leaf.
Draft* draft_of(Drafts& drafts, const Type& type, const void* object);

}  // namespace keelson::api
