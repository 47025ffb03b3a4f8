// The server over real loopback sockets: what it serves, and what hostile clients get.
#include "http/server.h"

#include <fmt/core.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <condition_variable>
#include <mutex>

#include "test/unit/http/loop_thread.h"

BOOST_AUTO_TEST_SUITE(server_tests)

using namespace std::chrono_literals;
using keelson::http::Answer;
using keelson::http::Exchange;
using keelson::http::Request;
using keelson::test::RawClient;
namespace http = keelson::http;
namespace host = keelson::host;

namespace {

// What a test waits for on its own thread.
class Flag {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait(std::chrono::milliseconds time = 5s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

struct TestHandler : http::Handler {
  std::expected<size_t, Answer> admit(const Request& head) override {
    ++admitted;
    if (head.path() == "/forbidden") return std::unexpected(Answer{.status = 401, .body = "no"});
    return head.path() == "/small" ? 10 : 4u << 20;
  }
  void handle(Request request, Exchange exchange) override {
    ++handled;
    const auto path = request.path();
    if (path == "/stream") {
      stream = exchange.stream({.content_type = "text/plain", .body = "first\n"});
      stream.on_closed([this] { closed.set(); });
      stream.on_drained([this] { drained.set(); });
    } else if (path == "/ended") {
      auto once = exchange.stream({.content_type = "text/plain"});
      (void)once.write(std::string("one,"));
      (void)once.write(std::string(8192, 'x'));
      once.end();
    } else if (path == "/broken") {
      auto once = exchange.stream({.content_type = "text/plain", .body = "half"});
    } else if (path == "/socket") {
      auto upgraded = exchange.upgrade({"v5.channel.k8s.io", "v4.channel.k8s.io"});
      if (!upgraded) return exchange.answer({.status = 400, .body = upgraded.error().message});
      socket = std::move(*upgraded);
      socket.on_message([this](std::string message) { (void)socket.send(socket.subprotocol() + ":" + message); });
      socket.on_closed([this] { closed.set(); });
    } else if (path == "/later") {
      later = std::move(exchange);
      arrived.set();
    } else if (path == "/dropped") {
      return;
    } else {
      exchange.answer(
          {.content_type = "text/plain", .body = fmt::format("{} {} {}", request.method, path, request.body)});
    }
  }
  Answer refusal(int status, const std::string& message) override { return {.status = status, .body = message}; }

  std::atomic<int> admitted = 0, handled = 0;
  http::Stream stream;
  http::WebSocket socket;
  std::optional<Exchange> later;
  Flag closed, drained, arrived;
};

struct Fixture {
  explicit Fixture(http::ServerOptions options = {}) {
    loop.run([&] {
      auto made = http::Server::listen(loop.loop(), std::move(options), handler);
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      server = std::move(*made);
      port = server->port();
    });
  }
  ~Fixture() {
    loop.run([&] {
      handler.stream = {};
      handler.socket = {};
      handler.later.reset();
      server.reset();
    });
  }
  std::string exchange(const std::string& request) {
    RawClient client(port);
    client.send(request);
    return client.read_to_end();
  }
  keelson::test::LoopThread loop;
  TestHandler handler;
  std::unique_ptr<http::Server> server;
  uint16_t port = 0;
};

constexpr const char* kHost = "Host: a\r\n";
const std::string kClose = "Host: a\r\nConnection: close\r\n";

int status_of(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::atoi(response.c_str() + 9) : 0;
}
std::string body_of(const std::string& response) {
  const auto at = response.find("\r\n\r\n");
  return at == std::string::npos ? "" : response.substr(at + 4);
}

const std::string kHandshake =
    "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

// A masked client frame of less than 126 bytes.
std::string frame(uint8_t opcode, const std::string& payload) {
  std::string text{static_cast<char>(0x80 | opcode), static_cast<char>(0x80 | payload.size()), 1, 2, 3, 4};
  for (size_t i = 0; i < payload.size(); ++i) text += static_cast<char>(payload[i] ^ text[2 + i % 4]);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(requests_of_one_connection_are_answered_in_turn) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(body_of(client.read_until("/a ")) == "GET /a ");
  client.send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz");
  BOOST_TEST(body_of(client.read_until("xyz")) == "POST /b xyz");
  client.send("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\n\r\n");
  BOOST_TEST(body_of(client.read_until("xyz")) == "POST /c xyz");
}

BOOST_AUTO_TEST_CASE(pipelined_requests_are_all_answered) {
  Fixture fixture;
  std::string text;
  for (int i = 0; i < 50; ++i) {
    text += fmt::format("POST /p{} HTTP/1.1\r\n{}Content-Length: 4\r\n\r\nbody", i, kHost);
  }
  const auto response = fixture.exchange(text + "GET /last HTTP/1.1\r\n" + kClose + "\r\n");
  for (int i = 0; i < 50; ++i) BOOST_TEST(response.find(fmt::format("POST /p{} body", i)) != std::string::npos);
  BOOST_TEST(response.ends_with("GET /last "));
}

BOOST_AUTO_TEST_CASE(a_header_in_single_bytes_is_understood) {
  Fixture fixture;
  RawClient client(fixture.port);
  for (const char c : "GET /slow HTTP/1.1\r\n" + kClose + "\r\n") client.send(std::string(1, c));
  BOOST_TEST(body_of(client.read_to_end()) == "GET /slow ");
}

BOOST_AUTO_TEST_CASE(head_has_the_length_and_no_body) {
  Fixture fixture;
  const auto response = fixture.exchange("HEAD /a HTTP/1.1\r\n" + kClose + "\r\n");
  BOOST_TEST(response.find("Content-Length: 8\r\n") != std::string::npos);
  BOOST_TEST(body_of(response).empty());
}

BOOST_AUTO_TEST_CASE(expect_100_continue_is_answered_before_the_body) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  BOOST_TEST(client.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("xyz");
  BOOST_TEST(body_of(client.read_until("xyz")) == "POST /a xyz");
}

BOOST_AUTO_TEST_CASE(who_expects_100_continue_and_is_refused_gets_the_refusal_alone) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n");
  BOOST_TEST(status_of(client.read_to_end()) == 401);
  BOOST_TEST(fixture.handler.handled == 0);
}

BOOST_AUTO_TEST_CASE(smuggled_requests_are_refused_and_the_connection_closed) {
  Fixture fixture;
  const std::string hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string post = "POST /a HTTP/1.1\r\nHost: a\r\n";
  const std::string shapes[] = {
      post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
      post + "Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + hidden,
      post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden,
      post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
      post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + hidden,
      "POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
      "POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + hidden,
      post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + hidden,
      post + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n" + hidden,
      post + "Transfer-Encoding: chunked\r\n\r\n3\r\nxyzAB" + hidden,
      post + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nxyz\r\n0\r\n\r\n" + hidden,
  };
  for (const auto& shape : shapes) {
    RawClient client(fixture.port);
    client.send(shape);
    const auto response = client.read_to_end();
    BOOST_TEST(status_of(response) == 400, shape << "\n→ " << response);
    BOOST_TEST(response.find("Connection: close\r\n") != std::string::npos);
    BOOST_TEST(response.find("hidden") == std::string::npos, shape);
  }
  BOOST_TEST(fixture.handler.handled == 0);
}

BOOST_AUTO_TEST_CASE(a_header_past_the_limit_is_refused) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /a HTTP/1.1\r\nHost: a\r\nX: " + std::string(20'000, 'x'));
  BOOST_TEST(status_of(client.read_to_end()) == 431);
}

BOOST_AUTO_TEST_CASE(a_body_past_its_routes_limit_is_refused_without_being_read) {
  Fixture fixture;
  BOOST_TEST(status_of(fixture.exchange("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")) == 413);
  BOOST_TEST(status_of(fixture.exchange(
                 "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n")) == 413);
  BOOST_TEST(status_of(fixture.exchange("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                        "8\r\nxxxxxxxx\r\n8\r\nxxxxxxxx\r\n0\r\n\r\n")) == 413);
  BOOST_TEST(fixture.handler.handled == 0);
}

BOOST_AUTO_TEST_CASE(a_refused_client_that_keeps_sending_still_reads_the_answer) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n");
  client.send(std::string(600'000, 'x'));
  BOOST_TEST(status_of(client.read_to_end()) == 401);
}

BOOST_AUTO_TEST_CASE(a_megabyte_is_read_whole) {
  Fixture fixture;
  const std::string body(1u << 20, 'x');
  const auto response =
      fixture.exchange(fmt::format("POST /a HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{}", kClose, body.size(), body));
  BOOST_TEST(body_of(response).size() == body.size() + std::string("POST /a ").size());
}

BOOST_AUTO_TEST_CASE(a_slow_header_is_cut_off) {
  Fixture fixture({.header_timeout = 100ms});
  RawClient client(fixture.port);
  client.send("GET /a HTTP/1.1\r\n");
  BOOST_TEST(client.ended());
}

BOOST_AUTO_TEST_CASE(a_slow_body_is_cut_off) {
  Fixture fixture({.body_timeout = 100ms});
  RawClient client(fixture.port);
  client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  BOOST_TEST(client.ended());
  BOOST_TEST(fixture.handler.handled == 0);
}

BOOST_AUTO_TEST_CASE(an_idle_connection_is_closed) {
  Fixture fixture({.idle_timeout = 100ms});
  RawClient silent(fixture.port);
  BOOST_TEST(silent.ended());
  RawClient kept(fixture.port);
  kept.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(body_of(kept.read_until("/a ")) == "GET /a ");
  BOOST_TEST(kept.ended());
}

BOOST_AUTO_TEST_CASE(a_slow_handler_is_not_cut_off_by_the_idle_timeout) {
  Fixture fixture({.header_timeout = 50ms, .body_timeout = 50ms, .idle_timeout = 50ms});
  RawClient client(fixture.port);
  client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_REQUIRE(fixture.handler.arrived.wait());
  BOOST_TEST(client.read_until("x", 200).empty());
  fixture.loop.run([&] { fixture.handler.later->answer({.body = "done"}); });
  BOOST_TEST(body_of(client.read_until("done")) == "done");
}

BOOST_AUTO_TEST_CASE(past_the_limit_of_connections_the_longest_idle_one_goes) {
  Fixture fixture({.max_connections = 2});
  RawClient first(fixture.port);
  first.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  first.read_until("/1 ");
  RawClient second(fixture.port);
  second.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  second.read_until("/2 ");
  RawClient third(fixture.port);
  third.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(body_of(third.read_until("/3 ")) == "GET /3 ");
  BOOST_TEST(first.ended());
  second.send("GET /4 HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(body_of(second.read_until("/4 ")) == "GET /4 ");
}

BOOST_AUTO_TEST_CASE(busy_connections_are_not_given_up_for_new_ones) {
  Fixture fixture({.max_connections = 1});
  RawClient busy(fixture.port);
  busy.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_REQUIRE(fixture.handler.arrived.wait());
  RawClient refused(fixture.port);
  BOOST_TEST(refused.ended());
  fixture.loop.run([&] { fixture.handler.later->answer({.body = "done"}); });
  BOOST_TEST(body_of(busy.read_until("done")) == "done");
}

BOOST_AUTO_TEST_CASE(a_stream_is_chunked_and_the_connection_goes_on) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /ended HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto response = client.read_until("\r\n0\r\n\r\n");
  BOOST_TEST(body_of(response) == "4\r\none,\r\n2000\r\n" + std::string(8192, 'x') + "\r\n0\r\n\r\n");
  client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(body_of(client.read_until("/a ")) == "GET /a ");
}

BOOST_AUTO_TEST_CASE(a_stream_to_http_1_0_ends_with_the_connection) {
  Fixture fixture;
  const auto response = fixture.exchange("GET /ended HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  BOOST_TEST(response.find("Transfer-Encoding") == std::string::npos);
  BOOST_TEST(body_of(response) == "one," + std::string(8192, 'x'));
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_dropped_is_seen_as_incomplete) {
  Fixture fixture;
  const auto response = fixture.exchange("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(response.find("0\r\n\r\n") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_departed_client_of_a_stream_is_noticed_at_once) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("first");
  client.close();
  BOOST_TEST(fixture.handler.closed.wait(2s));
  fixture.loop.run([&] {
    BOOST_TEST(!fixture.handler.stream.open());
    BOOST_TEST(!fixture.handler.stream.write(std::string("x")).has_value());
    BOOST_TEST(fixture.server->connections() == 0u);
  });
}

BOOST_AUTO_TEST_CASE(a_client_that_does_not_read_its_stream_is_dropped) {
  Fixture fixture({.queue_limit = 1u << 20});
  RawClient client(fixture.port);
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("first");
  bool refused = false;
  fixture.loop.run([&] {
    for (int i = 0; i < 1000 && !refused; ++i) {
      refused = !fixture.handler.stream.write(std::string(100'000, 'x')).has_value();
      BOOST_TEST(fixture.handler.stream.queued() <= 1u << 20);
    }
  });
  BOOST_TEST(refused);
  BOOST_TEST(fixture.handler.closed.wait());
}

BOOST_AUTO_TEST_CASE(a_client_that_makes_no_progress_is_dropped) {
  Fixture fixture({.queue_limit = 64u << 20, .write_timeout = 200ms});
  RawClient client(fixture.port);
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("first");
  fixture.loop.run([&] { (void)fixture.handler.stream.write(std::string(32u << 20, 'x')); });
  BOOST_TEST(fixture.handler.closed.wait());
}

BOOST_AUTO_TEST_CASE(a_stream_tells_when_it_has_been_taken) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("first");
  fixture.loop.run([&] { (void)fixture.handler.stream.write(std::string("more")); });
  BOOST_TEST(fixture.handler.drained.wait());
}

BOOST_AUTO_TEST_CASE(an_unanswered_request_gets_500) {
  Fixture fixture;
  BOOST_TEST(status_of(fixture.exchange("GET /dropped HTTP/1.1\r\n" + kClose + "\r\n")) == 500);
}

BOOST_AUTO_TEST_CASE(who_only_half_closes_still_reads_the_answer) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  client.half_close();
  BOOST_REQUIRE(fixture.handler.arrived.wait());
  fixture.loop.run([&] { fixture.handler.later->answer({.body = "done"}); });
  BOOST_TEST(body_of(client.read_to_end()) == "done");
}

BOOST_AUTO_TEST_CASE(an_answer_to_a_client_that_has_gone_is_harmless) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_REQUIRE(fixture.handler.arrived.wait());
  const linger reset{.l_onoff = 1, .l_linger = 0};
  setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  client.close();
  for (int i = 0; i < 100; ++i) {
    size_t left = 1;
    fixture.loop.run([&] { left = fixture.server->connections(); });
    if (left == 0) break;
    std::this_thread::sleep_for(10ms);
  }
  fixture.loop.run([&] {
    BOOST_TEST(fixture.server->connections() == 0u);
    fixture.handler.later->answer({.body = "late"});
  });
}

BOOST_AUTO_TEST_CASE(destroying_the_server_closes_what_is_open) {
  Fixture fixture;
  RawClient streaming(fixture.port), idle(fixture.port);
  streaming.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  streaming.read_until("first");
  fixture.loop.run([&] { fixture.server.reset(); });
  BOOST_TEST(streaming.ended());
  BOOST_TEST(idle.ended());
  BOOST_TEST(fixture.handler.closed.wait());
}

BOOST_AUTO_TEST_CASE(a_websocket_agrees_on_our_first_common_subprotocol_and_echoes) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send(kHandshake +
              "Sec-WebSocket-Protocol: foo, v4.channel.k8s.io\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n");
  const auto response = client.read_until("\r\n\r\n");
  BOOST_TEST(status_of(response) == 101);
  BOOST_TEST(response.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != std::string::npos);
  BOOST_TEST(response.find("Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n") != std::string::npos);
  client.send(frame(2, "hello"));
  const auto echoed = client.read_until("hello");
  BOOST_TEST(echoed.front() == '\x82');
  BOOST_TEST(echoed.substr(2) == "v5.channel.k8s.io:hello");
  client.send(frame(8, "\x03\xe8"));
  BOOST_TEST(client.ended());
  client.close();
  BOOST_TEST(fixture.handler.closed.wait());
}

BOOST_AUTO_TEST_CASE(a_websocket_whose_client_goes_is_noticed) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send(kHandshake + "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n");
  client.read_until("\r\n\r\n");
  client.close();
  BOOST_TEST(fixture.handler.closed.wait(2s));
}

BOOST_AUTO_TEST_CASE(closing_a_websocket_sends_what_is_queued_first) {
  Fixture fixture;
  RawClient client(fixture.port);
  client.send(kHandshake + "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n");
  client.read_until("\r\n\r\n");
  fixture.loop.run([&] {
    for (int i = 0; i < 100; ++i) (void)fixture.handler.socket.send(fmt::format("message {}.", i));
    fixture.handler.socket.close();
  });
  const auto text = client.read_until("message 99.");
  BOOST_TEST(text.find("message 0.") != std::string::npos);
  client.send(frame(8, "\x03\xe8"));
  BOOST_TEST(client.ended());
}

BOOST_AUTO_TEST_CASE(hostile_frames_end_the_websocket) {
  const std::string unmasked("\x82\x03xyz", 5);
  const std::string huge("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14);
  const std::string reserved("\xf2\x80\0\0\0\0", 6);
  for (const auto& bytes : {unmasked, huge, reserved}) {
    Fixture fixture;
    RawClient client(fixture.port);
    client.send(kHandshake + "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n");
    client.read_until("\r\n\r\n");
    client.send(bytes);
    BOOST_TEST(client.ended());
    client.close();
    BOOST_TEST(fixture.handler.closed.wait());
  }
}

BOOST_AUTO_TEST_CASE(handshakes_that_are_none_are_refused) {
  Fixture fixture;
  const std::string protocol = "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n";
  BOOST_TEST(status_of(fixture.exchange("GET /socket HTTP/1.1\r\n" + kClose + protocol + "\r\n")) == 400);
  RawClient client(fixture.port);
  client.send(kHandshake + "Sec-WebSocket-Protocol: v9.channel.k8s.io\r\n\r\n");
  BOOST_TEST(status_of(client.read_until("offered")) == 400);
  // The connection serves on.
  client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(body_of(client.read_until("/a ")) == "GET /a ");
}

BOOST_AUTO_TEST_CASE(errors_of_listening_say_where_and_why) {
  Fixture fixture;
  fixture.loop.run([&] {
    const auto taken = http::Server::listen(fixture.loop.loop(), {.port = fixture.port}, fixture.handler);
    BOOST_REQUIRE(!taken.has_value());
    BOOST_TEST(taken.error().message == fmt::format("listen on 127.0.0.1:{}: Address already in use", fixture.port));
    const auto unknown = http::Server::listen(fixture.loop.loop(), {.host = "localhost"}, fixture.handler);
    BOOST_TEST(!unknown.has_value());
    const auto no_file = http::Server::listen(
        fixture.loop.loop(), {.tls = http::TlsFiles{"/nonexistent/cert", "/nonexistent/key", ""}}, fixture.handler);
    BOOST_REQUIRE(!no_file.has_value());
    BOOST_TEST(no_file.error().message.find("/nonexistent/cert") != std::string::npos);
  });
}

BOOST_AUTO_TEST_SUITE_END()
