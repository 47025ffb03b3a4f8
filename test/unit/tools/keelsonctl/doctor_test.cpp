#include "tools/keelsonctl/doctor.h"

#include <boost/test/unit_test.hpp>
#include <fstream>

BOOST_AUTO_TEST_SUITE(doctor_tests)

using namespace keelson;
using ctl::Check;
namespace fs = std::filesystem;

namespace {

// A host made up of files, with nothing to complain about.
struct Host {
  Host() {
    char name[] = "/tmp/keelson-doctor-XXXXXX";
    root = mkdtemp(name);
    put("sys/kernel/btf/vmlinux", "btf");
    put("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
    put("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    put("proc/filesystems", "nodev\toverlay\n");
    put("lib/modules/6.1.0/modules.builtin", "kernel/drivers/net/veth.ko\n");
    put("lib/modules/6.1.0/modules.dep", "kernel/net/sched/sch_ingress.ko.xz:\n");
    put("proc/modules", "");
    put("proc/self/status", "CapBnd:\t000001ffffffffff\n");
    put("proc/sys/net/ipv4/ip_forward", "1\n");
    put("proc/sys/net/ipv6/conf/all/forwarding", "0\n");
    put("proc/sys/fs/inotify/max_user_instances", "1024\n");
    put("proc/sys/fs/inotify/max_user_watches", "65536\n");
    put("proc/sys/kernel/pid_max", "4194304\n");
    probes.kernel_release = "6.1.0";
    probes.is_bpffs = [](const std::string&) { return true; };
    probes.run = [](std::vector<std::string>) -> host::Result<std::string> { return std::string(); };
    probes.try_to_listen = [](const std::string&, uint16_t) -> host::Status { return {}; };
    probes.agent_answers = [](const std::string&, uint16_t) { return false; };
    probes.examine_network = [this](const network::Settings&) { return findings; };
  }
  ~Host() { fs::remove_all(root); }
  void put(const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  Check check(const std::string& name) {
    for (auto& one : ctl::examine({.root = root}, probes)) {
      if (one.name == name) return one;
    }
    BOOST_FAIL("no check " << name);
    return {};
  }
  Check::Verdict verdict(const std::string& name) { return check(name).verdict; }

  fs::path root;
  ctl::HostProbes probes;
  std::vector<network::Finding> findings = {{network::Finding::Severity::fine, "FORWARD policy", "accept", ""}};
};

constexpr auto kOk = Check::Verdict::ok;
constexpr auto kWarn = Check::Verdict::warn;
constexpr auto kFail = Check::Verdict::fail;

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_good_host_has_nothing_to_mend, Host) {
  const auto checks = ctl::examine({.root = root}, probes);
  for (const auto& one : checks) BOOST_TEST((one.verdict == kOk), one.name << ": " << one.found);
  BOOST_TEST(!ctl::any_failed(checks));
  BOOST_TEST(ctl::report(checks).ends_with("This host has all that keelson-agent needs.\n"));
}

BOOST_FIXTURE_TEST_CASE(an_old_kernel_and_one_without_btf_fail, Host) {
  probes.kernel_release = "5.10.0-8-amd64";
  BOOST_TEST((verdict("kernel") == kFail));
  fs::remove(root / "sys/kernel/btf/vmlinux");
  const auto btf = check("BTF");
  BOOST_TEST((btf.verdict == kFail));
  BOOST_TEST(btf.advice.find("CONFIG_DEBUG_INFO_BTF") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_kernel_configuration_without_bpf_fails_by_name, Host) {
  put("boot/config-6.1.0",
      "#\nCONFIG_BPF_SYSCALL=y\nCONFIG_NET_CLS_BPF=m\nCONFIG_SECCOMP_FILTER=y\nCONFIG_NAMESPACES=y\n"
      "CONFIG_VETH=m\nCONFIG_INOTIFY_USER=y\nCONFIG_FHANDLE=y\n");
  const auto found = check("kernel configuration");
  BOOST_TEST((found.verdict == kFail));
  BOOST_TEST(found.found == "without CONFIG_CGROUP_BPF");
}

BOOST_FIXTURE_TEST_CASE(hybrid_cgroups_are_understood, Host) {
  put("proc/self/mountinfo",
      "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
      "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
      "32 23 0:28 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n"
      "33 23 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
      "34 23 0:30 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n");
  put("sys/fs/cgroup/unified/cgroup.controllers", "\n");
  BOOST_TEST(check("cgroup v2").found.find("hybrid") != std::string::npos);
  BOOST_TEST(check("cgroup controllers").found == "cpu (v1), memory (v1), pids (v1)");
}

BOOST_FIXTURE_TEST_CASE(missing_cgroups_and_controllers_are_told, Host) {
  put("sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
  const auto controllers = check("cgroup controllers");
  BOOST_TEST((controllers.verdict == kWarn));
  BOOST_TEST(controllers.found == "without memory");
  put("proc/self/mountinfo", "");
  BOOST_TEST((verdict("cgroup v2") == kFail));
}

BOOST_FIXTURE_TEST_CASE(missing_modules_fail_and_unknowable_ones_warn, Host) {
  put("lib/modules/6.1.0/modules.builtin", "");
  BOOST_TEST((verdict("veth") == kFail));
  put("proc/modules", "veth 229376 0 - Live 0x0\n");
  BOOST_TEST(check("veth").found == "loaded");
  fs::remove_all(root / "lib/modules");
  put("proc/modules", "");
  BOOST_TEST((verdict("veth") == kWarn));
  BOOST_TEST((verdict("overlayfs") == kOk));  // /proc/filesystems has it
}

BOOST_FIXTURE_TEST_CASE(what_the_pod_network_lacks_stands_in_the_same_list, Host) {
  using Severity = network::Finding::Severity;
  findings = {{Severity::error, "FORWARD policy", "Docker drops", "let it pass"},
              {Severity::warning, "conntrack", "nearly full", "make room"},
              {Severity::note, "rp_filter", "strict", "loosen it"}};
  BOOST_TEST((verdict("FORWARD policy") == kFail));
  BOOST_TEST(check("FORWARD policy").advice == "let it pass");
  BOOST_TEST((verdict("conntrack") == kWarn));
  BOOST_TEST((verdict("rp_filter") == kWarn));
  probes.is_root = false;
  BOOST_TEST((verdict("pod network") == kWarn));
}

BOOST_FIXTURE_TEST_CASE(a_missing_capability_and_low_limits_warn, Host) {
  put("proc/self/status", "CapBnd:\t000001fffeffffff\n");
  BOOST_TEST((verdict("CAP_SYS_RESOURCE") == kWarn));
  put("proc/sys/fs/inotify/max_user_instances", "128\n");
  const auto inotify = check("fs.inotify.max_user_instances");
  BOOST_TEST((inotify.verdict == kWarn));
  BOOST_TEST(inotify.advice.find("sysctl -w fs.inotify.max_user_instances=") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_port_that_somebody_else_has_fails_and_the_agents_own_does_not, Host) {
  probes.try_to_listen = [](const std::string&, uint16_t) -> host::Status {
    return host::sys_fail("listen", EADDRINUSE);
  };
  BOOST_TEST((verdict("API port") == kFail));
  probes.agent_answers = [](const std::string&, uint16_t) { return true; };
  BOOST_TEST((verdict("API port") == kOk));
}

BOOST_FIXTURE_TEST_CASE(the_report_puts_the_advice_under_its_check, Host) {
  probes.is_bpffs = [](const std::string&) { return false; };
  const auto text = ctl::report(ctl::examine({.root = root}, probes));
  BOOST_TEST(text.find("warn  bpffs") != std::string::npos, text);
  BOOST_TEST(text.find("→ mount -t bpf bpf /sys/fs/bpf") != std::string::npos, text);
  BOOST_TEST(text.find("1 of ") != std::string::npos);
  BOOST_TEST(ctl::report_json(ctl::examine({.root = root}, probes)).find("\"verdict\":\"warn\"") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
