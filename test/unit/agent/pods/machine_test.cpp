// The pure machine under random events: whatever the world answers, and in whatever
// order, the invariants of machine.h hold.
#include <boost/test/unit_test.hpp>

#include <map>
#include <random>

#include "agent/pods/machine.h"
#include "agent/pods/status.h"

BOOST_AUTO_TEST_SUITE(the_machine)

using namespace keelson;
using namespace keelson::pods;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// A world that answers effects late, in random order, sometimes with failures, and
// that does things of its own: crashes, lost sandboxes, probes that fail.
class World {
 public:
  World(const Plan& plan, uint32_t seed) : plan_(plan), engine_(seed), state_(initial_state(plan)) {
    running_.resize(plan.containers.size());
    starting_.resize(plan.containers.size());
    last_attempt_.resize(plan.containers.size(), -1);
  }

  void live(int steps) {
    send(event::Begin{now_.wall_us});
    for (int i = 0; i < steps && state_.stage != Stage::gone; ++i) random_step();
  }

  void terminate() {
    send(event::Terminate{seconds(chance(50) ? 30 : 0)});
    for (int i = 0; i < 5'000 && state_.stage != Stage::gone; ++i) {
      if (!answers_.empty() && chance(80)) {
        answer();
      } else {
        pass_time();
      }
      if (chance(5)) random_event();
    }
    BOOST_TEST((state_.stage == Stage::gone), "the pod never goes");
    BOOST_TEST(sandboxes_ == 0, "a sandbox is left");
    BOOST_TEST(files_removed_ == 1);
  }

  const State& state() const { return state_; }

 private:
  bool chance(int percent) { return static_cast<int>(engine_() % 100) < percent; }
  size_t pick(size_t count) { return engine_() % count; }

  void send(const Event& event) {
    auto transition = step(plan_, std::move(state_), event, now_);
    state_ = std::move(transition.state);
    for (const auto& effect : transition.effects) std::visit([this](const auto& what) { perform(what); }, effect);
  }
  void later(Event event) { answers_.push_back(std::move(event)); }

