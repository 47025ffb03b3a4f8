// Nodes that fall silent: their conditions become Unknown, they are tainted, their Pods are
// not Ready any more. taint_eviction.cpp acts on the taints.
//
// Who does not hear cannot tell who is silent: while a watch is down, after a write of ours
// failed, and after we stood still ourselves, everybody has the whole grace once more.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "api/tree.h"
#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"
#include "master/controllers/node_health.h"
#include "master/controllers/patches.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using NodePtr = std::shared_ptr<const api::Node>;

constexpr const char* kLeaseNamespace = "kube-node-lease";

class NodeLifecycle : public Controller {
 public:
  explicit NodeLifecycle(Context context)
      : context_(context),
        heartbeats_(context.options.node_monitor_grace_period),
        events_(context.client, {.component = "node-controller", .host = {}}),
        agenda_(context.loop, [this](const std::string& name) { look(name); }) {
    Informers& informers = context_.informers;
    informers.nodes.listen([this](const auto& old, const auto& now) { node_changed(old, now); });
    informers.leases.listen([this](const auto&, const auto& now) {
      if (!now || now->metadata.namespace_ != kLeaseNamespace) return;
      heartbeats_.saw(*now, host::Clock::now());
      arm();
    });
    informers.deaf = [this] { deaf_ = true; };
  }

 private:
  void node_changed(const NodePtr& old, const NodePtr& now) {
    const std::string& name = (now ? now : old)->metadata.name;
    if (!now || (old && old->metadata.uid != now->metadata.uid)) {
      heartbeats_.forget(name);
      ready_.erase(name);
      not_ready_.erase(name);
    }
    if (!now) {
      agenda_.drop(name);
      return count();
    }
    heartbeats_.saw(*now, host::Clock::now());
    const bool is_ready = ready_status(*now) == "True";
    (is_ready ? ready_ : not_ready_).insert(name);
    (is_ready ? not_ready_ : ready_).erase(name);
    if (old && ready_status(*old) == "True" && !is_ready) became_not_ready(*now);
    count();
    agenda_.soon(name);
    arm();
  }

  // A change of how widely nodes fail changes everybody's taints.
  void count() {
    const bool disrupted = is_disrupted(ready_.size(), not_ready_.size());
    if (disrupted == disrupted_) return;
    disrupted_ = disrupted;
    host::log_warning("{} nodes are ready, {} are not: {}", ready_.size(), not_ready_.size(),
                      disrupted ? "nobody's Pods are evicted" : "Pods of silent ones are evicted");
    for (const std::string& name : not_ready_) agenda_.soon(name);
  }

  // ---- silence

  void arm() {
    const auto now = host::Clock::now();
    auto next = heartbeats_.next(now);
    if (!next) return;
    // Often enough to notice when we stood still ourselves.
    *next = std::min(*next, now + context_.options.node_monitor_grace_period / 4);
    // Heartbeats move the time away all the while: the timer is set anew only when it has run.
    if (timer_.armed() && wake_at_ <= *next) return;
    wake_at_ = *next;
    timer_ = context_.loop.after(*next - now, [this] { check(); });
  }

  bool hears(host::TimePoint now) const {
    return context_.informers.nodes.connected() && context_.informers.leases.connected() && !deaf_ &&
           now - wake_at_ <= context_.options.node_monitor_grace_period / 8;
  }

  void check() {
    timer_ = {};
    const auto now = host::Clock::now();
    if (!hears(now)) {
      deaf_ = false;
      heartbeats_.restart(now);
      return arm();
    }
    for (const std::string& name : heartbeats_.overdue(now)) silence(name);
    arm();
  }

