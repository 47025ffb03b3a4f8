// Endpoints and EndpointSlices of the Services that select Pods; slices beside Endpoints that
// somebody wrote for a Service without a selector.
//
// One write at a time for a Service. What the server answered counts until the watch has
// caught up, so that nothing is made twice; slices get their names here for the same reason.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "api/validate.h"
#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"
#include "master/controllers/endpoints.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;
using ServicePtr = std::shared_ptr<const api::Service>;
using EndpointsPtr = std::shared_ptr<const api::Endpoints>;

constexpr auto kRestForEndpoint = std::chrono::microseconds(50);  // of the Pods behind a Service

class ServiceEndpoints : public Controller {
 public:
  explicit ServiceEndpoints(Context context)
      : context_(context),
        agenda_(context.loop, [this](const std::string& key) { look(key); }),
        random_(std::random_device{}()) {
    Informers& informers = context_.informers;
    informers.services.listen([this](const auto& old, const auto& now) { service_changed(old, now); });
    informers.pods.listen([this](const auto& old, const auto& now) { pod_changed(old, now); });
    informers.endpoints.listen([this](const auto& old, const auto& now) {
      const std::string key = key_of(now ? *now : *old);
      const auto known = written_.find(key);
      // Our own answer may be ahead of the watch.
      if (known != written_.end() && revision_of((now ? *now : *old).metadata.resource_version) >=
                                         revision_of(known->second->metadata.resource_version)) {
        written_.erase(known);
      }
      if (!busy_.contains(key)) agenda_.soon(key);
    });
    informers.slices.listen([this](const auto& old, const auto& now) { slice_changed(old, now); });
  }

 private:
  // ---- what is told

  void service_changed(const ServicePtr& old, const ServicePtr& now) {
    const api::Service& service = now ? *now : *old;
    auto& named = services_[service.metadata.namespace_];
    if (now && selects_pods(*now)) {
      named[service.metadata.name] = now;
    } else {
      named.erase(service.metadata.name);
    }
    agenda_.soon(key_of(service));
  }

  void pod_changed(const PodPtr& old, const PodPtr& now) {
    if (old && now && same_endpoint(*old, *now)) return;
    const auto named = services_.find((now ? now : old)->metadata.namespace_);
    if (named == services_.end()) return;
    for (const auto& [name, service] : named->second) {
      const auto selected = [&](const PodPtr& pod) {
        return pod && api::matches(service->spec.selector, pod->metadata.labels);
      };
      if (selected(old) || selected(now)) agenda_.soon(key_of(*service));
    }
  }

  void slice_changed(const SlicePtr& old, const SlicePtr& now) {
    const api::EndpointSlice& slice = now ? *now : *old;
    const auto label = slice.metadata.labels.find(kServiceNameLabel);
    const std::string& namespace_ = slice.metadata.namespace_;
    if (old) {
      const auto before = old->metadata.labels.find(kServiceNameLabel);
      if (before != old->metadata.labels.end() &&
          (label == slice.metadata.labels.end() || before->second != label->second)) {
        slices_[namespace_ + "/" + before->second].erase(slice.metadata.name);
        agenda_.soon(namespace_ + "/" + before->second);
      }
    }
    if (label == slice.metadata.labels.end()) return;
    const std::string key = namespace_ + "/" + label->second;
    keep_slice(key, now, slice);
    if (!busy_.contains(key)) agenda_.soon(key);
  }

  // The newer of what the watch tells and what the server answered us.
  void keep_slice(const std::string& key, const SlicePtr& now, const api::EndpointSlice& slice) {
    auto& slices = slices_[key];
    const auto known = slices.find(slice.metadata.name);
    const bool newer = known == slices.end() || revision_of(known->second->metadata.resource_version) <=
                                                    revision_of(slice.metadata.resource_version);
    if (!newer) return;
    if (now) {
      slices[slice.metadata.name] = now;
    } else if (known != slices.end()) {
      slices.erase(known);
    }
    if (slices.empty()) slices_.erase(key);
  }

  // ---- what is done about it

