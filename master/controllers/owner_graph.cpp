#include "master/controllers/owner_graph.h"

#include <algorithm>
#include <iterator>

namespace keelson::controllers {

namespace {

bool has(const std::vector<std::string>& list, const char* value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

bool can_own(const api::Resource& owner, const OwnedObject& object) {
  return !owner.namespaced || !object.namespace_.empty();
}

void OwnerGraph::link(const OwnedObject& object) {
  for (const api::OwnerReference& owner : object.owners) dependents_[owner.uid].insert(object.uid);
}

void OwnerGraph::unlink(const OwnedObject& object) {
  for (const api::OwnerReference& owner : object.owners) {
    const auto found = dependents_.find(owner.uid);
    if (found == dependents_.end()) continue;
    found->second.erase(object.uid);
    if (found->second.empty()) dependents_.erase(found);
  }
}

std::vector<std::string> OwnerGraph::set(const api::Resource& resource, const api::ObjectMeta& metadata) {
  std::vector<std::string> look;
  const auto [found, is_new] = objects_.try_emplace(metadata.uid);
  OwnedObject& object = found->second;
  const OwnedObject before = object;
  object.resource_version = metadata.resource_version;
  object.deleting = metadata.deletion_timestamp.has_value();
  object.has_foreground = has(metadata.finalizers, kForegroundFinalizer);
  object.has_orphan = has(metadata.finalizers, kOrphanFinalizer);
  object.foreground = object.deleting && object.has_foreground;
  object.orphaning = object.deleting && object.has_orphan;
  if (is_new) {
    object.resource = &resource;
    object.namespace_ = metadata.namespace_;
    object.name = metadata.name;
    object.uid = metadata.uid;
  }
  const bool owners_changed = object.owners != metadata.owner_references;
  if (owners_changed) {
    unlink(object);
    object.owners = metadata.owner_references;
    link(object);
    // One that waits for it may wait for it no longer.
    for (const api::OwnerReference& owner : before.owners) {
      const auto theirs = objects_.find(owner.uid);
      if (theirs != objects_.end() && theirs->second.foreground) look.push_back(owner.uid);
    }
  }
  if (!object.owners.empty() && (is_new || owners_changed)) look.push_back(object.uid);
  if (object.orphaning && !before.orphaning) look.push_back(object.uid);
  if (object.foreground && !before.foreground) {
    look.push_back(object.uid);
    const auto theirs = dependents_.find(object.uid);
    if (theirs != dependents_.end()) look.insert(look.end(), theirs->second.begin(), theirs->second.end());
  }
  return look;
}

std::vector<std::string> OwnerGraph::remove(const std::string& uid) {
  std::vector<std::string> look;
  const auto found = objects_.find(uid);
  if (found == objects_.end()) return look;
  for (const api::OwnerReference& owner : found->second.owners) {
    const auto theirs = objects_.find(owner.uid);
    if (theirs != objects_.end() && theirs->second.foreground) look.push_back(owner.uid);
  }
  unlink(found->second);
  objects_.erase(found);
  const auto theirs = dependents_.find(uid);
  if (theirs != dependents_.end()) look.insert(look.end(), theirs->second.begin(), theirs->second.end());
  return look;
}

const OwnedObject* OwnerGraph::find(const std::string& uid) const {
  const auto found = objects_.find(uid);
  return found == objects_.end() ? nullptr : &found->second;
}

OwnerAction OwnerGraph::decide(const std::string& uid, const std::unordered_set<std::string>& absent,
                               const std::unordered_set<std::string>& present) const {
  OwnerAction action;
  const OwnedObject* object = find(uid);
  if (object == nullptr) return action;
  const auto theirs = dependents_.find(uid);
  if (object->orphaning) {
    action.type = OwnerAction::Type::orphan_dependents;
    if (theirs != dependents_.end()) action.dependents.assign(theirs->second.begin(), theirs->second.end());
    return action;
  }
  if (object->foreground) {
    const bool waits =
        theirs != dependents_.end() && std::any_of(theirs->second.begin(), theirs->second.end(), [&](const auto& id) {
          const OwnedObject* dependent = find(id);
          return dependent != nullptr &&
                 std::any_of(dependent->owners.begin(), dependent->owners.end(), [&](const auto& owner) {
                   return owner.uid == uid && owner.block_owner_deletion.value_or(false);
                 });
        });
    if (!waits) action.type = OwnerAction::Type::finish_foreground;
    return action;
  }
  if (object->deleting || object->owners.empty()) return action;

  bool owned = false;
  std::vector<api::OwnerReference> gone, waiting, unknown;
  for (const api::OwnerReference& owner : object->owners) {
    const api::Resource* kind = api::find_kind(owner.api_version, owner.kind);
    const OwnedObject* known = find(owner.uid);
    if (known != nullptr && known->resource != kind) known = nullptr;  // the uid of something else
    if (kind == nullptr || !kind->stored || !can_own(*kind, *object)) {
      owned = true;  // nobody can tell: it stays
    } else if (known != nullptr && (!kind->namespaced || known->namespace_ == object->namespace_) &&
               known->name == owner.name) {
      if (known->foreground) {
        waiting.push_back(owner);
      } else {
        owned = true;
      }
    } else if (known != nullptr || absent.contains(owner.uid)) {
      gone.push_back(owner);  // of another namespace, or another name: none of its own
    } else if (present.contains(owner.uid)) {
      owned = true;
    } else {
      unknown.push_back(owner);
    }
  }
  if (!unknown.empty()) {
    action.type = OwnerAction::Type::look_up;
    action.owners = std::move(unknown);
    return action;
  }
  if (owned) {
    if (gone.empty() && waiting.empty()) return action;
    action.type = OwnerAction::Type::drop_owners;
    action.owners = std::move(gone);
    action.owners.insert(action.owners.end(), waiting.begin(), waiting.end());
    return action;
  }
  action.type = OwnerAction::Type::remove;
  if (!waiting.empty() && theirs != dependents_.end()) {
    const bool circle = std::any_of(theirs->second.begin(), theirs->second.end(), [this](const auto& id) {
      const OwnedObject* dependent = find(id);
      return dependent != nullptr && dependent->foreground;
    });
    if (circle) {  // it would wait for one that waits itself: perhaps for the owners that wait for it
      std::copy_if(waiting.begin(), waiting.end(), std::back_inserter(action.owners),
                   [](const auto& owner) { return owner.block_owner_deletion.value_or(false); });
    }
    if (!action.owners.empty()) {
      action.type = OwnerAction::Type::unblock_owners;
      return action;
    }
    action.policy = "Foreground";  // what it owns itself has to go before it
  } else if (object->has_orphan) {
    action.policy = "Orphan";
  } else if (object->has_foreground) {
    action.policy = "Foreground";
  } else {
    action.policy = "Background";
  }
  return action;
}

}  // namespace keelson::controllers
