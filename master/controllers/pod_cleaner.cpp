// Takes away Pods that nobody else will: finished ones beyond a number, those of nodes that
// are gone or declared out of service, those that were deleted before they had a node.
#include <algorithm>
#include <set>

#include "api/tree.h"
#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using NodePtr = std::shared_ptr<const api::Node>;

constexpr std::chrono::seconds kQuarantine{40};  // until a node that is not there counts as gone
constexpr const char* kOutOfService = "node.kubernetes.io/out-of-service";

bool is_finished(const api::Pod& pod) { return pod.status.phase == "Succeeded" || pod.status.phase == "Failed"; }

bool is_out_of_service(const api::Node& node) {
  return std::any_of(node.spec.taints.begin(), node.spec.taints.end(),
                     [](const api::Taint& taint) { return taint.key == kOutOfService; });
}

class PodCleaner : public Controller {
 public:
  explicit PodCleaner(Context context)
      : context_(context),
        pods_(context.loop, [this](const std::string& key) { look_at_pod(key); }),
        nodes_(context.loop, [this](const std::string& name) { look_at_node(name); }) {
    context_.informers.pods.listen([this](const auto& old, const auto& now) { pod_changed(old, now); });
    context_.informers.nodes.listen([this](const auto& old, const auto& now) {
      const std::string& name = (now ? now : old)->metadata.name;
      if (!now) {
        nodes_.at(name, host::Clock::now() + kQuarantine);
        return;
      }
      gone_.erase(name);
      if (is_out_of_service(*now) && !(old && is_out_of_service(*old))) {
        nodes_.soon(name);
      }
    });
  }

 private:
  void pod_changed(const PodPtr& old, const PodPtr& now) {
    if (old) finished_.erase({age(*old), key_of(*old)});
    if (!now) {
      surplus_.erase(key_of(*old));
      return pods_.drop(key_of(*old));
    }
    if (is_finished(*now)) {
      finished_.insert({age(*now), key_of(*now)});
      limit_finished();
    }
    const std::string& node = now->spec.node_name;
    if (now->metadata.deletion_timestamp && (node.empty() || is_gone_or_out(node))) pods_.soon(key_of(*now));
    if (!node.empty() && (!old || old->spec.node_name.empty()) && !context_.informers.nodes.find({}, node)) {
      nodes_.at(node, host::Clock::now() + kQuarantine);
    }
  }

  static int64_t age(const api::Pod& pod) {
    return pod.metadata.creation_timestamp ? pod.metadata.creation_timestamp->seconds : 0;
  }

  bool is_gone_or_out(const std::string& name) const {
    const NodePtr node = context_.informers.nodes.find({}, name);
    return gone_.contains(name) || (node && is_out_of_service(*node));
  }

  void limit_finished() {
    const size_t limit = context_.options.terminated_pods;
    if (limit == 0 || finished_.size() <= limit) return;
    size_t surplus = finished_.size() - limit;
    for (auto at = finished_.begin(); surplus > 0 && at != finished_.end(); ++at, --surplus) {
      if (surplus_.insert(at->second).second) pods_.soon(at->second);
    }
  }

  void look_at_pod(const std::string& key) {
    const auto [namespace_, name] = split_key(key);
    const PodPtr pod = context_.informers.pods.find(namespace_, name);
    if (!pod) return;
    const std::string& node = pod->spec.node_name;
    if (pod->metadata.deletion_timestamp && node.empty()) {
      remove(key, pod, "it was deleted before it had a node");
    } else if (!node.empty() && gone_.contains(node)) {
      fail_and_remove(key, pod);
    } else if (pod->metadata.deletion_timestamp && is_gone_or_out(node)) {
      remove(key, pod, "its node is out of service");
    } else if (surplus_.contains(key) && is_finished(*pod)) {
      remove(key, pod, "there are too many finished Pods");
    }
  }

  // Whether a node is really gone: the watch may be behind.
  void look_at_node(const std::string& name) {
    if (const NodePtr node = context_.informers.nodes.find({}, name)) {
      gone_.erase(name);
      if (!is_out_of_service(*node)) return;
      for (const PodPtr& pod : context_.informers.pod_index.on_node(name)) pods_.soon(key_of(*pod));
      return;
    }
    if (context_.informers.pod_index.on_node(name).empty()) return;
    context_.client
        .get<api::Node>({}, name,
                        [this, name](Outcome<api::Node> outcome) {
                          if (outcome) return nodes_.succeeded(name);
                          if (!outcome.error().not_found()) {
                            nodes_.after_failure(name);
                            return;
                          }
                          gone_.insert(name);
                          for (const PodPtr& pod : context_.informers.pod_index.on_node(name)) {
                            pods_.soon(key_of(*pod));
                          }
                        })
        .detach();
  }

  void fail_and_remove(const std::string& key, const PodPtr& pod) {
    if (is_finished(*pod)) return remove(key, pod, "its node is gone");
    const std::string patch =
        R"({"metadata":{"uid":)" + api::json_string(pod->metadata.uid) +
        R"(},"status":{"phase":"Failed","conditions":[{"type":"DisruptionTarget","status":"True",)"
        R"("reason":"DeletionByPodGC","message":"PodGC: node no longer exists","lastTransitionTime":")" +
        api::to_string(api::Time{wall_seconds()}) + R"("}]}})";
    context_.client
        .patch<api::Pod>(pod->metadata.namespace_, pod->metadata.name, apiclient::PatchType::strategic, patch,
                         {.subresource = "status"},
                         [this, key, pod](Outcome<api::Pod>) { remove(key, pod, "its node is gone"); })
        .detach();
  }

  void remove(const std::string& key, const PodPtr& pod, const char* why) {
    if (!busy_.insert(key).second) return;
    host::log_info("Pod {}: {}, taking it away", key, why);
    context_.client
        .remove<api::Pod>(pod->metadata.namespace_, pod->metadata.name,
                          {.grace_period_seconds = 0, .uid = pod->metadata.uid},
                          [this, key](Outcome<void> outcome) {
                            busy_.erase(key);
                            if (outcome || is_stale(outcome.error())) return pods_.succeeded(key);
                            host::log_warning("Pod {}: {}", key, outcome.error().message);
                            pods_.after_failure(key);
                          })
        .detach();
  }

  Context context_;
  Agenda pods_, nodes_;
  std::set<std::pair<int64_t, std::string>> finished_;  // the oldest first
  std::set<std::string> gone_;                          // nodes that are not there, as the server said
  std::set<std::string> surplus_;                       // of the finished, those that are to go
  std::set<std::string> busy_;
};

}  // namespace

std::unique_ptr<Controller> make_pod_cleaner(Context context) { return std::make_unique<PodCleaner>(context); }

}  // namespace keelson::controllers
