#pragma once
// Registry credentials from a pod's imagePullSecrets. Pure.

#include <vector>

#include "agent/pods/objects.h"
#include "api/cri.h"
#include "api/pod.h"

namespace keelson::pods {

// Those of the Secrets that exist and can be read (kubernetes.io/dockerconfigjson
// and kubernetes.io/dockercfg); others are passed over, as kubelet does.
std::vector<api::RegistryCredential> pull_credentials(const api::Pod& pod, const Objects& objects);

}  // namespace keelson::pods
