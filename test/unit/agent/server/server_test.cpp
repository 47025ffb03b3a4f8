// The agent's API over real loopback sockets, with doubles of the other rooms.
#include "agent/server/server.h"

#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "agent/server/token.h"
#include "test/unit/agent/server/doubles.h"
#include "test/unit/http/loop_thread.h"

BOOST_AUTO_TEST_SUITE(server_tests)

using keelson::test::RawClient;
namespace api = keelson::api;
namespace host = keelson::host;
namespace server = keelson::server;
namespace fs = std::filesystem;

namespace {

api::Pod running_pod() {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = "web";
  pod.metadata.uid = "1";
  pod.spec.containers.emplace_back().name = "main";
  auto& status = pod.status.container_statuses.emplace_back();
  status.name = "main";
  status.state.running.emplace();
  return pod;
}

struct Fixture {
  Fixture() {
    char name[] = "/tmp/keelson-server-XXXXXX";
    directory = mkdtemp(name);
    loop.run([&] {
      pods = std::make_unique<keelson::test::FakePods>(loop.loop());
      inbox = std::make_unique<keelson::test::FakeInbox>(loop.loop());
      node = std::make_unique<keelson::test::FakeNode>(loop.loop());
      pods->pods.push_back(running_pod());
      start();
    });
    token = server::load_token(directory / "api.token").value();
  }
  ~Fixture() {
    loop.run([&] { api_server.reset(); });
    if (pods->process.joinable()) pods->process.join();
    // Sessions that ended with the server still have a posted word to say.
    loop.run([] {});
    loop.run([&] {
      pods.reset();
      inbox.reset();
      node.reset();
    });
    fs::remove_all(directory);
  }
  // On the loop's thread.
  void start() {
    auto made = server::Server::create(
        loop.loop(), {.listen = "127.0.0.1:0", .token_file = directory / "api.token", .version = "1.2.3"},
        {*pods, *inbox, services, *node}, metrics);
    BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
    api_server = std::move(*made);
    port = api_server->port();
  }
  std::string head(const std::string& line, const std::string& more = "") {
    return fmt::format("{} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{}", line, token, more);
  }
  std::string ask(const std::string& line, const std::string& body = "") {
    RawClient client(port);
    client.send(head(line, fmt::format("Connection: close\r\nContent-Length: {}\r\n\r\n{}", body.size(), body)));
    return client.read_to_end();
  }
  std::string ask_bare(const std::string& line, const std::string& more = "") {
    RawClient client(port);
    client.send(line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + more + "\r\n");
    return client.read_to_end();
  }
  void write_log(const std::string& text) {
    const auto file = directory / "logs" / "0.log";
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::app) << text;
    loop.run([&] { pods->log = file; });
  }

  keelson::test::LoopThread loop;
  fs::path directory;
  std::unique_ptr<keelson::test::FakePods> pods;
  std::unique_ptr<keelson::test::FakeInbox> inbox;
  keelson::test::FakeServices services;
  std::unique_ptr<keelson::test::FakeNode> node;
  host::Metrics metrics;
  std::unique_ptr<server::Server> api_server;
  uint16_t port = 0;
  std::string token;
};

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
int status_of(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::atoi(response.c_str() + 9) : 0;
}

