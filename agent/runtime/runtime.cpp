#include "agent/runtime/runtime.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <set>

#include "agent/runtime/devices.h"
#include "agent/runtime/launch.h"
#include "agent/runtime/pod_files.h"
#include "agent/runtime/seccomp.h"
#include "agent/runtime/shim_client.h"
#include "host/log.h"
#include "host/process.h"

namespace keelson::runtime {

namespace {

using api::ContainerId;
using host::Error;
using host::Fd;
using host::Path;
using host::Result;
using host::Status;
using namespace std::chrono_literals;

constexpr auto kShimAnswers = 5s;        // to hello and shutdown
constexpr int kDeathTimeoutMs = 10'000;  // from SIGKILL to an empty cgroup
constexpr size_t kMaxPods = 4096;
constexpr size_t kMaxShim = 32u << 20;

// Names become paths; they were validated long before, but not by us.
bool plain_name(const std::string& name) {
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

Result<Fd> duplicate(const Fd& fd) {
  if (!fd) return Fd();
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return host::sys_fail("dup");
  return copy;
}

Path shim_cgroup(const std::string& uid) { return Path("shims") / uid; }

// The shim's binary, where nothing that runs in a container could ever write to it
// (CVE-2019-5736): /proc/PID/exe of our processes leads to a sealed memfd.
Result<Fd> seal_shim(const Path& path) {
  auto text = host::read_file(path, kMaxShim);
  if (!text) return std::unexpected(std::move(text).error().within("podshim"));
  Fd file(::memfd_create("podshim", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return host::sys_fail("memfd_create");
  for (size_t written = 0; written < text->size();) {
    const ssize_t more = ::write(file.get(), text->data() + written, text->size() - written);
    if (more < 0) return host::sys_fail("copy podshim");
    written += static_cast<size_t>(more);
  }
  if (::fchmod(file.get(), 0500) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return host::sys_fail("seal podshim");
  }
  return file;
}

Result<uint64_t> netns_cookie(const Fd& socket) {
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return host::sys_fail("SO_NETNS_COOKIE");
  }
  return cookie;
}

struct Container {
  enum class State { preparing, running, ended };
  State state = State::preparing;
  uint32_t attempt = 0;
  api::StartedContainer started;
  std::vector<api::Callback<api::StartedContainer>> waiting;
};

// The last exit that was handed up, per container, so that none is twice.
struct Reported {
  int64_t attempt = -1;
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
  std::map<std::string, Reported> reported;
  std::vector<api::Callback<api::Sandbox>> starting;
  bool forget = false;
  std::vector<api::StatusCallback> removing;
  bool shim_ended = false;
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

}  // namespace

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
  bool said_oom = false;

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
  void offload(Work work, Done done) {
    auto self = shared_from_this();
    loop.offload([self, work = std::move(work)]() mutable { return work(); },
                 [self, done = std::move(done)](auto result) mutable {
                   if (!self->stopped) done(std::move(result));
                 });
  }
  template <typename Callback, typename Value>
  void later(Callback callback, Value value) {
    loop.post([self = shared_from_this(), callback = std::make_shared<Callback>(std::move(callback)),
               value = std::make_shared<Value>(std::move(value))] {
      if (!self->stopped) (*callback)(std::move(*value));
    });
  }

  // ---- sandboxes ----
  void start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done);
  Result<StartedShim> start_shim(const api::SandboxSpec& spec);
  void shim_started(const std::string& uid, StartedShim started);
  void sandbox_answered(const std::string& uid, Result<ShimMessage> answer);
  void sandbox_failed(const std::string& uid, Error error);
  Result<api::Sandbox> sandbox(const Pod& pod) const;
  Status take_namespaces(Pod& pod, ShimMessage& message);
  Result<std::unique_ptr<ShimClient>> make_client(const std::string& uid, Fd socket, Fd pidfd);
  void shim_disconnected(const std::string& uid);
  void shim_ended(const std::string& uid);

  // ---- containers ----
  void start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done);
  void container_answered(const ContainerId& id, Result<api::StartedContainer> result);
  void container_reported(const std::string& uid, const ShimMessage& message);
  void deliver_exit(Pod& pod, api::ExitRecord record);
  void catch_up(const std::string& uid);
  void drop_layers(const Pod& pod, const std::string& container, uint32_t attempt);

  // ---- exec ----
  struct Exec;
  void exec(const ContainerId& id, api::ExecSpec spec, api::Callback<int> done);
  void exec_answered(std::shared_ptr<Exec> exec, Result<ShimMessage> answer);
  void exec_timed_out(const std::shared_ptr<Exec>& exec);

  // ---- removal ----
  void remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done);
  void finish_removal(const std::string& uid);
  Status clean_up(const std::string& uid, const Path& cgroup, bool forget);

  // ---- recovery ----
  struct Recovery;
  void recover(api::Callback<std::vector<api::RecoveredPod>> done);
  Result<std::vector<FoundPod>> find_pods();
  void finish_recovery(std::shared_ptr<Recovery> recovery);
};

// ---- sandboxes -------------------------------------------------------------------

