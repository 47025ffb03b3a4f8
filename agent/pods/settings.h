#pragma once
// What the pods room is told at its start; plain data.

#include "agent/pods/machine.h"
#include "agent/pods/objects.h"
#include "agent/pods/pod_files.h"
#include "host/file.h"

namespace keelson::pods {

struct Settings {
  host::Path root_dir = "/var/lib/keelson";
  host::Path run_dir = "/run/keelson";
  NodeFacts node;
  DnsSettings dns;
  int64_t pids_limit = 0;  // per container; 0: none
  Timing timing;
  Duration usage_period = std::chrono::seconds(10);  // between looks at what volumes take on disk
};

}  // namespace keelson::pods
