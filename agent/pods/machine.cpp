#include "agent/pods/machine.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace keelson::pods {
namespace {

using Run = ContainerState::Run;
using Image = ContainerState::Image;
using Halt = ContainerState::Halt;
using std::chrono::seconds;

RestartPolicy parse_policy(const std::string& text) {
  if (text == "OnFailure") return RestartPolicy::on_failure;
  if (text == "Never") return RestartPolicy::never;
  return RestartPolicy::always;
}

Duration probe_grace(const api::Box<api::Probe>& probe, Duration pod_grace) {
  if (probe && probe->termination_grace_period_seconds) return seconds(*probe->termination_grace_period_seconds);
  return pod_grace;
}

ContainerPlan plan_container(const api::Container& spec, Role role, RestartPolicy policy, Duration grace) {
  ContainerPlan plan;
  plan.name = spec.name;
  plan.image = spec.image;
  plan.role = role;
  plan.restart = policy;
  for (const auto& rule : spec.restart_policy_rules) {
    if (rule.action != "Restart" || !rule.exit_codes) continue;
    plan.rules.push_back({.in = rule.exit_codes->operator_ != "NotIn", .codes = rule.exit_codes->values});
  }
  plan.post_start = spec.lifecycle && spec.lifecycle->post_start;
  plan.pre_stop = spec.lifecycle && spec.lifecycle->pre_stop;
  if (role != Role::init) {
    plan.startup_probe = spec.startup_probe.has_value();
    plan.liveness_probe = spec.liveness_probe.has_value();
    plan.readiness_probe = spec.readiness_probe.has_value();
  }
  if (plan.startup_probe) {
    const auto& probe = *spec.startup_probe;
    plan.startup_budget = seconds(probe.initial_delay_seconds.value_or(0) +
                                  probe.period_seconds.value_or(10) * probe.failure_threshold.value_or(3) +
                                  probe.timeout_seconds.value_or(1));
  }
  plan.startup_grace = probe_grace(spec.startup_probe, grace);
  plan.liveness_grace = probe_grace(spec.liveness_probe, grace);
  plan.pull_always = spec.image_pull_policy == "Always";
  return plan;
}

bool in_backoff(const Backoff& backoff, TimePoint happened, TimePoint now, Duration max) {
  return backoff.delay > Duration::zero() && happened - backoff.updated <= 2 * max && now - happened < backoff.delay;
}

void advance_backoff(Backoff& backoff, TimePoint happened, TimePoint now, Duration initial, Duration max) {
  bool fresh = backoff.delay == Duration::zero() || happened - backoff.updated > 2 * max;
  backoff.delay = fresh ? initial : std::min(2 * backoff.delay, max);
  backoff.updated = now;
}

// The plain kind: each failure doubles the wait before the next try.
Duration grow(Backoff& backoff, Duration initial, Duration max) {
  backoff.delay = backoff.delay == Duration::zero() ? initial : std::min(2 * backoff.delay, max);
  return backoff.delay;
}

Exit lost(const ContainerState& container, const std::string& why, int64_t wall_us) {
  return {.attempt = container.attempt(),
          .code = 137,
          .signal = 0,
          .reason = "ContainerStatusUnknown",
          .message = why,
          .started_at_us = container.started_at_us,
          .finished_at_us = wall_us};
}

// One transition under way: handlers note what happened, then advance() looks at
// the whole state and decides what is to be done next.
class Step {
 public:
  Step(const Plan& plan, State& state, Moment now, std::vector<Effect>& effects)
      : plan_(plan), state_(state), now_(now), effects_(effects) {}

  void handle(const event::Begin& begin) {
    if (state_.stage != Stage::pending) return;
    state_.waiting_reason.clear();
    state_.waiting_message.clear();
    if (state_.sandbox_dead && has_finished(plan_, state_)) {
      state_.sandbox_dead = false;
      state_.stage = Stage::finished;
      return;
    }
    state_.stage = Stage::setup;
    if (state_.sandbox_dead && unable_to_start_over()) return;
    if (plan_.active_deadline) {
      auto passed = std::chrono::microseconds(now_.wall_us - begin.start_time_us);
      arm({TimerId::Kind::deadline}, now_.steady + *plan_.active_deadline - passed);
    }
    prepare_volumes();
    if (state_.sandbox_dead) {
      forget_progress(state_);
      detach();
    } else {
      start_sandbox();
    }
    for (size_t i = 0; i < state_.containers.size(); ++i) {
      const auto& container = state_.containers[i];
      if (container.run == Run::waiting && !container.completed) resolve_image(i);
    }
  }

  void handle(const event::Blocked& blocked) {
    if (state_.stage != Stage::pending) return;
    state_.waiting_reason = blocked.reason;
    if (std::exchange(state_.waiting_message, blocked.message) == blocked.message) return;
    tell(true, blocked.reason.empty() ? "FailedMount" : blocked.reason, blocked.message);
  }

