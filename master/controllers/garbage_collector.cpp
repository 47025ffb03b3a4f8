// Deletes what has lost its owners, in the ways that a deletion can ask for: in the
// background, before its owner (foreground), or not at all (orphans).
#include <unordered_map>
#include <unordered_set>

#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"
#include "master/controllers/owner_graph.h"
#include "master/controllers/patches.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using Set = std::unordered_set<std::string>;

class GarbageCollector : public Controller {
 public:
  explicit GarbageCollector(Context context)
      : context_(context), agenda_(context.loop, [this](const std::string& uid) { look(uid); }) {
    Informers& informers = context_.informers;
    listen(informers.namespaces);
    listen(informers.nodes);
    listen(informers.leases);
    listen(informers.service_accounts);
    listen(informers.replication_controllers);
    listen(informers.services);
    listen(informers.endpoints);
    listen(informers.slices);
    listen(informers.pods);
    listen(informers.config_maps);
    listen(informers.secrets);
  }

 private:
  template <typename T>
  void listen(Informer<T>& informer) {
    informer.listen([this](const auto& old, const auto& now) {
      // A namesake with another uid is another object.
      if (old && (!now || old->metadata.uid != now->metadata.uid)) {
        enqueue(graph_.remove(old->metadata.uid));
        absent_.insert(old->metadata.uid);
        if (absent_.size() > kMostAbsent) absent_.clear();
      }
      if (now) enqueue(graph_.set(api::resource_of<T>(), now->metadata));
    });
  }

  void enqueue(const std::vector<std::string>& uids) {
    for (const std::string& uid : uids) agenda_.soon(uid);
  }

  void look(const std::string& uid) {
    const OwnedObject* object = graph_.find(uid);
    if (object == nullptr) return agenda_.drop(uid);
    if (busy_.contains(uid)) {
      again_.insert(uid);
      return;
    }
    const OwnerAction action = graph_.decide(uid, absent_, present_);
    switch (action.type) {
      case OwnerAction::Type::none:
        return agenda_.succeeded(uid);
      case OwnerAction::Type::look_up:
        for (const api::OwnerReference& owner : action.owners) look_up(*object, owner);
        return;
      case OwnerAction::Type::drop_owners:
        return patch(*object, apiclient::PatchType::strategic, drop_owners_patch(uid, uids(action.owners)));
      case OwnerAction::Type::unblock_owners:
        return patch(*object, apiclient::PatchType::strategic, unblock_owners_patch(uid, uids(action.owners)));
      case OwnerAction::Type::remove:
        return remove(*object, action.policy);
      case OwnerAction::Type::orphan_dependents:
        return orphan(*object, action.dependents);
      case OwnerAction::Type::finish_foreground:
        return drop_finalizer(*object, kForegroundFinalizer);
    }
  }

  // Whether an owner that no watch has shown exists after all.
  void look_up(const OwnedObject& object, const api::OwnerReference& owner) {
    const api::Resource& kind = *api::find_kind(owner.api_version, owner.kind);
    auto& waiting = looked_up_[owner.uid];
    waiting.insert(object.uid);
    if (waiting.size() > 1) return;  // asked already
    context_.client
        .get(kind, kind.namespaced ? object.namespace_ : std::string(), owner.name,
             [this, uid = owner.uid](Outcome<api::AnyObject> outcome) {
               const Set waiting = std::exchange(looked_up_[uid], {});
               looked_up_.erase(uid);
               if (outcome && outcome->metadata().uid == uid) {
                 present_.insert(uid);
               } else if (outcome || outcome.error().not_found()) {
                 absent_.insert(uid);
               } else {
                 for (const std::string& dependent : waiting) agenda_.after_failure(dependent);
                 return;
               }
               for (const std::string& dependent : waiting) agenda_.soon(dependent);
               // By now the watch shows it; when it goes, that must count.
               if (present_.size() > kMostAbsent) present_.clear();
             })
        .detach();
  }

