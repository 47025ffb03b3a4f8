// The patches of the API server: RFC 7386, RFC 6902, strategic merge, server-side apply.
#include "api/patch.h"

#include <boost/test/unit_test.hpp>

#include "api/resource.h"

using namespace keelson;

BOOST_AUTO_TEST_SUITE(patch_tests)

namespace {

const api::Value& parse(std::string_view json, api::Tree& tree) {
  size_t used = 0;
  auto root = api::read_json(json, tree, 1, used);
  BOOST_REQUIRE_MESSAGE(root, json);
  return **root;
}

std::string text(const api::Value& value) {
  std::string out;
  size_t budget = api::kMaxValues;
  api::write_json(value, out, budget);
  return out;
}

std::string outcome(const api::Patched& patched) {
  return patched ? text(**patched) : std::to_string(patched.error().code) + " " + patched.error().message;
}

std::string merge(std::string_view target, std::string_view patch) {
  api::Tree tree;
  return outcome(api::merge_patch(parse(target, tree), parse(patch, tree), tree));
}

std::string json_patch(std::string_view target, std::string_view patch) {
  api::Tree tree;
  return outcome(api::json_patch(parse(target, tree), parse(patch, tree), tree));
}

std::string strategic(std::string_view target, std::string_view patch) {
  api::Tree tree;
  return outcome(api::strategic_merge_patch(api::type_of<api::Pod>(), parse(target, tree), parse(patch, tree), tree));
}

api::AnyObject pod(std::string_view json) {
  api::Tree tree;
  auto read = api::read_object(api::resource_of<api::Pod>(), parse(json, tree));
  BOOST_REQUIRE_MESSAGE(read, json);
  return std::move(read->object);
}

struct Applier {
  std::string object = "";
  std::vector<api::ManagedFieldsEntry> fields;

