// The rows of kubectl get, and the OpenAPI documents.
#include "api/table.h"

#include <boost/test/unit_test.hpp>

#include "api/openapi.h"
#include "api/tree.h"

using namespace keelson;

BOOST_AUTO_TEST_SUITE(table_tests)

namespace {

template <typename T>
std::string row(std::string_view json, api::Time now = {1'000}) {
  auto read = api::read_json_object(api::resource_of<T>(), json);
  BOOST_REQUIRE_MESSAGE(read, read.error().message);
  std::string out;
  api::append_table_row(out, read->object, api::RowObject::none, now);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_pod_is_shown_as_kubectl_shows_it) {
  BOOST_TEST(row<api::Pod>(R"({"metadata":{"name":"web","creationTimestamp":"1970-01-01T00:10:00Z"},
    "spec":{"nodeName":"n1","containers":[{"name":"c"},{"name":"d"}]},
    "status":{"phase":"Running","podIP":"10.1.0.2","containerStatuses":[
      {"name":"c","ready":true,"restartCount":0,"state":{"running":{}}},
      {"name":"d","ready":false,"restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},
       "lastState":{"terminated":{"exitCode":1,"finishedAt":"1970-01-01T00:15:40Z"}}}]}})") ==
             R"x({"cells":["web","1/2","CrashLoopBackOff","3 (60s ago)","6m40s","10.1.0.2","n1","<none>","<none>"]})x");
  BOOST_TEST(
      row<api::Pod>(R"({"metadata":{"name":"i"},"spec":{"initContainers":[{"name":"i"}],"containers":[{"name":"c"}]},
    "status":{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"running":{}}}]}})") ==
      R"({"cells":["i","0/1","Init:0/1","0","<unknown>","<none>","<none>","<none>","<none>"]})");
  BOOST_TEST(row<api::Pod>(R"({"metadata":{"name":"t","deletionTimestamp":"1970-01-01T00:10:00Z"},
    "spec":{"containers":[{"name":"c"}]},"status":{"phase":"Running"}})")
                 .find("\"Terminating\"") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(other_kinds_are_shown_as_kubectl_shows_them) {
  BOOST_TEST(row<api::Service>(R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"10.96.0.9",
    "selector":{"app":"web"},"ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}]}})") ==
             R"({"cells":["s","NodePort","10.96.0.9","<none>","80:30080/TCP","<unknown>","app=web"]})");
  BOOST_TEST(row<api::Node>(R"({"metadata":{"name":"n","labels":{"node-role.kubernetes.io/worker":""}},
    "spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}]}})")
                 .starts_with(R"({"cells":["n","Ready,SchedulingDisabled","worker","<unknown>","","<none>")"));
  BOOST_TEST(row<api::Endpoints>(R"({"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"1.1.1.1"},{"ip":"1.1.1.2"},
    {"ip":"1.1.1.3"},{"ip":"1.1.1.4"}],"ports":[{"port":80}]}]})") ==
             R"({"cells":["e","1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 1 more...","<unknown>"]})");
}

BOOST_AUTO_TEST_CASE(a_row_has_as_many_cells_as_its_kind_has_columns) {
  for (const api::Resource& resource : api::resources()) {
    if (!resource.stored) continue;
    std::string out;
    api::append_table_head(out, resource, {}, true);
    api::append_table_row(out, api::AnyObject(resource), api::RowObject::metadata, {1});
    out += "]}";
    api::Tree tree;
    size_t used = 0;
    auto root = api::read_json(out, tree, 1, used);
    BOOST_REQUIRE_MESSAGE(root, out);
    const auto& first = *(*root)->find("rows")->members[0].value;
    BOOST_TEST(first.find("cells")->members.size() == api::table_columns(resource).size(), resource.kind);
    BOOST_TEST((*root)->find("columnDefinitions")->members.size() == api::table_columns(resource).size());
    BOOST_TEST(first.find("object")->string("kind") == "PartialObjectMetadata");
  }
}

BOOST_AUTO_TEST_CASE(ages_are_written_as_kubectl_writes_them) {
  const auto age = [](int64_t seconds) { return api::age_of(api::Time{1'000'000'000}, {1'000'000'000 + seconds}); };
  BOOST_TEST(age(5) == "5s");
  BOOST_TEST(age(119) == "119s");
  BOOST_TEST(age(125) == "2m5s");
  BOOST_TEST(age(3'600) == "60m");
  BOOST_TEST(age(4 * 3'600 + 60) == "4h1m");
  BOOST_TEST(age(3 * 86'400 + 3'600) == "3d1h");
  BOOST_TEST(age(400 * 86'400) == "400d");
  BOOST_TEST(age(3 * 365 * 86'400) == "3y");
  BOOST_TEST(age(-5) == "<invalid>");
}

BOOST_AUTO_TEST_CASE(openapi_has_every_kind_and_leads_nowhere_that_is_not) {
  for (const std::string& json :
       {api::openapi_v2_json(), api::openapi_v3_json("api/v1"), api::openapi_v3_json("apis/discovery.k8s.io/v1")}) {
    api::Tree tree;
    size_t used = 0;
    auto root = api::read_json(json, tree, 1, used);
    BOOST_REQUIRE_MESSAGE(root, root.error().message);
    BOOST_TEST(used == json.size());
    const api::Value* definitions = (*root)->find("definitions");
    if (definitions == nullptr) definitions = (*root)->find("components")->find("schemas");
    for (size_t at = json.find("\"$ref\":\"#/"); at != std::string::npos; at = json.find("\"$ref\":\"#/", at + 1)) {
      std::string name = json.substr(at + 8, json.find('"', at + 8) - at - 8);
      name = name.substr(name.rfind('/') + 1);
      BOOST_REQUIRE_MESSAGE(definitions->find(name), name);
    }
  }
  const std::string v2 = api::openapi_v2_json();
  BOOST_TEST(
      v2.find(
          R"("containers":{"type":"array","items":{"$ref":"#/definitions/io.k8s.api.core.v1.Container"},"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge"})") !=
      std::string::npos);
  BOOST_TEST(
      v2.find(
          R"("x-kubernetes-group-version-kind":[{"group":"discovery.k8s.io","kind":"EndpointSlice","version":"v1"}])") !=
      std::string::npos);
  BOOST_TEST(api::openapi_v3_json("apis/nowhere/v1").empty());
  BOOST_TEST(api::openapi_v3_index().find(R"("api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=)") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_gnostic_document_starts_with_its_version_and_holds_the_definitions) {
  const std::string bytes = api::openapi_v2_protobuf();
  BOOST_TEST(
      bytes.starts_with("\x0a\x03"
                        "2.0"));
  BOOST_TEST(bytes.find("io.k8s.api.core.v1.PodSpec") != std::string::npos);
  BOOST_TEST(bytes.find("dryRun") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
