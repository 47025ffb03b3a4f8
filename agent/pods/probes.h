#pragma once
// The probes of one attempt of one container: when they run, and when their verdict
// changes. Source: pkg/kubelet/prober/worker.go.
//
// Owned by the pod's worker, which destroys it with the container; on the loop's
// thread. `verdict` is called when a verdict is reached or changes, and may destroy
// the prober.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/pods/checks.h"
#include "agent/pods/machine.h"
#include "agent/pods/scheduler.h"
#include "api/pod.h"

namespace keelson::pods {

class Prober {
 public:
  struct Target {
    api::ContainerId container;
    std::string address;
    Duration age{};        // since the container's start: initialDelaySeconds counts from there
    bool adopted = false;  // ran before this agent did: presumed ready, and the first answer decides
    bool started = false;  // its startup probe has passed already
  };
  using Verdict = std::function<void(ProbeKind kind, bool success, const std::string& output)>;
  // Each answer that is no success, before the verdict that may come of it. It must not
  // destroy the prober.
  using Failure = std::function<void(ProbeKind kind, const std::string& output)>;

  Prober(Scheduler& scheduler, Checks& checks, const api::Container& spec, Target target, Verdict verdict,
         Failure failure = {});

  // The container is being stopped: only readiness is still asked.
  void keep_readiness_only();

 private:
  struct Line {
    ProbeKind kind;
    api::Probe probe;
    std::optional<bool> verdict;
    bool answered = false;
    int successes = 0, failures = 0;
    std::unique_ptr<Armed> timer;
  };
  void start(Line& line);
  void ask(size_t index);
  void answered(size_t index, TimePoint asked, const CheckResult& result);
  Line* find(ProbeKind kind);

  Scheduler& scheduler_;
  Checks& checks_;
  const std::vector<api::ContainerPort> ports_;
  const Target target_;
  const TimePoint created_;
  Verdict verdict_;
  Failure failure_;
  std::vector<Line> lines_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // weakly held by checks in flight
};

}  // namespace keelson::pods
