#pragma once
// Pods and Services in kubectl's words (k8s.io/kubernetes/pkg/printers/internalversion:
// printPod, printService). Pure: `now` is a parameter.

#include <cstdint>
#include <string>
#include <vector>

#include "api/object.h"

namespace keelson::ctl {

struct PodSummary {
  std::string ready;     // "1/2"
  std::string status;    // "Running", "Init:0/1", "CrashLoopBackOff", "Terminating" …
  std::string restarts;  // "0", "3 (10s ago)"
  std::string age;
};
PodSummary summarize(const api::Pod& pod, int64_t now);

// `wide` adds IP and NODE, `with_namespace` puts NAMESPACE in front.
std::string pod_table(const std::vector<api::Pod>& pods, bool with_namespace, bool wide, int64_t now);
// `wide` adds SELECTOR.
std::string service_table(const std::vector<api::Service>& services, bool with_namespace, bool wide, int64_t now);

// The container that logs and exec mean when none is named: the one of the annotation
// kubectl.kubernetes.io/default-container, or the first.
std::string default_container(const api::Pod& pod);

}  // namespace keelson::ctl
