// tools/bench api: the rows of "Figures to beat" that need no node, measured from the outside
// over TLS with a client certificate, with what etcd by itself costs in the same run. The
// client shares the machine's cores with what it measures.
#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <future>
#include <map>

#include "api/codec.h"
#include "apiclient/client.h"
#include "apiclient/list_reader.h"
#include "apiclient/reflector.h"
#include "etcd/client.h"
#include "test/bench/figures.h"
#include "test/master_run.h"
#include "test/patience.h"
#include "test/unit/http/loop_thread.h"

namespace {

using namespace std::chrono_literals;
using namespace keelson;
using apiclient::ApiRequest;
using apiclient::Client;
using apiclient::Outcome;
using test::Figures;
using test::row;
using Clock = std::chrono::steady_clock;

constexpr int kPods = 1000;
constexpr int kManyPods = 10'000;
constexpr int kNodes = 100;  // that the many pods are spread over
constexpr int kWatchers = 1000;
constexpr size_t kPodBytes = 4096;
constexpr auto kPatience = 120s;  // for one row

double ms_since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

std::string pod(const std::string& name, const std::string& node = {}) {
  std::string text = fmt::format(
      R"({{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}","labels":{{"app":"bench","tier":"t{}"}},"annotations":{{"filler":"FILLER"}}}},)"
      R"("spec":{{{}"containers":[{{"name":"main","image":"registry.example/bench:1","command":["/bin/sleep","inf"],)"
      R"("resources":{{"requests":{{"cpu":"1m","memory":"1Mi"}}}}}}]}}}})",
      name, name.size() % 7, node.empty() ? "" : fmt::format(R"("nodeName":"{}",)", node));
  const auto at = text.find("FILLER");
  return text.replace(at, 6, std::string(kPodBytes - std::min(kPodBytes, text.size()), 'x'));
}

std::string node(const std::string& name) {
  return fmt::format(
      R"({{"kind":"Node","apiVersion":"v1","metadata":{{"name":"{}"}},"spec":{{"taints":[]}},"status":{{"capacity":{{"cpu":"64","memory":"64Gi","pods":"5000"}},)"
      R"("allocatable":{{"cpu":"64","memory":"64Gi","pods":"5000"}},"conditions":[{{"type":"Ready","status":"True","reason":"Bench","message":"",)"
      R"("lastHeartbeatTime":null,"lastTransitionTime":null}}]}}}})",
      name);
}

class Bench {
 public:
  Bench() {
    char name[] = "/tmp/keelson-bench-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~Bench() {
    stop();
    std::filesystem::remove_all(directory_);
  }

