// Kubernetes' own conformance tests of what the controllers and the scheduler do, by their own
// names (sig-api-machinery, sig-apps, sig-network, sig-scheduling), ported as behaviour: a real
// master, and Nodes made by hand. What Pods do on a node is the agent's tests.
#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <string>

#include "test/integration/api_rig.h"
#include "test/integration/master_box.h"

namespace keelson::test {
namespace {

using namespace std::chrono_literals;

const std::string kDefault = "/api/v1/namespaces/default";
const std::string kPods = kDefault + "/pods";
const std::string kControllers = kDefault + "/replicationcontrollers";

struct Cluster : MasterBox {
  Cluster() { start({"--components", "apiserver,scheduler,controllers"}); }

  HttpAnswer ask(const std::string& method, const std::string& path, const std::string& body = {},
                 const std::string& type = "application/json") {
    std::vector<std::string> arguments = {"-X", method, "--write-out", "\n%{http_code}"};
    if (!body.empty()) arguments.insert(arguments.end(), {"-H", "Content-Type: " + type, "-d", body});
    const std::string out = api(path, arguments).out;
    const size_t at = out.rfind('\n');
    HttpAnswer answer;
    answer.status = at == std::string::npos ? 0 : std::atoi(out.c_str() + at + 1);
    answer.body = out.substr(0, at);
    return answer;
  }
  HttpAnswer get(const std::string& path) { return ask("GET", path); }
  HttpAnswer must(const HttpAnswer& answer) {
    BOOST_REQUIRE_MESSAGE(answer.status / 100 == 2, answer.body);
    return answer;
  }
  HttpAnswer post(const std::string& path, const std::string& body) { return must(ask("POST", path, body)); }
  HttpAnswer merge(const std::string& path, const std::string& body) {
    return must(ask("PATCH", path, body, "application/merge-patch+json"));
  }
  HttpAnswer remove(const std::string& path, const std::string& body = {}) { return must(ask("DELETE", path, body)); }

  int count(const std::string& path) {
    const auto list = get(path);
    int items = 0;
    while (!list[fmt::format("/items/{}", items)].empty()) ++items;
    return items;
  }
  void require_eventually(const std::string& what, const std::function<bool()>& holds) {
    BOOST_REQUIRE_MESSAGE(eventually(holds, 20s), what << "\n" << log());
  }

  // A ReplicationController whose Pods fit nowhere: there is no node.
  void make_controller(const std::string& name, int replicas, const std::string& label) {
    post(
        kControllers,
        fmt::format(
            R"({{"metadata":{{"name":"{}"}},"spec":{{"replicas":{},"selector":{{"name":"{}"}},"template":{{"metadata":{{"labels":{{"name":"{}"}}}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}}}}})",
            name, replicas, label, label));
    require_eventually("its Pods are made", [&] { return count(pods_of(label)) == replicas; });
  }
  static std::string pods_of(const std::string& label) { return kPods + "?labelSelector=name%3D" + label; }

  void make_node(const std::string& name, const std::string& labels = "{}", const std::string& cpu = "4") {
    post("/api/v1/nodes", fmt::format(R"({{"metadata":{{"name":"{}","labels":{}}}}})", name, labels));
    merge(
        "/api/v1/nodes/" + name + "/status",
        fmt::format(
            R"({{"status":{{"capacity":{{"cpu":"{0}","memory":"4Gi","pods":"20"}},"allocatable":{{"cpu":"{0}","memory":"4Gi","pods":"20"}},"conditions":[{{"type":"Ready","status":"True","reason":"Test","message":"","lastHeartbeatTime":null,"lastTransitionTime":null}}]}}}})",
            cpu));
  }
  void make_pod(const std::string& name, const std::string& more) {
    post(kPods, fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{{}}}}})", name, more));
  }
  std::string node_of(const std::string& pod) { return get(kPods + "/" + pod)["/spec/nodeName"]; }
  std::string why_not(const std::string& pod) {
    const auto read = get(kPods + "/" + pod);
    return read["/status/conditions/0/reason"] == "Unschedulable" ? read["/status/conditions/0/message"] : "";
  }
};

}  // namespace

// ---- [sig-api-machinery] Garbage collector ---------------------------------------------------------

BOOST_AUTO_TEST_SUITE(garbage_collector)

BOOST_FIXTURE_TEST_CASE(should_delete_pods_created_by_rc_when_not_orphaning, Cluster) {
  make_controller("simpletest.rc", 2, "simpletest");
  remove(kControllers + "/simpletest.rc", R"({"propagationPolicy":"Background"})");
  require_eventually("its Pods are gone", [&] { return count(kPods) == 0; });
}

BOOST_FIXTURE_TEST_CASE(should_orphan_pods_created_by_rc_if_delete_options_say_so, Cluster) {
  make_controller("simpletest.rc", 5, "simpletest");
  remove(kControllers + "/simpletest.rc", R"({"propagationPolicy":"Orphan"})");
  require_eventually("it is gone", [&] { return get(kControllers + "/simpletest.rc").status == 404; });
  std::this_thread::sleep_for(500ms);
  BOOST_CHECK_EQUAL(count(kPods), 5);
  BOOST_CHECK_EQUAL(get(kPods)["/items/0/metadata/ownerReferences"], "");
}

