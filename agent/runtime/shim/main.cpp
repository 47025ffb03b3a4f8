// podshim: the parent of one pod's processes.
//
// One thread, one loop, no allocation to speak of. It is started by the agent with
// the descriptors of protocol.h (InheritedFd) and the pod's uid as its argument,
// lives in a cgroup of its own beside the pod's, and outlives the agent, which
// connects to its socket again. It starts what it is told to, writes the logs,
// puts every exit on disk before it reaps, and ends when told to and childless.
//
// Nothing here is done on behalf of a container's content: names, paths and
// profiles are the agent's; the only input from containers is what they log, their
// termination message, and when they end.

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/runtime/shim/agent.h"
#include "agent/runtime/shim/children.h"
#include "agent/runtime/shim/container_control.h"
#include "agent/runtime/shim/exec_control.h"
#include "agent/runtime/shim/sandbox_control.h"

namespace keelson::shim {
namespace {

[[noreturn]] void run(Shim& shim) {
  epoll_event events[32];
  for (;;) {
    const int count = epoll_wait(shim.epoll, events, 32, -1);
    for (int i = 0; i < count; ++i) {
      const auto index = static_cast<uint32_t>(events[i].data.u64);
      switch (static_cast<Watch>(events[i].data.u64 >> 32)) {
        case Watch::listen:
          accept_agent(shim);
          break;
        case Watch::agent:
          read_agent(shim);
          break;
        case Watch::children:
          reap_children(shim);
          break;
        case Watch::init:
          if (shim.init_control >= 0) read_init_control(shim);
          break;
        case Watch::control:
          read_control(shim, index);
          break;
        case Watch::output:
        case Watch::error:
          read_stream(shim, index, static_cast<Watch>(events[i].data.u64 >> 32) == Watch::error);
          break;
        case Watch::exec:
          read_exec_control(shim, index);
          break;
      }
    }
  }
}

void set_title(int argc, char** argv) {
  prctl(PR_SET_NAME, "podshim");
  // Over the path of a memfd that the agent ran us from.
  char* end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
  const auto room = static_cast<size_t>(end - argv[0]);
  char title[128];
  snprintf(title, sizeof title, "podshim %s", argv[argc - 1]);
  memset(argv[0], 0, room);
  strncpy(argv[0], title, room - 1);
}

int start(int argc, char** argv) {
  static Shim shim;
  if (argc != 2) {
    static constexpr char kUsage[] = "podshim is started by keelson-agent\n";
    [[maybe_unused]] const auto written = write(2, kUsage, sizeof kUsage - 1);
    return 2;
  }
  close(kExecutableFd);
  for (const int fd : {kListenFd, kJournalFd, kJournalDirFd}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return 2;
  }
  set_title(argc, argv);
  // Nobody in a container may look into us or our children before their exec.
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  umask(022);
  if (chdir("/") != 0) return 1;
  const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {  // not allowed everywhere
    [[maybe_unused]] const auto written = write(score, "-998", 4);
    close(score);
  }
  const int boot = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  const ssize_t size = boot >= 0 ? read(boot, shim.boot_id, 36) : -1;
  if (size != 36) return 1;
  close(boot);
  shim.own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  sigset_t signals;
  sigfillset(&signals);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  shim.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  shim.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (shim.own_pid_namespace < 0 || shim.signals < 0 || shim.epoll < 0) return 1;
  journal_open(shim.journal, kJournalFd, kJournalDirFd);
  watch(shim, kListenFd, Watch::listen);
  watch(shim, shim.signals, Watch::children);
  run(shim);
}

}  // namespace
}  // namespace keelson::shim

int main(int argc, char** argv) { return keelson::shim::start(argc, argv); }
