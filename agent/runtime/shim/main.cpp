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

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <new>

#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/journal.h"
#include "agent/runtime/shim/kernel.h"
#include "agent/runtime/shim/log.h"
#include "agent/runtime/shim/socket.h"

namespace keelson::shim {
namespace {

enum class Watch : uint32_t { listen, agent, children, init, control, output, error, exec };

struct Container {
  bool created = false;  // "created" was heard, "start" was said
  bool failed = false;   // it said why; the exit is still to come
  char name[kMaxName + 1];
  uint32_t attempt = 0;
  uint32_t number = 0;      // of the request to answer; 0: answered
  uint32_t connection = 0;  // by which it was asked for
  pid_t pid = 0;
  uint64_t start_time = 0;
  int64_t started_at_us = 0;  // 0 until execve succeeded
  int pidfd = -1, control = -1, spec = -1, cgroup = -1, events = -1, termination = -1, input = -1;
  uint64_t oom_kills = 0;  // before it started
  uint32_t layer_count = 0;
  size_t reason_size = 0;
  char reason[1100];
  LogFile log;
  LogStream output, error;
  int layers[kMaxLayers];  // last: what is not touched is not ours
};

struct Exec {
  bool started = false, failed = false;
  uint32_t number = 0, connection = 0;
  pid_t pid = 0;
  int control = -1, terminal = -1;
  size_t reason_size = 0;
  char reason[1100];
};

struct Shim {
  int epoll = -1, agent = -1, signals = -1;
  int own_pid_namespace = -1;
  char boot_id[40] = "";
  Journal journal;
  uint32_t sandbox_flags = 0;
  pid_t init = 0;
  int init_pidfd = -1, init_control = -1, network = -1, netlink = -1;
  bool ready = false;       // the sandbox stands
  bool closing = false;     // end when there is no child left
  uint32_t connection = 0;  // counts the agents that came
  uint32_t sandbox_number = 0;
  // Allocated as long as there is a process: memory that is not touched is not ours.
  Container* containers[kMaxContainers] = {};
  Exec* execs[kMaxExecs] = {};
};

Shim shim;

int64_t now_us() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

void watch(int fd, Watch kind, uint32_t index = 0) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint64_t>(kind) << 32 | index;
  epoll_ctl(shim.epoll, EPOLL_CTL_ADD, fd, &event);
}

// ---- the agent ------------------------------------------------------------------

void drop_agent() { close_fd(shim.agent); }

template <typename Message>
void answer(Type type, uint32_t number, const Message& message, const int* fds = nullptr, size_t fd_count = 0) {
  if (shim.agent < 0) return;
  // An agent that does not read is let go: it connects again and reads the journal.
  if (!send_message(shim.agent, type, number, message, fds, fd_count)) drop_agent();
}

// What was asked for over a connection that is gone has no number in the new one.
template <typename Message>
void answer_to(uint32_t connection, Type type, uint32_t number, const Message& message, const int* fds = nullptr,
               size_t fd_count = 0) {
  if (connection == shim.connection) answer(type, number, message, fds, fd_count);
}

void answer_done(uint32_t number) {
  if (shim.agent >= 0 && !send_packet(shim.agent, Type::done, number, nullptr, 0)) drop_agent();
}

void answer_error(uint32_t number, int error_number, const char* text, size_t size) {
  answer(Type::error, number, Failure{error_number, std::string_view(text, size)});
}

void answer_error(uint32_t number, int error_number, const char* what) {
  char text[256];
  const char* reason = error_number != 0 ? strerrordesc_np(error_number) : nullptr;
  snprintf(text, sizeof text, "%s%s%s", what, reason != nullptr ? ": " : "", reason != nullptr ? reason : "");
  answer_error(number, error_number, text, strlen(text));
}

// ---- processes -------------------------------------------------------------------

uint64_t process_start_time(pid_t pid) {
  char path[40];
  char text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return 0;
  text[size] = 0;
  const char* at = strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 22; ++field) at = strchr(at + 1, ' ');
  return at != nullptr ? strtoull(at + 1, nullptr, 10) : 0;
}

