// ReplicationControllers: adopts, releases, makes and deletes Pods, and counts them.
//
// Nothing is made twice. A Pod's name is chosen here and kept until the server has said
// what became of it, so that a request whose answer was lost can be sent again; and until
// the watch has come as far as the server's answer, the Pod counts though it is not seen.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "api/tree.h"
#include "api/validate.h"
#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"
#include "master/controllers/patches.h"
#include "master/controllers/replicas.h"

namespace keelson::controllers {

namespace {

using api::ReplicationController;
using apiclient::Failure;
using apiclient::Outcome;
using ControllerPtr = std::shared_ptr<const ReplicationController>;

constexpr size_t kBurst = 500;  // Pods made or deleted at a time, for one controller

// A look costs in proportion to the Pods, and each of a thousand Pods that start asks for some: so it
// rests in proportion.
constexpr auto kRestForPod = std::chrono::microseconds(30);

bool namespace_is_going(const Failure& failure) {
  if (!failure.status.details) return false;
  return std::any_of(failure.status.details->causes.begin(), failure.status.details->causes.end(),
                     [](const auto& cause) { return cause.reason == "NamespaceTerminating"; });
}

class ReplicationControllers : public Controller {
 public:
  explicit ReplicationControllers(Context context)
      : context_(context),
        events_(context.client, {.component = "replication-controller", .host = {}, .at_a_time = 1}),
        agenda_(context.loop, [this](const std::string& key) { look(key); }),
        random_(std::random_device{}()) {
    context_.informers.replication_controllers.listen([this](const auto& old, const auto& now) {
      const ReplicationController& controller = now ? *now : *old;
      auto& named = by_namespace_[controller.metadata.namespace_];
      named.erase(controller.metadata.name);
      if (now) named[controller.metadata.name] = now;
      agenda_.soon(key_of(controller));
    });
    context_.informers.pods.listen([this](const auto& old, const auto& now) { pod_changed(old, now); });
  }

 private:
  // What is under way for one controller, by its uid.
  struct Work {
    std::string uid;
    std::set<std::string> sent;             // names that are being created
    std::set<std::string> unsure;           // sent, and not answered: to be sent again
    std::map<std::string, int64_t> unseen;  // created, by revision: the watch is not that far
    std::set<std::string> deleting;         // uids
    std::set<std::string> claiming;         // uids that are being adopted or released
    size_t batch = 1;                       // how many are made at once; doubles while all goes well
    bool adopting = false;                  // it is being looked up whether it still may
    bool writing_status = false;
    std::optional<api::ReplicationControllerStatus> written;  // until the watch shows it:
    int64_t written_revision = 0;
    std::optional<ReplicaFailure> failure;
    host::TimePoint retry_at{};  // nothing is made before
    host::TimePoint rest_until{};
  };

  void pod_changed(const PodPtr& old, const PodPtr& now) {
    for (const PodPtr& pod : {old, now}) {
      if (!pod) continue;
      const std::string& namespace_ = pod->metadata.namespace_;
      if (const api::OwnerReference* owner = controller_of(pod->metadata)) {
        if (owner->kind == ReplicationController::kKind) agenda_.soon(namespace_ + "/" + owner->name);
        continue;
      }
      // Nobody's: it may be adopted.
      for (const auto& [name, controller] : by_namespace_[namespace_]) {
        if (api::matches(controller->spec.selector, pod->metadata.labels)) agenda_.soon(key_of(*controller));
      }
    }
  }

  Work& work_of(const std::string& key, const std::string& uid) {
    Work& work = works_[key];
    if (work.uid != uid) work = Work{.uid = uid};  // a namesake: the old one's answers find nothing
    return work;
  }
  // For answers: null when the controller has gone meanwhile.
  Work* find_work(const std::string& key, const std::string& uid) {
    const auto found = works_.find(key);
    return found == works_.end() || found->second.uid != uid ? nullptr : &found->second;
  }

