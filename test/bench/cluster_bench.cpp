// tools/bench api, its second half: what a Pod costs through the whole stack. The master is on
// a host of its own beside the node, etcd and all; the client waits for the watch's events.
#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <future>
#include <map>
#include <mutex>

#include "api/pod.h"
#include "apiclient/client.h"
#include "apiclient/kubeconfig.h"
#include "apiclient/reflector.h"
#include "test/bench/figures.h"
#include "test/bench/stamps.h"
#include "test/integration/cluster_rig.h"
#include "test/unit/http/loop_thread.h"

namespace {

using namespace keelson;
using namespace std::chrono_literals;
using test::Figures;
using test::now_ns;
using test::row;

constexpr int kRounds = 20;
constexpr int kMany = 50;
const std::string kPath = "/api/v1/namespaces/default/pods";

std::string pod(const std::string& name) {
  return fmt::format(
      R"({{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}"}},"spec":{{"terminationGracePeriodSeconds":1,"containers":)"
      R"([{{"name":"main","image":"busybox-test","imagePullPolicy":"Never","command":["/bin/demo-echo","now","sleep"]}}]}}}})",
      name);
}

bool is_ready(const api::Pod& pod) {
  for (const auto& condition : pod.status.conditions) {
    if (condition.type == "Ready") return condition.status == "True";
  }
  return false;
}

struct Bench {
  Bench() : run(cluster.one) {
    cluster.join(cluster.one);
    cluster.require_node_ready(cluster.one);
    const std::string netns = "/run/netns/" + cluster.one.outside_namespace();
    loop.run([&] {  // the client's thread lives where the master does
      const int fd = ::open(netns.c_str(), O_RDONLY | O_CLOEXEC);
      BOOST_REQUIRE(fd >= 0 && ::setns(fd, CLONE_NEWNET) == 0);
      ::close(fd);
      auto config = apiclient::load_kubeconfig((cluster.master.data() / "admin.kubeconfig").string());
      BOOST_REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
      client = std::move(apiclient::Client::create(loop.loop(), *config, 16).value());
      using Pods = apiclient::Reflector<api::Pod>;
      pods = std::make_unique<Pods>(*client, apiclient::ReflectorOptions{},
                                    Pods::Handlers{.synced = {},
                                                   .changed =
                                                       [&](const auto&, const auto& now) {
                                                         if (is_ready(*now)) note(ready, now->metadata.name);
                                                       },
                                                   .deleted = [&](const auto& old) { note(gone, old->metadata.name); },
                                                   .failed = {}});
    });
  }
  ~Bench() {
    loop.run([&] {
      pods.reset();
      client.reset();
    });
  }

  using Times = std::map<std::string, int64_t>;
  void note(Times& times, const std::string& name) {
    const std::lock_guard lock(mutex);
    times.try_emplace(name, now_ns());
  }
  int64_t wait_for(Times& times, const std::string& name) {
    for (int i = 0; i < 20'000; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (const auto found = times.find(name); found != times.end()) return found->second;
      }
      std::this_thread::sleep_for(1ms);
    }
    BOOST_FAIL(name << " did not get there\n" << cluster.master.log() << cluster.one.agent_log());
    return 0;
  }
  void send(apiclient::ApiRequest request) {
    loop.run([&] {
      client
          ->request(std::move(request),
                    [](auto outcome) { BOOST_CHECK_MESSAGE(outcome, (outcome ? "" : outcome.error().message)); })
          .detach();
    });
  }
  void create(const std::string& name) { send({.method = "POST", .path = kPath, .body = pod(name)}); }
  void remove(const std::string& name) { send({.method = "DELETE", .path = kPath + "/" + name}); }

  test::Cluster cluster;
  test::RunOnTmpfs run;
  test::LoopThread loop;
  std::unique_ptr<apiclient::Client> client;
  std::mutex mutex;
  Times ready, gone;
  std::unique_ptr<apiclient::Reflector<api::Pod>> pods;
};

std::string p50_and_p90(Figures& figures) {
  return fmt::format("{:.1f} / {:.1f} ms", figures.at(0.5), figures.at(0.9));
}
double ms(int64_t from, int64_t until) { return static_cast<double>(until - from) / 1e6; }

}  // namespace

BOOST_AUTO_TEST_CASE(a_pods_figures) {
  Bench bench;
  row("what", "Kubernetes", "ours to reach", "ours, p50 / p90");
  Figures process, ready, gone;
  for (int i = 0; i < kRounds; ++i) {
    const auto name = fmt::format("p{}", i);
    const auto posted = now_ns();
    bench.create(name);
    process.ms.push_back(ms(posted, test::wait_for_stamp(bench.cluster.one, name)));
    ready.ms.push_back(ms(posted, bench.wait_for(bench.ready, name)));
    const auto deleted = now_ns();
    bench.remove(name);
    gone.ms.push_back(ms(deleted, bench.wait_for(bench.gone, name)));
  }
  row("POST → process running, whole stack", "532 ms", "≤ 25 ms", p50_and_p90(process));
  row("POST → Ready event read", "992 ms", "≤ 50 ms", p50_and_p90(ready));
  row("DELETE → gone", "1,519 ms", "≤ 50 ms + grace", p50_and_p90(gone));

  Figures kubectl, alone;
  for (int i = 0; i < kRounds / 2; ++i) {
    const auto name = fmt::format("k{}", i);
    const auto file = bench.cluster.one.directory() / "k.json";
    BOOST_REQUIRE(host::write_file_atomically(file, pod(name)));
    const auto began = now_ns();
    bench.cluster.master.must_kubectl({"create", "-f", file.string()});
    alone.ms.push_back(ms(began, now_ns()));
    kubectl.ms.push_back(ms(began, std::max(now_ns(), bench.wait_for(bench.ready, name))));
    bench.remove(name);
    bench.wait_for(bench.gone, name);
  }
  row("kubectl create → Ready", "", "≤ 150 ms",
      fmt::format("{}; kubectl itself {:.1f} ms", p50_and_p90(kubectl), alone.at(0.5)));

  const auto began = now_ns();
  for (int i = 0; i < kMany; ++i) bench.create(fmt::format("m{}", i));
  int64_t last = 0;
  for (int i = 0; i < kMany; ++i) last = std::max(last, bench.wait_for(bench.ready, fmt::format("m{}", i)));
  row("50 pods at once, last Ready", "6.9 s (38 s by default)", "≤ 0.5 s",
      fmt::format("{:.2f} s", ms(began, last) / 1000));
}
