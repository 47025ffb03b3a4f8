// What an agent finds when it starts: shims to connect to, journals, strays.

#include <signal.h>

#include <optional>
#include <set>

#include "host/log.h"
#include "host/process.h"

#include "agent/runtime/runtime_state.h"

namespace keelson::runtime {

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
  for (const auto& stray : strays) (void)cgroups.kill(stray);  // wait_empty() tells
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
              pod->recovering = true;
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
    if (pod->shim) (void)host::send_signal(pod->shim->pidfd(), SIGKILL);
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
                if (pod != nullptr) pod->reported[record.id.name] = record.id.attempt;
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
        // What ended after its journal was read.
        std::vector<api::ExitRecord> held;
        for (auto& [uid, pod] : pods) {
          if (!std::exchange(pod->recovering, false)) continue;
          std::ranges::move(std::exchange(pod->held, {}), std::back_inserter(held));
        }
        for (auto& record : held) {
          if (Pod* pod = find(record.id.pod_uid)) deliver_exit(*pod, std::move(record));
        }
      });
}

}  // namespace keelson::runtime
