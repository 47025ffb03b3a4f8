#include "api/field_set.h"

#include <algorithm>

namespace keelson::api {

namespace {

void append_json(std::string& out, const Draft& value) {
  switch (value.kind) {
    case Value::Kind::string:
      return append_json_string(out, value.text);
    case Value::Kind::boolean:
      out += value.flag ? "true" : "false";
      return;
    case Value::Kind::integer:
    case Value::Kind::real:
      out += value.text;
      return;
    default:
      out += "null";
  }
}

// `k:{"containerPort":80,"protocol":"TCP"}`; the keys in their own order, as Kubernetes sorts them.
std::string key_element(const Field& field, const Draft& item) {
  std::vector<std::string_view> keys;
  for (std::string_view rest = field.list_keys; !rest.empty();) {
    keys.push_back(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(rest.size(), keys.back().size() + 1));
  }
  std::sort(keys.begin(), keys.end());
  std::string out = "k:{";
  for (const std::string_view key : keys) {
    const Draft* value = item.find(key);
    if (value == nullptr && key != "protocol") continue;
    if (out.back() != '{') out += ',';
    append_json_string(out, key);
    out += ':';
    if (value == nullptr) {
      out += R"("TCP")";  // the one key that has a default
    } else {
      append_json(out, *value);
    }
  }
  return out + "}";
}

void collect(const Spot& spot, const Draft& value, FieldSet& set) {
  const Spot::Form form = spot.form(value);
  if (form == Spot::Form::leaf) {
    set.owned = true;
    return;
  }
  for (const Child& child : children_of(spot, value)) {
    FieldSet& below = set.children[child.element];
    const bool hollow = child.value->kind == Value::Kind::null ||
                        (child.value->kind == Value::Kind::object && child.value->members.empty());
    if (child.spot.element || hollow) below.owned = true;
    collect(child.spot, *child.value, below);
    if (below.empty()) set.children.erase(child.element);
  }
}

// Everything below, as added or removed.
void take_all(const Spot& spot, const Draft& value, FieldSet& set) {
  set.owned = true;
  if (spot.form(value) == Spot::Form::leaf) return;
  for (Child& child : children_of(spot, value)) {
    take_all(child.spot, *child.value, set.children[std::move(child.element)]);
  }
}

// Children by their path elements. Mostly both sides have the same ones in the same order.
class Children {
 public:
  explicit Children(std::vector<Child> children) : children_(std::move(children)), found_(children_.size()) {}

  // Null when there is none.
  const Child* take(std::string_view element) {
    size_t at = next_;
    if (at == children_.size() || children_[at].element != element) {
      if (by_element_.empty()) {
        for (size_t i = 0; i < children_.size(); ++i) by_element_.emplace(children_[i].element, i);
      }
      const auto known = by_element_.find(element);
      if (known == by_element_.end()) return nullptr;
      at = known->second;
    }
    found_[at] = true;
    next_ = at + 1;
    return &children_[at];
  }
  template <typename Visit>
  void each_not_taken(Visit visit) {
    for (size_t i = 0; i < children_.size(); ++i) {
      if (!found_[i]) visit(children_[i]);
    }
  }

 private:
  std::vector<Child> children_;
  std::vector<bool> found_;
  size_t next_ = 0;
  std::map<std::string_view, size_t> by_element_;
};

void compare_into(const Spot& spot, const Draft& before, const Draft& after, FieldSet& changed, FieldSet& removed) {
  const Spot::Form form = spot.form(after);
  const bool was_null = before.kind == Value::Kind::null;  // as good as an empty one
  if (form == Spot::Form::leaf || (!was_null && spot.form(before) != form)) {
    if (!same(before, after)) changed.owned = true;
    return;
  }
  Children old(children_of(spot, before));
  for (Child& child : children_of(spot, after)) {
    const Child* was = old.take(child.element);
    FieldSet changed_below, removed_below;
    if (was == nullptr) {
      take_all(child.spot, *child.value, changed_below);
    } else {
      compare_into(child.spot, *was->value, *child.value, changed_below, removed_below);
    }
    if (!removed_below.empty()) removed.children.emplace(child.element, std::move(removed_below));
    if (!changed_below.empty()) changed.children.emplace(std::move(child.element), std::move(changed_below));
  }
  old.each_not_taken([&](const Child& child) { take_all(child.spot, *child.value, removed.children[child.element]); });
}

void print_common(const FieldSet& left, const FieldSet& right, const std::string& path, std::vector<std::string>& out) {
  if (left.owned && right.owned) out.push_back(path);
  for (const auto& [element, child] : left.children) {
    const FieldSet* other = right.find(element);
    if (other == nullptr) continue;
    std::string here = path;
    if (element.starts_with("f:")) {
      here += '.' + element.substr(2);
    } else if (element.starts_with("v:")) {
      here += "[=" + element.substr(2) + "]";
    } else {
      // `k:{"a":1,"b":"x"}` is printed as [a=1,b="x"].
      Tree tree;
      size_t used = 0;
      auto keys = read_json(std::string_view(element).substr(2), tree, 1, used);
      here += '[';
      if (keys) {
        for (const Value::Member& key : (*keys)->members) {
          if (here.back() != '[') here += ',';
          here += key.key;
          here += '=';
          size_t budget = 100;
          write_json(*key.value, here, budget);
        }
      }
      here += ']';
    }
    print_common(child, *other, here, out);
  }
}

void write_set(const FieldSet& set, std::string& out) {
  out += '{';
  bool first = true;
  if (set.owned && !set.children.empty()) {
    out += R"(".":{})";
    first = false;
  }
  for (const auto& [element, child] : set.children) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, element);
    out += ':';
    write_set(child, out);
  }
  out += '}';
}

