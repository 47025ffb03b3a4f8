// labelSelector and fieldSelector as Kubernetes reads them.
#include "api/query.h"

#include <boost/test/unit_test.hpp>

using namespace keelson;

BOOST_AUTO_TEST_SUITE(query_tests)

namespace {

using Labels = std::map<std::string, std::string>;

bool selects(std::string_view text, const Labels& labels) {
  auto query = api::parse_label_query(text);
  BOOST_REQUIRE_MESSAGE(query, text << ": " << query.error().message);
  return query->matches(labels);
}

std::string refusal(std::string_view text) {
  auto query = api::parse_label_query(text);
  BOOST_REQUIRE_MESSAGE(!query, text);
  return query.error().message;
}

std::string field_refusal(const api::Resource& resource, std::string_view text) {
  auto query = api::parse_field_query(resource, text);
  BOOST_REQUIRE_MESSAGE(!query, text);
  return query.error().message;
}

}  // namespace

BOOST_AUTO_TEST_CASE(labels_are_compared_as_kubernetes_compares_them) {
  const Labels web = {{"app", "web"}, {"tier", "front"}, {"size", "10"}, {"in", "x"}};
  for (const std::string_view yes :
       {"", "app=web", "app==web", "app = web , tier=front", "app", "!old", "old!=yes", "tier in (front,back)",
        "tier in ( front )", "tier notin (back)", "old notin (a)", "size>9", "size<11", "in=x", "in in (x)", "! old"}) {
    BOOST_TEST(selects(yes, web), yes);
  }
  for (const std::string_view no : {"app=db", "app!=web", "old", "!app", "tier in (back)", "tier notin (front,x)",
                                    "old in (a)", "size>10", "app>1", "app=", "app=web,old"}) {
    BOOST_TEST(!selects(no, web), no);
  }
  BOOST_TEST(selects("empty=", {{"empty", ""}}));
  BOOST_TEST(selects("empty in (,a)", {{"empty", ""}}));
  BOOST_TEST(selects("empty in ()", {{"empty", ""}}));
}

BOOST_AUTO_TEST_CASE(broken_label_selectors_are_refused_in_kubernetes_words) {
  BOOST_TEST(refusal("a,") == "found '', expected: identifier after ','");
  BOOST_TEST(refusal("=a") == "found '=', expected: !, identifier, or 'end of string'");
  BOOST_TEST(refusal("a b") == "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
  BOOST_TEST(refusal("a in b") == "unable to parse requirement: found 'b' expected: '('");
  BOOST_TEST(refusal("a in (b") == "unable to parse requirement: found '', expected: ',', ')' or identifier");
  BOOST_TEST(refusal("a=b c") == "found 'c', expected: ',' or 'end of string'");
  BOOST_TEST(refusal("a>b") ==
             "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must "
             "be an integer");
  BOOST_TEST(refusal("a/b/c=d").starts_with("unable to parse requirement: <nil>: Invalid value: \"a/b/c\": "));
  BOOST_TEST(refusal("a=-").starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-\": "));
  std::string many = "a";
  for (int i = 0; i < 2'000; ++i) many += ",a";
  BOOST_TEST(refusal(many) == "more than 1000 requirements");
}

BOOST_AUTO_TEST_CASE(a_label_query_is_printed_as_kubernetes_prints_it) {
  auto query = api::parse_label_query("tier in (b,a),app=web,!old,new,x!=y,n>3");
  BOOST_REQUIRE(query);
  BOOST_TEST(to_string(*query) == "app=web,n>3,new,!old,tier in (a,b),x!=y");
  api::LabelSelector selector;
  selector.match_labels = {{"app", "web"}};
  selector.match_expressions = {{"tier", "NotIn", {"b", "a"}}, {"old", "DoesNotExist", {}}};
  BOOST_TEST(to_string(api::query_of(selector)) == "app=web,!old,tier notin (a,b)");
}

BOOST_AUTO_TEST_CASE(fields_select_by_the_values_that_each_kind_allows) {
  const api::Resource& pods = api::resource_of<api::Pod>();
  api::Pod pod;
  pod.metadata.name = "web";
  pod.spec.node_name = "n1";
  pod.status.phase = "Running";
  const api::AnyObject object(pod);
  for (const std::string_view yes : {"", "metadata.name=web", "spec.nodeName==n1,status.phase!=Failed", "spec.host=n1",
                                     "spec.hostNetwork=false", "status.podIP=", ",metadata.name=web,"}) {
    auto query = api::parse_field_query(pods, yes);
    BOOST_REQUIRE_MESSAGE(query, yes);
    BOOST_TEST(query->matches(object), yes);
  }
  auto none = api::parse_field_query(pods, "spec.nodeName=,status.phase!=Succeeded");
  BOOST_REQUIRE(none);
  BOOST_TEST(!none->matches(object));
  BOOST_TEST(*none->value_of("spec.nodeName") == "");
  BOOST_TEST(none->value_of("status.phase") == nullptr);

  api::Node node;
  node.spec.unschedulable = true;
  BOOST_TEST(api::parse_field_query(api::resource_of<api::Node>(), "spec.unschedulable=true")->matches(node));

  api::Event event;
  event.involved_object.name = "web";
  event.source.component = "agent";
  BOOST_TEST(
      api::parse_field_query(api::resource_of<api::Event>(), "involvedObject.name=web,source=agent")->matches(event));
}

BOOST_AUTO_TEST_CASE(fields_that_a_kind_cannot_be_selected_by_are_refused) {
  BOOST_TEST(field_refusal(api::resource_of<api::Pod>(), "spec.foo=x") == "field label not supported: spec.foo");
  BOOST_TEST(field_refusal(api::resource_of<api::ConfigMap>(), "data=x") ==
             "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
  BOOST_TEST(field_refusal(api::resource_of<api::Pod>(), "metadata.name") ==
             "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
  BOOST_TEST(field_refusal(api::resource_of<api::Pod>(), "metadata.name=a\\b") ==
             "invalid field selector: invalid escape sequence: \\b");
  auto escaped = api::parse_field_query(api::resource_of<api::Pod>(), "metadata.name=a\\,b\\=c");
  BOOST_REQUIRE(escaped);
  BOOST_TEST(*escaped->value_of("metadata.name") == "a,b=c");
}

BOOST_AUTO_TEST_SUITE_END()
