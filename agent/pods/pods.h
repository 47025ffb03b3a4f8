#pragma once
// The pods of this node: brings about what is desired and tells how it stands.
//
// Pods owns one worker per pod (worker.h), each the only writer of its pod's state;
// the transitions are in machine.h. A pod is known by namespace/name, its
// generation by uid: another uid (or another spec) means that the old one is
// stopped gracefully and the new one started at once after. Everything runs on the
// loop's thread; nothing here blocks.
//
// Nothing is decided before both recover() and the first apply() have come: what
// still runs of a wanted pod is adopted as it is, the rest is stopped.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/pods/admission.h"
#include "agent/pods/settings.h"
#include "agent/pods/worker.h"
#include "api/cri.h"
#include "api/object.h"

namespace keelson::pods {

// Called on the loop's thread. The sandbox's news may come from within a call into
// Pods, so that nothing is a turn late; what changed and what went comes at the
// turn's end.
class PodsListener {
 public:
  virtual ~PodsListener() = default;
  // The pod with its whole status; at most once per turn of the loop and pod. A pod
  // being stopped has a deletionTimestamp: it takes no new connections.
  virtual void pod_changed(const api::Pod& pod) = 0;
  virtual void pod_removed(const std::string& namespace_, const std::string& name) = 0;
  // The sandbox is borrowed for the call.
  virtual void sandbox_started(const std::string& uid, const api::Sandbox& sandbox,
                               const std::vector<std::string>& ips) = 0;
  virtual void sandbox_gone(const std::string& uid) = 0;
  // Something worth an Event, as it happens.
  virtual void pod_noted(const api::Pod& pod, const Note& note) = 0;
};

// The interfaces that pods are made with; borrowed, they outlive Pods.
struct Interfaces {
  api::PodRuntime& runtime;
  api::ImageStore& images;
  api::PodNetwork& network;
};

class Pods : public api::PodRuntimeEvents, private WorkerOwner {
 public:
  // A node whose CPU and memory are not given has the machine's.
  static std::unique_ptr<Pods> create(host::Loop& loop, Settings settings, Interfaces interfaces,
                                      PodsListener& listener);
  // With a clock and probes of the caller's.
  static std::unique_ptr<Pods> create(std::unique_ptr<Scheduler> scheduler, std::unique_ptr<Checks> checks,
                                      Settings settings, Interfaces interfaces, PodsListener& listener);
  ~Pods() override;

  // Once, with what the runtime found.
  void recover(std::vector<api::RecoveredPod> pods);
  // All that is desired, whole, each time it changed. Services in it are ignored:
  // set_services() has them with their addresses.
  void apply(const api::DesiredState& desired);
  // For the environment of containers started from now on: before the first apply(),
  // or the first containers know no Services.
  void set_services(const std::vector<api::Service>& services);
  // In a cluster: what the Node object says, which a new pod must fit.
  void set_node(std::map<std::string, std::string> labels, std::vector<api::Taint> taints);
  // Drain: stops every pod gracefully and calls back when all are gone; nothing is
  // started from now on.
  void stop_all(std::function<void()> done);

  std::vector<api::Pod> list() const;
  std::optional<api::Pod> find(const std::string& namespace_, const std::string& name) const;
  // The running attempt to exec in. An empty container name means the first one, or
  // the one that kubectl.kubernetes.io/default-container names.
  host::Result<api::ContainerId> running_container(const std::string& namespace_, const std::string& pod,
                                                   const std::string& container) const;
  // The log of the current attempt, or of the one before it.
  host::Result<std::string> log_path(const std::string& namespace_, const std::string& pod,
                                     const std::string& container, bool previous) const;

  // PodRuntimeEvents
  void container_exited(const api::ExitRecord& record) override;
  void sandbox_lost(const std::string& uid, const std::string& reason) override;

 private:
  struct Slot {
    std::shared_ptr<Worker> worker;  // shared with its calls under way, which hold it weakly
    std::optional<api::Pod> next;    // to be started when the worker's pod has gone
    api::PodStatus published;        // the status that was published last
    bool publish_anyway = true;      // not yet, or more than the status has changed
    bool dirty = false;
  };
  using Slots = std::map<NamespacedName, Slot>;

  Pods(std::unique_ptr<Scheduler> scheduler, std::unique_ptr<Checks> checks, Settings settings, Interfaces interfaces,
       PodsListener& listener);
  // WorkerOwner
  void state_changed(Worker& worker) override;
  void attached(Worker& worker, const api::Sandbox& sandbox, const std::vector<std::string>& ips) override;
  void detached(Worker& worker) override;
  void noted(Worker& worker, Note note) override;
  void remove_files(Worker& worker) override;

  void reconcile(const api::DesiredState& desired);
  void take_objects(const api::DesiredState& desired);
  void adopt(const std::map<NamespacedName, const api::Pod*>& wanted);
  void install(Slot& slot, api::Pod pod, const api::RecoveredPod* recovered);
  void admit(Worker& worker);
  void readmit();
  void sweep();
  void wake();
  void flush();
  Slot* slot_of(const Worker& worker);
  const Slot* find_slot(const std::string& namespace_, const std::string& name) const;
  Worker* worker_of(const std::string& uid);
  static host::Result<size_t> container_index(const Worker& worker, const std::string& container);

  const Settings settings_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Checks> checks_;
  const Interfaces interfaces_;
  PodsListener& listener_;
  Objects objects_;
  std::vector<std::pair<std::string, NamespacedName>> changed_objects_;  // kind, name: since the last reconcile
  Admission admission_;
  const Surroundings around_;
  Slots slots_;
  std::unordered_map<std::string, NamespacedName> by_uid_;
  std::vector<NamespacedName> dirty_;
  std::vector<std::string> rejected_;  // uids, oldest first
  std::optional<std::vector<api::RecoveredPod>> recovered_;
  std::optional<api::DesiredState> early_;  // applied before recover()
  bool adopted_ = false;
  bool woken_ = false;
  bool draining_ = false;
  size_t removals_ = 0;  // of files, under way
  bool image_appeared_ = false;
  std::function<void()> drained_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // weakly held by what is posted
};

}  // namespace keelson::pods