  void look(const std::string& key) {
    if (busy_.contains(key)) {
      again_.insert(key);
      return;
    }
    const auto [namespace_, name] = split_key(key);
    const ServicePtr service = context_.informers.services.find(namespace_, name);
    const EndpointsPtr endpoints = current_endpoints(key);
    if (!service) {
      agenda_.drop(key);
      rest_until_.erase(key);
      // The slices go with their owner; of Endpoints, only those that were made here do.
      if (endpoints && is_ours(*endpoints)) remove_endpoints(key, *endpoints);
      return;
    }
    if (selects_pods(*service)) {
      // A large Service is written anew for each of its Pods that starts: it rests in proportion.
      const auto now = host::Clock::now();
      const auto rest = rest_until_.find(key);
      if (rest != rest_until_.end() && now < rest->second) return agenda_.at(key, rest->second);
      const std::vector<PodPtr> pods = context_.informers.pod_index.selected(namespace_, service->spec.selector);
      rest_until_[key] = now + kRestForEndpoint * pods.size();
      write_endpoints(key, endpoints, endpoints_of(*service, pods));
      write_slices(key, plan_slices(*service, pods, slices_of(key, kManager),
                                    [this](const std::string& node) { return zone_of(node); }));
    } else if (endpoints && !service->spec.type.starts_with("ExternalName") && !is_ours(*endpoints) &&
               wants_mirror(*endpoints)) {
      write_slices(key, mirror_slices(*service, *endpoints, slices_of(key, kMirrorManager)));
    } else {
      SlicePlan plan;
      plan.remove = slices_of(key, kMirrorManager);
      write_slices(key, plan);
    }
  }

  static bool is_ours(const api::Endpoints& endpoints) {
    return endpoints.metadata.labels.contains("endpoints.kubernetes.io/managed-by");
  }
  static bool wants_mirror(const api::Endpoints& endpoints) {
    // The API server writes its own slice.
    if (endpoints.metadata.namespace_ == "default" && endpoints.metadata.name == "kubernetes") return false;
    const auto label = endpoints.metadata.labels.find("endpointslice.kubernetes.io/skip-mirror");
    return (label == endpoints.metadata.labels.end() || label->second != "true") &&
           !endpoints.metadata.annotations.contains("control-plane.alpha.kubernetes.io/leader");
  }

  EndpointsPtr current_endpoints(const std::string& key) const {
    const auto written = written_.find(key);
    if (written != written_.end()) return written->second;
    const auto [namespace_, name] = split_key(key);
    return context_.informers.endpoints.find(namespace_, name);
  }

  std::vector<SlicePtr> slices_of(const std::string& key, const char* manager) const {
    std::vector<SlicePtr> slices;
    const auto found = slices_.find(key);
    if (found == slices_.end()) return slices;
    for (const auto& [name, slice] : found->second) {
      const auto label = slice->metadata.labels.find(kManagedByLabel);
      if (label != slice->metadata.labels.end() && label->second == manager && !slice->metadata.deletion_timestamp) {
        slices.push_back(slice);
      }
    }
    return slices;
  }

  std::string zone_of(const std::string& name) const {
    if (name.empty()) return {};
    const auto node = context_.informers.nodes.find({}, name);
    if (!node) return {};
    const auto zone = node->metadata.labels.find("topology.kubernetes.io/zone");
    return zone == node->metadata.labels.end() ? std::string() : zone->second;
  }

  void write_endpoints(const std::string& key, const EndpointsPtr& before, api::Endpoints wanted) {
    if (!before) {
      begin(key);
      context_.client.create<api::Endpoints>(wanted, {}, endpoints_done(key)).detach();
      return;
    }
    // The addresses compare in Kubernetes' order of fields; annotations of others stay.
    auto annotations = before->metadata.annotations;
    annotations.erase("endpoints.kubernetes.io/over-capacity");
    annotations.insert(wanted.metadata.annotations.begin(), wanted.metadata.annotations.end());
    if (before->subsets == wanted.subsets && before->metadata.labels == wanted.metadata.labels &&
        before->metadata.annotations == annotations) {
      return;
    }
    api::Endpoints after = *before;
    after.metadata.labels = std::move(wanted.metadata.labels);
    after.metadata.annotations = std::move(annotations);
    after.subsets = std::move(wanted.subsets);
    begin(key);
    context_.client.update<api::Endpoints>(after, {}, endpoints_done(key)).detach();
  }

