// Empties namespaces that are going away, then lets them go: Pods first (they may need the
// rest to end well), then everything else of every kind.
#include <algorithm>
#include <map>

#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"
#include "master/controllers/namespace_content.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using NamespacePtr = std::shared_ptr<const api::Namespace>;

constexpr const char* kFinalizer = "kubernetes";

bool has_our_finalizer(const api::Namespace& space) {
  return std::find(space.spec.finalizers.begin(), space.spec.finalizers.end(), kFinalizer) !=
         space.spec.finalizers.end();
}

bool is_pods(const api::Resource& resource) { return resource.kind == api::Pod::kKind; }

// "pods." and "leases.coordination.k8s.io", as Kubernetes names them here.
std::string name_of(const api::Resource& resource) {
  return std::string(resource.plural) + "." + std::string(resource.group);
}

class NamespaceDeletion : public Controller {
 public:
  explicit NamespaceDeletion(Context context)
      : context_(context), agenda_(context.loop, [this](const std::string& name) { look(name); }) {
    context_.informers.namespaces.listen([this](const auto& old, const auto& now) {
      const std::string& name = (now ? now : old)->metadata.name;
      if (!now) {
        rounds_.erase(name);
        agenda_.drop(name);
      } else if (now->metadata.deletion_timestamp && !(old && old->metadata.deletion_timestamp)) {
        agenda_.soon(name);
      }
    });
    // Most of the waiting is for Pods to end.
    context_.informers.pods.listen([this](const auto& old, const auto& now) {
      if (now || !old) return;
      const auto space = context_.informers.namespaces.find({}, old->metadata.namespace_);
      if (space && space->metadata.deletion_timestamp) agenda_.soon(old->metadata.namespace_);
    });
  }

 private:
  // One time through all kinds of one namespace.
  struct Round {
    std::string uid;
    bool pods_only = true;
    size_t waiting = 0;
    NamespaceContent content;
  };

  void look(const std::string& name) {
    const NamespacePtr space = context_.informers.namespaces.find({}, name);
    if (!space || !space->metadata.deletion_timestamp || !has_our_finalizer(*space)) return;
    if (rounds_.contains(name)) {
      again_[name] = true;
      return;
    }
    Round& round = rounds_[name];
    round.uid = space->metadata.uid;
    begin(name, round);
  }

  void begin(const std::string& name, Round& round) {
    for (const api::Resource& resource : api::resources()) {
      if (!resource.namespaced || !resource.stored || is_pods(resource) != round.pods_only) continue;
      ++round.waiting;
      apiclient::ApiRequest request;
      request.method = "DELETE";
      request.path = apiclient::path_of(resource, name);
      request.body = R"({"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"})";
      context_.client
          .request(std::move(request),
                   [this, name, uid = round.uid, &resource](Outcome<std::string> outcome) {
                     Round* round = find(name, uid);
                     if (round == nullptr) return;
                     if (!outcome && !outcome.error().not_found())
                       round->content.failures.push_back(outcome.error().message);
                     count(name, uid, resource);
                   })
          .detach();
    }
  }

  void count(const std::string& name, const std::string& uid, const api::Resource& resource) {
    context_.client
        .list(resource, name, {.limit = 500},
              [this, name, uid, &resource](Outcome<apiclient::ObjectList> outcome) {
                Round* round = find(name, uid);
                if (round == nullptr) return;
                if (!outcome) {
                  round->content.failures.push_back(outcome.error().message);
                } else if (!outcome->items.empty()) {
                  round->content.remaining[name_of(resource)] =
                      static_cast<int64_t>(outcome->items.size()) + outcome->metadata.remaining_item_count.value_or(0);
                  for (const api::AnyObject& object : outcome->items) {
                    for (const std::string& finalizer : object.metadata().finalizers) {
                      ++round->content.finalizers[finalizer];
                    }
                  }
                }
                if (--round->waiting == 0) end(name, *round);
              })
        .detach();
  }

  void end(const std::string& name, Round& round) {
    if (round.content.empty() && round.pods_only) {
      round.pods_only = false;
      return begin(name, round);
    }
    const NamespaceContent content = std::move(round.content);
    rounds_.erase(name);
    const NamespacePtr space = context_.informers.namespaces.find({}, name);
    if (!space) return;
    if (content.empty()) return finalize(space);
    for (const std::string& failure : content.failures) host::log_warning("namespace {}: {}", name, failure);
    say(*space, content);
    const bool again = again_.erase(name) != 0;
    if (again) {
      agenda_.soon(name);
    } else {
      agenda_.after_failure(name);
    }
  }

  void say(const api::Namespace& space, const NamespaceContent& content) {
    const auto conditions = namespace_conditions(space, content, wall_seconds());
    if (conditions == space.status.conditions) return;
    context_.client
        .patch<api::Namespace>({}, space.metadata.name, apiclient::PatchType::merge,
                               namespace_conditions_patch(conditions), {.subresource = "status"},
                               [](Outcome<api::Namespace>) {})  // the next round says it again
        .detach();
  }

  void finalize(const NamespacePtr& space) {
    const std::string name = space->metadata.name;
    api::Namespace done = *space;
    std::erase(done.spec.finalizers, kFinalizer);
    context_.client
        .update<api::Namespace>(done, {.subresource = "finalize"},
                                [this, name](Outcome<api::Namespace> outcome) {
                                  if (outcome || outcome.error().not_found()) return agenda_.succeeded(name);
                                  host::log_warning("namespace {}: {}", name, outcome.error().message);
                                  agenda_.after_failure(name);
                                })
        .detach();
  }

  Round* find(const std::string& name, const std::string& uid) {
    const auto found = rounds_.find(name);
    return found == rounds_.end() || found->second.uid != uid ? nullptr : &found->second;
  }

  Context context_;
  Agenda agenda_;
  std::map<std::string, Round> rounds_;
  std::map<std::string, bool> again_;
};

}  // namespace

std::unique_ptr<Controller> make_namespace_deletion(Context context) {
  return std::make_unique<NamespaceDeletion>(context);
}

}  // namespace keelson::controllers
