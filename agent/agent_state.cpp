#include <fcntl.h>
#include <malloc.h>

#include <algorithm>

#include "agent/agent.h"
#include "agent/sources/prepare.h"
#include "api/codec.h"
#include "api/static_pod.h"
#include "host/log.h"

namespace keelson::agent {

using host::log_error;
using host::log_info;
using host::log_warning;

namespace {

constexpr auto kQuiet = std::chrono::seconds(5);  // after which a burst of changes counts as over

}  // namespace

// ---- desired state ---------------------------------------------------------------------

void Agent::recovered(host::Result<std::vector<api::RecoveredPod>> found) {
  if (!found) {
    log_error("recover: {}; pods of an earlier agent are not known", found.error().message);
    found = std::vector<api::RecoveredPod>();
  }
  std::vector<std::string> alive;
  for (const auto& pod : *found) {
    if (!pod.alive) continue;
    alive.push_back(pod.spec.uid);
    auto object = api::decode_json<api::Pod>(pod.spec.manifest);
    if (!object) continue;
    const auto source = sources::source_of(*object);
    if (source.empty()) continue;
    unheard_.push_back({.object = std::move(*object), .origin = {.source = source, .document = "recovered"}});
  }
  network_->retain(alive);
  if (!found->empty()) log_info("recovered {} pods, {} of them running", found->size(), alive.size());
  pods_->recover(std::move(*found));
  recovered_ = true;
  if (member_) member_->touch();  // Ready now, and not with the next look
  apply();
}

void Agent::apply() {
  if (!recovered_ || !sources_ || draining_) return;
  trim_timer_ = loop_->after(kQuiet, [] { ::malloc_trim(0); });
  api::DesiredState state = sources_->state();
  // A source that is silent since our start, with nothing on disk, does not lose its Pods.
  std::erase_if(unheard_, [this](const auto& pod) { return sources_->has_spoken(pod.origin.source); });
  for (const auto& pod : unheard_) {
    const bool wanted_anyhow = std::ranges::any_of(state.pods, [&](const auto& desired) {
      return desired.object.metadata.name == pod.object.metadata.name &&
             desired.object.metadata.namespace_ == pod.object.metadata.namespace_;
    });
    if (!wanted_anyhow) state.pods.push_back(pod);
  }

  // The master's copies in etcd are without a status.
  for (auto& pod : state.pods) {
    if (cluster_ && pod.origin.source == "etcd") pod.object.status.phase = cluster_->final_phase(pod.object);
  }
  apply_services(state);
  pods_->apply(state);
  if (cluster_) {
    std::vector<api::Pod> of_manifests;
    for (const auto& pod : state.pods) {
      if (api::is_static(pod.object)) of_manifests.push_back(pod.object);
    }
    cluster_->set_static_pods(std::move(of_manifests), sources_->synced(),
                              own_node_ ? own_node_->metadata.uid : std::string());
  }
  if (!std::exchange(cluster_told_, true)) {
    // After the pods' own turn, in which it has heard of those that run already.
    loop_->post([this] {
      if (cluster_ && !draining_) cluster_->recovered();
    });
  }
  if (!proxy_synced_ && sources_->synced() && (!cluster_ || cluster_->synced())) {
    proxy_synced_ = true;
    // After the pods' own turn, so that the proxy has heard of those that run already.
    loop_->post([this] {
      if (!draining_) proxy_->synced();
    });
  }
}

// The manifests' and the API server's; one of both has the manifest's.
void Agent::apply_services(const api::DesiredState& state) {
  std::vector<api::Service> services;
  for (const auto& service : state.services) services.push_back(service.object);
  std::vector<api::Endpoints> endpoints;
  for (const auto& given : state.endpoints) endpoints.push_back(given.object);
  if (cluster_) {
    // There may be ten thousand, and most of what brings us here is a Pod.
    if (!std::exchange(services_due_, false) && services == file_services_ && endpoints == file_endpoints_) return;
    file_services_ = services;
    file_endpoints_ = endpoints;
    std::set<std::pair<std::string, std::string>> given;
    for (const auto& service : services) given.emplace(service.metadata.namespace_, service.metadata.name);
    for (auto& service : cluster_->services()) {
      if (!given.contains({service.metadata.namespace_, service.metadata.name})) services.push_back(std::move(service));
    }
  }
  proxy_->set_services(std::move(services));
  proxy_->set_endpoints(std::move(endpoints));
  pods_->set_services(proxy_->services_with_allocations());
}

// ---- pods → proxy, API server --------------------------------------------------------------

void Agent::pod_changed(const api::Pod& pod) {
  proxy_->set_pod(pod);
  if (cluster_) cluster_->pod_changed(pod);
}

void Agent::pod_removed(const std::string& namespace_, const std::string& name) {
  proxy_->remove_pod(namespace_, name);
  if (cluster_) cluster_->pod_removed(namespace_, name);
}

void Agent::pod_noted(const api::Pod& pod, const pods::Note& note) {
  if (cluster_) cluster_->pod_noted(pod, note.field_path, note.warning, note.reason, note.message);
}

void Agent::sandbox_started(const std::string& uid, const api::Sandbox& sandbox, const std::vector<std::string>&) {
  if (!sandbox.network_namespace) return;  // hostNetwork: the node's own namespace is registered already
  host::Fd netns(::fcntl(sandbox.network_namespace.get(), F_DUPFD_CLOEXEC, 3));
  auto registered = proxy_->register_netns(uid, sandbox.netns_cookie, network_->interface_of(uid), std::move(netns));
  if (!registered) log_warning("pod {}: services: {}, ignoring", uid, registered.error().message);
}

}  // namespace keelson::agent