void Runtime::Impl::start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done) {
  const std::string uid = spec.uid;
  if (!plain_name(uid)) {
    return later(std::move(done), Result<api::Sandbox>(host::fail(Error::Code::invalid, "pod uid: is no plain name")));
  }
  if (Pod* pod = find(uid)) {
    if (pod->state == Pod::State::starting) return pod->starting.push_back(std::move(done));
    if (pod->state == Pod::State::ready) return later(std::move(done), sandbox(*pod));
    return later(std::move(done),
                 Result<api::Sandbox>(host::fail(Error::Code::unavailable, "the pod's sandbox is being removed")));
  }
  if (pods.size() >= kMaxPods) {
    return later(std::move(done), Result<api::Sandbox>(host::fail(Error::Code::unavailable, "too many pods")));
  }
  auto pod = std::make_unique<Pod>();
  pod->spec = std::move(spec);
  pod->paths = paths_of(uid);
  pod->cgroup = pod_cgroup_of(pod->spec);
  pod->starting.push_back(std::move(done));
  const api::SandboxSpec& kept = pod->spec;
  offload([this, spec = kept] { return start_shim(spec); },
          [this, uid](Result<StartedShim> started) {
            if (started) return shim_started(uid, std::move(*started));
            sandbox_failed(uid, std::move(started).error());
          });
  pods[uid] = std::move(pod);
}

