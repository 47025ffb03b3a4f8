// Strategic merge patch: a merge patch that knows which lists are merged, and by
// which key.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>

#include "api/draft.h"
#include "api/patch.h"

namespace keelson::api {

namespace {

using Members = decltype(Draft::members);

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kOrder = "$setElementOrder/";
constexpr std::string_view kDeleteFrom = "$deleteFromPrimitiveList/";

bool is_directive(std::string_view key) {
  return key == kPatch || key == kRetainKeys || key.starts_with(kOrder) || key.starts_with(kDeleteFrom);
}

class StrategicPatch {
 public:
  explicit StrategicPatch(Drafts& drafts) : drafts_(drafts) {}

  // `type` is null inside maps and what no type describes.
  Draft* merge(const Type* type, Draft* original, const Draft& patch) {
    if (const Draft* directive = patch.find(kPatch)) return whole(directive->text, patch);
    if (original == nullptr || original->kind != Draft::Kind::object) original = drafts_.make(Draft::Kind::object);
    retain_keys(*original, patch);
    for (const auto& [key, value] : patch.members) {
      if (failed() || !drafts_.work(original->members.size() + patch.members.size())) return original;
      if (key == kRetainKeys) continue;
      if (key.starts_with(kDeleteFrom)) {
        if (Draft* list = original->find(key.substr(kDeleteFrom.size()))) delete_from(*list, *value);
      } else if (key.starts_with(kOrder)) {
        order_alone(type, *original, patch, key.substr(kOrder.size()), *value);
      } else {
        merge_member(type, *original, patch, key, *value);
      }
    }
    return original;
  }

  bool failed() const { return failure_.has_value() || drafts_.overflow(); }
  const std::optional<PatchFailure>& failure() const { return failure_; }

 private:
  void fail(int code, std::string message) {
    if (!failure_) failure_ = PatchFailure{code, std::move(message), {}};
  }

  // {"$patch": "replace"} and {"$patch": "delete"} speak of the object that holds them.
  Draft* whole(std::string_view directive, const Draft& patch) {
    if (directive == "delete") return drafts_.make(Draft::Kind::object);
    if (directive == "replace") {
      Draft* replacement = without_directives(patch);
      return replacement;
    }
    if (directive == "merge") return without_directives(patch);
    fail(422, fmt::format("Unknown patch type found: {}", directive));
    return drafts_.make(Draft::Kind::object);
  }

  // What a patch adds that was not there: no directives, no nulls.
  Draft* without_directives(const Draft& patch) {
    Draft* out = drafts_.make(patch.kind);
    out->flag = patch.flag;
    out->text = patch.text;
    for (const auto& [key, value] : patch.members) {
      if (drafts_.overflow()) break;
      if (patch.kind == Draft::Kind::object && (is_directive(key) || value->kind == Draft::Kind::null)) continue;
      if (patch.kind == Draft::Kind::list && value->kind == Draft::Kind::object) {
        const Draft* directive = value->find(kPatch);
        if (directive != nullptr && directive->text != "merge" && directive->text != "replace") continue;
        if (directive != nullptr && value->members.size() == 1) continue;
      }
      out->members.emplace_back(key, without_directives(*value));
    }
    return out;
  }

  void retain_keys(Draft& original, const Draft& patch) {
    const Draft* keys = patch.find(kRetainKeys);
    if (keys == nullptr) return;
    if (keys->kind != Draft::Kind::list) return fail(400, "invalid patch format of retainKeys");
    const auto retained = [&](std::string_view key) {
      drafts_.work(keys->members.size());
      return std::any_of(keys->members.begin(), keys->members.end(), [&](const auto& item) {
        return item.second->kind == Draft::Kind::string && item.second->text == key;
      });
    };
    for (const auto& [key, value] : patch.members) {
      if (!is_directive(key) && value->kind != Draft::Kind::null && !retained(key)) {
        return fail(400, "invalid patch format of retainKeys");
      }
    }
    std::erase_if(original.members, [&](const auto& member) { return !retained(member.first); });
  }