  void handle(const event::Rejected& rejected) {
    if (state_.stage != Stage::pending) return;
    log(true, fmt::format("rejected: {}: {}", rejected.reason, rejected.message));
    tell(true, rejected.reason, rejected.message);
    state_.final_reason = rejected.reason;
    state_.final_message = rejected.message;
    state_.stage = Stage::finished;
  }

  void handle(const event::Readmitted&) {
    bool untouched = std::ranges::all_of(state_.containers, [](const auto& c) { return c.attempts == 0; });
    if (state_.stage != Stage::finished || state_.sandbox != Sandbox::none || !untouched) return;
    state_.final_reason.clear();
    state_.final_message.clear();
    state_.stage = Stage::pending;
  }

  void handle(const event::VolumesReady&) {
    if (state_.volumes != Volumes::preparing) return;
    state_.volumes = Volumes::ready;
    state_.volumes_backoff = {};
  }

  void handle(const event::VolumesFailed& failed) {
    if (state_.volumes != Volumes::preparing) return;
    state_.volumes = Volumes::failed;
    if (!running_stage()) return;
    state_.waiting_message = failed.message;
    log(true, failed.message);
    tell(true, "FailedMount", failed.message);
    retry(TimerId::Kind::volumes, state_.volumes_backoff);
  }

  void handle(const event::SandboxStarted&) {
    if (state_.sandbox != Sandbox::starting) return;
    state_.sandbox = Sandbox::up;
    state_.setup_backoff = {};
  }

  void handle(const event::SandboxFailed& failed) {
    if (state_.sandbox != Sandbox::starting) return;
    state_.sandbox = Sandbox::none;
    if (!running_stage()) return;
    state_.waiting_message = fmt::format("Failed to create pod sandbox: {}", failed.message);
    log(true, fmt::format("sandbox failed: {}", failed.message));
    tell(true, "FailedCreatePodSandBox", state_.waiting_message);
    retry(TimerId::Kind::sandbox, state_.setup_backoff);
  }