  // "" or the failure.
  std::string apply(std::string_view who, std::string_view configuration, bool force = false) {
    api::Tree tree;
    const api::Value* live = object.empty() ? nullptr : &parse(object, tree);
    auto applied = api::server_side_apply(api::type_of<api::Pod>(), live, parse(configuration, tree), fields,
                                          {std::string(who), "v1", "", {++now}}, force, tree);
    if (!applied) return std::to_string(applied.error().code) + " " + applied.error().message;
    object = text(*applied->object);
    fields = applied->managed_fields;
    return "";
  }
  void update(std::string_view who, const std::string& next) {
    std::optional<api::AnyObject> live;
    if (!object.empty()) live = pod(object);
    const api::AnyObject after = pod(next);
    fields = api::track_update(api::type_of<api::Pod>(), live ? live->data() : nullptr, after.data(), fields,
                               {std::string(who), "v1", "", {++now}});
    object = next;
  }
  std::string owned(std::string_view who) const {
    for (const auto& entry : fields) {
      if (entry.manager == who) return entry.fields_v1->text;
    }
    return "";
  }
  int64_t now = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_merge_patch_follows_rfc_7386) {
  BOOST_TEST(merge(R"({"a":"b"})", R"({"a":"c"})") == R"({"a":"c"})");
  BOOST_TEST(merge(R"({"a":"b"})", R"({"b":"c"})") == R"({"a":"b","b":"c"})");
  BOOST_TEST(merge(R"({"a":"b","b":"c"})", R"({"a":null})") == R"({"b":"c"})");
  BOOST_TEST(merge(R"({"a":["b"]})", R"({"a":"c"})") == R"({"a":"c"})");
  BOOST_TEST(merge(R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})") == R"({"a":{"b":"d"}})");
  BOOST_TEST(merge(R"({"a":[1]})", R"({"a":{"b":{"c":null}}})") == R"({"a":{"b":{}}})");
  BOOST_TEST(merge(R"(["a"])", R"({"a":1})") == R"({"a":1})");
}

BOOST_AUTO_TEST_CASE(a_json_patch_follows_rfc_6902) {
  BOOST_TEST(json_patch(R"({"a":1})", R"([{"op":"add","path":"/b","value":2}])") == R"({"a":1,"b":2})");
  BOOST_TEST(
      json_patch(R"({"l":[1,3]})", R"([{"op":"add","path":"/l/1","value":2},{"op":"add","path":"/l/-","value":4}])") ==
      R"({"l":[1,2,3,4]})");
  BOOST_TEST(json_patch(R"({"a/b":{"~":1}})", R"([{"op":"replace","path":"/a~1b/~0","value":2}])") ==
             R"({"a/b":{"~":2}})");
  BOOST_TEST(json_patch(R"({"l":[1,2]})", R"([{"op":"remove","path":"/l/0"}])") == R"({"l":[2]})");
  BOOST_TEST(json_patch(R"({"a":{"x":1}})", R"([{"op":"move","from":"/a/x","path":"/b"}])") == R"({"a":{},"b":1})");
  BOOST_TEST(
      json_patch(R"({"a":{"x":1}})", R"([{"op":"copy","from":"/a","path":"/b"},{"op":"remove","path":"/a/x"}])") ==
      R"({"a":{},"b":{"x":1}})");
  BOOST_TEST(json_patch(R"({"a":{"x":1,"y":2}})", R"([{"op":"test","path":"/a","value":{"y":2,"x":1}}])") ==
             R"({"a":{"x":1,"y":2}})");
}

BOOST_AUTO_TEST_CASE(a_json_patch_that_does_not_fit_changes_nothing) {
  const std::string prefix = "422 the server rejected our request due to an error in our request: ";
  BOOST_TEST(json_patch(R"({"a":1})", R"([{"op":"test","path":"/a","value":2}])") ==
             prefix + "testing value /a failed: test failed");
  BOOST_TEST(json_patch("{}", R"([{"op":"remove","path":"/a"}])").starts_with(prefix));
  BOOST_TEST(json_patch("{}", R"([{"op":"add","path":"/a/b","value":1}])").starts_with(prefix));
  BOOST_TEST(json_patch(R"({"l":[]})", R"([{"op":"add","path":"/l/1","value":1}])").starts_with(prefix));
  BOOST_TEST(json_patch(R"({"a":{"b":1}})", R"([{"op":"move","from":"/a","path":"/a/b"}])").starts_with(prefix));
  BOOST_TEST(json_patch("{}", R"([{"op":"jump","path":"/a"}])").starts_with("400 "));
  BOOST_TEST(json_patch("{}", R"({"op":"add"})").starts_with("400 "));
}

BOOST_AUTO_TEST_CASE(a_hostile_json_patch_ends_within_its_limits) {
  std::string doubling = "[";
  for (int i = 0; i < 40; ++i) {
    doubling += i % 2 == 0 ? R"({"op":"copy","from":"","path":"/a"},)" : R"({"op":"copy","from":"","path":"/b"},)";
  }
  doubling.back() = ']';
  BOOST_TEST(json_patch(R"({"b":[1,2,3]})", doubling) == "413 the patched object is too large or too deep");
  std::string nesting = "[";
  for (int i = 0; i < 100; ++i) nesting += R"({"op":"copy","from":"","path":"/a"},)";
  nesting.back() = ']';
  BOOST_TEST(json_patch("{}", nesting).ends_with("nested too deeply"));
  std::string many = "[";
  for (int i = 0; i < 10'001; ++i) many += R"({"op":"test","path":"/a","value":1},)";
  many.back() = ']';
  BOOST_TEST(json_patch(R"({"a":1})", many) ==
             "413 The allowed maximum operations in a JSON patch is 10000, got 10001");
}

BOOST_AUTO_TEST_CASE(a_strategic_patch_merges_lists_by_their_keys) {
  BOOST_TEST(strategic(R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]}})",
                       R"({"spec":{"containers":[{"name":"b","image":"2"}]}})") ==
             R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]}})");
  BOOST_TEST(strategic(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                       R"({"spec":{"containers":[{"$patch":"delete","name":"a"}]}})") ==
             R"({"spec":{"containers":[{"name":"b"}]}})");
  BOOST_TEST(
      strategic(
          R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
          R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"x"}]}})") ==
      R"({"spec":{"containers":[{"name":"b"},{"name":"a","image":"x"}]}})");
  BOOST_TEST(strategic(R"({"spec":{"containers":[{"name":"a"}]}})",
                       R"({"spec":{"containers":[{"$patch":"replace"},{"name":"c"}]}})") ==
             R"({"spec":{"containers":[{"name":"c"}]}})");
  BOOST_TEST(strategic(R"({"spec":{"containers":[{"name":"a"}]}})", R"({"spec":{"containers":[{"image":"x"}]}})") ==
             "422 map: does not contain declared merge key: name");
  // tolerations have no merge strategy
  BOOST_TEST(strategic(R"({"spec":{"tolerations":[{"key":"a"}]}})", R"({"spec":{"tolerations":[{"key":"b"}]}})") ==
             R"({"spec":{"tolerations":[{"key":"b"}]}})");
}

