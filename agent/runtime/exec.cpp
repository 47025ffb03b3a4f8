// Commands in running containers.

#include <fmt/core.h>

#include "host/log.h"

#include "agent/runtime/runtime_state.h"

namespace keelson::runtime {

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
  offload(
      [this, leaf = exec->leaf, killed = exec->over] {
        if (killed) (void)cgroups.wait_empty(leaf, 1000);
        return cgroups.remove(leaf);
      },
      [](Status) {});
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

}  // namespace keelson::runtime
