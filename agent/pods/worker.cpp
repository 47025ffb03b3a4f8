#include "agent/pods/worker.h"

#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <utility>

#include "agent/pods/container_log.h"
#include "agent/pods/container_spec.h"
#include "agent/pods/environment.h"
#include "agent/pods/pull_secrets.h"
#include "agent/pods/stop_signal.h"
#include "agent/pods/volume_usage.h"
#include "api/codec.h"
#include "api/validate.h"
#include "host/log.h"

namespace keelson::pods {
namespace {

using host::Error;

constexpr int kUsageShare = 20;                               // counting may take a twentieth of the time
constexpr Duration kEvictionGrace = std::chrono::seconds(1);  // kubelet's

bool is_host_network(const api::Pod& pod) { return pod.spec.host_network.value_or(false); }

// The name that a status shows: the tag that the manifest meant, or the first.
StatusFacts::Image shown_image(const api::ImageInfo& image, const std::string& asked) {
  StatusFacts::Image shown;
  shown.id = image.digests.empty() ? image.id : image.digests.front();
  if (!image.tags.empty()) shown.name = image.tags.front();
  for (const auto& tag : image.tags) {
    if (tag == asked || tag.ends_with("/" + asked) || tag.ends_with("/" + asked + ":latest")) shown.name = tag;
  }
  return shown;
}

}  // namespace

template <typename F>
auto Worker::guarded(F callback) {
  return [weak = weak_from_this(), callback = std::move(callback)]<typename... Args>(Args&&... args) mutable {
    if (auto self = weak.lock()) callback(*self, std::forward<Args>(args)...);
  };
}

Worker::Worker(const Surroundings& around, api::Pod pod)
    : around_(around),
      pod_(std::move(pod)),
      plan_(make_plan(pod_.spec, around.settings.timing)),
      state_(initial_state(plan_)),
      hostname_(pod_hostname(pod_, around.settings.node, around.settings.dns.domain)),
      lane_(std::hash<std::string>{}(pod_.metadata.uid) | 1),
      images_(plan_.containers.size()),
      probers_(plan_.containers.size()) {
  auto now = around_.scheduler.now();
  start_time_us_ = pod_.status.start_time ? pod_.status.start_time->seconds * 1'000'000 : now.wall_us;
  pod_.status = {};
  pod_.status.qos_class = api::qos_class(pod_);
  pod_.status.start_time = api::Time{start_time_us_ / 1'000'000};
}

std::shared_ptr<Worker> Worker::create(const Surroundings& around, api::Pod pod) {
  return std::shared_ptr<Worker>(new Worker(around, std::move(pod)));
}

std::shared_ptr<Worker> Worker::adopt(const Surroundings& around, api::Pod pod, const api::RecoveredPod& recovered) {
  auto worker = create(around, std::move(pod));
  auto index_of = [&](const std::string& name) -> std::optional<size_t> {
    for (size_t i = 0; i < worker->plan_.containers.size(); ++i) {
      if (worker->plan_.containers[i].name == name) return i;
    }
    return std::nullopt;
  };
  Survivor survivor;
  survivor.alive = recovered.alive;
  for (const auto& found : recovered.containers) {
    if (auto i = index_of(found.id.name))
      survivor.containers.push_back({*i, found.id.attempt, found.running, found.started.started_at_us});
  }
  for (const auto& record : recovered.exits) {
    if (auto i = index_of(record.id.name)) {
      survivor.exits.emplace_back(
          *i, make_exit(record.id.attempt, record.wait_status, record.oom_killed, record.start_error,
                        record.termination_message, record.started_at_us, record.finished_at_us));
    }
  }
  worker->adopted_ = true;
  worker->state_ = adopted_state(worker->plan_, survivor, around.scheduler.now());
  if (recovered.alive) {
    if (auto addresses = around.network.addresses(worker->uid())) worker->ips_ = addresses->ips;
    for (size_t i = 0; i < worker->plan_.containers.size(); ++i) {
      auto image = around.images.find(worker->spec_of(i).image);
      if (!image) continue;
      worker->images_[i].shown = shown_image(*image, worker->spec_of(i).image);
      worker->images_[i].stop_signal = image->stop_signal;
    }
  }
  return worker;
}

const api::Container& Worker::spec_of(size_t container) const {
  const auto& inits = pod_.spec.init_containers;
  return container < inits.size() ? inits[container] : pod_.spec.containers.at(container - inits.size());
}

std::string Worker::name() const { return fmt::format("pod {}/{}", pod_.metadata.namespace_, pod_.metadata.name); }

std::string Worker::address() const {
  const auto& ips = is_host_network(pod_) ? around_.settings.node.ips : ips_;
  return ips.empty() ? "127.0.0.1" : ips.front();
}

VolumeRoots Worker::volume_roots() const {
  return {.disk = around_.settings.root_dir / "pods" / uid() / "volumes",
          .memory = around_.settings.run_dir / "volumes" / uid()};
}

// On the run directory's tmpfs: written anew with every sandbox, and nothing waits for a disk.
host::Path Worker::files_directory() const { return around_.settings.run_dir / "volumes" / uid() / "etc"; }

host::Path Worker::log_directory() const {
  return around_.settings.root_dir / "logs" /
         fmt::format("{}_{}_{}", pod_.metadata.namespace_, pod_.metadata.name, uid());
}

std::string Worker::log_path(const std::string& container, uint32_t attempt) const {
  return (log_directory() / container / fmt::format("{}.log", attempt)).string();
}

// ---- events

void Worker::send(Event event) {
  events_.push_back(std::move(event));
  if (draining_) return;  // an effect answered at once: its event waits its turn
  auto self = shared_from_this();
  draining_ = true;
  while (!events_.empty()) {
    auto next = std::move(events_.front());
    events_.pop_front();
    auto transition = step(plan_, std::move(state_), next, around_.scheduler.now());
    state_ = std::move(transition.state);
    if (std::holds_alternative<event::Terminate>(next) && deleted_at_us_ == 0)
      deleted_at_us_ = around_.scheduler.now().wall_us;
    for (const auto& effect : transition.effects) std::visit([this](const auto& what) { perform(what); }, effect);
  }
  draining_ = false;
  around_.owner.state_changed(*this);
}

void Worker::begin() {
  auto volumes = plan_volumes(pod_, around_.objects, around_.settings.node, volume_roots());
  if (!volumes) {
    if (state_.waiting_message != volumes.error().message)
      host::log_warning("{}: waits: {}", name(), volumes.error().message);
    send(event::Blocked{"", volumes.error().message});
    return;
  }
  volumes_ = std::move(*volumes);
  send(event::Begin{start_time_us_});
}

void Worker::set_metadata(const api::ObjectMeta& metadata) {
  pod_.metadata = metadata;
  refresh_volumes();
  around_.owner.state_changed(*this);
}

void Worker::config_changed() {
  if (state_.stage == Stage::pending) {
    begin();
    return;
  }
  refresh_volumes();
  send(event::ConfigChanged{});
}

// The running containers see the new content; a reference that has become invalid
// leaves the old one in place, as with kubelet.
void Worker::refresh_volumes() {
  if (state_.stage != Stage::setup && state_.stage != Stage::active) return;
  auto volumes = plan_volumes(pod_, around_.objects, around_.settings.node, volume_roots());
  if (!volumes) {
    host::log_warning("{}: {}, keeping the volume as it is", name(), volumes.error().message);
    return;
  }
  if (*volumes == volumes_) return;
  volumes_ = std::move(*volumes);
  if (state_.volumes != Volumes::ready) return;  // prepared with these anyway
  std::vector<PodVolume> files;
  for (const auto& volume : volumes_) {
    if (volume.kind == PodVolume::Kind::files) files.push_back(volume);
  }
  auto result = std::make_shared<host::Status>();  // passes from the worker thread to the loop's
  around_.scheduler.offload([result, files = std::move(files)] { *result = prepare_volumes(files); },
                            guarded([result](Worker& self) {
                              if (!*result) host::log_warning("{}: {}, ignoring", self.name(), result->error().message);
                            }),
                            lane_);
}

// Kubernetes looks every ten seconds; a tree that takes long to count is counted less often.
void Worker::watch_usage() {
  bool limited = std::ranges::any_of(
      volumes_, [](const auto& volume) { return volume.kind == PodVolume::Kind::directory && volume.size_bytes > 0; });
  if (!limited) return;
  auto wait = std::max<Duration>(around_.settings.usage_period, kUsageShare * usage_cost_);
  usage_timer_ = around_.scheduler.after(wait, guarded([](Worker& self) { self.measure_usage(); }));
}

void Worker::measure_usage() {
  if (state_.stage != Stage::setup && state_.stage != Stage::active) return;
  struct Job {
    std::vector<PodVolume> volumes;
    std::string excess;
    Duration cost{};
  };
  auto job = std::make_shared<Job>();  // passes to the worker thread and back
  std::ranges::copy_if(volumes_, std::back_inserter(job->volumes), [](const auto& volume) {
    return volume.kind == PodVolume::Kind::directory && volume.size_bytes > 0;
  });
  around_.scheduler.offload(
      [job] {
        auto began = std::chrono::steady_clock::now();
        for (const auto& volume : job->volumes) {
          auto usage = disk_usage(volume.path, volume.size_bytes);
          if (usage && *usage > volume.size_bytes) job->excess = volume.name;
        }
        job->cost = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began);
      },
      guarded([job](Worker& self) {
        self.usage_cost_ = job->cost;
        if (job->excess.empty()) return self.watch_usage();
        const auto volume =
            std::ranges::find(self.pod_.spec.volumes, job->excess, [](const auto& one) { return one.name; });
        self.send(event::Fail{"Evicted",
                              fmt::format("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", job->excess,
                                          volume->source.empty_dir->size_limit->text),
                              kEvictionGrace});
      }),
      0);
}

