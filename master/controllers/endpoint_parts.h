#pragma once
// What Endpoints and EndpointSlices have in common, for the two files that make them.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/pod.h"
#include "api/service.h"

namespace keelson::controllers {

std::vector<std::string> families_of(const api::Service& service);  // "IPv4", "IPv6"; one at least
bool is_headless(const api::Service& service);
bool publishes_not_ready(const api::Service& service);
// The Service's own, and the one that marks a headless one.
std::map<std::string, std::string> labels_of(const api::Service& service);
// Where a Pod listens for a port of the Service; nothing when it has no port of that name.
std::optional<int32_t> port_on(const api::Pod& pod, const api::ServicePort& port);
// Its name within the Service's domain; "" when it has none.
std::string hostname_in(const api::Service& service, const api::Pod& pod);
api::ObjectReference reference_to_pod(const api::Pod& pod);

}  // namespace keelson::controllers
