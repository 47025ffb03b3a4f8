#pragma once
// A Pods with doubles all around, in a directory of its own that goes with it.

#include <stdlib.h>

#include <filesystem>

#include "test/unit/agent/pods/doubles.h"

namespace keelson::pods::test {

struct Node {
  explicit Node(std::function<void(Settings&)> adjust = {}, bool recover = true) {
    char pattern[] = "/tmp/keelson-pods-XXXXXX";
    directory = mkdtemp(pattern);
    Settings settings;
    settings.root_dir = directory / "root";
    settings.run_dir = directory / "run";
    settings.node.name = "node";
    settings.node.ips = {"192.0.2.1"};
    settings.dns.host_resolv_conf = directory / "resolv.conf";
    settings.dns.host_hosts = directory / "hosts";
    if (adjust) adjust(settings);
    auto own_scheduler = std::make_unique<ManualScheduler>();
    scheduler = own_scheduler.get();
    runtime = std::make_unique<FakeRuntime>(*scheduler);
    images = std::make_unique<FakeImages>(*scheduler);
    network = std::make_unique<FakeNetwork>(*scheduler);
    auto own_checks = std::make_unique<FakeChecks>(*scheduler);
    checks = own_checks.get();
    images->add("app");
    pods = Pods::create(std::move(own_scheduler), std::move(own_checks), settings, {*runtime, *images, *network},
                        listener);
    runtime->events = pods.get();
    if (recover) pods->recover({});
  }
  ~Node() {
    pods.reset();
    std::filesystem::remove_all(directory);
  }

  void want(std::vector<api::Pod> wanted) {
    desired.pods.clear();
    for (auto& pod : wanted) desired.pods.push_back({.object = std::move(pod), .origin = {}});
    apply();
  }
  void apply() {
    pods->apply(desired);
    scheduler->run();
  }
  void exit(const std::string& pod, const std::string& container, int code, const std::string& message = "") {
    runtime->exit("uid-" + pod, container, FakeRuntime::code(code), message);
    scheduler->run();
  }
  void advance(Duration time) { scheduler->advance(time); }
  const api::PodStatus& status(const std::string& pod) { return listener.pods.at(pod).status; }
  const api::ContainerStatus& container(const std::string& pod, size_t index = 0) {
    return status(pod).container_statuses.at(index);
  }
  std::string condition(const std::string& pod, const std::string& type) {
    for (const auto& condition : status(pod).conditions) {
      if (condition.type == type) return condition.status;
    }
    return "";
  }

  std::filesystem::path directory;
  Recorder listener;
  std::unique_ptr<FakeRuntime> runtime;
  std::unique_ptr<FakeImages> images;
  std::unique_ptr<FakeNetwork> network;
  std::unique_ptr<Pods> pods;
  ManualScheduler* scheduler = nullptr;  // owned by pods
  FakeChecks* checks = nullptr;          // owned by pods
  api::DesiredState desired;
};

}  // namespace keelson::pods::test
