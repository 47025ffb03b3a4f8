#pragma once
// The life of one pod as a pure function: (state, event) → (state, effects).
//
//   pending → setup → active → stopping → finished → gone
//
// pending: something it needs (a ConfigMap, a free host port) is missing. setup:
// volumes, sandbox and network are made, images looked for, all at once. active:
// init containers in order, then the containers, each waiting ⇄ running with
// back-off. stopping: every container is asked to end, then killed; sandbox and
// network go. finished: Succeeded or Failed, kept until somebody removes the pod.
//
// No I/O, no clock, no allocation of ids: `now` is a parameter, what is to be done
// comes back as data, and whoever does it (worker.h) answers with an event. Every
// event may come late or twice; one that no longer fits is ignored.
//
// Invariants (test/unit/agent/pods/machine_test.cpp, with random events): no
// container has two attempts at once; an attempt is started only after the exit of
// the one before; nothing is started while stopping; a sandbox is removed once;
// after `Terminate` it always reaches gone.
//
// Semantics are kubelet's: computePodActions, doBackOff, killContainer
// (pkg/kubelet/kuberuntime), KEP-753 (sidecars), KEP-5307 (restart rules).

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/pods/scheduler.h"
#include "api/pod.h"

namespace keelson::pods {

// Kubernetes' durations; tests shrink them.
struct Timing {
  Duration crash_backoff = std::chrono::seconds(10);
  Duration crash_backoff_max = std::chrono::seconds(300);
  Duration image_backoff = std::chrono::seconds(10);
  Duration image_backoff_max = std::chrono::seconds(300);
  Duration image_error_shown = std::chrono::seconds(1);     // ErrImagePull, before it reads ImagePullBackOff
  Duration setup_backoff = std::chrono::milliseconds(500);  // volumes, sandbox, network, removal
  Duration setup_backoff_max = std::chrono::seconds(30);
  Duration minimum_grace = std::chrono::seconds(2);   // after a hook or a wait has used up the grace period
  Duration kill_patience = std::chrono::seconds(10);  // from SIGKILL until a container counts as lost
};

enum class Role { init, sidecar, main };
enum class RestartPolicy { always, on_failure, never };
enum class Hook { post_start, pre_stop };
enum class ProbeKind { startup, liveness, readiness };

struct RestartRule {  // "Restart" when the exit code is (not) among these
  bool in = true;
  std::vector<int32_t> codes;
};

// What of the spec decides; fixed for the pod's life.
struct ContainerPlan {
  std::string name, image;
  Role role = Role::main;
  RestartPolicy restart = RestartPolicy::always;
  std::vector<RestartRule> rules;
  bool post_start = false, pre_stop = false;
  bool startup_probe = false, liveness_probe = false, readiness_probe = false;
  Duration startup_grace{}, liveness_grace{};  // grace period when that probe fails
  Duration startup_budget{};                   // after so long a startup probe has passed, or killed
  bool pull_always = false;
};

struct Plan {
  std::vector<ContainerPlan> containers;  // init containers in order, then the others
  RestartPolicy restart = RestartPolicy::always;
  Duration grace{};
  std::optional<Duration> active_deadline;
  Timing timing;
};

Plan make_plan(const api::PodSpec& spec, const Timing& timing);

// ---- state -----------------------------------------------------------------------

// client-go's flowcontrol.Backoff: an event is in back-off for `delay` after it
// happened; the delay doubles with each one, and starts anew when the last change
// was more than twice the maximum ago.
struct Backoff {
  Duration delay{};
  TimePoint updated;
};

struct Exit {
  uint32_t attempt = 0;
  int32_t code = 0;
  int32_t signal = 0;
  std::string reason;  // "Completed", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown"
  std::string message;
  int64_t started_at_us = 0, finished_at_us = 0;
};

struct ContainerState {
  enum class Run { waiting, starting, running, exited };
  enum class Image { unknown, resolving, ready, failed };
  enum class Halt { none, hook, turn, term, kill };  // how far its end has come

