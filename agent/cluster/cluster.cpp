#include "agent/cluster/cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "agent/cluster/config_objects.h"
#include "agent/cluster/event_writer.h"
#include "agent/cluster/mirror_writer.h"
#include "agent/cluster/pod_writer.h"
#include "agent/cluster/status_patch.h"
#include "api/static_pod.h"
#include "apiclient/reflector.h"
#include "host/log.h"

namespace keelson::cluster {
namespace {

using Name = std::pair<std::string, std::string>;

// As kube-proxy asks: no headless Services, nothing of another proxy's.
constexpr const char* kBalanced = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";

PodName name_of(const api::Pod& pod) { return {pod.metadata.namespace_, pod.metadata.name, pod.metadata.uid}; }

// What a manifest of it holds: not what the API server notes for itself, and of the status
// that it is over.
api::Pod stripped(const api::Pod& pod) {
  api::Pod result;
  result.metadata = pod.metadata;
  result.metadata.managed_fields.clear();
  result.metadata.resource_version.clear();
  result.spec = pod.spec;
  if (api::is_over(pod)) result.status.phase = pod.status.phase;
  return result;
}

}  // namespace

struct Cluster::Impl {
  using Pods = apiclient::Reflector<api::Pod>;
  using Services = apiclient::Reflector<api::Service>;
  using Slices = apiclient::Reflector<api::EndpointSlice>;

  Impl(apiclient::Client& with, Settings given, ClusterListener& listener)
      : client(with),
        settings(std::move(given)),
        listener(listener),
        statuses(with),
        mirrors(with, statuses),
        events(with, settings.node_name),
        config(with, [this] { look_soon(); }) {
    apiclient::ReflectorOptions mine;
    mine.field_selector = "spec.nodeName=" + settings.node_name;
    pods =
        std::make_unique<Pods>(client, mine,
                               Pods::Handlers{.synced = [this] { heard_all(); },
                                              .changed = [this](const auto& old, const auto& now) { seen(old, now); },
                                              .deleted = [this](const auto& old) { unseen(old); },
                                              .failed = [this](const auto& failure) { failed(failure); }});
    services =
        std::make_unique<Services>(client, apiclient::ReflectorOptions{},
                                   Services::Handlers{.synced = [this] { services_soon(); },
                                                      .changed = [this](const auto&, const auto&) { services_soon(); },
                                                      .deleted = [this](const auto&) { services_soon(); },
                                                      .failed = {}});
    apiclient::ReflectorOptions balanced;
    balanced.label_selector = kBalanced;
    slices = std::make_unique<Slices>(
        client, balanced,
        Slices::Handlers{
            .synced =
                [this] {
                  slices->each([this](const auto& slice) { this->listener.slice_changed(*slice); });
                  services_soon();
                },
            .changed = [this](const auto&, const auto& now) { this->listener.slice_changed(*now); },
            .deleted =
                [this](const auto& old) { this->listener.slice_removed(old->metadata.namespace_, old->metadata.name); },
            .failed = {}});
  }

  // A Pod that this node runs, static or not.
  struct Local {
    std::string uid;
    bool is_static = false;
    bool stopping = false;
    api::PodStatus status;
  };

  void failed(const apiclient::Failure& failure) { listener.unreachable(failure.error()); }

  // --- the API's Pods

  // What happened while there was nobody to tell.
  void heard_all() {
    pods->each([this](const Pods::Ptr& pod) { report(*pod); });
    look_soon();
  }

  void seen(const Pods::Ptr& old, const Pods::Ptr& now) {
    if (old && old->metadata.uid != now->metadata.uid) statuses.forget(name_of(*old));
    // A mirror that has just been made is told how its Pod stands; so is a Pod that has
    // just been marked as deleted, of whose end nothing was said until it was.
    const bool marked = old && !old->metadata.deletion_timestamp && now->metadata.deletion_timestamp;
    if (!old || old->metadata.uid != now->metadata.uid || marked) {
      report(*now);
    } else if (const auto* here = local_of(*now); here != nullptr && !agrees(said_of(*now, *here), now->status)) {
      report(*now);
      statuses.say_again(name_of(*now));
    }
    look_soon();
  }

  void unseen(const Pods::Ptr& old) {
    statuses.forget(name_of(*old));
    look_soon();
  }

  // --- status

