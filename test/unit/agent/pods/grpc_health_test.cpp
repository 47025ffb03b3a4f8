// The gRPC health probe, against a server whose every byte is the test's (frames: RFC 9113, 4 and 6).
#include <nghttp2/nghttp2.h>

#include <boost/test/unit_test.hpp>

#include "agent/pods/checks.h"
#include "test/patience.h"
#include "test/unit/agent/pods/doubles.h"
#include "test/unit/http/loop_thread.h"

using namespace std::chrono_literals;
using namespace std::string_literals;
using keelson::pods::CheckResult;
using keelson::test::RawClient;

namespace {

enum Type : char { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7 };
constexpr char kAck = 1, kEndStream = 1, kEndHeaders = 4, kPadded = 8;

// Of the call's stream, or of the connection.
std::string frame(Type type, char flags, const std::string& payload = {}) {
  const auto size = payload.size();
  return std::string{static_cast<char>(size >> 16),
                     static_cast<char>(size >> 8),
                     static_cast<char>(size),
                     type,
                     flags,
                     0,
                     0,
                     0,
                     static_cast<char>(type == kData || type == kHeaders || type == kReset)} +
         payload;
}
const std::string kHead = frame(kHeaders, kEndHeaders, "\x88");  // :status 200
std::string status_frame(char status) { return frame(kData, 0, "\0\0\0\0\2\x08"s + status); }
// An answer of nothing but a head, with its gRPC status.
std::string refusal(const std::string& status) {
  return frame(kHeaders, kEndHeaders | kEndStream,
               "\x88\0\x0bgrpc-status"s + static_cast<char>(status.size()) + status);
}

// The fields of the first HEADERS frame of a client's bytes.
std::map<std::string, std::string> head_of(std::string_view bytes) {
  bytes.remove_prefix(24);  // the preface
  const auto size = [&] {
    return static_cast<size_t>(static_cast<unsigned char>(bytes[1])) << 8 | static_cast<unsigned char>(bytes[2]);
  };
  while (bytes.at(3) != kHeaders) bytes.remove_prefix(9 + size());
  BOOST_TEST(bytes[4] == kEndHeaders);
  bytes = bytes.substr(9, size());
  std::map<std::string, std::string> fields;
  nghttp2_hd_inflater* inflater = nullptr;
  BOOST_REQUIRE(nghttp2_hd_inflate_new(&inflater) == 0);
  for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
    nghttp2_nv field{};
    const auto used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, reinterpret_cast<const uint8_t*>(bytes.data()),
                                             bytes.size(), 1);
    BOOST_REQUIRE(used >= 0);
    bytes.remove_prefix(static_cast<size_t>(used));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0) continue;
    fields.emplace(std::string(reinterpret_cast<const char*>(field.name), field.namelen),
                   std::string(reinterpret_cast<const char*>(field.value), field.valuelen));
  }
  nghttp2_hd_inflate_del(inflater);
  return fields;
}

struct Fixture {
  Fixture() { checks = keelson::pods::make_checks(loop.loop(), runtime); }
  ~Fixture() {
    loop.run([&] { checks.reset(); });
  }
  std::future<CheckResult> ask(const std::string& service = "my.Service",
                               keelson::pods::Duration timeout = keelson::test::patient(10s)) {
    keelson::pods::Check check;
    check.handler.grpc.emplace();
    check.handler.grpc->port = port;
    check.handler.grpc->service = service;
    check.address = address;
    check.timeout = timeout;
    auto promise = std::make_shared<std::promise<CheckResult>>();
    auto result = promise->get_future();
    loop.run(
        [&] { checks->run(std::move(check), [promise](CheckResult told) { promise->set_value(std::move(told)); }); });
    return result;
  }
  static CheckResult get(std::future<CheckResult> result) {
    BOOST_REQUIRE((result.wait_for(keelson::test::patient(20s)) == std::future_status::ready));
    return result.get();
  }
  // What the probe makes of these bytes after the server's preface.
  CheckResult answered(const std::string& bytes) {
    auto result = ask();
    auto peer = server.accept();
    question = peer.read_until("my.Service");
    peer.send(frame(kSettings, 0) + bytes);
    return get(std::move(result));
  }

