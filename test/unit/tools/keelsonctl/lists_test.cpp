#include "tools/keelsonctl/lists.h"

#include <boost/test/unit_test.hpp>

#include "tools/keelsonctl/agent_client.h"
#include "tools/keelsonctl/commands.h"

BOOST_AUTO_TEST_SUITE(lists_tests)

using namespace keelson;
using ctl::Format;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

constexpr const char* kStatus = R"({"kind":"NodeStatus","version":"1.2.3","nodeName":"node1","nodeIP":"192.0.2.1",
  "kernel":"6.1.0","bootID":"b","startedAt":"1970-01-12T13:46:40Z","draining":false,
  "sources":[{"name":"file","location":"/m","policy":"privileged","heard":true,"lastError":"","objects":3},
             {"name":"url","location":"http://x/","policy":"baseline","heard":false,"lastError":"refused","objects":0}],
  "problems":[{"severity":"error","source":"file","document":"/m/a.yaml","line":3,"object":"Pod default/a",
               "field":"spec.containers[0].name","message":"Invalid\u001b[31m"}],
  "notices":["no CAP_SYS_RESOURCE"],"counts":{"pods":4,"podsReady":3}})";

}  // namespace

BOOST_AUTO_TEST_CASE(the_status_names_sources_problems_and_counts) {
  const auto text = ctl::status_text(kStatus, false, 1'000'060).value();
  BOOST_TEST(contains(text, "node1 (192.0.2.1)"));
  BOOST_TEST(contains(text, "1.2.3, up 60s"));
  BOOST_TEST(contains(text, "pods 4, podsReady 3"));
  BOOST_TEST(contains(text, "file   privileged   3         heard     /m\n"));
  BOOST_TEST(contains(text, "url: refused"));
  BOOST_TEST(contains(text, "error: file /m/a.yaml:3: Pod default/a: spec.containers[0].name: Invalid?[31m\n"));
  BOOST_TEST(contains(text, "no CAP_SYS_RESOURCE"));
}

BOOST_AUTO_TEST_CASE(a_status_without_problems_says_none) {
  const auto text = ctl::status_text(R"({"problems":[]})", false, 0).value();
  BOOST_TEST(contains(text, "Problems: none"));
  BOOST_TEST(!contains(text, "error"));
}

BOOST_AUTO_TEST_CASE(backends_are_a_table) {
  const auto* json = R"({"items":[{"service":"default/web","port":"http","protocol":"TCP","frontends":["10.96.0.7:80",
    "*:30080"],"address":"10.244.0.2:8080","pod":"web","state":"ready"}]})";
  BOOST_TEST(ctl::backend_table(json, true).value() ==
             "SERVICE       PORT   PROTOCOL   BACKEND           POD   STATE   FRONTENDS\n"
             "default/web   http   TCP        10.244.0.2:8080   web   ready   10.96.0.7:80,*:30080\n");
}

BOOST_AUTO_TEST_CASE(backends_and_flows_of_one_namespace_are_told_from_others) {
  const auto kept =
      ctl::keep_services_of("a", R"({"items":[{"service":"a/web"},{"service":"ab/web"},{"service":""}]})");
  BOOST_TEST(kept.value() == R"({"items":[{"service":"a/web"}]})");
  BOOST_TEST(ctl::is_of_namespace("a", R"({"service":"a/web"})"));
  BOOST_TEST(!ctl::is_of_namespace("a", R"({"service":"ab/web"})"));
  BOOST_TEST(!ctl::is_of_namespace("a", R"({"verdict":"unknown_port"})"));
}

BOOST_AUTO_TEST_CASE(a_flow_is_one_line_under_its_headings) {
  const auto row = ctl::flow_row(R"({"time":"2026-01-02T03:04:05.678901Z","protocol":"TCP","source":"10.0.0.1:4000",
    "frontend":"10.96.0.7:80","backend":"","service":"default/web","verdict":"no_endpoint"})");
  BOOST_TEST(row.starts_with("03:04:05.678901   TCP"));
  BOOST_TEST(row.find("10.96.0.7:80") == ctl::flow_headings().find("SERVICE ADDRESS"));
  BOOST_TEST(row.ends_with("no_endpoint\n"));
  BOOST_TEST(ctl::flow_row("garbage").empty());
}

BOOST_AUTO_TEST_CASE(answers_that_are_not_the_agents_are_refused) {
  for (const char* text : {"", "x", "[]", "<html>"}) {
    BOOST_TEST(!ctl::status_text(text, false, 0).has_value(), text);
    BOOST_TEST(!ctl::render(text, Format::json).has_value(), text);
  }
  BOOST_TEST(!ctl::render(std::string(200'000, '['), Format::json).has_value());
  BOOST_TEST(!ctl::backend_table(R"({"a":)" + std::string(200'000, '[') + "}", false).has_value());
}

BOOST_AUTO_TEST_CASE(images_are_listed_by_name_and_tag) {
  const api::ImageInfo image{.id = "sha256:0123456789abcdef",
                             .tags = {"docker.io/library/web:1", "registry:5000/web:2"},
                             .digests = {"docker.io/library/web@sha256:ff"},
                             .size = 4'500'000};
  BOOST_TEST(ctl::image_table({image}, false) ==
             "IMAGE                   TAG   IMAGE ID       SIZE\n"
             "docker.io/library/web   1     0123456789ab   4.5MB\n"
             "registry:5000/web       2     0123456789ab   4.5MB\n");
  BOOST_TEST(contains(ctl::image_json({image}), R"("tags":["docker.io/library/web:1","registry:5000/web:2"])"));
}

BOOST_AUTO_TEST_CASE(a_refusal_shows_the_agents_words_and_fields) {
  const auto error = ctl::error_of_answer(
      403, R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":"forbidden","reason":"Forbidden",
      "details":{"causes":[{"field":"spec.hostNetwork","message":"line 4: no","reason":"x"}]},"code":403})");
  BOOST_TEST(error.message == "forbidden\n  spec.hostNetwork: line 4: no");
  BOOST_TEST((error.code == host::Error::Code::denied));
  BOOST_TEST(contains(ctl::error_of_answer(502, "Bad gateway").message, "HTTP status 502: Bad gateway"));
}

BOOST_AUTO_TEST_CASE(the_exit_code_is_read_from_the_final_status) {
  BOOST_TEST(ctl::exit_code_of(R"({"metadata":{},"status":"Success"})").value() == 0);
  BOOST_TEST(ctl::exit_code_of(R"({"status":"Failure","reason":"NonZeroExitCode","message":"m",
    "details":{"causes":[{"reason":"ExitCode","message":"137"}]}})")
                 .value() == 137);
  const auto failed = ctl::exit_code_of(R"({"status":"Failure","reason":"InternalError","message":"no such file"})");
  BOOST_REQUIRE(!failed.has_value());
  BOOST_TEST(failed.error().message == "no such file");
}

BOOST_AUTO_TEST_CASE(durations_of_since_are_read) {
  BOOST_TEST(ctl::parse_since("90s").value() == 90);
  BOOST_TEST(ctl::parse_since("1h30m").value() == 5400);
  BOOST_TEST(ctl::parse_since("2d").value() == 172'800);
  for (const char* text : {"", "5", "m", "-1s", "5x", "1h 2m", "99999999999s"}) {
    BOOST_TEST(!ctl::parse_since(text).has_value(), text);
  }
}

BOOST_AUTO_TEST_SUITE_END()