  void look(const std::string& key) {
    const auto [namespace_, name] = split_key(key);
    const ControllerPtr controller = context_.informers.replication_controllers.find(namespace_, name);
    if (!controller) {
      works_.erase(key);
      agenda_.drop(key);
      return;
    }
    Work& work = work_of(key, controller->metadata.uid);
    const auto now = host::Clock::now();
    if (now < work.rest_until) return agenda_.at(key, work.rest_until);
    std::vector<PodPtr> pods = context_.informers.pod_index.of_owner(controller->metadata.uid);
    const std::vector<PodPtr> orphans = context_.informers.pod_index.orphans(namespace_);
    pods.insert(pods.end(), orphans.begin(), orphans.end());
    Claims claims = claim(*controller, pods);
    work.rest_until = now + kRestForPod * pods.size();

    const int64_t seen = context_.informers.pods.revision();
    std::erase_if(work.unseen, [&](const auto& made) { return made.second <= seen; });
    std::vector<PodPtr> own = std::move(claims.own);
    if (!work.unseen.empty()) {
      for (const PodPtr& pod : own) work.unseen.erase(pod->metadata.name);
    }
    if (!work.deleting.empty()) leave_out_deleted(work, own);

    for (const PodPtr& pod : claims.release) release(*controller, work, pod);
    if (!claims.adopt.empty()) adopt(controller, work, claims.adopt);
    if (!controller->metadata.deletion_timestamp) manage(controller, work, own, claims.adopt.size());
    write_status(*controller, work, own);
  }

  // A Pod that was told to go counts no more, before the watch shows it so.
  static void leave_out_deleted(Work& work, std::vector<PodPtr>& own) {
    std::set<std::string> still_there;
    std::erase_if(own, [&](const PodPtr& pod) {
      const bool deleted = work.deleting.contains(pod->metadata.uid);
      if (deleted) still_there.insert(pod->metadata.uid);
      return deleted;
    });
    work.deleting = std::move(still_there);
  }

  // ---- how many there are

  void manage(const ControllerPtr& controller, Work& work, const std::vector<PodPtr>& own, size_t adopting) {
    const std::string key = key_of(*controller);
    const auto wanted = static_cast<size_t>(std::max(0, controller->spec.replicas.value_or(1)));
    const size_t coming = work.sent.size() + work.unsure.size() + work.unseen.size() + adopting;
    const size_t count = own.size() + coming;
    const bool early = host::Clock::now() < work.retry_at;
    if (!work.unsure.empty()) {
      if (early || !work.sent.empty()) return;
      // What became of these has to be known before anything else is made.
      const std::set<std::string> names = std::exchange(work.unsure, {});
      for (const std::string& name : names) create(controller, work, name);
      return;
    }
    if (count < wanted && work.sent.empty()) {
      if (early) return;
      const size_t number = std::min({wanted - count, work.batch, kBurst});
      for (size_t i = 0; i < number; ++i) {
        create(controller, work, generated_name(controller->metadata.name, random_()));
      }
    } else if (own.size() > wanted && coming == adopting && work.deleting.empty()) {
      for (const PodPtr& pod : victims(own, std::min(own.size() - wanted, kBurst), wall_seconds())) {
        remove(*controller, work, pod);
      }
    } else if (count == wanted && work.failure) {
      work.failure.reset();
      agenda_.succeeded(key);
    }
  }

  void create(const ControllerPtr& controller, Work& work, const std::string& name) {
    api::Pod pod = pod_from(*controller);
    pod.metadata.name = name;
    work.sent.insert(name);
    context_.client
        .create<api::Pod>(pod, {},
                          [this, controller, name](Outcome<api::Pod> outcome) {
                            const std::string key = key_of(*controller);
                            Work* work = find_work(key, controller->metadata.uid);
                            if (work == nullptr) return;
                            work->sent.erase(name);
                            if (outcome) {
                              created(*controller, *work, *outcome);
                            } else {
                              create_failed(controller, *work, name, outcome.error());
                            }
                          })
        .detach();
  }

