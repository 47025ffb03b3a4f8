// The pool of connections: against our own server, and against one that misbehaves byte by byte.
#include "http/pool.h"

#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <map>
#include <mutex>
#include <set>

#include "http/server.h"
#include "test/unit/http/loop_thread.h"
#include "test/unit/http/pki.h"

BOOST_AUTO_TEST_SUITE(pool_tests)

using namespace std::chrono_literals;
using keelson::http::Answer;
using keelson::http::Call;
using keelson::http::Exchange;
using keelson::http::FetchResponse;
using keelson::http::Headers;
using keelson::http::Pool;
using keelson::http::PoolOptions;
using keelson::http::PoolRequest;
using keelson::http::Request;
using keelson::test::Pki;
using keelson::test::RawServer;
namespace http = keelson::http;
namespace host = keelson::host;

namespace {

struct TestHandler : http::Handler {
  std::expected<size_t, Answer> admit(const Request&) override { return 8u << 20; }
  void handle(Request request, Exchange exchange) override {
    peers.insert(request.peer);
    const auto path = request.path();
    if (path == "/hold") {
      held.push_back(std::move(exchange));
    } else if (path == "/stream") {
      streams.push_back(exchange.stream({.content_type = "text/plain"}));
    } else if (path == "/close") {
      exchange.answer({.body = "bye", .headers = {{"Connection", "close"}}});
    } else {
      exchange.answer(
          {.content_type = "text/plain",
           .body = fmt::format("{} {} cn={} body={}", request.method, request.target,
                               request.certificate ? request.certificate->common_name : "-", request.body)});
    }
  }
  Answer refusal(int status, const std::string& message) override { return {.status = status, .body = message}; }
  std::set<std::string> peers;
  std::vector<Exchange> held;
  std::vector<http::Stream> streams;
};

// A pool on a loop of its own, and its calls made blocking.
struct PoolFixture {
  explicit PoolFixture(PoolOptions options) {
    loop.run([&] {
      auto made = Pool::create(loop.loop(), std::move(options));
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      pool = std::move(*made);
    });
  }
  ~PoolFixture() {
    loop.run([&] { pool.reset(); });
  }
  std::future<host::Result<FetchResponse>> begin(PoolRequest request) {
    auto promise = std::make_shared<std::promise<host::Result<FetchResponse>>>();
    loop.run([&] {
      pool->send(std::move(request), [promise](auto result) { promise->set_value(std::move(result)); }).detach();
    });
    return promise->get_future();
  }
  host::Result<FetchResponse> send(PoolRequest request) { return begin(std::move(request)).get(); }
  size_t connections() {
    size_t count = 0;
    loop.run([&] { count = pool->connections(); });
    return count;
  }
  keelson::test::LoopThread loop;
  std::unique_ptr<Pool> pool;
};

struct ServerFixture {
  explicit ServerFixture(http::ServerOptions options = {}) {
    scheme = options.tls ? "https" : "http";
    loop.run([&] {
      auto made = http::Server::listen(loop.loop(), std::move(options), handler);
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      server = std::move(*made);
      port = server->port();
    });
  }
  ~ServerFixture() {
    loop.run([&] {
      handler.held.clear();
      handler.streams.clear();
      server.reset();
    });
  }
  std::string url() const { return fmt::format("{}://127.0.0.1:{}", scheme, port); }
  size_t peers() {
    size_t count = 0;
    loop.run([&] { count = handler.peers.size(); });
    return count;
  }
  keelson::test::LoopThread loop;
  TestHandler handler;
  std::unique_ptr<http::Server> server;
  uint16_t port = 0;
  std::string scheme;
};

// What a stream told, for the test's thread to wait for.
struct Heard {
  std::mutex mutex;
  std::condition_variable news;
  int status = 0;
  std::string text;
  std::optional<host::Status> end;

  http::StreamHandlers handlers() {
    return {.head =
                [this](int told, const Headers&) {
                  const std::lock_guard lock(mutex);
                  status = told;
                  news.notify_all();
                },
            .chunk =
                [this](std::string chunk) {
                  const std::lock_guard lock(mutex);
                  text += chunk;
                  news.notify_all();
                },
            .end =
                [this](host::Status told) {
                  const std::lock_guard lock(mutex);
                  end = std::move(told);
                  news.notify_all();
                }};
  }
  template <typename Enough>
  bool wait(Enough enough, host::Duration time = 5s) {
    std::unique_lock lock(mutex);
    return news.wait_for(lock, time, [&] { return enough(*this); });
  }
};

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 500; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

}  // namespace

