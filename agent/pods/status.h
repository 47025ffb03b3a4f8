#pragma once
// What a pod's status reads, from the state of its machine: pure, in Kubernetes'
// words (pkg/kubelet/kubelet_pods.go getPhase and convertStatusToAPIStatus,
// pkg/kubelet/status/generate.go).

#include <string>
#include <vector>

#include "agent/pods/machine.h"
#include "api/pod.h"

namespace keelson::pods {

// What the state does not hold.
struct StatusFacts {
  std::vector<std::string> host_ips;
  std::vector<std::string> pod_ips;  // known once attached
  int64_t start_time_us = 0;
  struct Image {
    std::string name, id;  // as resolved; empty: as the spec names it
  };
  std::vector<Image> images;  // by container, as in the plan
};

// `before` is what was published last: conditions that stay keep their
// lastTransitionTime.
api::PodStatus make_status(const api::Pod& pod, const Plan& plan, const State& state, const StatusFacts& facts,
                           const api::PodStatus& before, int64_t now_us);

// "keelson://<uid>/<container>/<attempt>"
std::string container_id(const std::string& uid, const std::string& container, uint32_t attempt);

// An exit as the runtime recorded it, with Kubernetes' code and reason.
Exit make_exit(uint32_t attempt, int wait_status, bool oom_killed, const std::string& start_error,
               const std::string& termination_message, int64_t started_at_us, int64_t finished_at_us);

}  // namespace keelson::pods
