#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/kernel.h"
#include "agent/runtime/shim/socket.h"

namespace keelson::shim {

namespace {

constexpr rlim_t kMaxOpenFiles = 1u << 20;
constexpr long kDevptsMagic = 0x1cd1;

void limit_open_files(int control) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) child_fail(control, errno, "getrlimit");
  if (limit.rlim_max > kMaxOpenFiles) limit.rlim_max = kMaxOpenFiles;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) child_fail(control, errno, "setrlimit nofile");
}

void load_seccomp(int control, std::string_view program) {
  if (program.empty()) return;
  sock_fprog filter{};
  filter.len = static_cast<unsigned short>(program.size() / sizeof(sock_filter));
  // Instructions are aligned to 8 only by chance within the spec: copy them.
  void* copy = malloc(program.size());
  if (copy == nullptr) child_fail(control, ENOMEM, "load the seccomp profile");
  memcpy(copy, program.data(), program.size());
  filter.filter = static_cast<sock_filter*>(copy);
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    child_fail(control, errno, "load the seccomp profile");
  }
}

void set_capabilities(int control, uint64_t capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int half = 0; half < 2; ++half) {
    const auto bits = static_cast<uint32_t>(capabilities >> (32 * half));
    data[half].effective = data[half].permitted = bits;
    data[half].inheritable = 0;  // CVE-2022-29162
  }
  if (syscall(SYS_capset, &header, data) != 0) child_fail(control, errno, "set capabilities");
}

// The shim may have died before the signal was armed: then nobody holds the other end.
void check_parent(int control) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) child_fail(control, errno, "prctl PDEATHSIG");
  pollfd end{control, 0, 0};
  if (poll(&end, 1, 0) > 0 && (end.revents & (POLLHUP | POLLERR)) != 0) _exit(1);
}

// execve of the file, or of each candidate in the PATH of the environment the
// process will have. Only returns when all failed, with what to say.
[[noreturn]] void execute(int control, char* const* argv, char* const* environment) {
  const char* name = argv[0];
  if (strchr(name, '/') != nullptr) {
    execve(name, argv, environment);
    const int error_number = errno;
    child_fail(control, error_number, "exec \"%s\"", name);
  }
  const char* path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (char* const* variable = environment; *variable != nullptr; ++variable) {
    if (strncmp(*variable, "PATH=", 5) == 0) path = *variable + 5;
  }
  int error_number = ENOENT;
  while (*name != 0) {
    const size_t length = strcspn(path, ":");
    char candidate[4096];
    // A relative or empty element would mean the working directory: skipped.
    if (length > 0 && path[0] == '/' && length + strlen(name) + 2 < sizeof candidate) {
      memcpy(candidate, path, length);
      candidate[length] = '/';
      memcpy(candidate + length + 1, name, strlen(name) + 1);
      execve(candidate, argv, environment);
      if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) child_fail(control, errno, "exec \"%s\"", candidate);
      if (errno == EACCES) error_number = EACCES;
    }
    if (path[length] == 0) break;
    path += length + 1;
  }
  if (error_number == ENOENT) child_fail(control, 0, "exec \"%s\": executable file not found in $PATH", name);
  child_fail(control, error_number, "exec \"%s\"", name);
}

}  // namespace

void child_fail(int control, int error_number, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (size < 0) size = 0;
  if (static_cast<size_t>(size) >= sizeof text) size = sizeof text - 1;
  if (error_number != 0 && static_cast<size_t>(size) < sizeof text - 1) {
    const int more = snprintf(text + size, sizeof text - size, ": %s", strerror(error_number));
    if (more > 0) size += more;
    if (static_cast<size_t>(size) >= sizeof text) size = sizeof text - 1;
  }
  send_note(control, kFailed, text, static_cast<size_t>(size));
  _exit(127);
}

void child_begin(int control, const int* v1, uint32_t v1_count) {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < 65; ++signal) sigaction(signal, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  check_parent(control);
  for (uint32_t i = 0; i < v1_count; ++i) {
    if (write(v1[i], "0", 1) != 1) child_fail(control, errno, "join the cgroup");
  }
}

char** string_vector(int control, const Strings& strings, const char* extra) {
  auto** result = static_cast<char**>(malloc((strings.count + 2) * sizeof(char*)));
  if (result == nullptr) child_fail(control, ENOMEM, "arguments");
  Reader items = strings.items;
  uint32_t count = 0;
  while (count < strings.count) result[count++] = const_cast<char*>(items.c_string());
  if (extra != nullptr) result[count++] = const_cast<char*>(extra);
  result[count] = nullptr;
  return result;
}

void open_terminal(int control, int ptmx_directory, const char* ptmx, int* master, int* slave) {
  // What the container may have put in place of its ptmx is not followed: it must
  // be the multiplexer's device on a devpts (CVE-2025-52565).
  *master = sys_openat2(ptmx_directory, ptmx, O_RDWR | O_NOCTTY, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  if (*master < 0) child_fail(control, errno, "open a terminal");
  struct stat status;
  struct statfs system;
  if (fstat(*master, &status) != 0 || fstatfs(*master, &system) != 0 || system.f_type != kDevptsMagic ||
      !S_ISCHR(status.st_mode) || status.st_rdev != makedev(5, 2)) {
    child_fail(control, 0, "open a terminal: /dev/pts/ptmx is not the kernel's");
  }
  int unlock = 0;
  if (ioctl(*master, TIOCSPTLCK, &unlock) != 0) child_fail(control, errno, "unlock the terminal");
  *slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) child_fail(control, errno, "open the terminal");
}

