#pragma once
// Who owns whom, over all kinds: what of an object is to be done because of its owners or
// of what it owns. Pure; objects are known by their uid, and never found by name alone.
//
// Source: Kubernetes' garbage collector (pkg/controller/garbagecollector).

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "api/resource.h"

namespace keelson::controllers {

inline constexpr const char* kForegroundFinalizer = "foregroundDeletion";
inline constexpr const char* kOrphanFinalizer = "orphan";

struct OwnedObject {
  const api::Resource* resource = nullptr;
  std::string namespace_, name, uid, resource_version;
  std::vector<api::OwnerReference> owners;
  bool deleting = false;
  bool foreground = false;  // waits for what it owns (deleting, with the finalizer)
  bool orphaning = false;   // lets go of what it owns (deleting, with the finalizer)
  // Its finalizers, deleting or not: how it is to be deleted itself.
  bool has_foreground = false, has_orphan = false;
};

struct OwnerAction {
  enum class Type : uint8_t {
    none,
    look_up,            // `owners`: not known here; whether they exist has to be asked
    drop_owners,        // `owners`: gone, or waiting for this object while others own it too
    unblock_owners,     // `owners` wait for this object, which they own in a circle: they are to wait no longer
    remove,             // by `policy`
    orphan_dependents,  // `dependents` lose it as their owner, then the finalizer goes
    finish_foreground,  // nothing that it waits for is left: the finalizer goes
  };
  Type type = Type::none;
  std::vector<api::OwnerReference> owners;
  std::vector<std::string> dependents;  // uids
  std::string policy;                   // "Background", "Foreground", "Orphan"
};

class OwnerGraph {
 public:
  // uids that have to be looked at (decide()) because of the change; in no order.
  std::vector<std::string> set(const api::Resource& resource, const api::ObjectMeta& metadata);
  std::vector<std::string> remove(const std::string& uid);

  const OwnedObject* find(const std::string& uid) const;
  // `absent`: owners that were looked up and are not there; `present`: that are.
  OwnerAction decide(const std::string& uid, const std::unordered_set<std::string>& absent,
                     const std::unordered_set<std::string>& present) const;

  size_t size() const { return objects_.size(); }

 private:
  void link(const OwnedObject& object);
  void unlink(const OwnedObject& object);

  std::unordered_map<std::string, OwnedObject> objects_;
  std::unordered_map<std::string, std::unordered_set<std::string>> dependents_;  // by the owner's uid
};

// As the object had them in mind: one of another namespace, or of a namespaced kind for an
// object that has no namespace, cannot be an owner.
bool can_own(const api::Resource& owner, const OwnedObject& object);

}  // namespace keelson::controllers