BOOST_FIXTURE_TEST_CASE(should_keep_the_rc_around_until_all_its_pods_are_deleted_if_the_delete_options_says_so,
                        Cluster) {
  make_controller("simpletest.rc", 3, "simpletest");
  // One of them does not go as long as somebody holds it.
  const std::string held = get(kPods)["/items/0/metadata/name"];
  merge(kPods + "/" + held, R"({"metadata":{"finalizers":["example.test/held"]}})");
  remove(kControllers + "/simpletest.rc", R"({"propagationPolicy":"Foreground"})");
  require_eventually("the others are gone", [&] { return count(kPods) == 1; });
  BOOST_CHECK_NE(get(kControllers + "/simpletest.rc")["/metadata/deletionTimestamp"], "");
  merge(kPods + "/" + held, R"({"metadata":{"finalizers":null}})");
  require_eventually("it is gone", [&] { return get(kControllers + "/simpletest.rc").status == 404; });
  BOOST_CHECK_EQUAL(count(kPods), 0);
}

BOOST_FIXTURE_TEST_CASE(
    should_not_delete_dependents_that_have_both_valid_owner_and_owner_that_is_waiting_for_dependents_to_be_deleted,
    Cluster) {
  make_controller("to-be-deleted", 2, "first");
  make_controller("to-stay", 0, "second");
  const auto owner = get(kControllers + "/to-stay");
  const auto pod = get(kPods);
  const std::string shared = pod["/items/0/metadata/name"];
  must(ask(
      "PATCH", kPods + "/" + shared,
      fmt::format(
          R"({{"metadata":{{"ownerReferences":[{{"apiVersion":"v1","kind":"ReplicationController","name":"to-stay","uid":"{}"}}]}}}})",
          owner["/metadata/uid"]),
      "application/strategic-merge-patch+json"));
  BOOST_REQUIRE_NE(get(kPods + "/" + shared)["/metadata/ownerReferences/1"], "");
  remove(kControllers + "/to-be-deleted", R"({"propagationPolicy":"Foreground"})");
  require_eventually("the first owner is gone", [&] { return get(kControllers + "/to-be-deleted").status == 404; });
  const auto left = get(kPods);
  BOOST_CHECK_EQUAL(left["/items/0/metadata/name"], shared);
  BOOST_CHECK_EQUAL(left["/items/0/metadata/deletionTimestamp"], "");
  BOOST_CHECK_EQUAL(left["/items/0/metadata/ownerReferences/0/name"], "to-stay");
  BOOST_CHECK_EQUAL(left["/items/1"], "");
}