BOOST_AUTO_TEST_CASE(requests_one_after_the_other_share_a_connection) {
  ServerFixture server;
  PoolFixture client({.url = server.url()});
  for (int i = 0; i < 20; ++i) {
    const auto got = client.send({.method = i % 2 ? "POST" : "GET", .target = "/a", .body = i % 2 ? "text" : ""});
    BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
    BOOST_TEST(contains(got->body, i % 2 ? "POST /a cn=- body=text" : "GET /a cn=- body="));
  }
  BOOST_TEST(server.peers() == 1u);
  BOOST_TEST(client.connections() == 1u);
}

BOOST_AUTO_TEST_CASE(requests_at_the_same_time_go_on_several_connections_and_past_the_limit_wait_in_order) {
  ServerFixture server;
  PoolFixture client({.url = server.url(), .max_connections = 3});
  std::vector<std::future<host::Result<FetchResponse>>> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(client.begin({.target = "/hold"}));
  const auto held = [&] {
    size_t count = 0;
    server.loop.run([&] { count = server.handler.held.size(); });
    return count;
  };
  BOOST_REQUIRE(eventually([&] { return held() == 3; }));
  BOOST_TEST(client.connections() == 3u);
  client.loop.run([&] { BOOST_TEST(client.pool->waiting() == 7u); });
  int answered = 0;
  while (answered < 10) {
    server.loop.run([&] {
      for (auto& exchange : server.handler.held) {
        exchange.answer({.body = "x"});
        ++answered;
      }
      server.handler.held.clear();
    });
    std::this_thread::sleep_for(5ms);
  }
  for (auto& call : calls) BOOST_TEST(call.get().has_value());
  BOOST_TEST(server.peers() == 3u);
}

BOOST_AUTO_TEST_CASE(a_stream_does_not_take_a_requests_place) {
  ServerFixture server;
  PoolFixture client({.url = server.url(), .max_connections = 1});
  Heard heard;
  Call call;
  client.loop.run([&] { call = client.pool->stream({.target = "/stream"}, heard.handlers()); });
  BOOST_REQUIRE(heard.wait([](const Heard& h) { return h.status == 200; }));
  BOOST_TEST(client.send({.target = "/a"}).has_value());
  server.loop.run([&] { (void)server.handler.streams[0].write("first"); });
  BOOST_TEST(heard.wait([](const Heard& h) { return h.text == "first"; }));
  BOOST_TEST(!heard.end.has_value());
  server.loop.run([&] {
    (void)server.handler.streams[0].write(" second");
    server.handler.streams[0].end();
  });
  BOOST_REQUIRE(heard.wait([](const Heard& h) { return h.end.has_value(); }));
  BOOST_TEST(heard.text == "first second");
  BOOST_TEST(heard.end->has_value());
  BOOST_TEST(eventually([&] { return client.connections() == 2; }));  // it is kept as well
  client.loop.run([&] { BOOST_TEST(!call.pending()); });
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_broken_off_ends_with_an_error) {
  ServerFixture server;
  PoolFixture client({.url = server.url()});
  Heard heard;
  Call call;
  client.loop.run([&] { call = client.pool->stream({.target = "/stream"}, heard.handlers()); });
  BOOST_REQUIRE(heard.wait([](const Heard& h) { return h.status == 200; }));
  server.loop.run([&] { (void)server.handler.streams[0].write("half"); });
  BOOST_REQUIRE(heard.wait([](const Heard& h) { return h.text == "half"; }));
  server.loop.run([&] { server.handler.streams.clear(); });
  BOOST_REQUIRE(heard.wait([](const Heard& h) { return h.end.has_value(); }));
  BOOST_TEST(!heard.end->has_value());
  BOOST_TEST(contains(heard.end->error().message, "the connection was closed"));
}