bool Worker::refers_to(const std::string& config_map, const std::string& secret) const {
  auto is_map = [&](const std::string& name) { return !config_map.empty() && name == config_map; };
  auto is_secret = [&](const std::string& name) { return !secret.empty() && name == secret; };
  for (const auto& volume : pod_.spec.volumes) {
    const auto& source = volume.source;
    if (source.config_map && is_map(source.config_map->ref.name)) return true;
    if (source.secret && is_secret(source.secret->secret_name)) return true;
    if (!source.projected) continue;
    for (const auto& projection : source.projected->sources) {
      if (projection.config_map && is_map(projection.config_map->ref.name)) return true;
      if (projection.secret && is_secret(projection.secret->ref.name)) return true;
    }
  }
  for (size_t i = 0; i < plan_.containers.size(); ++i) {
    for (const auto& from : spec_of(i).env_from) {
      if (from.config_map_ref && is_map(from.config_map_ref->ref.name)) return true;
      if (from.secret_ref && is_secret(from.secret_ref->ref.name)) return true;
    }
    for (const auto& variable : spec_of(i).env) {
      if (!variable.value_from) continue;
      const auto& from = *variable.value_from;
      if (from.config_map_key_ref && is_map(from.config_map_key_ref->ref.name)) return true;
      if (from.secret_key_ref && is_secret(from.secret_key_ref->ref.name)) return true;
    }
  }
  return false;
}

