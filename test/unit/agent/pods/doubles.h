#pragma once
// The rooms around agent/pods, made of memory: a clock and loop driven by hand, a
// runtime whose containers run until told to exit, images, a network, probes.

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/pods/pods.h"
#include "api/validate.h"

namespace keelson::pods::test {

class ManualScheduler : public Scheduler {
 public:
  Moment now() override { return now_; }
  std::unique_ptr<Armed> after(Duration delay, std::function<void()> task) override {
    auto timer = std::make_unique<Timer>();
    timers_.push_back({now_.steady + delay, sequence_++, std::move(task), timer->alive});
    return timer;
  }
  void post(std::function<void()> task) override { posted_.push_back(std::move(task)); }
  void offload(std::function<void()> work, std::function<void()> done, uint64_t) override {
    posted_.push_back([work = std::move(work), done = std::move(done)] {
      work();
      done();
    });
  }
  double random() override { return 0.5; }

  // All that can happen without time passing.
  void run() {
    for (int rounds = 0; rounds < 1'000'000; ++rounds) {
      if (!posted_.empty()) {
        auto task = std::move(posted_.front());
        posted_.pop_front();
        task();
        continue;
      }
      if (!fire()) return;
    }
    throw std::runtime_error("the loop never comes to rest");
  }
  void advance(Duration time) {
    auto end = now_.steady + time;
    run();
    for (;;) {
      auto next = std::ranges::min_element(timers_, {}, [](const auto& timer) { return timer.at; });
      if (next == timers_.end() || next->at > end) break;
      move_to(next->at);
      run();
    }
    move_to(end);
    run();
  }

 private:
  struct Timer : Armed {
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
    ~Timer() override { *alive = false; }
  };
  struct Pending {
    TimePoint at;
    uint64_t sequence;
    std::function<void()> task;
    std::shared_ptr<bool> alive;
  };
  void move_to(TimePoint at) {
    if (at <= now_.steady) return;
    now_.wall_us += std::chrono::duration_cast<std::chrono::microseconds>(at - now_.steady).count();
    now_.steady = at;
  }
  bool fire() {
    std::erase_if(timers_, [](const auto& timer) { return !*timer.alive; });
    auto due =
        std::ranges::min_element(timers_, {}, [](const auto& timer) { return std::pair(timer.at, timer.sequence); });
    if (due == timers_.end() || due->at > now_.steady) return false;
    auto task = std::move(due->task);
    timers_.erase(due);
    task();
    return true;
  }

  Moment now_{TimePoint(std::chrono::hours(1)), 1'800'000'000'000'000};
  std::vector<Pending> timers_;
  uint64_t sequence_ = 0;
  std::deque<std::function<void()>> posted_;
};

// Containers run until exit() ends them; SIGTERM ends them by itself unless told
// otherwise. Every call is written down in `calls`.
class FakeRuntime : public api::PodRuntime {
 public:
  explicit FakeRuntime(Scheduler& scheduler) : scheduler_(scheduler) {}

