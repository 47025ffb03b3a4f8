// The API server over a real etcd: each sentence of "Semantics that toy servers get wrong"
// (API_SERVER.md). Loopback only; no root needed.

#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <thread>

#include "test/integration/api_rig.h"

namespace keelson::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kPods = "/api/v1/namespaces/default/pods";
const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string config_map(std::string_view name, std::string_view value = "1") {
  return fmt::format(R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}"}},"data":{{"a":"{}"}}}})", name,
                     value);
}
std::string pod(std::string_view name, std::string_view more_metadata = "", std::string_view more_spec = "") {
  return fmt::format(
      R"({{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}"{}}},"spec":{{{}"containers":[{{"name":"main","image":"busybox:1"}}]}}}})",
      name, more_metadata, more_spec);
}
std::string binding(std::string_view pod, std::string_view node) {
  return fmt::format(
      R"({{"kind":"Binding","apiVersion":"v1","metadata":{{"name":"{}"}},"target":{{"kind":"Node","name":"{}"}}}})",
      pod, node);
}
void check_status(const HttpAnswer& answer, int code, std::string_view reason, std::string_view message) {
  BOOST_CHECK_MESSAGE(answer.status == code, answer.body);
  BOOST_CHECK_EQUAL(answer["/kind"], "Status");
  BOOST_CHECK_EQUAL(answer["/status"], "Failure");
  BOOST_CHECK_EQUAL(answer["/code"], std::to_string(code));
  BOOST_CHECK_EQUAL(answer["/reason"], reason);
  BOOST_CHECK_EQUAL(answer["/message"], message);
}

BOOST_FIXTURE_TEST_CASE(an_object_is_created_read_changed_and_deleted, ApiRig) {
  auto made = post(kMaps, config_map("one"));
  BOOST_REQUIRE_MESSAGE(made.status == 201, made.body);
  BOOST_CHECK_EQUAL(made["/metadata/namespace"], "default");
  BOOST_CHECK_EQUAL(made["/metadata/uid"].size(), 36u);
  BOOST_CHECK_NE(made["/metadata/resourceVersion"], "");
  const auto read = get(kMaps + "/one");
  BOOST_CHECK_EQUAL(read.status, 200);
  BOOST_CHECK_EQUAL(read.body, made.body);
  check_status(post(kMaps, config_map("one")), 409, "AlreadyExists", "configmaps \"one\" already exists");

  const auto changed = put(kMaps + "/one", config_map("one", "2"));
  BOOST_CHECK_EQUAL(changed.status, 200);
  BOOST_CHECK_EQUAL(changed["/data/a"], "2");
  BOOST_CHECK_NE(changed["/metadata/resourceVersion"], made["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(changed["/metadata/uid"], made["/metadata/uid"]);

  const auto list = get(kMaps);
  BOOST_CHECK_EQUAL(list["/kind"], "ConfigMapList");
  BOOST_CHECK_EQUAL(list["/items/0/data/a"], "2");
  BOOST_CHECK_EQUAL(list["/items/0/kind"], "");

  const auto gone = remove(kMaps + "/one");
  BOOST_CHECK_EQUAL(gone.status, 200);
  BOOST_CHECK_EQUAL(gone["/status"], "Success");
  BOOST_CHECK_EQUAL(gone["/details/kind"], "configmaps");
  BOOST_CHECK_EQUAL(gone["/details/uid"], made["/metadata/uid"]);
  check_status(get(kMaps + "/one"), 404, "NotFound", "configmaps \"one\" not found");
  check_status(remove(kMaps + "/one"), 404, "NotFound", "configmaps \"one\" not found");
}

BOOST_FIXTURE_TEST_CASE(a_watch_tells_of_every_change, ApiRig) {
  const std::string before = get(kMaps)["/metadata/resourceVersion"];
  HttpClient watch(port());
  BOOST_REQUIRE_EQUAL(watch.open(kMaps + "?watch=True&resourceVersion=" + before).status, 200);
  post(kMaps, config_map("one"));
  put(kMaps + "/one", config_map("one", "2"));
  remove(kMaps + "/one");
  for (const char* type : {"ADDED", "MODIFIED", "DELETED"}) {
    const auto event = watch.line();
    BOOST_REQUIRE(event);
    BOOST_CHECK_EQUAL(json_at(*event, "/type"), type);
    BOOST_CHECK_EQUAL(json_at(*event, "/object/metadata/name"), "one");
  }
  HttpClient again(port());
  again.open(kMaps + "?watch=1&resourceVersion=" + before);
  for (const char* type : {"ADDED", "MODIFIED", "DELETED"}) BOOST_CHECK_EQUAL(json_at(*again.line(), "/type"), type);
}

BOOST_FIXTURE_TEST_CASE(a_bound_pod_and_its_copy_are_one_transaction, ApiRig) {
  BOOST_REQUIRE_EQUAL(post(kPods, pod("web")).status, 201);
  const auto bound = post(kPods + "/web/binding", binding("web", "n1"));
  BOOST_CHECK_MESSAGE(bound.status == 201, bound.body);
  BOOST_CHECK_EQUAL(bound["/status"], "Success");
  const auto read = get(kPods + "/web");
  BOOST_CHECK_EQUAL(read["/spec/nodeName"], "n1");
  BOOST_CHECK_EQUAL(read["/status/conditions/0/type"], "PodScheduled");
  const auto copy = etcdctl({"get", "--print-value-only", "/registry/hosts/n1/pods/default/web"});
  BOOST_CHECK_EQUAL(json_at(copy.out, "/spec/nodeName"), "n1");
  BOOST_CHECK_EQUAL(json_at(copy.out, "/metadata/uid"), read["/metadata/uid"]);
  const auto fields = etcdctl({"get", "-w", "fields", "/registry/hosts/n1/pods/default/web"});
  BOOST_CHECK(fields.out.find(fmt::format("\"ModRevision\" : {}", read["/metadata/resourceVersion"])) !=
              std::string::npos);
  check_status(post(kPods + "/web/binding", binding("web", "n2")), 409, "Conflict",
               "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"n1\"");
  // Its node removes it for good, and the copy goes along.
  BOOST_CHECK_EQUAL(remove(kPods + "/web", R"({"gracePeriodSeconds":0})").status, 200);
  BOOST_CHECK_EQUAL(etcdctl({"get", "--prefix", "/registry/hosts/"}).out, "");
}

}  // namespace
}  // namespace keelson::test