BOOST_FIXTURE_TEST_CASE(should_not_be_blocked_by_dependency_circle, Cluster) {
  std::string uids[3];
  for (int i = 0; i < 3; ++i) {
    const auto made = post(
        kPods,
        fmt::format(R"({{"metadata":{{"name":"pod{}"}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}})", i));
    uids[i] = made["/metadata/uid"];
  }
  for (int i = 0; i < 3; ++i) {
    merge(
        fmt::format("{}/pod{}", kPods, i),
        fmt::format(
            R"({{"metadata":{{"ownerReferences":[{{"apiVersion":"v1","kind":"Pod","name":"pod{}","uid":"{}","controller":true,"blockOwnerDeletion":true}}]}}}})",
            (i + 2) % 3, uids[(i + 2) % 3]));
  }
  remove(kPods + "/pod0", R"({"propagationPolicy":"Foreground"})");
  require_eventually("all are gone", [&] { return count(kPods) == 0; });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(namespaces)

BOOST_FIXTURE_TEST_CASE(should_ensure_that_all_pods_and_services_are_removed_when_a_namespace_is_deleted, Cluster) {
  post("/api/v1/namespaces", R"({"metadata":{"name":"nsdeletetest"}})");
  const std::string space = "/api/v1/namespaces/nsdeletetest";
  post(space + "/pods", R"({"metadata":{"name":"test-pod"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  post(space + "/services", R"({"metadata":{"name":"test-service"},"spec":{"ports":[{"port":80}]}})");
  remove(space);
  require_eventually("the namespace is gone", [&] { return get(space).status == 404; });
  post("/api/v1/namespaces", R"({"metadata":{"name":"nsdeletetest"}})");
  BOOST_CHECK_EQUAL(count(space + "/pods"), 0);
  BOOST_CHECK_EQUAL(count(space + "/services"), 0);
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-apps] ReplicationController ----------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(replication_controller)

BOOST_FIXTURE_TEST_CASE(should_adopt_matching_pods_on_creation, Cluster) {
  post(
      kPods,
      R"({"metadata":{"name":"pod-adoption","labels":{"name":"pod-adoption"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  make_controller("pod-adoption", 1, "pod-adoption");
  require_eventually("it is adopted", [&] {
    return get(kPods + "/pod-adoption")["/metadata/ownerReferences/0/kind"] == "ReplicationController";
  });
  BOOST_CHECK_EQUAL(count(kPods), 1);
}

BOOST_FIXTURE_TEST_CASE(should_release_no_longer_matching_pods, Cluster) {
  make_controller("pod-release", 1, "pod-release");
  const std::string name = get(kPods)["/items/0/metadata/name"];
  merge(kPods + "/" + name, R"({"metadata":{"labels":{"name":"other"}}})");
  require_eventually("it is released", [&] { return get(kPods + "/" + name)["/metadata/ownerReferences"].empty(); });
  require_eventually("another is made", [&] { return count(pods_of("pod-release")) == 1; });
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-network] -------------------------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(services)

BOOST_FIXTURE_TEST_CASE(should_provide_secure_master_service, Cluster) {
  require_eventually("it is there", [&] { return get(kDefault + "/services/kubernetes").status == 200; });
  const auto service = get(kDefault + "/services/kubernetes");
  BOOST_CHECK_EQUAL(service["/spec/ports/0/name"], "https");
  BOOST_CHECK_EQUAL(service["/spec/ports/0/port"], "443");
}

BOOST_FIXTURE_TEST_CASE(should_have_endpoints_and_endpoint_slices_pointing_to_api_server, Cluster) {
  require_eventually("they are there", [&] { return get(kDefault + "/endpoints/kubernetes").status == 200; });
  BOOST_CHECK_EQUAL(get(kDefault + "/endpoints/kubernetes")["/subsets/0/addresses/0/ip"], kAddress);
  const auto slices =
      get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/"
          "service-name%3Dkubernetes");
  BOOST_CHECK_EQUAL(slices["/items/0/endpoints/0/addresses/0"], kAddress);
  BOOST_CHECK_EQUAL(slices["/items/1"], "");
}

BOOST_FIXTURE_TEST_CASE(should_create_and_delete_endpoints_and_endpoint_slices_for_a_service_with_a_selector_specified,
                        Cluster) {
  const std::string slices =
      "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dempty";
  post(kDefault + "/services",
       R"({"metadata":{"name":"empty"},"spec":{"selector":{"does-not-match-anything":"x"},"ports":[{"port":80}]}})");
  require_eventually("they are made",
                     [&] { return get(kDefault + "/endpoints/empty").status == 200 && count(slices) == 1; });
  remove(kDefault + "/services/empty");
  require_eventually("they are gone",
                     [&] { return get(kDefault + "/endpoints/empty").status == 404 && count(slices) == 0; });
}

BOOST_AUTO_TEST_SUITE_END()

// ---- [sig-scheduling] SchedulerPredicates ------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(scheduler_predicates)

BOOST_FIXTURE_TEST_CASE(validates_resource_limits_of_pods_that_are_allowed_to_run, Cluster) {
  make_node("n1", "{}", "1");
  const std::string container =
      R"("containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"700m"},"limits":{"cpu":"700m"}}}])";
  make_pod("filler", container);
  require_eventually("the first is bound", [&] { return node_of("filler") == "n1"; });
  make_pod("additional", container);
  require_eventually("the second is told why not",
                     [&] { return why_not("additional").find("1 Insufficient cpu") != std::string::npos; });
  BOOST_CHECK_EQUAL(node_of("additional"), "");
}

BOOST_FIXTURE_TEST_CASE(validates_that_node_selector_is_respected_if_not_matching, Cluster) {
  make_node("n1");
  make_pod("restricted", R"("nodeSelector":{"label":"nonempty"},"containers":[{"name":"c","image":"i"}])");
  require_eventually("it is told why not", [&] {
    return why_not("restricted").find("didn't match Pod's node affinity/selector") != std::string::npos;
  });
}

BOOST_FIXTURE_TEST_CASE(validates_that_node_selector_is_respected_if_matching, Cluster) {
  make_node("n1");
  make_node("n2", R"({"kubernetes.io/e2e-label":"42"})");
  make_pod("with-labels", R"("nodeSelector":{"kubernetes.io/e2e-label":"42"},"containers":[{"name":"c","image":"i"}])");
  require_eventually("it is bound", [&] { return node_of("with-labels") == "n2"; });
}

BOOST_FIXTURE_TEST_CASE(
    validates_that_there_exists_conflict_between_pods_with_same_host_port_and_protocol_but_one_using_0_0_0_0_host_ip,
    Cluster) {
  make_node("n1");
  const auto with_port = [](const char* ip) {
    return fmt::format(
        R"("containers":[{{"name":"c","image":"i","ports":[{{"containerPort":8080,"hostPort":54322,"protocol":"TCP"{}}}]}}])",
        *ip == 0 ? "" : fmt::format(R"(,"hostIP":"{}")", ip));
  };
  make_pod("pod4", with_port(""));
  require_eventually("the first is bound", [&] { return node_of("pod4") == "n1"; });
  make_pod("pod5", with_port("127.0.0.1"));
  require_eventually("the second is told why not",
                     [&] { return why_not("pod5").find("didn't have free ports") != std::string::npos; });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace keelson::test
