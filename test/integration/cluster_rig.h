#pragma once
// A cluster for tests and benchmarks: a master on a host of its own beside the sandbox's
// node, the real etcd beneath, the real kubectl in front, and nodes that join it.

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "host/file.h"
#include "host/process.h"
#include "test/integration/sandbox.h"

namespace keelson::test {

inline constexpr auto kClusterPatience = std::chrono::seconds(30);

// The master, in the outside host's namespace, and kubectl beside it.
class Master {
 public:
  explicit Master(Sandbox& sandbox, std::vector<std::string> flags = {}) : sandbox_(sandbox), flags_(std::move(flags)) {
    start();
  }
  ~Master() { stop(SIGTERM); }

  void start() {
    std::vector<std::string> command = {(Sandbox::binaries() / "keelson-master").string(),
                                        "--config",
                                        "",
                                        "--data-dir=" + data().string(),
                                        fmt::format("--listen={}:6443", Sandbox::kOutsideIp),
                                        fmt::format("--advertise-address={}", Sandbox::kOutsideIp),
                                        "--service-cluster-ip-range=10.96.0.0/16",
                                        "--cluster-cidr=10.244.0.0/16,fd00:244::/56"};
    command.insert(command.end(), flags_.begin(), flags_.end());
    child_ = sandbox_.spawn_outside(command, log_file());
    if (!Sandbox::eventually([this] { return kubectl({"get", "--raw", "/readyz"}).wait_status == 0; },
                             kClusterPatience))
      BOOST_FAIL("the master does not answer:\n" << log());
  }
  void stop(int signal) {
    if (!child_) return;
    Sandbox::end_child(*child_, signal);
    child_.reset();
  }

  host::Output kubectl(const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"/usr/bin/kubectl", "--kubeconfig", (data() / "admin.kubeconfig").string(),
                                        "--request-timeout=10s"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return sandbox_.outside(command);
  }
  std::string must_kubectl(const std::vector<std::string>& arguments) {
    auto output = kubectl(arguments);
    BOOST_REQUIRE_MESSAGE(
        output.wait_status == 0,
        fmt::format("kubectl {}: {}{}\n--- master\n{}", fmt::join(arguments, " "), output.out, output.err, log()));
    return output.out;
  }
  void apply(const std::string& manifest) {
    const auto file = sandbox_.directory() / "applied.yaml";
    BOOST_REQUIRE(host::write_file_atomically(file, manifest));
    must_kubectl({"apply", "-f", file.string()});
  }
  std::string json_path(const std::vector<std::string>& what, const std::string& path) {
    std::vector<std::string> command = {"get"};
    command.insert(command.end(), what.begin(), what.end());
    command.push_back("-o=jsonpath=" + path);
    const auto output = kubectl(command);
    return output.wait_status == 0 ? output.out : "";
  }
  std::string pod(const std::string& name, const std::string& path) {
    return json_path({"pod", name}, "{" + path + "}");
  }
  bool ready(const std::string& name) { return pod(name, ".status.conditions[?(@.type==\"Ready\")].status") == "True"; }
  bool exists(const std::string& name) { return kubectl({"get", "pod", name}).wait_status == 0; }

  // A kubeconfig for the agent of that node.
  std::string kubeconfig_of(const std::string& node) {
    const auto file = sandbox_.directory() / (node + ".kubeconfig");
    auto made =
        sandbox_.outside({(Sandbox::binaries() / "keelson-master").string(), "kubeconfig", "--node", node, "--data-dir",
                          data().string(), "--server", fmt::format("https://{}:6443", Sandbox::kOutsideIp)});
    BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.out << made.err);
    BOOST_REQUIRE(host::write_file_atomically(file, made.out, 0600));
    return file.string();
  }

  host::Path data() const { return sandbox_.directory() / "master"; }
  host::Path log_file() const { return sandbox_.directory() / "master.log"; }
  std::string log() const {
    auto text = host::read_file(log_file(), 64U << 20).value_or("");
    return text.size() > 6000 ? text.substr(text.size() - 6000) : text;
  }

 private:
  Sandbox& sandbox_;
  std::vector<std::string> flags_;
  std::optional<host::Child> child_;
};

struct Cluster {
  explicit Cluster(std::vector<std::string> master_flags = {}) : master(one, std::move(master_flags)) {}
  // The master goes first: nodes drain without one as well, and leave nothing behind.

  void join(Sandbox& node, std::vector<std::string> flags = {}) {
    node.import_test_image();
    flags.push_back("--kubeconfig=" + master.kubeconfig_of(node.node_name()));
    flags.push_back("--node-status-update-frequency=2s");
    node.start_agent(flags);
  }
  void require(Sandbox& node, const std::string& what, const std::function<bool()>& holds,
               std::chrono::milliseconds limit = kClusterPatience) {
    if (Sandbox::eventually(holds, limit)) return;
    BOOST_FAIL(fmt::format("not in time: {}\n{}\n--- master\n{}\n--- agent of {}\n{}", what,
                           master.kubectl({"get", "pods,nodes,services", "-A", "-o", "wide"}).out, master.log(),
                           node.node_name(), node.agent_log()));
  }
  void require_node_ready(Sandbox& node) {
    require(node, node.node_name() + " is Ready", [&] {
      return master.json_path({"node", node.node_name()}, "{.status.conditions[?(@.type==\"Ready\")].status}") ==
             "True";
    });
  }

  Sandbox one;
  Master master;
};

}  // namespace keelson::test