void Worker::container_exited(const api::ExitRecord& record) {
  for (size_t i = 0; i < plan_.containers.size(); ++i) {
    if (plan_.containers[i].name != record.id.name) continue;
    auto exit = make_exit(record.id.attempt, record.wait_status, record.oom_killed, record.start_error,
                          record.termination_message, record.started_at_us, record.finished_at_us);
    bool wants_log =
        spec_of(i).termination_message_policy == "FallbackToLogsOnError" && exit.code != 0 && exit.message.empty();
    send(event::ContainerExited{i, std::move(exit)});
    if (!wants_log) return;
    auto text = std::make_shared<std::string>();  // passes from the worker thread to the loop's
    around_.scheduler.offload([text, path = log_path(record.id.name, record.id.attempt)] { *text = log_tail(path); },
                              guarded([text, i, attempt = record.id.attempt](Worker& self) {
                                if (!text->empty()) self.send(event::TerminationMessage{i, attempt, *text});
                              }),
                              lane_);
    return;
  }
}

// ---- effects: the sandbox

void Worker::perform(const effect::PrepareVolumes&) {
  auto result = std::make_shared<host::Status>();  // passes from the worker thread to the loop's
  around_.scheduler.offload([result, volumes = volumes_] { *result = prepare_volumes(volumes); },
                            guarded([result](Worker& self) {
                              if (*result) {
                                self.watch_usage();
                                self.send(event::VolumesReady{});
                              } else {
                                self.send(event::VolumesFailed{result->error().message});
                              }
                            }),
                            lane_);
}

