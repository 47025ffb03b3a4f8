// Server-side apply, and who owns what after any other write.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "api/draft.h"
#include "api/field_set.h"
#include "api/patch.h"

namespace keelson::api {

namespace {

constexpr size_t kMostUpdaters = 10;
constexpr std::string_view kAncient = "ancient-changes";

struct Owner {
  ManagedFieldsEntry entry;
  FieldSet set;
};

std::vector<Owner> owners_of(const std::vector<ManagedFieldsEntry>& entries) {
  std::vector<Owner> owners;
  for (const ManagedFieldsEntry& entry : entries) {
    auto set = entry.fields_v1 ? parse_fields_v1(entry.fields_v1->text) : std::nullopt;
    if (set && !set->empty()) owners.push_back({entry, std::move(*set)});
  }
  return owners;
}

// What nobody owns, because the server keeps it.
constexpr std::string_view kServersOwn[] = {
    "name",       "namespace",     "creationTimestamp", "selfLink",          "uid",
    "generation", "managedFields", "resourceVersion",   "deletionTimestamp", "deletionGracePeriodSeconds"};

void strip(FieldSet& set) {
  set.owned = false;
  set.children.erase("f:apiVersion");
  set.children.erase("f:kind");
  const auto metadata = set.children.find("f:metadata");
  if (metadata == set.children.end()) return;
  metadata->second.owned = false;
  for (const std::string_view name : kServersOwn) metadata->second.children.erase("f:" + std::string(name));
  if (metadata->second.empty()) set.children.erase(metadata);
}

void strip(Draft& object) {
  Draft* metadata = object.find("metadata");
  if (metadata == nullptr) return;
  std::erase_if(metadata->members, [](const auto& member) {
    return std::ranges::find(kServersOwn, member.first) != std::end(kServersOwn);
  });
}

bool is_own(const Owner& owner, const Manager& manager, std::string_view operation) {
  const ManagedFieldsEntry& entry = owner.entry;
  return entry.manager == manager.name && entry.operation == operation && entry.subresource == manager.subresource &&
         (operation == "Apply" || entry.api_version == manager.api_version);
}

ManagedFieldsEntry entry_for(const Manager& manager, std::string_view operation) {
  ManagedFieldsEntry entry;
  entry.manager = manager.name;
  entry.operation = operation;
  entry.api_version = manager.api_version;
  entry.time = manager.now;
  entry.fields_type = "FieldsV1";
  entry.subresource = manager.subresource;
  return entry;
}

// Too many updaters: the oldest become one.
void cap(std::vector<Owner>& owners) {
  std::vector<Owner*> updaters;
  for (Owner& owner : owners) {
    if (owner.entry.operation == "Update") updaters.push_back(&owner);
  }
  if (updaters.size() <= kMostUpdaters) return;
  std::stable_sort(updaters.begin(), updaters.end(), [](const Owner* a, const Owner* b) {
    return a->entry.time.value_or(Time{}).seconds < b->entry.time.value_or(Time{}).seconds;
  });
  Owner& oldest = *updaters[0];
  oldest.entry.manager = kAncient;
  oldest.entry.subresource.clear();
  for (size_t i = 1; i <= updaters.size() - kMostUpdaters; ++i) {
    oldest.set.unite(updaters[i]->set);
    oldest.entry.time = updaters[i]->entry.time;
    updaters[i]->set = {};
  }
}

std::vector<ManagedFieldsEntry> entries_of(std::vector<Owner> owners) {
  cap(owners);
  std::vector<ManagedFieldsEntry> entries;
  for (Owner& owner : owners) {
    if (owner.set.empty()) continue;
    owner.entry.fields_v1 = RawJson{to_fields_v1(owner.set)};
    entries.push_back(std::move(owner.entry));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const ManagedFieldsEntry& entry) {
      return std::tuple(std::string_view(entry.operation), entry.time.value_or(Time{}).seconds,
                        std::string_view(entry.manager));
    };
    return rank(a) < rank(b);
  });
  return entries;
}

// What an object is before it is created: its structs without anything in them.
Draft* hollow(Drafts& drafts, const Type& type) {
  Draft* draft = drafts.make(Value::Kind::object);
  for (const Field& field : type.fields) {
    const Access& access = *field.access;
    if (field.inlined || field.empty != Empty::printed) continue;
    if (access.kind == Kind::structure && access.shape == Shape::one) {
      draft->members.emplace_back(field.name, hollow(drafts, access.type()));
    } else if (access.shape == Shape::list) {
      draft->members.emplace_back(field.name, drafts.make(Value::Kind::null));
    }
  }
  return draft;
}

