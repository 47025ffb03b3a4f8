#pragma once
// kubelet's annotations: what tells a Pod that a node was given by a manifest (a static
// Pod) from one that an API server has bound to it, and the mirror Pod that stands for
// the former in the API. Pure.

#include <string>
#include <string_view>

#include "api/pod.h"

namespace keelson::api {

inline constexpr std::string_view kConfigSource = "kubernetes.io/config.source";
inline constexpr std::string_view kConfigHash = "kubernetes.io/config.hash";
inline constexpr std::string_view kConfigSeen = "kubernetes.io/config.seen";
inline constexpr std::string_view kConfigMirror = "kubernetes.io/config.mirror";

// The annotation's value; "" when there is none.
std::string_view annotation(const Pod& pod, std::string_view name);

// Whether a Pod that a source gave the node (sources/prepare.h) is one of the API
// server's: it came from there, or through etcd with a uid that is not our own.
bool is_static(const Pod& pod);
// In the API it stands for a static Pod, and is nothing to be run.
bool is_mirror(const Pod& pod);
// Succeeded or Failed: nothing of it is ever run again.
bool is_over(const Pod& pod);

}  // namespace keelson::api
