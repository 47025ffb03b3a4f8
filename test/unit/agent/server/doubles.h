#pragma once
// Doubles of what the agent's API asks of the other rooms. They live on the loop's thread.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "agent/server/views.h"
#include "host/loop.h"

namespace keelson::test {

class FakePods : public server::PodView {
 public:
  explicit FakePods(host::Loop& loop) : loop_(loop) {}
  std::vector<api::Pod> list() override { return pods; }
  std::optional<api::Pod> find(const std::string& namespace_, const std::string& name) override {
    for (const auto& pod : pods) {
      if (pod.metadata.namespace_ == namespace_ && pod.metadata.name == name) return pod;
    }
    return std::nullopt;
  }
  host::Result<host::Path> log_file(const api::Pod&, const std::string&, bool previous) override {
    if (previous || log.empty()) return host::fail(host::Error::Code::not_found, "no such attempt");
    return log;
  }
  void exec(const api::Pod&, const std::string& container, api::ExecSpec spec, api::Callback<int> done) override {
    executed = container;
    if (!exec_error.empty()) {
      loop_.post(
          [this, done = std::make_shared<api::Callback<int>>(std::move(done))] { (*done)(host::fail(exec_error)); });
      return;
    }
    // A "process": echoes stdin to stdout, says its words on stderr, then ends.
    auto in = std::make_shared<host::Fd>(std::move(spec.stdin_fd));
    auto out = std::make_shared<host::Fd>(std::move(spec.stdout_fd));
    auto err = std::make_shared<host::Fd>(std::move(spec.stderr_fd));
    auto over = std::make_shared<api::Callback<int>>(std::move(done));
    process = std::thread([this, in, out, err, over, argv = spec.argv] {
      for (const auto& word : argv) {
        if (*err) (void)!::write(err->get(), word.data(), word.size());
      }
      char block[4096];
      for (ssize_t size; *in && (size = ::read(in->get(), block, sizeof block)) > 0;) {
        (void)!::write(out->get(), block, static_cast<size_t>(size));
      }
      std::string big(big_output, 'x');
      for (size_t sent = 0; *out && sent < big.size();) {
        const ssize_t size = ::write(out->get(), big.data() + sent, big.size() - sent);
        if (size <= 0) break;
        sent += static_cast<size_t>(size);
      }
      in->reset();
      out->reset();
      err->reset();
      loop_.post([this, over] { (*over)(wait_status); });
    });
  }
  ~FakePods() override {
    if (process.joinable()) process.join();
  }

  std::vector<api::Pod> pods;
  host::Path log;
  std::string executed, exec_error;
  int wait_status = 7 << 8;
  size_t big_output = 0;
  std::thread process;

 private:
  host::Loop& loop_;
};

class FakeInbox : public server::ManifestInbox {
 public:
  explicit FakeInbox(host::Loop& loop) : loop_(loop) {}
  void store(server::PushOrder order,
             std::move_only_function<void(std::expected<server::PushReceipt, server::PushRefusal>)> done) override {
    orders.push_back(std::move(order));
    auto later = std::make_shared<decltype(done)>(std::move(done));
    loop_.post([this, later] {
      if (refusal) return (*later)(std::unexpected(*refusal));
      (*later)(server::PushReceipt{.keys = {{"Pod", "default", "web"}}, .warnings = {}});
    });
  }
  void remove(const api::ObjectKey& key, api::StatusCallback done) override {
    removed.push_back(key);
    auto later = std::make_shared<api::StatusCallback>(std::move(done));
    loop_.post([later, key] {
      if (key.name == "unknown") return (*later)(host::fail(host::Error::Code::not_found, "was not pushed"));
      (*later)({});
    });
  }
  std::vector<server::PushOrder> orders;
  std::vector<api::ObjectKey> removed;
  std::optional<server::PushRefusal> refusal;

 private:
  host::Loop& loop_;
};

class FakeServices : public server::ServiceView {
 public:
  std::vector<api::Service> services() override { return list; }
  std::vector<server::Backend> backends() override { return behind; }
  std::vector<server::Flow> flows(uint64_t after) override {
    std::vector<server::Flow> later;
    std::ranges::copy_if(seen, std::back_inserter(later), [&](const auto& flow) { return flow.number > after; });
    return later;
  }
  void on_flows(std::function<void()> listener) override { more = std::move(listener); }
  std::vector<api::Service> list;
  std::vector<server::Backend> behind;
  std::vector<server::Flow> seen;
  std::function<void()> more;
};

class FakeNode : public server::NodeView {
 public:
  explicit FakeNode(host::Loop& loop) : loop_(loop) {}
  server::NodeStatus status() override { return state; }
  std::vector<api::ImageInfo> images() override { return stored; }
  void drain(api::StatusCallback done) override {
    ++drains;
    auto later = std::make_shared<api::StatusCallback>(std::move(done));
    loop_.post([later] { (*later)({}); });
  }
  std::string not_ready() override { return waiting; }
  server::NodeStatus state;
  std::vector<api::ImageInfo> stored;
  std::string waiting;
  int drains = 0;

 private:
  host::Loop& loop_;
};

}  // namespace keelson::test