  const Local* local_of(const api::Pod& pod) const {
    const bool mirror = api::is_mirror(pod);
    const auto name = mirror ? mirrored_name(pod.metadata.name, settings.node_name) : pod.metadata.name;
    const auto found = local.find({pod.metadata.namespace_, name});
    if (found == local.end() || found->second.is_static != mirror) return nullptr;
    return mirror || found->second.uid == pod.metadata.uid ? &found->second : nullptr;
  }

  // What is said of a Pod of the API.
  static api::PodStatus said_of(const api::Pod& pod, const Local& here) {
    auto status = here.status;
    // Stopped for a reason of this node's (drained, or its spec has changed) it is not over.
    if (here.stopping && !pod.metadata.deletion_timestamp && !api::is_mirror(pod) &&
        (status.phase == "Succeeded" || status.phase == "Failed") && status.reason.empty())
      status.phase = pod.status.phase.empty() ? "Pending" : pod.status.phase;
    open_gates(status, pod);
    keep_transition_times(status, pod.status);
    return status;
  }

  void report(const api::Pod& pod) {
    const auto* here = local_of(pod);
    if (here == nullptr) return;
    const auto status = said_of(pod, *here);
    statuses.set_status(name_of(pod), status_patch(pod.metadata.uid, status));
  }

  Pods::Ptr api_pod_of(const Name& name, const Local& here) const {
    const auto api_name = here.is_static ? mirror_name(name.second, settings.node_name) : name.second;
    auto pod = pods->find(name.first, api_name);
    if (!pod || local_of(*pod) != &here) return nullptr;
    return pod;
  }

  // --- what follows from all of it, once per turn

  void look_soon() {
    if (std::exchange(looking, true)) return;
    look_timer = client.loop().after(host::Duration::zero(), [this] {
      looking = false;
      look();
    });
  }

  void look() {
    if (!pods->synced()) return;
    std::vector<Pods::Ptr> bound;
    std::vector<PodPtr> present;
    pods->each([&](const Pods::Ptr& pod) { (api::is_mirror(*pod) ? present : bound).push_back(pod); });
    if (recovered) {
      for (const auto& pod : bound) {
        if (pod->metadata.deletion_timestamp && local_of(*pod) == nullptr) statuses.remove(name_of(*pod));
      }
      mirrors.look(present);
    }
    offer(bound);
  }

  void offer(const std::vector<Pods::Ptr>& bound) {
    std::set<ConfigRef> wanted;
    for (const auto& pod : bound) {
      if (!api::is_over(*pod)) add_references(*pod, wanted);
    }
    config.want(wanted);
    Manifests now;
    std::map<std::string, Made> still;
    for (const auto& pod : bound) {
      if (!settings.pods) break;
      const auto name = fmt::format("pods/{}/{}", pod->metadata.namespace_, pod->metadata.name);
      auto known = made.find(name);
      std::set<ConfigRef> needed;
      add_references(*pod, needed);
      const bool heard =
          std::ranges::all_of(needed, [this](const auto& reference) { return config.settled(reference); });
      // A new Pod waits until what it names has been asked for; one that was told of before
      // never vanishes for it. The first set waits as a whole.
      if (known == made.end() && !heard && !pod->metadata.deletion_timestamp && !api::is_over(*pod)) {
        if (!offered && host::Clock::now() < patience) {
          again = client.loop().after(patience - host::Clock::now(), [this] { look_soon(); });
          return;
        }
        if (offered) continue;
      }
      Made entry = known == made.end() ? Made{} : std::move(known->second);
      if (entry.of != pod) {
        auto content = stripped(*pod);
        if (!entry.text || !(content == entry.content)) {
          entry.text = std::make_shared<const std::string>(api::encode_json(content));
          entry.content = std::move(content);
        }
        entry.of = pod;
      }
      now.emplace(name, entry.text);
      still.emplace(name, std::move(entry));
    }
    made = std::move(still);
    for (auto& [reference, text] : config.texts()) {
      const auto* kind = reference.secret ? "secrets" : "configmaps";
      now.emplace(fmt::format("{}/{}/{}", kind, reference.namespace_, reference.name), std::move(text));
    }
    if (offered && now == last) return;
    offered = true;
    last = now;
    listener.manifests(std::move(now));
  }

  void services_soon() {
    if (std::exchange(telling_services, true)) return;
    services_timer = client.loop().after(host::Duration::zero(), [this] {
      telling_services = false;
      if (services->synced() && slices->synced()) listener.services_changed();
    });
  }

