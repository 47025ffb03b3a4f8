#include "agent/images/puller/sandbox.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "agent/images/landlock.h"
#include "host/fd.h"

namespace keelson::images {
namespace {

using host::fail;
using host::Fd;
using host::Status;
using host::sys_fail;

// Newer than Debian 12's headers (linux/landlock.h of Linux 6.10).
constexpr uint64_t kTruncate = 1ull << 14;                                    // ABI 3
constexpr uint64_t kIoctlDev = 1ull << 15;                                    // ABI 5
constexpr uint64_t kBindTcp = 1ull << 0, kConnectTcp = 1ull << 1;             // ABI 4
constexpr uint64_t kScopeAbstractUnix = 1ull << 0, kScopeSignal = 1ull << 1;  // ABI 6
struct RulesetAttributes {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kAllFirst = (1ull << 13) - 1;  // ABI 1

// What libcurl, OpenSSL and glibc's resolver read. Missing ones are passed over.
constexpr std::array kSystemFiles = {"/etc/ssl",
                                     "/etc/ca-certificates",
                                     "/usr/share/ca-certificates",
                                     "/usr/local/share/ca-certificates",
                                     "/usr/lib/ssl",
                                     "/etc/resolv.conf",
                                     "/run/systemd/resolve",
                                     "/run/resolvconf",
                                     "/etc/hosts",
                                     "/etc/nsswitch.conf",
                                     "/etc/host.conf",
                                     "/etc/gai.conf",
                                     "/etc/services",
                                     "/etc/ld.so.cache",
                                     "/lib",
                                     "/lib64",
                                     "/usr/lib",
                                     "/usr/lib64",
                                     "/dev/urandom",
                                     "/dev/null",
                                     "/etc/localtime",
                                     "/usr/share/zoneinfo",
                                     "/proc/sys/net",
                                     "/etc/protocols",
                                     "/etc/pki/tls/certs"};

// What libarchive, libcurl, OpenSSL and glibc call, threads included.
constexpr std::array kCalls = {
    // files
    "openat", "openat2", "open", "close", "close_range", "read", "write", "readv", "writev", "pread64", "pwrite64",
    "preadv", "pwritev", "lseek", "fstat", "stat", "lstat", "newfstatat", "statx", "fstatfs", "statfs", "access",
    "faccessat", "faccessat2", "ftruncate", "fallocate", "fadvise64", "fsync", "fdatasync", "syncfs", "dup", "dup2",
    "dup3", "fcntl", "flock", "umask", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir", "rename", "renameat",
    "renameat2", "link", "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "getdents64", "getcwd", "fchdir",
    "copy_file_range", "sendfile", "fchown", "fchownat", "chown", "lchown", "fchmod", "fchmodat", "fchmodat2", "chmod",
    "utimensat", "futimesat", "utimes", "setxattr", "fsetxattr", "lsetxattr", "getxattr", "fgetxattr", "lgetxattr",
    "listxattr", "flistxattr", "llistxattr", "removexattr", "fremovexattr", "lremovexattr",
    // waiting
    "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2",
    "pipe2", "pipe", "nanosleep", "clock_nanosleep", "restart_syscall",
    // memory, threads, signals
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "set_robust_list", "rseq", "exit", "exit_group",
    "sched_yield", "sched_getaffinity", "membarrier", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "gettid", "getpid", "getppid", "tgkill", "getuid", "geteuid", "getgid", "getegid", "getrandom", "uname", "sysinfo",
    "getrlimit", "getrusage", "clock_gettime", "clock_getres", "gettimeofday", "time"};
constexpr std::array kNetworkCalls = {"connect",    "bind",     "getsockname", "getpeername", "getsockopt",
                                      "setsockopt", "sendto",   "sendmsg",     "sendmmsg",    "recvfrom",
                                      "recvmsg",    "recvmmsg", "shutdown",    "socketpair",  "ioctl"};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // shadow memory of terabytes, and calls of its own
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

Status limit(int what, uint64_t value) {
  rlimit limits{value, value};
  rlimit now{};
  if (getrlimit(static_cast<__rlimit_resource>(what), &now) == 0) {
    limits.rlim_cur = std::min<uint64_t>(value, now.rlim_max);
    limits.rlim_max = limits.rlim_cur;
  }
  return setrlimit(static_cast<__rlimit_resource>(what), &limits) == 0 ? Status{} : Status{sys_fail("setrlimit")};
}

Status cut_capabilities() {
  constexpr uint64_t kKept = (1ull << CAP_CHOWN) | (1ull << CAP_DAC_OVERRIDE) | (1ull << CAP_FOWNER) |
                             (1ull << CAP_FSETID) | (1ull << CAP_SETFCAP);
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (((kKept >> capability) & 1) == 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM) {
      return sys_fail("drop a capability from the bounding set");
    }
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return sys_fail("clear ambient capabilities");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (syscall(SYS_capget, &header, data.data()) != 0) return sys_fail("capget");
  for (size_t i = 0; i < data.size(); ++i) {
    auto kept = static_cast<uint32_t>(kKept >> (32 * i));
    data[i].permitted &= kept;
    data[i].effective = data[i].permitted;
    data[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data.data()) != 0) return sys_fail("capset");
  return {};
}

Status allow(const Fd& ruleset, int directory, uint64_t access) {
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = directory;
  if (syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    return sys_fail("landlock_add_rule");
  }
  return {};
}

// 0: this kernel has none.
// The given directories become mounts of their own, so that ".." does not lead out of
// them, and everything else is read-only.
Status restrict_mounts(const Cage& cage) {
  std::vector<std::pair<int, Fd>> trees;
  for (const auto* directories : {&cage.writable, &cage.readable}) {
    for (int directory : *directories) {
      Fd tree(static_cast<int>(
          syscall(SYS_open_tree, directory, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
      mount_attr attributes{};
      attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
      if (directories == &cage.readable) attributes.attr_set |= MOUNT_ATTR_RDONLY;
      if (!tree || syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                           sizeof attributes) != 0) {
        return sys_fail("clone a directory's mount");
      }
      trees.emplace_back(directory, Fd(openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
      if (!trees.back().second) return sys_fail("open a directory's mount");
    }
  }
  mount_attr sealed{};
  sealed.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
  sealed.propagation = MS_PRIVATE;
  if (unshare(CLONE_NEWNS) != 0 ||
      syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &sealed, sizeof sealed) != 0) {
    return sys_fail("make all mounts read-only");
  }
  for (const auto& [directory, tree] : trees) {
    if (dup3(tree.get(), directory, O_CLOEXEC) < 0) return sys_fail("dup3");
  }
  return {};
}

Status restrict_files(const Cage& cage) {
  const long abi = landlock_abi();
  RulesetAttributes attributes{};
  attributes.handled_access_fs = kAllFirst;
  if (abi >= 2) attributes.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) attributes.handled_access_fs |= kTruncate;
  if (abi >= 5) attributes.handled_access_fs |= kIoctlDev;
  if (abi >= 4) attributes.handled_access_net = kBindTcp | (cage.network ? 0 : kConnectTcp);
  if (abi >= 6) attributes.scoped = kScopeAbstractUnix | kScopeSignal;
  size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  Fd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
  if (!ruleset) return sys_fail("landlock_create_ruleset");

  uint64_t write =
      attributes.handled_access_fs & ~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                                       LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | kIoctlDev);
  for (int directory : cage.writable) {
    if (auto allowed = allow(ruleset, directory, write); !allowed) return allowed;
  }
  for (int directory : cage.readable) {
    if (auto allowed = allow(ruleset, directory, kRead); !allowed) return allowed;
  }
  for (int file : cage.readable_files) {
    if (auto allowed = allow(ruleset, file, LANDLOCK_ACCESS_FS_READ_FILE); !allowed) return allowed;
  }
  for (const char* path : kSystemFiles) {
    Fd fd(open(path, O_PATH | O_CLOEXEC));
    if (!fd) continue;
    bool directory = faccessat(fd.get(), ".", F_OK, 0) == 0;
    uint64_t access = directory ? kRead | LANDLOCK_ACCESS_FS_EXECUTE : uint64_t{LANDLOCK_ACCESS_FS_READ_FILE};
    if (auto allowed = allow(ruleset, fd.get(), access); !allowed) return allowed;
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) return sys_fail("landlock_restrict_self");
  return {};
}

// Everything else is EPERM. glibc takes clone for clone3 when that is ENOSYS, and clone
// is for threads alone.
Status restrict_calls(bool network) {
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release);
  if (!filter) return fail("seccomp_init");
  int failed = 0;
  const auto add = [&](uint32_t action, const char* name, std::vector<scmp_arg_cmp> conditions) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || failed != 0) return;  // a call that this library does not know
    failed = seccomp_rule_add_array(filter.get(), action, number, static_cast<unsigned>(conditions.size()),
                                    conditions.data());
  };
  for (const char* name : kCalls) add(SCMP_ACT_ALLOW, name, {});
  add(SCMP_ACT_ERRNO(ENOSYS), "clone3", {});
  add(SCMP_ACT_ALLOW, "clone", {{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD}});
  for (const char* name : {"mknod", "mknodat"}) {  // whiteouts
    add(SCMP_ACT_ALLOW, name, {{name == std::string_view("mknod") ? 2u : 3u, SCMP_CMP_EQ, 0, 0}});
  }
  if (network) {
    for (const char* name : kNetworkCalls) add(SCMP_ACT_ALLOW, name, {});
    for (int family : {AF_INET, AF_INET6, AF_NETLINK}) {  // netlink: getaddrinfo looks at the addresses
      add(SCMP_ACT_ALLOW, "socket", {{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0}});
    }
  }
  if (failed != 0) return fail(fmt::format("seccomp: {}", std::strerror(-failed)));
  if (failed = seccomp_load(filter.get()); failed != 0) {
    return fail(fmt::format("load the seccomp filter: {}", std::strerror(-failed)));
  }
  return {};
}

}  // namespace

Status enter(const Cage& cage) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return sys_fail("PR_SET_PDEATHSIG");
  if (getppid() != cage.parent) return fail("the parent has gone");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return sys_fail("no_new_privs");
  const bool landlock = cage.landlock && kernel_has_landlock();
  if (auto done = landlock ? restrict_files(cage) : restrict_mounts(cage); !done) return done;
  if (auto done = cut_capabilities(); !done) return done;
  if (auto done = limit(RLIMIT_CORE, 0); !done) return done;
  if (auto done = limit(RLIMIT_NOFILE, 1024); !done) return done;  // a removal goes 255 directories deep, three at once
  if (auto done = limit(RLIMIT_FSIZE, cage.file_bytes); !done) return done;
  if (!kSanitized) {
    if (auto done = limit(RLIMIT_AS, 4ull << 30); !done) return done;
  }
  // A file beyond the limit is to be an error (EFBIG) with a text, not a death.
  if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return sys_fail("signal");
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return sys_fail("signal");
  return kSanitized ? Status{} : restrict_calls(cage.network);
}

}  // namespace keelson::images