std::string frame(const std::string& payload) {
  std::string text{static_cast<char>(0x82), static_cast<char>(0x80 | payload.size()), 1, 2, 3, 4};
  for (size_t i = 0; i < payload.size(); ++i) text += static_cast<char>(payload[i] ^ text[2 + i % 4]);
  return text;
}
std::string handshake(const std::string& protocol) {
  return "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " +
         protocol + "\r\n\r\n";
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(health_and_metrics_need_no_token_and_nothing_else_does_without, Fixture) {
  BOOST_TEST(ask_bare("GET /healthz").ends_with("\r\n\r\nok"));
  BOOST_TEST(contains(ask_bare("GET /metrics"), "text/plain; version=0.0.4"));
  BOOST_TEST(status_of(ask_bare("GET /readyz")) == 200);
  for (const char* line : {"GET /pods", "POST /pods", "DELETE /pods/default/web", "GET /containerLogs/default/web/main",
                           "GET /exec/default/web/main?command=ls&stdout=1", "GET /services", "GET /status",
                           "POST /drain", "GET /nothing", "GET /"}) {
    const auto answer = ask_bare(line);
    BOOST_TEST(status_of(answer) == 401, line);
    BOOST_TEST(contains(answer, "\"kind\":\"Status\""));
    BOOST_TEST(contains(answer, "WWW-Authenticate: Bearer"));
  }
  BOOST_TEST(status_of(ask_bare("GET /pods", "Authorization: Bearer " + std::string(64, '0') + "\r\n")) == 401);
  BOOST_TEST(status_of(ask("GET /pods")) == 200);
  loop.run([&] { BOOST_TEST(node->drains == 0); });
  BOOST_TEST(contains(ask_bare("GET /metrics"), "keelson_http_requests_total{code=\"401\"} 11"));
}

BOOST_FIXTURE_TEST_CASE(readyz_says_what_is_missing, Fixture) {
  loop.run([&] { node->waiting = "source etcd is silent"; });
  const auto answer = ask_bare("GET /readyz");
  BOOST_TEST(status_of(answer) == 503);
  BOOST_TEST(contains(answer, "source etcd is silent"));
}

BOOST_FIXTURE_TEST_CASE(pods_are_listed_and_read, Fixture) {
  BOOST_TEST(contains(ask("GET /pods"), "\"kind\":\"PodList\""));
  BOOST_TEST(contains(ask("GET /pods/default/web"), "\"kind\":\"Pod\""));
  const auto missing = ask("GET /pods/default/nope");
  BOOST_TEST(status_of(missing) == 404);
  BOOST_TEST(contains(missing, "pods \\\"nope\\\" not found"));
  BOOST_TEST(contains(missing, "\"reason\":\"NotFound\""));
}

BOOST_FIXTURE_TEST_CASE(pushes_reach_the_inbox_and_refusals_carry_their_fields, Fixture) {
  BOOST_TEST(status_of(ask("POST /pods", "kind: Pod")) == 200);
  BOOST_TEST(status_of(ask("PUT /configmaps/default/settings", "kind: ConfigMap")) == 200);
  BOOST_TEST(status_of(ask("POST /pods")) == 400);
  loop.run([&] {
    BOOST_REQUIRE(inbox->orders.size() == 2u);
    BOOST_TEST(inbox->orders[0].manifest == "kind: Pod");
    BOOST_TEST(!inbox->orders[0].replace);
    BOOST_TEST(inbox->orders[1].replace);
    BOOST_TEST((inbox->orders[1].only == api::ObjectKey{"ConfigMap", "default", "settings"}));
    inbox->refusal = server::PushRefusal{
        .error = {.code = host::Error::Code::denied, .message = "forbidden by the policy baseline"},
        .problems = {{.origin = {.line = 4}, .object = "Pod default/p", .field = "spec.hostNetwork", .message = "no"}}};
  });
  const auto refused = ask("POST /pods", "kind: Pod");
  BOOST_TEST(status_of(refused) == 403);
  BOOST_TEST(contains(refused, "\"field\":\"spec.hostNetwork\""));
  BOOST_TEST(contains(refused, "line 4: Pod default/p: no"));
  loop.run([&] {
    inbox->refusal = server::PushRefusal{.error = {.code = host::Error::Code::exists, .message = "another source's"}};
  });
  const auto taken = ask("POST /pods", "kind: Pod");
  BOOST_TEST(status_of(taken) == 409);
  BOOST_TEST(contains(taken, "\"reason\":\"AlreadyExists\""), taken);
}

BOOST_FIXTURE_TEST_CASE(removals_reach_the_inbox, Fixture) {
  BOOST_TEST(status_of(ask("DELETE /pods/default/web", "{}")) == 200);
  BOOST_TEST(status_of(ask("DELETE /secrets/other/unknown")) == 404);
  loop.run([&] { BOOST_TEST((inbox->removed.back() == api::ObjectKey{"Secret", "other", "unknown"})); });
}

BOOST_FIXTURE_TEST_CASE(wrong_methods_and_paths_are_told_apart, Fixture) {
  BOOST_TEST(status_of(ask("DELETE /pods")) == 405);
  BOOST_TEST(status_of(ask("GET /drain")) == 405);
  BOOST_TEST(status_of(ask("PATCH /pods/default/web", "{}")) == 405);
  BOOST_TEST(status_of(ask("PATCH /nothing", "{}")) == 404);
  BOOST_TEST(status_of(ask("GET /nothing")) == 404);
  BOOST_TEST(status_of(ask("PUT /widgets/a/b", "x")) == 404);
}

BOOST_FIXTURE_TEST_CASE(drain_answers_when_it_is_done, Fixture) {
  BOOST_TEST(contains(ask("POST /drain"), "\"status\":\"Success\""));
  loop.run([&] { BOOST_TEST(node->drains == 1); });
}

BOOST_FIXTURE_TEST_CASE(lists_are_json, Fixture) {
  loop.run([&] {
    services.behind.push_back({.service = "default/web",
                               .port = "80",
                               .protocol = "TCP",
                               .frontends = {"10.96.0.7:80"},
                               .address = "10.244.0.2:8080",
                               .pod = "web",
                               .state = "ready"});
    node->state.node_name = "node1";
    node->state.problems.push_back({.origin = {"file", "a\"b.yaml", 3}, .field = "spec", .message = "bad"});
    node->stored.push_back({.id = "sha256:1", .tags = {"docker.io/library/a:1"}});
    services.seen.push_back({.number = 1, .time_us = 1, .protocol = "TCP", .verdict = "forwarded"});
  });
  BOOST_TEST(contains(ask("GET /services"), "\"kind\":\"ServiceList\""));
  BOOST_TEST(contains(ask("GET /backends"), "\"address\":\"10.244.0.2:8080\""));
  BOOST_TEST(contains(ask("GET /images"), "docker.io/library/a:1"));
  const auto status = ask("GET /status");
  BOOST_TEST(contains(status, "\"version\":\"1.2.3\""));
  BOOST_TEST(contains(status, "\"document\":\"a\\\"b.yaml\""));
  BOOST_TEST(contains(ask("GET /flows"), "\"verdict\":\"forwarded\""));
}

BOOST_FIXTURE_TEST_CASE(followed_flows_come_once_each, Fixture) {
  RawClient client(port);
  loop.run([&] { services.seen.push_back({.number = 1, .time_us = 5, .source = "first"}); });
  client.send(head("GET /flows?follow=true", "\r\n"));
  const auto before = client.read_until("first");
  loop.run([&] {
    services.seen.push_back({.number = 2, .time_us = 5, .source = "second"});
    services.more();
    services.seen.push_back({.number = 3, .time_us = 9, .source = "third"});
    services.more();
  });
  const auto after = client.read_until("third");
  BOOST_TEST(contains(before + after, "second"));
  BOOST_TEST(!contains(after, "first"));
}

BOOST_FIXTURE_TEST_CASE(logs_are_read_with_kubelets_parameters, Fixture) {
  write_log("2026-01-02T03:04:05.000000001Z stdout F one\n2026-01-02T03:04:06.000000001Z stderr F two\n");
  BOOST_TEST(contains(ask("GET /containerLogs/default/web/main"), "one\ntwo\n"));
  const auto tail = ask("GET /containerLogs/default/web/main?tailLines=1&timestamps=true");
  BOOST_TEST(contains(tail, "2026-01-02T03:04:06.000000001Z two\n"));
  BOOST_TEST(!contains(tail, "one"));
  BOOST_TEST(!contains(ask("GET /containerLogs/default/web/main?sinceTime=2026-01-02T03:04:06Z"), "one"));
  BOOST_TEST(!contains(ask("GET /containerLogs/default/web/main?sinceSeconds=10"), "two"));
  BOOST_TEST(status_of(ask("GET /containerLogs/default/web/main?tailLines=x")) == 400);
  BOOST_TEST(status_of(ask("GET /containerLogs/default/web/other")) == 400);
  BOOST_TEST(status_of(ask("GET /containerLogs/default/nope/main")) == 404);
  BOOST_TEST(contains(ask("GET /containerLogs/default/web/main?previous=true"),
                      "previous terminated container \\\"main\\\" in pod \\\"web\\\" not found"));
}

BOOST_FIXTURE_TEST_CASE(a_container_without_a_log_says_what_it_waits_for, Fixture) {
  loop.run([&] {
    auto& state = pods->pods[0].status.container_statuses[0].state;
    state.running.reset();
    state.waiting.emplace().reason = "ImagePullBackOff";
  });
  const auto answer = ask("GET /containerLogs/default/web/main");
  BOOST_TEST(status_of(answer) == 400);
  BOOST_TEST(contains(answer, "is waiting to start: ImagePullBackOff"));
}

BOOST_FIXTURE_TEST_CASE(a_followed_log_grows_and_ends_with_its_container, Fixture) {
  write_log("2026-01-02T03:04:05.000000001Z stdout F one\n");
  RawClient client(port);
  client.send(head("GET /containerLogs/default/web/main?follow=true", "\r\n"));
  client.read_until("one\n");
  write_log("2026-01-02T03:04:06.000000001Z stdout F two\n");
  BOOST_TEST(contains(client.read_until("two\n", 900), "two\n"));
  write_log("2026-01-02T03:04:06.000000001Z stdout F last\n");
  loop.run([&] { pods->pods[0].status.container_statuses[0].state.running.reset(); });
  BOOST_TEST(contains(client.read_until("0\r\n\r\n"), "last\n"));
}

BOOST_FIXTURE_TEST_CASE(exec_carries_stdin_stdout_stderr_and_the_exit_code, Fixture) {
  RawClient client(port);
  client.send(head("GET /exec/default/web/main?command=say&command=it&stdin=1&stdout=1&stderr=1",
                   handshake("v5.channel.k8s.io")));
  auto text = client.read_until("\r\n\r\n");  // the first messages may come with it
  client.send(frame(std::string("\0hello", 6)));
  text += client.read_until("hello");
  client.send(frame(std::string("\xff\0", 2)));  // v5: stdin ends
  text += client.read_until("exit status 7");
  BOOST_TEST(contains(text, "\x01hello"));
  BOOST_TEST(contains(text, "say"));
  BOOST_TEST(contains(text, "\x03{"));
  BOOST_TEST(contains(text, "\"reason\":\"NonZeroExitCode\""));
  loop.run([&] { BOOST_TEST(pods->executed == "main"); });
}

BOOST_FIXTURE_TEST_CASE(exec_loses_no_output_to_a_slow_client, Fixture) {
  loop.run([&] { pods->big_output = 20u << 20; });
  RawClient client(port);
  client.send(head("GET /exec/default/web/main?command=x&stdout=1", handshake("v4.channel.k8s.io")));
  client.read_until("\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // meanwhile the queue fills
  const auto text = client.read_until("exit status 7", 20'000);
  BOOST_TEST(static_cast<size_t>(std::count(text.begin(), text.end(), 'x')) >= 20u << 20);
  BOOST_TEST(contains(text, "exit status 7"));
}

BOOST_FIXTURE_TEST_CASE(an_exec_that_fails_says_why_on_the_status_channel, Fixture) {
  loop.run([&] { pods->exec_error = "exec /bin/nope: No such file or directory"; });
  RawClient client(port);
  client.send(head("GET /exec/default/web/main?command=x&stdout=1", handshake("v5.channel.k8s.io")));
  BOOST_TEST(contains(client.read_until("No such file"), "\x03{\"kind\":\"Status\""));
}

BOOST_FIXTURE_TEST_CASE(a_server_that_stops_while_it_tells_something_harms_nothing, Fixture) {
  loop.run([&] { pods->exec_error = "exec /bin/nope: No such file or directory"; });
  // The client has read before the write's end reaches the loop; the stop comes in between, now and then.
  for (int i = 0; i < 100; ++i) {
    RawClient client(port);
    client.send(head("GET /exec/default/web/main?command=x&stdout=1", handshake("v5.channel.k8s.io")));
    client.read_until("No such file");
    loop.run([&] {
      api_server.reset();
      start();
    });
  }
  BOOST_TEST(status_of(ask("GET /healthz")) == 200);
}

BOOST_FIXTURE_TEST_CASE(exec_is_refused_before_the_upgrade_when_it_cannot_work, Fixture) {
  const auto hands = handshake("v5.channel.k8s.io");
  const auto refused = [&](const std::string& target) {
    RawClient client(port);
    client.send(head("GET " + target, hands));
    return status_of(client.read_until("}\n"));
  };
  BOOST_TEST(refused("/exec/default/nope/main?command=x&stdout=1") == 404);
  BOOST_TEST(refused("/exec/default/web/other?command=x&stdout=1") == 400);
  BOOST_TEST(refused("/exec/default/web/main?stdout=1") == 400);
  BOOST_TEST(refused("/exec/default/web/main?command=x") == 400);
  BOOST_TEST(status_of(ask("GET /exec/default/web/main?command=x&stdout=1")) == 400);
}

BOOST_FIXTURE_TEST_CASE(addresses_and_tls_are_checked_before_listening, Fixture) {
  loop.run([&] {
    const auto refused = [&](server::Options options) -> std::string {
      options.token_file = directory / "api.token";
      auto made = server::Server::create(loop.loop(), std::move(options), {*pods, *inbox, services, *node}, metrics);
      return made ? "" : made.error().message;
    };
    BOOST_TEST(contains(refused({.listen = "0.0.0.0:0"}), "--tls-cert-file"));
    BOOST_TEST(contains(refused({.listen = "[::]:0"}), "--tls-cert-file"));
    BOOST_TEST(contains(refused({.listen = "127.0.0.1:0", .tls_cert_file = "/x"}), "go together"));
    BOOST_TEST(contains(refused({.listen = "127.0.0.1:0", .client_ca_file = "/x"}), "needs --tls-cert-file"));
    BOOST_TEST(contains(refused({.listen = "nonsense"}), "address:port"));
    BOOST_TEST(contains(refused({.listen = "127.0.0.1:70000"}), "address:port"));
    BOOST_TEST(contains(refused({.listen = "::1:80"}), "address:port"));
  });
}

BOOST_AUTO_TEST_SUITE_END()
