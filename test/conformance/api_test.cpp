// Kubernetes' own conformance tests of the API server, by their own names (sig-api-machinery,
// sig-node, sig-network, sig-apps; test/e2e of Kubernetes), ported as behaviour: those that need
// neither a node nor a controller. A suite is a Describe, a case its It.
#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <set>
#include <string>
#include <vector>

#include "test/integration/api_rig.h"

namespace keelson::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kDefault = "/api/v1/namespaces/default";
const std::string kMaps = kDefault + "/configmaps";
const std::string kPods = kDefault + "/pods";
const std::string kServices = kDefault + "/services";

std::string labelled_map(std::string_view name, std::string_view label, std::string_view mutation = "") {
  return fmt::format(
      R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}","labels":{{"watch-this-configmap":"{}"}}}},"data":{{{}}}}})",
      name, label, mutation.empty() ? "" : fmt::format(R"("mutation":"{}")", mutation));
}
std::string pod(std::string_view name, std::string_view label = "x") {
  return fmt::format(
      R"({{"metadata":{{"name":"{}","labels":{{"type":"{}"}}}},"spec":{{"containers":[{{"name":"main","image":"i:1"}}]}}}})",
      name, label);
}
std::string service(std::string_view name, std::string_view label = "x") {
  return fmt::format(
      R"({{"metadata":{{"name":"{}","labels":{{"test":"{}"}}}},"spec":{{"ports":[{{"name":"http","port":80}}]}}}})",
      name, label);
}

// "ADDED name", and the version it came with.
struct Seen {
  std::string what, version, object;
};
Seen next(HttpClient& watch) {
  const auto event = watch.line();
  if (!event) return {"end", "", ""};
  return {json_at(*event, "/type") + " " + json_at(*event, "/object/metadata/name"),
          json_at(*event, "/object/metadata/resourceVersion"), *event};
}
bool quiet(HttpClient& watch) { return !watch.line(milliseconds(300)); }

struct Watching : ApiRig {
  std::string since() { return get(kMaps)["/metadata/resourceVersion"]; }
  std::unique_ptr<HttpClient> watch(const std::string& query) {
    auto client = std::make_unique<HttpClient>(port());
    BOOST_REQUIRE_EQUAL(client->open(kMaps + "?watch=true&" + query).status, 200);
    return client;
  }
};

void require_done(const HttpAnswer& answer) { BOOST_REQUIRE_MESSAGE(answer.status / 100 == 2, answer.body); }

}  // namespace

// ---- [sig-api-machinery] -------------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(watchers)

BOOST_FIXTURE_TEST_CASE(should_observe_add_update_and_delete_watch_notifications_on_configmaps, Watching) {
  const auto at = "&resourceVersion=" + since();
  const auto a = watch("labelSelector=watch-this-configmap%3DA" + at);
  const auto b = watch("labelSelector=watch-this-configmap%3DB" + at);
  const auto both = watch("labelSelector=watch-this-configmap+in+(A,B)" + at);
  require_done(post(kMaps, labelled_map("a", "A")));
  BOOST_CHECK_EQUAL(next(*a).what, "ADDED a");
  BOOST_CHECK_EQUAL(next(*both).what, "ADDED a");
  for (const char* mutation : {"1", "2"}) {
    require_done(put(kMaps + "/a", labelled_map("a", "A", mutation)));
    const auto seen = next(*a);
    BOOST_CHECK_EQUAL(seen.what, "MODIFIED a");
    BOOST_CHECK_EQUAL(json_at(seen.object, "/object/data/mutation"), mutation);
    BOOST_CHECK_EQUAL(next(*both).what, "MODIFIED a");
  }
  require_done(remove(kMaps + "/a"));
  BOOST_CHECK_EQUAL(next(*a).what, "DELETED a");
  BOOST_CHECK_EQUAL(next(*both).what, "DELETED a");
  require_done(post(kMaps, labelled_map("b", "B")));
  require_done(remove(kMaps + "/b"));
  for (const char* expected : {"ADDED b", "DELETED b"}) {
    BOOST_CHECK_EQUAL(next(*b).what, expected);
    BOOST_CHECK_EQUAL(next(*both).what, expected);
  }
  BOOST_CHECK(quiet(*a));
}

