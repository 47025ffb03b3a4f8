// tools/bench api: what the API server takes for the rows of "Figures to beat"
// (API_SERVER.md): 10,000 Pods of 4 KB, 1,000 watchers, over a real etcd, whose cost is
// shown beside. Client, server and etcd share this machine's cores.

#include <fmt/core.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <thread>

#include "host/log.h"
#include "test/integration/api_rig.h"

using namespace keelson;
using namespace keelson::test;

namespace {

constexpr int kConnections = 16;
const std::string kPods = "/api/v1/namespaces/default/pods";

int64_t now_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

double percentile(std::vector<int64_t>& samples, double p) {
  std::ranges::sort(samples);
  return static_cast<double>(samples[static_cast<size_t>(p * static_cast<double>(samples.size() - 1))]) / 1000.0;
}

double rss_mib() {
  std::ifstream statm("/proc/self/statm");
  long size = 0, resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double cpu_seconds(const std::string& stat) {
  std::ifstream file(stat);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  text.erase(0, text.rfind(')') + 2);
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return (std::stod(words[11]) + std::stod(words[12])) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

// A Pod whose JSON is about 4 KB as it is stored.
std::string pod(const std::string& name, const std::string& node = "") {
  std::string env;
  for (int i = 0; i < 20; ++i) {
    env += fmt::format(R"({}{{"name":"VARIABLE_{}","value":"some value of this variable, number {}"}})",
                       i == 0 ? "" : ",", i, i);
  }
  return fmt::format(
      R"({{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}","labels":{{"app":"bench","tier":"t{}"}}}},)"
      R"("spec":{{{}"containers":[{{"name":"main","image":"busybox:1","env":[{}],"resources":{{"requests":{{"cpu":"10m","memory":"8Mi"}}}}}}]}}}})",
      name, name.back(), node.empty() ? "" : fmt::format(R"("nodeName":"{}",)", node), env);
}

// `work(connection, i)` for each i below `count`, over that many connections at once. Seconds.
double spread(ApiRig& rig, int connections, int count, const std::function<void(HttpClient&, int)>& work) {
  std::vector<std::thread> threads;
  std::atomic<int> next = 0;
  const int64_t began = now_us();
  for (int t = 0; t < connections; ++t) {
    threads.emplace_back([&] {
      HttpClient client(rig.port());
      for (int i = next++; i < count; i = next++) work(client, i);
    });
  }
  for (auto& thread : threads) thread.join();
  return static_cast<double>(now_us() - began) / 1e6;
}

struct Costs {
  explicit Costs(ApiRig& rig) : rig(rig), server(rig.server_cpu_seconds()), etcd(of_etcd()) {}
  double of_etcd() const { return cpu_seconds(fmt::format("/proc/{}/stat", rig.etcd_pid())); }
  std::string each(int count) const {
    return fmt::format("{:.3f} ms CPU each, etcd {:.3f}", (rig.server_cpu_seconds() - server) * 1000 / count,
                       (of_etcd() - etcd) * 1000 / count);
  }
  ApiRig& rig;
  double server, etcd;
};

void row(std::string_view what, const std::string& figure) { fmt::print("{:<52} {}\n", what, figure); }

std::string times(std::vector<int64_t>& samples) {
  return fmt::format("p50 {:.3f} ms, p99 {:.3f} ms", percentile(samples, 0.5), percentile(samples, 0.99));
}

std::vector<int64_t> repeat(int count, const std::function<void(int)>& work) {
  std::vector<int64_t> samples;
  for (int i = 0; i < count; ++i) {
    const int64_t began = now_us();
    work(i);
    samples.push_back(now_us() - began);
  }
  return samples;
}

