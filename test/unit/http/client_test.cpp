// The client, and TLS on both sides, over real loopback sockets.
#include "http/client.h"

#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "http/server.h"
#include "test/unit/http/loop_thread.h"
#include "test/unit/http/pki.h"

BOOST_AUTO_TEST_SUITE(client_tests)

using namespace std::chrono_literals;
using keelson::http::Answer;
using keelson::http::Exchange;
using keelson::http::Fetch;
using keelson::http::FetchResponse;
using keelson::http::Request;
namespace http = keelson::http;
namespace host = keelson::host;
namespace fs = std::filesystem;
using keelson::test::Pki;

namespace {

struct TestHandler : http::Handler {
  std::expected<size_t, Answer> admit(const Request&) override { return 1u << 20; }
  void handle(Request request, Exchange exchange) override {
    const auto path = request.path();
    if (path == "/hang") {
      held.push_back(std::move(exchange));
    } else if (path == "/to") {
      exchange.answer({.status = 302, .headers = {{"Location", request.query.get("url").value_or("")}}});
    } else if (path == "/big") {
      auto stream = exchange.stream({.content_type = "text/plain"});
      for (int i = 0; i < 100; ++i) (void)stream.write(std::string(10'000, 'x'));
      stream.end();
    } else {
      exchange.answer(
          {.content_type = "text/plain",
           .body = fmt::format("{} {} host={} agent={} cn={} o={} auth={} body={}", request.method, request.target,
                               request.headers.get("host"), request.headers.get("user-agent"),
                               request.certificate ? request.certificate->common_name : "-",
                               request.certificate && !request.certificate->organizations.empty()
                                   ? request.certificate->organizations[0]
                                   : "-",
                               request.headers.get("authorization"), request.body)});
    }
  }
  Answer refusal(int status, const std::string& message) override { return {.status = status, .body = message}; }
  std::vector<Exchange> held;
};

struct Fixture {
  explicit Fixture(http::ServerOptions options = {}) {
    scheme = options.tls ? "https" : "http";
    loop.run([&] {
      auto made = http::Server::listen(loop.loop(), std::move(options), handler);
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      server = std::move(*made);
      port = server->port();
    });
  }
  ~Fixture() {
    loop.run([&] {
      handler.held.clear();
      server.reset();
    });
  }
  std::string url(const std::string& target, const std::string& host_name = "127.0.0.1") const {
    return fmt::format("{}://{}:{}{}", scheme, host_name, port, target);
  }
  host::Result<FetchResponse> fetch(Fetch request) {
    std::promise<host::Result<FetchResponse>> promise;
    http::FetchHandle handle;
    loop.run([&] {
      handle = http::fetch(loop.loop(), std::move(request),
                           [&](host::Result<FetchResponse> result) { promise.set_value(std::move(result)); });
    });
    auto result = promise.get_future().get();
    loop.run([&] { handle = {}; });
    return result;
  }
  keelson::test::LoopThread loop;
  TestHandler handler;
  std::unique_ptr<http::Server> server;
  uint16_t port = 0;
  std::string scheme;
};

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_CASE(a_get_and_a_post_are_answered) {
  Fixture fixture;
  const auto got = fixture.fetch({.url = fixture.url("/a?b=c")});
  BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
  BOOST_TEST(got->status == 200);
  BOOST_TEST(got->headers.get("content-type") == "text/plain");
  BOOST_TEST(contains(got->body, fmt::format("GET /a?b=c host=127.0.0.1:{} agent=keelson", fixture.port)));
  const auto posted = fixture.fetch({.method = "POST", .url = fixture.url("/a"), .body = "text"});
  BOOST_TEST(contains(posted.value().body, "POST /a"));
  BOOST_TEST(contains(posted.value().body, "body=text"));
}

BOOST_AUTO_TEST_CASE(a_probe_connects_to_an_address_with_another_host_field) {
  Fixture fixture;
  const auto got = fixture.fetch(
      {.url = fixture.url("/", "web.example"), .connect_to = "127.0.0.1", .headers = {{"Host", "other"}}});
  BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
  BOOST_TEST(contains(got->body, "host=other "));
}

BOOST_AUTO_TEST_CASE(credentials_of_the_url_become_a_header_and_stay_out_of_errors) {
  Fixture fixture;
  auto with_user = fixture.url("/");
  with_user.insert(7, "user:secret@");
  BOOST_TEST(contains(fixture.fetch({.url = with_user}).value().body, "auth=Basic dXNlcjpzZWNyZXQ= "));
  const auto refused = fixture.fetch({.url = "http://user:secret@127.0.0.1:1/x"});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(!contains(refused.error().message, "secret"));
  BOOST_TEST(contains(refused.error().message, "Connection refused"));
  BOOST_TEST((refused.error().code == host::Error::Code::unavailable));
}

BOOST_AUTO_TEST_CASE(redirects_are_followed_to_the_same_host_only_and_not_for_ever) {
  Fixture fixture;
  const auto to = [&](const std::string& target) { return fixture.url("/to?url=" + http::percent_encode(target)); };
  BOOST_TEST(fixture.fetch({.url = to("/end")}).value().status == 302);
  BOOST_TEST(contains(fixture.fetch({.url = to("/end"), .redirects = 1}).value().body, "GET /end "));
  BOOST_TEST(contains(fixture.fetch({.url = to("end"), .redirects = 1}).value().body, "GET /end "));
  BOOST_TEST(contains(fixture.fetch({.url = to(fixture.url("/end")), .redirects = 1}).value().body, "GET /end "));
  BOOST_TEST(fixture.fetch({.url = to("http://192.0.2.1/"), .redirects = 5}).value().status == 302);
  BOOST_TEST(fixture.fetch({.url = to("//192.0.2.1/"), .redirects = 5}).value().status == 302);
  BOOST_TEST(fixture.fetch({.url = to("file:///etc/passwd"), .redirects = 5}).value().status == 302);
  BOOST_TEST(fixture.fetch({.url = to(to("/end")), .redirects = 1}).value().status == 302);
}

BOOST_AUTO_TEST_CASE(a_body_past_the_limit_is_an_error_or_cut) {
  Fixture fixture;
  const auto refused = fixture.fetch({.url = fixture.url("/big"), .body_limit = 50'000});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(contains(refused.error().message, "larger than 50000 bytes"));
  const auto cut = fixture.fetch({.url = fixture.url("/big"), .body_limit = 50'000, .truncate_body = true});
  BOOST_REQUIRE_MESSAGE(cut.has_value(), (cut ? "" : cut.error().message));
  BOOST_TEST(cut->body.size() == 50'000u);
  BOOST_TEST(cut->truncated);
  BOOST_TEST(fixture.fetch({.url = fixture.url("/big"), .body_limit = 1'000'000}).value().body.size() == 1'000'000u);
}

BOOST_AUTO_TEST_CASE(a_silent_server_is_given_up) {
  Fixture fixture;
  const auto began = host::Clock::now();
  const auto late = fixture.fetch({.url = fixture.url("/hang"), .timeout = 200ms});
  BOOST_REQUIRE(!late.has_value());
  BOOST_TEST(contains(late.error().message, "no answer within 0.2 s"));
  BOOST_TEST((host::Clock::now() - began < 3s));
}

BOOST_AUTO_TEST_CASE(a_cancelled_fetch_does_not_call_back) {
  Fixture fixture;
  bool called = false;
  fixture.loop.run([&] {
    auto handle = http::fetch(fixture.loop.loop(), {.url = fixture.url("/a")}, [&](auto) { called = true; });
    BOOST_TEST(handle.pending());
    handle.cancel();
    BOOST_TEST(!handle.pending());
  });
  (void)fixture.fetch({.url = fixture.url("/a")});
  BOOST_TEST(!called);
}

BOOST_AUTO_TEST_CASE(requests_that_would_be_split_are_refused) {
  Fixture fixture;
  BOOST_TEST(!fixture.fetch({.url = fixture.url("/a"), .headers = {{"X", "a\r\nY: b"}}}).has_value());
  BOOST_TEST(!fixture.fetch({.method = "GET / HTTP/1.1\r\nX:", .url = fixture.url("/a")}).has_value());
  BOOST_TEST(!fixture.fetch({.url = "gopher://x/"}).has_value());
}

BOOST_AUTO_TEST_CASE(tls_is_verified_by_name_and_by_ca) {
  Pki pki, stranger;
  pki.issue("server", "server", "");
  Fixture fixture({.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), ""}});
  const auto with_ca = [&](const std::string& host_name, const std::string& ca) {
    return fixture.fetch({.url = fixture.url("/", host_name), .connect_to = "127.0.0.1", .tls = {.ca_file = ca}});
  };
  const auto good = with_ca("127.0.0.1", pki.path("ca.crt"));
  BOOST_REQUIRE_MESSAGE(good.has_value(), (good ? "" : good.error().message));
  BOOST_TEST(with_ca("localhost", pki.path("ca.crt")).has_value());
  for (const auto& refused : {with_ca("web.example", pki.path("ca.crt")), with_ca("127.0.0.2", pki.path("ca.crt")),
                              with_ca("127.0.0.1", stranger.path("ca.crt"))}) {
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST((refused.error().code == host::Error::Code::denied), refused.error().message);
  }
  BOOST_TEST(
      fixture.fetch({.url = fixture.url("/", "web.example"), .connect_to = "127.0.0.1", .tls = {.verify = false}})
          .has_value());
}

BOOST_AUTO_TEST_CASE(a_client_certificate_names_its_bearer_and_a_strangers_is_refused) {
  Pki pki, stranger;
  pki.issue("server", "server", "");
  pki.issue("client", "jane", "system:masters");
  stranger.issue("client", "mallory", "system:masters");
  Fixture fixture({.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), pki.path("ca.crt")}});
  const auto ask = [&](const std::string& cert, const std::string& key) {
    return fixture.fetch(
        {.url = fixture.url("/"), .tls = {.ca_file = pki.path("ca.crt"), .cert_file = cert, .key_file = key}});
  };
  for (int i = 0; i < 3; ++i) {
    const auto known = ask(pki.path("client.crt"), pki.path("client.key"));
    BOOST_REQUIRE_MESSAGE(known.has_value(), (known ? "" : known.error().message));
    BOOST_TEST(contains(known->body, "cn=jane o=system:masters"));
  }
  BOOST_TEST(contains(ask("", "").value().body, "cn=- "));
  BOOST_TEST(!ask(stranger.path("client.crt"), stranger.path("client.key")).has_value());
}

BOOST_AUTO_TEST_CASE(certificates_are_rotated_without_a_restart) {
  Pki pki, next;
  pki.issue("server", "server", "");
  next.issue("server", "server", "");
  Fixture fixture({.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), ""}});
  const auto trusts = [&](const Pki& one) {
    return fixture.fetch({.url = fixture.url("/"), .tls = {.ca_file = one.path("ca.crt")}}).has_value();
  };
  BOOST_TEST(trusts(pki));
  fs::copy(next.path("server.crt"), pki.path("server.crt"), fs::copy_options::overwrite_existing);
  fixture.loop.run([&] { BOOST_TEST(!fixture.server->reload_tls().has_value()); });  // the key does not fit
  BOOST_TEST(trusts(pki));
  fs::copy(next.path("server.key"), pki.path("server.key"), fs::copy_options::overwrite_existing);
  fixture.loop.run([&] { BOOST_TEST(fixture.server->reload_tls().has_value()); });
  BOOST_TEST(trusts(next));
  BOOST_TEST(!trusts(pki));
}

BOOST_AUTO_TEST_CASE(a_large_answer_and_a_stream_come_whole_through_tls) {
  Pki pki;
  pki.issue("server", "server", "");
  Fixture fixture({.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), ""}});
  const auto got = fixture.fetch({.url = fixture.url("/big"), .tls = {.ca_file = pki.path("ca.crt")}});
  BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
  BOOST_TEST(got->body.size() == 1'000'000u);
}

BOOST_AUTO_TEST_CASE(garbage_instead_of_tls_ends_the_connection) {
  Pki pki;
  pki.issue("server", "server", "");
  Fixture fixture({.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), ""}, .header_timeout = 200ms});
  keelson::test::RawClient garbage(fixture.port), silent(fixture.port);
  garbage.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  BOOST_TEST(garbage.ended());
  BOOST_TEST(silent.ended());
  fixture.loop.run([&] { BOOST_TEST(fixture.server->connections() == 0u); });
}

BOOST_AUTO_TEST_SUITE_END()
