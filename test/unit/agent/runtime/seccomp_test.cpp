#include "agent/runtime/seccomp.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <cstring>

BOOST_AUTO_TEST_SUITE(seccomp)

namespace {

using namespace keelson::runtime;

// Runs the program on a call, as the kernel would (classic BPF, seccomp's subset).
uint32_t verdict(const std::string& program, int number, uint64_t argument = 0,
                 uint32_t architecture = AUDIT_ARCH_X86_64) {
  seccomp_data data{};
  data.nr = number;
  data.arch = architecture;
  data.args[0] = argument;
  uint32_t a = 0;
  for (size_t at = 0; at < program.size() / sizeof(sock_filter); ++at) {
    sock_filter instruction;
    std::memcpy(&instruction, program.data() + at * sizeof instruction, sizeof instruction);
    const uint32_t k = instruction.k;
    switch (instruction.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + k, sizeof a);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= k;
        break;
      case BPF_JMP | BPF_JA:
        at += k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += a == k ? instruction.jt : instruction.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += a >= k ? instruction.jt : instruction.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += a > k ? instruction.jt : instruction.jf;
        break;
      case BPF_RET | BPF_K:
        return k;
      default:
        BOOST_FAIL("an instruction that libseccomp does not make");
    }
  }
  return 0;
}

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t kRefused = SECCOMP_RET_ERRNO | EPERM;

std::string program(const std::string& profile, CapabilitySet capabilities) {
  SeccompProfiles profiles;
  auto built = profiles.program(profile, capabilities);
  BOOST_REQUIRE_MESSAGE(built.has_value(), (built ? "" : built.error().message));
  return **built;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_default_allows_work_and_refuses_what_configures_the_machine) {
  const std::string filter = program("RuntimeDefault", default_capabilities());
  BOOST_TEST(filter.size() % 8 == 0u);
  for (const int call :
       {SYS_read, SYS_openat2, SYS_execve, SYS_setresuid, SYS_capset, SYS_prctl, SYS_seccomp, SYS_chroot, SYS_ptrace,
        SYS_futex, SYS_close_range, SYS_sendmsg, SYS_chdir, SYS_getcwd, SYS_setgroups}) {
    BOOST_TEST(verdict(filter, call) == kAllow, call);
  }
  for (const int call : {SYS_mount,
                         SYS_umount2,
                         SYS_pivot_root,
                         SYS_unshare,
                         SYS_setns,
                         SYS_bpf,
                         SYS_kexec_load,
                         SYS_init_module,
                         SYS_reboot,
                         SYS_swapon,
                         SYS_add_key,
                         SYS_keyctl,
                         SYS_userfaultfd,
                         SYS_io_uring_setup,
                         SYS_perf_event_open,
                         SYS_open_by_handle_at,
                         SYS_move_mount,
                         SYS_fsopen,
                         SYS_acct,
                         SYS_settimeofday,
                         SYS_iopl,
                         SYS_quotactl,
                         SYS_pidfd_getfd}) {
    BOOST_TEST(verdict(filter, call) == kRefused, call);
  }
  // A fork, a thread, and no namespace.
  BOOST_TEST(verdict(filter, SYS_clone, 17) == kAllow);
  BOOST_TEST(verdict(filter, SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND) == kAllow);
  BOOST_TEST(verdict(filter, SYS_clone, CLONE_NEWUSER | 17) == kRefused);
  BOOST_TEST(verdict(filter, SYS_clone, CLONE_NEWNET) == kRefused);
  BOOST_TEST(verdict(filter, SYS_clone3) == (SECCOMP_RET_ERRNO | ENOSYS));
  BOOST_TEST(verdict(filter, SYS_socket, 2) == kAllow);
  BOOST_TEST(verdict(filter, SYS_socket, 40) == kRefused);
  BOOST_TEST(verdict(filter, SYS_personality, 0) == kAllow);
  BOOST_TEST(verdict(filter, SYS_personality, 0x20000) == kAllow);
  BOOST_TEST(verdict(filter, SYS_personality, 0x40000) == kRefused);
  // The 32-bit and x32 tables are guarded too: mount is 21 there, and x32's has bit 30.
  BOOST_TEST(verdict(filter, 21, 0, AUDIT_ARCH_I386) == kRefused);
  BOOST_TEST(verdict(filter, 3, 0, AUDIT_ARCH_I386) == kAllow);
  BOOST_TEST(verdict(filter, SYS_mount | 0x40000000) == kRefused);
  BOOST_TEST(verdict(filter, 3, 0, AUDIT_ARCH_AARCH64) != kAllow);
}

BOOST_AUTO_TEST_CASE(capabilities_open_what_they_are_for) {
  const auto with = [](int capability) {
    return program("RuntimeDefault", default_capabilities() | CapabilitySet{1} << capability);
  };
  BOOST_TEST(verdict(with(CAP_SYS_ADMIN), SYS_mount) == kAllow);
  BOOST_TEST(verdict(with(CAP_SYS_ADMIN), SYS_clone, CLONE_NEWNS) == kAllow);
  BOOST_TEST(verdict(with(CAP_SYS_ADMIN), SYS_clone3) == kAllow);
  BOOST_TEST(verdict(with(CAP_SYS_TIME), SYS_settimeofday) == kAllow);
  BOOST_TEST(verdict(with(CAP_SYS_TIME), SYS_mount) == kRefused);
  BOOST_TEST(verdict(program("RuntimeDefault", 0), SYS_chroot) == kRefused);
}

BOOST_AUTO_TEST_CASE(profiles_are_chosen_by_name) {
  BOOST_TEST(program("Unconfined", 0).empty());
  SeccompProfiles profiles;
  BOOST_TEST(!profiles.program("Something", 0).has_value());
  BOOST_TEST(!profiles.program("Localhost:/does/not/exist", 0).has_value());
  BOOST_TEST(profiles.program("RuntimeDefault", 5)->get() == profiles.program("RuntimeDefault", 5)->get());
}

BOOST_AUTO_TEST_CASE(a_profile_of_ones_own_is_read) {
  auto built = build_localhost_profile(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
      {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
      {"name": "write", "action": "SCMP_ACT_LOG"},
      {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
      {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
      {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
      {"names": ["uname"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}]})",
                                       0);
  BOOST_REQUIRE(built.has_value());
  BOOST_TEST(verdict(*built, SYS_read) == kAllow);
  BOOST_TEST(verdict(*built, SYS_write) == static_cast<uint32_t>(SECCOMP_RET_LOG));
  BOOST_TEST(verdict(*built, SYS_openat) == (SECCOMP_RET_ERRNO | 38u));
  BOOST_TEST(verdict(*built, SYS_personality, 8) == kAllow);
  BOOST_TEST(verdict(*built, SYS_personality, 9) == (SECCOMP_RET_ERRNO | 38u));
  BOOST_TEST(verdict(*built, SYS_mount) == (SECCOMP_RET_ERRNO | 38u));
  BOOST_TEST(verdict(*built, SYS_chroot) == kAllow);
  BOOST_TEST(verdict(*built, SYS_uname) == (SECCOMP_RET_ERRNO | 38u));
  for (const char* bad :
       {"", "[]", "{}", R"({"defaultAction": "x"})", R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":5})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"?"}]})"}) {
    BOOST_TEST(!build_localhost_profile(bad, 0).has_value(), bad);
  }
}

BOOST_AUTO_TEST_SUITE_END()
