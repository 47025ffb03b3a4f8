// The two processes that a pod is made of beside the shim: the sandbox's init and
// a container's first process, from clone to exec.

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/kernel.h"
#include "agent/runtime/shim/socket.h"

namespace keelson::shim {

namespace {

// Through the host's /proc, which shows the namespaces of whoever opens a file.
void write_sysctls(int control, std::string_view sysctls) {
  const char* at = sysctls.data();
  const char* end = at + sysctls.size();
  while (at < end) {
    const char* name = at;
    at += strlen(at) + 1;
    if (at >= end) child_fail(control, EINVAL, "sysctl %s", name);
    const char* value = at;
    at += strlen(at) + 1;
    const int base = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int fd = sys_openat2(base, name, O_WRONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (fd < 0 || write(fd, value, strlen(value)) < 0) child_fail(control, errno, "sysctl %s = %s", name, value);
    close(fd);
    close(base);
  }
}

// The pod's own mount namespace: a tmpfs with the shared memory of its containers,
// its volumes in memory (/volumes/NAME, for root.cpp) and the place where each of them, in its own copy, puts its root.
// Copying it is faster than copying the host's, and nothing of the host is in it.
void build_pod_root(const SandboxRequest& request, int control, const int* volumes) {
  if (sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, 0, MS_PRIVATE) != 0) {
    child_fail(control, errno, "make mounts private");
  }
  int mounts[2];
  for (int& mount : mounts) {
    const int fs = sys_fsopen("tmpfs");
    if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", &mount == mounts ? "64k" : "64m") != 0 ||
        sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", &mount == mounts ? "0755" : "1777") != 0 ||
        sys_fsconfig(fs, FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0) {
      child_fail(control, errno, "create the pod's root");
    }
    mount = sys_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (mount < 0) child_fail(control, errno, "mount the pod's root");
    close(fs);
  }
  // Any directory will do to hang it onto before it becomes the root.
  const int place = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (place < 0 || sys_move_mount(mounts[0], place) != 0 || fchdir(mounts[0]) != 0 || mkdir("root", 0755) != 0 ||
      mkdir("shm", 01777) != 0 || mkdir("volumes", 0755) != 0) {
    child_fail(control, errno, "mount the pod's root");
  }
  const int shm = open("shm", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (sys_move_mount(mounts[1], shm) != 0) child_fail(control, errno, "mount the pod's shared memory");
  const int directory = open("volumes", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const char* name = request.volume_names.data();
  for (uint32_t i = 0; i < request.volumes; ++i, name += strlen(name) + 1) {
    if (mkdirat(directory, name, 0755) != 0) child_fail(control, errno, "volume %s", name);
    const int at = sys_openat2(directory, name, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (at < 0 || sys_move_mount(volumes[i], at) != 0) child_fail(control, errno, "mount volume %s", name);
    close(at);
  }
  close(directory);
  if (sys_mount_setattr(mounts[0], "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY) != 0 || sys_pivot_root(".", ".") != 0 ||
      umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
    child_fail(control, errno, "enter the pod's root");
  }
}

}  // namespace

void run_init(const SandboxRequest& request, int control, const int* v1, const int* volumes) {
  prctl(PR_SET_NAME, "podinit");
  child_begin(control, v1, request.v1);
  if (sethostname(request.hostname, strlen(request.hostname)) != 0) child_fail(control, errno, "set the hostname");
  write_sysctls(control, request.sysctls);
  if ((request.flags & kHostNetwork) == 0) {
    const int network = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    const int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (network < 0 || netlink < 0) child_fail(control, errno, "open the network namespace");
    if (!send_note(control, kNamespaces, "n", 1, network) || !send_note(control, kNamespaces, "l", 1, netlink))
      _exit(1);
  }
  build_pod_root(request, control, volumes);

  for (int capability = 0; capability < 64; ++capability) prctl(PR_CAPBSET_DROP, capability);
  constexpr uid_t kNobody = 65534;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, kNobody, kNobody, kNobody) != 0 ||
      syscall(SYS_setresuid, kNobody, kNobody, kNobody) != 0 || syscall(SYS_capset, &header, none) != 0 ||
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    child_fail(control, errno, "drop privileges");
  }
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  if (!send_note(control, kReady, "", 0)) _exit(1);
  setsid();
  sys_close_range(0, ~0U, 0);
  for (;;) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    sigset_t child_signal;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigwaitinfo(&child_signal, nullptr);
  }
}

void run_container(const LaunchSpec& spec, const LaunchFds& fds) {
  const int control = fds.control;
  child_begin(control, fds.v1, fds.v1_count);
  if (syscall(SYS_setns, fds.init, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    child_fail(control, errno, "join the pod's namespaces");
  }
  // The cgroup namespace's root is where the process is now: all cgroups are final.
  if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) != 0) child_fail(control, errno, "unshare");
  const Root root = build_root(spec, fds);

  BecomeOptions options;
  options.control = control;
  options.stdio[0] = fds.input;
  options.stdio[1] = fds.output;
  options.stdio[2] = fds.error;
  if ((spec.flags & kTty) != 0) {
    int master;
    int slave;
    open_terminal(control, root.dev, "pts/ptmx", &master, &slave);
    const int console = openat(root.dev, "console", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    const int place = sys_openat2(root.dev, "console", O_PATH, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    const int cover = sys_open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
    if (console < 0 || place < 0 || cover < 0 || sys_move_mount(cover, place) != 0) {
      child_fail(control, errno, "mount /dev/console");
    }
    if (!send_note(control, kTerminal, "", 0, master)) _exit(127);
    options.stdio[0] = options.stdio[1] = options.stdio[2] = slave;
    options.terminal = true;
  }
  if (options.stdio[0] < 0) {
    options.stdio[0] = openat(root.dev, "null", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    if (options.stdio[0] < 0) child_fail(control, errno, "open /dev/null");
  }
  for (int i = 1; i < 3; ++i) {
    if (options.stdio[i] < 0) options.stdio[i] = options.stdio[0];
  }
  if ((spec.flags & kReadOnlyRoot) != 0 && sys_mount_setattr(root.root, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY) != 0) {
    child_fail(control, errno, "make the root read-only");
  }
  if (fchdir(root.root) != 0 || sys_pivot_root(".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
    child_fail(control, errno, "enter the root");
  }

  options.argv = string_vector(control, spec.argv);
  options.environment = string_vector(control, spec.environment);
  if (!send_note(control, kCreated, "", 0)) _exit(127);
  char note[8];
  if (receive_note(control, note, sizeof note, nullptr, true) < 1 || note[0] != kStart) _exit(127);
  become(spec, options);
}

}  // namespace keelson::shim
