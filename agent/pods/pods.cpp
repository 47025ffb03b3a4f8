#include "agent/pods/pods.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "api/codec.h"
#include "api/static_pod.h"
#include "host/log.h"

namespace keelson::pods {
namespace {

using host::Error;
using host::fail;

NamespacedName name_of(const api::Pod& pod) { return {pod.metadata.namespace_, pod.metadata.name}; }

template <typename T>
void take(const std::vector<api::Desired<T>>& desired, std::map<NamespacedName, T>& known, const char* kind,
          std::vector<std::pair<std::string, NamespacedName>>& changed) {
  std::set<NamespacedName> wanted;
  for (const auto& item : desired) {
    NamespacedName name{item.object.metadata.namespace_, item.object.metadata.name};
    wanted.insert(name);
    auto found = known.find(name);
    if (found != known.end() && found->second == item.object) continue;
    known.insert_or_assign(name, item.object);
    changed.emplace_back(kind, name);
  }
  std::erase_if(known, [&](const auto& entry) {
    if (wanted.contains(entry.first)) return false;
    changed.emplace_back(kind, entry.first);
    return true;
  });
}

// Tolerations may be added to a running pod, and are nothing to the pod itself.
bool same_work(const api::PodSpec& a, const api::PodSpec& b) {
  if (a == b) return true;
  if (a.tolerations == b.tolerations) return false;
  auto other = b;
  other.tolerations = a.tolerations;
  return a == other;
}

// The machine's, where nobody has said otherwise.
void fill_capacity(NodeFacts& node) {
  if (node.cpu_milli == 0) node.cpu_milli = std::max(0L, ::sysconf(_SC_NPROCESSORS_ONLN)) * 1000;
  if (node.memory_bytes == 0)
    node.memory_bytes = std::max(0L, ::sysconf(_SC_PHYS_PAGES)) * std::max(0L, ::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::unique_ptr<Pods> Pods::create(host::Loop& loop, Settings settings, Interfaces interfaces, PodsListener& listener) {
  fill_capacity(settings.node);
  return create(make_scheduler(loop), make_checks(loop, interfaces.runtime), std::move(settings), interfaces, listener);
}

std::unique_ptr<Pods> Pods::create(std::unique_ptr<Scheduler> scheduler, std::unique_ptr<Checks> checks,
                                   Settings settings, Interfaces interfaces, PodsListener& listener) {
  return std::unique_ptr<Pods>(
      new Pods(std::move(scheduler), std::move(checks), std::move(settings), interfaces, listener));
}

Pods::Pods(std::unique_ptr<Scheduler> scheduler, std::unique_ptr<Checks> checks, Settings settings,
           Interfaces interfaces, PodsListener& listener)
    : settings_(std::move(settings)),
      scheduler_(std::move(scheduler)),
      checks_(std::move(checks)),
      interfaces_(interfaces),
      listener_(listener),
      admission_(settings_.node),
      around_{.settings = settings_,
              .objects = objects_,
              .scheduler = *scheduler_,
              .runtime = interfaces_.runtime,
              .images = interfaces_.images,
              .network = interfaces_.network,
              .checks = *checks_,
              .owner = *this} {
  interfaces_.images.on_appeared([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    image_appeared_ = true;
    wake();
  });
}

Pods::~Pods() = default;

// ---- what is wanted

void Pods::recover(std::vector<api::RecoveredPod> pods) {
  recovered_ = std::move(pods);
  if (auto early = std::exchange(early_, std::nullopt)) reconcile(*early);
}

void Pods::apply(const api::DesiredState& desired) {
  if (draining_) return;
  if (!recovered_) {
    early_ = desired;
    return;
  }
  reconcile(desired);
}

void Pods::set_node(std::map<std::string, std::string> labels, std::vector<api::Taint> taints) {
  admission_.set_node(std::move(labels), std::move(taints));
}

void Pods::set_services(const std::vector<api::Service>& services) {
  objects_.services.clear();
  for (const auto& service : services) objects_.services[service.metadata.namespace_].push_back(service);
}

void Pods::take_objects(const api::DesiredState& desired) {
  changed_objects_.clear();
  take(desired.config_maps, objects_.config_maps, "ConfigMap", changed_objects_);
  take(desired.secrets, objects_.secrets, "Secret", changed_objects_);
}

void Pods::reconcile(const api::DesiredState& desired) {
  take_objects(desired);
  std::map<NamespacedName, const api::Pod*> wanted;
  for (const auto& pod : desired.pods) wanted[name_of(pod.object)] = &pod.object;
  if (!std::exchange(adopted_, true)) adopt(wanted);

  std::vector<std::shared_ptr<Worker>> touched;
  for (auto& [name, slot] : slots_) {
    auto found = wanted.find(name);
    const auto* pod = found == wanted.end() ? nullptr : found->second;
    bool same = pod != nullptr && !pod->metadata.deletion_timestamp && pod->metadata.uid == slot.worker->uid() &&
                same_work(pod->spec, slot.worker->pod().spec);
    bool stopping = slot.worker->state().forget;
    if (same && !stopping) {
      slot.next.reset();
      if (pod->metadata != slot.worker->pod().metadata) {
        slot.publish_anyway = true;
        slot.worker->set_metadata(pod->metadata);
      }
      touched.push_back(slot.worker);
      continue;
    }
    slot.next.reset();
    if (pod != nullptr && !pod->metadata.deletion_timestamp && !api::is_over(*pod)) slot.next = *pod;
    std::optional<Duration> grace;
    if (pod != nullptr && pod->metadata.uid == slot.worker->uid() && pod->metadata.deletion_grace_period_seconds)
      grace = std::chrono::seconds(*pod->metadata.deletion_grace_period_seconds);
    if (stopping) {
      if (grace) slot.worker->send(event::Terminate{grace});  // `kubectl delete --now`, after all
      continue;
    }
    host::log_info("pod {}/{}: {}", name.first, name.second, slot.next ? "replaced" : "removed");
    slot.publish_anyway = true;  // with its deletionTimestamp
    slot.worker->send(event::Terminate{grace});
  }
  for (const auto& worker : touched) {
    bool concerned = std::ranges::any_of(changed_objects_, [&](const auto& changed) {
      const auto& [kind, name] = changed;
      if (name.first != worker->pod().metadata.namespace_) return false;
      return kind == "ConfigMap" ? worker->refers_to(name.second, "") : worker->refers_to("", name.second);
    });
    if (concerned) worker->config_changed();
  }
  for (const auto& [name, pod] : wanted) {
    if (slots_.contains(name) || pod->metadata.deletion_timestamp || api::is_over(*pod)) continue;
    auto& slot = slots_[name];
    install(slot, *pod, nullptr);
    admit(*slot.worker);
  }
}

// What ran before this agent did: the wanted go on, the others are stopped (by
// reconcile(), which finds them unwanted).
void Pods::adopt(const std::map<NamespacedName, const api::Pod*>& wanted) {
  std::vector<std::string> living;
  std::vector<std::pair<const api::RecoveredPod*, std::optional<api::Pod>>> others;
  for (const auto& pod : *recovered_) {
    if (pod.alive) living.push_back(pod.spec.uid);
    auto found = wanted.find({pod.spec.namespace_, pod.spec.name});
    std::optional<api::Pod> before;
    if (auto decoded = api::decode_json<api::Pod>(pod.spec.manifest)) before = std::move(*decoded);
    bool same = found != wanted.end() && found->second->metadata.uid == pod.spec.uid &&
                (!before || same_work(before->spec, found->second->spec));
    if (!same) {
      others.emplace_back(&pod, std::move(before));
      continue;
    }
    auto object = *found->second;
    if (before) object.status.start_time = before->status.start_time;
    auto& slot = slots_[found->first];
    install(slot, std::move(object), &pod);
    if (pod.alive) (void)admission_.admit(slot.worker->pod(), true);  // forced: never refused
    admit(*slot.worker);
  }
  for (auto& [pod, before] : others) {
    NamespacedName name{pod->spec.namespace_, pod->spec.name};
    const auto& uid = pod->spec.uid;
    if (before && before->metadata.uid == uid && !slots_.contains(name)) {
      install(slots_[name], std::move(*before), pod);
      continue;
    }
    host::log_warning("pod {}/{} ({}): nothing is known about it any more; it is killed", name.first, name.second, uid);
    interfaces_.network.detach(uid, [](host::Status) {});
    interfaces_.runtime.remove_sandbox(uid, true, [uid](host::Status removed) {
      if (!removed) host::log_warning("pod {}: {}, ignoring", uid, removed.error().message);
    });
  }
  interfaces_.network.retain(living);
  sweep();
  recovered_->clear();
}

void Pods::install(Slot& slot, api::Pod pod, const api::RecoveredPod* recovered) {
  slot.published = {};
  slot.publish_anyway = true;
  by_uid_[pod.metadata.uid] = name_of(pod);
  slot.worker = recovered != nullptr ? Worker::adopt(around_, std::move(pod), *recovered)
                                     : Worker::create(around_, std::move(pod));
}

void Pods::admit(Worker& worker) {
  if (auto rejection = admission_.admit(worker.pod())) {
    // The API's controllers make another one for it, elsewhere; a manifest has nobody who would.
    if (api::is_static(worker.pod())) rejected_.push_back(worker.uid());
    worker.send(event::Rejected{rejection->reason, rejection->message});
    return;
  }
  worker.begin();
}

// Something was given back: the oldest of the refused goes first.
void Pods::readmit() {
  auto waiting = std::exchange(rejected_, {});
  for (const auto& uid : waiting) {
    auto* worker = worker_of(uid);
    if (worker == nullptr || worker->state().forget) continue;
    if (admission_.admit(worker->pod())) {
      rejected_.push_back(uid);
      continue;
    }
    worker->send(event::Readmitted{});
    worker->begin();
  }
}

// Directories of pods that nobody knows any more, after a crash or a reboot.
void Pods::sweep() {
  std::set<std::string> known;
  for (const auto& [uid, name] : by_uid_) known.insert(uid);
  scheduler_->offload(
      [known = std::move(known), root = settings_.root_dir, run = settings_.run_dir] {
        auto entries = [](const host::Path& path) {
          return host::list_directory(path).value_or(std::vector<std::string>());
        };
        auto remove = [](const host::Path& path) {
          if (auto removed = host::remove_tree(path); !removed)
            host::log_warning("sweep: {}, ignoring", removed.error().message);
        };
        for (const auto& uid : entries(root / "pods")) {
          if (known.contains(uid)) continue;
          remove(root / "pods" / uid / "volumes");
          ::rmdir((root / "pods" / uid).c_str());  // empty unless the runtime keeps something there
        }
        for (const auto& uid : entries(run / "volumes")) {
          if (!known.contains(uid)) remove(run / "volumes" / uid);
        }
        for (const auto& name : entries(root / "logs")) {
          if (!known.contains(name.substr(name.rfind('_') + 1))) remove(root / "logs" / name);
        }
      },
      [] {}, 0);
}

void Pods::stop_all(std::function<void()> done) {
  draining_ = true;
  drained_ = std::move(done);
  early_.reset();
  if (!adopted_ && recovered_) {
    adopted_ = true;
    adopt({});
  }
  for (auto& [name, slot] : slots_) {
    slot.next.reset();
    slot.publish_anyway = true;
    slot.worker->send(event::Terminate{});
  }
  wake();
}

// ---- what happens

Pods::Slot* Pods::slot_of(const Worker& worker) {
  auto found = slots_.find(name_of(worker.pod()));
  return found == slots_.end() || found->second.worker.get() != &worker ? nullptr : &found->second;
}

Worker* Pods::worker_of(const std::string& uid) {
  auto name = by_uid_.find(uid);
  if (name == by_uid_.end()) return nullptr;
  auto slot = slots_.find(name->second);
  return slot == slots_.end() || !slot->second.worker || slot->second.worker->uid() != uid ? nullptr
                                                                                           : slot->second.worker.get();
}

void Pods::container_exited(const api::ExitRecord& record) {
  if (auto* worker = worker_of(record.id.pod_uid)) {
    worker->container_exited(record);
    return;
  }
  // Between recover() and the first apply(): adoption will find it.
  if (adopted_ || !recovered_) return;
  for (auto& pod : *recovered_) {
    if (pod.spec.uid != record.id.pod_uid) continue;
    pod.exits.push_back(record);
    for (auto& container : pod.containers) {
      if (container.id == record.id) container.running = false;
    }
  }
}

void Pods::sandbox_lost(const std::string& uid, const std::string& reason) {
  if (auto* worker = worker_of(uid)) {
    worker->send(event::SandboxLost{reason});
    return;
  }
  if (adopted_ || !recovered_) return;
  for (auto& pod : *recovered_) {
    if (pod.spec.uid == uid) pod.alive = false;
  }
}

void Pods::state_changed(Worker& worker) {
  auto* slot = slot_of(worker);
  if (slot == nullptr) return;
  if (!std::exchange(slot->dirty, true)) dirty_.push_back(name_of(worker.pod()));
  wake();
}

void Pods::attached(Worker& worker, const api::Sandbox& sandbox, const std::vector<std::string>& ips) {
  listener_.sandbox_started(worker.uid(), sandbox, ips);
}

void Pods::noted(Worker& worker, Note note) { listener_.pod_noted(worker.pod(), note); }

void Pods::detached(Worker& worker) { listener_.sandbox_gone(worker.uid()); }

void Pods::remove_files(Worker& worker) {
  auto roots = worker.volume_roots();
  std::vector<host::Path> trees{roots.disk, roots.memory, worker.log_directory()};
  auto failures = std::make_shared<std::vector<std::string>>();  // passes from the worker thread to the loop's
  ++removals_;
  scheduler_->offload(
      [trees = std::move(trees), pod_directory = roots.disk.parent_path(), failures] {
        for (const auto& tree : trees) {
          if (auto removed = host::remove_tree(tree); !removed) failures->push_back(removed.error().message);
        }
        ::rmdir(pod_directory.c_str());  // empty unless the runtime keeps something there
      },
      [this, failures, alive = std::weak_ptr<bool>(alive_)] {
        for (const auto& failure : *failures) host::log_warning("clean-up: {}, ignoring", failure);
        if (alive.expired()) return;
        --removals_;
        if (draining_) wake();
      },
      worker.lane());
}

void Pods::wake() {
  if (std::exchange(woken_, true)) return;
  scheduler_->post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) flush();
  });
}

// The end of the turn: what has changed is published, what is gone makes room.
void Pods::flush() {
  woken_ = false;
  if (std::exchange(image_appeared_, false)) {
    for (auto& [name, slot] : slots_) slot.worker->send(event::ImageAppeared{});
  }
  auto names = std::exchange(dirty_, {});
  bool released = false;
  for (const auto& name : names) {
    auto found = slots_.find(name);
    if (found == slots_.end()) continue;
    auto& slot = found->second;
    slot.dirty = false;
    auto stage = slot.worker->state().stage;
    if (stage == Stage::finished || stage == Stage::gone) {
      admission_.release(slot.worker->uid());
      released = true;
    }
    // How its containers ended is told before it goes.
    auto pod = slot.worker->render(slot.published);
    if (slot.publish_anyway || pod.status != slot.published) {
      slot.publish_anyway = false;
      slot.published = pod.status;
      listener_.pod_changed(pod);
    }
    if (stage != Stage::gone) continue;
    by_uid_.erase(slot.worker->uid());
    auto next = std::exchange(slot.next, std::nullopt);
    listener_.pod_removed(name.first, name.second);
    if (next && !draining_) {
      install(slot, std::move(*next), nullptr);
      admit(*slot.worker);
    } else {
      slots_.erase(found);
    }
  }
  if (released && !rejected_.empty() && !draining_) readmit();
  if (draining_ && slots_.empty() && removals_ == 0 && drained_) {
    ::rmdir((settings_.run_dir / "volumes").c_str());
    std::exchange(drained_, nullptr)();
  }
}

// ---- looking in

const Pods::Slot* Pods::find_slot(const std::string& namespace_, const std::string& name) const {
  auto found = slots_.find({namespace_, name});
  return found == slots_.end() ? nullptr : &found->second;
}

std::vector<api::Pod> Pods::list() const {
  std::vector<api::Pod> pods;
  pods.reserve(slots_.size());
  for (const auto& [name, slot] : slots_) pods.push_back(slot.worker->render(slot.published));
  return pods;
}

std::optional<api::Pod> Pods::find(const std::string& namespace_, const std::string& name) const {
  const auto* slot = find_slot(namespace_, name);
  if (slot == nullptr) return std::nullopt;
  return slot->worker->render(slot->published);
}

host::Result<size_t> Pods::container_index(const Worker& worker, const std::string& container) {
  const auto& pod = worker.pod();
  auto wanted = container;
  if (wanted.empty()) {
    auto chosen = pod.metadata.annotations.find("kubectl.kubernetes.io/default-container");
    wanted = chosen != pod.metadata.annotations.end() ? chosen->second : pod.spec.containers.front().name;
  }
  for (size_t i = 0; i < worker.plan().containers.size(); ++i) {
    if (worker.plan().containers[i].name == wanted) return i;
  }
  return fail(Error::Code::not_found, fmt::format("container {} is not valid for pod {}", wanted, pod.metadata.name));
}

host::Result<api::ContainerId> Pods::running_container(const std::string& namespace_, const std::string& pod,
                                                       const std::string& container) const {
  const auto* slot = find_slot(namespace_, pod);
  if (slot == nullptr) return fail(Error::Code::not_found, fmt::format("pods \"{}\" not found", pod));
  const auto& worker = *slot->worker;
  auto index = container_index(worker, container);
  if (!index) return std::unexpected(index.error());
  const auto& state = worker.state().containers[*index];
  const auto& name = worker.plan().containers[*index].name;
  if (state.run != ContainerState::Run::running)
    return fail(Error::Code::unavailable, fmt::format("container {} of pod {} does not run", name, pod));
  return api::ContainerId{worker.uid(), name, state.attempt()};
}

host::Result<std::string> Pods::log_path(const std::string& namespace_, const std::string& pod,
                                         const std::string& container, bool previous) const {
  const auto* slot = find_slot(namespace_, pod);
  if (slot == nullptr) return fail(Error::Code::not_found, fmt::format("pods \"{}\" not found", pod));
  const auto& worker = *slot->worker;
  auto index = container_index(worker, container);
  if (!index) return std::unexpected(index.error());
  const auto& state = worker.state().containers[*index];
  const auto& name = worker.plan().containers[*index].name;
  if (state.attempts == 0) {
    return fail(Error::Code::unavailable, fmt::format("container \"{}\" in pod \"{}\" is waiting to start", name, pod));
  }
  if (previous && state.attempts < 2) {
    return fail(Error::Code::not_found,
                fmt::format("previous terminated container \"{}\" in pod \"{}\" not found", name, pod));
  }
  return worker.log_path(name, previous ? state.attempt() - 1 : state.attempt());
}

}  // namespace keelson::pods