void Worker::perform(const effect::StartSandbox&) {
  api::SandboxSpec spec;
  spec.uid = uid();
  spec.namespace_ = pod_.metadata.namespace_;
  spec.name = pod_.metadata.name;
  spec.qos = pod_.status.qos_class;
  spec.hostname = hostname_;
  spec.host_network = is_host_network(pod_);
  spec.host_pid = pod_.spec.host_pid.value_or(false);
  spec.host_ipc = pod_.spec.host_ipc.value_or(false);
  spec.share_process_namespace = pod_.spec.share_process_namespace.value_or(false);
  if (pod_.spec.security_context) {
    for (const auto& sysctl : pod_.spec.security_context->sysctls) spec.sysctls[sysctl.name] = sysctl.value;
  }
  spec.limits = pod_limits(pod_);
  spec.memory_volumes = memory_volumes(volumes_);
  spec.manifest = api::encode_json(pod_);
  around_.runtime.start_sandbox(std::move(spec), guarded([](Worker& self, host::Result<api::Sandbox> started) {
                                  if (!started) {
                                    self.send(event::SandboxFailed{started.error().message});
                                    return;
                                  }
                                  self.sandbox_ = std::move(*started);
                                  self.send(event::SandboxStarted{});
                                }));
}

void Worker::perform(const effect::AttachNetwork&) {
  if (is_host_network(pod_)) {
    ips_ = around_.settings.node.ips;
    write_files();
    return;
  }
  around_.network.attach(uid(), sandbox_, guarded([](Worker& self, host::Result<api::PodAddresses> addresses) {
                           if (!addresses) {
                             self.send(event::NetworkFailed{addresses.error().message});
                             return;
                           }
                           self.ips_ = std::move(addresses->ips);
                           self.write_files();
                         }));
}

void Worker::write_files() {
  struct Job {
    host::Path directory;
    api::Pod pod;
    std::vector<std::string> ips;
    std::string hostname;
    DnsSettings dns;
    host::Status result;
  };
  auto job = std::make_shared<Job>();  // passes to the worker thread and back
  job->directory = files_directory();
  job->pod = pod_;
  job->ips = ips_;
  job->hostname = hostname_;
  job->dns = around_.settings.dns;
  around_.scheduler.offload(
      [job] { job->result = write_pod_files(job->directory, job->pod, job->ips, job->hostname, job->dns); },
      guarded([job](Worker& self) {
        if (!job->result) {
          self.send(event::NetworkFailed{job->result.error().message});
          return;
        }
        self.around_.owner.attached(self, self.sandbox_, self.ips_);
        self.sandbox_.netlink.reset();  // a thousand pods: no descriptor that nobody needs
        self.sandbox_.network_namespace.reset();
        self.send(event::NetworkAttached{});
      }),
      lane_);
}

void Worker::perform(const effect::DetachNetwork&) {
  around_.owner.detached(*this);
  if (is_host_network(pod_)) {
    send(event::NetworkDetached{});
    return;
  }
  around_.network.detach(uid(), guarded([](Worker& self, host::Status detached) {
                           if (!detached)
                             host::log_warning("{}: network: {}, ignoring", self.name(), detached.error().message);
                           self.ips_.clear();
                           self.send(event::NetworkDetached{});
                         }));
}