// --- Apply ---

struct Applying {
  // The configuration's values onto the live ones.
  Draft* merge(const Spot& spot, Draft* live, Draft* wanted) {
    const Spot::Form form = spot.form(*wanted);
    if (live == nullptr || form == Spot::Form::leaf || spot.form(*live) != form) return wanted;
    std::map<std::string, Draft**> places;
    std::vector<std::string> names;
    for (const Child& child : children_of(spot, *live)) names.push_back(child.element);
    for (size_t i = 0; i < names.size(); ++i) places.emplace(names[i], &live->members[i].second);
    const std::vector<Child> children = children_of(spot, *wanted);
    std::vector<std::pair<std::string_view, Draft*>> added;
    for (size_t i = 0; i < children.size(); ++i) {
      const auto place = places.find(children[i].element);
      if (place == places.end()) {
        added.emplace_back(wanted->members[i].first, children[i].value);
      } else {
        *place->second = merge(children[i].spot, *place->second, children[i].value);
      }
    }
    live->members.insert(live->members.end(), added.begin(), added.end());
    return live;
  }

  // Takes away what the manager applied before, does not now, and nobody else owns.
  void prune(const Spot& spot, Draft& object, const FieldSet& before, const FieldSet* now,
             const std::vector<const FieldSet*>& others) {
    if (spot.form(object) == Spot::Form::leaf) return;
    const std::vector<Child> children = children_of(spot, object);
    std::vector<bool> gone(children.size());
    for (size_t i = 0; i < children.size(); ++i) {
      const FieldSet* was = before.find(children[i].element);
      if (was == nullptr) continue;
      const FieldSet* is = now == nullptr ? nullptr : now->find(children[i].element);
      std::vector<const FieldSet*> below;
      for (const FieldSet* other : others) {
        if (const FieldSet* found = other->find(children[i].element)) below.push_back(found);
      }
      if (is == nullptr && below.empty()) {
        gone[i] = true;
      } else {
        prune(children[i].spot, *children[i].value, *was, is, below);
      }
    }
    decltype(object.members) kept(object.members.get_allocator());
    for (size_t i = 0; i < children.size(); ++i) {
      if (!gone[i]) kept.push_back(object.members[i]);
    }
    object.members = std::move(kept);
  }
};

std::string describe(const ManagedFieldsEntry& entry) {
  std::string out = fmt::format("\"{}\"", entry.manager);
  if (!entry.subresource.empty()) out += fmt::format(" with subresource \"{}\"", entry.subresource);
  if (entry.operation == "Update") out += fmt::format(" using {}", entry.api_version);
  return out;
}

std::optional<PatchFailure> conflicts_of(const std::vector<Owner>& owners, const Manager& manager,
                                         const FieldSet& changed) {
  PatchFailure failure{409, {}, {}};
  std::map<std::string, std::vector<std::string>> by_owner;
  for (const Owner& owner : owners) {
    if (is_own(owner, manager, "Apply")) continue;
    for (std::string& path : common_paths(owner.set, changed)) {
      failure.causes.push_back({"FieldManagerConflict", "conflict with " + describe(owner.entry), path});
      by_owner[describe(owner.entry)].push_back(std::move(path));
    }
  }
  if (failure.causes.empty()) return std::nullopt;
  if (failure.causes.size() == 1) {
    failure.message =
        fmt::format("Apply failed with 1 conflict: {}: {}", failure.causes[0].message, failure.causes[0].field);
    return failure;
  }
  failure.message = fmt::format("Apply failed with {} conflicts: ", failure.causes.size());
  bool first = true;
  for (const auto& [owner, paths] : by_owner) {
    failure.message += fmt::format("{}conflicts with {}:", first ? "" : "\n", owner);
    first = false;
    for (const std::string& path : paths) failure.message += "\n- " + path;
  }
  return failure;
}

// What a configuration leaves empty it says nothing of.
void drop_nulls(Draft& draft) {
  if (draft.kind == Value::Kind::object) {
    std::erase_if(draft.members, [](const auto& member) { return member.second->kind == Value::Kind::null; });
  }
  for (auto& [key, child] : draft.members) drop_nulls(*child);
}

