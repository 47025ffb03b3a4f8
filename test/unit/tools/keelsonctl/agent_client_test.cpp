// keelsonctl's client (cpprestsdk) against the agent's API (Beast), over loopback: two
// independent implementations of HTTP and WebSocket have to understand each other.
#include "tools/keelsonctl/agent_client.h"

#include <fmt/core.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "agent/server/server.h"
#include "test/unit/agent/server/doubles.h"
#include "test/unit/http/loop_thread.h"

BOOST_AUTO_TEST_SUITE(agent_client_tests)

using namespace keelson;
namespace fs = std::filesystem;

namespace {

struct Fixture {
  Fixture() {
    char name[] = "/tmp/keelson-client-XXXXXX";
    directory = mkdtemp(name);
    loop.run([&] {
      pods = std::make_unique<test::FakePods>(loop.loop());
      inbox = std::make_unique<test::FakeInbox>(loop.loop());
      node = std::make_unique<test::FakeNode>(loop.loop());
      auto& pod = pods->pods.emplace_back();
      pod.metadata.namespace_ = "default";
      pod.metadata.name = "web";
      pod.spec.containers.emplace_back().name = "main";
      auto& status = pod.status.container_statuses.emplace_back();
      status.name = "main";
      status.state.running.emplace();
      auto made = server::Server::create(loop.loop(), {.listen = "127.0.0.1:0", .token_file = directory / "api.token"},
                                         {*pods, *inbox, services, *node}, metrics);
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      api_server = std::move(*made);
      port = api_server->port();
    });
  }
  ~Fixture() {
    loop.run([&] { api_server.reset(); });
    if (pods->process.joinable()) pods->process.join();
    loop.run([] {});
    loop.run([&] {
      pods.reset();
      inbox.reset();
      node.reset();
    });
    fs::remove_all(directory);
  }
  ctl::AgentClient client(const fs::path& root) const {
    auto made = ctl::AgentClient::create({.url = fmt::format("http://127.0.0.1:{}", port), .root_dir = root});
    BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
    return std::move(*made);
  }
  ctl::AgentClient client() const { return client(directory); }

