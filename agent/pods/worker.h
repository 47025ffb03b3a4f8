#pragma once
// One pod's only writer: feeds its machine with events, carries out the effects
// through the interfaces below, and renders its status. On the loop's thread.
//
// Lives in a shared_ptr because calls under way hold it weakly: their answers may
// come after the pod has gone. Everything it asks for by name (ConfigMaps, image,
// Services) it looks up when it needs it.

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/pods/checks.h"
#include "agent/pods/machine.h"
#include "agent/pods/objects.h"
#include "agent/pods/pod_files.h"
#include "agent/pods/probes.h"
#include "agent/pods/scheduler.h"
#include "agent/pods/settings.h"
#include "agent/pods/status.h"
#include "agent/pods/volumes.h"
#include "api/cri.h"
#include "api/pod.h"

namespace keelson::pods {

class Worker;

// What becomes an Event: Kubernetes' reasons and words.
struct Note {
  std::string field_path;  // "spec.containers{web}"; "" for the pod as a whole
  bool warning = false;
  std::string reason, message;
};

// Who keeps the workers. None of these may destroy the worker at once.
class WorkerOwner {
 public:
  virtual ~WorkerOwner() = default;
  virtual void state_changed(Worker& worker) = 0;
  virtual void attached(Worker& worker, const api::Sandbox& sandbox, const std::vector<std::string>& ips) = 0;
  virtual void detached(Worker& worker) = 0;
  // Something worth an Event has happened to the pod, or to the container at that path of its spec.
  virtual void noted(Worker& worker, Note note) = 0;
  // What this room made for the pod is to go; the worker is about to.
  virtual void remove_files(Worker& worker) = 0;
};

// What all workers use; outlives them.
struct Surroundings {
  const Settings& settings;
  const Objects& objects;
  Scheduler& scheduler;
  api::PodRuntime& runtime;
  api::ImageStore& images;
  api::PodNetwork& network;
  Checks& checks;
  WorkerOwner& owner;
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  static std::shared_ptr<Worker> create(const Surroundings& around, api::Pod pod);
  // Of a pod that ran before this agent did.
  static std::shared_ptr<Worker> adopt(const Surroundings& around, api::Pod pod, const api::RecoveredPod& recovered);

  // Begins, or says what is missing; again when something it refers to has come.
  void begin();
  void send(Event event);
  // Labels and annotations changed, nothing else: volumes of the downward API follow.
  void set_metadata(const api::ObjectMeta& metadata);
  // Some ConfigMap or Secret did.
  void config_changed();
  bool refers_to(const std::string& config_map, const std::string& secret) const;
  void container_exited(const api::ExitRecord& record);

  const api::Pod& pod() const { return pod_; }  // as desired, with its start time
  const std::string& uid() const { return pod_.metadata.uid; }
  const State& state() const { return state_; }
  bool gone() const { return state_.stage == Stage::gone; }
  // The pod with its status as of now; `before` is the one published before.
  api::Pod render(const api::PodStatus& before) const;
  std::string log_path(const std::string& container, uint32_t attempt) const;
  host::Path log_directory() const;
  VolumeRoots volume_roots() const;
  uint64_t lane() const { return lane_; }  // of everything that touches its files
  const Plan& plan() const { return plan_; }

 private:
  Worker(const Surroundings& around, api::Pod pod);

  void perform(const effect::PrepareVolumes&);
  void perform(const effect::StartSandbox&);
  void perform(const effect::AttachNetwork&);
  void perform(const effect::DetachNetwork&);
  void perform(const effect::RemoveSandbox&);
  void perform(const effect::ResolveImage&);
  void perform(const effect::StartContainer&);
  void perform(const effect::Signal&);
  void perform(const effect::RunHook&);
  void perform(const effect::StartProbes&);
  void perform(const effect::StopProbes&);
  void perform(const effect::ArmTimer&);
  void perform(const effect::CancelTimer&);
  void perform(const effect::RemoveFiles&);
  void perform(const effect::Log&);
  void perform(const effect::Tell&);
  void tell(size_t container, bool warning, std::string reason, std::string message);
  void tell_pulled(size_t container, const api::ImageInfo& image, Duration took);

  void write_files();
  void refresh_volumes();
  void watch_usage();
  void measure_usage();
  void launch(size_t container, uint32_t attempt, api::ContainerSpec spec);
  const api::Container& spec_of(size_t container) const;
  std::string name() const;  // "pod default/web", for the log
  std::string address() const;
  host::Path files_directory() const;
  // Callbacks that do nothing once this is gone.
  template <typename F>
  auto guarded(F callback);

  const Surroundings around_;
  api::Pod pod_;
  const Plan plan_;
  State state_;
  const std::string hostname_;
  const uint64_t lane_;
  bool adopted_ = false;
  int64_t start_time_us_ = 0;
  int64_t deleted_at_us_ = 0;
  std::vector<PodVolume> volumes_;
  std::unique_ptr<Armed> usage_timer_;  // to the next look at what the volumes take
  Duration usage_cost_{};
  api::Sandbox sandbox_;
  std::vector<std::string> ips_;
  struct Image {
    std::optional<api::ImageInfo> found;  // of the next start
    StatusFacts::Image shown;
    std::string stop_signal;
  };
  std::vector<Image> images_;
  std::vector<std::unique_ptr<Prober>> probers_;
  std::map<TimerId, std::unique_ptr<Armed>> timers_;
  std::deque<Event> events_;
  bool draining_ = false;
};

}  // namespace keelson::pods