uint64_t read_oom_kills(int events) {
  char text[1024];
  const ssize_t size = events >= 0 ? pread(events, text, sizeof text - 1, 0) : -1;
  if (size <= 0) return 0;
  text[size] = 0;
  const char* at = text;
  while (at != nullptr) {
    if (strncmp(at, "oom_kill ", 9) == 0) return strtoull(at + 9, nullptr, 10);
    at = strchr(at, '\n');
    if (at != nullptr) ++at;
  }
  return 0;
}

void kill_cgroup(int cgroup) {
  const int fd = cgroup >= 0 ? openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  [[maybe_unused]] const auto written = write(fd, "1", 1);
  close(fd);
}

// Maps a launch spec; null when it is not sound.
struct MappedSpec {
  void* data = MAP_FAILED;
  size_t size = 0;
  LaunchSpec spec;
  explicit MappedSpec(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size <= 0 || static_cast<uint64_t>(status.st_size) > kMaxLaunchSpec)
      return;
    size = static_cast<size_t>(status.st_size);
    data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return;
    Reader in(static_cast<const char*>(data), size);
    if (!spec.decode(in)) release();
  }
  ~MappedSpec() { release(); }
  MappedSpec(const MappedSpec&) = delete;
  MappedSpec& operator=(const MappedSpec&) = delete;
  bool sound() const { return data != MAP_FAILED; }
  void release() {
    if (data != MAP_FAILED) munmap(data, size);
    data = MAP_FAILED;
  }
};

Container* find(std::string_view name, uint32_t attempt) {
  for (Container* container : shim.containers) {
    if (container != nullptr && container->attempt == attempt && name == container->name) return container;
  }
  return nullptr;
}