void drop_managed_fields(Draft& object) {
  if (Draft* metadata = object.find("metadata")) metadata->erase("managedFields");
}

}  // namespace

std::expected<Applied, PatchFailure> server_side_apply(const Type& type, const Value* live, const Value& configuration,
                                                       const std::vector<ManagedFieldsEntry>& managed_fields,
                                                       const Manager& manager, bool force, Tree& tree) {
  if (configuration.kind != Value::Kind::object) {
    return std::unexpected(PatchFailure{400, "the configuration is no object", {}});
  }
  const Value* metadata = configuration.find("metadata");
  if (const Value* managed = metadata == nullptr ? nullptr : metadata->find("managedFields");
      managed != nullptr && managed->kind != Value::Kind::null && !managed->members.empty()) {
    return std::unexpected(PatchFailure{400, "metadata.managedFields must be nil", {}});
  }
  const Spot root{&type, nullptr, false};
  Drafts drafts;
  Draft* wanted = drafts.copy(configuration);
  drop_nulls(*wanted);
  drop_managed_fields(*wanted);
  Draft* before = live == nullptr ? hollow(drafts, type) : drafts.copy(*live);
  drop_managed_fields(*before);
  FieldSet set = fields_of(root, *wanted);
  strip(set);

  Applying applying;
  Draft* result = applying.merge(root, drafts.copy(*before), wanted);
  std::vector<Owner> owners = owners_of(managed_fields);
  const auto own =
      std::find_if(owners.begin(), owners.end(), [&](const Owner& owner) { return is_own(owner, manager, "Apply"); });
  if (own != owners.end()) {
    std::vector<const FieldSet*> others;
    for (const Owner& owner : owners) {
      if (&owner != &*own) others.push_back(&owner.set);
    }
    applying.prune(root, *result, own->set, &set, others);
  }
  if (drafts.overflow()) return std::unexpected(PatchFailure{413, "the applied object is too large or too deep", {}});

  Changes changes = compare(root, *before, *result);
  strip(changes.changed);
  strip(changes.removed);
  if (!force) {
    if (auto conflicts = conflicts_of(owners, manager, changes.changed)) return std::unexpected(std::move(*conflicts));
  }
  const bool unchanged = changes.changed.empty() && changes.removed.empty();
  for (Owner& owner : owners) {
    if (is_own(owner, manager, "Apply")) continue;
    owner.set.subtract(changes.changed);
    owner.set.subtract(changes.removed);
  }
  if (own == owners.end()) {
    owners.push_back({entry_for(manager, "Apply"), std::move(set)});
  } else if (!unchanged || !(own->set == set)) {
    own->entry = entry_for(manager, "Apply");
    own->set = std::move(set);
  }
  auto object = drafts.finish(*result, tree);
  if (!object) return std::unexpected(std::move(object.error()));
  return Applied{*object, entries_of(std::move(owners))};
}

std::vector<ManagedFieldsEntry> track_update(const Type& type, const void* before, const void* after,
                                             const std::vector<ManagedFieldsEntry>& managed_fields,
                                             const Manager& manager) {
  const Spot root{&type, nullptr, false};
  Drafts drafts;
  Draft* old = before == nullptr ? hollow(drafts, type) : draft_of(drafts, type, before);
  Draft* next = draft_of(drafts, type, after);
  strip(*old);
  strip(*next);
  if (before == nullptr && managed_fields.empty()) {
    ManagedFieldsEntry entry = entry_for(manager, "Update");
    entry.fields_v1 = RawJson{fields_v1_of_new(root, *old, *next)};
    if (entry.fields_v1->text == "{}") return {};
    return {std::move(entry)};
  }
  Changes changes = compare(root, *old, *next);
  if (changes.changed.empty() && changes.removed.empty()) return managed_fields;
  std::vector<Owner> owners = owners_of(managed_fields);
  Owner* own = nullptr;
  for (Owner& owner : owners) {
    if (is_own(owner, manager, "Update")) {
      own = &owner;
    } else {
      owner.set.subtract(changes.changed);
    }
    owner.set.subtract(changes.removed);
  }
  if (own == nullptr) {
    owners.push_back({entry_for(manager, "Update"), std::move(changes.changed)});
  } else {
    own->entry = entry_for(manager, "Update");
    own->set.unite(changes.changed);
  }
  return entries_of(std::move(owners));
}

}  // namespace keelson::api
