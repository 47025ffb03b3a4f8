#include "master/apiserver/request_body.h"

#include <boost/test/unit_test.hpp>

namespace keelson::apiserver {
namespace {

http::Request posted(std::string body, std::string type = "", const std::string& query = "") {
  http::Request request{.method = "POST", .target = {}, .segments = {}, .query = {}, .headers = {}};
  request.body = std::move(body);
  if (!type.empty()) request.headers.add("Content-Type", std::move(type));
  request.query = *http::Query::parse(query);
  return request;
}

const api::Resource& maps() { return api::resource_of<api::ConfigMap>(); }

std::string message(const std::expected<Body, api::Status>& body) { return body ? "" : body.error().message; }

BOOST_AUTO_TEST_CASE(an_object_comes_as_json_yaml_or_protobuf) {
  const auto json = read_object_body(maps(), posted(R"({"metadata":{"name":"a"}})"), Strictness::strict);
  BOOST_REQUIRE(json);
  BOOST_CHECK_EQUAL(json->object.metadata().name, "a");
  const auto yaml =
      read_object_body(maps(), posted("metadata:\n  name: a\n", "application/yaml; charset=utf-8"), Strictness::strict);
  BOOST_REQUIRE(yaml);
  BOOST_CHECK_EQUAL(yaml->object.metadata().name, "a");
  const std::string bytes = api::encode_protobuf(json->object);
  const auto protobuf =
      read_object_body(maps(), posted(bytes, "application/vnd.kubernetes.protobuf"), Strictness::strict);
  BOOST_REQUIRE(protobuf);
  BOOST_CHECK_EQUAL(protobuf->object.metadata().name, "a");
}

BOOST_AUTO_TEST_CASE(what_is_no_such_object_is_refused_in_kubernetes_words) {
  BOOST_CHECK_EQUAL(
      message(read_object_body(maps(), posted(R"({"kind":"Pod","apiVersion":"v1"})"), Strictness::warn)),
      "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (Pod) to (ConfigMap): unknown conversion");
  BOOST_CHECK_EQUAL(message(read_object_body(maps(), posted(""), Strictness::warn)),
                    "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json "
                    "parse error: unexpected end of JSON input (<empty>)");
  BOOST_CHECK_EQUAL(read_object_body(maps(), posted("{}", "text/plain"), Strictness::warn).error().code.value_or(0),
                    415);
  BOOST_CHECK_EQUAL(read_object_body(maps(), posted("{}", "application/vnd.kubernetes.protobuf"), Strictness::warn)
                        .error()
                        .code.value_or(0),
                    400);
  BOOST_CHECK_EQUAL(read_object_body(maps(), posted("{} {}"), Strictness::warn).error().code.value_or(0), 400);
  BOOST_CHECK_EQUAL(read_object_body(maps(), posted("[]"), Strictness::warn).error().code.value_or(0), 400);
}

BOOST_AUTO_TEST_CASE(unknown_and_duplicate_fields_go_by_the_strictness) {
  const std::string odd = R"({"metadata":{"name":"a","name":"b"},"x":1})";
  const auto strict = read_object_body(maps(), posted(odd), Strictness::strict);
  BOOST_REQUIRE(!strict);
  BOOST_CHECK(message(strict).find("strict decoding error: ") != std::string::npos);
  BOOST_CHECK_EQUAL(read_object_body(maps(), posted(odd), Strictness::warn)->warnings.size(), 2u);
  BOOST_CHECK(read_object_body(maps(), posted(odd), Strictness::ignore)->warnings.empty());
}

BOOST_AUTO_TEST_CASE(the_manager_is_named_or_taken_from_the_user_agent) {
  auto plain = posted("");
  BOOST_CHECK_EQUAL(parse_write_options("CreateOptions", plain)->field_manager, "unknown");
  plain.headers.add("User-Agent", "kubectl/v1.31.0 (linux/amd64)");
  BOOST_CHECK_EQUAL(parse_write_options("CreateOptions", plain)->field_manager, "kubectl");
  const auto named = parse_write_options("CreateOptions", posted("", "", "fieldManager=me&force=true"));
  BOOST_CHECK_EQUAL(named->field_manager, "me");
  BOOST_CHECK(named->names_manager && named->force);
  for (const std::string& query : {"fieldManager=" + std::string(129, 'a'), std::string("fieldManager=%01"),
                                   std::string("dryRun=Yes"), std::string("fieldValidation=Maybe")}) {
    const auto wrong = parse_write_options("CreateOptions", posted("", "", query));
    BOOST_REQUIRE_MESSAGE(!wrong, query);
    BOOST_CHECK_EQUAL(wrong.error().code.value_or(0), 422);
  }
}

BOOST_AUTO_TEST_CASE(delete_options_come_in_the_body_or_in_the_query) {
  const auto body = read_delete_options(posted(
      R"({"kind":"DeleteOptions","apiVersion":"policy/v1","gracePeriodSeconds":0,"propagationPolicy":"Orphan","dryRun":["All"]})"));
  BOOST_REQUIRE(body);
  BOOST_CHECK_EQUAL(body->grace_period_seconds.value_or(-1), 0);
  BOOST_CHECK_EQUAL(body->dry_run.size(), 1u);
  const auto query = read_delete_options(posted("", "", "gracePeriodSeconds=7&propagationPolicy=Foreground"));
  BOOST_REQUIRE(query);
  BOOST_CHECK_EQUAL(query->grace_period_seconds.value_or(-1), 7);
  BOOST_CHECK_EQUAL(query->propagation_policy, "Foreground");
  BOOST_CHECK_EQUAL(read_delete_options(posted("", "", "propagationPolicy=Foreground&orphanDependents=true"))
                        .error()
                        .code.value_or(0),
                    422);
}

}  // namespace
}  // namespace keelson::apiserver