void Worker::perform(const effect::RemoveSandbox& remove) {
  around_.runtime.remove_sandbox(uid(), remove.forget, guarded([](Worker& self, host::Status removed) {
                                   if (removed) {
                                     self.send(event::SandboxRemoved{});
                                   } else {
                                     self.send(event::SandboxRemoveFailed{removed.error().message});
                                   }
                                 }));
}

void Worker::perform(const effect::RemoveFiles&) { around_.owner.remove_files(*this); }

// ---- effects: containers

void Worker::perform(const effect::ResolveImage& resolve) {
  auto i = resolve.container;
  const auto& spec = spec_of(i);
  auto found = around_.images.find(spec.image);
  const auto asked = around_.scheduler.now().steady;
  auto use = [i](Worker& self, api::ImageInfo image) {
    self.images_[i].shown = shown_image(image, self.spec_of(i).image);
    self.images_[i].found = std::move(image);
    self.send(event::ImageReady{i});
  };
  auto refuse_name = [&](const std::string& text) {
    send(event::ImageFailed{i, "InvalidImageName",
                            fmt::format("Failed to apply default image tag \"{}\": {}", spec.image, text)});
  };
  if (!found && found.error().code == Error::Code::invalid) {
    refuse_name(found.error().message);
    return;
  }
  if (found && spec.image_pull_policy != "Always") {
    tell(i, false, "Pulled", fmt::format("Container image \"{}\" already present on machine", spec.image));
    use(*this, std::move(*found));
    return;
  }
  if (spec.image_pull_policy == "Never") {
    send(
        event::ImageFailed{i, "ErrImageNeverPull",
                           fmt::format("Container image \"{}\" is not present with pull policy of Never", spec.image)});
    return;
  }
  host::log_info("{}: container {}: pulling image {}", name(), spec.name, spec.image);
  tell(i, false, "Pulling", fmt::format("Pulling image \"{}\"", spec.image));
  around_.images.pull(spec.image, pull_credentials(pod_, around_.objects),
                      guarded([i, use, asked](Worker& self, host::Result<api::ImageInfo> pulled) {
                        if (pulled) {
                          self.tell_pulled(i, *pulled, self.around_.scheduler.now().steady - asked);
                          use(self, std::move(*pulled));
                        } else {
                          self.send(event::ImageFailed{i, "ErrImagePull", pulled.error().message});
                        }
                      }));
}

void Worker::perform(const effect::StartContainer& start) {
  auto i = start.container;
  const auto& container = spec_of(i);
  auto refuse = [&](const char* reason, const Error& error) {
    send(event::ContainerRefused{i, start.attempt, reason, error.message});
  };
  if (!images_[i].found) {
    refuse("CreateContainerError", Error{.message = fmt::format("image \"{}\" is not resolved", container.image)});
    return;
  }
  auto environment = make_environment(pod_, container, around_.objects, around_.settings.node, ips_);
  if (!environment) return refuse("CreateContainerConfigError", environment.error());
  auto mounts = plan_mounts(container, volumes_, *environment);
  if (!mounts) return refuse("CreateContainerConfigError", mounts.error());
  for (auto& mount : pod_file_mounts(files_directory(), container)) mounts->mounts.push_back(std::move(mount));
  ContainerInputs inputs{.pod = pod_,
                         .container = container,
                         .attempt = start.attempt,
                         .image = *images_[i].found,
                         .environment = *environment,
                         .node = around_.settings.node,
                         .hostname = hostname_,
                         .log_path = log_path(container.name, start.attempt),
                         .seccomp_root = (around_.settings.root_dir / "seccomp").string(),
                         .mounts = std::move(mounts->mounts),
                         .pids_limit = around_.settings.pids_limit};
  auto spec = make_container_spec(inputs);
  images_[i].stop_signal = images_[i].found->stop_signal;
  if (!spec) return refuse("CreateContainerConfigError", spec.error());

  // kubelet keeps the logs of the attempt before this one, and no older.
  auto stale = start.attempt >= 2 ? log_path(container.name, start.attempt - 2) : "";
  if (mounts->sub_paths.empty() && stale.empty()) {
    launch(i, start.attempt, std::move(*spec));
    return;
  }
  struct Job {
    std::vector<std::pair<host::Path, std::string>> sub_paths;
    std::string stale;
    api::ContainerSpec spec;
    host::Status result;
  };
  auto job = std::make_shared<Job>();  // passes to the worker thread and back
  job->sub_paths = std::move(mounts->sub_paths);
  job->stale = std::move(stale);
  job->spec = std::move(*spec);
  around_.scheduler.offload(
      [job] {
        if (!job->stale.empty()) remove_log(job->stale);
        for (const auto& [base, relative] : job->sub_paths) {
          job->result = make_beneath(base, relative);
          if (!job->result) return;
        }
      },
      guarded([job, i, attempt = start.attempt](Worker& self) {
        if (job->result) {
          self.launch(i, attempt, std::move(job->spec));
        } else {
          self.send(event::ContainerRefused{i, attempt, "CreateContainerConfigError", job->result.error().message});
        }
      }),
      lane_);
}