  void start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done) override {
    calls.push_back("sandbox " + spec.name);
    auto uid = spec.uid;
    if (!sandbox_error.empty()) {
      answer(std::move(done), host::Result<api::Sandbox>(host::fail(sandbox_error)));
      return;
    }
    sandboxes[uid] = std::move(spec);
    api::Sandbox sandbox;
    sandbox.uid = uid;
    sandbox.netns_cookie = 7;
    answer(std::move(done), host::Result<api::Sandbox>(std::move(sandbox)));
  }
  void start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done) override {
    calls.push_back(fmt::format("start {}/{}", spec.id.name, spec.id.attempt));
    specs[spec.id.name] = spec;
    if (auto failing = start_errors.find(spec.id.name); failing != start_errors.end()) {
      answer(std::move(done), host::Result<api::StartedContainer>(host::fail(failing->second)));
      return;
    }
    double_starts += running.contains({spec.id.pod_uid, spec.id.name});
    running[{spec.id.pod_uid, spec.id.name}] = spec.id.attempt;
    answer(std::move(done), host::Result<api::StartedContainer>({.pid = 1, .started_at_us = scheduler_.now().wall_us}));
  }
  void signal_container(const api::ContainerId& id, int signal, api::StatusCallback done) override {
    calls.push_back(fmt::format("signal {} {}", id.name, signal));
    scheduler_.post([done = std::make_shared<api::StatusCallback>(std::move(done))] { (*done)({}); });
    bool ends = signal == 9 || !stubborn.contains(id.name);
    if (ends) scheduler_.post([this, id, signal] { exit(id.pod_uid, id.name, signal); });
  }
  void exec(const api::ContainerId&, api::ExecSpec, api::Callback<int> done) override {
    answer(std::move(done), host::Result<int>(0));
  }
  void remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done) override {
    auto name = sandboxes.contains(uid) ? sandboxes[uid].name : uid;
    calls.push_back(fmt::format("{} {}", forget ? "forget" : "remove", name));
    if (forget) sandboxes.erase(uid);
    std::erase_if(running, [&](const auto& entry) { return entry.first.first == uid; });
    scheduler_.post([done = std::make_shared<api::StatusCallback>(std::move(done))] { (*done)({}); });
  }

  // A container ends, with a wait status.
  void exit(const std::string& uid, const std::string& name, int wait_status, std::string message = "") {
    auto found = running.find({uid, name});
    if (found == running.end()) return;
    api::ExitRecord record;
    record.id = {uid, name, found->second};
    record.wait_status = wait_status;
    record.termination_message = std::move(message);
    record.finished_at_us = scheduler_.now().wall_us;
    running.erase(found);
    events->container_exited(record);
  }
  static constexpr int code(int exit_code) { return exit_code << 8; }
  size_t count(const std::string& call) const { return static_cast<size_t>(std::ranges::count(calls, call)); }
  // Calls that begin so, in order.
  std::vector<std::string> those(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const auto& call : calls) {
      if (call.starts_with(prefix)) found.push_back(call);
    }
    return found;
  }

  api::PodRuntimeEvents* events = nullptr;
  std::vector<std::string> calls;
  std::map<std::string, api::SandboxSpec> sandboxes;
  std::map<std::string, api::ContainerSpec> specs;  // the last of each container name
  std::map<std::pair<std::string, std::string>, uint32_t> running;
  std::set<std::string> stubborn;  // ignore SIGTERM
  std::map<std::string, std::string> start_errors;
  std::string sandbox_error;
  int double_starts = 0;

 private:
  template <typename T>
  void answer(api::Callback<T> done, host::Result<T> result) {
    auto both = std::make_shared<std::pair<api::Callback<T>, host::Result<T>>>(std::move(done), std::move(result));
    scheduler_.post([both] { both->first(std::move(both->second)); });
  }
  Scheduler& scheduler_;
};

class FakeImages : public api::ImageStore {
 public:
  explicit FakeImages(Scheduler& scheduler) : scheduler_(scheduler) {}
  host::Result<api::ImageInfo> find(const std::string& reference) override {
    if (reference.find(' ') != std::string::npos)
      return host::fail(host::Error::Code::invalid, "couldn't parse image name");
    auto found = images.find(reference);
    if (found == images.end()) return host::fail(host::Error::Code::not_found, "no such image");
    return found->second;
  }
  void pull(const std::string& reference, std::vector<api::RegistryCredential> credentials,
            api::Callback<api::ImageInfo> done) override {
    pulls.push_back(reference);
    last_credentials = std::move(credentials);
    auto result = pull_error.empty() ? find(reference) : host::Result<api::ImageInfo>(host::fail(pull_error));
    auto both = std::make_shared<std::pair<api::Callback<api::ImageInfo>, host::Result<api::ImageInfo>>>(
        std::move(done), std::move(result));
    scheduler_.post([both] { both->first(std::move(both->second)); });
  }
  void on_appeared(std::function<void()> listener) override { listeners.push_back(std::move(listener)); }

  void add(const std::string& reference) {
    api::ImageInfo image;
    image.id = "sha256:" + reference;
    image.tags = {"docker.io/library/" + reference + ":latest"};
    image.layers = {"/layers/" + reference};
    image.command = {"/bin/" + reference};
    images[reference] = image;
    for (auto& listener : listeners) listener();
  }
  std::map<std::string, api::ImageInfo> images;
  std::vector<std::string> pulls;
  std::vector<api::RegistryCredential> last_credentials;
  std::string pull_error;
  std::vector<std::function<void()>> listeners;

