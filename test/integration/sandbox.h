#pragma once
// The one place where integration tests run an agent: a node and an outside host as
// network namespaces with no route to anywhere else, a scratch cgroup, and state of their
// own. Destroying it drains the agent, takes everything away, and checks that nothing is
// left: what is found is reported as a failure of the test.
//
//   BOOST_FIXTURE_TEST_CASE(a_pod_runs, Sandbox) {
//     start_agent();
//     write_manifest("web.yaml", kWeb);
//     require_eventually("web is Ready", [&] { return pod_is_ready("web"); });
//   }

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "host/process.h"

namespace keelson::test {

class Sandbox {
 public:
  static constexpr const char* kNodeIp = "192.0.2.10";
  static constexpr const char* kNodeIp6 = "fd00:2::10";
  static constexpr const char* kOutsideIp = "192.0.2.20";
  static constexpr const char* kOutsideIp6 = "fd00:2::20";

  Sandbox();
  // Another node of the same network, "node2": 192.0.2.11, fd00:2::11; its pod CIDRs, where
  // no flag says otherwise, are 10.244.1.0/24 and fd00:244:0:1::/64. The first outlives it.
  explicit Sandbox(Sandbox& first);
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // --- the agent. Flags beyond the sandbox's own; waits until it answers.
  void start_agent(const std::vector<std::string>& flags = {});
  // The same, but it is expected to refuse: its exit status and what it printed.
  host::Output run_agent_to_its_end(const std::vector<std::string>& flags);
  void stop_agent(int signal);  // sends it and waits for the end; Pods stay
  bool agent_runs() const;
  pid_t agent_pid() const { return agent_->identity.pid; }
  std::string agent_log() const;

  // --- commands. Output and wait status; 45 s at most.
  host::Output ctl(const std::vector<std::string>& arguments);  // keelsonctl, must not fail to run
  std::vector<std::string> ctl_command(const std::vector<std::string>& arguments) const;
  std::vector<std::string> ctl_flags;  // how ctl() reaches the agent, when not by its default address
  host::Output on_node(const std::vector<std::string>& command);  // in the node's namespace and cgroup
  host::Output outside(const std::vector<std::string>& command);  // in the outside host's namespace
  host::Output shell(const std::string& script);                  // where the test itself runs
  // A process on the node that goes on; ended with the sandbox.
  host::Child& background(const std::vector<std::string>& command, const host::Path& output);
  // The same in the outside host's namespace, and the caller's to end (end_child).
  host::Child spawn_outside(const std::vector<std::string>& command, const host::Path& output);
  static void end_child(host::Child& child, int signal);  // and waits for it
  // A process on the node with its own terminal as stdin, stdout and stderr; `terminal` is its end of it.
  host::Child on_terminal(const std::vector<std::string>& command, const host::Fd& terminal);

  // --- manifests and images
  void write_manifest(std::string_view name, std::string_view text);  // atomically, as an editor would
  void remove_manifest(std::string_view name);
  // docker.io/library/busybox-test:latest: busybox-static with applets, and demo-echo.
  void import_test_image();

  // --- waiting; limits are those of an ordinary machine (test/patience.h)
  static bool eventually(const std::function<bool()>& holds,
                         std::chrono::milliseconds limit = std::chrono::seconds(10));
  // Fails the test with the agent's log when it does not come true.
  void require_eventually(std::string_view what, const std::function<bool()>& holds,
                          std::chrono::milliseconds limit = std::chrono::seconds(10));

  // --- looking
  std::string pods_json();
  // A value out of `keelsonctl get`-like JSON by JSON pointer ("/status/phase"); "" if absent.
  std::string pod_value(std::string_view name, std::string_view pointer);
  bool pod_is_ready(std::string_view name) { return pod_condition(name, "Ready") == "True"; }
  std::string pod_condition(std::string_view name, std::string_view type);
  bool pod_exists(std::string_view name) { return !pod_value(name, "/metadata/uid").empty(); }

  const std::string& node_name() const { return node_name_; }
  const std::string& node_ip() const { return ip_; }
  const std::string& node_ip6() const { return ip6_; }
  host::Path directory() const { return directory_; }
  host::Path root_dir() const { return directory_ / "root"; }
  host::Path run_dir() const { return directory_ / "run"; }
  host::Path manifests() const { return directory_ / "manifests"; }
  host::Path cgroup() const { return cgroup_; }
  host::Path pod_cgroup() const { return cgroup_ / "pods"; }
  host::Path bpffs() const { return "/sys/fs/bpf/" + name_; }
  static host::Path binaries();  // build/bin
  std::string name() const { return name_; }
  const std::string& outside_namespace() const { return outside_; }  // in /run/netns

  // A real etcd on a loopback port of the node's namespace (started on first use).
  std::string etcd_endpoint();
  void stop_etcd(int signal);
  void start_etcd();
  host::Output etcdctl(const std::vector<std::string>& arguments);

  // Drain before the end, when the test itself wants to look afterwards.
  void drain();

 private:
  std::vector<std::string> agent_command(const std::vector<std::string>& flags) const;
  std::vector<std::string> in_namespace(const std::string& name_space, const std::vector<std::string>& command,
                                        bool in_cgroup) const;
  host::Output must_run(const std::vector<std::string>& command);
  std::string what_is_left() const;

  void make_places();

  std::string name_;
  std::string outside_;  // the outside host's namespace; the first sandbox's
  bool first_ = true;
  std::string node_name_ = "node1", ip_ = kNodeIp, ip6_ = kNodeIp6;
  std::string pod_cidr_ = "10.244.0.0/24,fd00:244::/64";
  host::Path directory_;
  host::Path cgroup_;
  std::optional<host::Child> agent_;
  std::optional<host::Child> etcd_;
  std::vector<host::Child> background_;
  bool ran_agent_ = false;
  std::vector<std::string> last_flags_;
};

}  // namespace keelson::test
