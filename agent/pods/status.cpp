#include "agent/pods/status.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>

#include "api/validate.h"

namespace keelson::pods {
namespace {

using Run = ContainerState::Run;
using Image = ContainerState::Image;

api::Time to_time(int64_t us) { return {us / 1'000'000}; }

// Go's time.Duration: "10s", "1m20s", "5m0s".
std::string go_duration(Duration duration) {
  auto total = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  if (total < 60) return fmt::format("{}s", total);
  return fmt::format("{}m{}s", total / 60, total % 60);
}

api::ContainerStateTerminated terminated(const Exit& exit, const std::string& uid, const std::string& name) {
  api::ContainerStateTerminated state;
  state.exit_code = exit.code;
  if (exit.signal != 0) state.signal = exit.signal;
  state.reason = exit.reason;
  state.message = exit.message;
  state.started_at = to_time(exit.started_at_us);
  state.finished_at = to_time(exit.finished_at_us);
  state.container_id = container_id(uid, name, exit.attempt);
  return state;
}

// Why a container that does not run (and is not over) does not.
api::ContainerStateWaiting waiting(const api::Pod& pod, const ContainerPlan& plan, const ContainerState& container,
                                   const State& state) {
  bool over = state.stage == Stage::stopping || state.stage == Stage::finished;
  if (!container.config_reason.empty()) return {container.config_reason, container.config_message};
  if (container.backing_off) {
    return {"CrashLoopBackOff", fmt::format("back-off {} restarting failed container={} pod={}_{}({})",
                                            go_duration(container.backoff.delay), plan.name, pod.metadata.name,
                                            pod.metadata.namespace_, pod.metadata.uid)};
  }
  bool initializing =
      plan.role == Role::main && !state.initialized && !state.containers.empty() && !pod.spec.init_containers.empty();
  if (container.image == Image::failed && !initializing && !over)
    return {container.image_reason, container.image_message};
  auto reason = pod.spec.init_containers.empty() ? "ContainerCreating" : "PodInitializing";
  return {state.waiting_reason.empty() ? reason : state.waiting_reason, over ? "" : state.waiting_message};
}

api::ContainerStatus container_status(const api::Pod& pod, const api::Container& spec, const ContainerPlan& plan,
                                      const ContainerState& container, const State& state,
                                      const StatusFacts::Image& image) {
  const auto& uid = pod.metadata.uid;
  api::ContainerStatus status;
  status.name = spec.name;
  status.image = image.name.empty() ? spec.image : image.name;
  status.image_id = image.id;
  status.restart_count = container.attempts == 0 ? 0 : static_cast<int32_t>(container.attempts - 1);
  bool running = container.run == Run::running && !container.hooking;
  bool shows_exit = container.run == Run::exited && container.exit && !container.backing_off &&
                    container.config_reason.empty() && container.image != Image::failed;
  if (running) {
    status.state.running = api::ContainerStateRunning{.started_at = to_time(container.started_at_us)};
  } else if (shows_exit) {
    status.state.terminated = terminated(*container.exit, uid, spec.name);
  } else {
    status.state.waiting = waiting(pod, plan, container, state);
  }
  const auto& last = !shows_exit && container.exit ? container.exit : container.previous;
  if (last) status.last_state.terminated = terminated(*last, uid, spec.name);
  if (running || container.hooking) {
    status.container_id = container_id(uid, spec.name, container.attempt());
  } else if (container.exit) {
    status.container_id = container_id(uid, spec.name, container.exit->attempt);
  }
  status.started = container.started;
  // An init container is ready when it is done; all others while they are.
  status.ready = plan.role == Role::init ? container.completed : container.ready;
  for (const auto& mount : spec.volume_mounts) {
    api::VolumeMountStatus mounted;
    mounted.name = mount.name;
    mounted.mount_path = mount.mount_path;
    mounted.read_only = mount.read_only;
    if (mount.read_only.value_or(false))
      mounted.recursive_read_only = mount.recursive_read_only.empty() ? "Disabled" : mount.recursive_read_only;
    status.volume_mounts.push_back(std::move(mounted));
  }
  return status;
}

struct Counts {
  size_t running = 0, waiting = 0, stopped = 0, succeeded = 0;
};

std::string phase_of(const Plan& plan, const State& state) {
  if (!state.final_reason.empty() && state.stage != Stage::pending) return "Failed";
  Counts counts;
  bool init_failed = false;
  for (size_t i = 0; i < plan.containers.size(); ++i) {
    const auto& container = state.containers[i];
    bool over = container.run == Run::exited && !restarts(plan.containers[i], container);
    if (plan.containers[i].role == Role::init && over && !container.completed) init_failed = true;
    if (plan.containers[i].role != Role::main) continue;
    if (container.run == Run::running && !container.hooking) {
      ++counts.running;
    } else if (container.exit || container.previous) {
      ++counts.stopped;
      if (container.run == Run::exited && container.exit && container.exit->code == 0) ++counts.succeeded;
    } else {
      ++counts.waiting;
    }
  }
  if (init_failed) return "Failed";
  bool ended = state.stage == Stage::finished || state.stage == Stage::gone;
  if (ended && counts.running == 0) {
    return counts.stopped > 0 && counts.waiting == 0 && counts.stopped == counts.succeeded ? "Succeeded" : "Failed";
  }
  if (!state.initialized && counts.running == 0 && counts.stopped == 0) return "Pending";
  if (counts.waiting > 0) return "Pending";
  if (counts.running > 0) return "Running";
  if (has_finished(plan, state)) return counts.stopped == counts.succeeded ? "Succeeded" : "Failed";
  return "Running";  // all ended, some to be restarted
}

void set_condition(std::vector<api::PodCondition>& conditions, const api::PodStatus& before, std::string type,
                   bool value, std::string reason, std::string message, int64_t now_us) {
  api::PodCondition condition;
  condition.type = std::move(type);
  condition.status = value ? "True" : "False";
  condition.reason = std::move(reason);
  condition.message = std::move(message);
  condition.last_transition_time = to_time(now_us);
  for (const auto& old : before.conditions) {
    if (old.type == condition.type && old.status == condition.status && old.last_transition_time)
      condition.last_transition_time = old.last_transition_time;
  }
  conditions.push_back(std::move(condition));
}

void set_conditions(api::PodStatus& status, const api::Pod& pod, const Plan& plan, const State& state,
                    const api::PodStatus& before, int64_t now_us) {
  std::vector<std::string> not_initialized, not_ready;
  for (size_t i = 0; i < plan.containers.size(); ++i) {
    const auto& container = state.containers[i];
    switch (plan.containers[i].role) {
      case Role::init:
        if (!container.completed && !state.initialized) not_initialized.push_back(plan.containers[i].name);
        break;
      case Role::sidecar:
        if (!container.was_started && !state.initialized) not_initialized.push_back(plan.containers[i].name);
        if (!container.ready) not_ready.push_back(plan.containers[i].name);
        break;
      case Role::main:
        if (!container.ready) not_ready.push_back(plan.containers[i].name);
        break;
    }
  }
  bool succeeded = status.phase == "Succeeded", failed = status.phase == "Failed";
  auto& conditions = status.conditions;
  bool sandbox_ready = state.sandbox == Sandbox::attached && !state.sandbox_dead;
  set_condition(conditions, before, "PodReadyToStartContainers", sandbox_ready, "", "", now_us);

  if (succeeded) {
    set_condition(conditions, before, "Initialized", true, "PodCompleted", "", now_us);
  } else if (not_initialized.empty()) {
    set_condition(conditions, before, "Initialized", true, "", "", now_us);
  } else {
    set_condition(conditions, before, "Initialized", false, "ContainersNotInitialized",
                  fmt::format("containers with incomplete status: [{}]", fmt::join(not_initialized, " ")), now_us);
  }

  std::string reason, message;
  if (succeeded) {
    reason = "PodCompleted";
  } else if (failed) {
    reason = "PodFailed";
  } else if (!not_ready.empty()) {
    reason = "ContainersNotReady";
    message = fmt::format("containers with unready status: [{}]", fmt::join(not_ready, " "));
  }
  bool containers_ready = reason.empty();
  auto ready_reason = reason, ready_message = message;
  for (const auto& gate : pod.spec.readiness_gates) {
    auto met = std::ranges::any_of(before.conditions,
                                   [&](const auto& c) { return c.type == gate.condition_type && c.status == "True"; });
    if (met || !ready_reason.empty()) continue;
    ready_reason = "ReadinessGatesNotReady";
    ready_message =
        fmt::format("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type);
  }
  set_condition(conditions, before, "Ready", ready_reason.empty(), ready_reason, ready_message, now_us);
  set_condition(conditions, before, "ContainersReady", containers_ready, reason, message, now_us);
  set_condition(conditions, before, "PodScheduled", true, "", "", now_us);
}

}  // namespace

std::string container_id(const std::string& uid, const std::string& container, uint32_t attempt) {
  return fmt::format("keelson://{}/{}/{}", uid, container, attempt);
}

Exit make_exit(uint32_t attempt, int wait_status, bool oom_killed, const std::string& start_error,
               const std::string& termination_message, int64_t started_at_us, int64_t finished_at_us) {
  Exit exit{.attempt = attempt,
            .code = 0,
            .signal = 0,
            .reason = "",
            .message = termination_message,
            .started_at_us = started_at_us,
            .finished_at_us = finished_at_us};
  if (!start_error.empty()) {
    exit.code = 128;
    exit.reason = "StartError";
    exit.message = start_error;
    return exit;
  }
  if (WIFSIGNALED(wait_status)) {
    exit.code = 128 + WTERMSIG(wait_status);  // as a shell counts; kubelet shows no signal then
  } else {
    exit.code = WEXITSTATUS(wait_status);
  }
  exit.reason = oom_killed ? "OOMKilled" : exit.code == 0 ? "Completed" : "Error";
  return exit;
}

api::PodStatus make_status(const api::Pod& pod, const Plan& plan, const State& state, const StatusFacts& facts,
                           const api::PodStatus& before, int64_t now_us) {
  api::PodStatus status;
  status.phase = phase_of(plan, state);
  status.reason = state.final_reason;
  status.message = state.final_message;
  status.observed_generation = pod.metadata.generation;
  status.qos_class = pod.status.qos_class.empty() ? api::qos_class(pod) : pod.status.qos_class;
  status.start_time = to_time(facts.start_time_us);
  if (!facts.host_ips.empty()) status.host_ip = facts.host_ips.front();
  for (const auto& ip : facts.host_ips) status.host_ips.push_back({ip});
  if (!facts.pod_ips.empty()) status.pod_ip = facts.pod_ips.front();
  for (const auto& ip : facts.pod_ips) status.pod_ips.push_back({ip});

  size_t index = 0;
  static const StatusFacts::Image kNoImage;
  auto add = [&](const std::vector<api::Container>& specs, std::vector<api::ContainerStatus>& statuses) {
    for (const auto& spec : specs) {
      const auto& image = index < facts.images.size() ? facts.images[index] : kNoImage;
      statuses.push_back(container_status(pod, spec, plan.containers[index], state.containers[index], state, image));
      ++index;
    }
  };
  bool rejected = !state.final_reason.empty() && state.stage == Stage::finished &&
                  std::ranges::all_of(state.containers, [](const auto& c) { return c.attempts == 0; });
  if (!rejected) {
    add(pod.spec.init_containers, status.init_container_statuses);
    add(pod.spec.containers, status.container_statuses);
  }
  set_conditions(status, pod, plan, state, before, now_us);
  return status;
}

}  // namespace keelson::pods
