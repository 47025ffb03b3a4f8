#include <sys/utsname.h>

#include <algorithm>
#include <map>

#include "agent/agent.h"
#include "agent/network/doctor.h"
#include "api/static_pod.h"
#include "host/process.h"

namespace keelson::agent {

using host::Path;

namespace {

std::string level_name(api::SecurityLevel level) {
  switch (level) {
    case api::SecurityLevel::privileged:
      return "privileged";
    case api::SecurityLevel::baseline:
      return "baseline";
    case api::SecurityLevel::restricted:
      return "restricted";
  }
  return {};
}

host::Error waiting_for_pod_cidr() {
  return {.code = host::Error::Code::unavailable, .message = "waiting for a pod CIDR in the Node's spec"};
}

// A manifest has no creation time; on a node by itself the Pod begins when the node starts it.
api::Pod with_creation_time(api::Pod pod) {
  if (!pod.metadata.creation_timestamp) pod.metadata.creation_timestamp = pod.status.start_time;
  return pod;
}

}  // namespace

std::vector<api::Pod> Agent::list() {
  if (!has_rooms()) return {};
  auto pods = pods_->list();
  for (auto& pod : pods) pod = with_creation_time(std::move(pod));
  return pods;
}

std::optional<api::Pod> Agent::find(const std::string& namespace_, const std::string& name) {
  if (!has_rooms()) return std::nullopt;
  auto pod = pods_->find(namespace_, name);
  // The master asks by the mirror's name.
  if (!pod && cluster_) {
    const auto here = cluster_->static_name(name);
    if (!here.empty()) pod = pods_->find(namespace_, here);
    if (pod && !api::is_static(*pod)) pod.reset();
  }
  if (pod) pod = with_creation_time(std::move(*pod));
  return pod;
}

host::Result<Path> Agent::log_file(const api::Pod& pod, const std::string& container, bool previous) {
  auto path = pods_->log_path(pod.metadata.namespace_, pod.metadata.name, container, previous);
  if (!path) return std::unexpected(path.error());
  return Path(*path);
}

void Agent::exec(const api::Pod& pod, const std::string& container, api::ExecSpec spec, api::Callback<int> done) {
  auto id = pods_->running_container(pod.metadata.namespace_, pod.metadata.name, container);
  if (!id) {
    loop_->post([done = std::make_shared<api::Callback<int>>(std::move(done)), error = id.error()] {
      (*done)(std::unexpected(error));
    });
    return;
  }
  runtime_->exec(*id, std::move(spec), std::move(done));
}

void Agent::store(server::PushOrder order,
                  std::move_only_function<void(std::expected<server::PushReceipt, server::PushRefusal>)> done) {
  if (!has_rooms()) {
    loop_->post([done = std::make_shared<decltype(done)>(std::move(done)), error = waiting_for_pod_cidr()] {
      (*done)(std::unexpected(server::PushRefusal{.error = error, .problems = {}}));
    });
    return;
  }
  sources_->push_store({.manifest = std::move(order.manifest), .replace = order.replace, .only = std::move(order.only)},
                       [done = std::move(done)](std::expected<sources::Pushed, sources::PushError> result) mutable {
                         if (!result) {
                           done(std::unexpected(server::PushRefusal{result.error().error, result.error().problems}));
                         } else {
                           done(server::PushReceipt{result->keys, result->warnings});
                         }
                       });
}

void Agent::remove(const api::ObjectKey& key, api::StatusCallback done) {
  if (has_rooms()) return sources_->push_remove(key, std::move(done));
  loop_->post([done = std::make_shared<api::StatusCallback>(std::move(done)), error = waiting_for_pod_cidr()] {
    (*done)(std::unexpected(error));
  });
}

std::vector<api::Service> Agent::services() {
  return has_proxy() ? proxy_->services_with_allocations() : std::vector<api::Service>();
}

void Agent::on_flows(std::function<void()> listener) {
  flows_listener_ = std::move(listener);
  if (proxy_) proxy_->on_flows(flows_listener_);
}

std::vector<api::ImageInfo> Agent::images() { return images_ ? images_->list() : std::vector<api::ImageInfo>(); }

std::vector<server::Backend> Agent::backends() {
  std::vector<server::Backend> result;
  if (!has_proxy()) return result;
  std::map<proxy::EntryKey, std::vector<std::string>> frontends;
  std::set<proxy::EntryKey> empty;
  for (const auto& service : proxy_->services()) {
    frontends[service.key] = service.vips;
    if (service.ready + service.terminating == 0) empty.insert(service.key);
  }
  const auto describe = [&](const proxy::EntryKey& key) {
    return server::Backend{.service = to_string(key.port.service),
                           .port = std::to_string(key.port.port),
                           .protocol = to_string(key.port.protocol),
                           .frontends = frontends[key]};
  };
  for (const auto& backend : proxy_->backends()) {
    auto row = describe(backend.key);
    row.address = backend.address;
    row.pod = backend.pod;
    row.state = backend.state;
    result.push_back(std::move(row));
  }
  for (const auto& key : empty) {
    auto row = describe(key);
    row.state = "none";
    result.push_back(std::move(row));
  }
  return result;
}

std::vector<server::Flow> Agent::flows(uint64_t after) {
  std::vector<server::Flow> result;
  if (!has_proxy()) return result;
  for (const auto& flow : proxy_->flows(after)) {
    result.push_back({.number = flow.number,
                      .time_us = flow.time_us,
                      .protocol = flow.protocol,
                      .source = flow.client,
                      .frontend = flow.vip,
                      .backend = flow.backend,
                      .service = flow.service,
                      .verdict = flow.verdict,
                      .path = flow.path});
  }
  return result;
}

std::vector<api::Problem> Agent::problems() const {
  std::vector<api::Problem> result;
  if (!pod_cidr_problem_.empty()) result.push_back({.object = "Node " + node_.name, .message = pod_cidr_problem_});
  if (!has_rooms()) return result;
  for (auto& problem : sources_->problems()) result.push_back(std::move(problem));
  if (has_proxy()) {
    auto problems = proxy_->problems();
    std::map<std::string, const api::Origin*> origins;  // of the Services
    if (!problems.empty()) {
      for (const auto& service : sources_->state().services)
        origins.emplace(to_string(api::key_of(service.object)), &service.origin);
    }
    for (auto& problem : problems) {
      if (const auto from = origins.find(problem.object); from != origins.end()) problem.origin = *from->second;
      result.push_back(std::move(problem));
    }
  }
  for (const auto& finding : network_->findings()) {
    result.push_back({.object = finding.subject, .message = finding.found + "; " + finding.remedy});
  }
  return result;
}

server::NodeStatus Agent::status() {
  server::NodeStatus result;
  result.node_name = node_.name;
  result.node_ip = node_.ips.front();
  utsname name{};
  if (::uname(&name) == 0) result.kernel = name.release;
  result.boot_id = host::boot_id().value_or("");
  result.started_at = started_at_;
  result.draining = draining_;
  result.problems = problems();
  if (!has_rooms()) {
    result.notices.push_back(waiting_for_pod_cidr().message);
    return result;
  }
  for (const auto& source : sources_->status()) {
    result.sources.push_back({.name = source.name,
                              .location = source.location,
                              .policy = level_name(node_.policy.level(source.name)),
                              .heard = source.spoken,
                              .last_error = source.last_error,
                              .objects = static_cast<int64_t>(source.objects)});
  }
  result.notices = runtime_->notices();
  const auto pods = pods_->list();
  const auto ready = std::ranges::count_if(pods, [](const api::Pod& pod) {
    return std::ranges::any_of(pod.status.conditions,
                               [](const auto& c) { return c.type == "Ready" && c.status == "True"; });
  });
  result.counts = {{"pods", static_cast<int64_t>(pods.size())},
                   {"podsReady", ready},
                   {"services", static_cast<int64_t>(services().size())},
                   {"backends", has_proxy() ? static_cast<int64_t>(proxy_->backends().size()) : 0},
                   {"images", static_cast<int64_t>(images_->list().size())}};
  return result;
}

std::string Agent::not_ready() {
  if (draining_) return "draining";
  if (!has_rooms()) return waiting_for_pod_cidr().message;
  if (!recovered_) return "recovering pods";
  if (!sources_->synced()) return "a manifest source has not spoken yet";
  return {};
}

void Agent::refresh_metrics() {
  if (!has_rooms()) return;
  std::map<std::string, double> phases = {{"Pending", 0}, {"Running", 0}, {"Succeeded", 0}, {"Failed", 0}};
  for (const auto& pod : pods_->list()) phases[pod.status.phase] += 1;
  for (const auto& [phase, count] : phases) {
    metrics_.gauge("keelson_pods", "Pods of this node by phase.", {{"phase", phase}}).set(count);
  }
  double errors = 0;
  double warnings = 0;
  for (const auto& problem : problems()) {
    (problem.severity == api::Problem::Severity::error ? errors : warnings) += 1;
  }
  metrics_.gauge("keelson_problems", "Problems that keelsonctl status shows.", {{"severity", "error"}}).set(errors);
  metrics_.gauge("keelson_problems", "Problems that keelsonctl status shows.", {{"severity", "warning"}}).set(warnings);
  for (const char* subject : network::kRunningSubjects) {
    const auto found = std::ranges::count(network_->findings(), std::string_view(subject), &network::Finding::subject);
    metrics_
        .gauge("keelson_pod_network_problems", "What keeps Pods from their network, see keelsonctl status.",
               {{"subject", subject}})
        .set(static_cast<double>(found));
  }
  if (!has_proxy()) return;
  for (const auto& counter : proxy_->counters()) {
    metrics_
        .gauge("keelson_service_flows", "Flows that the service programs decided, by verdict.",
               {{"verdict", counter.reason}})
        .set(static_cast<double>(counter.flows));
  }
  metrics_.gauge("keelson_services", "Services on this node.").set(static_cast<double>(services().size()));
}

}  // namespace keelson::agent
