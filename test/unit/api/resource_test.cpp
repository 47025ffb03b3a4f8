// Every kind through the codec that knows no kind, and what the kinds are called.
#include "api/resource.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "api/draft.h"
#include "api/patch.h"
#include "test/unit/api/golden.h"

using namespace keelson;
using namespace keelson::test;

namespace {

std::string file_of(const api::Resource& resource) {
  const std::string group =
      resource.group.empty() || resource.kind == "DeleteOptions" ? "core" : std::string(resource.group);
  return group + "." + std::string(resource.version) + "." + std::string(resource.kind);
}

// Which is one leaf in a draft, whatever it is.
void drop_raw_json(api::Draft& draft) {
  draft.erase("fieldsV1");
  for (auto& [key, child] : draft.members) drop_raw_json(*child);
}

void check_draft_is_what_the_text_says(const api::AnyObject& object) {
  api::Tree tree;
  size_t used = 0;
  api::Drafts drafts;
  const std::string text = api::encode_json(object);
  api::Draft* read = drafts.copy(**api::read_json(text, tree, 1, used));
  api::Draft* made = api::draft_of(drafts, object.resource().type(), object.data());
  for (api::Draft* draft : {read, made}) {
    draft->erase("kind");
    draft->erase("apiVersion");
    drop_raw_json(*draft);
  }
  BOOST_TEST(api::same(*made, *read));
}

// Where nobody owns anything yet there is a shorter way to the same fields.
void check_new_fields_are_those_of_a_comparison(const api::AnyObject& object) {
  const api::Manager creator{"creator", "v1", "", {}};
  api::ManagedFieldsEntry other;
  other.manager = "other";
  other.operation = "Apply";
  other.fields_v1 = api::RawJson{R"({"f:metadata":{"f:labels":{"f:of-nobody-else":{}}}})"};
  const api::Type& type = object.resource().type();
  const auto alone = api::track_update(type, nullptr, object.data(), {}, creator);
  const auto compared = api::track_update(type, nullptr, object.data(), {other}, creator);
  BOOST_REQUIRE(alone.size() == 1 && compared.size() == 2);
  BOOST_TEST(alone[0].fields_v1->text == compared[1].fields_v1->text);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resource_tests)

BOOST_AUTO_TEST_CASE(each_golden_object_is_the_same_in_json_yaml_and_protobuf,
                     *boost::unit_test::precondition(golden_objects_are_present)) {
  size_t tried = 0;
  for (const api::Resource& resource : api::resources()) {
    if (!std::filesystem::exists(kGolden / (file_of(resource) + ".json"))) continue;
    ++tried;
    const std::string json = golden_text(file_of(resource) + ".json");
    BOOST_TEST_CONTEXT(file_of(resource)) {
      auto object = api::read_json_object(resource, json);
      BOOST_REQUIRE_MESSAGE(object, object.error().message);
      BOOST_TEST(object->strict.empty());
      BOOST_TEST(api::encode_json(object->object) == compact(json));
      auto yaml = api::read_yaml_object(resource, golden_text(file_of(resource) + ".yaml"));
      BOOST_REQUIRE_MESSAGE(yaml, yaml.error().message);
      BOOST_TEST((yaml->object == object->object));
      const std::string bytes = golden_text(file_of(resource) + ".pb");
      auto protobuf = api::read_protobuf_object(resource, bytes);
      BOOST_REQUIRE_MESSAGE(protobuf, protobuf.error().message);
      BOOST_TEST((protobuf->object == object->object));
      BOOST_TEST((api::encode_protobuf(protobuf->object) == bytes));
      check_draft_is_what_the_text_says(object->object);
      check_new_fields_are_those_of_a_comparison(object->object);
    }
  }
  BOOST_TEST(tried == 17U);
}

BOOST_AUTO_TEST_CASE(kinds_are_found_by_path_and_by_what_they_say_of_themselves) {
  const api::Resource* slices = api::find_resource("discovery.k8s.io", "v1", "endpointslices");
  BOOST_REQUIRE(slices);
  BOOST_TEST(slices->kind == "EndpointSlice");
  BOOST_TEST(slices->path() == "/apis/discovery.k8s.io/v1");
  BOOST_TEST(slices->definition() == "io.k8s.api.discovery.v1.EndpointSlice");
  BOOST_TEST(api::find_kind("v1", "Pod")->short_names[0] == "po");
  BOOST_TEST(api::find_kind("v1", "DeleteOptions")->definition() ==
             "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  BOOST_TEST(!api::find_resource("", "v1", "endpointslices"));
  BOOST_TEST(!api::find_resource("", "v1", ""));
  BOOST_TEST(!api::find_kind("v1", "Potato"));
}

BOOST_AUTO_TEST_CASE(unknown_and_repeated_fields_are_told_and_the_last_one_wins) {
  auto pod = api::read_json_object(
      api::resource_of<api::Pod>(),
      R"({"metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},"spec":{"containers":[{"name":"c"}],"containers":[{"name":"d","imag":1}]}})");
  BOOST_REQUIRE(pod);
  const auto* typed = pod->object.get_if<api::Pod>();
  BOOST_REQUIRE(typed);
  BOOST_TEST(typed->metadata.name == "b");
  BOOST_TEST(typed->metadata.labels.at("x") == "2");
  BOOST_REQUIRE_EQUAL(typed->spec.containers.size(), 1U);
  BOOST_TEST(typed->spec.containers[0].name == "d");
  const std::vector<std::string> expected = {
      R"(duplicate field "metadata.name")", R"(duplicate field "metadata.labels[x]")",
      R"(duplicate field "spec.containers")", R"(unknown field "spec.containers[0].imag")"};
  BOOST_TEST(pod->strict == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(delete_options_inside_an_eviction_may_say_what_they_are) {
  auto eviction = api::read_json_object(
      api::resource_of<api::Eviction>(),
      R"({"kind":"Eviction","deleteOptions":{"kind":"DeleteOptions","apiVersion":"policy/v1","gracePeriodSeconds":3}})");
  BOOST_REQUIRE(eviction);
  BOOST_TEST(eviction->strict.empty());
  BOOST_TEST(*eviction->object.get_if<api::Eviction>()->delete_options->grace_period_seconds == 3);
}

BOOST_AUTO_TEST_CASE(list_of_any_kind_is_written_and_read) {
  api::Lease lease;
  lease.metadata.name = "a";
  std::string text;
  api::append_json_list_head(text, api::resource_of<api::Lease>(), {.resource_version = "7"});
  api::append_json_item(text, lease);
  text += "]}";
  BOOST_TEST(text == R"({"kind":"LeaseList","apiVersion":"coordination.k8s.io/v1","metadata":{"resourceVersion":"7"},)"
                     R"("items":[{"metadata":{"name":"a","creationTimestamp":null},"spec":{}}]})");
  auto list = api::decode_json_list<api::Lease>(text);
  BOOST_REQUIRE_MESSAGE(list, list.error().message);
  BOOST_TEST(list->metadata.resource_version == "7");
  BOOST_TEST((list->items == std::vector{lease}));
  BOOST_TEST(!api::decode_json_list<api::Pod>(text));
}

BOOST_AUTO_TEST_CASE(an_event_keeps_everything_in_both_views) {
  api::EventsEvent event;
  event.metadata.name = "e";
  event.event_time = {.microseconds = 5};
  event.series = api::EventsEventSeries{.count = 2, .last_observed_time = {.microseconds = 9}};
  event.note = "pulled";
  event.reporting_controller = "agent";
  event.deprecated_count = 4;
  BOOST_TEST((api::to_events(api::to_core(event)) == event));
  BOOST_TEST(api::to_core(event).message == "pulled");
}

BOOST_AUTO_TEST_SUITE_END()
