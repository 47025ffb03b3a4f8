#include "agent/runtime/shim/container_control.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime/shim/agent.h"
#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/children.h"
#include "agent/runtime/shim/kernel.h"
#include "agent/runtime/shim/process.h"

namespace keelson::shim {

namespace {

JournalEntry entry_of(Shim& shim, const Container& container, uint8_t kind) {
  JournalEntry entry;
  entry.kind = kind;
  entry.name = container.name;
  entry.attempt = container.attempt;
  entry.pid = container.pid;
  entry.start_time = container.start_time;
  entry.boot_id = shim.boot_id;
  entry.started_at_us = container.started_at_us;
  return entry;
}

void release(Shim& shim, uint32_t index) {
  Container& container = *shim.containers[index];
  close_fd(container.pidfd);
  close_fd(container.control);
  close_fd(container.spec);
  close_fd(container.cgroup);
  close_fd(container.events);
  close_fd(container.termination);
  close_fd(container.input);
  for (uint32_t i = 0; i < container.layer_count; ++i) close(container.layers[i]);
  log_finish(container.log, container.output);
  log_finish(container.log, container.error);
  log_close(container.log);
  shim.containers[index] = nullptr;
  free(&container);
}

void drain(LogFile& log, LogStream& stream) {
  // Bounded: something outside of the container may still hold the other end.
  for (int i = 0; i < 64 && stream.fd >= 0; ++i) {
    if (log_read(log, stream) != LogRead::more) break;
  }
}

}  // namespace

Container* find(Shim& shim, std::string_view name, uint32_t attempt) {
  for (Container* container : shim.containers) {
    if (container != nullptr && container->attempt == attempt && name == container->name) return container;
  }
  return nullptr;
}

void handle_start(Shim& shim, Packet& packet) {
  const uint32_t number = packet.header.number;
  StartRequest request;
  Reader in(packet.body, packet.header.size);
  if (!request.decode(in)) return answer_error(shim, number, EINVAL, "start");
  const size_t fixed = 5 + (request.termination_file ? 1 : 0);
  const size_t first_layer = fixed + request.v1 + request.mounts;
  if (packet.fd_count != first_layer + request.layers) return answer_error(shim, number, EINVAL, "start: descriptors");
  if (!shim.ready || shim.closing || shim.init <= 0) return answer_error(shim, number, ENOENT, "the sandbox is gone");
  uint32_t index = kMaxContainers;
  for (uint32_t i = 0; i < kMaxContainers; ++i) {
    const Container* other = shim.containers[i];
    if (other == nullptr && index == kMaxContainers) index = i;
    if (other != nullptr && request.name == other->name) {
      return answer_error(shim, number, EEXIST, "the container still runs");
    }
  }
  if (index == kMaxContainers) return answer_error(shim, number, EAGAIN, "too many containers in one pod");
  MappedSpec mapped(packet.fds[0]);
  if (!mapped.sound() || mapped.spec.descriptors != request.mounts)
    return answer_error(shim, number, EINVAL, "launch spec");

  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return answer_error(shim, number, errno, "socketpair");
  shim.containers[index] = allocate<Container>();
  if (shim.containers[index] == nullptr) {
    close(pair[0]);
    close(pair[1]);
    return answer_error(shim, number, ENOMEM, "start");
  }
  Container& container = *shim.containers[index];
  LaunchFds fds;
  container.control = pair[0];
  fds.control = pair[1];
  bool piped = true;
  if ((mapped.spec.flags & kTty) == 0) {
    piped = make_pipe(container.output.fd, fds.output) && make_pipe(container.error.fd, fds.error) &&
            ((mapped.spec.flags & kStdinOpen) == 0 || make_pipe(fds.input, container.input));
  }
  const uint32_t shares = mapped.spec.sandbox_flags;
  const int member = (shares & kSharePid) != 0 ? shim.init_pidfd : -1;
  const uint64_t flags = (shares & (kSharePid | kHostPid)) != 0 ? 0 : CLONE_NEWPID;
  container.oom_kills = read_oom_kills(packet.fds[4]);
  const pid_t pid = piped ? clone_beside(shim, flags, packet.fds[3], member, &container.pidfd) : -1;
  if (pid == 0) {
    fds.init = shim.init_pidfd;
    fds.root = packet.fds[1];
    fds.v1 = packet.fds + fixed;
    fds.v1_count = request.v1;
    fds.mounts = packet.fds + fixed + request.v1;
    // The child's end alone must keep the socket open.
    close(container.control);
    run_container(mapped.spec, fds);
  }
  const int error_number = errno;
  close(fds.control);
  close_fd(fds.output);
  close_fd(fds.error);
  close_fd(fds.input);
  if (pid < 0) {
    release(shim, index);
    return answer_error(shim, number, error_number, "start a process");
  }
  memcpy(container.name, request.name.data(), request.name.size());
  container.name[request.name.size()] = 0;
  container.attempt = request.attempt;
  container.number = number;
  container.connection = shim.connection;
  container.pid = pid;
  container.start_time = process_start_time(pid);
  container.spec = packet.take(0);
  container.cgroup = packet.take(3);
  container.events = packet.take(4);
  if (request.termination_file) container.termination = packet.take(5);
  while (container.layer_count < request.layers) {
    container.layers[container.layer_count] = packet.take(first_layer + container.layer_count);
    ++container.layer_count;
  }
  if (request.log_name[0] != 0) log_open(container.log, packet.take(2), request.log_name);
  container.error.error = true;
  // Its identity, in the journal before it runs anything; meanwhile it sets itself up.
  auto entry = entry_of(shim, container, JournalEntry::kStarted);
  entry.started_at_us = now_us();
  journal_append(shim.journal, entry);
  watch(shim, container.control, Watch::control, index);
  for (LogStream* stream : {&container.output, &container.error}) {
    if (stream->fd < 0) continue;
    fcntl(stream->fd, F_SETFL, O_NONBLOCK);
    watch(shim, stream->fd, stream->error ? Watch::error : Watch::output, index);
  }
}

void read_control(Shim& shim, uint32_t index) {
  if (shim.containers[index] == nullptr) return;
  Container& container = *shim.containers[index];
  char note[1100];
  while (container.control >= 0) {
    int fd = -1;
    const long size = receive_note(container.control, note, sizeof note, &fd, false);
    if (size < 0) return;
    if (size == 0) {
      close_fd(container.control);
      // The end is execve's doing, or the process has died before it.
      if (!container.created || container.failed) return;
      container.started_at_us = now_us();
      answer_to(shim, container.connection, Type::started, container.number,
                Started{container.pid, container.start_time, container.started_at_us});
      container.number = 0;
      return;
    }
    if (note[0] == kTerminal && fd >= 0) {
      container.output.fd = fd;
      fcntl(fd, F_SETFL, O_NONBLOCK);
      watch(shim, fd, Watch::output, index);
    } else if (note[0] == kCreated) {
      container.created = true;
      send_note(container.control, kStart, "", 0);
    } else if (note[0] == kFailed) {
      // Said when the process is gone: then the same start may be asked for again.
      container.failed = true;
      container.reason_size = static_cast<size_t>(size) - 1;
      memcpy(container.reason, note + 1, container.reason_size);
    }
  }
}

void read_stream(Shim& shim, uint32_t index, bool error) {
  if (shim.containers[index] == nullptr) return;
  Container& container = *shim.containers[index];
  LogStream& stream = error ? container.error : container.output;
  if (stream.fd < 0) return;
  if (log_read(container.log, stream) == LogRead::ended) log_finish(container.log, stream);
}

void container_ended(Shim& shim, uint32_t index, int wait_status) {
  static char termination[kMaxTermination];
  Container& container = *shim.containers[index];
  read_control(shim, index);
  kill_cgroup(container.cgroup);  // what shared a PID namespace with others, and what exec started
  drain(container.log, container.output);
  drain(container.log, container.error);
  const bool ran = container.started_at_us != 0;
  auto entry = entry_of(shim, container, ran ? JournalEntry::kExited : JournalEntry::kFailed);
  entry.finished_at_us = now_us();
  if (ran) {
    entry.wait_status = wait_status;
    // Killed itself, or a shell that passes on how its child ended.
    const bool killed = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) == SIGKILL : WEXITSTATUS(wait_status) == 137;
    entry.oom_killed = killed && read_oom_kills(container.events) > container.oom_kills;
    const ssize_t size =
        container.termination >= 0 ? pread(container.termination, termination, sizeof termination, 0) : -1;
    if (size > 0) entry.text = std::string_view(termination, static_cast<size_t>(size));
  } else if (container.failed) {
    entry.text = std::string_view(container.reason, container.reason_size);
  } else {
    entry.text = "the container was killed while it was set up";
  }
  journal_append(shim.journal, entry);
  // The record is on disk: now it may be gone.
  siginfo_t child;
  waitid(P_PID, static_cast<id_t>(container.pid), &child, WEXITED | WNOHANG);
  if (ran || container.connection != shim.connection) {  // an agent that did not ask takes it for running
    answer(shim, Type::exited, 0, entry);
  } else {
    answer_error(shim, container.number, 0, entry.text.data(), entry.text.size());
  }
  release(shim, index);
}

void handle_signal(Shim& shim, const Packet& packet) {
  SignalRequest request;
  Reader in(packet.body, packet.header.size);
  const uint32_t number = packet.header.number;
  if (!request.decode(in)) return answer_error(shim, number, EINVAL, "signal");
  Container* container = find(shim, request.name, request.attempt);
  if (container == nullptr) return answer_error(shim, number, ESRCH, "the container does not run");
  if (request.signal == SIGKILL) kill_cgroup(container->cgroup);
  if (sys_pidfd_send_signal(container->pidfd, request.signal) != 0 && errno != ESRCH) {
    return answer_error(shim, number, errno, "signal");
  }
  answer_done(shim, number);
}

}  // namespace keelson::shim
