// HTTP/2 against a server whose every byte is the test's (frames: RFC 9113, 4 and 6).
#include "http/h2_channel.h"

#include <boost/test/unit_test.hpp>

#include "test/unit/http/loop_thread.h"

BOOST_AUTO_TEST_SUITE(h2_channel_tests)

using namespace std::chrono_literals;
using keelson::http::H2Channel;
using keelson::http::H2Exchange;
using keelson::http::H2Settings;
using keelson::http::Headers;
using keelson::test::RawClient;
using keelson::test::RawServer;

namespace {

enum Type : char { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kGoAway = 7 };
constexpr char kEndStream = 1, kEndHeaders = 4;
const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const std::string kStatus200 = "\x88";  // HPACK's static table

std::string number(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}
std::string frame(Type type, char flags, uint32_t stream, const std::string& payload = {}) {
  return number(static_cast<uint32_t>(payload.size())).substr(1) + static_cast<char>(type) + flags + number(stream) +
         payload;
}

struct Seen {
  std::string status, body;
  std::optional<H2Exchange::End> end;
};

struct Noted : H2Exchange {
  void on_news() override {
    if (on_end && end) on_end({std::string(headers.get(":status")), received, end});
  }
  std::function<void(Seen)> on_end;
};

struct Fixture {
  explicit Fixture(H2Settings settings = {}) {
    settings.host = "127.0.0.1";
    settings.port = std::to_string(server.port());
    loop.run([&] { channel = std::move(H2Channel::create(loop.loop(), std::move(settings)).value()); });
  }
  ~Fixture() {
    loop.run([&] { channel.reset(); });
  }
  std::future<Seen> ask(const std::string& body = "question", bool last = true) {
    auto exchange = std::make_shared<Noted>();
    auto promise = std::make_shared<std::promise<Seen>>();
    exchange->on_end = [promise](Seen seen) { promise->set_value(std::move(seen)); };
    asked = exchange;
    loop.run([&] {
      channel->begin(exchange, {{":method", "POST"}, {":scheme", "http"}, {":path", "/ask"}, {":authority", "test"}},
                     body, last);
    });
    return promise->get_future();
  }
  // The connection, its preface read and answered.
  RawClient accept() {
    auto peer = server.accept();
    BOOST_REQUIRE(peer.connected());
    peer.send(frame(kSettings, 0, 0));
    BOOST_TEST(peer.read_until("question").starts_with(kPreface));
    return peer;
  }
  static Seen get(std::future<Seen> future) {
    BOOST_REQUIRE((future.wait_for(10s) == std::future_status::ready));
    return future.get();
  }

  RawServer server;
  keelson::test::LoopThread loop;
  std::unique_ptr<H2Channel> channel;
  std::weak_ptr<Noted> asked;
};

struct Impatient : Fixture {
  Impatient() : Fixture({.ping_after = 50ms, .ping_timeout = 100ms}) {}
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(an_answer_in_parts_comes_whole, Fixture) {
  auto answer = ask();
  auto peer = accept();
  peer.send(frame(kHeaders, kEndHeaders, 1, kStatus200) + frame(kData, 0, 1, "one ") +
            frame(kData, kEndStream, 1, "two"));
  const auto seen = get(std::move(answer));
  BOOST_TEST(seen.status == "200");
  BOOST_TEST(seen.body == "one two");
  BOOST_TEST(seen.end->complete);
}

BOOST_FIXTURE_TEST_CASE(several_exchanges_share_a_connection_and_end_in_any_order, Fixture) {
  auto first = ask(), second = ask();
  auto peer = accept();
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 3, kStatus200));
  BOOST_TEST(get(std::move(second)).end->complete);
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200));
  BOOST_TEST(get(std::move(first)).end->complete);
  BOOST_TEST(!server.accept(50).connected());
}

BOOST_FIXTURE_TEST_CASE(nobody_listens, Fixture) {
  server.close();
  const auto seen = get(ask());
  BOOST_TEST(!seen.end->complete);
  BOOST_TEST(seen.end->unseen);
  BOOST_TEST(seen.end->why == "connect: Connection refused");
}

BOOST_FIXTURE_TEST_CASE(a_server_that_accepts_and_is_silent_is_given_up, Impatient) {
  auto answer = ask();
  auto peer = server.accept();
  const auto seen = get(std::move(answer));
  BOOST_TEST(seen.end->why == "the server does not answer a ping");
  BOOST_TEST(!seen.end->unseen);  // it may have read the request
}