BOOST_AUTO_TEST_CASE(a_chunk_is_told_before_its_line_end_has_come) {
  RawServer server;
  PoolFixture client({.url = fmt::format("http://127.0.0.1:{}", server.port())});
  Heard heard;
  Call call;
  client.loop.run([&] { call = client.pool->stream({.target = "/watch"}, heard.handlers()); });
  auto peer = server.accept();
  peer.read_until("\r\n\r\n");
  peer.send("HTTP/1.1 200 OK\r\nTransfer-Enc");
  std::this_thread::sleep_for(10ms);
  peer.send("oding: chunked\r\n\r\n");
  BOOST_TEST(heard.wait([](const Heard& h) { return h.status == 200; }));
  peer.send("5\r\nhel");
  BOOST_TEST(heard.wait([](const Heard& h) { return h.text == "hel"; }));
  peer.send("lo");
  BOOST_TEST(heard.wait([](const Heard& h) { return h.text == "hello"; }));
  peer.send("\r");
  peer.send("\n1\r\n!\r\n0\r\n\r\n");
  BOOST_TEST(heard.wait([](const Heard& h) { return h.end.has_value(); }));
  BOOST_TEST(heard.text == "hello!");
  BOOST_TEST(heard.end->has_value());
}

BOOST_AUTO_TEST_CASE(a_paused_stream_makes_the_server_wait) {
  ServerFixture server({.queue_limit = 64u << 20});
  PoolFixture client({.url = server.url()});
  Heard heard;
  Call call;
  auto handlers = heard.handlers();
  handlers.head = [&](int, const Headers&) { call.pause(); };
  client.loop.run([&] { call = client.pool->stream({.target = "/stream"}, std::move(handlers)); });
  const auto streams = [&] {
    size_t count = 0;
    server.loop.run([&] { count = server.handler.streams.size(); });
    return count;
  };
  BOOST_REQUIRE(eventually([&] { return streams() == 1; }));
  constexpr size_t kAll = 40u << 20;
  server.loop.run([&] {
    for (size_t i = 0; i < kAll; i += 1u << 20) (void)server.handler.streams[0].write(std::string(1u << 20, 'x'));
    server.handler.streams[0].end();
  });
  std::this_thread::sleep_for(300ms);
  {
    const std::lock_guard lock(heard.mutex);
    BOOST_TEST(heard.text.size() < (1u << 20));
  }
  client.loop.run([&] { call.resume(); });
  BOOST_REQUIRE(heard.wait([](const Heard& h) { return h.end.has_value(); }, 20s));
  BOOST_TEST(heard.text.size() == kAll);
}

BOOST_AUTO_TEST_CASE(a_connection_closed_while_idle_is_replaced_without_anyone_noticing) {
  RawServer server;
  PoolFixture client({.url = fmt::format("http://127.0.0.1:{}", server.port())});
  for (int i = 0; i < 3; ++i) {
    auto answer = client.begin({.method = "POST", .target = "/a", .body = "x"});
    auto peer = server.accept();
    BOOST_REQUIRE(peer.connected());
    peer.read_until("\r\n\r\nx");
    peer.send(kOk);
    BOOST_TEST(answer.get().value().body == "ok");
    if (i == 1) peer.reset();
  }
}

BOOST_AUTO_TEST_CASE(a_post_that_a_server_may_have_read_is_not_sent_twice_a_get_is) {
  RawServer server;
  PoolFixture client({.url = fmt::format("http://127.0.0.1:{}", server.port())});
  const auto warm_up = [&] {
    auto first = client.begin({.target = "/warm"});
    auto peer = server.accept();
    peer.read_until("\r\n\r\n");
    peer.send(kOk);
    BOOST_TEST(first.get().has_value());
    return peer;
  };
  {
    auto peer = warm_up();
    auto post = client.begin({.method = "POST", .target = "/pods", .body = "x"});
    BOOST_TEST(contains(peer.read_until("\r\n\r\nx"), "POST /pods"));
    peer.close();
    const auto failed = post.get();
    BOOST_REQUIRE(!failed.has_value());
    BOOST_TEST((failed.error().code == host::Error::Code::unavailable));
    BOOST_TEST(!server.accept(200).connected());
  }
  auto peer = warm_up();
  auto get = client.begin({.target = "/pods"});
  BOOST_TEST(contains(peer.read_until("\r\n\r\n"), "GET /pods"));
  peer.close();
  auto again = server.accept();
  BOOST_REQUIRE(again.connected());
  BOOST_TEST(contains(again.read_until("\r\n\r\n"), "GET /pods"));
  // Once more is enough: this one is not a connection that was idle.
  again.close();
  BOOST_TEST(!get.get().has_value());
  BOOST_TEST(!server.accept(200).connected());
}