  void created(const ReplicationController& controller, Work& work, const api::Pod& pod) {
    const std::string key = key_of(controller);
    const int64_t revision = revision_of(pod.metadata.resource_version);
    if (revision > context_.informers.pods.revision()) work.unseen[pod.metadata.name] = revision;
    events_.record(apiclient::reference_to(controller), "Normal", "SuccessfulCreate",
                   "Created pod: " + pod.metadata.name);
    if (work.sent.empty()) {
      work.batch = std::min(work.batch * 2, kBurst);
      if (work.failure) {
        work.failure.reset();
        agenda_.succeeded(key);
      }
    }
    agenda_.soon(key);
  }

  void create_failed(const ControllerPtr& controller, Work& work, const std::string& name, const Failure& failure) {
    const std::string key = key_of(*controller);
    if (failure.already_exists()) return find_out(controller, name);
    work.batch = 1;
    if (failure.transient()) {
      // It may have been made all the same.
      work.unsure.insert(name);
      work.retry_at = agenda_.after_failure(key);
      return;
    }
    if (namespace_is_going(failure)) return;
    host::log_info("replication controller {}: {}", key, failure.message);
    events_.record(apiclient::reference_to(*controller), "Warning", "FailedCreate",
                   "Error creating: " + failure.status.message);
    work.failure = ReplicaFailure{"FailedCreate", failure.status.message};
    work.retry_at = agenda_.after_failure(key);
    agenda_.soon(key);  // to say so
  }

  // Somebody has that name: ourselves, when the answer to the first request was lost.
  void find_out(const ControllerPtr& controller, const std::string& name) {
    Work* work = find_work(key_of(*controller), controller->metadata.uid);
    work->sent.insert(name);
    context_.client
        .get<api::Pod>(controller->metadata.namespace_, name,
                       [this, controller, name](Outcome<api::Pod> outcome) {
                         const std::string key = key_of(*controller);
                         Work* work = find_work(key, controller->metadata.uid);
                         if (work == nullptr) return;
                         work->sent.erase(name);
                         if (outcome) {
                           const api::OwnerReference* owner = controller_of(outcome->metadata);
                           const int64_t revision = revision_of(outcome->metadata.resource_version);
                           if (owner != nullptr && owner->uid == controller->metadata.uid &&
                               revision > context_.informers.pods.revision()) {
                             work->unseen[name] = revision;
                           }
                         } else if (!outcome.error().not_found()) {
                           work->unsure.insert(name);
                           work->retry_at = agenda_.after_failure(key);
                           return;
                         }
                         agenda_.soon(key);
                       })
        .detach();
  }

  void remove(const ReplicationController& controller, Work& work, const PodPtr& pod) {
    const std::string key = key_of(controller), uid = pod->metadata.uid;
    work.deleting.insert(uid);
    context_.client
        .remove<api::Pod>(pod->metadata.namespace_, pod->metadata.name, {.uid = uid},
                          [this, controller = apiclient::reference_to(controller), key, pod](Outcome<void> outcome) {
                            Work* work = find_work(key, controller.uid);
                            if (work == nullptr) return;
                            if (outcome) {
                              events_.record(controller, "Normal", "SuccessfulDelete",
                                             "Deleted pod: " + pod->metadata.name);
                              return;  // the watch tells the rest
                            }
                            if (outcome.error().not_found()) return;
                            work->deleting.erase(pod->metadata.uid);
                            agenda_.after_failure(key);
                            if (outcome.error().transient() || is_stale(outcome.error())) return;
                            events_.record(controller, "Warning", "FailedDelete",
                                           "Error deleting: " + outcome.error().status.message);
                            work->failure = ReplicaFailure{"FailedDelete", outcome.error().status.message};
                          })
        .detach();
  }

  // ---- whose they are

  // Asks first whether the controller is still there: a Pod that is given to one that has gone
  // would be collected.
  void adopt(const ControllerPtr& controller, Work& work, const std::vector<PodPtr>& pods) {
    if (work.adopting) return;
    work.adopting = true;
    context_.client
        .get<ReplicationController>(
            controller->metadata.namespace_, controller->metadata.name,
            [this, controller, pods](Outcome<ReplicationController> outcome) {
              const std::string key = key_of(*controller);
              Work* work = find_work(key, controller->metadata.uid);
              if (work == nullptr) return;
              work->adopting = false;
              if (!outcome) {
                if (!outcome.error().not_found()) agenda_.after_failure(key);
                return;
              }
              if (outcome->metadata.uid != controller->metadata.uid || outcome->metadata.deletion_timestamp) return;
              for (const PodPtr& pod : pods) adopt_one(*controller, *work, pod);
            })
        .detach();
  }