void Worker::launch(size_t i, uint32_t attempt, api::ContainerSpec spec) {
  images_[i].found.reset();  // the next attempt looks again
  around_.runtime.start_container(
      std::move(spec), guarded([i, attempt](Worker& self, host::Result<api::StartedContainer> started) {
        if (started) {
          self.tell(i, false, "Created", fmt::format("Created container: {}", self.plan_.containers[i].name));
          self.send(event::ContainerStarted{i, attempt, started->started_at_us});
          return;
        }
        auto now_us = self.around_.scheduler.now().wall_us;
        self.send(event::ContainerExited{i, make_exit(attempt, 0, false, started.error().message, "", 0, now_us)});
      }));
}

void Worker::perform(const effect::Signal& signal) {
  const auto& container = spec_of(signal.container);
  api::ContainerId id{uid(), container.name, signal.attempt};
  int number = SIGKILL;
  if (!signal.kill) number = stop_signal_of(container, images_[signal.container].stop_signal);
  host::log_info("{}: container {}: sending signal {}", name(), container.name, number);
  around_.runtime.signal_container(id, number, guarded([name = container.name](Worker& self, host::Status sent) {
                                     if (!sent)
                                       host::log_warning("{}: container {}: {}, ignoring", self.name(), name,
                                                         sent.error().message);
                                   }));
}

void Worker::perform(const effect::RunHook& run) {
  const auto& container = spec_of(run.container);
  bool post_start = run.hook == Hook::post_start;
  const auto& handler = post_start ? *container.lifecycle->post_start : *container.lifecycle->pre_stop;
  event::HookDone done{run.container, run.attempt, run.hook, ""};
  if (handler.sleep) {
    auto wait = Duration(std::chrono::seconds(std::max<int64_t>(handler.sleep->seconds, 0)));
    if (run.limit > Duration::zero()) wait = std::min(wait, run.limit);
    timers_[{TimerId::Kind::hook, run.container}] =
        around_.scheduler.after(wait, guarded([done](Worker& self) { self.send(done); }));
    return;
  }
  Check check;
  check.container = {uid(), container.name, run.attempt};
  check.handler.exec = handler.exec;
  check.handler.http_get = handler.http_get;
  check.handler.tcp_socket = handler.tcp_socket;
  check.address = address();
  check.ports = container.ports;
  check.timeout = run.limit;
  around_.checks.run(std::move(check), guarded([done](Worker& self, CheckResult result) mutable {
                       if (!result.success) done.error = result.output.empty() ? "it failed" : result.output;
                       self.send(done);
                     }));
}

