#include "tools/keelsonctl/check_manifest.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(check_manifest_tests)

using keelson::ctl::check_manifest;
using keelson::ctl::describe;

namespace {

std::string all(const keelson::ctl::ManifestReport& report) {
  std::string text;
  for (const auto& problem : report.problems) text += describe(problem) + "\n";
  return text;
}

constexpr const char* kGood =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: main, image: a}]\n";

}  // namespace

BOOST_AUTO_TEST_CASE(a_good_manifest_is_valid) {
  const auto report = check_manifest("web.yaml", kGood);
  BOOST_TEST(!report.has_errors(), all(report));
  BOOST_REQUIRE(report.valid.size() == 1u);
  BOOST_TEST(report.valid[0] == "Pod default/web");
}

BOOST_AUTO_TEST_CASE(errors_name_document_line_object_and_field) {
  const auto report = check_manifest(
      "web.yaml", std::string(kGood) + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n" +
                      "  - {name: BAD, image: a}\n");
  BOOST_TEST(report.has_errors());
  BOOST_TEST(report.valid.size() == 1u);
  const auto text = all(report);
  BOOST_TEST(text.starts_with("web.yaml:12: error: Pod default/x: spec.containers[0].name: "), text);
}

BOOST_AUTO_TEST_CASE(broken_yaml_is_an_error_with_its_line) {
  const auto report = check_manifest("web.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a\n");
  BOOST_TEST(report.has_errors());
  BOOST_TEST(all(report).starts_with("web.yaml:"), all(report));
}

BOOST_AUTO_TEST_CASE(unknown_and_idle_fields_are_warnings) {
  std::string text = kGood;
  text += "  nodeSelector: {disk: ssd}\n  typo: 1\n";
  const auto report = check_manifest("web.yaml", text);
  BOOST_TEST(!report.has_errors(), all(report));
  BOOST_TEST(all(report).find("warning: Pod default/web: spec.nodeSelector: ") != std::string::npos, all(report));
  BOOST_TEST(all(report).find("spec.typo") != std::string::npos, all(report));
}

BOOST_AUTO_TEST_CASE(the_same_object_twice_is_an_error) {
  const auto report = check_manifest("web.yaml", std::string(kGood) + "---\n" + kGood);
  BOOST_TEST(report.has_errors());
}

BOOST_AUTO_TEST_CASE(an_empty_manifest_is_a_warning) {
  const auto report = check_manifest("web.yaml", "# nothing\n");
  BOOST_TEST(!report.has_errors());
  BOOST_TEST(report.problems.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
