#include "agent/runtime/seccomp.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <rapidjson/document.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <vector>

#include "host/file.h"

namespace keelson::runtime {

namespace {

constexpr size_t kMaxCached = 256;
constexpr size_t kMaxProfile = 1u << 20;

// What any container may call: the kernel's interface without what configures the
// machine, loads code into the kernel or looks into other namespaces. By subject.
constexpr std::string_view kSyscalls =
    // files
    "open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev preadv2 "
    "pwritev2 lseek _llseek stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs "
    "fstatfs64 access faccessat faccessat2 truncate truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 "
    "readahead sync fsync fdatasync syncfs sync_file_range copy_file_range sendfile sendfile64 splice tee vmsplice dup "
    "dup2 dup3 fcntl fcntl64 flock ioctl umask name_to_handle_at cachestat "
    // names
    "link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat "
    "readlink "
    "readlinkat getdents getdents64 chdir fchdir getcwd "
    // owners, modes, times, attributes
    "chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimes futimesat "
    "utimensat utimensat_time64 setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr fgetxattr getxattrat "
    "listxattr "
    "llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat listmount statmount "
    // waiting and events
    "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl "
    "epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 "
    "timerfd_create "
    "timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 inotify_init inotify_init1 inotify_add_watch "
    "inotify_rm_watch fanotify_mark io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents "
    "io_pgetevents_time64 futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue "
    // memory
    "brk mmap mmap2 munmap mremap mprotect msync madvise mincore mlock mlock2 mlockall munlock munlockall "
    "remap_file_pages memfd_create memfd_secret membarrier pkey_alloc pkey_free pkey_mprotect map_shadow_stack mseal "
    "process_mrelease "
    // processes and threads
    "fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open pidfd_send_signal "
    "getpid getppid gettid getpgid getpgrp getsid setpgid setsid set_tid_address set_robust_list get_robust_list rseq "
    "prctl arch_prctl modify_ldt set_thread_area get_thread_area seccomp restart_syscall pause landlock_create_ruleset "
    "landlock_add_rule landlock_restrict_self "
    // signals
    "rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_sigqueueinfo "
    "rt_tgsigqueueinfo rt_sigreturn sigreturn sigaltstack sigprocmask "
    // identity
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32 "
    "getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
    "setresuid32 "
    "setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset "
    // scheduling and limits
    "sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam "
    "sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval "
    "sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getcpu getrlimit ugetrlimit setrlimit "
    "prlimit64 getrusage times sysinfo uname "
    // time
    "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep "
    "clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create timer_delete timer_getoverrun "
    "timer_gettime "
    "timer_gettime64 timer_settime timer_settime64 adjtimex clock_adjtime clock_adjtime64 "
    // sockets, pipes, System V and POSIX messages
    "socketcall socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt send "
    "sendto "
    "sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown pipe pipe2 ipc msgctl msgget msgrcv "
    "msgsnd "
    "semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget mq_open mq_unlink mq_timedsend "
    "mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr getrandom "
    // reads of others' memory, which ptrace's own rules guard since Linux 4.8
    "ptrace process_vm_readv process_vm_writev ";

struct Conditional {
  int capability;
  std::string_view names;
};
constexpr Conditional kWithCapability[] = {
    {CAP_DAC_READ_SEARCH, "open_by_handle_at"},
    {CAP_SYS_ADMIN,
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount "
     "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"},
    {CAP_SYS_BOOT, "reboot"},
    {CAP_SYS_CHROOT, "chroot"},
    {CAP_SYS_MODULE, "delete_module init_module finit_module"},
    {CAP_SYS_PACCT, "acct"},
    {CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"},
    {CAP_SYS_RAWIO, "iopl ioperm"},
    {CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"},
    {CAP_SYS_TTY_CONFIG, "vhangup"},
    {CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {CAP_SYSLOG, "syslog"},
    {CAP_BPF, "bpf"},
    {CAP_PERFMON, "perf_event_open"},
};

// CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET: no new namespaces.
constexpr uint64_t kNamespaceFlags = 0x7e020000;
constexpr uint64_t kAfVsock = 40;

struct Filter {
  scmp_filter_ctx context = nullptr;
  explicit Filter(uint32_t action) : context(seccomp_init(action)) {}
  ~Filter() {
    if (context != nullptr) seccomp_release(context);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  host::Status add_architectures() {
#if defined(__x86_64__)
    for (const uint32_t architecture : {SCMP_ARCH_X86, SCMP_ARCH_X32}) {
#elif defined(__aarch64__)
    for (const uint32_t architecture : {SCMP_ARCH_ARM}) {
#else
    for (const uint32_t architecture : std::initializer_list<uint32_t>{}) {
#endif
      const int result = seccomp_arch_add(context, architecture);
      if (result != 0 && result != -EEXIST) return host::sys_fail("seccomp: architecture", -result);
    }
    return {};
  }

  // A name that this kernel's headers do not know is no failure: it cannot be called.
  host::Status add(uint32_t action, const std::string& name, const std::vector<scmp_arg_cmp>& arguments) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) return {};
    const int result = seccomp_rule_add_array(context, action, number, static_cast<unsigned>(arguments.size()),
                                              arguments.empty() ? nullptr : arguments.data());
    // EACCES: the action is the default's. EEXIST: said twice. EDOM: not on this architecture.
    if (result != 0 && result != -EACCES && result != -EEXIST && result != -EDOM) {
      return host::sys_fail("seccomp: rule for " + name, -result);
    }
    return {};
  }

  host::Status add_all(uint32_t action, std::string_view names) {
    while (!names.empty()) {
      const size_t end = std::min(names.find(' '), names.size());
      if (end > 0) {
        if (auto added = add(action, std::string(names.substr(0, end)), {}); !added) return added;
      }
      names.remove_prefix(std::min(end + 1, names.size()));
    }
    return {};
  }

  host::Result<std::string> program() {
    seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree: log(n) comparisons per call
    const host::Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
    if (!file) return host::sys_fail("seccomp: memfd");
    if (const int result = seccomp_export_bpf(context, file.get()); result != 0) {
      return host::sys_fail("seccomp: build the program", -result);
    }
    const off_t size = ::lseek(file.get(), 0, SEEK_END);
    std::string text(static_cast<size_t>(std::max<off_t>(size, 0)), '\0');
    if (::pread(file.get(), text.data(), text.size(), 0) != size) return host::sys_fail("seccomp: read the program");
    return text;
  }
};

host::Result<std::string> build_default(CapabilitySet capabilities) {
  Filter filter(SCMP_ACT_ERRNO(EPERM));
  if (filter.context == nullptr) return host::fail("seccomp: no memory");
  if (auto added = filter.add_architectures(); !added) return std::unexpected(added.error());
  const auto has = [capabilities](int capability) { return (capabilities >> capability & 1) != 0; };
  host::Status added = filter.add_all(SCMP_ACT_ALLOW, kSyscalls);
  for (const auto& [capability, names] : kWithCapability) {
    if (added && has(capability)) added = filter.add_all(SCMP_ACT_ALLOW, names);
  }
  if (added) added = filter.add(SCMP_ACT_ALLOW, "socket", {SCMP_A0(SCMP_CMP_NE, kAfVsock)});
  for (const uint64_t persona : {0x0ULL, 0x8ULL, 0x20000ULL, 0x20008ULL, 0xffffffffULL}) {
    if (added) added = filter.add(SCMP_ACT_ALLOW, "personality", {SCMP_A0(SCMP_CMP_EQ, persona)});
  }
  if (added && !has(CAP_SYS_ADMIN)) {
    added = filter.add(SCMP_ACT_ALLOW, "clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaceFlags, 0)});
    // Its flags are behind a pointer; ENOSYS makes libc fall back to clone.
    if (added) added = filter.add(SCMP_ACT_ERRNO(ENOSYS), "clone3", {});
  }
  if (!added) return std::unexpected(added.error());
  return filter.program();
}

std::optional<uint32_t> parse_action(std::string_view name, uint32_t error_number) {
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(error_number);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(error_number);
  return {};
}

std::optional<scmp_compare> parse_comparison(std::string_view name) {
  if (name == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (name == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (name == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (name == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (name == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (name == "SCMP_CMP_GT") return SCMP_CMP_GT;
  if (name == "SCMP_CMP_MASKED_EQ") return SCMP_CMP_MASKED_EQ;
  return {};
}

using Json = rapidjson::Value;

std::string_view text_of(const Json& object, const char* name) {
  const auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsString()
             ? std::string_view(member->value.GetString(), member->value.GetStringLength())
             : std::string_view();
}

uint64_t number_of(const Json& object, const char* name, uint64_t otherwise) {
  const auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsUint64() ? member->value.GetUint64() : otherwise;
}

// Whether any (or, for includes, all) of a condition's capabilities are there; other
// conditions of that format: arches is compared with ours, minKernel always holds (6.1).
bool condition_holds(const Json& rule, CapabilitySet capabilities) {
  const auto has_capability = [capabilities](const Json& name) {
    if (!name.IsString()) return false;
    auto set = container_capabilities({name.GetString()}, {"ALL"}, false, ~CapabilitySet{0});
    return set && (*set & capabilities) == *set;
  };
  const auto is_ours = [](const Json& name) {
    if (!name.IsString()) return false;
    const std::string_view architecture = name.GetString();
#if defined(__x86_64__)
    return architecture == "amd64" || architecture == "x86" || architecture == "x32";
#else
    return architecture == "arm64" || architecture == "arm";
#endif
  };
  for (const bool include : {true, false}) {
    const auto member = rule.FindMember(include ? "includes" : "excludes");
    if (member == rule.MemberEnd() || !member->value.IsObject()) continue;
    if (const auto caps = member->value.FindMember("caps");
        caps != member->value.MemberEnd() && caps->value.IsArray()) {
      for (const auto& name : caps->value.GetArray()) {
        if (has_capability(name) != include) return false;
      }
    }
    if (const auto arches = member->value.FindMember("arches");
        arches != member->value.MemberEnd() && arches->value.IsArray() && !arches->value.Empty()) {
      bool ours = false;
      for (const auto& name : arches->value.GetArray()) ours = ours || is_ours(name);
      if (ours != include) return false;
    }
  }
  return true;
}

}  // namespace

host::Result<std::string> build_localhost_profile(std::string_view json, CapabilitySet capabilities) {
  const auto invalid = [](std::string what) { return host::fail(host::Error::Code::invalid, std::move(what)); };
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return invalid("is not a JSON object");
  const auto default_error = static_cast<uint32_t>(number_of(document, "defaultErrnoRet", EPERM));
  const auto default_action = parse_action(text_of(document, "defaultAction"), default_error);
  if (!default_action) return invalid("defaultAction: is missing or unknown");
  Filter filter(*default_action);
  if (filter.context == nullptr) return invalid("defaultAction: not supported");
  if (auto added = filter.add_architectures(); !added) return std::unexpected(added.error());
  const auto rules = document.FindMember("syscalls");
  if (rules == document.MemberEnd()) return filter.program();
  if (!rules->value.IsArray()) return invalid("syscalls: is not a list");
  for (const auto& rule : rules->value.GetArray()) {
    if (!rule.IsObject()) return invalid("syscalls: an entry is not an object");
    const auto action =
        parse_action(text_of(rule, "action"), static_cast<uint32_t>(number_of(rule, "errnoRet", default_error)));
    if (!action) return invalid(fmt::format("syscalls: unknown action \"{}\"", text_of(rule, "action")));
    if (!condition_holds(rule, capabilities)) continue;
    std::vector<scmp_arg_cmp> arguments;
    if (const auto args = rule.FindMember("args"); args != rule.MemberEnd() && args->value.IsArray()) {
      for (const auto& argument : args->value.GetArray()) {
        if (!argument.IsObject()) return invalid("syscalls: args: an entry is not an object");
        const auto comparison = parse_comparison(text_of(argument, "op"));
        const uint64_t index = number_of(argument, "index", 99);
        if (!comparison || index > 5) return invalid("syscalls: args: unknown op or index");
        scmp_arg_cmp compare{};
        compare.arg = static_cast<unsigned>(index);
        compare.op = *comparison;
        compare.datum_a = number_of(argument, "value", 0);
        compare.datum_b = number_of(argument, "valueTwo", 0);
        arguments.push_back(compare);
      }
    }
    std::vector<std::string> names;
    if (const auto list = rule.FindMember("names"); list != rule.MemberEnd() && list->value.IsArray()) {
      for (const auto& name : list->value.GetArray()) {
        if (name.IsString()) names.emplace_back(name.GetString());
      }
    }
    if (const auto name = text_of(rule, "name"); !name.empty()) names.emplace_back(name);
    for (const auto& name : names) {
      if (auto added = filter.add(*action, name, arguments); !added) return std::unexpected(added.error());
    }
  }
  return filter.program();
}

host::Result<std::shared_ptr<const std::string>> SeccompProfiles::program(const std::string& profile,
                                                                          CapabilitySet capabilities) {
  constexpr std::string_view kLocalhost = "Localhost:";
  std::string key = profile;
  std::string path;
  if (profile.starts_with(kLocalhost)) {
    path = profile.substr(kLocalhost.size());
    struct stat status;
    if (::stat(path.c_str(), &status) != 0) return host::sys_fail("seccomp profile " + path);
    key += fmt::format("@{}.{}.{}", status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size);
  } else if (profile != "Unconfined" && profile != "RuntimeDefault" && !profile.empty()) {
    return host::fail(host::Error::Code::invalid, fmt::format("seccomp profile \"{}\": unknown", profile));
  }
  const std::scoped_lock lock(mutex_);
  if (const auto known = programs_.find({key, capabilities}); known != programs_.end()) return known->second;
  host::Result<std::string> built;
  if (!path.empty()) {
    auto text = host::read_file(path, kMaxProfile);
    if (!text) return std::unexpected(std::move(text).error().within("seccomp profile"));
    built = build_localhost_profile(*text, capabilities);
    if (!built) return std::unexpected(std::move(built).error().within("seccomp profile " + path));
  } else if (profile == "Unconfined") {
    built = std::string();
  } else {
    built = build_default(capabilities);
  }
  if (!built) return std::unexpected(built.error());
  if (programs_.size() >= kMaxCached) programs_.clear();
  auto program = std::make_shared<const std::string>(std::move(*built));
  programs_[{key, capabilities}] = program;
  return program;
}

}  // namespace keelson::runtime