void Worker::perform(const effect::StartProbes& start) {
  const auto& container = spec_of(start.container);
  const auto& state = state_.containers[start.container];
  auto now = around_.scheduler.now();
  Prober::Target target{.container = {uid(), container.name, start.attempt},
                        .address = address(),
                        .age = std::chrono::microseconds(std::max<int64_t>(0, now.wall_us - state.started_at_us)),
                        .adopted = start.adopted,
                        .started = state.started && container.startup_probe.has_value()};
  auto verdict = [weak = weak_from_this(), i = start.container, attempt = start.attempt](ProbeKind kind, bool success,
                                                                                         const std::string& output) {
    auto self = weak.lock();
    if (!self) return;
    constexpr const char* kNames[] = {"startup", "liveness", "readiness"};
    const auto* probe = kNames[static_cast<size_t>(kind)];
    const auto& name = self->plan_.containers[i].name;
    if (success) {
      host::log_info("{}: container {}: {} probe succeeds", self->name(), name, probe);
    } else {
      host::log_warning("{}: container {}: Unhealthy: {} probe failed: {}", self->name(), name, probe, output);
    }
    self->send(event::Probed{i, attempt, kind, success});
  };
  auto failure = [weak = weak_from_this(), i = start.container](ProbeKind kind, const std::string& output) {
    constexpr const char* kNames[] = {"Startup", "Liveness", "Readiness"};
    if (auto self = weak.lock()) {
      self->tell(i, true, "Unhealthy", fmt::format("{} probe failed: {}", kNames[static_cast<size_t>(kind)], output));
    }
  };
  probers_[start.container] = std::make_unique<Prober>(around_.scheduler, around_.checks, container, std::move(target),
                                                       std::move(verdict), std::move(failure));
}

void Worker::perform(const effect::StopProbes& stop) {
  auto& prober = probers_[stop.container];
  if (!prober) return;
  if (stop.keep_readiness) {
    prober->keep_readiness_only();
  } else {
    prober.reset();
  }
}

void Worker::perform(const effect::ArmTimer& arm) {
  auto wait = std::max(arm.at - around_.scheduler.now().steady, Duration::zero());
  timers_[arm.id] =
      around_.scheduler.after(wait, guarded([id = arm.id](Worker& self) { self.send(event::TimerFired{id}); }));
}

void Worker::perform(const effect::CancelTimer& cancel) { timers_.erase(cancel.id); }

void Worker::perform(const effect::Log& log) {
  auto line = fmt::format("{}: {}", name(), log.text);
  host::log_line(log.warning ? host::LogLevel::warning : host::LogLevel::info, line);
}

void Worker::perform(const effect::Tell& what) {
  if (what.container) return tell(*what.container, what.warning, what.reason, what.message);
  around_.owner.noted(*this, {.warning = what.warning, .reason = what.reason, .message = what.message});
}

void Worker::tell(size_t container, bool warning, std::string reason, std::string message) {
  const auto* list = container < pod_.spec.init_containers.size() ? "initContainers" : "containers";
  // kubelet names the pod in this one; the machine does not know it.
  if (reason == "BackOff" && warning) {
    message += fmt::format(" in pod {}_{}({})", pod_.metadata.name, pod_.metadata.namespace_, uid());
  }
  around_.owner.noted(*this, {.field_path = fmt::format("spec.{}{{{}}}", list, plan_.containers[container].name),
                              .warning = warning,
                              .reason = std::move(reason),
                              .message = std::move(message)});
}

void Worker::tell_pulled(size_t container, const api::ImageInfo& image, Duration took) {
  const auto seconds = std::chrono::duration<double>(took).count();
  tell(container, false, "Pulled",
       fmt::format("Successfully pulled image \"{}\" in {:.3f}s ({:.3f}s including waiting). Image size: {} bytes.",
                   spec_of(container).image, seconds, seconds, image.size));
}

// ---- status

api::Pod Worker::render(const api::PodStatus& before) const {
  StatusFacts facts;
  facts.host_ips = around_.settings.node.ips;
  facts.pod_ips = ips_;
  facts.start_time_us = start_time_us_;
  for (const auto& image : images_) facts.images.push_back(image.shown);
  api::Pod pod = pod_;
  pod.status = make_status(pod_, plan_, state_, facts, before, around_.scheduler.now().wall_us);
  if (deleted_at_us_ != 0 && !pod.metadata.deletion_timestamp) {
    auto grace = std::chrono::duration_cast<std::chrono::seconds>(plan_.grace).count();
    pod.metadata.deletion_timestamp = api::Time{deleted_at_us_ / 1'000'000 + grace};
    pod.metadata.deletion_grace_period_seconds = grace;
  }
  return pod;
}

}  // namespace keelson::pods
