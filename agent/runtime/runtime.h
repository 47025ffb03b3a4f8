#pragma once
// The pod runtime: sandboxes, containers and commands in them, over one podshim per
// pod. It owns every process, cgroup, writable layer and journal of the pods; it keeps
// nothing that it cannot find again (recover()).
//
// On the loop's thread, all of it. Blocking work goes to the loop's workers.
// After a failed start of a sandbox or container, everything made for it has been
// or is being taken away, and the same start may be asked for again.
//
//   auto runtime = runtime::Runtime::create(*loop, settings, events);
//   (*runtime)->recover([&](host::Result<std::vector<api::RecoveredPod>> pods) { … });  // first, once
//   then api::PodRuntime as the pods room pleases.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/cri.h"
#include "host/cgroup.h"
#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::runtime {

struct Settings {
  host::Path root_dir = "/var/lib/keelson";
  host::Path run_dir = "/run/keelson";
  host::Path shim = "/usr/libexec/keelson/podshim";  // read once, at create()
  host::Path cgroup_root;                            // a directory of the v2 hierarchy; "": its root
  host::Path pod_cgroup;                             // absolute, or relative to cgroup_root; "": "keelson"
};

class Runtime final : public api::PodRuntime {
 public:
  // `events` outlives it. Makes the directories and the cgroup.
  static host::Result<std::unique_ptr<Runtime>> create(host::Loop& loop, const Settings& settings,
                                                       api::PodRuntimeEvents& events);
  // Lets go of everything; pods go on. Callbacks that wait are not called.
  ~Runtime() override;

  // What is there: pods whose shims live (connected again), pods known from their
  // journals only. Cgroups and shims that belong to no known pod are removed. Exits in
  // the result are not reported as events again.
  void recover(api::Callback<std::vector<api::RecoveredPod>> done);

  void start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done) override;
  void start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done) override;
  void signal_container(const api::ContainerId& id, int signal, api::StatusCallback done) override;
  void exec(const api::ContainerId& id, api::ExecSpec spec, api::Callback<int> done) override;
  void remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done) override;

  // The descriptors of a sandbox that recover() found alive; not_found otherwise.
  host::Result<api::Sandbox> sandbox(const std::string& uid) const;

  // Usage of a container or (with an empty name) a pod, for metrics and eviction, is read
  // from its cgroup: this is where it is.
  host::Result<host::Path> cgroup(const std::string& uid, const std::string& container) const;

  // What this host forbids, of what pods have asked for so far.
  const std::vector<std::string>& notices() const;

  // After all pods are removed: takes away the cgroup tree (v1 too) and the run
  // directory's pods/. An error names what is still there.
  void drained(api::StatusCallback done);

 private:
  struct Impl;
  explicit Runtime(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with jobs on the workers
};

}  // namespace keelson::runtime