 private:
  Scheduler& scheduler_;
};

class FakeNetwork : public api::PodNetwork {
 public:
  explicit FakeNetwork(Scheduler& scheduler) : scheduler_(scheduler) {}
  void attach(const std::string& uid, const api::Sandbox&, api::Callback<api::PodAddresses> done) override {
    auto& held = addresses_[uid];
    if (held.ips.empty()) held.ips = {fmt::format("10.244.0.{}", ++last_)};
    auto both = std::make_shared<std::pair<api::Callback<api::PodAddresses>, api::PodAddresses>>(std::move(done), held);
    scheduler_.post([both] { both->first(both->second); });
  }
  void detach(const std::string& uid, api::StatusCallback done) override {
    addresses_.erase(uid);
    scheduler_.post([done = std::make_shared<api::StatusCallback>(std::move(done))] { (*done)({}); });
  }
  void retain(const std::vector<std::string>& uids) override { retained = uids; }
  host::Result<api::PodAddresses> addresses(const std::string& uid) override {
    auto found = addresses_.find(uid);
    if (found == addresses_.end()) return host::fail(host::Error::Code::not_found, "not attached");
    return found->second;
  }
  std::map<std::string, api::PodAddresses> addresses_;
  std::vector<std::string> retained;

 private:
  Scheduler& scheduler_;
  int last_ = 1;
};

// Answers by container name; "" is everybody's.
class FakeChecks : public Checks {
 public:
  explicit FakeChecks(Scheduler& scheduler) : scheduler_(scheduler) {}
  void run(Check check, std::function<void(CheckResult)> done) override {
    asked.push_back(check.container.name);
    if (held.contains(check.container.name)) return;
    auto result = results.contains(check.container.name) ? results[check.container.name] : CheckResult{true, ""};
    scheduler_.post([done = std::move(done), result] { done(result); });
  }
  std::map<std::string, CheckResult> results;
  std::set<std::string> held;  // never answers for these
  std::vector<std::string> asked;

 private:
  Scheduler& scheduler_;
};

class Recorder : public PodsListener {
 public:
  void pod_changed(const api::Pod& pod) override {
    pods[pod.metadata.name] = pod;
    ++changes[pod.metadata.name];
    if (phases[pod.metadata.name].empty() || phases[pod.metadata.name].back() != pod.status.phase)
      phases[pod.metadata.name].push_back(pod.status.phase);
  }
  void pod_removed(const std::string&, const std::string& name) override {
    pods.erase(name);
    removed.push_back(name);
  }
  void sandbox_started(const std::string& uid, const api::Sandbox&, const std::vector<std::string>& ips) override {
    sandboxes[uid] = ips;
  }
  void sandbox_gone(const std::string& uid) override { sandboxes.erase(uid); }
  void pod_noted(const api::Pod& pod, const Note& note) override {
    notes[pod.metadata.name].push_back(note.reason + ": " + note.message);
  }

  std::map<std::string, std::vector<std::string>> notes;
  std::map<std::string, api::Pod> pods;
  std::map<std::string, int> changes;
  std::map<std::string, std::vector<std::string>> phases;
  std::vector<std::string> removed;
  std::map<std::string, std::vector<std::string>> sandboxes;
};

inline api::Container make_container(const std::string& name) {
  api::Container container;
  container.name = name;
  container.image = "app";
  container.image_pull_policy = "IfNotPresent";
  return container;
}

inline api::Pod make_pod(const std::string& name, std::vector<api::Container> containers,
                         std::vector<api::Container> inits = {}) {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = name;
  pod.metadata.uid = "uid-" + name;
  pod.spec.containers = std::move(containers);
  pod.spec.init_containers = std::move(inits);
  pod.spec.restart_policy = "Always";
  pod.spec.dns_policy = "ClusterFirst";
  pod.spec.termination_grace_period_seconds = 30;
  return pod;
}

}  // namespace keelson::pods::test
