// Containers: start, exit, and what an exit leaves on disk.

#include <unistd.h>

#include "host/log.h"

#include "agent/runtime/runtime_state.h"

namespace keelson::runtime {

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
  if (spec.oom_score_adj < 0 && (available >> 24 & 1) == 0 && notices.empty()) {  // CAP_SYS_RESOURCE
    notices.emplace_back("oom_score_adj cannot be lowered below this process' own without CAP_SYS_RESOURCE");
    host::log_warning("{}, ignoring", notices.back());
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
          },
          lane_of(id.pod_uid));
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
    drop_layers(*pod, id.name, id.attempt, lane_of(id.pod_uid));  // before the same attempt is prepared again
  }
  auto waiting = std::exchange(container.waiting, {});
  for (auto& done : waiting) done(result);
}

void Runtime::Impl::container_reported(const std::string& uid, const ShimMessage& message) {
  Pod* pod = find(uid);
  auto entry = message.as<shim::JournalEntry>();
  if (pod == nullptr || !entry) return;
  api::ExitRecord record{.id = {uid, std::string(entry->name), entry->attempt},
                         .wait_status = entry->wait_status,
                         .oom_killed = entry->oom_killed,
                         .started_at_us = entry->started_at_us,
                         .finished_at_us = entry->finished_at_us};
  (entry->kind == shim::JournalEntry::kFailed ? record.start_error : record.termination_message) = entry->text;
  deliver_exit(*pod, std::move(record));
}

void Runtime::Impl::deliver_exit(Pod& pod, api::ExitRecord record) {
  if (pod.recovering) return pod.held.push_back(std::move(record));
  auto& reported = pod.reported.try_emplace(record.id.name, -1).first->second;
  if (reported >= record.id.attempt) return;
  reported = record.id.attempt;
  const auto entry = pod.containers.find(record.id.name);
  if (entry != pod.containers.end() && entry->second.attempt == record.id.attempt) {
    entry->second.state = Container::State::ended;
  }
  drop_layers(pod, record.id.name, record.id.attempt, 0);  // the next one has a directory of its own
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

void Runtime::Impl::drop_layers(const Pod& pod, const std::string& container, uint32_t attempt, uint64_t lane) {
  offload(
      [directory = pod.paths.rootfs(container, attempt), message = pod.paths.termination(container, attempt)] {
        ::unlink(message.c_str());
        return host::remove_tree(directory);
      },
      [](Status removed) {
        if (!removed) host::log_warning("{}, ignoring", removed.error().message);
      },
      lane);
}

}  // namespace keelson::runtime
