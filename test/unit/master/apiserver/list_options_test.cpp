#include "master/apiserver/list_options.h"

#include <boost/test/unit_test.hpp>

namespace keelson::apiserver {
namespace {

std::expected<ListOptions, api::Status> parse(const std::string& query, std::string_view verb = "list") {
  http::Request request{.method = "GET", .target = {}, .segments = {}, .query = {}, .headers = {}};
  request.query = *http::Query::parse(query);
  Attributes attributes;
  attributes.verb = verb;
  attributes.kind = &api::resource_of<api::Pod>();
  attributes.namespace_ = "default";
  return parse_list_options(attributes, request);
}

BOOST_AUTO_TEST_CASE(a_page_token_comes_back_as_it_went) {
  for (const std::string& start : {std::string("default/web\0", 12), std::string("a"), std::string("ü/\"x\"")}) {
    const auto token = parse_page_token(to_string(PageToken{12345678901, start}));
    BOOST_REQUIRE(token);
    BOOST_CHECK_EQUAL(token->revision, 12345678901);
    BOOST_CHECK_EQUAL(token->start, start);
  }
}

BOOST_AUTO_TEST_CASE(kubernetes_own_tokens_are_understood) {
  // {"v":"meta.k8s.io/v1","rv":42,"start":"default/web"}
  const auto token = parse_page_token("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NDIsInN0YXJ0IjoiZGVmYXVsdC93ZWIifQ");
  BOOST_REQUIRE(token);
  BOOST_CHECK_EQUAL(token->start, "default/web");
}

BOOST_AUTO_TEST_CASE(a_token_that_is_none_is_refused) {
  for (const std::string& text : {std::string(), std::string("x"), std::string("!!!!"), std::string("AAAA"),
                                  std::string("e30"), std::string(5000, 'A'), to_string(PageToken{0, "a"}),
                                  to_string(PageToken{-2, "a"}), to_string(PageToken{1, ""})}) {
    BOOST_CHECK_MESSAGE(!parse_page_token(text), text);
  }
}

BOOST_AUTO_TEST_CASE(options_that_do_not_go_together_are_invalid) {
  for (const char* query : {"resourceVersionMatch=Exact", "resourceVersionMatch=Sometimes&resourceVersion=1",
                            "resourceVersionMatch=Exact&resourceVersion=0", "sendInitialEvents=true"}) {
    const auto options = parse(query);
    BOOST_REQUIRE_MESSAGE(!options, query);
    BOOST_CHECK_EQUAL(options.error().code.value_or(0), 422);
  }
  BOOST_CHECK(!parse("resourceVersionMatch=Exact&resourceVersion=5", "watch"));
  BOOST_CHECK(parse("resourceVersionMatch=Exact&resourceVersion=5"));
  BOOST_CHECK(parse("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "watch"));
}

BOOST_AUTO_TEST_CASE(what_is_no_number_or_selector_is_a_bad_request) {
  for (const char* query : {"resourceVersion=abc", "resourceVersion=-1", "limit=x", "continue=zzz",
                            "labelSelector=a%3D%3D%3Db", "fieldSelector=spec.nothing%3Dx"}) {
    const auto options = parse(query);
    BOOST_REQUIRE_MESSAGE(!options, query);
    BOOST_CHECK_EQUAL(options.error().code.value_or(0), 400);
  }
}

}  // namespace
}  // namespace keelson::apiserver