  keelson::test::RawServer server;
  const uint16_t port = server.port();
  std::string address = "127.0.0.1";
  std::string question;
  keelson::pods::test::ManualScheduler scheduler;
  keelson::pods::test::FakeRuntime runtime{scheduler};
  keelson::test::LoopThread loop;
  std::unique_ptr<keelson::pods::Checks> checks;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(grpc_health)

BOOST_FIXTURE_TEST_CASE(the_call_is_a_preface_settings_headers_and_the_service, Fixture) {
  answered(kHead + status_frame(1));
  BOOST_TEST(question.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  BOOST_TEST(question.ends_with("\0\0\x11\0\1\0\0\0\1\0\0\0\0\x0c\x0a\x0amy.Service"s));
  const auto head = head_of(question);
  BOOST_TEST(head.at(":method") == "POST");
  BOOST_TEST(head.at(":scheme") == "http");
  BOOST_TEST(head.at(":path") == "/grpc.health.v1.Health/Check");
  BOOST_TEST(head.at(":authority") == "127.0.0.1:" + std::to_string(port));
  BOOST_TEST(head.at("content-type") == "application/grpc");
  BOOST_TEST(head.at("te") == "trailers");
  BOOST_TEST(head.at("user-agent").starts_with("kube-probe/"));
}

BOOST_FIXTURE_TEST_CASE(a_service_may_have_no_name_or_a_long_one, Fixture) {
  for (const auto& [service, message] :
       {std::pair(""s, "\0\0\0\0\0"s),
        std::pair(std::string(200, 's'), "\0\0\0\0\xcb\x0a\xc8\x01"s + std::string(200, 's'))}) {
    auto result = ask(service);
    auto peer = server.accept();
    peer.read_until(frame(kData, kEndStream, message));
    peer.send(frame(kSettings, 0) + kHead + status_frame(1));
    const auto told = get(std::move(result));
    BOOST_TEST(told.success);
  }
}

BOOST_FIXTURE_TEST_CASE(serving_alone_is_success, Fixture) {
  const auto serving = answered(kHead + status_frame(1));
  BOOST_TEST(serving.success);
  BOOST_TEST(serving.output == "");
  const auto not_serving = answered(kHead + status_frame(2));
  BOOST_TEST(!not_serving.success);
  BOOST_TEST(not_serving.output == "service unhealthy (responded with \"NOT_SERVING\")");
  const auto unknown = answered(kHead + frame(kData, 0, "\0\0\0\0\0"s));
  BOOST_TEST(!unknown.success);
  BOOST_TEST(unknown.output == "service unhealthy (responded with \"UNKNOWN\")");
  BOOST_TEST(answered(kHead + frame(kData, kPadded, "\2\0\0\0\0\2\x08\1\0\0"s)).success, "padding is not content");
}

BOOST_FIXTURE_TEST_CASE(an_answer_may_come_byte_by_byte_and_in_several_frames, Fixture) {
  auto result = ask();
  auto peer = server.accept();
  const auto bytes = frame(kSettings, 0) + frame(kPing, 0, "pingping") + kHead + frame(kData, 0, "\0\0\0"s) +
                     frame(kData, 0, "\0\2\x08\1"s);
  for (const char byte : bytes.substr(0, bytes.size() - 1)) peer.send({byte});
  const auto pong = frame(kPing, kAck, "pingping");
  const auto said = peer.read_until(pong);
  BOOST_TEST(contains(said, frame(kSettings, kAck)));
  BOOST_TEST(contains(said, pong));
  BOOST_TEST((result.wait_for(20ms) == std::future_status::timeout));
  peer.send({bytes.back()});
  const auto told = get(std::move(result));
  BOOST_TEST(told.success);
  BOOST_TEST(peer.ended());
}

BOOST_FIXTURE_TEST_CASE(who_does_not_know_the_service_or_the_protocol_gave_no_status, Fixture) {
  const auto because = [this](const std::string& bytes) {
    const auto result = answered(bytes);
    BOOST_TEST(!result.success);
    const auto intro = "the server gave no health status: "s;
    BOOST_TEST(result.output.starts_with(intro), result.output);
    return result.output.substr(std::min(intro.size(), result.output.size()));
  };
  BOOST_TEST(because(refusal("5")) == "it does not know the service");
  BOOST_TEST(because(refusal("12")) == "it has no grpc.health.v1.Health");
  BOOST_TEST(because(refusal("16")) == "gRPC status 16");
  BOOST_TEST(because(frame(kHeaders, kEndHeaders | kEndStream, "\x88")) == "HTTP status 200");
  BOOST_TEST(because(frame(kHeaders, kEndHeaders | kEndStream, "\x8d")) == "HTTP status 404");
}

BOOST_FIXTURE_TEST_CASE(a_refusal_and_what_is_no_http2_are_failures, Fixture) {
  BOOST_TEST(!answered(frame(kReset, 0, "\0\0\0\1"s)).success);
  BOOST_TEST(!answered(frame(kGoAway, 0, std::string(8, '\0'))).success);
  BOOST_TEST(!answered(kHead + frame(kData, kPadded, "\x7f")).success);
  BOOST_TEST(!answered(kHead + frame(kData, 0, "\1\0\0\0\2\x08\1"s)).success, "compressed");
  BOOST_TEST(!answered(kHead + frame(kData, kEndStream, "\0\0\0\0\2\x08"s)).success, "cut short");
  auto result = ask();
  auto peer = server.accept();
  peer.read_until("my.Service");
  peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
  const auto foreign = get(std::move(result));
  BOOST_TEST(!foreign.success);
  BOOST_TEST(contains(foreign.output, "is it a gRPC server?"), foreign.output);
}

BOOST_FIXTURE_TEST_CASE(an_answer_that_is_too_long_is_not_read_to_its_end, Fixture) {
  const auto result = answered(kHead + frame(kData, 0, "\0\0\x10\0\0"s + std::string(5000, 'x')));
  BOOST_TEST(!result.success);
  BOOST_TEST(result.output == "the answer is too long");
}

BOOST_FIXTURE_TEST_CASE(a_server_that_goes_or_is_not_there_is_a_failure, Fixture) {
  auto result = ask();
  {
    auto peer = server.accept();
    peer.read_until("my.Service");
  }
  const auto gone = get(std::move(result));
  BOOST_TEST(!gone.success);
  BOOST_TEST(contains(gone.output, "the connection was closed"), gone.output);
  server.close();
  const auto refused = get(ask());
  BOOST_TEST(!refused.success);
  BOOST_TEST(contains(refused.output, "Connection refused"), refused.output);
  BOOST_TEST(contains(refused.output, "127.0.0.1:" + std::to_string(port)), refused.output);
}

BOOST_FIXTURE_TEST_CASE(a_silent_server_has_until_the_deadline, Fixture) {
  auto result = ask("my.Service", 50ms);
  auto peer = server.accept();
  const auto late = get(std::move(result));
  BOOST_TEST(!late.success);
  BOOST_TEST(late.output == "dial tcp 127.0.0.1:" + std::to_string(port) + ": i/o timeout");
  peer.read_until("my.Service");
  BOOST_TEST(peer.ended());
}

BOOST_FIXTURE_TEST_CASE(a_pod_without_an_address_is_not_asked_elsewhere, Fixture) {
  for (const char* none : {"", "localhost"}) {
    address = none;
    const auto result = get(ask());
    BOOST_TEST(!result.success);
    BOOST_TEST(contains(result.output, "is not an IP address"), result.output);
  }
  BOOST_TEST(!server.accept(50).connected());
}

BOOST_FIXTURE_TEST_CASE(a_probe_that_is_under_way_goes_with_the_others, Fixture) {
  auto result = ask();
  auto peer = server.accept();
  peer.read_until("my.Service");
  loop.run([&] { checks.reset(); });
  BOOST_TEST(peer.ended());
  BOOST_CHECK_THROW(result.get(), std::future_error);  // without a word
}

BOOST_AUTO_TEST_SUITE_END()
