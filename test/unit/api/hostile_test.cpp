// Manifests come from the network: whatever they hold, reading ends soon, within
// bounded memory, with a problem that says why.
#include <boost/test/unit_test.hpp>
#include <string>
#include <utility>
#include <vector>

#include "api/codec.h"
#include "api/tree.h"

BOOST_AUTO_TEST_SUITE(hostile_tests)

using namespace keelson::api;

namespace {

const std::string kHead = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

std::string repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

// Nothing is read, and a problem says that word.
void refused(const std::string& text, std::string_view word) {
  const Manifest manifest = decode_manifest(text);
  BOOST_TEST(manifest.objects.empty());
  BOOST_REQUIRE(!manifest.problems.empty());
  BOOST_TEST(manifest.problems[0].message.find(word) != std::string::npos, manifest.problems[0].message);
}

}  // namespace

BOOST_AUTO_TEST_CASE(deep_nesting_is_refused) {
  refused(kHead + "x: " + repeat("[", 65) + repeat("]", 65), "levels deep");
  refused(kHead + "x: " + repeat("[", 100'000), "");
  refused(kHead + "x: " + repeat("{a: ", 100) + "1" + repeat("}", 100), "levels deep");
  refused(kHead + "x: " + repeat("{a: ", 100'000), "");
  refused(repeat("- ", 100'000), "levels deep");
  refused(repeat("? ", 100'000), "");
  refused(R"({"apiVersion":"v1","kind":"ConfigMap","x":)" + repeat("[", 1'000'000), "levels deep");
  BOOST_TEST(!decode_json<Pod>(R"({"x":)" + repeat("{\"x\":", 1'000'000)));
  BOOST_TEST(!json_to_yaml(repeat("[", 1'000'000)));
}

BOOST_AUTO_TEST_CASE(depth_within_the_limit_is_read) {
  BOOST_TEST(decode_manifest(kHead + "x: " + repeat("[", 63) + repeat("]", 63)).objects.size() == 1);
}

BOOST_AUTO_TEST_CASE(a_billion_laughs_are_refused) {
  // 100 containers of 100 arguments, a thousand times.
  const std::string bomb =
      "apiVersion: v1\nkind: List\nitems:\n- &p {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: "
      "{containers: &c [" +
      repeat("&k {name: a, args: [" + repeat("a,", 100) + "a]},", 100) + "]}}\n" + repeat("- *p\n", 1000);
  const Manifest manifest = decode_manifest(bomb);
  BOOST_TEST(manifest.objects.size() < 60);
  BOOST_REQUIRE(!manifest.problems.empty());
  BOOST_TEST(manifest.problems[0].message.find("alias expansion") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(nested_aliases_are_refused_by_depth_or_count) {
  // 10 aliases on each of 12 levels: 10^12 values, in a field that is kept as JSON.
  std::string text = "apiVersion: v1\nkind: Pod\nx0: &a0 [a]\n";
  for (int i = 1; i <= 12; ++i) {
    const std::string below = "*a" + std::to_string(i - 1);
    text += "x" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeat(below + ",", 9) + below + "]\n";
  }
  refused(text + "metadata: {name: a, managedFields: [{fieldsV1: *a12}]}\n", "alias expansion");
  // A long chain of aliases would be a deep tree.
  text = "apiVersion: v1\nkind: Pod\nx0: &a0 [a]\n";
  for (int i = 1; i <= 1000; ++i) {
    text += "x" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  }
  refused(text, "levels deep");
}

BOOST_AUTO_TEST_CASE(an_alias_to_what_holds_it_is_refused) {
  refused(kHead + "x: &x [*x]\n", "alias to itself");
  refused(kHead + "x: &x {y: *x}\n", "alias to itself");
  refused(kHead + "x: &x {<<: *x}\n", "alias to itself");
}

BOOST_AUTO_TEST_CASE(merge_keys_cannot_multiply) {
  std::string text = kHead + "x: &x {";
  for (int i = 0; i < 5000; ++i) text += "k" + std::to_string(i) + ": a, ";
  text += "}\ny:\n" + repeat("- {<<: *x}\n", 5000);
  refused(text, "values");
}

BOOST_AUTO_TEST_CASE(too_many_values_are_refused) {
  refused("[" + repeat("1,", 250'000) + "1]", "values");
  refused(R"({"a":[)" + repeat("1,", 250'000) + "1]}", "values");
}

BOOST_AUTO_TEST_CASE(a_text_that_is_too_large_is_refused) {
  refused(kHead + "data: {a: " + std::string(kMaxText, 'x') + "}", "larger than");
  BOOST_TEST(!decode_json<Pod>("{}" + std::string(kMaxText, ' ')));
}

BOOST_AUTO_TEST_CASE(what_is_no_text_is_refused) {
  refused(kHead + "data: {a: \xff}", "not a text");
  refused(kHead + "data: {a: \xed\xa0\x80}", "not a text");
  refused(kHead + "data: {a: \xc0\xaf}", "not a text");
  refused(kHead + "data: {a: \xf5\x80\x80\x80}", "not a text");
  refused(kHead + std::string("data: {a: \0}", 12), "not a text");
  refused(std::string("\xff\xfe{\0", 4), "not a text");
  BOOST_TEST(!decode_json<ConfigMap>("{\"data\":{\"a\":\"\xff\"}}"));
}

BOOST_AUTO_TEST_CASE(a_nul_in_a_name_is_refused) {
  BOOST_TEST(!decode_json<Pod>(R"({"metadata":{"name":"a\u0000b"}})"));
  BOOST_TEST(!decode_json<Pod>(R"({"spec":{"containers":[{"args":["a\u0000b"]}]}})"));
  refused("apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\\0b\"}\n", "NUL");
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_skipped) {
  BOOST_TEST(decode_manifest("\xEF\xBB\xBF" + kHead).objects.size() == 1);
}

BOOST_AUTO_TEST_CASE(numbers_beyond_their_type_are_refused) {
  const std::string head = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {priority: ";
  for (const char* number :
       {"99999999999999999999999999", "-2147483649", "1e400", "1e20", ".inf", "0x100000000", "1e18"}) {
    refused(head + number + "}", "");
  }
}

BOOST_AUTO_TEST_CASE(every_truncation_of_a_manifest_is_survived) {
  const std::string yaml =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\", labels: &l {a: 'b'}}\nspec:\n  containers:\n  - name: a\n    "
      "env: [{name: X, value: \"\\x41\\u00e4\"}]\n    args:\n    - |\n      x\n    - >2-\n        y\n  - *l\n  ? k\n  "
      ": v\n...\n";
  for (size_t length = 0; length <= yaml.size(); ++length) decode_manifest(yaml.substr(0, length));
  const std::string json =
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"\u00e4\ud83d\ude00"},"spec":{"priority":-1.5e3}})";
  for (size_t length = 0; length <= json.size(); ++length) decode_manifest(json.substr(0, length));
  BOOST_TEST(!decode_json<Pod>(json.substr(0, json.size() - 1)));
}

// The reader takes sixteen bytes at a time, and must not miss what ends or breaks a text among them.
BOOST_AUTO_TEST_CASE(json_is_refused_wherever_it_breaks_off) {
  const std::string whole = "{\"a\":\"" + repeat("x", 40) + "\",\"b\":[1,true,\"" + repeat("\xC3\xA4", 20) + "\"]}";
  for (size_t length = 0; length <= whole.size(); ++length) {
    // Of just this size, so that ASan sees what is read behind it.
    const std::vector<char> part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    Tree tree;
    size_t used = 0;
    const auto read = read_json({part.data(), part.size()}, tree, 1, used);
    BOOST_TEST(read.has_value() == (length == whole.size()), length);
  }
}

BOOST_AUTO_TEST_CASE(json_with_a_bad_byte_is_refused_with_its_line) {
  const std::string text = "{\n\"a\": \"" + repeat("x", 40) + "\",\n\"b\": 1\n}";
  for (size_t at = text.find('x'); at < text.find("\","); ++at) {
    for (const char bad : {'\xFF', '\x80', '\x01', '\0', '\n'}) {
      std::string broken = text;
      broken[at] = bad;
      Tree tree;
      size_t used = 0;
      const auto read = read_json(broken, tree, 1, used);
      BOOST_REQUIRE(!read);
      // A newline in a string is counted before it is refused.
      BOOST_TEST((read.error().line == 2 || (bad == '\n' && read.error().line == 3)), read.error().line);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_string_is_written_with_its_escapes_wherever_they_are) {
  for (size_t at = 0; at < 20; ++at) {
    for (const auto& [plain, escaped] : {std::pair<std::string, std::string>{"\"", "\\\""},
                                         {"\\", "\\\\"},
                                         {"\n", "\\n"},
                                         {"\x1f", "\\u001f"},
                                         {"\x7f", "\x7f"},
                                         {"\xC3\xA4", "\xC3\xA4"},
                                         {"\xFF", "\xEF\xBF\xBD"}}) {
      const std::string text = repeat("x", at) + plain + repeat("y", 20 - at);
      BOOST_TEST(json_string(text) == "\"" + repeat("x", at) + escaped + repeat("y", 20 - at) + "\"");
    }
  }
}

BOOST_AUTO_TEST_CASE(text_behind_a_document_is_no_endless_stream_of_documents) {
  refused("[a]},}\n", "");
  BOOST_TEST(decode_manifest("[a]},}\n").problems.size() < 5);
  refused("{\"kind\": {\n}},\n }, \"b\": 1}", "");
  refused("a: 1\n},\n", "");
}

BOOST_AUTO_TEST_CASE(lists_within_lists_end) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += R"({"apiVersion":"v1","kind":"List","items":[)";
  text += repeat("]}", 20);
  refused(text, "nested too deeply");
}

BOOST_AUTO_TEST_CASE(problems_and_warnings_are_bounded) {
  const Manifest many = decode_manifest(repeat("a: 1\n---\n", 5000));
  BOOST_TEST(many.problems.size() == 1000);
  std::string text = kHead;
  for (int i = 0; i < 5000; ++i) text += "u" + std::to_string(i) + ": 1\n";
  const Manifest unknown = decode_manifest(text);
  BOOST_REQUIRE_EQUAL(unknown.objects.size(), 1);
  BOOST_TEST(unknown.objects[0].warnings.size() == 100);
}

BOOST_AUTO_TEST_SUITE_END()