// Without a hollow one the value is new itself, and owned with all that is in it.
void write_new(const Spot& spot, const Draft* hollow, const Draft& value, std::string& out) {
  out += '{';
  if (spot.form(value) != Spot::Form::leaf) {
    std::vector<Child> children = children_of(spot, value);
    std::ranges::sort(children, {}, &Child::element);
    if (hollow == nullptr && !children.empty()) out += R"(".":{})";
    for (const Child& child : children) {
      const Draft* below = hollow == nullptr ? nullptr : hollow->find(std::string_view(child.element).substr(2));
      const bool leaf = child.spot.form(*child.value) == Spot::Form::leaf;
      if (below != nullptr && leaf && same(*below, *child.value)) continue;
      const size_t before = out.size();
      if (out.back() != '{') out += ',';
      append_json_string(out, child.element);
      out += ':';
      write_new(child.spot, below, *child.value, out);
      if (below != nullptr && !leaf && out.ends_with("{}")) out.resize(before);  // as hollow as it was
    }
  }
  out += '}';
}

bool read_set(const Value& value, FieldSet& set) {
  if (value.kind != Value::Kind::object) return false;
  set.owned = value.members.empty();
  for (const Value::Member& member : value.members) {
    if (member.key == ".") {
      set.owned = true;
    } else if (!member.key.starts_with("f:") && !member.key.starts_with("k:") && !member.key.starts_with("v:")) {
      return false;
    } else if (!read_set(*member.value, set.children[std::string(member.key)])) {
      return false;
    }
  }
  return true;
}

}  // namespace

const FieldSet* FieldSet::find(std::string_view element) const {
  const auto found = children.find(element);
  return found == children.end() ? nullptr : &found->second;
}

void FieldSet::unite(const FieldSet& other) {
  owned |= other.owned;
  for (const auto& [element, child] : other.children) children[element].unite(child);
}

void FieldSet::subtract(const FieldSet& other) {
  if (other.owned) owned = false;
  for (const auto& [element, child] : other.children) {
    const auto found = children.find(element);
    if (found == children.end()) continue;
    found->second.subtract(child);
    if (found->second.empty()) children.erase(found);
  }
}

std::vector<std::string> common_paths(const FieldSet& left, const FieldSet& right) {
  std::vector<std::string> paths;
  print_common(left, right, "", paths);
  return paths;
}

std::string to_fields_v1(const FieldSet& set) {
  std::string out;
  write_set(set, out);
  return out;
}

std::optional<FieldSet> parse_fields_v1(std::string_view json) {
  Tree tree;
  size_t used = 0;
  auto root = read_json(json, tree, 1, used);
  FieldSet set;
  if (!root || !read_set(**root, set)) return std::nullopt;
  set.owned = false;  // nobody owns an object as such
  return set;
}

Spot::Form Spot::form(const Draft& value) const {
  const bool object = value.kind == Value::Kind::object;
  if (field == nullptr) return type != nullptr && object ? Form::object : Form::leaf;
  const Access& access = *field->access;
  if (!element) {
    if (field->list_type == "atomic") return Form::leaf;
    if (access.shape == Shape::map) return object ? Form::object : Form::leaf;
    if (access.shape == Shape::list) {
      if (value.kind != Value::Kind::list) return Form::leaf;
      if (field->list_type == "map") return Form::keyed;
      return field->list_type == "set" ? Form::set : Form::leaf;
    }
  }
  if (access.kind != Kind::structure || !object) return Form::leaf;
  return is_atomic(access.type()) ? Form::leaf : Form::object;
}

std::vector<Child> children_of(const Spot& spot, const Draft& value) {
  std::vector<Child> children;
  children.reserve(value.members.size());
  const Spot::Form form = spot.form(value);
  const bool map = spot.field != nullptr && !spot.element && spot.field->access->shape == Shape::map;
  const Type* type = spot.type;
  if (spot.field != nullptr && spot.field->access->kind == Kind::structure) type = &spot.field->access->type();
  for (const auto& [key, child] : value.members) {
    if (form == Spot::Form::keyed) {
      children.push_back({key_element(*spot.field, *child), child, {nullptr, spot.field, true}});
    } else if (form == Spot::Form::set) {
      std::string element = "v:";
      append_json(element, *child);
      children.push_back({std::move(element), child, {nullptr, spot.field, true}});
    } else if (map) {
      children.push_back({"f:" + std::string(key), child, {nullptr, spot.field, true}});
    } else {
      const Field* field = type == nullptr ? nullptr : find_field(*type, key);
      children.push_back({"f:" + std::string(key), child, {nullptr, field, false}});
    }
  }
  return children;
}

FieldSet fields_of(const Spot& spot, const Draft& value) {
  FieldSet set;
  collect(spot, value, set);
  set.owned = false;
  return set;
}

Changes compare(const Spot& spot, const Draft& before, const Draft& after) {
  Changes changes;
  compare_into(spot, before, after, changes.changed, changes.removed);
  return changes;
}

std::string fields_v1_of_new(const Spot& spot, const Draft& hollow, const Draft& value) {
  std::string out;
  write_new(spot, &hollow, value, out);
  return out;
}

}  // namespace keelson::api
