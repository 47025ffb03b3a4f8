#include "host/process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

namespace keelson::host {

Result<ProcessIdentity> identify(pid_t pid) {
  auto stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat) return fail(Error::Code::not_found, fmt::format("no process {}", pid));
  // The command's name stands in parentheses and may hold anything, parentheses too.
  const size_t after_name = stat->rfind(')');
  if (after_name == std::string::npos) return fail(fmt::format("/proc/{}/stat: unreadable", pid));
  std::string_view rest = std::string_view(*stat).substr(after_name + 2);
  if (!rest.empty() && (rest[0] == 'Z' || rest[0] == 'X')) {
    return fail(Error::Code::not_found, fmt::format("process {} has ended", pid));
  }
  for (int field = 3; field < 22; ++field) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return fail(fmt::format("/proc/{}/stat: too short", pid));
    rest.remove_prefix(space + 1);
  }
  ProcessIdentity identity{.pid = pid};
  std::from_chars(rest.data(), rest.data() + rest.size(), identity.start_time);
  return identity;
}

Result<Fd> open_process(const ProcessIdentity& identity) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0)));
  if (!pidfd) return sys_fail(fmt::format("pidfd_open {}", identity.pid));
  // The pid is pinned now; was it still the process we mean?
  auto now = identify(identity.pid);
  if (!now) return std::unexpected(now.error());
  if (*now != identity) return fail(Error::Code::not_found, fmt::format("process {} is another one now", identity.pid));
  return pidfd;
}

Result<std::string> boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 128);
  if (!text) return text;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text;
}

namespace {

constexpr int kFirstFreeFd = 64;  // the child's copies wait above the numbers it asks for

// Runs in the child between clone and exec: system calls only, no allocation (the
// parent has other threads, whose locks were copied as they stood).
[[noreturn]] void exec_child(const SpawnOptions& options, char* const* argv, char* const* environment, pid_t parent,
                             int report) {
  const auto fail_with = [&report](int error_number) {
    [[maybe_unused]] const auto written = ::write(report, &error_number, sizeof error_number);
    ::_exit(127);
  };
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (options.new_session) ::setsid();
  if (options.parent_death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, options.parent_death_signal) != 0) fail_with(errno);
    if (::getppid() != parent) ::_exit(127);  // it died before we could ask to be told
  }
  if (!options.working_directory.empty() && ::chdir(options.working_directory.c_str()) != 0) fail_with(errno);

  // First lift every descriptor above the targets, so that none is overwritten.
  std::array<int, 32> lifted;
  int highest = 2;
  for (size_t i = 0; i < options.fds.size(); ++i) {
    lifted[i] = ::fcntl(options.fds[i].first, F_DUPFD_CLOEXEC, kFirstFreeFd);
    if (lifted[i] < 0) fail_with(errno);
    highest = std::max(highest, options.fds[i].second);
  }
  const int moved_report = ::fcntl(report, F_DUPFD_CLOEXEC, kFirstFreeFd);
  if (moved_report < 0) fail_with(errno);
  report = moved_report;
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) {
    const bool given = std::ranges::any_of(options.fds, [fd](const auto& pair) { return pair.second == fd; });
    if (!given && (null < 0 || (null == fd ? ::fcntl(fd, F_SETFD, 0) : ::dup2(null, fd)) < 0)) fail_with(errno);
  }
  for (size_t i = 0; i < options.fds.size(); ++i) {
    if (::dup2(lifted[i], options.fds[i].second) < 0) fail_with(errno);
  }
  // Everything not asked for goes with the exec. (Gaps below `highest` are CLOEXEC anyway:
  // O_CLOEXEC always.)
  ::syscall(SYS_close_range, highest + 1, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  ::execve(argv[0], argv, environment);
  fail_with(errno);
  ::_exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

Result<Child> spawn(const SpawnOptions& options) {
  auto spawning = begin_spawn(options);
  if (!spawning) return std::unexpected(spawning.error());
  return end_spawn(std::move(*spawning));
}

Result<Spawning> begin_spawn(const SpawnOptions& options) {
  if (options.argv.empty()) return fail(Error::Code::invalid, "spawn: no command");
  if (options.fds.size() > 32) return fail(Error::Code::invalid, "spawn: too many descriptors");
  for (const auto& [ours, theirs] : options.fds) {
    if (theirs < 0 || theirs >= kFirstFreeFd) return fail(Error::Code::invalid, "spawn: descriptor out of range");
  }
  const auto argv = pointers(options.argv);
  const auto environment = pointers(options.environment);
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) return sys_fail("pipe");
  Fd report_read(report[0]);
  Fd report_write(report[1]);

  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (options.cgroup) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(*options.cgroup);
  }
  // A signal handler of ours must not run in the child: block all until it has reset them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t parent = ::getpid();
  auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  // systemd's RestrictNamespaces= hides clone3(2), whose flags a filter cannot see: clone(2) does as well.
  if (pid < 0 && errno == ENOSYS && !options.cgroup) {
    pid = static_cast<pid_t>(::syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, nullptr, &pidfd, nullptr, nullptr));
  }
  if (pid == 0) exec_child(options, argv.data(), environment.data(), parent, report_write.get());
  const int clone_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return sys_fail("clone " + options.argv[0], clone_error);
  return Spawning{.program = options.argv[0], .pid = pid, .pidfd = Fd(pidfd), .report = std::move(report_read)};
}

