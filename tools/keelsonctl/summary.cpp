#include "tools/keelsonctl/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "tools/keelsonctl/table.h"

namespace keelson::ctl {

namespace {

bool condition_is_true(const api::Pod& pod, std::string_view type) {
  return std::ranges::any_of(pod.status.conditions, [&](const auto& condition) {
    return condition.type == type && condition.status == "True";
  });
}

bool is_sidecar(const api::Pod& pod, const std::string& name) {
  return std::ranges::any_of(pod.spec.init_containers, [&](const auto& container) {
    return container.name == name && container.restart_policy == "Always";
  });
}

std::string end_of(const api::ContainerStateTerminated& end) {
  if (!end.reason.empty()) return end.reason;
  if (end.signal.value_or(0) != 0) return fmt::format("Signal:{}", *end.signal);
  return fmt::format("ExitCode:{}", end.exit_code);
}

void later(std::optional<int64_t>& last, const api::ContainerStatus& status) {
  const auto& end = status.last_state.terminated;
  if (end && end->finished_at) last = std::max(last.value_or(0), end->finished_at->seconds);
}

std::string created(const api::ObjectMeta& metadata, int64_t now) {
  return metadata.creation_timestamp ? age(now - metadata.creation_timestamp->seconds) : "<unknown>";
}

std::string port_text(const api::ServicePort& port) {
  const auto protocol = port.protocol.empty() ? std::string("TCP") : port.protocol;
  if (port.node_port.value_or(0) != 0) return fmt::format("{}:{}/{}", port.port, *port.node_port, protocol);
  return fmt::format("{}/{}", port.port, protocol);
}

}  // namespace

PodSummary summarize(const api::Pod& pod, int64_t now) {
  size_t total = pod.spec.containers.size(), ready = 0;
  int64_t restarts = 0, sidecar_restarts = 0;
  std::optional<int64_t> last, sidecar_last;
  std::string reason = pod.status.reason.empty() ? pod.status.phase : pod.status.reason;
  for (const auto& container : pod.spec.init_containers) total += is_sidecar(pod, container.name);

  bool initializing = false;
  for (size_t i = 0; i < pod.status.init_container_statuses.size() && !initializing; ++i) {
    const auto& status = pod.status.init_container_statuses[i];
    const auto& end = status.state.terminated;
    restarts += status.restart_count;
    later(last, status);
    const bool sidecar = is_sidecar(pod, status.name);
    if (sidecar) {
      sidecar_restarts += status.restart_count;
      later(sidecar_last, status);
    }
    if (end && end->exit_code == 0) continue;
    if (sidecar && status.started.value_or(false)) {
      ready += status.ready;
      continue;
    }
    initializing = true;
    if (end) {
      reason = "Init:" + end_of(*end);
    } else if (status.state.waiting && !status.state.waiting->reason.empty() &&
               status.state.waiting->reason != "PodInitializing") {
      reason = "Init:" + status.state.waiting->reason;
    } else {
      reason = fmt::format("Init:{}/{}", i, pod.spec.init_containers.size());
    }
  }

  if (!initializing || condition_is_true(pod, "Initialized")) {
    restarts = sidecar_restarts;
    last = sidecar_last;
    bool running = false;
    // From the last, so that the first container has the last word.
    for (auto status = pod.status.container_statuses.rbegin(); status != pod.status.container_statuses.rend();
         ++status) {
      restarts += status->restart_count;
      later(last, *status);
      if (status->state.waiting && !status->state.waiting->reason.empty()) {
        reason = status->state.waiting->reason;
      } else if (status->state.terminated) {
        reason = end_of(*status->state.terminated);
      } else if (status->ready && status->state.running) {
        running = true;
        ++ready;
      }
    }
    if (reason == "Completed" && running) reason = condition_is_true(pod, "Ready") ? "Running" : "NotReady";
  }
  const bool ended = pod.status.phase == "Succeeded" || pod.status.phase == "Failed";
  if (pod.metadata.deletion_timestamp && !ended) reason = "Terminating";

  PodSummary summary{.ready = fmt::format("{}/{}", ready, total),
                     .status = reason.empty() ? "Pending" : reason,
                     .restarts = std::to_string(restarts),
                     .age = created(pod.metadata, now)};
  if (restarts != 0 && last) summary.restarts += fmt::format(" ({} ago)", age(now - *last));
  return summary;
}

std::string pod_table(const std::vector<api::Pod>& pods, bool with_namespace, bool wide, int64_t now) {
  std::vector<std::string> headings = {"NAME", "READY", "STATUS", "RESTARTS", "AGE"};
  if (with_namespace) headings.insert(headings.begin(), "NAMESPACE");
  if (wide) headings.insert(headings.end(), {"IP", "NODE"});
  Table table(headings);
  for (const auto& pod : pods) {
    const auto summary = summarize(pod, now);
    std::vector<std::string> row = {pod.metadata.name, summary.ready, summary.status, summary.restarts, summary.age};
    if (with_namespace) row.insert(row.begin(), pod.metadata.namespace_);
    if (wide) row.insert(row.end(), {pod.status.pod_ip, pod.spec.node_name});
    table.add(std::move(row));
  }
  return table.text();
}

std::string service_table(const std::vector<api::Service>& services, bool with_namespace, bool wide, int64_t now) {
  std::vector<std::string> headings = {"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"};
  if (with_namespace) headings.insert(headings.begin(), "NAMESPACE");
  if (wide) headings.emplace_back("SELECTOR");
  Table table(headings);
  for (const auto& service : services) {
    const auto& spec = service.spec;
    std::vector<std::string> ports, external = spec.external_ips, selector;
    for (const auto& port : spec.ports) ports.push_back(port_text(port));
    for (const auto& ingress : service.status.load_balancer.ingress) {
      external.push_back(ingress.ip.empty() ? ingress.hostname : ingress.ip);
    }
    if (spec.type == "ExternalName") external = {spec.external_name};
    if (spec.type == "LoadBalancer" && external.empty()) external = {"<pending>"};
    for (const auto& [name, value] : spec.selector) selector.push_back(name + "=" + value);
    std::vector<std::string> row = {service.metadata.name,
                                    spec.type.empty() ? "ClusterIP" : spec.type,
                                    spec.cluster_ip,
                                    fmt::format("{}", fmt::join(external, ",")),
                                    fmt::format("{}", fmt::join(ports, ",")),
                                    created(service.metadata, now)};
    if (with_namespace) row.insert(row.begin(), service.metadata.namespace_);
    if (wide) row.push_back(fmt::format("{}", fmt::join(selector, ",")));
    table.add(std::move(row));
  }
  return table.text();
}

std::string default_container(const api::Pod& pod) {
  const auto annotated = pod.metadata.annotations.find("kubectl.kubernetes.io/default-container");
  if (annotated != pod.metadata.annotations.end()) return annotated->second;
  return pod.spec.containers.empty() ? std::string() : pod.spec.containers.front().name;
}

}  // namespace keelson::ctl