BOOST_AUTO_TEST_CASE(api) {
  host::set_log_level(host::LogLevel::warning);
  const int many = std::getenv("KEELSON_BENCH_PODS") != nullptr ? std::atoi(std::getenv("KEELSON_BENCH_PODS")) : 10'000;
  ApiRig rig;
  row("RSS, empty", fmt::format("{:.0f} MiB (with the bench itself)", rss_mib()));
  {
    HttpClient one(rig.port());
    auto samples = repeat(300, [&](int i) { one.request("POST", kPods, pod(fmt::format("single-{}", i))); });
    row("create, one connection", times(samples));
    samples = repeat(300, [&](int i) { one.request("DELETE", kPods + fmt::format("/single-{}", i)); });
    row("delete, one connection", times(samples));
  }
  {
    Costs costs(rig);
    const double s = spread(rig, kConnections, 2000, [](HttpClient& c, int i) {
      const auto made = c.request("POST", kPods, pod(fmt::format("few-{}", i)));
      if (made.status != 201) std::abort();
    });
    row("create 2,000 Pods, 16 connections", fmt::format("{:.0f}/s, {}", 2000 / s, costs.each(2000)));
    row("RSS with 2,000 Pods", fmt::format("{:.0f} MiB", rss_mib()));
    HttpClient one(rig.port());
    auto samples = repeat(20, [&](int) { one.request("GET", "/api/v1/pods?resourceVersion=0"); });
    row("list of 2,000 as JSON", times(samples));
    Costs deletion(rig);
    const double d = spread(rig, kConnections, 2000,
                            [](HttpClient& c, int i) { c.request("DELETE", kPods + fmt::format("/few-{}", i)); });
    row("delete 2,000 Pods, 16 connections", fmt::format("{:.0f}/s, {}", 2000 / d, deletion.each(2000)));
  }
  spread(rig, kConnections, many, [&](HttpClient& c, int i) {
    c.request("POST", kPods, pod(fmt::format("pod-{}", i), fmt::format("node-{}", i % 100)));
  });
  row(fmt::format("RSS with {} Pods", many), fmt::format("{:.0f} MiB", rss_mib()));
  HttpClient one(rig.port());
  row("a stored Pod", fmt::format("{} bytes", one.request("GET", kPods + "/pod-1").body.size()));
  auto samples = repeat(2000, [&](int i) { one.request("GET", kPods + fmt::format("/pod-{}", i % many)); });
  row("GET", times(samples));
  samples = repeat(20, [&](int) { one.request("GET", "/api/v1/pods"); });
  row(fmt::format("list of {} as JSON", many), times(samples));
  const std::string table = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n";
  samples = repeat(20, [&](int) { one.request("GET", "/api/v1/pods", "", table); });
  row(fmt::format("Table of {}", many), times(samples));
  samples = repeat(20, [&](int) { one.request("GET", "/api/v1/pods?labelSelector=tier%3Dt1", ""); });
  row(fmt::format("by label, a tenth of {}", many), times(samples));
  samples = repeat(
      100, [&](int i) { one.request("GET", fmt::format("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-{}", i)); });
  row(fmt::format("Pods of one node among {}", many), times(samples));
  row("RSS after lists", fmt::format("{:.0f} MiB", rss_mib()));

  const auto watch_latency = [&](int watchers, int rounds) {
    std::vector<std::unique_ptr<HttpClient>> all;
    const std::string from = one.request("GET", "/api/v1/namespaces/default/configmaps")["/metadata/resourceVersion"];
    for (int i = 0; i < watchers; ++i) {
      all.push_back(std::make_unique<HttpClient>(rig.port()));
      all.back()->open("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=" + from);
    }
    std::vector<int64_t> latencies;
    for (int round = 0; round < rounds; ++round) {
      const int64_t began = now_us();
      std::thread writer([&] {
        HttpClient c(rig.port());
        c.request("POST", "/api/v1/namespaces/default/configmaps",
                  fmt::format(R"({{"metadata":{{"name":"w{}-{}"}}}})", watchers, round));
      });
      std::vector<pollfd> polls;
      for (auto& client : all) polls.push_back({.fd = client->fd(), .events = POLLIN, .revents = 0});
      size_t left = polls.size();
      while (left > 0) {
        ::poll(polls.data(), polls.size(), 5000);
        const int64_t now = now_us();
        for (size_t i = 0; i < polls.size(); ++i) {
          if (polls[i].fd < 0 || polls[i].revents == 0) continue;
          all[i]->line();
          latencies.push_back(now - began);
          polls[i].fd = -1;
          --left;
        }
      }
      writer.join();
    }
    return latencies;
  };
  samples = watch_latency(1, 200);
  row("POST sent → event read, one watcher", times(samples));
  samples = watch_latency(1000, 20);
  row("POST sent → event read, 1,000 watchers", times(samples));
  row("RSS at the end", fmt::format("{:.0f} MiB", rss_mib()));
}

}  // namespace
