#pragma once
// From a manifest's container to what the runtime starts: pure. Source: kubelet's
// kuberuntime_container.go, securitycontext, qos/policy.go; PATH and HOSTNAME as
// containerd sets them.

#include <string>
#include <vector>

#include "agent/pods/environment.h"
#include "agent/pods/objects.h"
#include "api/cri.h"
#include "api/pod.h"

namespace keelson::pods {

struct ContainerInputs {
  const api::Pod& pod;
  const api::Container& container;
  uint32_t attempt = 0;
  const api::ImageInfo& image;
  const Environment& environment;  // of make_environment()
  const NodeFacts& node;
  std::string hostname;
  std::string log_path;
  std::string seccomp_root;  // where Localhost profiles lie
  std::vector<api::Mount> mounts;
  int64_t pids_limit = 0;
};

// denied when runAsNonRoot forbids the image's user, in kubelet's words.
host::Result<api::ContainerSpec> make_container_spec(const ContainerInputs& inputs);

// Of the whole pod: the containers together, or the largest init container.
api::ResourceLimits pod_limits(const api::Pod& pod);
// What the scheduler (and admission) counts: in thousandths of cores, and bytes.
api::ResourceLimits pod_requests(const api::Pod& pod);
int oom_score_adj(const api::Pod& pod, const api::Container& container, int64_t memory_capacity);
// The name inside: spec.hostname or the pod's, the node's with hostNetwork.
std::string pod_hostname(const api::Pod& pod, const NodeFacts& node, const std::string& cluster_domain);

}  // namespace keelson::pods
