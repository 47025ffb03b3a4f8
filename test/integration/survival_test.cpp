// The issue's sentence "Nothing is lost": what outlives the agent, a shim, a reboot.
#include <fmt/core.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "test/integration/sandbox.h"
#include "test/patience.h"

using keelson::test::patient;
using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

constexpr const char* kPods = R"(
apiVersion: v1
kind: Pod
metadata: {name: echo, labels: {app: echo}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/demo-echo, serve, "7000"]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {clusterIP: 10.96.0.7, selector: {app: echo}, ports: [{port: 7, targetPort: 7000}]}
)";

struct Node : Sandbox {
  Node() {
    import_test_image();
    start_agent();
    write_manifest("pods.yaml", kPods);
    require_eventually("echo is Ready", [&] { return pod_is_ready("echo"); });
  }
  // Host pids of the Pod's first process.
  std::string main_pid() {
    return shell(
               "for p in /proc/[0-9]*; do if tr '\\0' ' ' 2>/dev/null <$p/cmdline | grep -q '^/bin/demo-echo serve "
               "7000'; then "
               "grep -qs " +
               name() + " $p/cgroup && echo ${p#/proc/}; fi; done")
        .out;
  }
  std::string shim_pid() {
    return shell("for p in /proc/[0-9]*; do if grep -qs '" + name() +
                 "' $p/cgroup && tr '\\0' ' ' 2>/dev/null <$p/cmdline | grep -q podshim; then "
                 "cat $p/stat | cut -d' ' -f1,4; fi; done | while read pid parent; do grep -q podshim "
                 "/proc/$parent/comm 2>/dev/null || echo $pid; done | head -1")
        .out;
  }
  bool answers() {
    return on_node({(binaries() / "demo-echo").string(), "ask", "tcp", "10.96.0.7", "7"}).out == "echo: hello\n";
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(kill_9_of_the_agent_leaves_pods_and_connections, Node) {
  // A connection through the Service that stays open all the while.
  background({"/bin/bash", "-c",
              "exec 3<>/dev/tcp/10.96.0.7/7; for i in $(seq 1 200); do echo $i >&3; read -r l <&3 || { echo LOST; exit "
              "1; }; echo \"$l\"; sleep 0.05; done"},
             directory() / "connection.log");
  require_eventually("the connection works",
                     [&] { return shell("grep -c echo: " + (directory() / "connection.log").string()).out >= "3"; });
  const auto pid = main_pid();
  BOOST_REQUIRE(!pid.empty());
  const auto started = pod_value("echo", "/status/containerStatuses/0/state/running/startedAt");
  stop_agent(SIGKILL);
  BOOST_TEST(main_pid() == pid);
  BOOST_TEST(answers(), "services work without the agent");
  start_agent();
  require_eventually("it is Ready again", [&] { return pod_is_ready("echo"); });
  BOOST_TEST(main_pid() == pid);
  BOOST_TEST(pod_value("echo", "/status/containerStatuses/0/restartCount") == "0");
  BOOST_TEST(pod_value("echo", "/status/containerStatuses/0/state/running/startedAt") == started);
  BOOST_TEST(answers());
  BOOST_TEST(shell("grep -c LOST " + (directory() / "connection.log").string()).out == "0\n");
}

BOOST_FIXTURE_TEST_CASE(an_exit_while_the_agent_is_away_is_not_lost, Node) {
  write_manifest("once.yaml", fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: once}}
spec:
  restartPolicy: Never
  containers: [{{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "sleep {}; exit 42"]}}]
)",
                                          patient(2)));
  require_eventually("it runs", [&] { return pod_value("once", "/status/phase") == "Running"; });
  stop_agent(SIGKILL);
  shell(fmt::format("sleep {}.5", patient(2)));
  start_agent();
  require_eventually("its exit code is told", [&] {
    return pod_value("once", "/status/containerStatuses/0/state/terminated/exitCode") == "42";
  });
  BOOST_TEST(pod_value("once", "/status/phase") == "Failed");
}

BOOST_FIXTURE_TEST_CASE(kill_9_of_the_shim_is_seen_and_mended, Node) {
  const auto pid = main_pid();
  const auto shim = shim_pid();
  BOOST_REQUIRE(!shim.empty());
  shell("kill -9 " + shim);
  require_eventually("another process runs", [&] {
    const auto now = main_pid();
    return !now.empty() && now != pid;
  });
  require_eventually("it is Ready again", [&] { return pod_is_ready("echo") && answers(); });
  // A zombie answers until the host's init has reaped it.
  require_eventually("the old process is gone", [&] { return shell("kill -0 " + pid).wait_status != 0; });
}

BOOST_FIXTURE_TEST_CASE(a_reboot_starts_everything_again_and_leaks_no_address, Node) {
  // A reboot as far as one can have it without one: every process killed, /run gone.
  stop_agent(SIGKILL);
  shell(
      // Not the agent's own cgroup: since Linux 6.14 a child that is cloned into a cgroup which was killed
      // another number of times than its parent's dies at once (kill_seq).
      fmt::format(
          "echo 1 > {0}/pods/cgroup.kill; sleep 0.5; "
          "nsenter --net=/run/netns/{3} sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0; "
          "rm -rf {1}; rm -rf {2}; find {0} /sys/fs/cgroup/*/{3} -mindepth 1 -depth -type d ! -name host -exec "
          "rmdir {{}} + 2>/dev/null; "
          "ip -n {3} -o link | grep -oE 'kl[^@: ]*@' | tr -d @ | xargs -r -n1 ip -n {3} link del; "
          "ip -n {3} -o link | cut -d: -f2 | cut -d@ -f1 | xargs -r -I% tc -n {3} qdisc del dev % clsact 2>/dev/null",
          cgroup().string(), run_dir().string(), bpffs().string(), name()));
  start_agent();
  require_eventually("it is Ready again", [&] { return pod_is_ready("echo") && answers(); });
  BOOST_TEST(shell("ip -n " + name() + " -4 route | grep -c '^10.244.0.[0-9]* '").out == "1\n");
}

BOOST_FIXTURE_TEST_CASE(drain_takes_everything_away_and_the_sources_are_ignored_until_a_restart, Node) {
  drain();
  BOOST_TEST(main_pid().empty());
  BOOST_TEST(agent_runs());
  shell("touch " + (manifests() / "pods.yaml").string());
  write_manifest("pods.yaml", std::string(kPods) + "\n");
  shell("sleep 1");
  BOOST_TEST(main_pid().empty());
  stop_agent(SIGTERM);
  start_agent();
  require_eventually("it is Ready again", [&] { return pod_is_ready("echo"); });
}

BOOST_FIXTURE_TEST_CASE(repeated_restarts_of_the_agent_leak_nothing, Node) {
  const auto pid = main_pid();
  for (int i = 0; i < 5; ++i) {
    stop_agent(i % 2 == 0 ? SIGKILL : SIGTERM);
    start_agent();
  }
  require_eventually("it is Ready", [&] { return pod_is_ready("echo"); });
  BOOST_TEST(main_pid() == pid);
}