  apiclient::Done<api::Endpoints> endpoints_done(const std::string& key) {
    return [this, key](Outcome<api::Endpoints> outcome) {
      if (outcome) written_[key] = std::make_shared<api::Endpoints>(std::move(*outcome));
      // It is not as we knew it: the watch will say.
      if (!outcome && is_stale(outcome.error())) written_.erase(key);
      end(key, outcome ? nullptr : &outcome.error());
    };
  }

  void remove_endpoints(const std::string& key, const api::Endpoints& endpoints) {
    begin(key);
    context_.client
        .remove<api::Endpoints>(endpoints.metadata.namespace_, endpoints.metadata.name, {.uid = endpoints.metadata.uid},
                                [this, key](Outcome<void> outcome) {
                                  written_.erase(key);
                                  const bool bad = !outcome && !is_stale(outcome.error());
                                  end(key, bad ? &outcome.error() : nullptr);
                                })
        .detach();
  }

  void write_slices(const std::string& key, SlicePlan plan) {
    const auto done = [this, key](Outcome<api::EndpointSlice> outcome) {
      if (outcome) {
        const auto slice = std::make_shared<api::EndpointSlice>(std::move(*outcome));
        keep_slice(key, slice, *slice);
      }
      end(key, outcome ? nullptr : &outcome.error());
    };
    for (api::EndpointSlice& slice : plan.create) {
      slice.metadata.name = generated_name(slice.metadata.generate_name, random_());
      begin(key);
      context_.client.create<api::EndpointSlice>(slice, {}, done).detach();
    }
    for (const api::EndpointSlice& slice : plan.update) {
      begin(key);
      context_.client.update<api::EndpointSlice>(slice, {}, done).detach();
    }
    for (const SlicePtr& slice : plan.remove) {
      begin(key);
      context_.client
          .remove<api::EndpointSlice>(slice->metadata.namespace_, slice->metadata.name, {.uid = slice->metadata.uid},
                                      [this, key, slice](Outcome<void> outcome) {
                                        if (outcome || outcome.error().not_found()) {
                                          keep_slice(key, nullptr, *slice);
                                        }
                                        const bool bad = !outcome && !is_stale(outcome.error());
                                        end(key, bad ? &outcome.error() : nullptr);
                                      })
          .detach();
    }
  }

  void begin(const std::string& key) { ++busy_[key]; }
  void end(const std::string& key, const apiclient::Failure* failure) {
    if (failure != nullptr) {
      if (!is_stale(*failure)) host::log_warning("endpoints of {}: {}", key, failure->message);
      failed_.insert(key);
    }
    if (--busy_[key] > 0) return;
    busy_.erase(key);
    if (failed_.erase(key) != 0) {
      again_.erase(key);
      agenda_.after_failure(key);
      return;
    }
    agenda_.succeeded(key);
    if (again_.erase(key) != 0) agenda_.soon(key);
  }

  Context context_;
  Agenda agenda_;
  std::mt19937_64 random_;                                             // names only: nothing secret
  std::map<std::string, std::map<std::string, ServicePtr>> services_;  // with a selector, by namespace
  std::map<std::string, std::map<std::string, SlicePtr>> slices_;      // by service
  std::map<std::string, EndpointsPtr> written_;                        // answers that the watch has not told yet
  std::map<std::string, int> busy_;                                    // writes under way
  std::map<std::string, host::TimePoint> rest_until_;
  std::set<std::string> again_, failed_;
};

}  // namespace

std::unique_ptr<Controller> make_service_endpoints(Context context) {
  return std::make_unique<ServiceEndpoints>(context);
}

}  // namespace keelson::controllers