  test::LoopThread loop;
  fs::path directory;
  std::unique_ptr<test::FakePods> pods;
  std::unique_ptr<test::FakeInbox> inbox;
  test::FakeServices services;
  std::unique_ptr<test::FakeNode> node;
  host::Metrics metrics;
  std::unique_ptr<server::Server> api_server;
  uint16_t port = 0;
};

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// Our stdout into a file for a while.
class Captured {
 public:
  explicit Captured(const fs::path& file) : file_(file), saved_(dup(STDOUT_FILENO)) {
    fflush(stdout);
    FILE* into = fopen(file.c_str(), "w");
    dup2(fileno(into), STDOUT_FILENO);
    fclose(into);
  }
  std::string text() {
    if (saved_ >= 0) {
      dup2(saved_, STDOUT_FILENO);
      close(std::exchange(saved_, -1));
    }
    std::ifstream stream(file_);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  ~Captured() { text(); }

 private:
  fs::path file_;
  int saved_;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(lists_and_pushes_pass_with_the_token, Fixture) {
  BOOST_TEST(contains(client().get("/pods").value(), "PodList"));
  BOOST_TEST(contains(client().send("POST", "/pods", "kind: Pod").value(), "Success"));
  const auto missing = client().get("/pods/default/nope");
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST((missing.error().code == host::Error::Code::not_found));
  BOOST_TEST(contains(missing.error().message, "pods \"nope\" not found"));
}

BOOST_FIXTURE_TEST_CASE(a_wrong_or_missing_token_is_told_apart, Fixture) {
  const auto missing = client(directory / "nowhere").get("/pods");
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST(contains(missing.error().message, "no token to show"), missing.error().message);
  fs::create_directory(directory / "other");
  std::ofstream(directory / "other" / "api.token") << std::string(64, '0');
  const auto wrong = client(directory / "other").get("/pods");
  BOOST_REQUIRE(!wrong.has_value());
  BOOST_TEST(contains(wrong.error().message, "does not accept the token"), wrong.error().message);
}

BOOST_FIXTURE_TEST_CASE(an_agent_that_is_away_is_told_so, Fixture) {
  auto away = ctl::AgentClient::create({.url = "http://127.0.0.1:1", .root_dir = directory});
  const auto refused = away->get("/pods");
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message ==
             "cannot reach the agent at http://127.0.0.1:1: connection refused; is keelson-agent running?");
}

BOOST_FIXTURE_TEST_CASE(the_token_does_not_cross_the_network_in_the_clear, Fixture) {
  const auto refused = ctl::AgentClient::create({.url = "http://192.0.2.1:10250", .root_dir = directory});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(contains(refused.error().message, "https"));
  BOOST_TEST(!ctl::AgentClient::create({.url = "nonsense", .root_dir = directory}).has_value());
}

BOOST_FIXTURE_TEST_CASE(a_followed_log_arrives_as_it_grows, Fixture) {
  const auto file = directory / "0.log";
  std::ofstream(file) << "2026-01-02T03:04:05.000000001Z stdout F one\n";
  loop.run([&] { pods->log = file; });
  std::string text;
  bool grown = false;
  const auto streamed = client().stream("/containerLogs/default/web/main?follow=true", [&](std::string_view part) {
    text += part;  // a byte at a time, perhaps
    if (grown || !contains(text, "one\n")) return;
    grown = true;
    // Only now: it must have come before the log ended.
    std::ofstream(file, std::ios::app) << "2026-01-02T03:04:06.000000001Z stdout F two\n";
    loop.run([&] { pods->pods[0].status.container_statuses[0].state.running.reset(); });
  });
  BOOST_TEST(streamed.has_value());
  BOOST_TEST(text == "one\ntwo\n");
}

BOOST_FIXTURE_TEST_CASE(exec_passes_output_and_exit_code, Fixture) {
  loop.run([&] { pods->big_output = 3u << 20; });
  Captured captured(directory / "out");
  const auto code =
      client().exec({.namespace_ = "default", .pod = "web", .container = "main", .command = {"a command", "& more?"}});
  const auto text = captured.text();
  BOOST_REQUIRE_MESSAGE(code.has_value(), (code ? "" : code.error().message));
  BOOST_TEST(*code == 7);
  BOOST_TEST(text.size() == 3u << 20);
}

BOOST_FIXTURE_TEST_CASE(exec_passes_stdin_and_its_end, Fixture) {
  const auto file = directory / "in";
  std::ofstream(file) << std::string(300'000, 'y');
  const int saved = dup(STDIN_FILENO);
  FILE* from = fopen(file.c_str(), "r");
  dup2(fileno(from), STDIN_FILENO);
  fclose(from);
  Captured captured(directory / "out");
  const auto code = client().exec(
      {.namespace_ = "default", .pod = "web", .container = "main", .command = {"cat"}, .use_stdin = true});
  const auto text = captured.text();
  dup2(saved, STDIN_FILENO);
  close(saved);
  BOOST_REQUIRE_MESSAGE(code.has_value(), (code ? "" : code.error().message));
  BOOST_TEST((text == std::string(300'000, 'y')));
}

BOOST_FIXTURE_TEST_CASE(an_exec_that_fails_says_why, Fixture) {
  loop.run([&] { pods->exec_error = "exec /bin/nope: No such file or directory"; });
  const auto code =
      client().exec({.namespace_ = "default", .pod = "web", .container = "main", .command = {"/bin/nope"}});
  BOOST_REQUIRE(!code.has_value());
  BOOST_TEST(code.error().message == "exec /bin/nope: No such file or directory");
}

BOOST_AUTO_TEST_SUITE_END()