  void start(const std::string& data, const std::string& components, std::vector<std::string> flags = {}) {
    std::vector<std::string> argv = {test::own_binaries() / "keelson-master",
                                     "--config",
                                     "",
                                     "--data-dir",
                                     directory_ / data,
                                     "--components=" + components};
    argv.insert(argv.end(), flags.begin(), flags.end());
    began_ = Clock::now();
    master_ = std::make_unique<test::Daemon>(std::move(argv), directory_ / "master.log");
    const auto kubeconfig = directory_ / data / "admin.kubeconfig";
    while (!std::filesystem::exists(kubeconfig) && ms_since(began_) < 20'000) std::this_thread::sleep_for(1ms);
    connect(kubeconfig.string(), 16);
    bool ready = false;
    while (!ready && ms_since(began_) < 20'000) {
      ready = ask({.path = "/readyz", .timeout = 1s}).has_value();
      if (!ready) std::this_thread::sleep_for(1ms);
    }
    ready_ms_ = ms_since(began_);
    BOOST_REQUIRE_MESSAGE(ready, "the master is not ready:\n" << *host::read_file(directory_ / "master.log"));
    etcd_pid_ = test::child_of(master_->pid(), "etcd");
  }
  // Other components, as a process of their own.
  void start_beside(const std::string& components) {
    beside_ = std::make_unique<test::Daemon>(
        std::vector<std::string>{test::own_binaries() / "keelson-master", "--config", "", "--data-dir",
                                 directory_ / components, "--components=" + components, "--kubeconfig", kubeconfig_},
        directory_ / (components + ".log"));
  }
  void pause_beside() const { ::kill(beside_->pid(), SIGSTOP); }
  void resume_beside() const { ::kill(beside_->pid(), SIGCONT); }
  void stop() {
    loop_.run([&] { client_.reset(); });
    beside_.reset();
    master_.reset();
  }
  void connect(const std::string& kubeconfig, size_t connections) {
    kubeconfig_ = kubeconfig;
    loop_.run([&] {
      auto config = apiclient::load_kubeconfig(kubeconfig);
      BOOST_REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
      client_ = std::move(Client::create(loop_.loop(), *config, connections).value());
    });
  }
  void reconnect(size_t connections) { connect(kubeconfig_, connections); }

  Outcome<std::string> ask(ApiRequest request) {
    std::promise<Outcome<std::string>> promise;
    loop_.run([&] {
      client_->request(std::move(request), [&](auto outcome) { promise.set_value(std::move(outcome)); }).detach();
    });
    return promise.get_future().get();
  }

  // `count` requests, `parallel` at a time. Failures are counted.
  struct Driven {
    Figures samples;
    double seconds = 0;
    int failed = 0;
    std::string first_failure;
    size_t bytes = 0;
  };
  Driven drive(int count, int parallel, const std::function<ApiRequest(int)>& request) {
    Driven result;
    std::promise<void> ended;
    int next = 0, done = 0;
    const auto began = Clock::now();
    std::function<void()> more = [&] {
      if (next == count) return;
      const int index = next++;
      const auto sent = Clock::now();
      client_
          ->request(request(index),
                    [&, sent](Outcome<std::string> outcome) {
                      result.samples.ms.push_back(ms_since(sent));
                      if (!outcome && result.failed++ == 0) result.first_failure = outcome.error().message;
                      if (outcome) result.bytes += outcome->size();
                      if (++done == count) return ended.set_value();
                      more();
                    })
          .detach();
    };
    loop_.run([&] {
      for (int i = 0; i < parallel; ++i) more();
    });
    const auto finished = ended.get_future().wait_for(kPatience);
    BOOST_REQUIRE_MESSAGE(finished == std::future_status::ready, done << " of " << count << " were answered");
    result.seconds = std::chrono::duration<double>(Clock::now() - began).count();
    BOOST_CHECK_MESSAGE(result.failed == 0, result.failed << " of " << count << " failed: " << result.first_failure);
    return result;
  }
  static ApiRequest create(const std::string& name, const std::string& on = {}) {
    return {.method = "POST", .path = "/api/v1/namespaces/default/pods", .body = pod(name, on)};
  }
  static ApiRequest remove(const std::string& name) {
    return {.method = "DELETE",
            .path = "/api/v1/namespaces/default/pods/" + name,
            .body = R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0})"};
  }

  test::LoopThread& loop() { return loop_; }
  Client& client() { return *client_; }
  pid_t master() const { return master_->pid(); }
  pid_t etcd() const { return etcd_pid_; }
  double ready_ms() const { return ready_ms_; }
  host::Path directory() const { return directory_; }

 private:
  host::Path directory_;
  test::LoopThread loop_;
  std::unique_ptr<test::Daemon> master_, beside_;
  std::unique_ptr<Client> client_;
  std::string kubeconfig_;
  Clock::time_point began_;
  double ready_ms_ = 0;
  pid_t etcd_pid_ = 0;
};

// etcd by itself, over a unix socket, as the master's child listens.
struct RawEtcd {
  explicit RawEtcd(const host::Path& directory)
      : daemon({"/bin/sh", "-c",
                fmt::format(
                    "cd {0} && exec /usr/bin/etcd --data-dir {0}/raw --listen-client-urls unix://raw.sock:0 "
                    "--advertise-client-urls unix://raw.sock:0 --listen-peer-urls unix://peer.sock:0 "
                    "--initial-advertise-peer-urls unix://peer.sock:0 --initial-cluster default=unix://peer.sock:0 "
                    "--log-level error",
                    directory.string())},
               directory / "etcd.log"),
        endpoint(fmt::format("unix://{}/raw.sock:0", directory.string())) {}
  test::Daemon daemon;
  std::string endpoint;
};

struct Puts {
  double seconds = 0, cpu_ms = 0;
  Figures samples;
};

