#include "http/message.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(message_tests)

using keelson::http::Headers;
using keelson::http::parse_url;
using keelson::http::percent_decode;
using keelson::http::percent_encode;
using keelson::http::Query;

BOOST_AUTO_TEST_CASE(header_names_compare_without_case) {
  Headers headers{{"Content-Type", "a"}, {"content-type", "b"}};
  BOOST_TEST(headers.get("CONTENT-TYPE") == "a");
  headers.set("CONTENT-type", "c");
  BOOST_TEST(headers.get("content-type") == "c");
  BOOST_TEST(std::distance(headers.begin(), headers.end()) == 1);
  BOOST_TEST(!headers.has("host"));
}

BOOST_AUTO_TEST_CASE(a_query_is_decoded_and_keeps_repeated_names) {
  const auto query = Query::parse("command=echo&command=a%20b%2Bc&follow&x=1+2&&");
  BOOST_REQUIRE(query.has_value());
  BOOST_TEST(query->all("command").size() == 2u);
  BOOST_TEST(query->all("command")[1] == "a b+c");
  BOOST_TEST(query->get("x").value() == "1 2");
  BOOST_TEST(query->flag("follow").value());
  BOOST_TEST(!query->flag("absent").value());
}

BOOST_AUTO_TEST_CASE(booleans_are_read_as_go_reads_them) {
  for (const char* text : {"watch=1", "watch=True", "watch=TRUE", "watch=t"}) {
    BOOST_TEST(Query::parse(text)->flag("watch").value());
  }
  BOOST_TEST(!Query::parse("watch=False")->flag("watch").value());
  BOOST_TEST(!Query::parse("watch=yes")->flag("watch").has_value());
}

BOOST_AUTO_TEST_CASE(numbers_must_be_whole_and_not_negative) {
  BOOST_TEST(Query::parse("n=42")->number("n").value().value() == 42);
  BOOST_TEST(!Query::parse("")->number("n").value().has_value());
  for (const char* text : {"n=", "n=-1", "n=1x", "n=99999999999999999999"}) {
    BOOST_TEST(!Query::parse(text)->number("n").has_value());
  }
}

BOOST_AUTO_TEST_CASE(malformed_escapes_are_refused) {
  for (const char* text : {"%", "%4", "%zz", "a%00b"}) BOOST_TEST(!percent_decode(text).has_value());
  BOOST_TEST(percent_decode("a+b%41").value() == "a+bA");
  BOOST_TEST(percent_encode("a b/ü") == "a%20b%2F%C3%BC");
  BOOST_TEST(!Query::parse("a=%4").has_value());
}

BOOST_AUTO_TEST_CASE(a_url_is_taken_apart) {
  const auto url = parse_url("https://user:p%40ss@[fd00::1]:8443/a/b?c=d#e");
  BOOST_REQUIRE(url.has_value());
  BOOST_TEST(url->tls);
  BOOST_TEST(url->host == "fd00::1");
  BOOST_TEST(url->port == "8443");
  BOOST_TEST(url->target == "/a/b?c=d");
  BOOST_TEST(url->userinfo == "user:p@ss");
  BOOST_TEST(url->authority() == "[fd00::1]:8443");
  BOOST_TEST(parse_url("http://example")->target == "/");
  BOOST_TEST(parse_url("http://example?x")->target == "/?x");
  BOOST_TEST(parse_url("http://example:80/")->authority() == "example");
}

BOOST_AUTO_TEST_CASE(urls_that_cannot_be_used_are_refused) {
  for (const char* text : {"", "ftp://x/", "http://", "http:///x", "http://x:0/", "http://x:65536/", "http://x:1a/",
                           "http://[::1/", "http://[::1]x/", "http://x/ y", "http://x/\r\nHost: y"}) {
    BOOST_TEST(!parse_url(text).has_value(), text);
  }
}

BOOST_AUTO_TEST_SUITE_END()
