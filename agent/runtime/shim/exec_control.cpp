#include "agent/runtime/shim/exec_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime/shim/agent.h"
#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/children.h"
#include "agent/runtime/shim/container_control.h"
#include "agent/runtime/shim/process.h"

namespace keelson::shim {

void handle_exec(Shim& shim, Packet& packet) {
  const uint32_t number = packet.header.number;
  ExecRequest request;
  Reader in(packet.body, packet.header.size);
  if (!request.decode(in)) return answer_error(shim, number, EINVAL, "exec");
  const size_t streams = static_cast<size_t>(__builtin_popcount(request.stdio));
  if (packet.fd_count != 1 + request.v1 + streams) return answer_error(shim, number, EINVAL, "exec: descriptors");
  Container* container = find(shim, request.name, request.attempt);
  if (container == nullptr || container->started_at_us == 0) {
    return answer_error(shim, number, ESRCH, "the container does not run");
  }
  uint32_t index = 0;
  while (index < kMaxExecs && shim.execs[index] != nullptr) ++index;
  if (index == kMaxExecs) return answer_error(shim, number, EAGAIN, "too many commands run in this pod");
  MappedSpec mapped(container->spec);
  if (!mapped.sound()) return answer_error(shim, number, EINVAL, "launch spec");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return answer_error(shim, number, errno, "socketpair");
  Exec* exec = allocate<Exec>();
  if (exec == nullptr) {
    close(pair[0]);
    close(pair[1]);
    return answer_error(shim, number, ENOMEM, "exec");
  }
  const int member = (mapped.spec.sandbox_flags & kHostPid) != 0 ? -1 : container->pidfd;
  int pidfd = -1;
  const pid_t pid = clone_beside(shim, 0, packet.fds[0], member, &pidfd);
  if (pid == 0) {
    close(pair[0]);
    ExecFds fds;
    fds.control = pair[1];
    fds.target = container->pidfd;
    fds.v1 = packet.fds + 1;
    fds.v1_count = request.v1;
    const int* next = packet.fds + 1 + request.v1;
    if ((request.stdio & 1) != 0) fds.input = *next++;
    if ((request.stdio & 2) != 0) fds.output = *next++;
    if ((request.stdio & 4) != 0) fds.error = *next++;
    run_exec(mapped.spec, request.argv.data(), request.argv.size(), request.tty, fds);
  }
  const int error_number = errno;
  close(pair[1]);
  if (pid < 0) {
    close(pair[0]);
    free(exec);
    return answer_error(shim, number, error_number, "exec: start a process");
  }
  close(pidfd);
  exec->number = number;
  exec->connection = shim.connection;
  exec->pid = pid;
  exec->control = pair[0];
  shim.execs[index] = exec;
  watch(shim, pair[0], Watch::exec, index);
}

void read_exec_control(Shim& shim, uint32_t index) {
  if (shim.execs[index] == nullptr) return;
  Exec& exec = *shim.execs[index];
  char note[1100];
  while (exec.control >= 0) {
    int fd = -1;
    const long size = receive_note(exec.control, note, sizeof note, &fd, false);
    if (size < 0) return;
    if (size == 0) {
      close_fd(exec.control);
      if (exec.failed) return;
      exec.started = true;
      answer_to(shim, exec.connection, Type::exec_started, exec.number, Started{exec.pid, 0, now_us()}, &exec.terminal,
                exec.terminal >= 0 ? 1 : 0);
      close_fd(exec.terminal);
    } else if (note[0] == kTerminal) {
      close_fd(exec.terminal);
      exec.terminal = fd;
    } else if (note[0] == kFailed) {
      exec.failed = true;  // said when the process is gone, and its cgroup empty
      exec.reason_size = static_cast<size_t>(size) - 1;
      memcpy(exec.reason, note + 1, exec.reason_size);
    }
  }
}

void exec_ended(Shim& shim, uint32_t index, int wait_status) {
  Exec& exec = *shim.execs[index];
  read_exec_control(shim, index);
  close_fd(exec.control);
  close_fd(exec.terminal);
  siginfo_t child;
  waitid(P_PID, static_cast<id_t>(exec.pid), &child, WEXITED | WNOHANG);  // its cgroup is empty when this is heard
  if (exec.failed) {
    answer_to(shim, exec.connection, Type::error, exec.number,
              Failure{0, std::string_view(exec.reason, exec.reason_size)});
  } else {
    answer_to(shim, exec.connection, Type::exec_exited, exec.number, ExecExited{wait_status});
  }
  shim.execs[index] = nullptr;
  free(&exec);
}

}  // namespace keelson::shim
