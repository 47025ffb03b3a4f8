#include "master/scheduler/scheduler.h"

#include <fmt/core.h>

#include <chrono>
#include <unordered_map>
#include <utility>

#include "apiclient/complaints.h"
#include "apiclient/event_recorder.h"
#include "apiclient/reflector.h"
#include "apiclient/trim.h"
#include "host/log.h"
#include "master/scheduler/placement.h"
#include "master/scheduler/queue.h"
#include "master/scheduler/reporter.h"

namespace keelson::scheduler {

using apiclient::Outcome;
using apiclient::Reflector;

struct Scheduler::Impl {
  // Why Pods of one kind fit nowhere, as long as nothing changed that may help them.
  struct Failed {
    uint64_t improvements = 0, arrivals = 0;
    bool sociable = false;
    std::string why;
  };
  static constexpr int kTriesPerTurn = 64;  // then others on the loop have their turn
  static constexpr size_t kMostKinds = 4096;

  host::Loop& loop;
  SchedulerOptions options;
  std::unique_ptr<apiclient::Client> client;  // first, so that it goes last: it cancels what refers to us
  std::unique_ptr<apiclient::EventRecorder> events;
  std::unique_ptr<Reporter> reporter;
  std::unique_ptr<Reflector<api::Pod>> pods;
  std::unique_ptr<Reflector<api::Node>> nodes;
  std::unique_ptr<Reflector<api::Namespace>> namespaces;

  Cluster cluster;
  Queue queue;
  std::unordered_map<uint64_t, Failed> failed;
  uint64_t seen_improvements = 0, seen_arrivals = 0;
  size_t start = 0;
  size_t binding = 0;
  bool turn_posted = false;
  apiclient::Complaints complaints{"scheduler"};
  host::Timer retry;
  host::Counter &scheduled, &unschedulable, &errors;
  host::Histogram& attempt_seconds;
  std::shared_ptr<Impl*> self = std::make_shared<Impl*>(this);  // what is posted may come after us

  Impl(host::Loop& loop, SchedulerOptions options, std::unique_ptr<apiclient::Client> client, host::Metrics& metrics)
      : loop(loop),
        options(std::move(options)),
        client(std::move(client)),
        scheduled(attempts(metrics, "scheduled")),
        unschedulable(attempts(metrics, "unschedulable")),
        errors(attempts(metrics, "error")),
        attempt_seconds(metrics.histogram("scheduler_scheduling_algorithm_duration_seconds",
                                          "Time that deciding for one Pod took.", {},
                                          {1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1})) {}
  ~Impl() { *self = nullptr; }

  static host::Counter& attempts(host::Metrics& metrics, const char* result) {
    return metrics.counter("scheduler_schedule_attempts_total", "Attempts to schedule Pods, by result.",
                           {{"result", result}});
  }

  void begin() {
    events = std::make_unique<apiclient::EventRecorder>(
        *client, apiclient::RecorderOptions{.component = options.name, .host = {}});
    reporter = std::make_unique<Reporter>(*client, *events);
    const auto failed = [this](const apiclient::Failure& failure) { complaints.add(failure); };
    // Lists are told at once when both are there: a Pod must not be refused for nodes not yet seen.
    nodes = std::make_unique<Reflector<api::Node>>(
        *client, apiclient::ReflectorOptions{.trim = apiclient::trim_for_control_plane},
        Reflector<api::Node>::Handlers{
            .synced = [this] { synced(); },
            .changed = [this](const auto&, const auto& node) { after([&] { cluster.set_node(*node); }); },
            .deleted = [this](const auto& node) { after([&] { cluster.remove_node(node->metadata.name); }); },
            .failed = failed});
    namespaces = std::make_unique<Reflector<api::Namespace>>(
        *client, apiclient::ReflectorOptions{.trim = apiclient::trim_for_control_plane},
        Reflector<api::Namespace>::Handlers{
            .synced = [this] { synced(); },
            .changed =
                [this](const auto&, const auto& space) {
                  after([&] { cluster.set_namespace(space->metadata.name, space->metadata.labels); });
                },
            .deleted = [this](const auto& space) { after([&] { cluster.remove_namespace(space->metadata.name); }); },
            .failed = failed});
    pods = std::make_unique<Reflector<api::Pod>>(
        *client, apiclient::ReflectorOptions{.trim = apiclient::trim_for_control_plane},
        Reflector<api::Pod>::Handlers{
            .synced = [this] { synced(); },
            .changed = [this](const auto&, const auto& pod) { after([&] { set_pod(*pod); }); },
            .deleted = [this](const auto& pod) { after([&] { remove_pod(*pod); }); },
            .failed = failed});
  }

  bool running() const { return pods->synced() && nodes->synced() && namespaces->synced(); }

  // Before all three are listed nothing is taken up; then everything is, from the sets.
  void synced() {
    if (!running()) return;
    namespaces->each(
        [this](const auto& space) { cluster.set_namespace(space->metadata.name, space->metadata.labels); });
    nodes->each([this](const auto& node) { cluster.set_node(*node); });
    pods->each([this](const auto& pod) { set_pod(*pod); });
    host::log_info("scheduler: {} nodes, {} Pods, of which {} wait for a node", cluster.nodes().size(), pods->size(),
                   queue.size());
    wake();
  }

  template <typename Change>
  void after(Change change) {
    if (!running()) return;  // synced() will see it
    change();
    wake();
  }

