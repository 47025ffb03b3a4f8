#include "agent/pods/grpc_health.h"

#include <boost/test/unit_test.hpp>

using keelson::pods::GrpcHealthAnswer;
using Verdict = GrpcHealthAnswer::Verdict;
using namespace std::string_literals;

namespace {

std::string frame(char type, char flags, const std::string& payload) {
  const auto size = payload.size();
  return std::string{static_cast<char>(size >> 16),
                     static_cast<char>(size >> 8),
                     static_cast<char>(size),
                     type,
                     flags,
                     0,
                     0,
                     0,
                     static_cast<char>(type == 0 || type == 1)} +
         payload;
}
std::string status_frame(char status) { return frame(0, 0, "\0\0\0\0\2\x08"s + status); }

Verdict judge(const std::string& bytes, std::string* reason = nullptr) {
  GrpcHealthAnswer answer;
  std::string reply;
  const auto verdict = answer.take(bytes, reply);
  if (reason != nullptr) *reason = answer.reason();
  return verdict;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(grpc_health)

BOOST_AUTO_TEST_CASE(the_call_is_a_preface_settings_headers_and_the_service) {
  const auto bytes = keelson::pods::grpc_health_request("10.0.0.1:50051", "my.Service");
  BOOST_TEST(bytes.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"s));
  BOOST_TEST(bytes.find("/grpc.health.v1.Health/Check") != std::string::npos);
  BOOST_TEST(bytes.find("\x0e"
                        "10.0.0.1:50051") != std::string::npos);
  BOOST_TEST(bytes.ends_with("\0\0\x11\0\1\0\0\0\1\0\0\0\0\x0c\x0a\x0amy.Service"s));
  // A length beyond HPACK's seven bits, and protobuf's.
  const auto longer = keelson::pods::grpc_health_request("h", std::string(200, 's'));
  BOOST_TEST(longer.ends_with("\0\0\0\0\xcb\x0a\xc8\x01"s + std::string(200, 's')));
}

BOOST_AUTO_TEST_CASE(serving_alone_is_success) {
  std::string reason;
  BOOST_TEST((judge(frame(4, 0, "") + frame(1, 4, "\x88") + status_frame(1)) == Verdict::serving));
  BOOST_TEST((judge(status_frame(2), &reason) == Verdict::failed));
  BOOST_TEST(reason == "service unhealthy (responded with \"NOT_SERVING\")");
  BOOST_TEST((judge(frame(0, 0, "\0\0\0\0\0"s), &reason) == Verdict::failed));
  BOOST_TEST(reason == "service unhealthy (responded with \"UNKNOWN\")");
  BOOST_TEST((judge(frame(0, 8, "\2\0\0\0\0\2\x08\1xx"s)) == Verdict::serving), "padding is not content");
}

BOOST_AUTO_TEST_CASE(an_answer_may_come_byte_by_byte_and_in_several_frames) {
  const auto bytes = frame(4, 0, "") + frame(6, 0, "pingping") + frame(0, 0, "\0\0\0"s) + frame(0, 0, "\0\2\x08\1"s);
  GrpcHealthAnswer answer;
  std::string reply;
  for (size_t i = 0; i + 1 < bytes.size(); ++i) {
    BOOST_REQUIRE((answer.take(bytes.substr(i, 1), reply) == Verdict::open));
  }
  BOOST_TEST((answer.take(bytes.substr(bytes.size() - 1), reply) == Verdict::serving));
  BOOST_TEST(reply == "\0\0\0\4\1\0\0\0\0"s + "\0\0\x08\6\1\0\0\0\0pingping"s);
}

BOOST_AUTO_TEST_CASE(a_refusal_and_what_is_no_http2_are_failures) {
  BOOST_TEST((judge(frame(1, 5, "\x88")) == Verdict::failed));
  BOOST_TEST((judge(frame(3, 0, "\0\0\0\1"s)) == Verdict::failed));
  BOOST_TEST((judge(frame(7, 0, std::string(8, '\0'))) == Verdict::failed));
  BOOST_TEST((judge("HTTP/1.1 400 Bad Request\r\n\r\n") == Verdict::failed));
  BOOST_TEST((judge(frame(0, 8, "\x7f")) == Verdict::failed));
  BOOST_TEST((judge(frame(0, 0, "\1\0\0\0\2\x08\1"s)) == Verdict::failed));
}

BOOST_AUTO_TEST_SUITE_END()
