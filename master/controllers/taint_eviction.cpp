// Deletes Pods that do not tolerate a NoExecute taint of their node, when their time has come.
#include <algorithm>
#include <map>
#include <set>

#include "api/tree.h"
#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"
#include "master/controllers/evictions.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using NodePtr = std::shared_ptr<const api::Node>;

// One that says no time (kubectl's say none) counts from when it was first seen.
std::vector<api::Taint> no_execute(const api::Node& node, const std::vector<api::Taint>& known) {
  std::vector<api::Taint> taints;
  for (const api::Taint& taint : node.spec.taints) {
    if (taint.effect != "NoExecute") continue;
    taints.push_back(taint);
    if (taint.time_added) continue;
    const auto before = std::find_if(known.begin(), known.end(), [&taint](const api::Taint& other) {
      return other.key == taint.key && other.value == taint.value;
    });
    taints.back().time_added = before != known.end() ? before->time_added : api::Time{wall_seconds()};
  }
  return taints;
}

class TaintEviction : public Controller {
 public:
  explicit TaintEviction(Context context)
      : context_(context),
        events_(context.client, {.component = "taint-eviction-controller", .host = {}}),
        retries_(context.loop, [this](const std::string& key) { evict(key); }) {
    policy_.not_before =
        wall_seconds() +
        std::chrono::duration_cast<std::chrono::seconds>(context.options.node_monitor_grace_period).count();
    if (context.options.pod_eviction_timeout) policy_.default_seconds = context.options.pod_eviction_timeout->count();
    context_.informers.nodes.listen([this](const auto& old, const auto& now) { node_changed(old, now); });
    context_.informers.pods.listen([this](const auto& old, const auto& now) {
      if (!now) {
        times_.set(key_of(*old), std::nullopt);
        leaving_.erase(key_of(*old));
        retries_.drop(key_of(*old));
      } else {
        consider(*now);
      }
      arm();
    });
  }

 private:
  void node_changed(const NodePtr& old, const NodePtr& now) {
    const std::string& name = (now ? now : old)->metadata.name;
    auto& known = taints_[name];
    std::vector<api::Taint> taints = now ? no_execute(*now, known) : std::vector<api::Taint>();
    if (known == taints) {
      if (taints.empty()) taints_.erase(name);
      return;
    }
    known = std::move(taints);
    if (known.empty()) taints_.erase(name);
    for (const PodPtr& pod : context_.informers.pod_index.on_node(name)) consider(*pod);
    arm();
  }

  std::optional<int64_t> time_of(const api::Pod& pod) const {
    if (!is_active(pod)) return std::nullopt;
    const auto taints = taints_.find(pod.spec.node_name);
    if (taints == taints_.end()) return std::nullopt;
    return eviction_time(pod, taints->second, policy_, wall_seconds());
  }

  void consider(const api::Pod& pod) {
    const std::string key = key_of(pod);
    if (!leaving_.contains(key)) times_.set(key, time_of(pod));
  }

  void arm() {
    const auto next = times_.next();
    if (!next) {
      timer_ = {};
      return;
    }
    if (timer_.armed() && armed_for_ == *next) return;
    armed_for_ = *next;
    const auto delay = std::chrono::seconds(std::max<int64_t>(0, *next - wall_seconds()));
    timer_ = context_.loop.after(delay, [this] {
      timer_ = {};
      for (const std::string& key : times_.take_due(wall_seconds())) evict(key);
      arm();
    });
  }

  void evict(const std::string& key) {
    const auto [namespace_, name] = split_key(key);
    const PodPtr pod = context_.informers.pods.find(namespace_, name);
    if (!pod) return;
    // The taint may have gone while the deletion was held up.
    const auto when = time_of(*pod);
    if (!when || *when > wall_seconds()) return times_.set(key, when);
    leaving_.insert(key);
    host::log_info("Pod {}: leaves node {}, which is tainted NoExecute", key, pod->spec.node_name);
    events_.record(apiclient::reference_to(*pod), "Normal", "TaintManagerEviction", "Marking for deletion Pod " + key);
    const std::string condition =
        R"({"metadata":{"uid":)" + api::json_string(pod->metadata.uid) +
        R"(},"status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"DeletionByTaintManager",)"
        R"("message":"Taint manager: deleting due to NoExecute taint","lastTransitionTime":")" +
        api::to_string(api::Time{wall_seconds()}) + R"("}]}})";
    context_.client
        .patch<api::Pod>(namespace_, name, apiclient::PatchType::strategic, condition, {.subresource = "status"},
                         [this, key, pod](Outcome<api::Pod>) { remove(key, pod); })  // told or not: it goes
        .detach();
  }

  void remove(const std::string& key, const PodPtr& pod) {
    context_.client
        .remove<api::Pod>(pod->metadata.namespace_, pod->metadata.name, {.uid = pod->metadata.uid},
                          [this, key](Outcome<void> outcome) {
                            if (outcome) return retries_.succeeded(key);  // it is shown as leaving, then gone
                            leaving_.erase(key);
                            if (is_stale(outcome.error())) return retries_.succeeded(key);
                            host::log_warning("Pod {}: {}", key, outcome.error().message);
                            retries_.after_failure(key);
                          })
        .detach();
  }

  Context context_;
  apiclient::EventRecorder events_;
  EvictionPolicy policy_;
  Evictions times_;
  Agenda retries_;
  host::Timer timer_;
  int64_t armed_for_ = 0;
  std::map<std::string, std::vector<api::Taint>> taints_;  // NoExecute, by node
  std::set<std::string> leaving_;                          // Pods whose deletion is under way
};

}  // namespace

std::unique_ptr<Controller> make_taint_eviction(Context context) { return std::make_unique<TaintEviction>(context); }

}  // namespace keelson::controllers