BOOST_FIXTURE_TEST_CASE(an_exchange_that_is_broken_off_may_have_been_seen, Fixture) {
  auto answer = ask();
  accept().reset();
  const auto seen = get(std::move(answer));
  BOOST_TEST(!seen.end->complete);
  BOOST_TEST(!seen.end->unseen);
}

BOOST_FIXTURE_TEST_CASE(the_next_exchange_connects_anew, Fixture) {
  auto lost = ask();
  accept().close();
  BOOST_TEST(!get(std::move(lost)).end->complete);
  auto answer = ask();
  auto peer = accept();
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200));
  BOOST_TEST(get(std::move(answer)).end->complete);
}

BOOST_FIXTURE_TEST_CASE(what_a_leaving_server_did_not_take_is_unseen_and_what_it_took_ends, Fixture) {
  auto taken = ask(), refused = ask();
  auto peer = accept();
  peer.send(frame(kGoAway, 0, 0, number(1) + number(0)));
  BOOST_TEST(get(std::move(refused)).end->unseen);
  auto elsewhere = ask();  // on a connection of its own
  auto next = accept();
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200));
  BOOST_TEST(get(std::move(taken)).end->complete);
  next.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200));
  BOOST_TEST(get(std::move(elsewhere)).end->complete);
  BOOST_TEST(peer.ended());
}

BOOST_FIXTURE_TEST_CASE(a_server_that_speaks_another_language_ends_the_exchange, Fixture) {
  auto answer = ask();
  auto peer = server.accept();
  peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  BOOST_TEST(!get(std::move(answer)).end->complete);
  BOOST_TEST(peer.ended());
}

BOOST_FIXTURE_TEST_CASE(endless_headers_end_the_exchange_alone, Fixture) {
  auto flooded = ask(), other = ask();
  auto peer = accept();
  std::string headers = kStatus200;
  for (int i = 0; i < 100; ++i) headers += std::string("\x00\x01x\x01y", 5);  // a literal that is not indexed
  peer.send(frame(kHeaders, kEndHeaders, 1, headers));
  BOOST_TEST(!get(std::move(flooded)).end->complete);
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 3, kStatus200));
  BOOST_TEST(get(std::move(other)).end->complete);
}

BOOST_FIXTURE_TEST_CASE(a_cancelled_exchange_has_no_news_and_the_server_is_told, Fixture) {
  auto answer = ask();
  auto peer = accept();
  loop.run([&] { asked.lock()->cancel(); });
  BOOST_TEST(peer.read_until(frame(kReset, 0, 1, number(8))).ends_with(number(8)));
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200));
  BOOST_CHECK_THROW(answer.get(), std::future_error);  // nobody can keep the promise any more
  BOOST_TEST(asked.expired());
}

BOOST_FIXTURE_TEST_CASE(what_is_sent_later_follows, Fixture) {
  auto answer = ask("question ", false);
  auto peer = accept();
  loop.run([&] { asked.lock()->send("and more", true); });
  BOOST_TEST(peer.read_until("and more").find(frame(kData, kEndStream, 1, "and more")) != std::string::npos);
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200));
  BOOST_TEST(get(std::move(answer)).end->complete);
}

BOOST_FIXTURE_TEST_CASE(news_may_destroy_the_channel, Fixture) {
  auto first = ask();
  auto doomed = asked.lock();
  std::promise<void> destroyed;
  doomed->on_end = [&](const Seen&) {
    channel.reset();
    destroyed.set_value();
  };
  doomed.reset();
  auto second = ask();
  auto peer = accept();
  peer.send(frame(kHeaders, kEndHeaders | kEndStream, 1, kStatus200) +
            frame(kHeaders, kEndHeaders | kEndStream, 3, kStatus200));
  BOOST_REQUIRE((destroyed.get_future().wait_for(10s) == std::future_status::ready));
  BOOST_TEST(peer.ended());
  BOOST_CHECK_THROW(second.get(), std::future_error);  // let go of, without news
}

BOOST_FIXTURE_TEST_CASE(a_unix_socket_that_is_not_there_or_whose_path_is_too_long, Fixture) {
  for (const auto& [path, why] : {std::pair("/nonexistent/socket", "connect: No such file or directory"),
                                  std::pair("/a/very/long/path", "connect: the socket's path is too long")}) {
    std::string full = path;
    if (full.starts_with("/a/")) full += std::string(200, 'x');
    loop.run([&] { channel = std::move(H2Channel::create(loop.loop(), {.socket = full}).value()); });
    BOOST_TEST(get(ask()).end->why == why);
  }
}

BOOST_AUTO_TEST_SUITE_END()
