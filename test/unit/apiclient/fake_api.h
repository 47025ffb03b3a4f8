#pragma once
// An API server of ConfigMaps whose answers a test can spoil, on our own HTTP server over
// loopback. Its state lives on its loop's thread: tests go through run().

#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/codec.h"
#include "api/resource.h"
#include "apiclient/client.h"
#include "http/server.h"
#include "test/unit/http/loop_thread.h"

namespace keelson::test {

class FakeApi : public http::Handler {
 public:
  explicit FakeApi(http::ServerOptions options = {}) : options_(std::move(options)) { listen(); }
  ~FakeApi() override { stop(); }

  void listen() {
    loop_.run([&] {
      auto made = http::Server::listen(loop_.loop(), options_, *this);
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      server_ = std::move(*made);
      options_.port = server_->port();  // it comes back where it was
    });
  }
  void stop() {
    loop_.run([&] {
      watches.clear();
      held.clear();
      server_.reset();
    });
  }
  void run(std::function<void()> task) { loop_.run(std::move(task)); }
  std::string url() const { return fmt::format("{}://127.0.0.1:{}", options_.tls ? "https" : "http", options_.port); }

  // ---- on the loop's thread

  static std::string object(const std::string& name, int64_t version, const std::string& value,
                            const std::string& uid = {}) {
    return fmt::format(
        R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}","namespace":"default","uid":"{}","resourceVersion":"{}"}},"data":{{"v":"{}"}}}})",
        name, uid.empty() ? "uid-" + name : uid, version, value);
  }
  void put(const std::string& name, const std::string& value, const std::string& uid = {}) {
    const bool known = objects.contains(name);
    objects[name] = object(name, ++version, value, uid);
    happen(known ? "MODIFIED" : "ADDED", objects[name]);
  }
  void erase(const std::string& name) {
    const auto found = objects.find(name);
    BOOST_REQUIRE(found != objects.end());
    auto last = api::read_json_object(api::resource_of<api::ConfigMap>(), found->second).value().object;
    last.metadata().resource_version = std::to_string(++version);
    objects.erase(found);
    happen("DELETED", api::encode_json(last));
  }
  static std::string event(const std::string& type, const std::string& text) {
    return fmt::format(R"({{"type":"{}","object":{}}})", type, text) + "\n";
  }
  void tell(const std::string& type, const std::string& text) { send(event(type, text)); }
  void bookmark() {
    tell("BOOKMARK",
         fmt::format(R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"resourceVersion":"{}"}}}})", version));
  }
  void expire() {
    tell(
        "ERROR",
        R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version","reason":"Expired","code":410})");
  }
  void send(const std::string& bytes) {
    for (auto& watch : watches) (void)watch.write(bytes);
  }

  std::expected<size_t, http::Answer> admit(const http::Request&) override { return 8u << 20; }
  http::Answer refusal(int status, const std::string& message) override { return {.status = status, .body = message}; }
  void handle(http::Request request, http::Exchange exchange) override {
    requests.push_back(request.method + " " + request.target);
    last = request;
    if (hold) {
      held.push_back(std::move(exchange));
      return;
    }
    if (!spoiled.empty()) {
      auto answer = std::move(spoiled.front());
      spoiled.pop_front();
      return exchange.answer(std::move(answer));
    }
    if (request.query.get("watch")) {
      auto watch = exchange.stream({});
      const auto from = std::stoll(request.query.get("resourceVersion").value_or("0"));
      for (const auto& [at, text] : history) {
        if (at > from) (void)watch.write(text);
      }
      watches.push_back(std::move(watch));
      return;
    }
    list(request, std::move(exchange));
  }

  std::map<std::string, std::string> objects;
  std::vector<std::pair<int64_t, std::string>> history;  // what a watch from an older version is told first
  int64_t version = 10;
  std::deque<http::Answer> spoiled;  // what the next requests get instead
  std::vector<http::Stream> watches;
  bool hold = false;  // leave requests unanswered
  std::vector<http::Exchange> held;
  std::vector<std::string> requests;
  http::Request last;

 private:
  // A page belongs to one version: "version/last name", and Expired when that is over.
  void list(const http::Request& request, http::Exchange exchange) {
    const auto limit = static_cast<size_t>(request.query.number("limit").value().value_or(0));
    std::string after = request.query.get("continue").value_or("");
    if (const auto slash = after.find('/'); slash != std::string::npos) {
      if (after.substr(0, slash) != std::to_string(version)) return exchange.answer(expired());
      after.erase(0, slash + 1);
    }
    std::string body = R"({"kind":"ConfigMapList","apiVersion":"v1","items":[)", last, next;
    size_t count = 0;
    for (const auto& [name, text] : objects) {
      if (name <= after) continue;
      if (limit > 0 && count == limit) {
        next = fmt::format("{}/{}", version, last);
        break;
      }
      if (count++ > 0) body += ",";
      body += text;
      last = name;
    }
    body += fmt::format(R"(],"metadata":{{"resourceVersion":"{}","continue":"{}"}}}})", version, next);
    exchange.answer({.body = std::move(body)});
  }
  static http::Answer expired() {
    return {.status = 410,
            .body = R"({"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410})"};
  }

  void happen(const std::string& type, const std::string& text) {
    history.emplace_back(version, event(type, text));
    tell(type, text);
  }

  LoopThread loop_;
  http::ServerOptions options_;
  std::unique_ptr<http::Server> server_;
};

inline http::Answer status_answer(int code, const std::string& reason, const std::string& message) {
  return {.status = code,
          .body = fmt::format(
              R"({{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{}","reason":"{}","code":{}}})",
              message, reason, code)};
}

}  // namespace keelson::test