  void delete_from(Draft& list, const Draft& items) {
    if (list.kind != Draft::Kind::list) return;
    if (items.kind != Draft::Kind::list) return fail(400, "invalid patch format of primitive list");
    if (!drafts_.work(list.members.size() * (items.members.size() + 1))) return;
    std::erase_if(list.members, [&](const auto& member) {
      return std::any_of(items.members.begin(), items.members.end(),
                         [&](const auto& item) { return same(*item.second, *member.second); });
    });
  }

  const Field* field_of(const Type* type, std::string_view key) const {
    return type == nullptr ? nullptr : find_field(*type, key);
  }

  // An order without a list to merge still orders what is there.
  void order_alone(const Type* type, Draft& original, const Draft& patch, std::string_view key, const Draft& order) {
    if (order.kind != Draft::Kind::list) return fail(400, "invalid patch format of setElementOrder list");
    if (patch.find(key) != nullptr) return;  // merge_member() looks it up
    Draft* list = original.find(key);
    const Field* field = field_of(type, key);
    if (list == nullptr || list->kind != Draft::Kind::list || field == nullptr || !field->merges) return;
    const Members before = list->members;
    arrange(*list, before, order, field->merge_key);
  }

  void merge_member(const Type* type, Draft& original, const Draft& patch, std::string_view key, const Draft& value) {
    if (value.kind == Draft::Kind::null) {
      original.erase(key);
      return;
    }
    Draft* old = original.find(key);
    const Field* field = field_of(type, key);
    const bool merges_list = field != nullptr && field->merges && field->access->shape == Shape::list;
    if (value.kind == Draft::Kind::object && old != nullptr && old->kind == Draft::Kind::object) {
      original.set(key, merge(type_below(field), old, value));
    } else if (value.kind == Draft::Kind::list && merges_list) {
      if (old == nullptr || old->kind != Draft::Kind::list) old = drafts_.make(Draft::Kind::list);
      original.set(key, old);
      const Draft* order = patch.find(drafts_.keep(std::string(kOrder) + std::string(key)));
      merge_list(*field, *old, value, order);
    } else {
      original.set(key, without_directives(value));
    }
  }

  static const Type* type_below(const Field* field) {
    if (field == nullptr || field->access->kind != api::Kind::structure || field->access->shape == Shape::map)
      return nullptr;
    return &field->access->type();
  }

  void merge_list(const Field& field, Draft& list, const Draft& patch, const Draft* order) {
    if (order != nullptr && order->kind != Draft::Kind::list)
      return fail(400, "invalid patch format of setElementOrder list");
    const Members before = list.members;
    Draft* plain = drafts_.make(Draft::Kind::list);  // the patch without its special elements
    if (field.merge_key.empty()) {
      merge_scalars(list, patch);
      plain->members = patch.members;
    } else {
      merge_objects(field, list, patch, *plain);
    }
    if (!failed()) arrange(list, before, order == nullptr ? *plain : *order, field.merge_key);
  }

  void merge_scalars(Draft& list, const Draft& patch) {
    if (!drafts_.work(patch.members.size() * (list.members.size() + patch.members.size()))) return;
    for (const auto& [unused, value] : patch.members) {
      const bool there = std::any_of(list.members.begin(), list.members.end(),
                                     [&](const auto& member) { return same(*member.second, *value); });
      if (!there) list.members.emplace_back(std::string_view(), drafts_.copy(*value));
    }
  }

