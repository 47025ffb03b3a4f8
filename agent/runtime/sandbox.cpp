// Sandboxes: a shim and its init, from start to removal.

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/netlink.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "host/log.h"
#include "host/mount.h"
#include "host/process.h"
#include "host/run_file.h"

#include "agent/runtime/runtime_state.h"

namespace keelson::runtime {

namespace {

Result<Fd> duplicate(const Fd& fd) {
  if (!fd) return Fd();
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return host::sys_fail("dup");
  return copy;
}

}  // namespace

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

Status Runtime::Impl::make_pod_cgroups(const Path& cgroup, const api::ResourceLimits& limits) {
  for (const auto& [path, inner] :
       {std::pair(cgroup.parent_path(), true), {cgroup, true}, {cgroup / "sandbox", false}}) {
    if (path.empty()) continue;
    if (auto made = cgroups.make(path, inner); !made) return made;
  }
  return cgroups.limit(cgroup, cgroup_limits_of(limits, false));
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
  if (auto made = cgroups.make_leaf(shim_cgroup(spec.uid)); !made) return std::unexpected(made.error());
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
  auto spawning = host::begin_spawn(options);
  if (!spawning) return std::unexpected(std::move(spawning).error().within("start podshim"));
  // While the kernel executes the shim.
  const auto made_cgroups = make_pod_cgroups(cgroup, spec.limits);
  auto child = host::end_spawn(std::move(*spawning));
  if (!child) return std::unexpected(std::move(child).error().within("start podshim"));
  const auto give_up = [&](Error error) -> Result<StartedShim> {
    if (host::send_signal(child->pidfd, SIGKILL)) {
      (void)cgroups.wait_empty(shim_cgroup(spec.uid), kDeathTimeoutMs);
      (void)host::reap(child->pidfd);
    }
    return std::unexpected(std::move(error));
  };
  if (!made_cgroups) return give_up(made_cgroups.error());
  const PodRecord record{.spec = spec, .shim = ShimIdentity{child->identity, boot}};
  if (auto written = host::write_run_file(paths.run_record(), encode_record(record), 0600); !written) {
    return give_up(written.error());
  }
  auto socket = connect_shim(paths.run);
  if (!socket) return give_up(socket.error());
  auto leaf = cgroups.open(cgroup / "sandbox");
  if (!leaf) return give_up(leaf.error());
  auto join = cgroups.join_files(cgroup / "sandbox");
  if (!join) return give_up(join.error());
  std::vector<Fd> volumes;
  std::string volume_names;
  for (const auto& volume : spec.memory_volumes) {
    if (!plain_name(volume.name)) return give_up({Error::Code::invalid, 0, "volume name: is no plain name"});
    auto made = host::make_tmpfs(volume.size_bytes, volume.mode, volume.group);
    if (!made) return give_up(std::move(made).error().within("volume " + volume.name));
    volumes.push_back(std::move(*made));
    volume_names += volume.name + '\0';
  }

  StartedShim started{.socket = std::move(*socket), .pidfd = std::move(child->pidfd)};
  started.body = encode(shim::SandboxRequest{.flags = sandbox_flags_of(spec),
                                             .v1 = static_cast<uint32_t>(join->size()),
                                             .volumes = static_cast<uint32_t>(volumes.size()),
                                             .hostname = spec.hostname.c_str(),
                                             .sysctls = *sysctls,
                                             .volume_names = volume_names});
  started.fds.push_back(std::move(*leaf));
  for (auto& fd : *join) started.fds.push_back(std::move(fd));
  for (auto& fd : volumes) started.fds.push_back(std::move(fd));
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
  // For after a reboot. Nobody waits for it, and one at a time: the workers are for those
  // who wait, not for many fsyncs at once.
  offload(
      [paths = pod->paths, record = PodRecord{.spec = pod->spec}] {
        return host::write_file_atomically(paths.disk_record(), encode_record(record), 0600);
      },
      [uid](Status written) {
        if (written || written.error().code == Error::Code::not_found) return;  // or the pod has gone meanwhile
        host::log_warning("pod {}: {}, ignoring", uid, written.error().message);
      },
      kRecordsLane);
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
  pod->state = Pod::State::removing;
  finish_removal(uid);
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
  // A launch that was under way is reported as failed, and has to be so.
  std::vector<ContainerId> launching;
  for (const auto& [name, container] : pod->containers) {
    if (container.state == Container::State::preparing) launching.push_back({uid, name, container.attempt});
  }
  pod->shim->fail_all(Error{.code = Error::Code::unavailable, .message = "the connection to the pod's shim was lost"});
  pod = find(uid);
  if (pod == nullptr || !pod->shim) return;
  auto socket = connect_shim(pod->paths.run);
  if (!socket || !pod->shim->reconnect(std::move(*socket))) return;  // it is dying: `ended` follows
  for (const auto& id : launching) {
    pod->shim->call(shim::Type::signal, encode(shim::SignalRequest{id.name, id.attempt, SIGKILL}, 1024), {},
                    [](Result<ShimMessage>) {});
  }
  catch_up(uid);
}

void Runtime::Impl::shim_ended(const std::string& uid) {
  Pod* pod = find(uid);
  if (pod == nullptr) return;
  (void)host::reap(pod->shim->pidfd());  // no child of ours when an earlier agent started it
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
      (void)host::send_signal(late->shim->pidfd(), SIGKILL);
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

}  // namespace keelson::runtime