BOOST_FIXTURE_TEST_CASE(should_be_able_to_start_watching_from_a_specific_resource_version, Watching) {
  require_done(post(kMaps, labelled_map("one", "from")));
  const auto first = put(kMaps + "/one", labelled_map("one", "from", "1"));
  require_done(put(kMaps + "/one", labelled_map("one", "from", "2")));
  require_done(remove(kMaps + "/one"));
  const auto later =
      watch("labelSelector=watch-this-configmap%3Dfrom&resourceVersion=" + first["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(next(*later).what, "MODIFIED one");
  BOOST_CHECK_EQUAL(next(*later).what, "DELETED one");
}

BOOST_FIXTURE_TEST_CASE(
    should_be_able_to_restart_watching_from_the_last_resource_version_observed_by_the_previous_watch, Watching) {
  auto watching = watch("labelSelector=watch-this-configmap%3Dclosed&resourceVersion=" + since());
  require_done(post(kMaps, labelled_map("one", "closed")));
  require_done(put(kMaps + "/one", labelled_map("one", "closed", "1")));
  BOOST_CHECK_EQUAL(next(*watching).what, "ADDED one");
  const auto last = next(*watching);
  BOOST_CHECK_EQUAL(last.what, "MODIFIED one");
  watching.reset();
  require_done(put(kMaps + "/one", labelled_map("one", "closed", "2")));
  require_done(remove(kMaps + "/one"));
  watching = watch("labelSelector=watch-this-configmap%3Dclosed&resourceVersion=" + last.version);
  BOOST_CHECK_EQUAL(next(*watching).what, "MODIFIED one");
  BOOST_CHECK_EQUAL(next(*watching).what, "DELETED one");
}

BOOST_FIXTURE_TEST_CASE(should_observe_an_object_deletion_if_it_stops_meeting_the_requirements_of_the_selector,
                        Watching) {
  const auto watching = watch("labelSelector=watch-this-configmap%3Dchanging&resourceVersion=" + since());
  require_done(post(kMaps, labelled_map("one", "changing")));
  require_done(put(kMaps + "/one", labelled_map("one", "changing", "1")));
  require_done(put(kMaps + "/one", labelled_map("one", "changed-away", "1")));
  for (const char* expected : {"ADDED one", "MODIFIED one", "DELETED one"})
    BOOST_CHECK_EQUAL(next(*watching).what, expected);
  require_done(put(kMaps + "/one", labelled_map("one", "changed-away", "2")));
  BOOST_CHECK(quiet(*watching));
  require_done(put(kMaps + "/one", labelled_map("one", "changing", "2")));
  require_done(put(kMaps + "/one", labelled_map("one", "changing", "3")));
  require_done(remove(kMaps + "/one"));
  for (const char* expected : {"ADDED one", "MODIFIED one", "DELETED one"})
    BOOST_CHECK_EQUAL(next(*watching).what, expected);
}

BOOST_FIXTURE_TEST_CASE(should_receive_events_on_concurrent_watches_in_same_order, Watching) {
  constexpr int kWrites = 60;
  const std::string begin = since();
  std::atomic<bool> written = false;
  std::thread writer([&] {
    HttpClient client(port());
    for (int i = 0; i < kWrites; ++i) {
      const std::string name = fmt::format("m{}", i % 3);
      client.request("POST", kMaps, labelled_map(name, "order"));
      client.request("PUT", kMaps + "/" + name, labelled_map(name, "order", std::to_string(i)));
      if (i % 2 == 1) client.request("DELETE", kMaps + "/" + name);
    }
    written = true;
  });
  // Each watch begins where the one before was after one event more.
  std::vector<std::unique_ptr<HttpClient>> watches;
  watches.push_back(watch("resourceVersion=" + begin));
  std::vector<std::string> order = {next(*watches[0]).version};
  for (int i = 0; i < 20; ++i) {
    watches.push_back(watch("resourceVersion=" + order.back()));
    order.push_back(next(*watches[0]).version);
    for (size_t w = 1; w < watches.size(); ++w) BOOST_REQUIRE_EQUAL(next(*watches[w]).version, order.back());
  }
  writer.join();
  BOOST_CHECK(written);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(servers_with_support_for_api_chunking)

BOOST_FIXTURE_TEST_CASE(should_return_chunks_of_results_for_list_calls, ApiRig) {
  constexpr int kObjects = 400, kPage = 17;
  for (int i = 0; i < kObjects; ++i) require_done(post(kMaps, labelled_map(fmt::format("m{:04}", i), "chunk")));
  int found = 0;
  std::string query = fmt::format("?limit={}", kPage), version;
  while (true) {
    const auto page = get(kMaps + query);
    BOOST_REQUIRE_EQUAL(page.status, 200);
    if (version.empty()) version = page["/metadata/resourceVersion"];
    BOOST_REQUIRE_EQUAL(page["/metadata/resourceVersion"], version);
    int here = 0;
    for (; !page[fmt::format("/items/{}", here)].empty(); ++here) {
      BOOST_REQUIRE_EQUAL(page[fmt::format("/items/{}/metadata/name", here)], fmt::format("m{:04}", found + here));
    }
    BOOST_REQUIRE_LE(here, kPage);
    found += here;
    const std::string more = page["/metadata/continue"];
    const std::string left = page["/metadata/remainingItemCount"];
    if (more.empty()) {
      BOOST_CHECK_EQUAL(left, "");
      break;
    }
    BOOST_REQUIRE_EQUAL(left, std::to_string(kObjects - found));
    query = fmt::format("?limit={}&continue={}", kPage, more);
  }
  BOOST_CHECK_EQUAL(found, kObjects);
}

BOOST_AUTO_TEST_CASE(
    should_support_continue_listing_from_the_last_key_if_the_original_version_has_been_compacted_away_though_the_list_is_inconsistent) {
  ApiRig rig({.store = {.history = {.changes = 4, .bytes = 4096}, .compact_every = milliseconds(100)}});
  for (int i = 0; i < 40; ++i) require_done(rig.post(kMaps, labelled_map(fmt::format("m{:04}", i), "chunk")));
  const auto first = rig.get(kMaps + "?limit=10");
  const std::string token = first["/metadata/continue"];
  require_done(rig.post(kMaps, labelled_map("m0015a", "late")));
  HttpAnswer expired;
  for (int i = 0; i < 200 && expired.status != 410; ++i) {
    require_done(rig.put(kMaps + "/m0000", labelled_map("m0000", "chunk", std::to_string(i))));
    std::this_thread::sleep_for(milliseconds(50));
    expired = rig.get(kMaps + "?limit=10&continue=" + token);
  }
  BOOST_REQUIRE_EQUAL(expired.status, 410);
  BOOST_CHECK_EQUAL(expired["/reason"], "Expired");
  const std::string inconsistent = expired["/metadata/continue"];
  BOOST_REQUIRE_NE(inconsistent, "");
  BOOST_CHECK_NE(inconsistent, token);
  const auto second = rig.get(kMaps + "?limit=10&continue=" + inconsistent);
  BOOST_REQUIRE_EQUAL(second.status, 200);
  BOOST_CHECK_EQUAL(second["/items/0/metadata/name"], "m0010");
  BOOST_CHECK_EQUAL(second["/items/6/metadata/name"], "m0015a");  // was not there at first
  BOOST_CHECK_NE(second["/metadata/resourceVersion"], first["/metadata/resourceVersion"]);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(field_validation)

BOOST_FIXTURE_TEST_CASE(should_detect_unknown_and_duplicate_fields_of_a_typed_object, ApiRig) {
  const std::string odd =
      R"({"metadata":{"name":"p"},"spec":{"unknownField":1,"containers":[{"name":"main","image":"i:1","image":"i:2"}]}})";
  const auto refused = post(kPods + "?fieldValidation=Strict", odd);
  BOOST_CHECK_EQUAL(refused.status, 400);
  const std::string why = refused["/message"];
  BOOST_CHECK_MESSAGE(why.find(R"(unknown field "spec.unknownField")") != std::string::npos, why);
  BOOST_CHECK_MESSAGE(why.find(R"(duplicate field "spec.containers[0].image")") != std::string::npos, why);
}

BOOST_FIXTURE_TEST_CASE(should_detect_unknown_metadata_fields_of_a_typed_object, ApiRig) {
  const auto refused =
      post(kPods + "?fieldValidation=Strict",
           R"({"metadata":{"name":"p","unknownMeta":"x"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  BOOST_CHECK_EQUAL(refused.status, 400);
  BOOST_CHECK_MESSAGE(refused["/message"].find(R"(unknown field "metadata.unknownMeta")") != std::string::npos,
                      refused.body);
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-node], [sig-storage]: ConfigMaps, Secrets, Pods, Leases -----------------------------------

BOOST_AUTO_TEST_SUITE(config_map)

BOOST_FIXTURE_TEST_CASE(should_fail_to_create_config_map_with_empty_key, ApiRig) {
  const auto refused = post(kMaps, R"({"metadata":{"name":"empty"},"data":{"":"value"}})");
  BOOST_CHECK_EQUAL(refused.status, 422);
  BOOST_CHECK_EQUAL(refused["/reason"], "Invalid");
}

BOOST_FIXTURE_TEST_CASE(should_run_through_a_config_map_lifecycle, ApiRig) {
  require_done(post(
      kMaps, R"({"metadata":{"name":"life","labels":{"test-configmap-static":"true"}},"data":{"valueName":"value"}})"));
  const auto patched = patch("strategic", kMaps + "/life",
                             R"({"metadata":{"labels":{"test-configmap":"patched"}},"data":{"valueName":"value1"}})");
  BOOST_CHECK_EQUAL(patched["/data/valueName"], "value1");
  BOOST_CHECK_EQUAL(patched["/metadata/labels/test-configmap"], "patched");
  const auto listed = get("/api/v1/configmaps?labelSelector=test-configmap-static%3Dtrue");
  BOOST_CHECK_EQUAL(listed["/items/0/metadata/name"], "life");
  require_done(remove(kMaps + "?labelSelector=test-configmap-static%3Dtrue"));
  BOOST_CHECK_EQUAL(get(kMaps + "?labelSelector=test-configmap-static%3Dtrue")["/items/0"], "");
}

BOOST_FIXTURE_TEST_CASE(should_be_immutable_if_immutable_field_is_set, ApiRig) {
  require_done(post(kMaps, R"({"metadata":{"name":"one"},"data":{"a":"1"}})"));
  require_done(put(kMaps + "/one", R"({"metadata":{"name":"one"},"data":{"a":"2"}})"));
  require_done(put(kMaps + "/one", R"({"metadata":{"name":"one"},"data":{"a":"2"},"immutable":true})"));
  BOOST_CHECK_EQUAL(put(kMaps + "/one", R"({"metadata":{"name":"one"},"data":{"a":"2"},"immutable":false})").status,
                    422);
  BOOST_CHECK_EQUAL(put(kMaps + "/one", R"({"metadata":{"name":"one"},"data":{"a":"3"},"immutable":true})").status,
                    422);
  require_done(remove(kMaps + "/one"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(secrets)

BOOST_FIXTURE_TEST_CASE(should_fail_to_create_secret_due_to_empty_secret_key, ApiRig) {
  BOOST_CHECK_EQUAL(post(kDefault + "/secrets", R"({"metadata":{"name":"empty"},"data":{"":"dmFsdWU="}})").status, 422);
}

BOOST_FIXTURE_TEST_CASE(should_patch_a_secret, ApiRig) {
  require_done(post(
      kDefault + "/secrets",
      R"({"metadata":{"name":"one","labels":{"testsecret-constant":"true"}},"data":{"key":"dmFsdWU="},"type":"Opaque"})"));
  const auto patched = patch("strategic", kDefault + "/secrets/one",
                             R"({"metadata":{"labels":{"testsecret":"true"}},"data":{"key":"dmFsdWUx"}})");
  BOOST_CHECK_EQUAL(patched["/data/key"], "dmFsdWUx");
  require_done(remove(kDefault + "/secrets?labelSelector=testsecret%3Dtrue"));
  BOOST_CHECK_EQUAL(get("/api/v1/secrets?labelSelector=testsecret-constant%3Dtrue")["/items/0"], "");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(pods)

BOOST_FIXTURE_TEST_CASE(should_delete_a_collection_of_pods, ApiRig) {
  for (const char* name : {"one", "two", "three"}) require_done(post(kPods, pod(name, "Testing")));
  require_done(remove(kPods + "?labelSelector=type%3DTesting", R"({"gracePeriodSeconds":0})"));
  BOOST_CHECK_EQUAL(get(kPods + "?labelSelector=type%3DTesting")["/items/0"], "");
}

BOOST_FIXTURE_TEST_CASE(should_patch_a_pod_status, ApiRig) {
  require_done(post(kPods, pod("one")));
  const auto patched = patch(
      "strategic", kPods + "/one/status",
      R"({"metadata":{"annotations":{"patchedstatus":"true"}},"status":{"message":"Patched by e2e test","reason":"E2E"}})");
  BOOST_CHECK_EQUAL(patched["/status/message"], "Patched by e2e test");
  BOOST_CHECK_EQUAL(patched["/status/reason"], "E2E");
  BOOST_CHECK_EQUAL(get(kPods + "/one/status")["/status/reason"], "E2E");
}

BOOST_FIXTURE_TEST_CASE(should_be_updated, ApiRig) {
  require_done(post(kPods, pod("one", "before")));
  require_done(put(kPods + "/one", replaced(get(kPods + "/one").body, R"("type":"before")", R"("type":"after")")));
  BOOST_CHECK_EQUAL(get(kPods + "?labelSelector=type%3Dafter")["/items/0/metadata/name"], "one");
}

BOOST_FIXTURE_TEST_CASE(should_be_set_on_pods_with_matching_resource_requests_and_limits_for_memory_and_cpu, ApiRig) {
  // Pods Extended: Pods Set QOS Class.
  require_done(post(
      kPods,
      R"({"metadata":{"name":"q"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"100m","memory":"100Mi"},"limits":{"cpu":"100m","memory":"100Mi"}}}]}})"));
  BOOST_CHECK_EQUAL(get(kPods + "/q")["/status/qosClass"], "Guaranteed");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(lease)

BOOST_FIXTURE_TEST_CASE(lease_api_should_be_available, ApiRig) {
  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
  const auto made = post(
      leases,
      R"({"metadata":{"name":"one","labels":{"deletecollection":"true"}},"spec":{"holderIdentity":"holder","leaseDurationSeconds":30,"acquireTime":"2026-01-01T00:00:00.000001Z","renewTime":"2026-01-01T00:00:05.000002Z","leaseTransitions":0}})");
  require_done(made);
  BOOST_CHECK_EQUAL(get(leases + "/one")["/spec/renewTime"], "2026-01-01T00:00:05.000002Z");
  const auto held = replaced(made.body, R"("holderIdentity":"holder")", R"("holderIdentity":"holder2")");
  BOOST_CHECK_EQUAL(put(leases + "/one", held)["/spec/holderIdentity"], "holder2");
  BOOST_CHECK_EQUAL(
      patch("strategic", leases + "/one", R"({"spec":{"leaseDurationSeconds":60}})")["/spec/leaseDurationSeconds"],
      "60");
  require_done(post(leases, R"({"metadata":{"name":"two","labels":{"deletecollection":"true"}},"spec":{}})"));
  BOOST_CHECK_NE(get(leases + "?labelSelector=deletecollection%3Dtrue")["/items/1/metadata/name"], "");
  require_done(remove(leases + "?labelSelector=deletecollection%3Dtrue"));
  BOOST_CHECK_EQUAL(get(leases)["/items/0"], "");
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-instrumentation] Events ---------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(events)

BOOST_FIXTURE_TEST_CASE(should_manage_the_lifecycle_of_an_event, ApiRig) {
  const std::string path = kDefault + "/events";
  require_done(post(
      path,
      R"({"metadata":{"name":"one","labels":{"testevent-constant":"true"}},"message":"This is a test event","reason":"Test","type":"Normal","count":1,"involvedObject":{"namespace":"default"}})"));
  BOOST_CHECK_EQUAL(get("/api/v1/events?labelSelector=testevent-constant%3Dtrue")["/items/0/message"],
                    "This is a test event");
  BOOST_CHECK_EQUAL(patch("strategic", path + "/one", R"({"message":"This is a test event - patched"})")["/message"],
                    "This is a test event - patched");
  require_done(remove(path + "/one"));
  BOOST_CHECK_EQUAL(get("/api/v1/events?labelSelector=testevent-constant%3Dtrue")["/items/0"], "");
}

BOOST_FIXTURE_TEST_CASE(should_delete_a_collection_of_events, ApiRig) {
  for (const char* name : {"a", "b", "c"}) {
    require_done(post(
        kDefault + "/events",
        fmt::format(
            R"({{"metadata":{{"name":"{}","labels":{{"testevent-set":"true"}}}},"message":"m","reason":"Test","type":"Normal","involvedObject":{{"namespace":"default"}}}})",
            name)));
  }
  require_done(remove(kDefault + "/events?labelSelector=testevent-set%3Dtrue"));
  BOOST_CHECK_EQUAL(get(kDefault + "/events?labelSelector=testevent-set%3Dtrue")["/items/0"], "");
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-api-machinery] Namespaces, [sig-network] Services, Endpoints, EndpointSlice -------------------

BOOST_AUTO_TEST_SUITE(namespaces)

BOOST_FIXTURE_TEST_CASE(should_patch_a_namespace, ApiRig) {
  require_done(post("/api/v1/namespaces", R"({"metadata":{"name":"team"}})"));
  require_done(patch("strategic", "/api/v1/namespaces/team", R"({"metadata":{"labels":{"testLabel":"testValue"}}})"));
  BOOST_CHECK_EQUAL(get("/api/v1/namespaces/team")["/metadata/labels/testLabel"], "testValue");
}

BOOST_FIXTURE_TEST_CASE(should_apply_changes_to_a_namespace_status, ApiRig) {
  require_done(post("/api/v1/namespaces", R"({"metadata":{"name":"team"}})"));
  const auto patched = patch("merge", "/api/v1/namespaces/team/status",
                             R"({"metadata":{"annotations":{"e2e-patched-ns-status":"team"}},"status":{"conditions":[
    {"type":"StatusPatch","status":"True","reason":"E2E","message":"Patched by an e2e test"}]}})");
  BOOST_CHECK_EQUAL(patched["/metadata/annotations/e2e-patched-ns-status"], "team");
  BOOST_CHECK_EQUAL(patched["/status/conditions/0/type"], "StatusPatch");
}

BOOST_FIXTURE_TEST_CASE(should_apply_an_update_to_a_namespace, ApiRig) {
  const auto made = post("/api/v1/namespaces", R"({"metadata":{"name":"team","labels":{"team":"one"}}})");
  const auto changed = replaced(made.body, R"("team":"one")", R"("team":"two")");
  BOOST_CHECK_EQUAL(put("/api/v1/namespaces/team", changed)["/metadata/labels/team"], "two");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(services)

BOOST_FIXTURE_TEST_CASE(should_find_a_service_from_listing_all_namespaces, ApiRig) {
  require_done(post(kServices, service("one")));
  BOOST_CHECK_EQUAL(get("/api/v1/services")["/items/0/metadata/name"], "one");
}

BOOST_FIXTURE_TEST_CASE(should_delete_a_collection_of_services, ApiRig) {
  for (const char* name : {"a", "b", "c"}) require_done(post(kServices, service(name, "yes")));
  require_done(post(kServices, service("d", "no")));
  require_done(remove(kServices + "?labelSelector=test%3Dyes"));
  const auto left = get(kServices);
  BOOST_CHECK_EQUAL(left["/items/0/metadata/name"], "d");
  BOOST_CHECK_EQUAL(left["/items/1"], "");
}

BOOST_FIXTURE_TEST_CASE(should_complete_a_service_status_lifecycle, ApiRig) {
  require_done(post(kServices, service("one")));
  const auto patched = patch(
      "merge", kServices + "/one/status",
      R"({"metadata":{"annotations":{"patchedstatus":"true"}},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]}}})");
  BOOST_CHECK_EQUAL(patched["/status/loadBalancer/ingress/0/ip"], "203.0.113.1");
  const auto other = replaced(get(kServices + "/one/status").body, "203.0.113.1", "203.0.113.2");
  BOOST_CHECK_EQUAL(put(kServices + "/one/status", other)["/status/loadBalancer/ingress/0/ip"], "203.0.113.2");
  require_done(patch("merge", kServices + "/one", R"({"metadata":{"labels":{"patched":"true"}}})"));
  BOOST_CHECK_EQUAL(get(kServices + "/one")["/status/loadBalancer/ingress/0/ip"], "203.0.113.2");
  require_done(remove(kServices + "/one"));
}

BOOST_FIXTURE_TEST_CASE(should_be_able_to_change_the_type_from_external_name_to_cluster_ip, ApiRig) {
  require_done(
      post(kServices, R"({"metadata":{"name":"one"},"spec":{"type":"ExternalName","externalName":"example.test"}})"));
  const auto changed =
      patch("merge", kServices + "/one", R"({"spec":{"type":"ClusterIP","externalName":null,"ports":[{"port":80}]}})");
  BOOST_REQUIRE_MESSAGE(changed.status == 200, changed.body);
  BOOST_CHECK_NE(changed["/spec/clusterIP"], "");
}

BOOST_FIXTURE_TEST_CASE(should_be_able_to_change_the_type_from_external_name_to_node_port, ApiRig) {
  require_done(
      post(kServices, R"({"metadata":{"name":"one"},"spec":{"type":"ExternalName","externalName":"example.test"}})"));
  const auto changed =
      patch("merge", kServices + "/one", R"({"spec":{"type":"NodePort","externalName":null,"ports":[{"port":80}]}})");
  BOOST_REQUIRE_MESSAGE(changed.status == 200, changed.body);
  BOOST_CHECK_NE(changed["/spec/ports/0/nodePort"], "");
}

BOOST_FIXTURE_TEST_CASE(should_be_able_to_change_the_type_from_cluster_ip_to_external_name, ApiRig) {
  require_done(post(kServices, service("one")));
  const auto changed =
      patch("merge", kServices + "/one",
            R"({"spec":{"type":"ExternalName","externalName":"example.test","clusterIP":null,"clusterIPs":null}})");
  BOOST_REQUIRE_MESSAGE(changed.status == 200, changed.body);
  BOOST_CHECK_EQUAL(changed["/spec/clusterIP"], "");
}

BOOST_FIXTURE_TEST_CASE(should_be_able_to_change_the_type_from_node_port_to_external_name, ApiRig) {
  require_done(post(kServices, R"({"metadata":{"name":"one"},"spec":{"type":"NodePort","ports":[{"port":80}]}})"));
  const auto changed =
      patch("merge", kServices + "/one",
            R"({"spec":{"type":"ExternalName","externalName":"example.test","clusterIP":null,"clusterIPs":null}})");
  BOOST_REQUIRE_MESSAGE(changed.status == 200, changed.body);
  BOOST_CHECK_EQUAL(changed["/spec/ports/0/nodePort"], "");
}

BOOST_FIXTURE_TEST_CASE(should_test_the_lifecycle_of_an_endpoint, ApiRig) {
  const std::string path = kDefault + "/endpoints";
  require_done(post(
      path,
      R"({"metadata":{"name":"one","labels":{"test-endpoint-static":"true"}},"subsets":[{"addresses":[{"ip":"10.0.0.24"}],"ports":[{"name":"http","port":80,"protocol":"TCP"}]}]})"));
  require_done(put(path + "/one", replaced(get(path + "/one").body, "10.0.0.24", "10.0.0.25")));
  const auto patched = patch(
      "strategic", path + "/one",
      R"({"metadata":{"labels":{"test-service":"patched"}},"subsets":[{"addresses":[{"ip":"10.0.0.26"}],"ports":[{"name":"http","port":8080}]}]})");
  BOOST_CHECK_EQUAL(patched["/subsets/0/addresses/0/ip"], "10.0.0.26");
  BOOST_CHECK_EQUAL(patched["/subsets/0/ports/0/port"], "8080");
  require_done(remove(path + "?labelSelector=test-endpoint-static%3Dtrue"));
  BOOST_CHECK_EQUAL(get("/api/v1/endpoints?labelSelector=test-endpoint-static%3Dtrue")["/items/0"], "");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(endpoint_slice)

BOOST_FIXTURE_TEST_CASE(should_support_creating_endpoint_slice_api_operations, ApiRig) {
  const std::string path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  const auto slice = [](std::string_view name) {
    return fmt::format(
        R"({{"metadata":{{"name":"{}","labels":{{"special-label":"x"}}}},"addressType":"IPv4","endpoints":[{{"addresses":["1.2.3.4"]}}],"ports":[{{"name":"p","port":80}}]}})",
        name);
  };
  const auto made = post(path, slice("one"));
  require_done(made);
  HttpClient watch(port());
  watch.open(path + "?watch=true&resourceVersion=" + made["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(get(path + "/one")["/metadata/uid"], made["/metadata/uid"]);
  BOOST_CHECK_EQUAL(
      get("/apis/discovery.k8s.io/v1/endpointslices?labelSelector=special-label%3Dx")["/items/0/metadata/name"], "one");
  BOOST_CHECK_EQUAL(patch("merge", path + "/one",
                          R"({"metadata":{"annotations":{"patched":"true"}}})")["/metadata/annotations/patched"],
                    "true");
  const auto updated = replaced(get(path + "/one").body, R"("patched":"true")", R"("updated":"true")");
  BOOST_CHECK_EQUAL(put(path + "/one", updated)["/metadata/annotations/updated"], "true");
  require_done(remove(path + "/one"));
  for (const char* expected : {"MODIFIED one", "MODIFIED one", "DELETED one"})
    BOOST_CHECK_EQUAL(next(watch).what, expected);
  BOOST_CHECK_EQUAL(get(path + "/one").status, 404);
  for (const char* name : {"two", "three"}) require_done(post(path, slice(name)));
  require_done(remove(path + "?labelSelector=special-label%3Dx"));
  BOOST_CHECK_EQUAL(get(path)["/items/0"], "");
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-apps] ReplicationController ----------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(replication_controller)

BOOST_FIXTURE_TEST_CASE(should_get_and_update_a_replication_controller_scale, ApiRig) {
  const std::string path = kDefault + "/replicationcontrollers";
  require_done(post(
      path,
      R"({"metadata":{"name":"one"},"spec":{"replicas":1,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"));
  const auto scale = replaced(get(path + "/one/scale").body, R"("replicas":1)", R"("replicas":2)");
  BOOST_CHECK_EQUAL(put(path + "/one/scale", scale)["/spec/replicas"], "2");
  BOOST_CHECK_EQUAL(get(path + "/one")["/spec/replicas"], "2");
}

BOOST_FIXTURE_TEST_CASE(should_test_the_lifecycle_of_a_replication_controller, ApiRig) {
  const std::string path = kDefault + "/replicationcontrollers";
  require_done(post(
      path,
      R"({"metadata":{"name":"one","labels":{"test-rc-static":"true"}},"spec":{"replicas":1,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"));
  HttpClient watch(port());
  watch.open(path + "?watch=true&labelSelector=test-rc-static%3Dtrue");
  BOOST_CHECK_EQUAL(next(watch).what, "ADDED one");
  require_done(patch("strategic", path + "/one", R"({"metadata":{"labels":{"test-rc":"patched"}}})"));
  BOOST_CHECK_EQUAL(next(watch).what, "MODIFIED one");
  const auto status =
      patch("strategic", path + "/one/status", R"({"status":{"readyReplicas":0,"availableReplicas":0,"replicas":1}})");
  BOOST_CHECK_EQUAL(status["/status/replicas"], "1");
  BOOST_CHECK_EQUAL(next(watch).what, "MODIFIED one");
  require_done(patch("merge", path + "/one/scale", R"({"spec":{"replicas":2}})"));
  BOOST_CHECK_EQUAL(next(watch).what, "MODIFIED one");
  BOOST_CHECK_EQUAL(get("/api/v1/replicationcontrollers?labelSelector=test-rc-static%3Dtrue")["/items/0/spec/replicas"],
                    "2");
  // By default its Pods are orphaned first, which is the garbage collector's work.
  require_done(remove(path + "?labelSelector=test-rc-static%3Dtrue", R"({"propagationPolicy":"Background"})"));
  BOOST_CHECK_EQUAL(next(watch).what, "DELETED one");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace keelson::test
