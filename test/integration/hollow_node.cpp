// hollow-node: nodes without a kernel behind them, for tests and benchmarks of the control
// plane, as Kubernetes' kubemark has them. Registers each node, renews its Lease, and plays
// the part of its agent: Pods that are bound to it run and are Ready at once, those that are
// deleted are gone at once. Killing it is the death of all its nodes.
//
//   hollow-node KUBECONFIG [--cpu N] [--pods N] [--first N] [--unready] [--quiet-pods] NAME…

#include <fmt/core.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "apiclient/client.h"
#include "apiclient/kubeconfig.h"
#include "apiclient/reflector.h"
#include "host/log.h"

namespace keelson::test {

namespace {

using apiclient::Outcome;
using apiclient::PatchType;

struct Settings {
  std::string cpu = "32", pods = "1000";
  int first = 1;  // number of the first node: addresses follow from it
  bool ready = true;
  bool run_pods = true;
};

std::string now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return api::to_string(api::Time{std::chrono::duration_cast<std::chrono::seconds>(since).count()});
}

class HollowNode {
 public:
  HollowNode(host::Loop& loop, apiclient::Client& client, std::string name, int number, const Settings& settings)
      : loop_(loop), client_(client), name_(std::move(name)), number_(number), settings_(settings) {
    enter();
    if (!settings_.run_pods) return;
    pods_ = std::make_unique<apiclient::Reflector<api::Pod>>(
        client_, apiclient::ReflectorOptions{.field_selector = "spec.nodeName=" + name_},
        apiclient::Reflector<api::Pod>::Handlers{
            .synced = [this] { pods_->each([this](const auto& pod) { look(*pod); }); },
            .changed = [this](const auto&, const auto& pod) { look(*pod); },
            .deleted = {},
            .failed = [](const apiclient::Failure& failure) { host::log_warning("{}", failure.message); }});
  }

 private:
  void enter() {
    api::Node node;
    node.metadata.name = name_;
    node.metadata.labels = {{"kubernetes.io/hostname", name_}};
    client_
        .create<api::Node>(node, {},
                           [this](Outcome<api::Node> outcome) {
                             if (!outcome && !outcome.error().already_exists()) {
                               host::log_warning("{}", outcome.error().message);
                               retry_ = loop_.after(std::chrono::milliseconds(200), [this] { enter(); });
                               return;
                             }
                             say();
                             renew();
                           })
        .detach();
  }

  void say() {
    const std::string amounts = fmt::format(R"({{"cpu":"{}","memory":"64Gi","ephemeral-storage":"100Gi","pods":"{}"}})",
                                            settings_.cpu, settings_.pods);
    const std::string body = fmt::format(
        R"({{"status":{{"capacity":{0},"allocatable":{0},"addresses":[{{"type":"InternalIP","address":"192.0.2.{1}"}}],)"
        R"("conditions":[{{"type":"Ready","status":"{2}","reason":"Hollow","message":"no kernel behind it",)"
        R"("lastHeartbeatTime":"{3}","lastTransitionTime":"{3}"}}]}}}})",
        amounts, 100 + number_, settings_.ready ? "True" : "False", now());
    client_
        .patch<api::Node>({}, name_, PatchType::strategic, body, {.subresource = "status"},
                          [](Outcome<api::Node> outcome) {
                            if (!outcome) host::log_warning("{}", outcome.error().message);
                          })
        .detach();
  }

  void renew() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    const api::MicroTime time{std::chrono::duration_cast<std::chrono::microseconds>(since).count()};
    api::Lease lease;
    lease.metadata.namespace_ = "kube-node-lease";
    lease.metadata.name = name_;
    lease.spec.holder_identity = name_;
    lease.spec.lease_duration_seconds = 40;
    lease.spec.renew_time = time;
    const auto done = [this](Outcome<api::Lease> outcome) {
      lease_known_ = outcome || !outcome.error().not_found();
      lease_timer_ = loop_.after(std::chrono::milliseconds(500), [this] { renew(); });
    };
    if (lease_known_) {
      const std::string body = fmt::format(R"({{"spec":{{"renewTime":"{}"}}}})", api::to_string(time));
      client_.patch<api::Lease>(lease.metadata.namespace_, name_, PatchType::merge, body, {}, done).detach();
    } else {
      // Its Node may have been found Unknown meanwhile: it speaks again.
      client_.create<api::Lease>(lease, {}, done).detach();
    }
    if (++renewals_ % 4 == 0) say();
  }