// On a worker: directories, cgroups, journal, socket, and the shim itself.
Result<StartedShim> Runtime::Impl::start_shim(const api::SandboxSpec& spec) {
  const PodPaths paths = paths_of(spec.uid);
  const Path cgroup = pod_cgroup_of(spec);
  auto sysctls = encode_sysctls(spec);
  if (!sysctls) return std::unexpected(sysctls.error());
  // Whatever is left of an earlier one: dead, unless something went very wrong.
  for (const Path& old : {shim_cgroup(spec.uid), cgroup}) {
    if (::access((cgroups.directory() / old).c_str(), F_OK) != 0) continue;
    if (auto killed = cgroups.kill(old); !killed) return std::unexpected(killed.error());
    if (auto waited = cgroups.wait_empty(old, kDeathTimeoutMs); !waited) return std::unexpected(waited.error());
    if (auto removed = cgroups.remove(old); !removed) return std::unexpected(removed.error());
  }
  if (auto made = host::make_directories(paths.run, 0700); !made) return std::unexpected(made.error());
  if (auto made = host::make_directories(paths.disk, 0711); !made) return std::unexpected(made.error());
  if (auto made = cgroups.make(shim_cgroup(spec.uid), false); !made) return std::unexpected(made.error());
  for (const auto& [path, inner] :
       {std::pair(cgroup.parent_path(), true), {cgroup, true}, {cgroup / "sandbox", false}}) {
    if (path.empty()) continue;
    if (auto made = cgroups.make(path, inner); !made) return std::unexpected(made.error());
  }
  if (auto limited = cgroups.limit(cgroup, cgroup_limits_of(spec.limits, false)); !limited) {
    return std::unexpected(limited.error());
  }

  auto sound = read_journal_file(paths, spec.uid, true);  // nobody writes to it now
  if (!sound) return std::unexpected(sound.error());
  auto journal = host::open_file(paths.journal(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
  if (!journal) return std::unexpected(journal.error());
  // Room for the records of a disk that fills up meanwhile; not every file system can.
  ::fallocate(journal->get(), FALLOC_FL_KEEP_SIZE, 0, 64 * 1024);
  auto disk = host::open_file(paths.disk, O_RDONLY | O_DIRECTORY);
  if (!disk) return std::unexpected(disk.error());
  auto listener = listen_for_shim(paths.run);
  if (!listener) return std::unexpected(listener.error());
  auto home = cgroups.open(shim_cgroup(spec.uid));
  if (!home) return std::unexpected(home.error());

  host::SpawnOptions options;
  options.argv = {fmt::format("/proc/self/fd/{}", static_cast<int>(shim::kExecutableFd)), spec.uid};
  options.fds = {{shim_binary.get(), shim::kExecutableFd},
                 {listener->get(), shim::kListenFd},
                 {journal->get(), shim::kJournalFd},
                 {disk->get(), shim::kJournalDirFd}};
  options.cgroup = home->get();
  auto child = host::spawn(options);
  if (!child) return std::unexpected(std::move(child).error().within("start podshim"));
  const auto give_up = [&](Error error) -> Result<StartedShim> {
    if (host::send_signal(child->pidfd, SIGKILL)) {
      cgroups.wait_empty(shim_cgroup(spec.uid), kDeathTimeoutMs);
      host::reap(child->pidfd);
    }
    return std::unexpected(std::move(error));
  };
  const PodRecord record{.spec = spec, .shim = ShimIdentity{child->identity, boot}};
  if (auto written = host::write_file_atomically(paths.run_record(), encode_record(record), 0600); !written) {
    return give_up(written.error());
  }
  auto socket = connect_shim(paths.run);
  if (!socket) return give_up(socket.error());
  auto leaf = cgroups.open(cgroup / "sandbox");
  if (!leaf) return give_up(leaf.error());
  auto join = cgroups.join_files(cgroup / "sandbox");
  if (!join) return give_up(join.error());

  StartedShim started{.socket = std::move(*socket), .pidfd = std::move(child->pidfd)};
  started.body = encode(shim::SandboxRequest{.flags = sandbox_flags_of(spec),
                                             .v1 = static_cast<uint32_t>(join->size()),
                                             .hostname = spec.hostname.c_str(),
                                             .sysctls = *sysctls});
  started.fds.push_back(std::move(*leaf));
  for (auto& fd : *join) started.fds.push_back(std::move(fd));
  return started;
}

Result<std::unique_ptr<ShimClient>> Runtime::Impl::make_client(const std::string& uid, Fd socket, Fd pidfd) {
  return ShimClient::create(loop, std::move(socket), std::move(pidfd),
                            {.reported = [this, uid](const ShimMessage& message) { container_reported(uid, message); },
                             .disconnected = [this, uid] { shim_disconnected(uid); },
                             .ended = [this, uid] { shim_ended(uid); }});
}

void Runtime::Impl::shim_started(const std::string& uid, StartedShim started) {
  Pod* pod = find(uid);
  if (pod == nullptr) return;
  auto client = make_client(uid, std::move(started.socket), std::move(started.pidfd));
  if (!client) return sandbox_failed(uid, std::move(client).error());
  pod->shim = std::move(*client);
  if (pod->state == Pod::State::removing) return finish_removal(uid);
  pod->shim->call(shim::Type::sandbox, std::move(started.body), std::move(started.fds),
                  [this, uid](Result<ShimMessage> answer) { sandbox_answered(uid, std::move(answer)); });
}

Status Runtime::Impl::take_namespaces(Pod& pod, ShimMessage& message) {
  if (pod.spec.host_network) {
    pod.cookie = host_cookie;
    pod.netlink = Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!pod.netlink) return host::sys_fail("netlink socket");
    return {};
  }
  if (message.fds.size() != 2) return host::fail("the shim's answer has no network namespace");
  pod.network = std::move(message.fds[0]);
  pod.netlink = std::move(message.fds[1]);
  auto cookie = netns_cookie(pod.netlink);
  if (!cookie) return std::unexpected(cookie.error());
  pod.cookie = *cookie;
  return {};
}

void Runtime::Impl::sandbox_answered(const std::string& uid, Result<ShimMessage> answer) {
  Pod* pod = find(uid);
  if (pod == nullptr || pod->state != Pod::State::starting) return;
  if (!answer) return sandbox_failed(uid, std::move(answer).error());
  if (auto taken = take_namespaces(*pod, *answer); !taken) return sandbox_failed(uid, taken.error());
  pod->state = Pod::State::ready;
  // For after a reboot; nobody waits for it.
  offload(
      [paths = pod->paths, record = PodRecord{.spec = pod->spec}] {
        return host::write_file_atomically(paths.disk_record(), encode_record(record), 0600);
      },
      [uid](Status written) {
        if (!written) host::log_warning("pod {}: {}, ignoring", uid, written.error().message);
      });
  auto waiting = std::exchange(pod->starting, {});
  for (auto& done : waiting) {
    Pod* still = find(uid);  // a callback may have removed it
    if (still == nullptr || still->state != Pod::State::ready) {
      done(host::fail(Error::Code::unavailable, "the pod's sandbox is being removed"));
    } else {
      done(sandbox(*still));
    }
  }
}

void Runtime::Impl::sandbox_failed(const std::string& uid, Error error) {
  Pod* pod = find(uid);
  if (pod == nullptr) return;
  auto waiting = std::exchange(pod->starting, {});
  const bool removing = pod->state == Pod::State::removing;
  if (removing) {
    finish_removal(uid);
  } else {
    remove_sandbox(uid, false, [](Status) {});
  }
  for (auto& done : waiting) done(std::unexpected(error));
}

Result<api::Sandbox> Runtime::Impl::sandbox(const Pod& pod) const {
  api::Sandbox result{.uid = pod.spec.uid, .netns_cookie = pod.cookie};
  auto network = duplicate(pod.network);
  auto netlink = duplicate(pod.netlink);
  if (!network) return std::unexpected(network.error());
  if (!netlink) return std::unexpected(netlink.error());
  result.network_namespace = std::move(*network);
  result.netlink = std::move(*netlink);
  return result;
}

void Runtime::Impl::shim_disconnected(const std::string& uid) {
  Pod* pod = find(uid);
  if (pod == nullptr || !pod->shim || pod->state == Pod::State::removing) return;
  pod->shim->fail_all(Error{.code = Error::Code::unavailable, .message = "the connection to the pod's shim was lost"});
  pod = find(uid);
  if (pod == nullptr || !pod->shim) return;
  auto socket = connect_shim(pod->paths.run);
  if (!socket || !pod->shim->reconnect(std::move(*socket))) return;  // it is dying: `ended` follows
  catch_up(uid);
}

void Runtime::Impl::shim_ended(const std::string& uid) {
  Pod* pod = find(uid);
  if (pod == nullptr) return;
  host::reap(pod->shim->pidfd());  // no child of ours when an earlier agent started it
  pod->shim_ended = true;
  if (pod->state == Pod::State::removing) return finish_removal(uid);
  const bool started = pod->state == Pod::State::ready;
  if (auto killed = cgroups.kill(pod->cgroup); !killed) {
    host::log_error("pod {}: {}", uid, killed.error().message);
  }
  auto waiting_replies = std::move(pod->shim);
  const Error error{.code = Error::Code::unavailable, .message = "the pod's shim has died"};
  waiting_replies->fail_all(error);
  pod = find(uid);
  if (pod == nullptr) return;
  auto starting = std::exchange(pod->starting, {});
  // Nothing of it can go on; what is left is to be cleaned up before anybody starts it anew.
  pod->state = Pod::State::removing;
  const Path cgroup = pod->cgroup;
  offload([this, uid, cgroup] { return clean_up(uid, cgroup, false); },
          [this, uid, started, error,
           starting = std::make_shared<decltype(starting)>(std::move(starting))](Status cleaned) {
            Pod* lost = find(uid);
            if (lost == nullptr) return;
            auto removing = std::exchange(lost->removing, {});
            const bool forget = lost->forget;
            pods.erase(uid);
            if (!cleaned) host::log_warning("pod {}: {}, ignoring", uid, cleaned.error().message);
            for (auto& done : *starting) done(std::unexpected(error));
            if (started && removing.empty()) events.sandbox_lost(uid, error.message);
            for (auto& done : removing) remove_sandbox(uid, forget, std::move(done));
          });
}

// ---- containers --------------------------------------------------------------------

void Runtime::Impl::start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done) {
  using Started = Result<api::StartedContainer>;
  const ContainerId id = spec.id;
  Pod* pod = find(id.pod_uid);
  if (pod == nullptr || pod->state != Pod::State::ready) {
    return later(std::move(done), Started(host::fail(Error::Code::not_found, "the pod has no sandbox")));
  }
  if (!plain_name(id.name) || id.name == "sandbox") {
    return later(std::move(done), Started(host::fail(Error::Code::invalid, "container name: is no plain name")));
  }
  auto [entry, fresh] = pod->containers.try_emplace(id.name);
  Container& container = entry->second;
  if (!fresh && container.state != Container::State::ended) {
    if (container.attempt != id.attempt) {
      return later(std::move(done), Started(host::fail(Error::Code::exists, "an earlier attempt still runs")));
    }
    if (container.state == Container::State::preparing) return container.waiting.push_back(std::move(done));
    return later(std::move(done), Started(container.started));
  }
  container = Container{.attempt = id.attempt};
  container.waiting.push_back(std::move(done));
  if (spec.oom_score_adj < 0 && (available >> 24 & 1) == 0 && !said_oom) {  // CAP_SYS_RESOURCE
    said_oom = true;
    host::log_warning("oom_score_adj cannot be lowered below this process' own without CAP_SYS_RESOURCE, ignoring");
  }
  offload([this, spec = std::move(spec), sandbox_spec = pod->spec, cgroup = pod->cgroup,
           paths = pod->paths] { return prepare_launch(launch_context(), sandbox_spec, cgroup, paths, spec); },
          [this, id](Result<Launch> launch) {
            if (!launch) return container_answered(id, std::unexpected(std::move(launch).error()));
            Pod* still = find(id.pod_uid);
            if (still == nullptr || still->state != Pod::State::ready || !still->shim) {
              return container_answered(id, host::fail(Error::Code::unavailable, "the pod's sandbox is being removed"));
            }
            still->shim->call(shim::Type::start, std::move(launch->body), std::move(launch->fds),
                              [this, id](Result<ShimMessage> answer) {
                                if (!answer) return container_answered(id, std::unexpected(std::move(answer).error()));
                                auto started = answer->as<shim::Started>();
                                if (!started) return container_answered(id, std::unexpected(started.error()));
                                container_answered(id, api::StartedContainer{started->pid, started->started_at_us});
                              });
          });
}