  void set_pod(const api::Pod& pod) {
    const PodPtr info = info_of(pod);
    cluster.set_pod(info);
    const std::string key = info->key();
    const bool waits = info->node.empty() && !info->finished && !info->deleting && info->scheduler == options.name;
    if (!waits) {
      queue.remove(key);
      reporter->forget(key);
    } else if (info->gated) {
      queue.remove(key);
      reporter->waits(info, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates");
    } else if (!cluster.is_assumed(info)) {
      queue.set(info);
    }
  }

  void remove_pod(const api::Pod& pod) {
    const std::string key = pod.metadata.namespace_ + "/" + pod.metadata.name;
    cluster.remove_pod(key, pod.metadata.uid);
    queue.remove(key);
    reporter->forget(key);
  }

  void wake() {
    if (turn_posted) return;
    turn_posted = true;
    loop.post([self = self] {
      if (*self != nullptr) (*self)->turn();
    });
  }

  void turn() {
    turn_posted = false;
    if (cluster.improvements() != seen_improvements) {
      queue.release(false);
    } else if (cluster.arrivals() != seen_arrivals) {
      queue.release(true);
    }
    seen_improvements = cluster.improvements();
    seen_arrivals = cluster.arrivals();
    queue.release_held(host::Clock::now());
    for (int tries = 0; tries < kTriesPerTurn && binding < options.binds; ++tries) {
      const PodPtr pod = queue.pop();
      if (pod == nullptr) break;
      try_one(pod);
    }
    if (queue.has_active() && binding < options.binds) wake();
    if (!queue.has_active() && binding == 0) events->resume();  // bindings go first
    if (const auto when = queue.next_release()) {
      retry = loop.after(*when - host::Clock::now(), [this] { wake(); });
    }
  }

  void try_one(const PodPtr& pod) {
    const auto known = failed.find(pod->kind);
    if (known != failed.end() && known->second.improvements == cluster.improvements() &&
        (!known->second.sociable || known->second.arrivals == cluster.arrivals())) {
      return refuse(pod, known->second);
    }
    const auto began = host::Clock::now();
    Placement placement = place(cluster, *pod, start);
    attempt_seconds.observe(std::chrono::duration<double>(host::Clock::now() - began).count());
    if (!placement.node.empty()) return bind(pod, placement.node);
    if (failed.size() >= kMostKinds) failed.clear();
    const bool sociable = !pod->wishes.near.empty() || !pod->wishes.spread.empty();
    Failed& now = failed[pod->kind] = {cluster.improvements(), cluster.arrivals(), sociable, std::move(placement.why)};
    refuse(pod, now);
  }

  void refuse(const PodPtr& pod, const Failed& why) {
    unschedulable.add();
    queue.park(pod->key(), why.sociable);
    reporter->waits(pod, "Unschedulable", why.why);
  }

  void bind(const PodPtr& pod, const std::string& node) {
    cluster.assume(pod, node);
    ++binding;
    events->pause();
    api::Binding binding_object;
    binding_object.metadata.namespace_ = pod->namespace_;
    binding_object.metadata.name = pod->name;
    binding_object.metadata.uid = pod->uid;
    binding_object.target.api_version = "v1";
    binding_object.target.kind = "Node";
    binding_object.target.name = node;
    apiclient::ApiRequest request;
    request.method = "POST";
    request.path = apiclient::path_of(api::resource_of<api::Pod>(), pod->namespace_, pod->name, "binding");
    request.body = api::encode_json(binding_object);
    client
        ->request(std::move(request),
                  [this, pod, node](Outcome<std::string> outcome) {
                    --binding;
                    bound(pod, node, outcome);
                    if (queue.has_active() || binding == 0) wake();
                  })
        .detach();
  }

  void bound(const PodPtr& pod, const std::string& node, const Outcome<std::string>& outcome) {
    const std::string key = pod->key();
    if (outcome) {
      scheduled.add();
      queue.remove(key);
      reporter->bound(pod, node);
      return;
    }
    errors.add();
    host::log_warning("scheduler: bind Pod {} to {}: {}", key, node, outcome.error().message);
    const auto now = pods->find(pod->namespace_, pod->name);
    const bool waits = now != nullptr && now->metadata.uid == pod->uid && now->spec.node_name.empty() &&
                       !now->metadata.deletion_timestamp;
    cluster.forget(pod);
    if (!waits) return queue.remove(key);
    // Whether the server acted is not always known; it refuses the second binding of a Pod.
    if (!outcome.error().unanswered()) reporter->bind_failed(pod, outcome.error().message);
    queue.set(info_of(*now));
    queue.hold(key, host::Clock::now());
    wake();
  }
};

Scheduler::Scheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Scheduler::~Scheduler() = default;

host::Result<std::unique_ptr<Scheduler>> Scheduler::create(host::Loop& loop, apiclient::Config api,
                                                           SchedulerOptions options, host::Metrics& metrics) {
  auto client = apiclient::Client::create(loop, std::move(api), options.connections);
  if (!client) return std::unexpected(std::move(client.error()).within("scheduler"));
  auto impl = std::make_unique<Impl>(loop, std::move(options), std::move(*client), metrics);
  impl->begin();
  return std::unique_ptr<Scheduler>(new Scheduler(std::move(impl)));
}

bool Scheduler::running() const { return impl_->running(); }

}  // namespace keelson::scheduler