  void merge_objects(const Field& field, Draft& list, const Draft& patch, Draft& plain) {
    if (!drafts_.work(patch.members.size() * (list.members.size() + patch.members.size()))) return;
    const std::string_view merge_key = field.merge_key;
    bool replace = false;
    for (const auto& [unused, value] : patch.members) {
      const Draft* directive = value->kind == Draft::Kind::object ? value->find(kPatch) : nullptr;
      if (value->kind != Draft::Kind::object)
        return fail(422, fmt::format("an element of {} is no object", field.name));
      if (directive == nullptr || directive->text == "merge") {
        plain.members.emplace_back(std::string_view(), value);
      } else if (directive->text == "replace") {
        replace = true;
        if (value->members.size() > 1) plain.members.emplace_back(std::string_view(), value);
      } else if (directive->text == "delete") {
        const Draft* key = value->find(merge_key);
        if (key == nullptr) return no_merge_key(field);
        std::erase_if(list.members, [&](const auto& member) { return has_key(*member.second, merge_key, *key); });
      } else {
        return fail(422, fmt::format("Unknown patch type found: {}", directive->text));
      }
    }
    if (replace) list.members.clear();
    for (const auto& [unused, value] : plain.members) {
      if (failed()) return;
      const Draft* key = value->find(merge_key);
      if (key == nullptr) return no_merge_key(field);
      const auto found = std::find_if(list.members.begin(), list.members.end(), [&](const auto& member) {
        return !replace && has_key(*member.second, merge_key, *key);
      });
      if (found == list.members.end()) {
        list.members.emplace_back(std::string_view(), without_directives(*value));
      } else {
        found->second = merge(type_below(&field), found->second, *value);
      }
    }
  }

  void no_merge_key(const Field& field) {
    fail(422, fmt::format("map: does not contain declared merge key: {}", field.merge_key));
  }

  static bool has_key(const Draft& element, std::string_view merge_key, const Draft& key) {
    if (element.kind != Draft::Kind::object) return false;
    const Draft* own = element.find(merge_key);
    return own != nullptr && same(*own, key);
  }

  // The elements that `order` names stand in its order; the others keep their places
  // relative to those that were in front of them before.
  void arrange(Draft& list, const Members& before, const Draft& order, std::string_view merge_key) {
    if (!drafts_.work(list.members.size() + before.size() + order.members.size())) return;
    const auto ranks = [&](const Members& members) {
      std::map<std::string, size_t> rank;
      for (const auto& [unused, value] : members) rank.emplace(name_of(*value, merge_key), rank.size());
      return rank;
    };
    const auto wanted = ranks(order.members);
    const auto old = ranks(before);
    Members named;
    Members others;
    for (const auto& member : list.members) {
      (wanted.contains(name_of(*member.second, merge_key)) ? named : others).push_back(member);
    }
    const auto by = [&](const std::map<std::string, size_t>& rank) {
      return [&rank, merge_key](const auto& a, const auto& b) {
        const auto at = [&](const auto& member) {
          const auto found = rank.find(name_of(*member.second, merge_key));
          return found == rank.end() ? rank.size() : found->second;
        };
        return at(a) < at(b);
      };
    };
    std::stable_sort(named.begin(), named.end(), by(wanted));
    std::stable_sort(others.begin(), others.end(), by(old));
    Members merged;
    size_t left = 0;
    size_t right = 0;
    while (left < named.size() || right < others.size()) {
      bool take_named = right == others.size();
      if (left < named.size() && right < others.size()) {
        const auto first = old.find(name_of(*named[left].second, merge_key));
        const auto second = old.find(name_of(*others[right].second, merge_key));
        take_named = first != old.end() && second != old.end() && first->second < second->second;
      }
      merged.push_back(take_named ? named[left++] : others[right++]);
    }
    list.members = std::move(merged);
  }

  static std::string name_of(const Draft& element, std::string_view merge_key) {
    const Draft* key = merge_key.empty() || element.kind != Draft::Kind::object ? &element : element.find(merge_key);
    if (key == nullptr) return {};
    return fmt::format("{}{}{}", static_cast<int>(key->kind), key->flag, key->text);
  }

  Drafts& drafts_;
  std::optional<PatchFailure> failure_;
};

}  // namespace

Patched strategic_merge_patch(const Type& type, const Value& target, const Value& patch, Tree& tree) {
  if (patch.kind != Draft::Kind::object) return std::unexpected(PatchFailure{400, "the patch is no object", {}});
  Drafts drafts;
  StrategicPatch patcher(drafts);
  Draft* original = drafts.copy(target);
  const Draft* result = patcher.merge(&type, original, *drafts.copy(patch));
  if (patcher.failure()) return std::unexpected(*patcher.failure());
  return drafts.finish(*result, tree);
}

}  // namespace keelson::api