void Runtime::Impl::container_answered(const ContainerId& id, Result<api::StartedContainer> result) {
  Pod* pod = find(id.pod_uid);
  if (pod == nullptr) return;
  const auto entry = pod->containers.find(id.name);
  if (entry == pod->containers.end() || entry->second.attempt != id.attempt) return;
  Container& container = entry->second;
  if (container.state != Container::State::preparing) return;
  container.state = result ? Container::State::running : Container::State::ended;
  if (result) {
    container.started = *result;
  } else {
    drop_layers(*pod, id.name, id.attempt);
  }
  auto waiting = std::exchange(container.waiting, {});
  for (auto& done : waiting) done(result);
}

void Runtime::Impl::container_reported(const std::string& uid, const ShimMessage& message) {
  Pod* pod = find(uid);
  auto entry = message.as<shim::JournalEntry>();
  if (pod == nullptr || !entry) return;
  deliver_exit(*pod, api::ExitRecord{.id = {uid, std::string(entry->name), entry->attempt},
                                     .wait_status = entry->wait_status,
                                     .oom_killed = entry->oom_killed,
                                     .started_at_us = entry->started_at_us,
                                     .finished_at_us = entry->finished_at_us,
                                     .termination_message = std::string(entry->text)});
}

void Runtime::Impl::deliver_exit(Pod& pod, api::ExitRecord record) {
  auto& reported = pod.reported[record.id.name];
  if (reported.attempt >= record.id.attempt) return;
  reported.attempt = record.id.attempt;
  const auto entry = pod.containers.find(record.id.name);
  if (entry != pod.containers.end() && entry->second.attempt == record.id.attempt) {
    entry->second.state = Container::State::ended;
  }
  drop_layers(pod, record.id.name, record.id.attempt);
  events.container_exited(record);
}

// What the journal has and we do not, after a connection was lost.
void Runtime::Impl::catch_up(const std::string& uid) {
  Pod* pod = find(uid);
  if (pod == nullptr) return;
  offload([paths = pod->paths, uid] { return read_journal_file(paths, uid, false); },
          [this, uid](Result<JournalContent> journal) {
            if (!journal) {
              host::log_warning("pod {}: {}, ignoring", uid, journal.error().message);
              return;
            }
            for (auto& container : journal->containers) {
              for (auto& record : container.exits) {
                Pod* still = find(uid);
                if (still != nullptr && record.start_error.empty()) deliver_exit(*still, std::move(record));
              }
            }
          });
}

void Runtime::Impl::drop_layers(const Pod& pod, const std::string& container, uint32_t attempt) {
  offload(
      [directory = pod.paths.rootfs(container, attempt), message = pod.paths.termination(container, attempt)] {
        ::unlink(message.c_str());
        return host::remove_tree(directory);
      },
      [](Status removed) {
        if (!removed) host::log_warning("{}, ignoring", removed.error().message);
      });
}