  Run run = Run::waiting;
  Run before_start = Run::waiting;  // where a start that is refused leads back to
  uint32_t attempts = 0;            // made so far; the current or last one is attempts - 1
  int64_t started_at_us = 0;
  bool adopted = false;      // it ran before this agent did, and is not probed yet
  bool hooking = false;      // postStart runs; Kubernetes does not call it running yet
  bool started = false;      // running, postStart done, startup probe passed
  bool was_started = false;  // … at least once in this sandbox: later init containers need not wait again
  bool ready = false;
  bool completed = false;        // an init container that is done in this sandbox
  bool restart_anyway = false;   // a probe ended it: restarts unless the policy is Never
  std::optional<Exit> exit;      // how the current attempt ended
  std::optional<Exit> previous;  // how the attempt before the current one ended

  Image image = Image::unknown;
  std::string image_reason, image_message;
  Backoff image_backoff;

  std::string config_reason, config_message;  // CreateContainerConfigError …: start again when something changed

  Backoff backoff;
  bool backing_off = false;
  TimePoint exited_at;

  Halt halt = Halt::none;
  TimePoint halt_by;  // SIGKILL is due then

  bool alive() const { return run == Run::starting || run == Run::running; }
  uint32_t attempt() const { return attempts == 0 ? 0 : attempts - 1; }
};

enum class Stage { pending, setup, active, stopping, finished, gone };
enum class Sandbox { none, starting, up, attaching, attached, detaching, removing };
enum class Volumes { none, preparing, ready, failed };

struct State {
  Stage stage = Stage::pending;
  Sandbox sandbox = Sandbox::none;
  bool sandbox_known = false;    // the runtime may hold a trace of it that must be forgotten
  bool network_known = false;    // … and the network an address
  bool sandbox_dead = false;     // it died: remove what is left, then make it anew
  bool removal_forgets = false;  // the removal under way also forgets
  Volumes volumes = Volumes::none;
  bool initialized = false;                     // in this sandbox
  bool forget = false;                          // stopping because the pod is to go, not because it has finished
  std::string waiting_reason, waiting_message;  // why no container can be created yet
  std::string final_reason, final_message;      // "DeadlineExceeded", "NodePorts" …: the pod has failed
  Backoff volumes_backoff, setup_backoff, removal_backoff, sandbox_backoff;
  TimePoint lost_at;  // when the last sandbox died
  TimePoint stop_by;  // the grace period's end
  std::vector<ContainerState> containers;
};

// ---- events ----------------------------------------------------------------------

namespace event {
struct Begin {            // all that it needs is there
  int64_t start_time_us;  // status.startTime: the active deadline counts from here
};
struct Blocked {  // … is not: the pod waits and says why
  std::string reason, message;
};
struct Rejected {  // the node cannot run it; phase Failed
  std::string reason, message;
};
struct Readmitted {};  // … now it can: back to pending
struct VolumesReady {};
struct VolumesFailed {
  std::string message;
};
struct SandboxStarted {};
struct SandboxFailed {
  std::string message;
};
struct SandboxLost {
  std::string message;
};
struct NetworkAttached {};
struct NetworkFailed {
  std::string message;
};
struct NetworkDetached {};
struct SandboxRemoved {};
struct SandboxRemoveFailed {
  std::string message;
};
struct ImageReady {
  size_t container;
};
struct ImageFailed {
  size_t container;
  std::string reason, message;
};
struct ImageAppeared {};  // some image did
struct ConfigChanged {};  // some ConfigMap or Secret did
struct ContainerStarted {
  size_t container;
  uint32_t attempt;
  int64_t started_at_us;
};
struct ContainerRefused {  // never handed to the runtime: the attempt does not count
  size_t container;
  uint32_t attempt;
  std::string reason, message;
};
struct ContainerExited {  // also when it could not be started
  size_t container;
  Exit exit;
};
struct TerminationMessage {  // found later, in its log
  size_t container;
  uint32_t attempt;
  std::string message;
};
struct HookDone {
  size_t container;
  uint32_t attempt;
  Hook hook;
  std::string error;  // empty: fine
};
struct Probed {  // a probe's verdict has changed
  size_t container;
  uint32_t attempt;
  ProbeKind kind;
  bool success;
};
struct Terminate {  // the pod is to go; a shorter grace than before is obeyed
  std::optional<Duration> grace;
};
struct Fail {  // the pod is to end now, and to stay as Failed
  std::string reason, message;
  std::optional<Duration> grace = {};  // the pod's own
};
struct TimerFired;
}  // namespace event

struct TimerId {
  enum class Kind { deadline, volumes, sandbox, network, removal, backoff, image, halt, hook };
  Kind kind;
  size_t container = 0;
  auto operator<=>(const TimerId&) const = default;
};

struct event::TimerFired {
  TimerId id;
};

using Event = std::variant<event::Begin, event::Blocked, event::Rejected, event::Readmitted, event::VolumesReady,
                           event::VolumesFailed, event::SandboxStarted, event::SandboxFailed, event::SandboxLost,
                           event::NetworkAttached, event::NetworkFailed, event::NetworkDetached, event::SandboxRemoved,
                           event::SandboxRemoveFailed, event::ImageReady, event::ImageFailed, event::ImageAppeared,
                           event::ConfigChanged, event::ContainerStarted, event::ContainerRefused,
                           event::ContainerExited, event::TerminationMessage, event::HookDone, event::Probed,
                           event::Terminate, event::Fail, event::TimerFired>;

// ---- effects ---------------------------------------------------------------------

namespace effect {
struct PrepareVolumes {};  // → VolumesReady | VolumesFailed
struct StartSandbox {};    // → SandboxStarted | SandboxFailed
struct AttachNetwork {};   // and write hosts, hostname, resolv.conf → NetworkAttached | NetworkFailed
struct DetachNetwork {};   // → NetworkDetached
struct RemoveSandbox {     // → SandboxRemoved | SandboxRemoveFailed
  bool forget;
};
struct ResolveImage {  // → ImageReady | ImageFailed
  size_t container;
};
struct StartContainer {  // → ContainerStarted | ContainerRefused | ContainerExited
  size_t container;
  uint32_t attempt;
};
struct Signal {
  size_t container;
  uint32_t attempt;
  bool kill;  // else its stop signal
};
struct RunHook {  // → HookDone
  size_t container;
  uint32_t attempt;
  Hook hook;
  Duration limit;
};
struct StartProbes {  // → Probed, as often as the verdict changes
  size_t container;
  uint32_t attempt;
  bool adopted;  // it ran before this agent did
};
struct StopProbes {
  size_t container;
  bool keep_readiness;  // stopping, but not ended yet
};
struct ArmTimer {  // → TimerFired; replaces one of the same id
  TimerId id;
  TimePoint at;
};
struct CancelTimer {
  TimerId id;
};
struct RemoveFiles {};  // volumes, hosts, logs: what this room made for the pod
struct Log {
  bool warning;
  std::string text;
};
struct Tell {  // an Event of Kubernetes', in kubelet's words
  std::optional<size_t> container;
  bool warning;
  std::string reason, message;
};
}  // namespace effect

using Effect = std::variant<effect::PrepareVolumes, effect::StartSandbox, effect::AttachNetwork, effect::DetachNetwork,
                            effect::RemoveSandbox, effect::ResolveImage, effect::StartContainer, effect::Signal,
                            effect::RunHook, effect::StartProbes, effect::StopProbes, effect::ArmTimer,
                            effect::CancelTimer, effect::RemoveFiles, effect::Log, effect::Tell>;

struct Transition {
  State state;
  std::vector<Effect> effects;
};

State initial_state(const Plan& plan);
Transition step(const Plan& plan, State state, const Event& event, Moment now);

// What a restarted agent knows about a pod of before: containers that run, and how
// the others ended. The state to send Begin to.
struct Survivor {
  bool alive = false;  // its sandbox lives
  struct Container {
    size_t container;
    uint32_t attempt;  // the latest
    bool running;
    int64_t started_at_us;
  };
  std::vector<Container> containers;
  std::vector<std::pair<size_t, Exit>> exits;  // oldest first
};
State adopted_state(const Plan& plan, const Survivor& survivor, Moment now);

// Will an attempt that ended so be followed by another?
bool restarts(const ContainerPlan& container, const ContainerState& state);
// Everything that ever ran has ended, and nothing will be started again.
bool has_finished(const Plan& plan, const State& state);

}  // namespace keelson::pods