BOOST_AUTO_TEST_CASE(connections_that_may_not_be_reused_are_not) {
  RawServer server;
  PoolFixture client({.url = fmt::format("http://127.0.0.1:{}", server.port())});
  const auto round = [&](const std::string& answer) {
    auto call = client.begin({.target = "/a"});
    auto peer = server.accept();
    BOOST_REQUIRE_MESSAGE(peer.connected(), answer);
    peer.read_until("\r\n\r\n");
    peer.send(answer);
    const auto got = call.get();
    BOOST_TEST(peer.ended());
    return got;
  };
  BOOST_TEST(round("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").value().body == "ok");
  BOOST_TEST(round("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").value().body == "ok");
  BOOST_TEST(round(kOk + "HTTP/1.1 200 OK\r\n").value().body == "ok");  // an answer to nothing behind it
  BOOST_TEST(!round("what is this\r\n\r\n").has_value());
  BOOST_TEST(!round("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").has_value());
  BOOST_TEST(!round("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n").has_value());
  BOOST_TEST(!round("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x')).has_value());
  // Interim answers are passed over, but not for ever.
  std::string interim;
  for (int i = 0; i < 3; ++i) interim += "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  BOOST_TEST(round(interim + "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").value().status ==
             200);
  for (int i = 0; i < 10; ++i) interim += "HTTP/1.1 100 Continue\r\n\r\n";
  BOOST_TEST(!round(interim).has_value());
}

BOOST_AUTO_TEST_CASE(an_answer_that_comes_before_all_was_sent_counts) {
  RawServer server;
  PoolFixture client({.url = fmt::format("http://127.0.0.1:{}", server.port())});
  auto call = client.begin({.method = "POST", .target = "/a", .body = std::string(30u << 20, 'x')});
  auto peer = server.accept();
  peer.read_until("\r\n\r\n");
  peer.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nno\n");
  const auto got = call.get();
  BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
  BOOST_TEST(got->status == 413);
  BOOST_TEST(peer.ended());
}

BOOST_AUTO_TEST_CASE(limits_of_time_and_size_hold_waiting_included) {
  ServerFixture server;
  PoolFixture client({.url = server.url(), .max_connections = 1, .max_waiting = 1});
  auto running = client.begin({.target = "/hold", .timeout = 300ms});
  auto waiting = client.begin({.target = "/a", .timeout = 100ms});
  const auto refused = client.send({.target = "/a"});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(contains(refused.error().message, "too many requests"));
  BOOST_TEST(contains(waiting.get().error().message, "no answer within 0.1 s"));
  BOOST_TEST(contains(running.get().error().message, "no answer within 0.3 s"));
  BOOST_TEST(client.send({.target = "/a"}).has_value());
  const auto large = client.send({.method = "POST", .target = "/a", .body = std::string(1000, 'x'), .body_limit = 500});
  BOOST_REQUIRE(!large.has_value());
  BOOST_TEST((large.error().code == host::Error::Code::invalid));
  BOOST_TEST(!client.send({.target = "/a\r\nX: y"}).has_value());
  BOOST_TEST(!client.send({.target = "/a b"}).has_value());
  BOOST_TEST(client.send({.target = "/a"}).has_value());
}

BOOST_AUTO_TEST_CASE(idle_connections_go_after_their_time) {
  ServerFixture server;
  PoolFixture client({.url = server.url(), .idle_timeout = 100ms});
  BOOST_TEST(client.send({.target = "/a"}).has_value());
  BOOST_TEST(client.connections() == 1u);
  BOOST_TEST(eventually([&] { return client.connections() == 0; }));
}

BOOST_AUTO_TEST_CASE(what_is_cancelled_calls_nobody_and_frees_its_place) {
  ServerFixture server;
  PoolFixture client({.url = server.url(), .max_connections = 1});
  bool called = false;
  Call running, waiting;
  client.loop.run([&] {
    running = client.pool->send({.target = "/hold"}, [&](auto) { called = true; });
    waiting = client.pool->send({.target = "/a"}, [&](auto) { called = true; });
    BOOST_TEST(running.pending());
    waiting.cancel();
    BOOST_TEST(!waiting.pending());
    running.cancel();
  });
  BOOST_TEST(client.send({.target = "/a"}).has_value());
  // A handler may cancel its own stream, and destroy the pool.
  Call self;
  std::promise<void> done;
  client.loop.run([&] {
    self = client.pool->stream({.target = "/a"}, {.head =
                                                      [&](int, const Headers&) {
                                                        self.cancel();
                                                        client.pool.reset();
                                                        done.set_value();
                                                      },
                                                  .chunk = [&](std::string) { called = true; },
                                                  .end = [&](host::Status) { called = true; }});
  });
  done.get_future().wait();
  std::this_thread::sleep_for(20ms);
  BOOST_TEST(!called);
}

BOOST_AUTO_TEST_CASE(a_client_certificate_from_memory_serves_as_one_from_files) {
  Pki pki;
  pki.issue("server", "server", "");
  pki.issue("client", "jane", "system:masters");
  ServerFixture server({.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), pki.path("ca.crt")}});
  for (const auto& tls :
       {http::ClientTls{
            .ca_data = pki.text("ca.crt"), .cert_data = pki.text("client.crt"), .key_data = pki.text("client.key")},
        http::ClientTls{
            .ca_file = pki.path("ca.crt"), .cert_file = pki.path("client.crt"), .key_file = pki.path("client.key")}}) {
    PoolFixture client({.url = server.url(), .tls = tls});
    for (int i = 0; i < 3; ++i) {
      const auto got = client.send({.method = "POST", .target = "/a", .body = "text"});
      BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
      BOOST_TEST(contains(got->body, "cn=jane body=text"));
    }
    BOOST_TEST(client.connections() == 1u);
  }
  BOOST_TEST(server.peers() == 2u);
}