Puts raw_puts(test::LoopThread& loop, RawEtcd& raw, int count, int parallel, const std::string& value) {
  std::unique_ptr<etcd::Client> client;
  loop.run([&] {
    auto made = etcd::Client::create(loop.loop(), {.servers = {raw.endpoint}});
    BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
    client = std::move(*made);
  });
  for (bool up = false; !up;) {
    std::promise<bool> answered;
    loop.run(
        [&] { client->put({.key = "/warm", .value = "x"}, [&](auto put) { answered.set_value(put.has_value()); }); });
    up = answered.get_future().get();
  }
  Puts result;
  std::promise<void> ended;
  int next = 0, done = 0, failed = 0;
  const double cpu = test::cpu_seconds(raw.daemon.pid());
  const auto began = Clock::now();
  std::function<void()> more = [&] {
    if (next == count) return;
    const auto sent = Clock::now();
    client->put({.key = fmt::format("/bench/{}-{}", parallel, next++), .value = value}, [&, sent](auto put) {
      result.samples.ms.push_back(ms_since(sent));
      failed += !put;
      if (++done == count) return ended.set_value();
      more();
    });
  };
  loop.run([&] {
    for (int i = 0; i < parallel; ++i) more();
  });
  ended.get_future().wait();
  result.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  result.cpu_ms = (test::cpu_seconds(raw.daemon.pid()) - cpu) * 1000 / count;
  BOOST_CHECK(failed == 0);
  loop.run([&] { client.reset(); });
  return result;
}

// Watches of Pods that tell when the event of a name comes.
class Watches {
 public:
  Watches(Bench& bench, int count) : bench_(bench), rest_(static_cast<size_t>(count)) {
    std::promise<void> all;
    int open = 0;
    bench.loop().run([&] {
      for (int i = 0; i < count; ++i) {
        http::Query query;
        query.add("watch", "true");
        query.add("resourceVersion", version());
        query.add("timeoutSeconds", "600");
        calls_.push_back(bench.client().stream(
            {.path = "/api/v1/namespaces/default/pods", .query = std::move(query), .timeout = 60s},
            {.head =
                 [&](int status, const http::Headers&) {
                   BOOST_CHECK(status == 200);
                   if (++open == count) all.set_value();
                 },
             .chunk = [this, i](std::string chunk) { take(static_cast<size_t>(i), chunk); },
             .end = {}}));
      }
    });
    BOOST_REQUIRE_MESSAGE(all.get_future().wait_for(kPatience) == std::future_status::ready, "not all watches opened");
  }
  ~Watches() {
    bench_.loop().run([&] { calls_.clear(); });
  }
  // Creates a pod; how long until each watch has read its event.
  void create(const std::string& name, Figures& samples) {
    std::promise<void> all;
    bench_.loop().run([&] {
      expected_ = "\"" + name + "\"";
      samples_ = &samples;
      left_ = rest_.size();
      told_ = &all;
      sent_ = Clock::now();
      bench_.client().request(Bench::create(name), [](auto) {}).detach();
    });
    BOOST_REQUIRE_MESSAGE(all.get_future().wait_for(30s) == std::future_status::ready, "an event did not come");
  }

 private:
  std::string version() {
    if (version_.empty()) version_ = "0";
    return version_;
  }
  void take(size_t index, const std::string& chunk) {
    auto& rest = rest_[index];
    rest += chunk;
    const auto end = rest.rfind('\n');
    if (end == std::string::npos) return;
    if (told_ != nullptr && rest.find(expected_) < end) {
      samples_->ms.push_back(ms_since(sent_));
      if (--left_ == 0) std::exchange(told_, nullptr)->set_value();
    }
    rest.erase(0, end + 1);
  }
  Bench& bench_;
  std::vector<std::string> rest_;
  std::vector<apiclient::Call> calls_;
  std::string expected_, version_;
  Figures* samples_ = nullptr;
  size_t left_ = 0;
  std::promise<void>* told_ = nullptr;
  Clock::time_point sent_;
};

std::string rate(int count, double seconds) { return fmt::format("{:.0f}/s", count / seconds); }

void start_and_idle(Bench& bench, RawEtcd& raw) {
  raw_puts(bench.loop(), raw, 1, 1, "up");
  bench.start("external", "apiserver,scheduler,controllers", {"--etcd-servers", raw.endpoint});
  row("start to /readyz, etcd up", "2.2–2.6 s, 1.5–2.0 CPU-s", "≤ 0.1 s",
      fmt::format("{:.3f} s, {:.2f} CPU-s", bench.ready_ms() / 1000, test::cpu_seconds(bench.master())));
  std::this_thread::sleep_for(5s);
  row("idle RSS: apiserver + controllers + scheduler", "275 + 76 + 50 MiB", "≤ 40 MiB",
      fmt::format("{:.1f} MiB", test::rss_mib(bench.master())));
  bench.stop();
}