void become(const LaunchSpec& spec, BecomeOptions options) {
  int control = options.control;
  limit_open_files(control);
  umask(022);

  // Everything else goes; what stays is 0, 1, 2 and the control socket as 3.
  int lifted[4] = {options.stdio[0], options.stdio[1], options.stdio[2], control};
  for (int& fd : lifted) {
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    if (fd < 0) child_fail(control, errno, "standard streams");
  }
  control = lifted[3];
  for (int i = 0; i < 3; ++i) {
    if (dup2(lifted[i], i) < 0) child_fail(control, errno, "standard streams");
    struct stat status;
    // A process that is not root reopens /dev/stdout: the pipe must be its own.
    if (spec.uid != 0 && fstat(i, &status) == 0 && status.st_uid != spec.uid &&
        (S_ISFIFO(status.st_mode) || (S_ISCHR(status.st_mode) && options.terminal))) {
      if (fchown(i, spec.uid, static_cast<gid_t>(-1)) != 0) child_fail(control, errno, "standard streams: chown");
    }
  }
  if (dup3(control, 3, O_CLOEXEC) < 0) child_fail(control, errno, "standard streams");
  control = 3;
  if (sys_close_range(4, ~0U, 0) != 0) child_fail(control, errno, "close_range");

  if (setsid() < 0 && errno != EPERM) child_fail(control, errno, "setsid");
  if (options.terminal && ioctl(0, TIOCSCTTY, 0) != 0) child_fail(control, errno, "controlling terminal");

  for (int capability = 0; capability < 64; ++capability) {
    if ((spec.capabilities >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability) != 0 && errno != EINVAL) child_fail(control, errno, "drop capability");
  }
  // Without no_new_privs loading a filter needs CAP_SYS_ADMIN, which is about to go; the
  // profile admits the steps that remain. With it, loading is the last step of all.
  const bool no_new_privileges = (spec.flags & kNoNewPrivileges) != 0;
  if (!no_new_privileges) load_seccomp(control, spec.seccomp);

  if (prctl(PR_SET_KEEPCAPS, 1) != 0) child_fail(control, errno, "prctl KEEPCAPS");
  const size_t group_count = spec.groups.size() / sizeof(gid_t);
  auto* groups = static_cast<gid_t*>(malloc(spec.groups.size() + 1));
  if (groups == nullptr) child_fail(control, ENOMEM, "supplemental groups");
  memcpy(groups, spec.groups.data(), spec.groups.size());
  if (syscall(SYS_setgroups, group_count, groups) != 0) child_fail(control, errno, "set supplemental groups");
  if (syscall(SYS_setresgid, spec.gid, spec.gid, spec.gid) != 0) {
    child_fail(control, errno, "set group id %u", spec.gid);
  }
  if (syscall(SYS_setresuid, spec.uid, spec.uid, spec.uid) != 0) child_fail(control, errno, "set user id %u", spec.uid);

  // As the user, and verified to be within the root (CVE-2024-21626).
  char directory[4096];
  if (chdir(spec.directory) != 0) child_fail(control, errno, "chdir to working directory \"%s\"", spec.directory);
  if (syscall(SYS_getcwd, directory, sizeof directory) < 0 || directory[0] != '/') {
    child_fail(control, 0, "working directory \"%s\" is outside of the container's root", spec.directory);
  }

  set_capabilities(control, spec.capabilities);
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    child_fail(control, errno, "clear ambient capabilities");
  }
  check_parent(control);  // the change of ids disarmed it
  if (no_new_privileges) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) child_fail(control, errno, "prctl NO_NEW_PRIVS");
    load_seccomp(control, spec.seccomp);
  }
  execute(control, options.argv, options.environment);
}

void run_exec(const LaunchSpec& spec, const char* argv, size_t argv_size, bool tty, const ExecFds& fds) {
  child_begin(fds.control, fds.v1, fds.v1_count);
  if (syscall(SYS_setns, fds.target, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) != 0) {
    child_fail(fds.control, errno, "join the container");
  }
  if (chdir("/") != 0) child_fail(fds.control, errno, "chdir to the container's root");
  BecomeOptions options;
  options.control = fds.control;
  uint32_t count = 0;
  for (size_t i = 0; i < argv_size; ++i) count += argv[i] == 0;
  auto** pointers = static_cast<char**>(malloc((count + 1) * sizeof(char*)));
  if (pointers == nullptr) child_fail(fds.control, ENOMEM, "arguments");
  for (uint32_t i = 0; i < count; ++i) {
    pointers[i] = const_cast<char*>(argv);
    argv += strlen(argv) + 1;
  }
  pointers[count] = nullptr;
  options.argv = pointers;
  options.environment = string_vector(fds.control, spec.environment, tty ? "TERM=xterm" : nullptr);
  if (tty) {
    const int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int master;
    int slave;
    open_terminal(fds.control, root, "dev/pts/ptmx", &master, &slave);
    if (!send_note(fds.control, kTerminal, "", 0, master)) _exit(127);
    options.stdio[0] = options.stdio[1] = options.stdio[2] = slave;
    options.terminal = true;
  } else {
    int null = -1;
    const int given[3] = {fds.input, fds.output, fds.error};
    for (int i = 0; i < 3; ++i) {
      options.stdio[i] = given[i];
      if (given[i] >= 0) continue;
      if (null < 0) {
        null = sys_openat2(AT_FDCWD, "/dev/null", O_RDWR | O_NOCTTY, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
        struct stat status;
        if (null < 0 || fstat(null, &status) != 0 || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) {
          child_fail(fds.control, 0, "/dev/null of the container is not the kernel's");
        }
      }
      options.stdio[i] = null;
    }
  }
  // The capability set, ids and seccomp profile are the container's own.
  become(spec, options);
}

}  // namespace keelson::shim