BOOST_AUTO_TEST_CASE(broken_pem_texts_are_named) {
  Pki pki;
  pki.issue("client", "jane", "");
  pki.issue("other", "jane", "");
  keelson::test::LoopThread loop;
  const auto refusal = [&](http::ClientTls tls) {
    std::string message;
    loop.run([&] {
      const auto made = Pool::create(loop.loop(), {.url = "https://127.0.0.1:1", .tls = std::move(tls)});
      if (!made) message = made.error().message;
    });
    return message;
  };
  BOOST_TEST(contains(refusal({.ca_data = "garbage"}), "the server's CA: "));
  BOOST_TEST(contains(refusal({.ca_data = pki.text("ca.crt") + pki.text("ca.crt").substr(0, 200)}), "the server's CA"));
  BOOST_TEST(contains(refusal({.cert_data = "x", .key_data = pki.text("client.key")}), "the client certificate: "));
  BOOST_TEST(contains(refusal({.cert_data = pki.text("client.crt"), .key_data = "x"}), "the client key: "));
  BOOST_TEST(contains(refusal({.cert_data = pki.text("client.crt"), .key_data = pki.text("other.key")}), "mismatch"));
  BOOST_TEST(refusal({.ca_data = pki.text("ca.crt"),
                      .cert_data = pki.text("client.crt") + pki.text("ca.crt"),
                      .key_data = pki.text("client.key")}) == "");
}

BOOST_AUTO_TEST_CASE(a_server_that_comes_back_is_found_again) {
  uint16_t port = 0;
  {
    RawServer server;
    port = server.port();
  }
  PoolFixture client({.url = fmt::format("http://127.0.0.1:{}", port)});
  const auto away = client.send({.target = "/a"});
  BOOST_REQUIRE(!away.has_value());
  BOOST_TEST(contains(away.error().message, "Connection refused"));
  RawServer back(port);
  auto call = client.begin({.target = "/a"});
  auto peer = back.accept();
  peer.read_until("\r\n\r\n");
  peer.send(kOk);
  BOOST_TEST(call.get().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
