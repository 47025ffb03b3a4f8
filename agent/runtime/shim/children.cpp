#include "agent/runtime/shim/children.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime/shim/container_control.h"
#include "agent/runtime/shim/exec_control.h"
#include "agent/runtime/shim/kernel.h"
#include "agent/runtime/shim/process.h"
#include "agent/runtime/shim/sandbox_control.h"

namespace keelson::shim {

namespace {

void child_ended(Shim& shim, pid_t pid, int wait_status) {
  for (uint32_t i = 0; i < kMaxContainers; ++i) {
    if (shim.containers[i] != nullptr && shim.containers[i]->pid == pid) return container_ended(shim, i, wait_status);
  }
  for (uint32_t i = 0; i < kMaxExecs; ++i) {
    if (shim.execs[i] != nullptr && shim.execs[i]->pid == pid) return exec_ended(shim, i, wait_status);
  }
  if (pid == shim.init) {
    if (shim.init_control >= 0) read_init_control(shim);
    close_fd(shim.init_control);
    close_fd(shim.init_pidfd);
    shim.init = 0;
    // Without its init the sandbox is no more: the pod ends, and the agent hears of
    // it by our end. After a failed start the agent decides.
    shim.closing = shim.closing || shim.ready;
    shim.ready = false;
    kill_everything(shim);
  }
  // Everything else is an orphan that was given to us: only to be reaped.
}

}  // namespace

pid_t clone_beside(Shim& shim, uint64_t flags, int cgroup, int member, int* pidfd) {
  if (member >= 0 && setns(member, CLONE_NEWPID) != 0) return -1;
  const pid_t pid = sys_clone_into(flags, cgroup, pidfd);
  const int error_number = errno;
  if (pid != 0 && member >= 0 && setns(shim.own_pid_namespace, CLONE_NEWPID) != 0) {
    _exit(3);  // cannot be; but never go on in the wrong one
  }
  errno = error_number;
  return pid;
}

void kill_everything(Shim& shim) {
  for (const Container* container : shim.containers) {
    if (container == nullptr) continue;
    kill_cgroup(container->cgroup);
    sys_pidfd_send_signal(container->pidfd, SIGKILL);
  }
  for (const Exec* exec : shim.execs) {
    if (exec != nullptr) kill(exec->pid, SIGKILL);  // our child, not reaped: the pid is still its own
  }
  if (shim.init_pidfd >= 0) sys_pidfd_send_signal(shim.init_pidfd, SIGKILL);
}

bool childless(const Shim& shim) {
  if (shim.init > 0) return false;
  for (const Container* container : shim.containers) {
    if (container != nullptr) return false;
  }
  for (const Exec* exec : shim.execs) {
    if (exec != nullptr) return false;
  }
  return true;
}

void reap_children(Shim& shim) {
  signalfd_siginfo info;
  while (read(shim.signals, &info, sizeof info) == sizeof info) {
  }
  for (;;) {
    siginfo_t child{};
    // The exit is recorded before the process is reaped: whoever finds it gone finds the record.
    if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0 || child.si_pid == 0) break;
    const int wait_status = child.si_code == CLD_EXITED
                                ? (child.si_status & 0xff) << 8
                                : (child.si_status & 0x7f) | (child.si_code == CLD_DUMPED ? 0x80 : 0);
    const pid_t pid = child.si_pid;
    child_ended(shim, pid, wait_status);
    waitid(P_PID, static_cast<id_t>(pid), &child, WEXITED | WNOHANG);  // unless that was done
  }
  if (shim.closing && childless(shim)) _exit(0);
}

}  // namespace keelson::shim
