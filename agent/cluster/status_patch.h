#pragma once
// What the API is told of a Pod's status. Pure.

#include <string>

#include "api/pod.h"

namespace keelson::cluster {

// For pods/<name>/status, as a strategic merge patch that only fits the Pod of that uid.
// Everything that is the node's to say is in it, also that it is not there: sent twice or
// after an unknown one it means the same. Conditions that others have set stay.
std::string status_patch(const std::string& uid, const api::PodStatus& status);

// Whether the API believes what is the node's to say, as far as others are known to write it.
bool agrees(const api::PodStatus& said, const api::PodStatus& known);

// Readiness gates are for others to open: a Pod that waits for them alone is Ready when
// `known` has them all.
void open_gates(api::PodStatus& status, const api::Pod& known);

// A condition that is as the API knows it keeps the time of its last transition there:
// an agent that has been restarted has not seen it.
void keep_transition_times(api::PodStatus& status, const api::PodStatus& known);

}  // namespace keelson::cluster