JournalEntry entry_of(const Container& container, uint8_t kind) {
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

// Room for one more of them, with its defaults; null when there is none.
template <typename T>
T* allocate() {
  void* memory = malloc(sizeof(T));
  return memory != nullptr ? new (memory) T() : nullptr;
}

void release(uint32_t index) {
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

void kill_everything() {
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

bool childless() {
  if (shim.init > 0) return false;
  for (const Container* container : shim.containers) {
    if (container != nullptr) return false;
  }
  for (const Exec* exec : shim.execs) {
    if (exec != nullptr) return false;
  }
  return true;
}

// ---- the sandbox ------------------------------------------------------------------

void answer_sandbox(Type type, uint32_t number) {
  char buffer[kMaxContainers * (kMaxName + 64) + 64];
  Writer out(buffer, sizeof buffer);
  SandboxState state{.ready = shim.ready, .init_pid = shim.init};
  for (const Container* container : shim.containers) state.containers += container != nullptr && type == Type::welcome;
  state.encode(out);
  for (const Container* container : shim.containers) {
    if (container == nullptr || type != Type::welcome) continue;
    ContainerState{container->name, container->attempt, container->pid, container->start_time, container->started_at_us}
        .encode(out);
  }
  const int fds[2] = {shim.network, shim.netlink};
  if (!send_packet(shim.agent, type, number, buffer, out.size(), fds, shim.ready && shim.network >= 0 ? 2 : 0)) {
    drop_agent();
  }
}

void handle_sandbox(Packet& packet) {
  SandboxRequest request;
  Reader in(packet.body, packet.header.size);
  const uint32_t number = packet.header.number;
  if (!request.decode(in) || packet.fd_count != 1 + request.v1 + request.volumes) {
    return answer_error(number, EINVAL, "sandbox");
  }
  if (shim.ready) return answer_sandbox(Type::sandbox_ready, number);
  if (shim.init > 0) return answer_error(number, EALREADY, "sandbox");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return answer_error(number, errno, "socketpair");
  uint64_t flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS;
  if ((request.flags & kHostNetwork) == 0) flags |= CLONE_NEWNET;
  if ((request.flags & kHostIpc) == 0) flags |= CLONE_NEWIPC;
  const pid_t pid = sys_clone_into(flags, packet.fds[0], &shim.init_pidfd);
  if (pid == 0) {
    close(pair[0]);
    run_init(request, pair[1], packet.fds + 1, packet.fds + 1 + request.v1);
  }
  close(pair[1]);
  if (pid < 0) {
    const int error_number = errno;
    close(pair[0]);
    return answer_error(number, error_number, "create the sandbox");
  }
  shim.sandbox_flags = request.flags;
  shim.init = pid;
  shim.init_control = pair[0];
  shim.sandbox_number = number;
  watch(pair[0], Watch::init);
}

void read_init_control() {
  char note[1100];
  for (;;) {
    int fd = -1;
    const long size = receive_note(shim.init_control, note, sizeof note, &fd, false);
    if (size < 0) return;
    if (size == 0) {
      close_fd(shim.init_control);
      if (shim.sandbox_number != 0 && !shim.ready) {
        answer_error(shim.sandbox_number, 0, "the sandbox was killed while it was set up");
        shim.sandbox_number = 0;
      }
      return;
    }
    if (note[0] == kNamespaces && size == 2) {
      (note[1] == 'n' ? shim.network : shim.netlink) = fd;
    } else if (note[0] == kReady) {
      shim.ready = true;
      answer_sandbox(Type::sandbox_ready, shim.sandbox_number);
      shim.sandbox_number = 0;
    } else if (note[0] == kFailed) {
      answer_error(shim.sandbox_number, 0, note + 1, static_cast<size_t>(size) - 1);
      shim.sandbox_number = 0;
    }
  }
}

// ---- containers --------------------------------------------------------------------

// A process that is born into the PID namespace of `member` (-1: ours).
pid_t clone_beside(uint64_t flags, int cgroup, int member, int* pidfd) {
  if (member >= 0 && setns(member, CLONE_NEWPID) != 0) return -1;
  const pid_t pid = sys_clone_into(flags, cgroup, pidfd);
  const int error_number = errno;
  if (pid != 0 && member >= 0 && setns(shim.own_pid_namespace, CLONE_NEWPID) != 0) {
    _exit(3);  // cannot be; but never go on in the wrong one
  }
  errno = error_number;
  return pid;
}

bool make_pipe(int& reader, int& writer) {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) return false;
  reader = pair[0];
  writer = pair[1];
  return true;
}

void handle_start(Packet& packet) {
  const uint32_t number = packet.header.number;
  StartRequest request;
  Reader in(packet.body, packet.header.size);
  if (!request.decode(in)) return answer_error(number, EINVAL, "start");
  const size_t fixed = 5 + (request.termination_file ? 1 : 0);
  const size_t first_layer = fixed + request.v1 + request.mounts;
  if (packet.fd_count != first_layer + request.layers) return answer_error(number, EINVAL, "start: descriptors");
  if (!shim.ready || shim.closing || shim.init <= 0) return answer_error(number, ENOENT, "the sandbox is gone");
  uint32_t index = kMaxContainers;
  for (uint32_t i = 0; i < kMaxContainers; ++i) {
    const Container* other = shim.containers[i];
    if (other == nullptr && index == kMaxContainers) index = i;
    if (other != nullptr && request.name == other->name) {
      return answer_error(number, EEXIST, "the container still runs");
    }
  }
  if (index == kMaxContainers) return answer_error(number, EAGAIN, "too many containers in one pod");
  MappedSpec mapped(packet.fds[0]);
  if (!mapped.sound() || mapped.spec.descriptors != request.mounts) return answer_error(number, EINVAL, "launch spec");

  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return answer_error(number, errno, "socketpair");
  shim.containers[index] = allocate<Container>();
  if (shim.containers[index] == nullptr) {
    close(pair[0]);
    close(pair[1]);
    return answer_error(number, ENOMEM, "start");
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
  const pid_t pid = piped ? clone_beside(flags, packet.fds[3], member, &container.pidfd) : -1;
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
    release(index);
    return answer_error(number, error_number, "start a process");
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
  // Its identity, on disk before it runs anything; meanwhile it sets itself up.
  auto entry = entry_of(container, JournalEntry::kStarted);
  entry.started_at_us = now_us();
  journal_append(shim.journal, entry);
  watch(container.control, Watch::control, index);
  for (LogStream* stream : {&container.output, &container.error}) {
    if (stream->fd < 0) continue;
    fcntl(stream->fd, F_SETFL, O_NONBLOCK);
    watch(stream->fd, stream->error ? Watch::error : Watch::output, index);
  }
}

void read_control(uint32_t index) {
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
      answer_to(container.connection, Type::started, container.number,
                Started{container.pid, container.start_time, container.started_at_us});
      container.number = 0;
      return;
    }
    if (note[0] == kTerminal && fd >= 0) {
      container.output.fd = fd;
      fcntl(fd, F_SETFL, O_NONBLOCK);
      watch(fd, Watch::output, index);
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

void drain(LogFile& log, LogStream& stream) {
  // Bounded: something outside of the container may still hold the other end.
  for (int i = 0; i < 64 && stream.fd >= 0; ++i) {
    if (log_read(log, stream) != LogRead::more) break;
  }
}

void container_ended(uint32_t index, int wait_status) {
  static char termination[kMaxTermination];
  Container& container = *shim.containers[index];
  read_control(index);
  kill_cgroup(container.cgroup);  // what shared a PID namespace with others, and what exec started
  drain(container.log, container.output);
  drain(container.log, container.error);
  const bool ran = container.started_at_us != 0;
  auto entry = entry_of(container, ran ? JournalEntry::kExited : JournalEntry::kFailed);
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
    answer(Type::exited, 0, entry);
  } else {
    answer_error(container.number, 0, entry.text.data(), entry.text.size());
  }
  release(index);
}

void handle_signal(const Packet& packet) {
  SignalRequest request;
  Reader in(packet.body, packet.header.size);
  const uint32_t number = packet.header.number;
  if (!request.decode(in)) return answer_error(number, EINVAL, "signal");
  Container* container = find(request.name, request.attempt);
  if (container == nullptr) return answer_error(number, ESRCH, "the container does not run");
  if (request.signal == SIGKILL) kill_cgroup(container->cgroup);
  if (sys_pidfd_send_signal(container->pidfd, request.signal) != 0 && errno != ESRCH) {
    return answer_error(number, errno, "signal");
  }
  answer_done(number);
}

// ---- exec ----------------------------------------------------------------------------

void handle_exec(Packet& packet) {
  const uint32_t number = packet.header.number;
  ExecRequest request;
  Reader in(packet.body, packet.header.size);
  if (!request.decode(in)) return answer_error(number, EINVAL, "exec");
  const size_t streams = static_cast<size_t>(__builtin_popcount(request.stdio));
  if (packet.fd_count != 1 + request.v1 + streams) return answer_error(number, EINVAL, "exec: descriptors");
  Container* container = find(request.name, request.attempt);
  if (container == nullptr || container->started_at_us == 0) {
    return answer_error(number, ESRCH, "the container does not run");
  }
  uint32_t index = 0;
  while (index < kMaxExecs && shim.execs[index] != nullptr) ++index;
  if (index == kMaxExecs) return answer_error(number, EAGAIN, "too many commands run in this pod");
  MappedSpec mapped(container->spec);
  if (!mapped.sound()) return answer_error(number, EINVAL, "launch spec");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return answer_error(number, errno, "socketpair");
  Exec* exec = allocate<Exec>();
  if (exec == nullptr) {
    close(pair[0]);
    close(pair[1]);
    return answer_error(number, ENOMEM, "exec");
  }
  const int member = (mapped.spec.sandbox_flags & kHostPid) != 0 ? -1 : container->pidfd;
  int pidfd = -1;
  const pid_t pid = clone_beside(0, packet.fds[0], member, &pidfd);
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
    return answer_error(number, error_number, "exec: start a process");
  }
  close(pidfd);
  exec->number = number;
  exec->connection = shim.connection;
  exec->pid = pid;
  exec->control = pair[0];
  shim.execs[index] = exec;
  watch(pair[0], Watch::exec, index);
}

void read_exec_control(uint32_t index) {
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
      answer_to(exec.connection, Type::exec_started, exec.number, Started{exec.pid, 0, now_us()}, &exec.terminal,
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

// ---- the loop -----------------------------------------------------------------------

void child_ended(pid_t pid, int wait_status) {
  for (uint32_t i = 0; i < kMaxContainers; ++i) {
    if (shim.containers[i] != nullptr && shim.containers[i]->pid == pid) return container_ended(i, wait_status);
  }
  for (uint32_t i = 0; i < kMaxExecs; ++i) {
    if (shim.execs[i] == nullptr || shim.execs[i]->pid != pid) continue;
    Exec& exec = *shim.execs[i];
    read_exec_control(i);
    close_fd(exec.control);
    close_fd(exec.terminal);
    siginfo_t child;
    waitid(P_PID, static_cast<id_t>(pid), &child, WEXITED | WNOHANG);  // its cgroup is empty when this is heard
    if (exec.failed) {
      answer_to(exec.connection, Type::error, exec.number, Failure{0, std::string_view(exec.reason, exec.reason_size)});
    } else {
      answer_to(exec.connection, Type::exec_exited, exec.number, ExecExited{wait_status});
    }
    shim.execs[i] = nullptr;
    free(&exec);
    return;
  }
  if (pid == shim.init) {
    if (shim.init_control >= 0) read_init_control();
    close_fd(shim.init_control);
    close_fd(shim.init_pidfd);
    shim.init = 0;
    // Without its init the sandbox is no more: the pod ends, and the agent hears of
    // it by our end. After a failed start the agent decides.
    shim.closing = shim.closing || shim.ready;
    shim.ready = false;
    kill_everything();
  }
  // Everything else is an orphan that was given to us: only to be reaped.
}

void reap_children() {
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
    child_ended(pid, wait_status);
    waitid(P_PID, static_cast<id_t>(pid), &child, WEXITED | WNOHANG);  // unless that was done
  }
  if (shim.closing && childless()) _exit(0);
}

void accept_agent() {
  const int fd = accept4(kListenFd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0) {
    close(fd);
    return;
  }
  drop_agent();  // the newest agent is the agent
  shim.agent = fd;
  ++shim.connection;
  shim.sandbox_number = 0;
  watch(fd, Watch::agent);
}

void read_agent() {
  static Packet packet;
  while (shim.agent >= 0) {
    switch (receive_packet(shim.agent, packet)) {
      case Received::nothing:
        return;
      case Received::closed:
        return drop_agent();
      case Received::message:
        break;
    }
    switch (static_cast<Type>(packet.header.type)) {
      case Type::hello:
        answer_sandbox(Type::welcome, packet.header.number);
        break;
      case Type::sandbox:
        handle_sandbox(packet);
        break;
      case Type::start:
        handle_start(packet);
        break;
      case Type::signal:
        handle_signal(packet);
        break;
      case Type::exec:
        handle_exec(packet);
        break;
      case Type::shutdown:
        shim.closing = true;
        kill_everything();
        answer_done(packet.header.number);
        if (childless()) _exit(0);
        break;
      default:
        answer_error(packet.header.number, EOPNOTSUPP, "this shim does not know the request");
    }
    packet.close_fds();
  }
}

void read_stream(uint32_t index, bool error) {
  if (shim.containers[index] == nullptr) return;
  Container& container = *shim.containers[index];
  LogStream& stream = error ? container.error : container.output;
  if (stream.fd < 0) return;
  if (log_read(container.log, stream) == LogRead::ended) log_finish(container.log, stream);
}

[[noreturn]] void run() {
  epoll_event events[32];
  for (;;) {
    const int count = epoll_wait(shim.epoll, events, 32, -1);
    for (int i = 0; i < count; ++i) {
      const auto index = static_cast<uint32_t>(events[i].data.u64);
      switch (static_cast<Watch>(events[i].data.u64 >> 32)) {
        case Watch::listen:
          accept_agent();
          break;
        case Watch::agent:
          read_agent();
          break;
        case Watch::children:
          reap_children();
          break;
        case Watch::init:
          if (shim.init_control >= 0) read_init_control();
          break;
        case Watch::control:
          read_control(index);
          break;
        case Watch::output:
        case Watch::error:
          read_stream(index, static_cast<Watch>(events[i].data.u64 >> 32) == Watch::error);
          break;
        case Watch::exec:
          read_exec_control(index);
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
  watch(kListenFd, Watch::listen);
  watch(shim.signals, Watch::children);
  run();
}

}  // namespace
}  // namespace keelson::shim

int main(int argc, char** argv) { return keelson::shim::start(argc, argv); }