  void look(const api::Pod& pod) {
    const std::string uid = pod.metadata.uid;
    if (pod.metadata.deletion_timestamp) {
      if (!gone_.insert(uid).second) return;
      client_
          .remove<api::Pod>(pod.metadata.namespace_, pod.metadata.name, {.grace_period_seconds = 0, .uid = uid},
                            [this, uid](Outcome<void> outcome) {
                              if (!outcome && !outcome.error().not_found()) gone_.erase(uid);
                            })
          .detach();
      return;
    }
    bool is_ready = false;
    for (const api::PodCondition& condition : pod.status.conditions) {
      is_ready = is_ready || (condition.type == "Ready" && condition.status == "True");
    }
    if (is_ready || !busy_.insert(uid).second) return;
    const int pod_number = numbers_.try_emplace(uid, static_cast<int>(numbers_.size()) + 1).first->second;
    const std::string ip = fmt::format("10.244.{}.{}", number_ * 4 + pod_number / 250, pod_number % 250 + 1);
    const std::string body = fmt::format(
        R"({{"metadata":{{"uid":"{0}"}},"status":{{"phase":"Running","podIP":"{1}","podIPs":[{{"ip":"{1}"}}],)"
        R"("startTime":"{2}","conditions":[{{"type":"Initialized","status":"True","lastTransitionTime":"{2}"}},)"
        R"({{"type":"ContainersReady","status":"True","lastTransitionTime":"{2}"}},)"
        R"({{"type":"Ready","status":"True","lastTransitionTime":"{2}"}}]}}}})",
        uid, ip, now());
    client_
        .patch<api::Pod>(pod.metadata.namespace_, pod.metadata.name, PatchType::strategic, body,
                         {.subresource = "status"},
                         [this, uid](Outcome<api::Pod> outcome) {
                           busy_.erase(uid);
                           if (!outcome) host::log_debug("{}", outcome.error().message);
                         })
        .detach();
  }

  host::Loop& loop_;
  apiclient::Client& client_;
  std::string name_;
  int number_;
  Settings settings_;
  std::unique_ptr<apiclient::Reflector<api::Pod>> pods_;
  host::Timer retry_, lease_timer_;
  bool lease_known_ = false;
  int renewals_ = 0;
  std::set<std::string> busy_, gone_;
  std::map<std::string, int> numbers_;
};

int run(int argc, char** argv) {
  Settings settings;
  std::vector<std::string> names;
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--cpu") == 0 && i + 1 < argc) {
      settings.cpu = argv[++i];
    } else if (std::strcmp(argv[i], "--pods") == 0 && i + 1 < argc) {
      settings.pods = argv[++i];
    } else if (std::strcmp(argv[i], "--first") == 0 && i + 1 < argc) {
      settings.first = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--unready") == 0) {
      settings.ready = false;
    } else if (std::strcmp(argv[i], "--quiet-pods") == 0) {
      settings.run_pods = false;
    } else {
      names.emplace_back(argv[i]);
    }
  }
  if (names.empty()) {
    fmt::print(stderr,
               "usage: hollow-node KUBECONFIG [--cpu N] [--pods N] [--first N] [--unready] [--quiet-pods] NAME…\n");
    return 2;
  }
  auto config = apiclient::load_kubeconfig(argv[1]);
  if (!config) {
    fmt::print(stderr, "hollow-node: {}\n", config.error().message);
    return 1;
  }
  ::signal(SIGPIPE, SIG_IGN);
  const auto loop = host::Loop::create(1);
  auto client = apiclient::Client::create(*loop, *config, 16);
  if (!client) {
    fmt::print(stderr, "hollow-node: {}\n", client.error().message);
    return 1;
  }
  std::vector<std::unique_ptr<HollowNode>> nodes;
  for (const std::string& name : names) {
    nodes.push_back(
        std::make_unique<HollowNode>(*loop, **client, name, settings.first + static_cast<int>(nodes.size()), settings));
  }
  loop->on_signal(SIGTERM, [&] { loop->stop(); });
  loop->run();
  nodes.clear();
  return 0;
}

}  // namespace

}  // namespace keelson::test

int main(int argc, char** argv) { return keelson::test::run(argc, argv); }
