#pragma once
// One question asked of a container: run a command in it, fetch a URL from it,
// connect to it. Probes ask again and again, hooks once. Interface and the real
// thing; on the loop's thread.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/pods/scheduler.h"
#include "api/cri.h"
#include "api/pod.h"

namespace keelson::pods {

struct Check {
  api::ContainerId container;
  api::ProbeHandler handler;              // exactly one of its members is set
  std::string address;                    // the pod's, or the node's with hostNetwork
  std::vector<api::ContainerPort> ports;  // named ports are looked up here
  Duration timeout{};                     // 0: none
};

struct CheckResult {
  bool success = false;
  std::string output;  // why not, or what it said: at most 10 KiB
};

class Checks {
 public:
  virtual ~Checks() = default;
  // `done` runs once, later.
  virtual void run(Check check, std::function<void(CheckResult)> done) = 0;
};

std::unique_ptr<Checks> make_checks(host::Loop& loop, api::PodRuntime& runtime);

// By number, or by name among the container's ports; not_found otherwise.
host::Result<uint16_t> resolve_port(const api::IntOrString& port, const std::vector<api::ContainerPort>& ports);

}  // namespace keelson::pods