  void remove(const OwnedObject& object, const std::string& policy) {
    begin(object.uid);
    host::log_info("{} {}: its owners are gone, deleting it", object.resource->kind, name_of(object));
    context_.client
        .remove(*object.resource, object.namespace_, object.name,
                {.propagation_policy = policy, .uid = object.uid, .resource_version = object.resource_version},
                [this, uid = object.uid](Outcome<void> outcome) { end(uid, outcome ? nullptr : &outcome.error()); })
        .detach();
  }

  void patch(const OwnedObject& object, apiclient::PatchType type, std::string body) {
    begin(object.uid);
    context_.client
        .patch(*object.resource, object.namespace_, object.name, type, std::move(body), {},
               [this, uid = object.uid](Outcome<api::AnyObject> outcome) {
                 end(uid, outcome ? nullptr : &outcome.error());
               })
        .detach();
  }

  void orphan(const OwnedObject& object, const std::vector<std::string>& dependents) {
    if (dependents.empty()) return drop_finalizer(object, kOrphanFinalizer);
    // Each as its own write; the watch shows them freed, and whoever is the last brings us here again.
    begin(object.uid);
    const auto left = std::make_shared<size_t>(dependents.size());  // shared by the answers
    for (const std::string& dependent : dependents) {
      const OwnedObject* owned = graph_.find(dependent);
      if (owned == nullptr) {
        freed(object.uid, left);
        continue;
      }
      context_.client
          .patch(*owned->resource, owned->namespace_, owned->name, apiclient::PatchType::strategic,
                 drop_owners_patch(dependent, {object.uid}), {},
                 [this, uid = object.uid, left](Outcome<api::AnyObject> outcome) {
                   if (outcome) enqueue(graph_.set(outcome->resource(), outcome->metadata()));
                   freed(uid, left);
                 })
          .detach();
    }
  }
  void freed(const std::string& uid, const std::shared_ptr<size_t>& left) {
    if (--*left > 0) return;
    busy_.erase(uid);
    again_.erase(uid);
    // Those that could not be freed are tried again; without any left, the finalizer goes.
    agenda_.after_failure(uid);
  }

  // Finalizers are a list without keys: read, changed, and written if it still is the same.
  void drop_finalizer(const OwnedObject& object, const char* finalizer) {
    begin(object.uid);
    context_.client
        .get(*object.resource, object.namespace_, object.name,
             [this, uid = object.uid, finalizer](Outcome<api::AnyObject> outcome) {
               if (!outcome) return end(uid, &outcome.error());
               if (outcome->metadata().uid != uid) return end(uid, nullptr);
               context_.client
                   .patch(
                       outcome->resource(), outcome->metadata().namespace_, outcome->metadata().name,
                       apiclient::PatchType::merge, finalizers_patch(outcome->metadata(), finalizer), {},
                       [this, uid](Outcome<api::AnyObject> outcome) { end(uid, outcome ? nullptr : &outcome.error()); })
                   .detach();
             })
        .detach();
  }

  void begin(const std::string& uid) { busy_.insert(uid); }
  void end(const std::string& uid, const apiclient::Failure* failure) {
    busy_.erase(uid);
    const bool again = again_.erase(uid) != 0;
    if (failure != nullptr && !failure->not_found()) {
      if (!is_stale(*failure)) host::log_warning("garbage collection: {}", failure->message);
      agenda_.after_failure(uid);
    } else if (again) {
      agenda_.soon(uid);
    }
  }

  static std::vector<std::string> uids(const std::vector<api::OwnerReference>& owners) {
    std::vector<std::string> uids;
    for (const api::OwnerReference& owner : owners) uids.push_back(owner.uid);
    return uids;
  }
  static std::string name_of(const OwnedObject& object) {
    return object.namespace_.empty() ? object.name : object.namespace_ + "/" + object.name;
  }

  static constexpr size_t kMostAbsent = 100'000;

  Context context_;
  OwnerGraph graph_;
  Agenda agenda_;
  Set absent_, present_;  // uids of owners that were seen to go, or looked up
  std::unordered_map<std::string, Set> looked_up_;
  Set busy_, again_;
};

}  // namespace

std::unique_ptr<Controller> make_garbage_collector(Context context) {
  return std::make_unique<GarbageCollector>(context);
}

}  // namespace keelson::controllers
