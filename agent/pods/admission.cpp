#include "agent/pods/admission.h"

#include <fmt/core.h>

#include "agent/pods/container_spec.h"

namespace keelson::pods {
namespace {

bool is_any(const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; }

Rejection out_of(const char* resource, int64_t requested, int64_t used, int64_t capacity) {
  return {fmt::format("OutOf{}", resource),
          fmt::format("Pod was rejected: Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
                      resource, requested, used, capacity)};
}

}  // namespace

bool Admission::conflicts(const Port& a, const Port& b) {
  return a.number == b.number && a.protocol == b.protocol && (is_any(a.ip) || is_any(b.ip) || a.ip == b.ip);
}

std::optional<Rejection> Admission::admit(const api::Pod& pod, bool forced) {
  if (claims_.contains(pod.metadata.uid)) return std::nullopt;
  auto requests = pod_requests(pod);
  Claim claim{.pod = pod.metadata.namespace_ + "/" + pod.metadata.name,
              .ports = {},
              .cpu_milli = requests.cpu_request_milli,
              .memory_bytes = requests.memory_request_bytes};
  for (const auto* list : {&pod.spec.init_containers, &pod.spec.containers}) {
    for (const auto& container : *list) {
      for (const auto& port : container.ports) {
        if (!port.host_port || *port.host_port == 0) continue;
        claim.ports.push_back({port.host_ip, port.protocol.empty() ? "TCP" : port.protocol, *port.host_port});
      }
    }
  }
  if (!forced) {
    for (const auto& port : claim.ports) {
      auto [from, to] = port_claims_.equal_range(port.number);
      for (auto it = from; it != to; ++it) {
        const auto& other = claims_.at(it->second);
        for (const auto& taken : other.ports) {
          if (!conflicts(port, taken)) continue;
          return Rejection{
              "NodePorts",
              fmt::format("Pod was rejected: Predicate NodePorts failed: host port {}/{} is used by pod {}",
                          port.number, port.protocol, other.pod)};
        }
      }
    }
    if (node_.pods > 0 && static_cast<int64_t>(claims_.size()) >= node_.pods)
      return out_of("pods", 1, static_cast<int64_t>(claims_.size()), node_.pods);
    if (node_.cpu_milli > 0 && claim.cpu_milli > 0 && cpu_milli_ + claim.cpu_milli > node_.cpu_milli)
      return out_of("cpu", claim.cpu_milli, cpu_milli_, node_.cpu_milli);
    if (node_.memory_bytes > 0 && claim.memory_bytes > 0 && memory_bytes_ + claim.memory_bytes > node_.memory_bytes)
      return out_of("memory", claim.memory_bytes, memory_bytes_, node_.memory_bytes);
  }
  cpu_milli_ += claim.cpu_milli;
  memory_bytes_ += claim.memory_bytes;
  for (const auto& port : claim.ports) port_claims_.emplace(port.number, pod.metadata.uid);
  claims_.emplace(pod.metadata.uid, std::move(claim));
  return std::nullopt;
}

void Admission::release(const std::string& uid) {
  auto found = claims_.find(uid);
  if (found == claims_.end()) return;
  for (const auto& port : found->second.ports) {
    auto [from, to] = port_claims_.equal_range(port.number);
    for (auto it = from; it != to;) it = it->second == uid ? port_claims_.erase(it) : std::next(it);
  }
  cpu_milli_ -= found->second.cpu_milli;
  memory_bytes_ -= found->second.memory_bytes;
  claims_.erase(found);
}

}  // namespace keelson::pods
