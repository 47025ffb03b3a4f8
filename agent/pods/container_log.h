#pragma once
// The log files that the runtime writes (CRI format), from the side of who tends
// them. Blocking; for workers.

#include <string>

#include "host/file.h"

namespace keelson::pods {

// The end of a log, for terminationMessagePolicy FallbackToLogsOnError: at most 80
// lines and 2048 bytes (pkg/kubelet/kuberuntime), without timestamps and tags; ""
// when there is no log.
std::string log_tail(const host::Path& log);

// The log and its rotated parts, "<log>.*". What cannot be removed stays: the whole
// directory goes with the pod.
void remove_log(const host::Path& log);

}  // namespace keelson::pods