  void random_step() {
    if (!answers_.empty() && chance(60)) {
      answer();
    } else if (chance(50)) {
      pass_time();
    } else {
      random_event();
    }
  }
  void answer() {
    auto i = pick(answers_.size());
    auto event = std::move(answers_[i]);
    answers_.erase(answers_.begin() + static_cast<ptrdiff_t>(i));
    if (const auto* started = std::get_if<event::ContainerStarted>(&event)) starting_[started->container] = false;
    if (std::holds_alternative<event::SandboxRemoved>(event) ||
        std::holds_alternative<event::SandboxRemoveFailed>(event))
      removing_ = false;
    send(event);
  }
  void pass_time() {
    now_.steady += milliseconds(engine_() % 20'000);
    now_.wall_us += 1'000'000;
    std::vector<TimerId> due;
    for (const auto& [id, at] : timers_) {
      if (at <= now_.steady) due.push_back(id);
    }
    for (auto id : due) {
      if (timers_.erase(id) != 0) send(event::TimerFired{id});
    }
  }
  void random_event() {
    auto i = pick(plan_.containers.size());
    const auto& container = state_.containers[i];
    switch (engine_() % 8) {
      case 0:
      case 1:
        if (running_[i] && !starting_[i]) end(i, chance(50) ? 0 : 1);
        break;
      case 2:
        send(event::Probed{i, container.attempt(), static_cast<ProbeKind>(pick(3)), chance(70)});
        break;
      case 3:
        if (sandboxes_ > 0 && sandbox_stands_ && chance(30)) lose_sandbox();
        break;
      case 4:
        send(event::ImageAppeared{});
        break;
      case 5:
        send(event::ConfigChanged{});
        break;
      case 6:  // answers that are late, or come twice
        send(event::ContainerStarted{i, container.attempt() + 1, 1});
        send(event::HookDone{i, container.attempt() + 1, Hook::pre_stop, ""});
        break;
      default:
        if (chance(3)) send(event::Fail{"DeadlineExceeded", "late"});
        break;
    }
  }
  void end(size_t i, int code) {
    running_[i] = false;
    send(event::ContainerExited{
        i, make_exit(static_cast<uint32_t>(last_attempt_[i]), code << 8, false, "", "", 1, now_.wall_us)});
  }
  void lose_sandbox() {
    for (size_t i = 0; i < running_.size(); ++i) running_[i] = starting_[i] = false;
    // What was being started fails now, after the news of the loss.
    sandbox_stands_ = false;
    send(event::SandboxLost{"test"});
  }

  void perform(const effect::PrepareVolumes&) {
    later(chance(80) ? Event(event::VolumesReady{}) : Event(event::VolumesFailed{"no"}));
  }
  void perform(const effect::StartSandbox&) {
    must_not_stop("a sandbox");
    BOOST_TEST(sandboxes_ == 0, "two sandboxes at once");
    if (chance(80)) {
      ++sandboxes_;
      sandbox_stands_ = true;
      later(event::SandboxStarted{});
    } else {
      later(event::SandboxFailed{"no"});
    }
  }
  void perform(const effect::AttachNetwork&) {
    BOOST_TEST(sandboxes_ == 1);
    later(chance(80) ? Event(event::NetworkAttached{}) : Event(event::NetworkFailed{"no"}));
  }
  void perform(const effect::DetachNetwork&) { later(event::NetworkDetached{}); }
  void perform(const effect::RemoveSandbox&) {
    BOOST_TEST(!removing_, "removed twice at once");
    removing_ = true;
    for (size_t i = 0; i < running_.size(); ++i) {
      BOOST_TEST((!starting_[i]), "removed under a container that is being started");
      running_[i] = false;
    }
    if (chance(80)) {
      sandboxes_ = 0;
      sandbox_stands_ = false;
      later(event::SandboxRemoved{});
    } else {
      later(event::SandboxRemoveFailed{"no"});
    }
  }
  void perform(const effect::ResolveImage& image) {
    later(chance(80) ? Event(event::ImageReady{image.container})
                     : Event(event::ImageFailed{image.container, "ErrImagePull", "no"}));
  }
  void perform(const effect::StartContainer& start) {
    auto i = start.container;
    must_not_stop("a container");
    BOOST_TEST((!running_[i] && !starting_[i]), "two attempts at once");
    BOOST_TEST((sandboxes_ == 1 && sandbox_stands_), "started without a sandbox");
    for (size_t k = 0; k < i; ++k) {
      if (plan_.containers[k].role == Role::init && plan_.containers[i].role != Role::main) {
        BOOST_TEST((state_.containers[k].completed || state_.initialized), "an init container was not waited for");
      }
      if (plan_.containers[k].role == Role::init && plan_.containers[i].role == Role::main)
        BOOST_TEST(state_.containers[k].completed);
    }
    auto dice = engine_() % 100;
    if (dice < 10) {
      later(event::ContainerRefused{i, start.attempt, "CreateContainerConfigError", "no"});
      return;
    }
    // Not always the next: one whose refusal came after its sandbox was lost has counted.
    BOOST_TEST(static_cast<int>(start.attempt) > last_attempt_[i], "an attempt was counted twice");
    last_attempt_[i] = static_cast<int>(start.attempt);
    if (dice < 20) {
      later(event::ContainerExited{i, make_exit(start.attempt, 0, false, "exec: no", "", 0, now_.wall_us)});
      return;
    }
    running_[i] = starting_[i] = true;
    later(event::ContainerStarted{i, start.attempt, now_.wall_us});
  }
  void perform(const effect::Signal& signal) {
    if (!running_[signal.container]) return;
    if (!signal.kill && chance(50)) return;  // it does not care
    if (signal.kill && chance(5)) return;    // stuck in the kernel
    auto attempt = static_cast<uint32_t>(last_attempt_[signal.container]);
    running_[signal.container] = false;
    later(event::ContainerExited{signal.container,
                                 make_exit(attempt, signal.kill ? 9 : 15, false, "", "", 1, now_.wall_us)});
  }
  void perform(const effect::RunHook& hook) {
    if (chance(90))
      later(event::HookDone{hook.container, hook.attempt, hook.hook, chance(80) ? "" : "failed"});
    else if (hook.hook == Hook::post_start)
      later(event::HookDone{hook.container, hook.attempt, hook.hook, "late"});
  }
  void perform(const effect::StartProbes&) {}
  void perform(const effect::StopProbes&) {}
  void perform(const effect::ArmTimer& arm) { timers_[arm.id] = arm.at; }
  void perform(const effect::CancelTimer& cancel) { timers_.erase(cancel.id); }
  void perform(const effect::RemoveFiles&) { ++files_removed_; }
  void perform(const effect::Log&) {}
  void perform(const effect::Tell&) {}

  void must_not_stop(const char* what) {
    bool stops = state_.stage == Stage::stopping || state_.stage == Stage::finished || state_.stage == Stage::gone;
    BOOST_TEST(!stops, what << " was started while stopping");
  }

  const Plan& plan_;
  std::mt19937 engine_;
  State state_;
  Moment now_{TimePoint(std::chrono::hours(1)), 1'800'000'000'000'000};
  std::vector<Event> answers_;
  std::map<TimerId, TimePoint> timers_;
  std::vector<bool> running_, starting_;
  std::vector<int> last_attempt_;
  int sandboxes_ = 0, files_removed_ = 0;
  bool sandbox_stands_ = false, removing_ = false;
};

api::PodSpec random_spec(std::mt19937& engine) {
  auto flip = [&] { return engine() % 2 == 0; };
  api::PodSpec spec;
  constexpr const char* kPolicies[] = {"Always", "OnFailure", "Never"};
  spec.restart_policy = kPolicies[engine() % 3];
  spec.termination_grace_period_seconds = engine() % 40;
  if (engine() % 4 == 0) spec.active_deadline_seconds = 60;
  auto make = [&](const std::string& name) {
    api::Container container;
    container.name = name;
    container.image_pull_policy = flip() ? "Always" : "IfNotPresent";
    if (flip()) container.lifecycle.emplace();
    if (container.lifecycle && flip()) container.lifecycle->post_start.emplace();
    if (container.lifecycle && flip()) container.lifecycle->pre_stop.emplace();
    if (flip()) container.startup_probe.emplace();
    if (flip()) container.liveness_probe.emplace();
    if (flip()) container.readiness_probe.emplace();
    return container;
  };
  for (size_t i = 0; i < engine() % 4; ++i) {
    spec.init_containers.push_back(make("init-" + std::to_string(i)));
    if (flip()) {
      spec.init_containers.back().restart_policy = "Always";
    } else {
      spec.init_containers.back().lifecycle.reset();
    }
  }
  for (size_t i = 0; i < 1 + engine() % 3; ++i) spec.containers.push_back(make("main-" + std::to_string(i)));
  return spec;
}

}  // namespace

BOOST_AUTO_TEST_CASE(holds_its_invariants_under_random_events) {
  for (uint32_t seed = 0; seed < 2'000; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 engine(seed);
      auto plan = make_plan(random_spec(engine), Timing());
      World world(plan, seed);
      world.live(static_cast<int>(engine() % 300));
      world.terminate();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