void writes(Bench& bench, RawEtcd& raw) {
  const auto etcd16 = raw_puts(bench.loop(), raw, kPods, 16, pod("raw"));
  const auto etcd1 = raw_puts(bench.loop(), raw, 300, 1, pod("raw"));
  row("etcd itself: 1,000 puts of 4 KB, 16 at a time", "", "",
      fmt::format("{}, {:.2f} ms CPU each", rate(kPods, etcd16.seconds), etcd16.cpu_ms));
  row("etcd itself: put, one at a time, p50", "", "", fmt::format("{:.2f} ms", Puts(etcd1).samples.at(0.5)));

  auto cpu = test::cpu_seconds(bench.master()), etcd_cpu = test::cpu_seconds(bench.etcd());
  const auto created = bench.drive(kPods, 16, [](int i) { return Bench::create(fmt::format("p{}", i)); });
  row("create 1,000 pods, 16 connections", "959–1,802/s, 0.7–1.4 ms CPU", "≥ 4,000/s, 0.15 ms",
      fmt::format("{}, {:.2f} ms CPU each, etcd {:.2f}", rate(kPods, created.seconds),
                  (test::cpu_seconds(bench.master()) - cpu) * 1000 / kPods,
                  (test::cpu_seconds(bench.etcd()) - etcd_cpu) * 1000 / kPods));
  row("RSS with 1,000 pods", "323 MiB", "≤ 60 MiB", fmt::format("{:.1f} MiB", test::rss_mib(bench.master())));

  auto got = bench.drive(
      1000, 1, [](int i) { return ApiRequest{.path = fmt::format("/api/v1/namespaces/default/pods/p{}", i)}; });
  row("GET p50", "0.4–1.3 ms", "≤ 0.15 ms", fmt::format("{:.3f} ms", got.samples.at(0.5)));
  auto listed = bench.drive(20, 1, [](int) { return ApiRequest{.path = "/api/v1/namespaces/default/pods"}; });
  row("LIST 1,000 as JSON", "23–32 ms", "≤ 4 ms", fmt::format("{:.1f} ms", listed.samples.at(0.5)));

  const auto removed = bench.drive(kPods, 16, [](int i) { return Bench::remove(fmt::format("p{}", i)); });
  row("delete 1,000, 16 connections", "345–870/s", "≥ 3,000/s", rate(kPods, removed.seconds));
  auto single = bench.drive(300, 1, [](int i) { return Bench::create(fmt::format("s{}", i)); });
  row("create, one connection, p50", "1.7 ms", "≤ 0.9 ms", fmt::format("{:.2f} ms", single.samples.at(0.5)));
  bench.drive(300, 16, [](int i) { return Bench::remove(fmt::format("s{}", i)); });
}

void watches(Bench& bench) {
  {
    Watches one(bench, 1);
    Figures samples;
    for (int i = 0; i < 200; ++i) one.create(fmt::format("w{}", i), samples);
    row("watch, POST sent → event read, p50 / p99", "3.4 / 5.3 ms", "≤ 1.5 / ≤ 3 ms",
        fmt::format("{:.2f} / {:.2f} ms", samples.at(0.5), samples.at(0.99)));
  }
  bench.drive(200, 16, [](int i) { return Bench::remove(fmt::format("w{}", i)); });
}

void thousand_watchers(Bench& bench) {
  Watches many(bench, kWatchers);
  Figures samples;
  for (int i = 0; i < 30; ++i) {
    many.create(fmt::format("m{}", i), samples);
    std::this_thread::sleep_for(20ms);
  }
  row("1,000 watchers, event p50 / p99", "49–70 / 132–168 ms", "≤ 10 / ≤ 25 ms",
      fmt::format("{:.1f} / {:.1f} ms", samples.at(0.5), samples.at(0.99)));
}

void many_pods(Bench& bench) {
  auto created = bench.drive(
      kManyPods, 16, [](int i) { return Bench::create(fmt::format("n{}", i), fmt::format("node-{}", i % kNodes)); });
  row("create 10,000 pods bound to nodes", "", "", rate(kManyPods, created.seconds));
  row("RSS with 10,000 pods", "855–1565 MiB", "≤ 200 MiB", fmt::format("{:.1f} MiB", test::rss_mib(bench.master())));
  const auto ask = [&](const std::string& query, const std::string& accept, int times) {
    auto listed = bench.drive(times, 1, [&](int) {
      ApiRequest request{.path = "/api/v1/pods", .accept = accept, .body_limit = size_t{1} << 30};
      if (!query.empty()) request.query.add("fieldSelector", query);
      return request;
    });
    return fmt::format("{:.1f} ms, {:.1f} MB", listed.samples.at(0.5),
                       static_cast<double>(listed.bytes) / times / 1'000'000);
  };
  row("LIST 10,000 as JSON", "315–1109 ms", "≤ 60 ms", ask("", "application/json", 7));
  row("Table of 10,000", "563–584 ms", "≤ 60 ms",
      ask("", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 7));
  row("pods of one node among 10,000", "226–252 ms", "≤ 2 ms", ask("spec.nodeName=node-7", "application/json", 50));
}

