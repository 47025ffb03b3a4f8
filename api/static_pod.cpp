#include "api/static_pod.h"

namespace keelson::api {

std::string_view annotation(const Pod& pod, std::string_view name) {
  const auto found = pod.metadata.annotations.find(std::string(name));
  return found == pod.metadata.annotations.end() ? std::string_view() : std::string_view(found->second);
}

bool is_static(const Pod& pod) {
  const auto source = annotation(pod, kConfigSource);
  if (source == "api") return false;
  // A master's copy under /registry/hosts has the object's uid; what somebody has put there
  // by hand has the hash for one.
  return source != "etcd" || pod.metadata.uid == annotation(pod, kConfigHash);
}

bool is_mirror(const Pod& pod) { return pod.metadata.annotations.contains(std::string(kConfigMirror)); }

bool is_over(const Pod& pod) { return pod.status.phase == "Succeeded" || pod.status.phase == "Failed"; }

}  // namespace keelson::api
