#pragma once
// What the runtime knows while it runs, for the files that implement it: sandbox.cpp,
// container.cpp, exec.cpp, recovery.cpp. All of it belongs to the loop's thread; what a
// worker needs is copied into its job, or never changes after create() (settings, cgroups,
// devices, shim_binary, boot), or has a lock of its own (seccomp).

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/runtime/devices.h"
#include "agent/runtime/launch.h"
#include "agent/runtime/pod_files.h"
#include "agent/runtime/runtime.h"
#include "agent/runtime/seccomp.h"
#include "agent/runtime/shim_client.h"
#include "host/loop.h"

namespace keelson::runtime {

using api::ContainerId;
using host::Error;
using host::Fd;
using host::Path;
using host::Result;
using host::Status;

inline constexpr auto kShimAnswers = std::chrono::seconds(5);  // to hello and shutdown
inline constexpr int kDeathTimeoutMs = 10'000;                 // from SIGKILL to an empty cgroup
inline constexpr size_t kMaxPods = 4096;
inline constexpr uint64_t kRecordsLane = 2;  // no pod's: those are odd (lane_of)

// Names become paths; they were validated long before, but not by us.
inline bool plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 128 && name != "." && name != ".." &&
         std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '.' || c == '_'; });
}

template <typename Message>
std::string encode(const Message& message, size_t capacity = shim::kMaxPacket) {
  std::string body(capacity, '\0');
  shim::Writer out(body.data(), body.size());
  message.encode(out);
  body.resize(out.fits() ? out.size() : capacity + 1);  // too long is refused by the client
  return body;
}

inline Path shim_cgroup(const std::string& uid) { return Path("shims") / uid; }

// SO_NETNS_COOKIE of a socket's network namespace.
Result<uint64_t> netns_cookie(const Fd& socket);

struct Container {
  enum class State { preparing, running, ended };
  State state = State::preparing;
  uint32_t attempt = 0;
  api::StartedContainer started;
  std::vector<api::Callback<api::StartedContainer>> waiting;
};

struct Pod {
  enum class State { starting, ready, removing };
  State state = State::starting;
  api::SandboxSpec spec;
  PodPaths paths;
  Path cgroup;
  std::unique_ptr<ShimClient> shim;
  Fd network, netlink;
  uint64_t cookie = 0;
  std::map<std::string, Container> containers;
  std::map<std::string, int64_t> reported;  // by container, the last attempt whose exit was handed up
  std::vector<api::Callback<api::Sandbox>> starting;
  bool forget = false;
  std::vector<api::StatusCallback> removing;
  bool shim_ended = false;
  bool recovering = false;  // exits are held back: the journal, which is being read, may have them
  std::vector<api::ExitRecord> held;
  host::Timer deadline;
};

// What a worker brings back from starting a shim.
struct StartedShim {
  Fd socket, pidfd;
  std::string body;  // sandbox request
  std::vector<Fd> fds;
};

// What a worker found about one pod at recovery.
struct FoundPod {
  PodRecord record;
  bool in_run = false;
  Fd socket, pidfd;  // when its shim lives
};

struct Runtime::Impl : std::enable_shared_from_this<Runtime::Impl> {
  Impl(host::Loop& loop_in, api::PodRuntimeEvents& events_in, Settings settings_in, host::CgroupTree cgroups_in)
      : loop(loop_in), events(events_in), settings(std::move(settings_in)), cgroups(std::move(cgroups_in)) {}

  host::Loop& loop;
  api::PodRuntimeEvents& events;
  Settings settings;
  host::CgroupTree cgroups;
  DeviceGuard devices;
  SeccompProfiles seccomp;
  CapabilitySet available = 0;
  Fd shim_binary;
  std::string boot;
  uint64_t host_cookie = 0;
  std::map<std::string, std::unique_ptr<Pod>> pods;
  uint64_t exec_count = 0;
  std::string instance;  // makes the names of exec's cgroups this process' own
  bool stopped = false;
  std::vector<std::string> notices;  // each said once

  PodPaths paths_of(const std::string& uid) const {
    return {settings.run_dir / "pods" / uid, settings.root_dir / "pods" / uid};
  }
  LaunchContext launch_context() { return {&cgroups, &devices, &seccomp, available}; }

  Pod* find(const std::string& uid) {
    const auto pod = pods.find(uid);
    return pod == pods.end() ? nullptr : pod->second.get();
  }

  // `work` on a worker, `done` here, unless the runtime is gone by then.
  template <typename Work, typename Done>
  void offload(Work work, Done done, uint64_t lane = 0) {
    auto self = shared_from_this();
    loop.offload([self, work = std::move(work)]() mutable { return work(); },
                 [self, done = std::move(done)](auto result) mutable {
                   if (!self->stopped) done(std::move(result));
                 },
                 lane);
  }
  // What must happen in order for one pod shares a lane; 0 would mean none.
  static uint64_t lane_of(const std::string& uid) { return std::hash<std::string>()(uid) | 1; }
  template <typename Callback, typename Value>
  void later(Callback callback, Value value) {
    loop.post([self = shared_from_this(), callback = std::make_shared<Callback>(std::move(callback)),
               value = std::make_shared<Value>(std::move(value))] {
      if (!self->stopped) (*callback)(std::move(*value));
    });
  }

  // ---- sandboxes (sandbox.cpp) ----
  void start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done);
  Result<StartedShim> start_shim(const api::SandboxSpec& spec);
  Status make_pod_cgroups(const Path& cgroup, const api::ResourceLimits& limits);
  void shim_started(const std::string& uid, StartedShim started);
  void sandbox_answered(const std::string& uid, Result<ShimMessage> answer);
  void sandbox_failed(const std::string& uid, Error error);
  Result<api::Sandbox> sandbox(const Pod& pod) const;
  Status take_namespaces(Pod& pod, ShimMessage& message);
  Result<std::unique_ptr<ShimClient>> make_client(const std::string& uid, Fd socket, Fd pidfd);
  void shim_disconnected(const std::string& uid);
  void shim_ended(const std::string& uid);

  // ---- containers (container.cpp) ----
  void start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done);
  void container_answered(const ContainerId& id, Result<api::StartedContainer> result);
  void container_reported(const std::string& uid, const ShimMessage& message);
  void deliver_exit(Pod& pod, api::ExitRecord record);
  void catch_up(const std::string& uid);
  void drop_layers(const Pod& pod, const std::string& container, uint32_t attempt, uint64_t lane);

  // ---- commands (exec.cpp) ----
  struct Exec;
  void exec(const ContainerId& id, api::ExecSpec spec, api::Callback<int> done);
  void exec_answered(std::shared_ptr<Exec> exec, Result<ShimMessage> answer);
  void exec_timed_out(const std::shared_ptr<Exec>& exec);

  // ---- removal (sandbox.cpp) ----
  void remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done);
  void finish_removal(const std::string& uid);
  Status clean_up(const std::string& uid, const Path& cgroup, bool forget);

  // ---- recovery (recovery.cpp) ----
  struct Recovery;
  void recover(api::Callback<std::vector<api::RecoveredPod>> done);
  Result<std::vector<FoundPod>> find_pods();
  void finish_recovery(std::shared_ptr<Recovery> recovery);
};

}  // namespace keelson::runtime