BOOST_AUTO_TEST_CASE(a_strategic_patch_obeys_its_directives) {
  BOOST_TEST(strategic(R"({"metadata":{"finalizers":["a","b"]}})",
                       R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}})") ==
             R"({"metadata":{"finalizers":["b"]}})");
  BOOST_TEST(
      strategic(R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"finalizers":["c"]}})").find("\"c\"") !=
      std::string::npos);
  BOOST_TEST(
      strategic(R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"a":null,"c":"3"}}})") ==
      R"({"metadata":{"labels":{"b":"2","c":"3"}}})");
  BOOST_TEST(
      strategic(R"({"metadata":{"labels":{"a":"1"}}})", R"({"metadata":{"labels":{"$patch":"replace","c":"3"}}})") ==
      R"({"metadata":{"labels":{"c":"3"}}})");
  BOOST_TEST(
      strategic(R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})",
                R"({"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/"}}]}})") ==
      R"({"spec":{"volumes":[{"name":"v","hostPath":{"path":"/"}}]}})");
  BOOST_TEST(strategic("{}", R"({"$patch":"explode"})") == "422 Unknown patch type found: explode");
}

BOOST_AUTO_TEST_CASE(what_a_manager_applied_before_and_leaves_out_now_goes) {
  Applier pod;
  BOOST_TEST(
      pod.apply(
          "me",
          R"({"metadata":{"name":"p","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"c","image":"x"}]}})") ==
      "");
  BOOST_TEST(
      pod.owned("me") ==
      R"({"f:metadata":{"f:labels":{"f:a":{},"f:b":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}})");
  BOOST_TEST(
      pod.apply("me",
                R"({"metadata":{"name":"p","labels":{"a":"1"}},"spec":{"containers":[{"name":"c","image":"x"}]}})") ==
      "");
  BOOST_TEST(pod.object.find(R"("labels":{"a":"1"})") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(applying_over_another_manager_conflicts_unless_forced) {
  Applier pod;
  pod.update(
      "kubectl-create",
      R"({"metadata":{"name":"p","labels":{"a":"1"}},"spec":{"containers":[{"name":"c","image":"x"}],"hostname":"h"}})");
  BOOST_TEST(
      pod.owned("kubectl-create") ==
      R"({"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:resources":{}}},"f:hostname":{}}})");
  const std::string wanted =
      R"({"metadata":{"name":"p","labels":{"a":"1"}},"spec":{"containers":[{"name":"c","image":"y"}]}})";
  BOOST_TEST(pod.apply("me", wanted) ==
             "409 Apply failed with 1 conflict: conflict with \"kubectl-create\" using v1: "
             ".spec.containers[name=\"c\"].image");
  BOOST_TEST(pod.apply("me", wanted, true) == "");
  BOOST_TEST(pod.object.find(R"("image":"y")") != std::string::npos);
  BOOST_TEST(pod.object.find(R"("hostname":"h")") != std::string::npos);
  BOOST_TEST(pod.owned("kubectl-create").find("f:image") == std::string::npos);
  // The label is owned by both: leaving it out keeps it.
  BOOST_TEST(pod.apply("me", R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"y"}]}})") == "");
  BOOST_TEST(pod.object.find(R"("a":"1")") != std::string::npos);
  BOOST_TEST(pod.apply("me", R"({"metadata":{"name":"p","managedFields":[{}]}})") ==
             "400 metadata.managedFields must be nil");
}

BOOST_AUTO_TEST_CASE(applying_the_same_again_changes_nothing) {
  Applier pod;
  const std::string wanted =
      R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"y","ports":[{"containerPort":80}]}]}})";
  BOOST_TEST(pod.apply("me", wanted) == "");
  const auto before = pod.fields;
  const std::string object = pod.object;
  BOOST_TEST(pod.apply("me", wanted) == "");
  BOOST_TEST((pod.fields == before));
  BOOST_TEST(pod.object == object);
  BOOST_TEST(pod.owned("me").find(R"(k:{\"containerPort\":80,\"protocol\":\"TCP\"})") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
