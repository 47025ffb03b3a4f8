// tools/bench pods: how soon a Pod's process runs, how many start per second, and what
// the agent and its shims cost in memory; beside crun and podman in the same run.
#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "test/bench/figures.h"
#include "test/bench/stamps.h"

using keelson::test::Figures;
using keelson::test::now_ns;
using keelson::test::Sandbox;
using keelson::test::wait_for_stamp;
using namespace std::chrono_literals;

namespace {

constexpr int kRounds = 30;
constexpr int kMany = 100;

std::string pod(const std::string& name, bool stays) {
  return fmt::format(R"(---
apiVersion: v1
kind: Pod
metadata: {{name: {}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/demo-echo, now{}]}}]
)",
                     name, stays ? ", sleep" : "");
}

std::vector<int64_t> stamps_of(const std::string& output) {
  std::vector<int64_t> stamps;
  for (size_t at = output.find("now "); at != std::string::npos; at = output.find("now ", at + 1))
    stamps.push_back(std::stoll(output.substr(at + 4)));
  return stamps;
}

struct Bench : Sandbox {
  Bench() : run_(*this) { import_test_image(); }

  // The peers run by cgroup v1 or v2, and refuse a host that has both: they do not see the second here. The
  // first stamp printed is the command's own beginning.
  keelson::host::Output peer(const std::string& command) {
    return shell("unshare --mount --propagation private sh -c 'findmnt -t cgroup >/dev/null && umount -a -t cgroup2; " +
                 (binaries() / "demo-echo").string() + " now; " + command + "'");
  }

  // kB of a field of smaps_rollup.
  static int64_t memory(pid_t pid, std::string_view field) {
    std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(field)) return std::stoll(line.substr(field.size() + 1));
    }
    return 0;
  }

  std::vector<pid_t> shims() {
    std::vector<pid_t> result;
    std::istringstream pids(shell("cat " + (pod_cgroup() / "shims").string() + "/*/cgroup.procs").out);
    for (pid_t pid = 0; pids >> pid;) result.push_back(pid);
    return result;
  }

  void print_memory(const std::string& what) {
    int64_t rss = 0;
    int64_t pss = 0;
    const auto pids = shims();
    for (const auto pid : pids) {
      rss += memory(pid, "Rss:");
      pss += memory(pid, "Pss:");
    }
    const auto count = static_cast<int64_t>(std::max<size_t>(pids.size(), 1));
    fmt::print("{:<34} agent {:.1f} MB RSS, {:.1f} MB PSS; each of {} shim processes {} kB RSS, {} kB PSS\n", what,
               static_cast<double>(memory(agent_pid(), "Rss:")) / 1024,
               static_cast<double>(memory(agent_pid(), "Pss:")) / 1024, pids.size(), rss / count, pss / count);
  }

 private:
  keelson::test::RunOnTmpfs run_;
};

void print(const char* what, Figures& figures, double beside) {
  fmt::print("{:<34} p50 {:>7.1f} ms   p90 {:>7.1f} ms   ratio to Keelson {:.2f}\n", what, figures.at(0.5),
             figures.at(0.9), beside == 0 ? 1.0 : figures.at(0.5) / beside);
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(figures, Bench) {
  start_agent({"--v=info"});
  Figures ours;
  for (int i = 0; i < kRounds; ++i) {
    const auto name = fmt::format("b{}", i);
    const auto began = now_ns();
    write_manifest(name + ".yaml", pod(name, i == 0));
    ours.ms.push_back(static_cast<double>(wait_for_stamp(*this, name) - began) / 1e6);
    if (i == 0) print_memory("memory, 1 Pod:");
    if (i == 0) continue;
    remove_manifest(name + ".yaml");
    require_eventually("the Pod is gone", [&] { return shims().size() == 1; });
  }
  print("manifest → process (keelson)", ours, 0);
  const double p50 = ours.at(0.5);

  // The peers run the same program from the same root file system.
  shell(
      fmt::format("mkdir -p {0}/bundle/rootfs/bin && cp {1}/demo-echo {0}/bundle/rootfs/bin/ && cd {0}/bundle && "
                  "crun spec && sed -i 's/\"terminal\": true/\"terminal\": false/; s|\"sh\"|\"/bin/demo-echo\", "
                  "\"now\"|' config.json",
                  directory().string(), binaries().string()));
  Figures crun;
  for (int i = 0; i < kRounds; ++i) {
    const auto output = peer(fmt::format("cd {}/bundle && exec crun --cgroup-manager=disabled run bench-{}-{}",
                                         directory().string(), name(), i));
    const auto stamps = stamps_of(output.out);
    if (stamps.size() != 2) {
      fmt::print("crun does not run here: {}\n", output.err);
      break;
    }
    crun.ms.push_back(static_cast<double>(stamps[1] - stamps[0]) / 1e6);
  }
  if (!crun.ms.empty()) print("crun run (no network, no image)", crun, p50);

  // Its default limits need CAP_SYS_RESOURCE.
  std::ofstream(directory() / "containers.conf") << "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", "
                                                    "\"nproc=1024:1024\"]\n";
  const std::string podman = fmt::format(
      "CONTAINERS_CONF={0}/containers.conf podman --root {0}/podman --runroot {0}/podman-run --storage-driver vfs "
      "--cgroup-manager cgroupfs --network-config-dir {0}/cni ",
      directory().string());
  peer(podman + "load -q -i " + (binaries().parent_path() / "test-image.tar").string());
  Figures kube;
  for (int i = 0; i < 5; ++i) {
    const auto name = fmt::format("p{}", i);
    std::ofstream(directory() / "play.yaml") << fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: {}}}
spec:
  restartPolicy: Never
  hostNetwork: true
  containers: [{{name: main, image: docker.io/library/busybox-test:latest, imagePullPolicy: Never, command: [/bin/demo-echo, now]}}]
)",
                                                            name);
    const auto play = (directory() / "play.yaml").string();
    const auto output = peer(podman + "kube play --log-driver k8s-file " + play + "; sleep 0.2; " + podman + "logs " +
                             name + "-main; " + podman + "kube down " + play);
    const auto stamps = stamps_of(output.out);
    if (stamps.size() != 2) {
      fmt::print("podman kube play does not run here: {}\n", output.err);
      break;
    }
    kube.ms.push_back(static_cast<double>(stamps[1] - stamps[0]) / 1e6);
  }
  if (!kube.ms.empty()) print("podman kube play (host network)", kube, p50);
  peer(podman + "system reset --force");
  shell("findmnt -rno TARGET | grep '^" + directory().string() + "/podman' | sort -r | xargs -r -n1 umount");

  std::string many;
  for (int i = 0; i < kMany; ++i) many += pod(fmt::format("m{}", i), true);
  const auto began = now_ns();
  write_manifest("many.yaml", many);
  int64_t last = 0;
  for (int i = 0; i < kMany; ++i) last = std::max(last, wait_for_stamp(*this, fmt::format("m{}", i)));
  const double seconds = static_cast<double>(last - began) / 1e9;
  fmt::print("{:<34} {:.2f} s, {:.0f} Pods/s\n", fmt::format("{} Pods at once:", kMany), seconds, kMany / seconds);
  print_memory(fmt::format("memory, {} Pods:", kMany + 1));
}