// ---- exec ------------------------------------------------------------------------------

// Shared by the answer, the timer and the worker's result.
struct Runtime::Impl::Exec {
  api::ExecSpec spec;
  api::Callback<int> done;
  Path leaf;
  host::Timer timer;
  bool over = false;

  void finish(Result<int> result) {
    if (std::exchange(over, true)) return;
    timer.cancel();
    done(std::move(result));
  }
};

void Runtime::Impl::exec(const ContainerId& id, api::ExecSpec spec, api::Callback<int> done) {
  Pod* pod = find(id.pod_uid);
  const auto entry = pod == nullptr ? decltype(pod->containers.begin())() : pod->containers.find(id.name);
  if (pod == nullptr || !pod->shim || entry == pod->containers.end() || entry->second.attempt != id.attempt ||
      entry->second.state != Container::State::running) {
    return later(std::move(done), Result<int>(host::fail(Error::Code::not_found, "the container does not run")));
  }
  std::string argv;
  for (const auto& argument : spec.argv) {
    argv += argument;
    argv += '\0';
    if (argument.find('\0') != std::string::npos) argv.clear();
  }
  if (spec.argv.empty() || spec.argv[0].empty() || argv.empty() || argv.size() > shim::kMaxPacket - 1024) {
    return later(std::move(done), Result<int>(host::fail(Error::Code::invalid, "the command is empty or too long")));
  }
  auto exec = std::make_shared<Exec>();
  exec->spec = std::move(spec);
  exec->done = std::move(done);
  exec->leaf = pod->cgroup / id.name / fmt::format("exec-{}-{}", instance, ++exec_count);
  if (exec->spec.timeout_ms > 0) {
    exec->timer = loop.after(std::chrono::milliseconds(exec->spec.timeout_ms), [this, exec] { exec_timed_out(exec); });
  }
  using Fds = std::vector<Fd>;
  offload(
      [this, leaf = exec->leaf]() -> Result<Fds> {
        if (auto made = cgroups.make_leaf(leaf); !made) return std::unexpected(made.error());
        auto directory = cgroups.open(leaf);
        if (!directory) return std::unexpected(directory.error());
        auto join = cgroups.join_files(leaf.parent_path());
        if (!join) return std::unexpected(join.error());
        join->insert(join->begin(), std::move(*directory));
        return join;
      },
      [this, id, exec, argv = std::move(argv)](Result<Fds> fds) {
        Pod* still = find(id.pod_uid);
        if (!fds || still == nullptr || !still->shim || exec->over) {
          return exec_answered(exec, fds ? host::fail(Error::Code::not_found, "the container does not run")
                                         : Result<ShimMessage>(std::unexpected(fds.error())));
        }
        shim::ExecRequest request{.name = id.name,
                                  .attempt = id.attempt,
                                  .v1 = static_cast<uint32_t>(fds->size() - 1),
                                  .tty = exec->spec.tty,
                                  .argv = argv};
        uint8_t bit = 1;
        for (Fd* fd : {&exec->spec.stdin_fd, &exec->spec.stdout_fd, &exec->spec.stderr_fd}) {
          if (*fd && !exec->spec.tty) {
            request.stdio |= bit;
            fds->push_back(std::move(*fd));
          }
          bit = static_cast<uint8_t>(bit << 1);
        }
        still->shim->call(shim::Type::exec, encode(request), std::move(*fds),
                          [this, exec](Result<ShimMessage> answer) { exec_answered(exec, std::move(answer)); });
      });
}

void Runtime::Impl::exec_answered(std::shared_ptr<Exec> exec, Result<ShimMessage> answer) {
  if (answer && answer->type == shim::Type::exec_started) {
    if (!answer->fds.empty() && exec->spec.on_tty && !exec->over) exec->spec.on_tty(std::move(answer->fds[0]));
    if (exec->over) exec_timed_out(exec);  // it was killed before it was born
    return;
  }
  // What it left running in the background stays in the leaf, and the leaf with it,
  // until the container ends.
  offload([this, leaf = exec->leaf] { return cgroups.remove(leaf); }, [](Status) {});
  if (!answer) return exec->finish(std::unexpected(std::move(answer).error()));
  auto exited = answer->as<shim::ExecExited>();
  if (!exited) return exec->finish(std::unexpected(exited.error()));
  exec->finish(exited->wait_status);
}

void Runtime::Impl::exec_timed_out(const std::shared_ptr<Exec>& exec) {
  offload([this, leaf = exec->leaf] { return cgroups.kill(leaf); },
          [](Status killed) {
            if (!killed) host::log_warning("{}, ignoring", killed.error().message);
          });
  exec->finish(
      host::fail(Error::Code::unavailable, fmt::format("command timed out after {} ms", exec->spec.timeout_ms)));
}

// ---- removal -------------------------------------------------------------------------

void Runtime::Impl::remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done) {
  if (!plain_name(uid))
    return later(std::move(done), Status(host::fail(Error::Code::invalid, "pod uid: is no plain name")));
  Pod* pod = find(uid);
  if (pod == nullptr) {
    offload([this, uid, forget] { return clean_up(uid, {}, forget); },
            [done = std::move(done)](Status cleaned) mutable { done(cleaned); });
    return;
  }
  pod->forget = pod->forget || forget;
  pod->removing.push_back(std::move(done));
  if (pod->state == Pod::State::removing) return;
  const bool starting = pod->state == Pod::State::starting;
  pod->state = Pod::State::removing;
  auto waiting = std::exchange(pod->starting, {});
  for (auto& callback : waiting) {
    later(std::move(callback), Result<api::Sandbox>(host::fail(Error::Code::unavailable, "the pod was removed")));
  }
  if (starting && !pod->shim) return;  // shim_started or sandbox_failed goes on
  finish_removal(uid);
}