Result<Child> end_spawn(Spawning spawning) {
  Child child{.identity = {.pid = spawning.pid}, .pidfd = std::move(spawning.pidfd)};
  int error_number = 0;
  ssize_t size = 0;
  do {
    size = ::read(spawning.report.get(), &error_number, sizeof error_number);
  } while (size < 0 && errno == EINTR);
  if (size == sizeof error_number) {
    siginfo_t info{};
    ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()), &info, WEXITED);
    return sys_fail("exec " + spawning.program, error_number);
  }
  if (auto identity = identify(spawning.pid)) child.identity = *identity;  // else it has ended already: the pidfd tells
  return child;
}

Status send_signal(const Fd& pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) != 0) return sys_fail("send signal");
  return {};
}

Result<int> reap(const Fd& pidfd) {
  siginfo_t info{};
  if (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG) != 0) {
    return sys_fail("waitid");
  }
  if (info.si_pid == 0) return fail(Error::Code::unavailable, "still running");
  return info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0)
                                    : info.si_status | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

namespace {

struct Stream {
  Fd fd;
  std::string* into;
};

constexpr size_t kMostOutput = 1U << 20;

// Reads what is there; false at the end of the stream.
Result<bool> read_some(Stream& stream) {
  std::array<char, 16384> chunk;
  const ssize_t size = ::read(stream.fd.get(), chunk.data(), chunk.size());
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (size < 0) return sys_fail("read output");
  if (size == 0) return false;
  if (stream.into->size() + static_cast<size_t>(size) > kMostOutput) return fail("more than 1 MiB of output");
  stream.into->append(chunk.data(), static_cast<size_t>(size));
  return true;
}

}  // namespace

Result<Output> run(const SpawnOptions& options, std::string_view input, int timeout_ms) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0) return sys_fail("pipe");
  Fd in_read(in[0]);
  Fd in_write(in[1]);
  if (::pipe2(out.data(), O_CLOEXEC) != 0) return sys_fail("pipe");
  Fd out_read(out[0]);
  Fd out_write(out[1]);
  if (::pipe2(err.data(), O_CLOEXEC) != 0) return sys_fail("pipe");
  Fd err_read(err[0]);
  Fd err_write(err[1]);
  ::fcntl(in_write.get(), F_SETFL, O_NONBLOCK);

  SpawnOptions with_pipes = options;
  with_pipes.fds.insert(with_pipes.fds.end(), {{in_read.get(), 0}, {out_write.get(), 1}, {err_write.get(), 2}});
  auto child = spawn(with_pipes);
  if (!child) return std::unexpected(child.error());
  in_read.reset();
  out_write.reset();
  err_write.reset();

  Output output;
  Stream out_stream{std::move(out_read), &output.out};
  Stream err_stream{std::move(err_read), &output.err};
  const auto kill_and_fail = [&](Error error) -> Result<Output> {
    (void)send_signal(child->pidfd, SIGKILL);
    siginfo_t info{};
    ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child->pidfd.get()), &info, WEXITED);
    return std::unexpected(std::move(error).within(options.argv[0]));
  };

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  bool ended = false;
  // A grandchild may hold the pipes open after the child's end: the child's end counts.
  while (!ended) {
    if (input.empty()) in_write.reset();
    std::array<pollfd, 4> polled{{{child->pidfd.get(), POLLIN, 0},
                                  {out_stream.fd.get(), POLLIN, 0},
                                  {err_stream.fd.get(), POLLIN, 0},
                                  {in_write.get(), POLLOUT, 0}}};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return kill_and_fail({.message = fmt::format("not done after {} ms", timeout_ms)});
    if (::poll(polled.data(), polled.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
      return kill_and_fail(sys_fail("poll").error());
    }
    if ((polled[3].revents & (POLLOUT | POLLERR)) != 0) {
      const ssize_t size = ::write(in_write.get(), input.data(), input.size());
      if (size > 0) input.remove_prefix(static_cast<size_t>(size));
      if (size < 0 && errno != EAGAIN && errno != EINTR) input = {};
    }
    ended = polled[0].revents != 0;
    for (Stream* stream : {&out_stream, &err_stream}) {
      if (!stream->fd) continue;
      if (ended) ::fcntl(stream->fd.get(), F_SETFL, O_NONBLOCK);
      const short events = polled[stream == &out_stream ? 1 : 2].revents;
      while (events != 0 || ended) {
        const size_t before = stream->into->size();
        auto more = read_some(*stream);
        if (!more) return kill_and_fail(more.error());
        if (!*more) stream->fd.reset();
        if (!*more || !ended || stream->into->size() == before) break;
      }
    }
  }
  auto status = reap(child->pidfd);
  if (!status) return std::unexpected(status.error());
  output.wait_status = *status;
  return output;
}

}  // namespace keelson::host
