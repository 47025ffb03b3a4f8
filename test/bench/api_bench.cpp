// tools/bench api: the rows of "Figures to beat" that need no node, measured from the outside
// over TLS, with what etcd by itself costs in the same run; and with --peer what Debian's
// Kubernetes takes for the same, row by row in turn. The client shares the machine's cores with
// what it measures.
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
#include "etcd/client.h"
#include "test/bench/api_subject.h"
#include "test/bench/figures.h"
#include "test/master_run.h"
#include "test/patience.h"
#include "test/unit/http/loop_thread.h"

namespace {

using namespace std::chrono_literals;
using namespace keelson;
using apiclient::ApiRequest;
using test::Clock;
using test::Figures;
using test::ms_since;
using test::Subject;

constexpr int kPods = 1000;
constexpr int kManyPods = 10'000;
constexpr int kNodes = 100;  // that the many pods are spread over
constexpr int kWatchers = 1000;
constexpr size_t kPodBytes = 4096;

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

ApiRequest create_pod(const std::string& name, const std::string& on = {}) {
  return {.method = "POST", .path = "/api/v1/namespaces/default/pods", .body = pod(name, on)};
}

ApiRequest remove_pod(const std::string& name) {
  return {.method = "DELETE",
          .path = "/api/v1/namespaces/default/pods/" + name,
          .body = R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0})"};
}