// Called again at each step: kill, wait for the shim's end, clean up.
void Runtime::Impl::finish_removal(const std::string& uid) {
  Pod* pod = find(uid);
  if (pod == nullptr) return;
  if (pod->shim && !pod->shim_ended) {
    if (pod->deadline.armed()) return;
    // The pod first: then the shim has nothing left but to record the exits.
    if (auto killed = cgroups.kill(pod->cgroup); !killed) host::log_error("pod {}: {}", uid, killed.error().message);
    pod->shim->call(shim::Type::shutdown, {}, {}, [](Result<ShimMessage>) {});
    pod->deadline = loop.after(kShimAnswers, [this, uid] {
      Pod* late = find(uid);
      if (late == nullptr || !late->shim) return;
      host::log_warning("pod {}: its shim did not end when told to and is killed", uid);
      host::send_signal(late->shim->pidfd(), SIGKILL);
    });
    return;
  }
  pod->shim.reset();
  pod->deadline = {};
  offload([this, uid, cgroup = pod->cgroup, forget = pod->forget] { return clean_up(uid, cgroup, forget); },
          [this, uid](Status cleaned) {
            Pod* gone = find(uid);
            if (gone == nullptr) return;
            auto removing = std::exchange(gone->removing, {});
            pods.erase(uid);
            for (auto& done : removing) done(cleaned);
          });
}

// On a worker: everything a pod leaves behind. Without `cgroup`, wherever it is.
Status Runtime::Impl::clean_up(const std::string& uid, const Path& cgroup, bool forget) {
  const std::string leaf = "pod" + uid;
  std::vector<Path> places{shim_cgroup(uid)};
  if (cgroup.empty()) {
    places.insert(places.end(), {Path(leaf), Path("burstable") / leaf, Path("besteffort") / leaf});
  } else {
    places.push_back(cgroup);
  }
  for (const auto& place : places) {
    if (auto killed = cgroups.kill(place); !killed) return killed;
    if (auto waited = cgroups.wait_empty(place, kDeathTimeoutMs); !waited) return waited;
    if (auto removed = cgroups.remove(place); !removed) return removed;
  }
  const PodPaths paths = paths_of(uid);
  if (auto removed = host::remove_tree(paths.run); !removed) return removed;
  if (auto removed = host::remove_tree(forget ? paths.disk : paths.disk / "rootfs"); !removed) return removed;
  return {};
}

// ---- recovery --------------------------------------------------------------------------

struct Runtime::Impl::Recovery {
  std::vector<FoundPod> found;
  size_t waiting = 0;
  bool finished = false;
  std::map<std::string, std::vector<api::RecoveredContainer>> running;
  std::set<std::string> silent;
  host::Timer deadline;
  api::Callback<std::vector<api::RecoveredPod>> done;
};

// On a worker.
Result<std::vector<FoundPod>> Runtime::Impl::find_pods() {
  std::map<std::string, FoundPod> found;
  for (const bool in_run : {true, false}) {
    auto names = host::list_directory((in_run ? settings.run_dir : settings.root_dir) / "pods");
    if (!names) return std::unexpected(names.error());
    for (const auto& uid : *names) {
      if (!plain_name(uid) || found.contains(uid)) continue;
      const PodPaths paths = paths_of(uid);
      auto text = host::read_file(in_run ? paths.run_record() : paths.disk_record());
      auto record = text ? decode_record(*text) : Result<PodRecord>(std::unexpected(text.error()));
      if (!record || record->spec.uid != uid) continue;  // half made: removed below, or by its next start
      FoundPod& pod = found[uid];
      pod.in_run = in_run;
      pod.record = std::move(*record);
      if (!in_run || !pod.record.shim || pod.record.shim->boot_id != boot) continue;
      auto pidfd = host::open_process(pod.record.shim->process);
      if (!pidfd) continue;
      auto socket = connect_shim(paths.run);
      if (!socket) {
        host::log_warning("pod {}: {}; its shim is killed", uid, socket.error().message);
        continue;  // its cgroup is killed below
      }
      pod.pidfd = std::move(*pidfd);
      pod.socket = std::move(*socket);
    }
  }
  // Whoever is in our tree and is not of a living pod has no right to be.
  std::vector<Path> strays;
  for (const Path& parent : {Path("shims"), Path(), Path("burstable"), Path("besteffort")}) {
    auto names = cgroups.children(parent);
    if (!names) continue;
    for (const auto& name : *names) {
      const bool shim = parent == "shims";
      if (!shim && !name.starts_with("pod")) continue;
      const std::string uid = shim ? name : name.substr(3);
      const auto pod = found.find(uid);
      if (pod == found.end() || !pod->second.pidfd) strays.push_back(parent / name);
    }
  }
  for (const auto& stray : strays) cgroups.kill(stray);
  for (const auto& stray : strays) {
    Status cleaned = cgroups.wait_empty(stray, kDeathTimeoutMs);
    if (cleaned) cleaned = cgroups.remove(stray);
    if (!cleaned) host::log_warning("{}, ignoring", cleaned.error().message);
  }
  std::vector<FoundPod> result;
  for (auto& [uid, pod] : found) result.push_back(std::move(pod));
  return result;
}