  void silence(const std::string& name) {
    const NodePtr node = context_.informers.nodes.find({}, name);
    if (!node || busy_.contains(name)) return;
    auto conditions = silenced(*node, wall_seconds());
    if (!conditions) return;
    host::log_warning(
        "node {}: silent for {} s", name,
        std::chrono::duration_cast<std::chrono::seconds>(context_.options.node_monitor_grace_period).count());
    busy_.insert(name);
    context_.client
        .patch<api::Node>({}, name, apiclient::PatchType::merge, node_conditions_patch(*node, *conditions),
                          {.subresource = "status"},
                          [this, name](Outcome<api::Node> outcome) {
                            busy_.erase(name);
                            if (outcome) return;
                            host::log_warning("node {}: {}", name, outcome.error().message);
                            // The node may just have spoken; or the server cannot write, and nor could the node.
                            if (!is_stale(outcome.error())) heartbeats_.restart(host::Clock::now());
                            arm();
                            agenda_.after_failure(name);
                          })
        .detach();
  }

  // ---- taints

  void look(const std::string& name) {
    const NodePtr node = context_.informers.nodes.find({}, name);
    if (!node || node->metadata.deletion_timestamp || tainting_.contains(name)) return;
    const auto now = host::Clock::now();
    if (heartbeats_.is_overdue(name, now) && hears(now)) silence(name);
    const auto taints = taints_for(*node, !disrupted_, wall_seconds());
    if (taints == node->spec.taints) return agenda_.succeeded(name);
    tainting_.insert(name);
    context_.client
        .patch<api::Node>({}, name, apiclient::PatchType::merge, node_taints_patch(*node, taints), {},
                          [this, name](Outcome<api::Node> outcome) {
                            tainting_.erase(name);
                            if (outcome) return;  // the watch brings it back here
                            if (!is_stale(outcome.error())) {
                              host::log_warning("node {}: {}", name, outcome.error().message);
                            }
                            agenda_.after_failure(name);
                          })
        .detach();
  }

  // Endpoints must not go on sending anybody there.
  void became_not_ready(const api::Node& node) {
    events_.record(apiclient::reference_to(node), "Normal", "NodeNotReady",
                   fmt::format("Node {} status is now: NodeNotReady", node.metadata.name));
    if (ready_status(node) != "Unknown") return;  // its agent speaks for its Pods itself
    for (const PodPtr& pod : context_.informers.pod_index.on_node(node.metadata.name)) mark_not_ready(pod, 0);
  }

  void mark_not_ready(const PodPtr& pod, int tries) {
    constexpr int kMostTries = 5;
    const api::PodCondition* ready = condition_of(*pod, "Ready");
    if (ready == nullptr || ready->status != "True") return;
    events_.record(apiclient::reference_to(*pod), "Warning", "NodeNotReady", "Node is not ready");
    const std::string patch =
        fmt::format(R"({{"metadata":{{"uid":{}}},"status":{{"conditions":[{{"type":"Ready","status":"False",)"
                    R"("lastTransitionTime":"{}"}}]}}}})",
                    api::json_string(pod->metadata.uid), api::to_string(api::Time{wall_seconds()}));
    context_.client
        .patch<api::Pod>(pod->metadata.namespace_, pod->metadata.name, apiclient::PatchType::strategic, patch,
                         {.subresource = "status"},
                         [this, pod, tries](Outcome<api::Pod> outcome) {
                           if (outcome || is_stale(outcome.error()) || tries >= kMostTries) return;
                           const NodePtr node = context_.informers.nodes.find({}, pod->spec.node_name);
                           if (node && ready_status(*node) == "Unknown") mark_not_ready(pod, tries + 1);
                         })
        .detach();
  }

  Context context_;
  Heartbeats heartbeats_;
  apiclient::EventRecorder events_;
  Agenda agenda_;
  host::Timer timer_;
  host::TimePoint wake_at_{};
  bool deaf_ = false;
  bool disrupted_ = false;
  std::set<std::string> ready_, not_ready_;
  std::set<std::string> busy_, tainting_;
};

}  // namespace

std::unique_ptr<Controller> make_node_lifecycle(Context context) { return std::make_unique<NodeLifecycle>(context); }

}  // namespace keelson::controllers