// etcd by itself, over a unix socket, as the master's child listens.
struct RawEtcd {
  explicit RawEtcd(const std::filesystem::path& directory)
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
  auto client = test::etcd_client(loop, raw.endpoint);
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
  Watches(Subject& subject, int count) : subject_(subject), rest_(static_cast<size_t>(count)) {
    std::promise<void> all;
    int open = 0;
    subject.loop().run([&] {
      for (int i = 0; i < count; ++i) {
        http::Query query;
        query.add("watch", "true");
        query.add("resourceVersion", version());
        query.add("timeoutSeconds", "600");
        calls_.push_back(subject.client().stream(
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
    BOOST_REQUIRE_MESSAGE(all.get_future().wait_for(Subject::kPatience) == std::future_status::ready,
                          "not all watches opened");
  }
  ~Watches() {
    subject_.loop().run([&] { calls_.clear(); });
  }
  // Creates a pod; how long until each watch has read its event.
  void create(const std::string& name, Figures& samples) {
    std::promise<void> all;
    subject_.loop().run([&] {
      expected_ = "\"" + name + "\"";
      samples_ = &samples;
      left_ = rest_.size();
      told_ = &all;
      sent_ = Clock::now();
      subject_.client().request(create_pod(name), [](auto) {}).detach();
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
  Subject& subject_;
  std::vector<std::string> rest_;
  std::vector<apiclient::Call> calls_;
  std::string expected_, version_;
  Figures* samples_ = nullptr;
  size_t left_ = 0;
  std::promise<void>* told_ = nullptr;
  Clock::time_point sent_;
};

// --- the rows

// What was measured, row by row: ours, and of the peer where there is one.
struct Measured {
  std::string text;
  double figure = 0;  // for the ratio
};
struct Row {
  std::string what, published, goal;
  bool more_is_better = false;
  std::vector<Measured> of_subjects{};
};

class Report {
 public:
  explicit Report(bool peer) : peer_(peer) {
    print("what", "Kubernetes, published", "ours to reach", "ours", peer ? "Kubernetes, here" : "",
          peer ? "ratio" : "");
  }
  // For a cell of several figures the ratio is that of `figure`.
  void add(const Row& row, std::string text, double figure) {
    auto place = std::ranges::find(rows_, row.what, &Row::what);
    if (place == rows_.end()) place = rows_.insert(rows_.end(), row);
    place->of_subjects.push_back({std::move(text), figure});
  }
  // All subjects have been through it.
  void print_section() {
    for (const Row& row : std::exchange(rows_, {})) {
      const Measured& ours = row.of_subjects.at(0);
      std::string theirs, ratio;
      if (peer_ && row.of_subjects.size() > 1) {
        theirs = row.of_subjects[1].text;
        const double their_figure = row.of_subjects[1].figure;
        ratio = fmt::format("{:.1f}", row.more_is_better ? ours.figure / their_figure : their_figure / ours.figure);
      }
      print(row.what, row.published, row.goal, ours.text, theirs, ratio);
    }
  }
  static void print(const std::string& what, const std::string& published, const std::string& goal,
                    const std::string& ours, const std::string& theirs, const std::string& ratio) {
    fmt::print("{:<44} {:>26} {:>18}   {:<34} {:<34} {}\n", what, published, goal, ours, theirs, ratio);
    std::fflush(stdout);
  }

 private:
  const bool peer_;
  std::vector<Row> rows_;
};

std::string rate(int count, double seconds) { return fmt::format("{:.0f}/s", count / seconds); }

void start_and_idle(Subject& subject, Report& report) {
  subject.start("idle", {.scheduler = true, .controllers = true});
  report.add({"start to /readyz, etcd up", "2.2–2.6 s, 1.5–2.0 CPU-s", "≤ 0.1 s"},
             fmt::format("{:.3f} s, {:.2f} CPU-s", subject.ready_ms() / 1000, subject.server_cpu()),
             subject.ready_ms());
  std::this_thread::sleep_for(5s);
  report.add({"idle RSS: apiserver + controllers + scheduler", "275 + 76 + 50 MiB", "≤ 40 MiB"},
             fmt::format("{:.1f} MiB", subject.rss()), subject.rss());
  subject.stop();
}

void etcd_itself(Subject& subject, RawEtcd& raw, Report& report) {
  const auto etcd16 = raw_puts(subject.loop(), raw, kPods, 16, pod("raw"));
  auto etcd1 = raw_puts(subject.loop(), raw, 300, 1, pod("raw"));
  report.add({"etcd itself: 1,000 puts of 4 KB, 16 at a time", "", ""},
             fmt::format("{}, {:.2f} ms CPU each", rate(kPods, etcd16.seconds), etcd16.cpu_ms), 0);
  report.add({"etcd itself: put, one at a time, p50 / p99", "", ""},
             fmt::format("{:.2f} / {:.2f} ms", etcd1.samples.at(0.5), etcd1.samples.at(0.99)), 0);
}

void writes(Subject& subject, Report& report) {
  // The connections stand: a handshake with certificates takes as long as several creations.
  subject.drive(160, 16, [](int) { return ApiRequest{.path = "/api/v1/namespaces/default"}; });
  const auto cpu = subject.server_cpu(), etcd_cpu = subject.etcd_cpu();
  const auto created = subject.drive(kPods, 16, [](int i) { return create_pod(fmt::format("p{}", i)); });
  report.add({"create 1,000 pods, 16 connections", "959–1,802/s, 0.7–1.4 ms CPU", "≥ 4,000/s, 0.15 ms", true},
             fmt::format("{}, {:.2f} ms CPU, etcd {:.2f}", rate(kPods, created.seconds),
                         (subject.server_cpu() - cpu) * 1000 / kPods, (subject.etcd_cpu() - etcd_cpu) * 1000 / kPods),
             kPods / created.seconds);
  report.add({"RSS with 1,000 pods", "323 MiB", "≤ 60 MiB"}, fmt::format("{:.1f} MiB", subject.server_rss()),
             subject.server_rss());

  auto got = subject.drive(
      1000, 1, [](int i) { return ApiRequest{.path = fmt::format("/api/v1/namespaces/default/pods/p{}", i)}; });
  report.add({"GET p50", "0.4–1.3 ms", "≤ 0.15 ms"}, fmt::format("{:.3f} ms", got.samples.at(0.5)),
             got.samples.at(0.5));
  auto listed = subject.drive(20, 1, [](int) { return ApiRequest{.path = "/api/v1/namespaces/default/pods"}; });
  report.add({"LIST 1,000 as JSON", "23–32 ms", "≤ 4 ms"}, fmt::format("{:.1f} ms", listed.samples.at(0.5)),
             listed.samples.at(0.5));

  const auto removed = subject.drive(kPods, 16, [](int i) { return remove_pod(fmt::format("p{}", i)); });
  report.add({"delete 1,000, 16 connections", "345–870/s", "≥ 3,000/s", true}, rate(kPods, removed.seconds),
             kPods / removed.seconds);
  auto single = subject.drive(300, 1, [](int i) { return create_pod(fmt::format("s{}", i)); });
  report.add({"create, one connection, p50", "1.7 ms", "≤ 0.9 ms"}, fmt::format("{:.2f} ms", single.samples.at(0.5)),
             single.samples.at(0.5));
  subject.drive(300, 16, [](int i) { return remove_pod(fmt::format("s{}", i)); });
}

void watches(Subject& subject, Report& report) {
  Figures samples;
  {
    Watches one(subject, 1);
    for (int i = 0; i < 200; ++i) one.create(fmt::format("w{}", i), samples);
  }
  report.add({"watch, POST sent → event read, p50 / p99", "3.4 / 5.3 ms", "≤ 1.5 / ≤ 3 ms"},
             fmt::format("{:.2f} / {:.2f} ms", samples.at(0.5), samples.at(0.99)), samples.at(0.5));
  subject.drive(200, 16, [](int i) { return remove_pod(fmt::format("w{}", i)); });
}

void thousand_watchers(Subject& subject, Report& report) {
  Watches many(subject, kWatchers);
  Figures samples;
  for (int i = 0; i < 30; ++i) {
    many.create(fmt::format("m{}", i), samples);
    std::this_thread::sleep_for(20ms);
  }
  report.add({"1,000 watchers, event p50 / p99", "49–70 / 132–168 ms", "≤ 10 / ≤ 25 ms"},
             fmt::format("{:.1f} / {:.1f} ms", samples.at(0.5), samples.at(0.99)), samples.at(0.5));
}

void many_pods(Subject& subject, Report& report) {
  auto created = subject.drive(
      kManyPods, 16, [](int i) { return create_pod(fmt::format("n{}", i), fmt::format("node-{}", i % kNodes)); });
  report.add({"create 10,000 pods bound to nodes", "", "", true}, rate(kManyPods, created.seconds),
             kManyPods / created.seconds);
  report.add({"RSS with 10,000 pods", "855–1565 MiB", "≤ 200 MiB"}, fmt::format("{:.1f} MiB", subject.server_rss()),
             subject.server_rss());
  const auto ask = [&](const Row& row, const std::string& query, const std::string& accept, int times) {
    auto listed = subject.drive(times, 1, [&](int) {
      ApiRequest request{.path = "/api/v1/pods", .accept = accept, .body_limit = size_t{1} << 30};
      if (!query.empty()) request.query.add("fieldSelector", query);
      return request;
    });
    report.add(row,
               fmt::format("{:.1f} ms, {:.1f} MB", listed.samples.at(0.5),
                           static_cast<double>(listed.bytes) / times / 1'000'000),
               listed.samples.at(0.5));
  };
  ask({"LIST 10,000 as JSON", "315–1109 ms", "≤ 60 ms"}, "", "application/json", 7);
  ask({"Table of 10,000", "563–584 ms", "≤ 60 ms"}, "", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
      7);
  ask({"pods of one node among 10,000", "226–252 ms", "≤ 2 ms"}, "spec.nodeName=node-7", "application/json", 50);
}

// How many Pods have a node: a watch of those, whose events are counted and not read, which would take a
// tenth of what is measured.
class BoundPods {
 public:
  explicit BoundPods(Subject& subject) : subject_(subject) {
    std::promise<void> open;
    subject.loop().run([&] {
      http::Query query;
      query.add("watch", "true");
      query.add("fieldSelector", "spec.nodeName!=");
      query.add("timeoutSeconds", "600");
      call_ = subject.client().stream({.path = "/api/v1/pods", .query = std::move(query), .timeout = 60s},
                                      {.head =
                                           [&](int status, const http::Headers&) {
                                             BOOST_CHECK(status == 200);
                                             open.set_value();
                                           },
                                       .chunk =
                                           [this](const std::string& chunk) {
                                             events_ += std::ranges::count(chunk, '\n');
                                             last_ = Clock::now();
                                           },
                                       .end = {}});
    });
    BOOST_REQUIRE(open.get_future().wait_for(Subject::kPatience) == std::future_status::ready);
  }
  ~BoundPods() {
    subject_.loop().run([&] { call_ = {}; });
  }
  // When it is so, or not in time.
  bool are(int64_t count) {
    const auto so = [&] {
      bool is_so = false;
      subject_.loop().run([&] { is_so = events_ == count; });
      return is_so;
    };
    return test::eventually(so, Subject::kPatience);
  }
  Clock::time_point last() const { return last_; }

 private:
  Subject& subject_;
  apiclient::Call call_;
  int64_t events_ = 0;
  Clock::time_point last_;
};

// Once with Pods that wait (the scheduler is a process of its own, stopped until all of them are there), once with Pods
// that are scheduled while others are made.
double scheduled_per_second(Subject& subject, bool waiting) {
  if (waiting) {
    subject.start("waiting", {.controllers = true});
    subject.start_scheduler();
  } else {
    subject.start("scheduling", {.scheduler = true, .controllers = true});
  }
  for (int i = 0; i < 10; ++i) {
    const auto name = fmt::format("node-{}", i);
    BOOST_REQUIRE(subject.ask({.method = "POST", .path = "/api/v1/nodes", .body = node(name)}).has_value());
    // What a new Node is given (not-ready:NoSchedule) and what creation ignores (its status).
    const auto status = subject.ask({.method = "PATCH",
                                     .path = "/api/v1/nodes/" + name + "/status",
                                     .body = node(name),
                                     .content_type = "application/merge-patch+json"});
    BOOST_REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().message));
    BOOST_REQUIRE(subject
                      .ask({.method = "PATCH",
                            .path = "/api/v1/nodes/" + name,
                            .body = R"({"spec":{"taints":null}})",
                            .content_type = "application/merge-patch+json"})
                      .has_value());
  }
  // The first Pod shows that the scheduler has come so far; it does not count.
  BoundPods bound(subject);
  subject.drive(1, 1, [](int) { return create_pod("first"); });
  BOOST_REQUIRE(bound.are(1));
  auto began = Clock::now();
  if (waiting) subject.pause_scheduler();
  subject.drive(kPods, 16, [](int i) { return create_pod(fmt::format("p{}", i)); });
  if (waiting) {
    began = Clock::now();
    subject.resume_scheduler();
  }
  BOOST_REQUIRE(bound.are(kPods + 1));
  return kPods / std::chrono::duration<double>(bound.last() - began).count();
}

void scheduling(Subject& subject, Report& report) {
  const double waiting = scheduled_per_second(subject, true);
  subject.stop();
  const double made = scheduled_per_second(subject, false);
  report.add({"scheduling 1,000 pods onto 10 nodes", "55/s (473–588 unlimited)", "≥ 3,000/s", true},
             fmt::format("{:.0f}/s", waiting), waiting);
  report.add({"the same, while they are created", "", "", true}, fmt::format("{:.0f}/s", made), made);
  report.add({"RSS of all components with 1,000 pods", "", ""}, fmt::format("{:.1f} MiB", subject.rss()),
             subject.rss());
  subject.stop();
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_masters_figures) {
  test::enter_own_network();
  rlimit files{};  // a thousand watches are as many connections
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const char* peer = std::getenv("KEELSON_PEER");  // the directory of Kubernetes' binaries
  test::Keelson keelson;
  std::vector<Subject*> subjects = {&keelson};
  std::optional<test::Kubernetes> kubernetes;
  if (peer != nullptr) subjects.push_back(&kubernetes.emplace(host::Path(peer)));
  Report report(peer != nullptr);
  const auto section = [&](const std::function<void(Subject&, Report&)>& measure) {
    for (Subject* subject : subjects) {
      ::sync();  // what was written before goes to the disk before, not meanwhile
      measure(*subject, report);
    }
    report.print_section();
  };
  const auto directory = std::filesystem::path("/tmp") / fmt::format("keelson-bench-etcd-{}", ::getpid());
  std::filesystem::create_directories(directory);
  {
    RawEtcd raw(directory);
    raw_puts(keelson.loop(), raw, 1, 1, "up");
    keelson.use_etcd(raw.endpoint);
    section(start_and_idle);
    keelson.use_etcd("");
    etcd_itself(keelson, raw, report);
    report.print_section();
  }
  std::filesystem::remove_all(directory);
  for (Subject* subject : subjects) subject->start("api", {});
  section(writes);
  section(watches);
  section(thousand_watchers);
  section(many_pods);
  for (Subject* subject : subjects) subject->stop();
  section(scheduling);
}