  void handle(const event::SandboxLost& sandbox) {
    bool alive = std::ranges::any_of(state_.containers, [](const auto& c) { return c.alive(); });
    if (state_.sandbox_dead || state_.sandbox == Sandbox::removing) return;
    if (state_.sandbox == Sandbox::none && !alive) return;
    log(true, fmt::format("sandbox lost: {}", sandbox.message));
    auto why = fmt::format("The pod's sandbox was lost: {}", sandbox.message);
    for (size_t i = 0; i < state_.containers.size(); ++i) {
      if (state_.containers[i].alive()) ended(i, lost(state_.containers[i], why, now_.wall_us));
    }
    if (!running_stage() && state_.stage != Stage::pending) return;  // stopping removes it anyway
    state_.sandbox_dead = true;
    state_.lost_at = now_.steady;
    if (state_.stage == Stage::pending) return;
    if (unable_to_start_over()) return;
    tell(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
    state_.stage = Stage::setup;
    forget_progress(state_);
  }

  void handle(const event::NetworkAttached&) {
    if (state_.sandbox != Sandbox::attaching) return;
    state_.sandbox = Sandbox::attached;
    state_.setup_backoff = {};
  }

  void handle(const event::NetworkFailed& failed) {
    if (state_.sandbox != Sandbox::attaching) return;
    state_.sandbox = Sandbox::up;
    if (!running_stage() || state_.sandbox_dead) return;
    state_.waiting_message = fmt::format("Failed to create pod sandbox: {}", failed.message);
    log(true, fmt::format("network failed: {}", failed.message));
    tell(true, "FailedCreatePodSandBox", state_.waiting_message);
    retry(TimerId::Kind::network, state_.setup_backoff);
  }

  void handle(const event::NetworkDetached&) {
    if (state_.sandbox != Sandbox::detaching) return;
    state_.network_known = false;
    remove_sandbox();
  }

  void handle(const event::SandboxRemoved&) {
    if (state_.sandbox != Sandbox::removing) return;
    state_.sandbox = Sandbox::none;
    state_.removal_backoff = {};
    if (state_.removal_forgets) state_.sandbox_known = false;
    if (!running_stage()) return;
    state_.sandbox_dead = false;
    auto max = plan_.timing.crash_backoff_max;
    if (in_backoff(state_.sandbox_backoff, state_.lost_at, now_.steady, max)) {
      arm({TimerId::Kind::sandbox}, state_.lost_at + state_.sandbox_backoff.delay);
    } else {
      start_sandbox();
    }
    advance_backoff(state_.sandbox_backoff, state_.lost_at, now_.steady, plan_.timing.crash_backoff, max);
  }

  void handle(const event::SandboxRemoveFailed& failed) {
    if (state_.sandbox != Sandbox::removing) return;
    log(true, fmt::format("sandbox not removed, trying again: {}", failed.message));
    retry(TimerId::Kind::removal, state_.removal_backoff);
  }

  void handle(const event::ImageReady& image) {
    auto& container = state_.containers.at(image.container);
    if (container.image != Image::resolving) return;
    container.image = Image::ready;
    container.image_reason.clear();
    container.image_message.clear();
    container.image_backoff = {};
  }

  void handle(const event::ImageFailed& image) {
    auto& container = state_.containers.at(image.container);
    if (container.image != Image::resolving) return;
    container.image = Image::failed;
    if (!running_stage()) return;
    log(true, fmt::format("container {}: {}: {}", plan_.containers[image.container].name, image.reason, image.message));
    container.image_reason = image.reason;
    container.image_message = image.message;
    tell_image_failure(image);
    grow(container.image_backoff, plan_.timing.image_backoff, plan_.timing.image_backoff_max);
    container.image_backoff.updated = now_.steady;
    auto wait = container.image_backoff.delay;
    if (image.reason == "ErrImagePull") wait = std::min(wait, plan_.timing.image_error_shown);
    arm({TimerId::Kind::image, image.container}, now_.steady + wait);
  }

  void handle(const event::ImageAppeared&) {
    if (!running_stage()) return;
    for (size_t i = 0; i < state_.containers.size(); ++i) {
      if (state_.containers[i].image != Image::failed || plan_.containers[i].pull_always) continue;
      cancel({TimerId::Kind::image, i});
      resolve_image(i);
    }
  }

  void handle(const event::ConfigChanged&) {
    if (!running_stage()) return;
    for (size_t i = 0; i < state_.containers.size(); ++i) clear_refusal(i);
    if (state_.volumes == Volumes::failed) {
      cancel({TimerId::Kind::volumes});
      prepare_volumes();
    }
  }

  void handle(const event::ContainerStarted& started) {
    auto& container = state_.containers.at(started.container);
    if (container.run != Run::starting || container.attempt() != started.attempt) return;
    container.run = Run::running;
    container.started_at_us = started.started_at_us;
    if (container.exit) container.previous = std::move(container.exit);
    container.exit.reset();
    log(false,
        fmt::format("container {}: started, attempt {}", plan_.containers[started.container].name, started.attempt));
    tell(started.container, false, "Started",
         fmt::format("Started container {}", plan_.containers[started.container].name));
    if (plan_.containers[started.container].post_start && running_stage()) {
      container.hooking = true;
      effects_.emplace_back(effect::RunHook{started.container, started.attempt, Hook::post_start, Duration::zero()});
    } else {
      settle_in(started.container);
    }
  }

  void handle(const event::ContainerRefused& refused) {
    auto& container = state_.containers.at(refused.container);
    if (container.run != Run::starting || container.attempt() != refused.attempt) return;
    container.run = container.before_start;
    --container.attempts;
    if (!running_stage()) return;
    log(true,
        fmt::format("container {}: {}: {}", plan_.containers[refused.container].name, refused.reason, refused.message));
    container.image = Image::ready;
    container.config_reason = refused.reason;
    container.config_message = refused.message;
    tell(refused.container, true, "Failed", fmt::format("Error: {}", refused.message));
    arm({TimerId::Kind::backoff, refused.container}, now_.steady + plan_.timing.crash_backoff);
  }

  void handle(const event::ContainerExited& exited) {
    auto& container = state_.containers.at(exited.container);
    if (!container.alive() || container.attempt() != exited.exit.attempt) return;
    ended(exited.container, exited.exit);
  }

  void handle(const event::TerminationMessage& found) {
    auto& container = state_.containers.at(found.container);
    for (auto* exit : {&container.exit, &container.previous}) {
      if (*exit && (*exit)->attempt == found.attempt && (*exit)->message.empty()) (*exit)->message = found.message;
    }
  }

  void handle(const event::HookDone& done) {
    auto& container = state_.containers.at(done.container);
    if (container.run != Run::running || container.attempt() != done.attempt) return;
    const auto& name = plan_.containers[done.container].name;
    if (done.hook == Hook::pre_stop) {
      if (container.halt != Halt::hook) return;
      if (!done.error.empty()) {
        log(true, fmt::format("container {}: preStop hook: {}, ignoring", name, done.error));
        tell(done.container, true, "FailedPreStopHook", "PreStopHook failed");
      }
      after_hook(done.container);
      return;
    }
    if (!container.hooking) return;
    if (done.error.empty()) {
      container.hooking = false;
      settle_in(done.container);
    } else if (container.halt == Halt::none) {
      log(true, fmt::format("container {}: postStart hook: {}; it is killed", name, done.error));
      tell(done.container, true, "FailedPostStartHook", "PostStartHook failed");
      begin_halt(done.container, plan_.grace, "FailedPostStartHook");
    }
  }

  void handle(const event::Probed& probed) {
    auto& container = state_.containers.at(probed.container);
    if (container.run != Run::running || container.attempt() != probed.attempt) return;
    const auto& plan = plan_.containers[probed.container];
    switch (probed.kind) {
      case ProbeKind::readiness:
        container.ready = probed.success && container.started;
        break;
      case ProbeKind::startup:
        if (probed.success) {
          mark_started(probed.container);
        } else if (running_stage() && container.halt == Halt::none) {
          log(true, fmt::format("container {}: startup probe failed; it is killed", plan.name));
          container.restart_anyway = true;
          begin_halt(probed.container, plan.startup_grace,
                     fmt::format("Container {} failed startup probe, will be restarted", plan.name));
        }
        break;
      case ProbeKind::liveness:
        if (!probed.success && running_stage() && container.halt == Halt::none) {
          log(true, fmt::format("container {}: liveness probe failed; it is killed", plan.name));
          container.restart_anyway = true;
          begin_halt(probed.container, plan.liveness_grace,
                     fmt::format("Container {} failed liveness probe, will be restarted", plan.name));
        }
        break;
    }
  }

  void handle(const event::Terminate& terminate) {
    if (state_.stage == Stage::gone) return;
    state_.forget = true;
    begin_stop(terminate.grace.value_or(plan_.grace));
  }

  void handle(const event::Fail& failure) {
    if (state_.stage != Stage::pending && !running_stage()) return;
    fail(failure.reason, failure.message, failure.grace);
  }

  void handle(const event::TimerFired& timer) {
    auto i = timer.id.container;
    switch (timer.id.kind) {
      case TimerId::Kind::deadline:
        if (running_stage()) fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        break;
      case TimerId::Kind::volumes:
        if (running_stage() && state_.volumes == Volumes::failed) prepare_volumes();
        break;
      case TimerId::Kind::sandbox:
        if (running_stage() && state_.sandbox == Sandbox::none) start_sandbox();
        break;
      case TimerId::Kind::network:
        if (running_stage() && state_.sandbox == Sandbox::up && !state_.sandbox_dead) attach();
        break;
      case TimerId::Kind::removal:
        if (state_.sandbox == Sandbox::removing) remove_sandbox();
        break;
      case TimerId::Kind::backoff:
        clear_refusal(i);  // advance() starts it
        break;
      case TimerId::Kind::image:
        image_timer(i);
        break;
      case TimerId::Kind::halt:
        halt_timer(i);
        break;
      case TimerId::Kind::hook:
        break;  // a hook's own sleep, which answers with HookDone
    }
  }

  // What the state as a whole asks for.
  void advance() {
    if (running_stage()) advance_setup();
    if (state_.stage == Stage::active) advance_containers();
    if (state_.stage == Stage::stopping) advance_stop();
    if (state_.stage == Stage::finished && state_.forget) advance_stop();
  }

 private:
  bool running_stage() const { return state_.stage == Stage::setup || state_.stage == Stage::active; }

  void log(bool warning, std::string text) { effects_.emplace_back(effect::Log{warning, std::move(text)}); }
  void tell(std::optional<size_t> container, bool warning, std::string reason, std::string message) {
    effects_.emplace_back(effect::Tell{container, warning, std::move(reason), std::move(message)});
  }
  void tell(bool warning, std::string reason, std::string message) {
    tell(std::nullopt, warning, std::move(reason), std::move(message));
  }
  // kubelet says what went wrong, and again by the reason that the status shows.
  void tell_image_failure(const event::ImageFailed& image) {
    auto i = image.container;
    if (image.reason == "ErrImagePull") {
      tell(i, true, "Failed", fmt::format("Failed to pull image \"{}\": {}", plan_.containers[i].image, image.message));
    } else {
      tell(i, true, image.reason == "ErrImageNeverPull" ? image.reason : "InspectFailed", image.message);
    }
    tell(i, true, "Failed", fmt::format("Error: {}", image.reason));
  }
  void arm(TimerId id, TimePoint at) { effects_.emplace_back(effect::ArmTimer{id, at}); }
  void cancel(TimerId id) { effects_.emplace_back(effect::CancelTimer{id}); }
  void retry(TimerId::Kind kind, Backoff& backoff) {
    arm({kind}, now_.steady + grow(backoff, plan_.timing.setup_backoff, plan_.timing.setup_backoff_max));
  }

  // ---- setup

  void prepare_volumes() {
    state_.volumes = Volumes::preparing;
    effects_.emplace_back(effect::PrepareVolumes{});
  }
  void start_sandbox() {
    state_.sandbox = Sandbox::starting;
    state_.sandbox_known = true;
    effects_.emplace_back(effect::StartSandbox{});
  }
  void attach() {
    state_.sandbox = Sandbox::attaching;
    state_.network_known = true;
    effects_.emplace_back(effect::AttachNetwork{});
  }
  void detach() {
    state_.sandbox = Sandbox::detaching;
    effects_.emplace_back(effect::DetachNetwork{});
  }
  void remove_sandbox() {
    state_.sandbox = Sandbox::removing;
    state_.removal_forgets = state_.forget;
    effects_.emplace_back(effect::RemoveSandbox{state_.forget});
  }

  void advance_setup() {
    bool standing = state_.sandbox == Sandbox::up || state_.sandbox == Sandbox::attached;
    if (standing && state_.sandbox_dead) {
      detach();
    } else if (state_.sandbox == Sandbox::up && state_.setup_backoff.delay == Duration::zero()) {
      attach();
    }
    if (state_.stage == Stage::setup && state_.sandbox == Sandbox::attached && state_.volumes == Volumes::ready) {
      state_.stage = Stage::active;
      state_.waiting_reason.clear();
      state_.waiting_message.clear();
      for (size_t i = 0; i < state_.containers.size(); ++i) probe_adopted(i);
    }
  }

  void probe_adopted(size_t i) {
    auto& container = state_.containers[i];
    const auto& plan = plan_.containers[i];
    if (!std::exchange(container.adopted, false) || container.run != Run::running) return;
    if (plan.startup_probe || plan.liveness_probe || plan.readiness_probe)
      effects_.emplace_back(effect::StartProbes{i, container.attempt(), true});
  }

  // In a new sandbox the init containers run again, whatever became of them.
  void forget_progress(State& state) {
    state.initialized = false;
    for (size_t i = 0; i < state.containers.size(); ++i) {
      auto& container = state.containers[i];
      container.was_started = false;
      container.completed = false;
      if (plan_.containers[i].role == Role::init && container.run == Run::exited) container.run = Run::waiting;
    }
  }

  // kubelet does not make a new sandbox for a pod that must not restart and has
  // run already.
  bool unable_to_start_over() {
    bool ran = std::ranges::any_of(state_.containers, [](const auto& c) { return c.attempts > 0; });
    if (plan_.restart != RestartPolicy::never || !ran) return false;
    if (has_finished(plan_, state_)) {
      begin_stop(plan_.grace);
    } else {
      fail("SandboxLost", "The pod's sandbox was lost, and its restartPolicy is Never");
    }
    return true;
  }

  // ---- containers

  void resolve_image(size_t i) {
    state_.containers[i].image = Image::resolving;
    effects_.emplace_back(effect::ResolveImage{i});
  }

  void image_timer(size_t i) {
    auto& container = state_.containers.at(i);
    if (container.image != Image::failed || !running_stage()) return;
    auto due = container.image_backoff.updated + container.image_backoff.delay;
    if (now_.steady >= due) {
      resolve_image(i);
      return;
    }
    if (container.image_reason == "ErrImagePull") {
      container.image_reason = "ImagePullBackOff";
      container.image_message = fmt::format("Back-off pulling image \"{}\": ErrImagePull: {}",
                                            plan_.containers[i].image, container.image_message);
      tell(i, false, "BackOff", fmt::format("Back-off pulling image \"{}\"", plan_.containers[i].image));
      tell(i, true, "Failed", "Error: ImagePullBackOff");
    }
    arm({TimerId::Kind::image, i}, due);
  }

  void clear_refusal(size_t i) {
    auto& container = state_.containers.at(i);
    container.config_reason.clear();
    container.config_message.clear();
  }

  // Starts the container if it is its time; the reasons not to are in the state.
  void try_start(size_t i) {
    auto& container = state_.containers[i];
    if (container.alive() || !container.config_reason.empty()) return;
    auto max = plan_.timing.crash_backoff_max;
    if (container.run == Run::exited && container.exit && !container.completed) {
      if (in_backoff(container.backoff, container.exited_at, now_.steady, max)) {
        if (!container.backing_off) {
          log(false, fmt::format("container {}: back-off {} s before it is restarted", plan_.containers[i].name,
                                 std::chrono::duration_cast<seconds>(container.backoff.delay).count()));
          container.backing_off = true;
          tell(i, true, "BackOff", fmt::format("Back-off restarting failed container {}", plan_.containers[i].name));
          arm({TimerId::Kind::backoff, i}, container.exited_at + container.backoff.delay);
        }
        return;
      }
    }
    container.backing_off = false;
    if (container.image == Image::unknown) resolve_image(i);
    if (container.image != Image::ready) return;
    if (container.run == Run::exited) {
      advance_backoff(container.backoff, container.exited_at, now_.steady, plan_.timing.crash_backoff, max);
    }
    container.image = Image::unknown;  // the next attempt looks again
    container.before_start = container.run;
    container.run = Run::starting;
    container.restart_anyway = false;
    container.ready = container.started = container.hooking = false;
    container.halt = Halt::none;
    ++container.attempts;
    effects_.emplace_back(effect::StartContainer{i, container.attempt()});
  }

  void settle_in(size_t i) {
    const auto& plan = plan_.containers[i];
    if (!running_stage()) return;
    if (!plan.startup_probe) mark_started(i);
    if (plan.startup_probe || plan.liveness_probe || plan.readiness_probe) {
      effects_.emplace_back(effect::StartProbes{i, state_.containers[i].attempt(), false});
    }
  }

  void mark_started(size_t i) {
    auto& container = state_.containers[i];
    container.started = container.was_started = true;
    if (!plan_.containers[i].readiness_probe && plan_.containers[i].role != Role::init) container.ready = true;
  }

  void ended(size_t i, Exit exit) {
    auto& container = state_.containers[i];
    const auto& plan = plan_.containers[i];
    log(exit.code != 0 && container.halt == Halt::none,
        fmt::format("container {}: exited with code {} ({}{}{})", plan.name, exit.code, exit.reason,
                    exit.message.empty() ? "" : ": ", exit.message));
    if (container.run == Run::starting && container.exit) container.previous = std::move(container.exit);
    if (exit.started_at_us == 0 && container.run == Run::running) exit.started_at_us = container.started_at_us;
    if (exit.reason == "StartError") tell(i, true, "Failed", fmt::format("Error: {}", exit.message));
    container.completed = plan.role == Role::init && exit.code == 0;
    container.exit = std::move(exit);
    container.run = Run::exited;
    container.exited_at = now_.steady;
    container.ready = container.started = container.hooking = false;
    if (container.halt != Halt::none) cancel({TimerId::Kind::halt, i});
    container.halt = Halt::none;
    effects_.emplace_back(effect::StopProbes{i, false});
  }

  void advance_containers() {
    bool initialized = true;
    for (size_t i = 0; i < plan_.containers.size(); ++i) {
      const auto& plan = plan_.containers[i];
      auto& container = state_.containers[i];
      if (plan.role == Role::sidecar) {
        try_start(i);
        if (!container.was_started && !state_.initialized) {
          initialized = false;
          break;
        }
      } else if (plan.role == Role::init && !state_.initialized && !container.completed) {
        if (container.run == Run::exited && !restarts(plan, container)) {
          begin_stop(plan_.grace);  // it failed, and so has the pod
          return;
        }
        try_start(i);
        initialized = false;
        break;
      }
    }
    if (!initialized) return;
    state_.initialized = true;
    for (size_t i = 0; i < plan_.containers.size(); ++i) {
      if (plan_.containers[i].role != Role::main) continue;
      const auto& container = state_.containers[i];
      if (container.run == Run::waiting || (container.run == Run::exited && restarts(plan_.containers[i], container)))
        try_start(i);
      // Kubernetes starts them in order, and a postStart hook holds up those behind
      // it; people build on that.
      if (plan_.containers[i].post_start && container.attempts == 1 &&
          (container.run == Run::starting || container.hooking))
        return;
    }
    if (has_finished(plan_, state_)) begin_stop(plan_.grace);
  }

  // ---- the end

  void fail(const std::string& reason, const std::string& message, std::optional<Duration> grace = {}) {
    log(true, fmt::format("failed: {}: {}", reason, message));
    tell(reason != "DeadlineExceeded", reason, message);
    state_.final_reason = reason;
    state_.final_message = message;
    begin_stop(grace.value_or(plan_.grace));
  }

  void begin_stop(Duration grace) {
    auto by = now_.steady + grace;
    if (state_.stage == Stage::finished) return;  // advance() forgets it
    if (state_.stage == Stage::stopping) {
      if (by >= state_.stop_by) return;
      state_.stop_by = by;
      for (size_t i = 0; i < state_.containers.size(); ++i) {
        auto& container = state_.containers[i];
        if (container.halt == Halt::none || container.halt == Halt::kill || container.halt_by <= by) continue;
        container.halt_by = by;
        arm({TimerId::Kind::halt, i}, by);
      }
      return;
    }
    state_.stage = Stage::stopping;
    state_.stop_by = by;
    state_.waiting_message.clear();
    for (auto kind : {TimerId::Kind::deadline, TimerId::Kind::volumes, TimerId::Kind::sandbox, TimerId::Kind::network})
      cancel({kind});
    for (size_t i = 0; i < state_.containers.size(); ++i) {
      cancel({TimerId::Kind::backoff, i});
      cancel({TimerId::Kind::image, i});
      state_.containers[i].backing_off = false;
      clear_refusal(i);
    }
  }

  // `why` is what the event says; "": that the pod stops.
  void begin_halt(size_t i, Duration grace, const std::string& why = "") {
    auto& container = state_.containers[i];
    tell(i, false, "Killing", why.empty() ? fmt::format("Stopping container {}", plan_.containers[i].name) : why);
    container.halt_by = now_.steady + grace;
    if (grace <= Duration::zero()) {
      send_kill(i);
      return;
    }
    effects_.emplace_back(effect::StopProbes{i, true});
    if (plan_.containers[i].pre_stop) {
      container.halt = Halt::hook;
      effects_.emplace_back(effect::RunHook{i, container.attempt(), Hook::pre_stop, grace});
      arm({TimerId::Kind::halt, i}, container.halt_by);
    } else {
      take_turn(i, Duration::zero());
    }
  }

  void after_hook(size_t i) { take_turn(i, plan_.timing.minimum_grace); }

  // Sidecars end after everything that may lean on them, the last one first.
  bool has_turn(size_t i) const {
    if (state_.stage != Stage::stopping || plan_.containers[i].role != Role::sidecar) return true;
    for (size_t k = 0; k < state_.containers.size(); ++k) {
      if (k == i || !state_.containers[k].alive()) continue;
      if (plan_.containers[k].role != Role::sidecar || k > i) return false;
    }
    return true;
  }

  void take_turn(size_t i, Duration at_least) {
    auto& container = state_.containers[i];
    if (has_turn(i) || now_.steady >= container.halt_by) {
      send_term(i, at_least);
      return;
    }
    container.halt = Halt::turn;
    arm({TimerId::Kind::halt, i}, container.halt_by);
  }

  void send_term(size_t i, Duration at_least) {
    auto& container = state_.containers[i];
    container.halt = Halt::term;
    container.halt_by = std::max(container.halt_by, now_.steady + at_least);
    effects_.emplace_back(effect::Signal{i, container.attempt(), false});
    arm({TimerId::Kind::halt, i}, container.halt_by);
  }

  void send_kill(size_t i) {
    auto& container = state_.containers[i];
    container.halt = Halt::kill;
    effects_.emplace_back(effect::Signal{i, container.attempt(), true});
    arm({TimerId::Kind::halt, i}, now_.steady + plan_.timing.kill_patience);
  }

  void halt_timer(size_t i) {
    auto& container = state_.containers.at(i);
    if (container.run != Run::running) return;
    const auto& name = plan_.containers[i].name;
    switch (container.halt) {
      case Halt::none:
        break;
      case Halt::hook:
        log(true, fmt::format("container {}: preStop hook did not end within the grace period", name));
        send_term(i, plan_.timing.minimum_grace);
        break;
      case Halt::turn:
        send_term(i, plan_.timing.minimum_grace);
        break;
      case Halt::term:
        log(true, fmt::format("container {}: still runs after the grace period; it is killed", name));
        tell(i, true, "ExceededGracePeriod", "Container runtime did not kill the pod within specified grace period.");
        send_kill(i);
        break;
      case Halt::kill:
        if (state_.stage == Stage::stopping) {
          log(true, fmt::format("container {}: no exit seen after SIGKILL; removing the sandbox without it", name));
          ended(i, lost(container, "The container did not end after SIGKILL", now_.wall_us));
        } else {
          send_kill(i);
        }
        break;
    }
  }

  void advance_stop() {
    bool alive = false;
    for (size_t i = 0; i < state_.containers.size(); ++i) {
      auto& container = state_.containers[i];
      if (container.run == Run::running && container.halt == Halt::none) begin_halt(i, state_.stop_by - now_.steady);
      if (container.halt == Halt::turn && has_turn(i)) send_term(i, plan_.timing.minimum_grace);
      alive = alive || container.alive();
    }
    if (alive) return;
    switch (state_.sandbox) {
      case Sandbox::up:
      case Sandbox::attached:
        detach();
        return;
      case Sandbox::none:
        break;
      default:
        return;  // its answer comes
    }
    if (state_.network_known) {
      detach();
    } else if (state_.forget && state_.sandbox_known) {
      remove_sandbox();
    } else if (state_.forget) {
      state_.stage = Stage::gone;
      effects_.emplace_back(effect::RemoveFiles{});
    } else {
      state_.stage = Stage::finished;
    }
  }

  const Plan& plan_;
  State& state_;
  const Moment now_;
  std::vector<Effect>& effects_;
};

}  // namespace

Plan make_plan(const api::PodSpec& spec, const Timing& timing) {
  Plan plan;
  plan.timing = timing;
  plan.restart = parse_policy(spec.restart_policy);
  plan.grace = seconds(spec.termination_grace_period_seconds.value_or(30));
  if (spec.active_deadline_seconds) plan.active_deadline = seconds(*spec.active_deadline_seconds);
  for (const auto& container : spec.init_containers) {
    bool sidecar = container.restart_policy == "Always";
    // An init container that failed is tried again whenever the pod may restart at all.
    auto policy = sidecar                                ? RestartPolicy::always
                  : !container.restart_policy.empty()    ? parse_policy(container.restart_policy)
                  : plan.restart == RestartPolicy::never ? RestartPolicy::never
                                                         : RestartPolicy::on_failure;
    plan.containers.push_back(plan_container(container, sidecar ? Role::sidecar : Role::init, policy, plan.grace));
  }
  for (const auto& container : spec.containers) {
    auto policy = container.restart_policy.empty() ? plan.restart : parse_policy(container.restart_policy);
    plan.containers.push_back(plan_container(container, Role::main, policy, plan.grace));
  }
  return plan;
}

State initial_state(const Plan& plan) {
  State state;
  state.containers.resize(plan.containers.size());
  return state;
}

bool restarts(const ContainerPlan& plan, const ContainerState& state) {
  if (state.run != Run::exited || !state.exit || state.completed) return false;
  if (plan.restart != RestartPolicy::never && state.restart_anyway) return true;
  if (plan.role == Role::sidecar || plan.restart == RestartPolicy::always) return true;
  for (const auto& rule : plan.rules) {
    bool listed = std::ranges::find(rule.codes, state.exit->code) != rule.codes.end();
    if (listed == rule.in) return true;
  }
  return plan.restart == RestartPolicy::on_failure && state.exit->code != 0;
}

bool has_finished(const Plan& plan, const State& state) {
  bool mains_ended = true;
  for (size_t i = 0; i < plan.containers.size(); ++i) {
    const auto& container = state.containers[i];
    bool over = container.run == Run::exited && !restarts(plan.containers[i], container);
    if (plan.containers[i].role == Role::init && over && !container.completed) return true;
    if (plan.containers[i].role == Role::main && !over) mains_ended = false;
  }
  return mains_ended;
}

Transition step(const Plan& plan, State state, const Event& event, Moment now) {
  Transition result{.state = std::move(state), .effects = {}};
  Step step(plan, result.state, now, result.effects);
  std::visit([&](const auto& what) { step.handle(what); }, event);
  step.advance();
  return result;
}

State adopted_state(const Plan& plan, const Survivor& survivor, Moment now) {
  State state = initial_state(plan);
  state.sandbox_known = state.network_known = true;
  state.sandbox_dead = !survivor.alive;
  state.lost_at = now.steady;
  for (const auto& found : survivor.containers) {
    auto& container = state.containers.at(found.container);
    container.attempts = found.attempt + 1;
    container.started_at_us = found.started_at_us;
    container.run = found.running && survivor.alive ? Run::running : Run::exited;
  }
  for (const auto& [index, exit] : survivor.exits) {
    auto& container = state.containers.at(index);
    if (exit.attempt + 1 > container.attempts) {
      container.attempts = exit.attempt + 1;
      container.run = Run::exited;
    }
    bool current = exit.attempt + 1 == container.attempts;
    if (current && container.run == Run::exited) container.exit = exit;
    if (exit.attempt + 2 == container.attempts) container.previous = exit;
  }
  for (auto& container : state.containers) {
    if (container.run != Run::exited) continue;
    container.exited_at = now.steady;
    if (!container.exit)
      container.exit = lost(container, "The container's end was not seen by the node's agent", now.wall_us);
  }
  if (!survivor.alive) {
    for (size_t i = 0; i < plan.containers.size(); ++i) {
      auto& container = state.containers[i];
      container.completed = plan.containers[i].role == Role::init && container.exit && container.exit->code == 0;
    }
    return state;
  }

  // How far had the initialization of this sandbox come? Each init container that
  // is done has begun after the one before it had ended; those of an older sandbox
  // are not in that order.
  int64_t reached_us = 0;
  bool initialized = true;
  for (size_t i = 0; i < plan.containers.size() && initialized; ++i) {
    auto& container = state.containers[i];
    if (plan.containers[i].role == Role::init) {
      container.completed =
          container.run == Run::exited && container.exit->code == 0 && container.exit->started_at_us >= reached_us;
      initialized = container.completed;
      if (initialized) reached_us = container.exit->finished_at_us;
    } else if (plan.containers[i].role == Role::sidecar) {
      initialized = container.attempts > 0;
    }
  }
  bool main_runs = false;
  for (size_t i = 0; i < plan.containers.size(); ++i) {
    main_runs = main_runs || (plan.containers[i].role == Role::main && state.containers[i].run == Run::running);
  }
  state.initialized = initialized || main_runs;
  for (size_t i = 0; i < plan.containers.size(); ++i) {
    auto& container = state.containers[i];
    const auto& container_plan = plan.containers[i];
    if (container_plan.role == Role::init && state.initialized) {
      container.completed = true;
      if (container.attempts == 0) continue;
    }
    if (container.run != Run::running) continue;
    auto ran = std::chrono::microseconds(now.wall_us - container.started_at_us);
    // Presumed as it was: the first probe corrects it, and a Service keeps its endpoint.
    container.adopted = true;
    container.started = !container_plan.startup_probe || ran > container_plan.startup_budget;
    container.was_started = container.started;
    container.ready = container.started && container_plan.role != Role::init;
  }
  return state;
}

}  // namespace keelson::pods