void Runtime::Impl::recover(api::Callback<std::vector<api::RecoveredPod>> done) {
  auto recovery = std::make_shared<Recovery>();  // shared by the answers that are waited for
  recovery->done = std::move(done);
  offload([this] { return find_pods(); },
          [this, recovery](Result<std::vector<FoundPod>> found) {
            if (!found) return recovery->done(std::unexpected(found.error()));
            recovery->found = std::move(*found);
            recovery->waiting = 1;
            for (auto& one : recovery->found) {
              if (!one.pidfd) continue;
              const std::string uid = one.record.spec.uid;
              auto client = make_client(uid, std::move(one.socket), std::move(one.pidfd));
              if (!client) {
                host::log_error("pod {}: {}", uid, client.error().message);
                continue;
              }
              auto pod = std::make_unique<Pod>();
              pod->spec = one.record.spec;
              pod->paths = paths_of(uid);
              pod->cgroup = pod_cgroup_of(pod->spec);
              pod->shim = std::move(*client);
              ++recovery->waiting;
              recovery->silent.insert(uid);
              pod->shim->call(shim::Type::hello, {}, {}, [this, uid, recovery](Result<ShimMessage> answer) {
                Pod* answered = find(uid);
                if (answered != nullptr && answer && !recovery->finished) {
                  shim::Reader in(answer->body.data(), answer->body.size());
                  shim::SandboxState state;
                  shim::ContainerState container;
                  bool sound = state.decode(in) && state.ready && take_namespaces(*answered, *answer).has_value();
                  for (uint32_t i = 0; sound && i < state.containers; ++i) {
                    sound = container.decode(in);
                    if (!sound) break;
                    const std::string name(container.name);
                    answered->containers[name] = Container{.state = Container::State::running,
                                                           .attempt = container.attempt,
                                                           .started = {container.pid, container.started_at_us}};
                    recovery->running[uid].push_back({.id = {uid, name, container.attempt},
                                                      .running = true,
                                                      .started = {container.pid, container.started_at_us}});
                  }
                  if (sound) {
                    answered->state = Pod::State::ready;
                    recovery->silent.erase(uid);
                  }
                }
                if (--recovery->waiting == 0) finish_recovery(recovery);
              });
              pods[uid] = std::move(pod);
            }
            recovery->deadline = loop.after(kShimAnswers, [this, recovery] { finish_recovery(recovery); });
            if (--recovery->waiting == 0) finish_recovery(recovery);
          });
}

void Runtime::Impl::finish_recovery(std::shared_ptr<Recovery> recovery) {
  if (std::exchange(recovery->finished, true)) return;
  recovery->deadline = {};
  // A shim that does not answer, or has no sandbox: its pod is over.
  for (const auto& uid : recovery->silent) {
    Pod* pod = find(uid);
    if (pod == nullptr) continue;
    if (pod->shim) host::send_signal(pod->shim->pidfd(), SIGKILL);
    remove_sandbox(uid, false, [](Status) {});
  }
  struct Journals {
    std::vector<std::pair<std::string, Result<JournalContent>>> read;
  };
  std::vector<std::pair<std::string, bool>> uids;
  for (const auto& found : recovery->found) {
    const std::string& uid = found.record.spec.uid;
    const Pod* pod = find(uid);
    uids.emplace_back(uid, pod != nullptr && pod->state == Pod::State::ready);
  }
  offload(
      [this, uids] {
        Journals journals;
        for (const auto& [uid, alive] : uids) {
          const PodPaths paths = paths_of(uid);
          journals.read.emplace_back(uid, read_journal_file(paths, uid, !alive));
          if (alive) continue;
          // Nothing runs on it any more.
          if (auto removed = host::remove_tree(paths.disk / "rootfs"); !removed) {
            host::log_warning("{}, ignoring", removed.error().message);
          }
          if (auto removed = host::remove_tree(paths.run); !removed) {
            host::log_warning("{}, ignoring", removed.error().message);
          }
        }
        return journals;
      },
      [this, recovery](Journals journals) {
        std::vector<api::RecoveredPod> result;
        for (auto& found : recovery->found) {
          const std::string uid = found.record.spec.uid;
          api::RecoveredPod recovered{.spec = std::move(found.record.spec)};
          Pod* pod = find(uid);
          recovered.alive = pod != nullptr && pod->state == Pod::State::ready;
          if (recovered.alive) recovered.containers = recovery->running[uid];
          for (auto& [journal_uid, journal] : journals.read) {
            if (journal_uid != uid) continue;
            if (!journal) {
              host::log_warning("pod {}: {}, ignoring", uid, journal.error().message);
              continue;
            }
            for (auto& container : journal->containers) {
              const auto known = std::ranges::find_if(
                  recovered.containers, [&](const auto& one) { return one.id.name == container.id.name; });
              bool ended = false;
              for (auto& record : container.exits) {
                ended = ended || record.id.attempt == container.id.attempt;
                if (pod != nullptr) {
                  auto& reported = pod->reported[record.id.name];
                  // One may have been reported while we read.
                  if (reported.attempt >= record.id.attempt && known != recovered.containers.end()) continue;
                  reported.attempt = std::max<int64_t>(reported.attempt, record.id.attempt);
                }
                recovered.exits.push_back(std::move(record));
              }
              if (known == recovered.containers.end()) {
                recovered.containers.push_back({.id = container.id});
              } else if (ended && known->id.attempt == container.id.attempt) {
                known->running = false;  // it ended after the shim had answered
                if (pod != nullptr) pod->containers[container.id.name].state = Container::State::ended;
              }
            }
          }
          std::ranges::stable_sort(recovered.exits, {}, &api::ExitRecord::finished_at_us);
          result.push_back(std::move(recovered));
        }
        recovery->done(std::move(result));
      });
}

