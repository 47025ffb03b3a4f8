#pragma once
// An API server under measure, with an etcd of its own and what else is asked for: Keelson's,
// or Kubernetes' own. Driven in the same way, over TLS, from a thread that shares the machine.
#include <fmt/core.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "apiclient/client.h"
#include "etcd/client.h"
#include "host/file.h"
#include "test/bench/figures.h"
#include "test/master_run.h"
#include "test/unit/http/loop_thread.h"

namespace keelson::test {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

inline std::unique_ptr<etcd::Client> etcd_client(LoopThread& loop, const std::string& endpoint) {
  std::unique_ptr<etcd::Client> client;
  loop.run([&] {
    auto made = etcd::Client::create(loop.loop(), {.servers = {endpoint}});
    BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
    client = std::move(*made);
  });
  for (bool up = false; !up;) {
    std::promise<bool> answered;
    loop.run(
        [&] { client->put({.key = "/warm", .value = "x"}, [&](auto put) { answered.set_value(put.has_value()); }); });
    up = answered.get_future().get();
  }
  return client;
}

struct Parts {
  bool scheduler = false, controllers = false;  // beside the API server
};

class Subject {
 public:
  explicit Subject(std::string name) : name_(std::move(name)) {
    char path[] = "/tmp/keelson-bench-XXXXXX";
    directory_ = ::mkdtemp(path);
  }
  virtual ~Subject() { std::filesystem::remove_all(directory_); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  const std::string& name() const { return name_; }
  // On fresh data; the time is from the launch, with etcd up before where that is measured.
  void start(const std::string& data, Parts parts) {
    std::filesystem::create_directories(directory_ / data);
    const host::Path kubeconfig = launch(data, parts);
    kubeconfig_ = kubeconfig.string();
    const auto in_time = [&] { return ms_since(began_) < 60'000; };
    while (!connect(16) && in_time()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    bool ready = false;
    while (!ready && in_time()) {
      ready = client_ && ask({.path = "/readyz", .timeout = std::chrono::seconds(1)}).has_value();
      if (!ready) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ready_ms_ = ms_since(began_);
    BOOST_REQUIRE_MESSAGE(ready, name_ << " is not ready:\n" << *host::read_file(log()));
    started();
  }
  // The scheduler as a process of its own, and its breaks.
  virtual void start_scheduler() = 0;
  void pause_scheduler() const { ::kill(scheduler_->pid(), SIGSTOP); }
  void resume_scheduler() const { ::kill(scheduler_->pid(), SIGCONT); }
  void stop() {
    loop_.run([&] { client_.reset(); });
    scheduler_.reset();
    others_.clear();
    server_.reset();
    halt_etcd();
  }

  apiclient::Outcome<std::string> ask(apiclient::ApiRequest request) {
    std::promise<apiclient::Outcome<std::string>> promise;
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
  Driven drive(int count, int parallel, const std::function<apiclient::ApiRequest(int)>& request) {
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
                    [&, sent](apiclient::Outcome<std::string> outcome) {
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

  LoopThread& loop() { return loop_; }
  apiclient::Client& client() { return *client_; }
  double ready_ms() const { return ready_ms_; }
  double server_cpu() const { return cpu_seconds(server_->pid()); }
  double etcd_cpu() const { return cpu_seconds(etcd_pid()); }
  double server_rss() const { return rss_mib(server_->pid()); }
  // Of all parts that run, without etcd.
  double rss() const {
    double all = server_rss();
    if (scheduler_) all += rss_mib(scheduler_->pid());
    for (const auto& other : others_) all += rss_mib(other->pid());
    return all;
  }
  static constexpr auto kPatience = std::chrono::seconds(120);  // for one row

 protected:
  // Starts what is asked for, sets server_ and began_; where the kubeconfig will be.
  virtual host::Path launch(const std::string& data, Parts parts) = 0;
  virtual void started() {}
  virtual void halt_etcd() {}
  virtual pid_t etcd_pid() const = 0;

  bool connect(size_t connections) {
    if (!std::filesystem::exists(kubeconfig_)) return false;
    loop_.run([&] {
      auto config = apiclient::load_kubeconfig(kubeconfig_);
      if (!config) return;  // half of it is written
      if (auto made = apiclient::Client::create(loop_.loop(), *config, connections)) client_ = std::move(*made);
    });
    return client_ != nullptr;
  }
  host::Path log() const { return directory_ / "server.log"; }

  const std::string name_;
  host::Path directory_;
  LoopThread loop_;
  std::unique_ptr<Daemon> server_, scheduler_;
  std::vector<std::unique_ptr<Daemon>> others_;
  std::unique_ptr<apiclient::Client> client_;
  std::string kubeconfig_;
  Clock::time_point began_;
  double ready_ms_ = 0;
};

class Keelson : public Subject {
 public:
  Keelson() : Subject("Keelson") {}
  ~Keelson() override { stop(); }
  // From now on with an etcd that is there already; "": with a child again.
  void use_etcd(std::string endpoint) { endpoint_ = std::move(endpoint); }
  void start_scheduler() override {
    scheduler_ = std::make_unique<Daemon>(argv("scheduler", "scheduler", {"--kubeconfig", kubeconfig_}),
                                          directory_ / "scheduler.log");
  }

 private:
  std::vector<std::string> argv(const std::string& data, const std::string& components,
                                const std::vector<std::string>& flags) const {
    std::vector<std::string> all = {own_binaries() / "keelson-master", "--config", "", "--data-dir", directory_ / data,
                                    "--components=" + components};
    all.insert(all.end(), flags.begin(), flags.end());
    return all;
  }
  host::Path launch(const std::string& data, Parts parts) override {
    std::string components = "apiserver";
    if (parts.scheduler) components += ",scheduler";
    if (parts.controllers) components += ",controllers";
    std::vector<std::string> flags;
    if (!endpoint_.empty()) flags = {"--etcd-servers", endpoint_};
    began_ = Clock::now();
    server_ = std::make_unique<Daemon>(argv(data, components, flags), log());
    return directory_ / data / "admin.kubeconfig";
  }
  void started() override { etcd_pid_ = child_of(server_->pid(), "etcd"); }
  pid_t etcd_pid() const override { return etcd_pid_; }

  std::string endpoint_;
  pid_t etcd_pid_ = 0;
};

// Of the directory of its binaries; built by tools/bench from Debian's source package. RBAC on and its
// limits of requests per second lifted, as in the figures that were taken elsewhere.
class Kubernetes : public Subject {
 public:
  explicit Kubernetes(host::Path binaries) : Subject("Kubernetes"), binaries_(std::move(binaries)) {}
  ~Kubernetes() override { stop(); }
  void start_scheduler() override {
    scheduler_ = std::make_unique<Daemon>(
        std::vector<std::string>{binaries_ / "kube-scheduler", "--kubeconfig", kubeconfig_, "--leader-elect=false",
                                 "--port=0", "--secure-port=0", "--kube-api-qps=10000", "--kube-api-burst=10000"},
        directory_ / "scheduler.log");
  }

 private:
  host::Path launch(const std::string& data, Parts parts) override {
    const std::string home = (directory_ / data).string();
    etcd_ = std::make_unique<Daemon>(
        std::vector<std::string>{"/usr/bin/etcd", "--data-dir", home + "/etcd", "--listen-client-urls", kEtcd,
                                 "--advertise-client-urls", kEtcd, "--listen-peer-urls", kPeers,
                                 "--initial-advertise-peer-urls", kPeers, "--initial-cluster",
                                 std::string("default=") + kPeers, "--log-level", "error"},
        directory_ / "etcd.log");
    auto waited = etcd_client(loop_, kEtcd);
    loop_.run([&] { waited.reset(); });
    BOOST_REQUIRE(std::system(fmt::format("openssl genrsa -out {0}/sa.key 2048 2>{0}/openssl.log && "
                                          "echo 'bench,admin,1,\"system:masters\"' >{0}/tokens",
                                          home)
                                  .c_str()) == 0);
    const host::Path kubeconfig = directory_ / data / "kubeconfig";
    BOOST_REQUIRE(host::write_file_atomically(
        kubeconfig,
        fmt::format("apiVersion: v1\nkind: Config\ncurrent-context: bench\n"
                    "clusters:\n- name: bench\n  cluster: {{server: \"https://{}:26443\", certificate-authority: "
                    "{}/certs/apiserver.crt}}\n"
                    "users:\n- name: bench\n  user: {{token: bench}}\n"
                    "contexts:\n- name: bench\n  context: {{cluster: bench, user: bench}}\n",
                    kMasterAddress, home)));
    began_ = Clock::now();
    server_ = std::make_unique<Daemon>(
        std::vector<std::string>{
            binaries_ / "kube-apiserver", std::string("--etcd-servers=") + kEtcd, "--secure-port=26443",
            std::string("--advertise-address=") + kMasterAddress, "--cert-dir=" + home + "/certs",
            "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://bench",
            "--service-account-key-file=" + home + "/sa.key", "--service-account-signing-key-file=" + home + "/sa.key",
            "--authorization-mode=RBAC", "--token-auth-file=" + home + "/tokens",
            // There are no controllers that would make a ServiceAccount.
            "--disable-admission-plugins=ServiceAccount"},
        log());
    parts_ = parts;
    return kubeconfig;
  }
  // They end when there is no API server yet.
  void started() override {
    if (parts_.scheduler) start_scheduler();
    if (!parts_.controllers) return;
    others_.push_back(std::make_unique<Daemon>(
        std::vector<std::string>{binaries_ / "kube-controller-manager", "--kubeconfig", kubeconfig_,
                                 "--leader-elect=false", "--port=0", "--secure-port=0",
                                 // Nothing may happen to the Nodes that only the bench speaks for.
                                 "--controllers=*,-nodelifecycle"},
        directory_ / "controllers.log"));
  }
  void halt_etcd() override { etcd_.reset(); }
  pid_t etcd_pid() const override { return etcd_->pid(); }

  static constexpr const char* kEtcd = "http://127.0.0.1:22379";
  static constexpr const char* kPeers = "http://127.0.0.1:22380";
  const host::Path binaries_;
  Parts parts_;
  std::unique_ptr<Daemon> etcd_;
};

}  // namespace keelson::test
