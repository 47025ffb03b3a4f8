#include "http/request_head.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(request_head_tests)

using keelson::http::parse_request_head;

namespace {

int refusal(const std::string& text) {
  const auto head = parse_request_head(text);
  return head ? 0 : head.error().status;
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_ordinary_header_is_understood) {
  const auto head = parse_request_head(
      "POST /pods/default/we%62?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n"
      "X-Empty:\r\n\r\n");
  BOOST_REQUIRE(head.has_value());
  BOOST_TEST(head->method == "POST");
  BOOST_TEST(head->segments.size() == 3u);
  BOOST_TEST(head->segments[2] == "web");
  BOOST_TEST(head->query.get("x").value() == "1");
  BOOST_TEST(head->content_length.value() == 12u);
  BOOST_TEST(head->expects_continue);
  BOOST_TEST(head->keep_alive);
  BOOST_TEST(head->has_body());
}

BOOST_AUTO_TEST_CASE(keep_alive_follows_the_version_and_the_connection_field) {
  BOOST_TEST(!parse_request_head("GET / HTTP/1.0\r\n\r\n")->keep_alive);
  BOOST_TEST(parse_request_head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")->keep_alive);
  BOOST_TEST(!parse_request_head("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n")->keep_alive);
}

BOOST_AUTO_TEST_CASE(an_upgrade_needs_both_fields) {
  BOOST_TEST(
      parse_request_head("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
          ->wants_upgrade);
  BOOST_TEST(!parse_request_head("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")->wants_upgrade);
}

BOOST_AUTO_TEST_CASE(request_smuggling_shapes_are_refused) {
  const std::string post = "POST / HTTP/1.1\r\nHost: a\r\n";
  const std::pair<const char*, std::string> shapes[] = {
      {"length beside chunked", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"chunked beside length", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"},
      {"two lengths", post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n"},
      {"two equal lengths", post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\n"},
      {"a list of lengths", post + "Content-Length: 4, 4\r\n\r\n"},
      {"a signed length", post + "Content-Length: +4\r\n\r\n"},
      {"a hexadecimal length", post + "Content-Length: 0x4\r\n\r\n"},
      {"a negative length", post + "Content-Length: -1\r\n\r\n"},
      {"an empty length", post + "Content-Length:\r\n\r\n"},
      {"gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
      {"identity", post + "Transfer-Encoding: identity\r\n\r\n"},
      {"xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n"},
      {"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"chunked, chunked", post + "Transfer-Encoding: chunked, chunked\r\n\r\n"},
      {"HTTP/1.0 with chunked", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"no Host", "GET / HTTP/1.1\r\n\r\n"},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {"obs-fold", post + "X: a\r\n b\r\n\r\n"},
      {"obs-fold by tab", post + "Transfer-Encoding:\r\n\tchunked\r\n\r\n"},
      {"a folded first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
      {"a blank before the colon", post + "Transfer-Encoding : chunked\r\n\r\n"},
      {"a lone LF", post + "X: a\nContent-Length: 4\r\n\r\n"},
      {"a lone CR", post + "X: a\rb\r\n\r\n"},
      {"a NUL", post + std::string("X: a\0b\r\n\r\n", 10)},
      {"a field without colon", post + "Garbage\r\n\r\n"},
      {"a field without name", post + ": x\r\n\r\n"},
      {"two blanks in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"an absolute target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"an empty request line", "\r\n\r\n"},
      {"no version", "GET /\r\nHost: a\r\n\r\n"},
  };
  for (const auto& [name, text] : shapes) BOOST_TEST(refusal(text) == 400, name << " gave " << refusal(text));
}

BOOST_AUTO_TEST_CASE(paths_that_climb_or_hide_a_slash_are_refused) {
  for (const char* path : {"/a/../b", "/a/%2e%2E/b", "/./a", "/a%2fb", "/a%00b", "/a%", "/%zz"}) {
    BOOST_TEST(refusal("GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n\r\n") == 400, path);
  }
}

BOOST_AUTO_TEST_CASE(other_refusals_carry_their_own_status) {
  BOOST_TEST(refusal("GET / HTTP/2.0\r\nHost: a\r\n\r\n") == 505);
  BOOST_TEST(refusal("GET / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\n\r\n") == 417);
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 200; ++i) many += "X: y\r\n";
  BOOST_TEST(refusal(many + "\r\n") == 431);
}

BOOST_AUTO_TEST_CASE(a_length_past_all_numbers_is_too_large_not_small) {
  const auto head = parse_request_head("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n");
  BOOST_REQUIRE(head.has_value());
  BOOST_TEST(head->content_length.value() > (1ull << 60));
}

BOOST_AUTO_TEST_SUITE_END()
