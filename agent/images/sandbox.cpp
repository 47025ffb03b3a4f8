#include "agent/images/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "host/fd.h"

// What g++ says by a macro, clang says so. ASan's shadow memory is terabytes of address space.
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif

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

Status restrict_files(const Cage& cage) {
  long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return {};  // not on this kernel; the rest of the cage holds
    return sys_fail("landlock");
  }
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

}  // namespace

Status enter(const Cage& cage) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return sys_fail("PR_SET_PDEATHSIG");
  if (getppid() != cage.parent) return fail("the parent has gone");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return sys_fail("no_new_privs");
  if (auto done = restrict_files(cage); !done) return done;
  if (auto done = cut_capabilities(); !done) return done;
  if (auto done = limit(RLIMIT_CORE, 0); !done) return done;
  if (auto done = limit(RLIMIT_NOFILE, 1024); !done) return done;  // a removal goes 255 directories deep, three at once
  if (auto done = limit(RLIMIT_FSIZE, cage.file_bytes); !done) return done;
#ifndef __SANITIZE_ADDRESS__
  if (auto done = limit(RLIMIT_AS, 4ull << 30); !done) return done;
#endif
  // A file beyond the limit is to be an error (EFBIG) with a text, not a death.
  if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return sys_fail("signal");
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return sys_fail("signal");
  return {};
}

}  // namespace keelson::images
