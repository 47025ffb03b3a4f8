#include "apiclient/list_reader.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(list_reader_tests)

using keelson::apiclient::LineReader;
using keelson::apiclient::ListReader;
namespace api = keelson::api;

namespace {

struct Read {
  std::vector<std::string> names;
  std::string version, continue_, error;
};

// The text in pieces of that size.
Read read(std::string_view text, size_t piece) {
  ListReader reader(api::resource_of<api::ConfigMap>());
  Read result;
  for (size_t at = 0; at < text.size(); at += piece) {
    const auto fed = reader.feed(text.substr(at, piece),
                                 [&](api::AnyObject object) { result.names.push_back(object.metadata().name); });
    if (!fed) {
      result.error = fed.error().message;
      return result;
    }
  }
  auto metadata = reader.finish();
  if (!metadata) {
    result.error = metadata.error().message;
  } else {
    result.version = metadata->resource_version;
    result.continue_ = metadata->continue_;
  }
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_list_is_read_however_it_is_torn) {
  const std::string text =
      R"({"kind":"ConfigMapList","apiVersion":"v1","x":[1,{"items":[2]}],"metadata":{"resourceVersion":"7","continue":"next"},)"
      R"( "items" : [ {"metadata":{"name":"a"},"data":{"k":"}]\"\\"}} , {"metadata":{"name":"b"},"data":{"items":"[{"}}],"y":"items"})"
      "\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    const auto result = read(text, piece);
    BOOST_REQUIRE_MESSAGE(result.error.empty(), result.error);
    BOOST_TEST(result.names == (std::vector<std::string>{"a", "b"}), boost::test_tools::per_element());
    BOOST_TEST(result.version == "7");
    BOOST_TEST(result.continue_ == "next");
  }
}

BOOST_AUTO_TEST_CASE(empty_lists_are_lists) {
  for (const std::string items : {R"(,"items":[])", R"(,"items":null)", ""}) {
    const auto result = read(R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"1"})" + items + "}", 3);
    BOOST_TEST(result.error == "");
    BOOST_TEST(result.names.empty());
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_whole_list_is_refused) {
  const std::string head = R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"1"},)";
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "invalid"},
           {"<html>", "not JSON"},
           {"[]", "not an object"},
           {head, "not whole"},
           {head + R"("items":[)", "not whole"},
           {head + R"("items":[{"metadata":)", "not whole"},
           {head + R"("items":[1]})", "no object"},
           {head + R"("items":[],"items":[]})", "items twice"},
           {head + R"("\u0069tems":[{"metadata":{"name":"a"}}]})", "items is no list"},
           {head + R"("items":{}})", "items is no list"},
           {head + R"("items":[{"metadata":{"name":7}}]})", "ConfigMap "},
           {head + R"("items":[{"kind":"Pod"}]})", "holds a Pod"},
           {head + R"("items":[{"a":}]})", "an object of the list"},
           {R"({"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]})", "a ConfigMapList is expected"},
           {R"({"kind":"ConfigMapList","metadata":{},"items":[]})", "no metadata.resourceVersion"},
           {R"({"kind":"Status","code":500})", "a ConfigMapList is expected"},
           {head + R"("items":[]}})", ""},
           {head + R"("x":")" + std::string(2u << 20, 'x'), "too large"},
           {head + R"("items":[{"x":")" + std::string(5u << 20, 'x'), "too large"},
       }) {
    const auto result = read(text, 1000);
    BOOST_TEST(!result.error.empty(), text.substr(0, 100));
    if (why != "invalid") BOOST_TEST(result.error.find(why) != std::string::npos, result.error);
  }
}

BOOST_AUTO_TEST_CASE(lines_are_told_as_they_end) {
  LineReader reader;
  std::string told;
  const auto line = [&](std::string_view text) {
    told.append(text).append("|");
    return true;
  };
  BOOST_TEST(reader.feed("one\ntw", line).has_value());
  BOOST_TEST(told == "one|");
  BOOST_TEST(!reader.empty());
  BOOST_TEST(reader.feed("o\n\n\nthree", line).has_value());
  BOOST_TEST(reader.feed("\n", line).has_value());
  BOOST_TEST(told == "one|two|three|");
  BOOST_TEST(reader.empty());
  bool refused = false;
  for (int i = 0; i < 10 && !refused; ++i) refused = !reader.feed(std::string(1u << 20, 'x'), line).has_value();
  BOOST_TEST(refused);
}

BOOST_AUTO_TEST_SUITE_END()