  void adopt_one(const ReplicationController& controller, Work& work, const PodPtr& pod) {
    change_owner(controller, work, pod,
                 fmt::format(R"({{"metadata":{{"uid":{},"ownerReferences":[{{"apiVersion":"v1","kind":)"
                             R"("ReplicationController","name":{},"uid":{},"controller":true,)"
                             R"("blockOwnerDeletion":true}}]}}}})",
                             api::json_string(pod->metadata.uid), api::json_string(controller.metadata.name),
                             api::json_string(controller.metadata.uid)));
  }

  void release(const ReplicationController& controller, Work& work, const PodPtr& pod) {
    change_owner(controller, work, pod, drop_owners_patch(pod->metadata.uid, {controller.metadata.uid}));
  }

  void change_owner(const ReplicationController& controller, Work& work, const PodPtr& pod, std::string patch) {
    const std::string uid = pod->metadata.uid;
    if (!work.claiming.insert(uid).second) return;
    context_.client
        .patch<api::Pod>(pod->metadata.namespace_, pod->metadata.name, apiclient::PatchType::strategic,
                         std::move(patch), {},
                         [this, key = key_of(controller), owner = controller.metadata.uid, uid](auto outcome) {
                           Work* work = find_work(key, owner);
                           if (work == nullptr) return;
                           work->claiming.erase(uid);
                           if (outcome || is_stale(outcome.error())) return;  // the watch tells the rest
                           host::log_warning("replication controller {}: {}", key, outcome.error().message);
                           agenda_.after_failure(key);
                         })
        .detach();
  }

  // ---- what it says

  void write_status(const ReplicationController& controller, Work& work, const std::vector<PodPtr>& own) {
    const std::string key = key_of(controller);
    const int64_t now = wall_seconds();
    const ReplicaStatus computed = status_of(controller, own, work.failure, now);
    if (computed.next_available) {
      agenda_.at(key, host::Clock::now() + std::chrono::seconds(std::max<int64_t>(1, *computed.next_available - now)));
    }
    if (revision_of(controller.metadata.resource_version) >= work.written_revision) work.written.reset();
    api::ReplicationControllerStatus said = work.written.value_or(controller.status);
    for (auto* number : {&said.fully_labeled_replicas, &said.ready_replicas, &said.available_replicas}) {
      if (!*number) *number = 0;  // zero is left out on the wire
    }
    if (!said.observed_generation) said.observed_generation = 0;
    if (said == computed.status || work.writing_status) return;
    work.writing_status = true;
    context_.client
        .patch<ReplicationController>(
            controller.metadata.namespace_, controller.metadata.name, apiclient::PatchType::merge,
            status_patch(computed.status), {.subresource = "status"},
            [this, key, uid = controller.metadata.uid](Outcome<ReplicationController> outcome) {
              Work* work = find_work(key, uid);
              if (work == nullptr) return;
              work->writing_status = false;
              if (outcome) {
                work->written_revision = revision_of(outcome->metadata.resource_version);
                work->written = std::move(outcome->status);
                return agenda_.soon(key);
              }
              if (outcome.error().not_found()) return;
              agenda_.after_failure(key);
            })
        .detach();
  }

  Context context_;
  apiclient::EventRecorder events_;
  Agenda agenda_;
  std::mt19937_64 random_;  // names only: nothing secret
  std::map<std::string, Work> works_;
  std::map<std::string, std::map<std::string, ControllerPtr>> by_namespace_;
};

}  // namespace

std::unique_ptr<Controller> make_replication_controllers(Context context) {
  return std::make_unique<ReplicationControllers>(context);
}

}  // namespace keelson::controllers