  // A manifest as it was made of a Pod.
  struct Made {
    Pods::Ptr of;
    api::Pod content;
    std::shared_ptr<const std::string> text;  // shared with who reads it
  };

  apiclient::Client& client;
  const Settings settings;
  ClusterListener& listener;
  PodWriter statuses;
  MirrorWriter mirrors;
  EventWriter events;
  ConfigObjects config;
  std::unique_ptr<Pods> pods;
  std::unique_ptr<Services> services;
  std::unique_ptr<Slices> slices;
  std::map<Name, Local> local;
  bool recovered = false;
  bool looking = false, telling_services = false;
  host::Timer look_timer, services_timer, again;
  std::map<std::string, Made> made;
  Manifests last;
  bool offered = false;
  const host::TimePoint patience = host::Clock::now() + std::chrono::seconds(5);
};

Cluster::Cluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cluster::~Cluster() = default;

std::unique_ptr<Cluster> Cluster::create(apiclient::Client& client, Settings settings, ClusterListener& listener) {
  return std::unique_ptr<Cluster>(new Cluster(std::make_unique<Impl>(client, std::move(settings), listener)));
}

void Cluster::pod_changed(const api::Pod& pod) {
  const Name name{pod.metadata.namespace_, pod.metadata.name};
  auto& here = impl_->local[name];
  // One that is over has no network any more; the API goes on saying which address it had.
  auto ips = here.uid == pod.metadata.uid ? std::move(here.status.pod_ips) : std::vector<api::PodIP>();
  here = {.uid = pod.metadata.uid,
          .is_static = api::is_static(pod),
          .stopping = pod.metadata.deletion_timestamp.has_value(),
          .status = pod.status};
  if (api::is_over(pod) && pod.status.pod_ips.empty() && !ips.empty()) {
    here.status.pod_ip = ips.front().ip;
    here.status.pod_ips = std::move(ips);
  }
  if (const auto api_pod = impl_->api_pod_of(name, here)) impl_->report(*api_pod);
}

void Cluster::pod_removed(const std::string& namespace_, const std::string& name) {
  impl_->local.erase({namespace_, name});
  impl_->look_soon();
}

void Cluster::pod_noted(const api::Pod& pod, const std::string& field_path, bool warning, const std::string& reason,
                        const std::string& message) {
  Happening what{.object = {.kind = "Pod",
                            .namespace_ = pod.metadata.namespace_,
                            .name = pod.metadata.name,
                            .uid = pod.metadata.uid,
                            .api_version = "v1",
                            .field_path = field_path},
                 .warning = warning,
                 .reason = reason,
                 .message = message};
  // kubectl looks for a mirror's Events by the mirror's name and, for a uid, the hash.
  if (api::is_static(pod)) {
    what.object.name = mirror_name(pod.metadata.name, impl_->settings.node_name);
    what.object.uid = api::annotation(pod, api::kConfigHash);
  }
  impl_->events.tell(what);
}

void Cluster::node_noted(bool warning, const std::string& reason, const std::string& message) {
  const auto& node = impl_->settings.node_name;
  impl_->events.tell({.object = {.kind = "Node", .name = node, .uid = node},
                      .warning = warning,
                      .reason = reason,
                      .message = message});
}

void Cluster::set_static_pods(std::vector<api::Pod> pods, bool complete, const std::string& node_uid) {
  impl_->mirrors.want(std::move(pods), complete, {impl_->settings.node_name, node_uid});
  impl_->look_soon();
}

void Cluster::recovered() {
  impl_->recovered = true;
  impl_->look_soon();
}

bool Cluster::synced() const { return impl_->services->synced() && impl_->slices->synced(); }

std::vector<api::Service> Cluster::services() const {
  std::vector<api::Service> result;
  impl_->services->each([&](const auto& service) { result.push_back(*service); });
  return result;
}

std::string Cluster::final_phase(const api::Pod& pod) const {
  const auto known = impl_->pods->find(pod.metadata.namespace_, pod.metadata.name);
  return known && known->metadata.uid == pod.metadata.uid && api::is_over(*known) ? known->status.phase : "";
}

std::string Cluster::static_name(const std::string& name) const {
  return mirrored_name(name, impl_->settings.node_name);
}

}  // namespace keelson::cluster
