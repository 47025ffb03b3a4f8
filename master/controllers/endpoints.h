#pragma once
// Which Pods stand behind a Service, as Endpoints and as EndpointSlices say it. Pure.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/endpoint_slice.h"
#include "api/service.h"
#include "master/controllers/replicas.h"

namespace keelson::controllers {

// Whether this controller writes the Service's endpoints: it has a selector and is no ExternalName.
bool selects_pods(const api::Service& service);
// Whether a change from one to the other could change anybody's endpoints.
bool same_endpoint(const api::Pod& before, const api::Pod& after);

// `pods` match the selector. At most 1,000 addresses (the annotation over-capacity says
// when there were more).
api::Endpoints endpoints_of(const api::Service& service, const std::vector<PodPtr>& pods);

using SlicePtr = std::shared_ptr<const api::EndpointSlice>;
struct SlicePlan {
  std::vector<api::EndpointSlice> create, update;  // those to create have no name yet
  std::vector<SlicePtr> remove;
  bool empty() const { return create.empty() && update.empty() && remove.empty(); }
};
// The fewest writes that make `existing` say who stands behind the Service: endpoints stay
// in the slice where they are, new ones fill up slices that are written anyway, then others.
// `zone_of` gives a node's zone ("" when it has none).
SlicePlan plan_slices(const api::Service& service, const std::vector<PodPtr>& pods,
                      const std::vector<SlicePtr>& existing,
                      const std::function<std::string(const std::string& node)>& zone_of);

// Endpoints that somebody wrote for a Service without a selector, as slices beside them.
SlicePlan mirror_slices(const api::Service& service, const api::Endpoints& endpoints,
                        const std::vector<SlicePtr>& existing);

inline constexpr size_t kSliceSize = 100;
inline constexpr size_t kMostAddresses = 1000;
inline constexpr const char* kServiceNameLabel = "kubernetes.io/service-name";
inline constexpr const char* kManagedByLabel = "endpointslice.kubernetes.io/managed-by";
inline constexpr const char* kManager = "endpointslice-controller.k8s.io";
inline constexpr const char* kMirrorManager = "endpointslicemirroring-controller.k8s.io";

}  // namespace keelson::controllers
