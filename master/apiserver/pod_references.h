#pragma once
// Which ConfigMaps and Secrets a Pod needs, by name: those are what its node may read.
// Pure; safe on every thread.

#include <string>
#include <string_view>
#include <vector>

#include "api/pod.h"

namespace keelson::apiserver {

struct PodReferences {
  std::vector<std::string> config_maps, secrets;  // in the Pod's namespace; sorted, each once
};
// Environment, volumes, projections, image pull secrets; of every container.
PodReferences references_of(const api::PodSpec& spec);

}  // namespace keelson::apiserver