// Once with Pods that wait (the scheduler is a process of its own, stopped until all of them are there), once with Pods
// that are scheduled while others are made.
double scheduled_per_second(Bench& bench, bool waiting) {
  if (waiting) {
    bench.start("waiting", "apiserver,controllers");
    bench.start_beside("scheduler");
  } else {
    bench.start("scheduling", "apiserver,scheduler,controllers");
  }
  for (int i = 0; i < 10; ++i) {
    const auto name = fmt::format("node-{}", i);
    BOOST_REQUIRE(bench.ask({.method = "POST", .path = "/api/v1/nodes", .body = node(name)}).has_value());
    // What a new Node is given (not-ready:NoSchedule) and what creation ignores (its status).
    const auto status = bench.ask({.method = "PATCH",
                                   .path = "/api/v1/nodes/" + name + "/status",
                                   .body = node(name),
                                   .content_type = "application/merge-patch+json"});
    BOOST_REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().message));
    BOOST_REQUIRE(bench
                      .ask({.method = "PATCH",
                            .path = "/api/v1/nodes/" + name,
                            .body = R"({"spec":{"taints":null}})",
                            .content_type = "application/merge-patch+json"})
                      .has_value());
  }
  std::promise<void> all;
  int bound = 0;
  Clock::time_point last;
  std::unique_ptr<apiclient::Reflector<api::Pod>> pods;
  const auto see = [&](const std::shared_ptr<const api::Pod>& old, const std::shared_ptr<const api::Pod>& now) {
    if (now->spec.node_name.empty() || (old && !old->spec.node_name.empty())) return;
    last = Clock::now();
    // The first shows that the scheduler has come so far; it does not count.
    if (++bound == kPods + 1) all.set_value();
  };
  std::promise<void> synced;
  bench.loop().run([&] {
    pods = std::make_unique<apiclient::Reflector<api::Pod>>(
        bench.client(), apiclient::ReflectorOptions{},
        apiclient::Reflector<api::Pod>::Handlers{
            .synced = [&] { synced.set_value(); }, .changed = see, .deleted = {}, .failed = {}});
  });
  synced.get_future().wait();
  bench.drive(1, 1, [](int) { return Bench::create("first"); });
  const auto is_first_bound = [&] {
    bool is_bound = false;
    bench.loop().run([&] { is_bound = bound == 1; });
    return is_bound;
  };
  BOOST_REQUIRE(test::eventually(is_first_bound, kPatience));
  auto began = Clock::now();
  if (waiting) bench.pause_beside();
  bench.drive(kPods, 16, [](int i) { return Bench::create(fmt::format("p{}", i)); });
  if (waiting) {
    began = Clock::now();
    bench.resume_beside();
  }
  const bool in_time = all.get_future().wait_for(kPatience) == std::future_status::ready;
  bench.loop().run([&] { pods.reset(); });
  BOOST_REQUIRE_MESSAGE(in_time, "only " << bound << " were bound in " << kPatience.count() << " s");
  return kPods / std::chrono::duration<double>(last - began).count();
}

void scheduling(Bench& bench) {
  const double waiting = scheduled_per_second(bench, true);
  bench.stop();
  const double made = scheduled_per_second(bench, false);
  row("scheduling 1,000 pods onto 10 nodes", "55/s (473–588 unlimited)", "≥ 3,000/s",
      fmt::format("{:.0f}/s; {:.0f}/s while they are created", waiting, made));
  row("RSS of all components with 1,000 pods", "", "", fmt::format("{:.1f} MiB", test::rss_mib(bench.master())));
  bench.stop();
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_masters_figures) {
  test::enter_own_network();
  rlimit files{};  // a thousand watches are as many connections
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  Bench bench;
  row("what", "Kubernetes", "ours to reach", "ours");
  std::filesystem::create_directories(bench.directory() / "etcd");
  {
    RawEtcd raw(bench.directory() / "etcd");
    start_and_idle(bench, raw);
    bench.start("master", "apiserver");
    writes(bench, raw);
  }
  watches(bench);
  thousand_watchers(bench);
  many_pods(bench);
  bench.stop();
  scheduling(bench);
}