// ---- the interface -----------------------------------------------------------------------

Runtime::Runtime(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Runtime::~Runtime() {
  impl_->stopped = true;
  impl_->pods.clear();
}

Result<std::unique_ptr<Runtime>> Runtime::create(host::Loop& loop, const Settings& settings,
                                                 api::PodRuntimeEvents& events) {
  auto mountinfo = host::read_file("/proc/self/mountinfo", 8u << 20);
  if (!mountinfo) return std::unexpected(mountinfo.error());
  auto mounts = host::CgroupMounts::parse(*mountinfo);
  if (!mounts) return std::unexpected(mounts.error());
  const Path root = settings.cgroup_root.empty() ? mounts->unified : settings.cgroup_root;
  const Path top = settings.pod_cgroup.empty() ? Path("keelson") : settings.pod_cgroup;
  auto cgroups = host::CgroupTree::create(std::move(*mounts), root / top);  // an absolute top stands by itself
  if (!cgroups) return std::unexpected(std::move(cgroups).error().within("pod cgroup"));
  auto impl = std::make_shared<Impl>(loop, events, settings, std::move(*cgroups));
  auto devices = DeviceGuard::create(impl->cgroups);
  if (!devices) return std::unexpected(devices.error());
  impl->devices = std::move(*devices);
  auto available = own_capabilities();
  if (!available) return std::unexpected(available.error());
  impl->available = *available;
  auto binary = seal_shim(settings.shim);
  if (!binary) return std::unexpected(binary.error());
  impl->shim_binary = std::move(*binary);
  auto boot = host::boot_id();
  if (!boot) return std::unexpected(boot.error());
  impl->boot = std::move(*boot);
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto cookie = netns_cookie(probe);
  if (!cookie) return std::unexpected(cookie.error());
  impl->host_cookie = *cookie;
  impl->instance = fmt::format("{}-{}", ::getpid(), std::chrono::system_clock::now().time_since_epoch().count());
  for (const Path& directory : {settings.run_dir / "pods", settings.root_dir / "pods"}) {
    if (auto made = host::make_directories(directory, 0711); !made) return std::unexpected(made.error());
  }
  for (const auto& [group, inner] : {std::pair("shims", false), {"burstable", true}, {"besteffort", true}}) {
    if (auto made = impl->cgroups.make(group, inner); !made) return std::unexpected(made.error());
  }
  if (auto limited = impl->cgroups.limit("besteffort", {.cpu_shares = 2}); !limited) {
    return std::unexpected(limited.error());
  }
  return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
}

void Runtime::recover(api::Callback<std::vector<api::RecoveredPod>> done) { impl_->recover(std::move(done)); }

void Runtime::start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done) {
  impl_->start_sandbox(std::move(spec), std::move(done));
}

void Runtime::start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done) {
  impl_->start_container(std::move(spec), std::move(done));
}

void Runtime::signal_container(const ContainerId& id, int signal, api::StatusCallback done) {
  Pod* pod = impl_->find(id.pod_uid);
  if (pod == nullptr || !pod->shim) {
    return impl_->later(std::move(done), Status(host::fail(Error::Code::not_found, "the pod has no sandbox")));
  }
  pod->shim->call(shim::Type::signal, encode(shim::SignalRequest{id.name, id.attempt, signal}, 1024), {},
                  [done = std::move(done)](Result<ShimMessage> answer) mutable {
                    // One that has ended has been signalled enough.
                    if (!answer && answer.error().code != Error::Code::not_found) {
                      return done(std::unexpected(std::move(answer).error()));
                    }
                    done({});
                  });
}

void Runtime::exec(const ContainerId& id, api::ExecSpec spec, api::Callback<int> done) {
  impl_->exec(id, std::move(spec), std::move(done));
}

void Runtime::remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done) {
  impl_->remove_sandbox(uid, forget, std::move(done));
}

Result<api::Sandbox> Runtime::sandbox(const std::string& uid) const {
  const Pod* pod = impl_->find(uid);
  if (pod == nullptr || pod->state != Pod::State::ready) return host::fail(Error::Code::not_found, "no such sandbox");
  return impl_->sandbox(*pod);
}

Result<Path> Runtime::cgroup(const std::string& uid, const std::string& container) const {
  const Pod* pod = impl_->find(uid);
  if (pod == nullptr) return host::fail(Error::Code::not_found, "no such sandbox");
  const Path relative = container.empty() ? pod->cgroup : pod->cgroup / container;
  return impl_->cgroups.directory() / relative;
}

void Runtime::drained(api::StatusCallback done) {
  if (!impl_->pods.empty()) {
    return impl_->later(
        std::move(done),
        Status(host::fail(Error::Code::unavailable, fmt::format("{} pods are still there", impl_->pods.size()))));
  }
  impl_->offload(
      [impl = impl_]() -> Status {
        if (auto removed = impl->cgroups.remove_all(); !removed) return removed;
        return host::remove_tree(impl->settings.run_dir / "pods");
      },
      [done = std::move(done)](Status removed) mutable { done(removed); });
}

}  // namespace keelson::runtime
