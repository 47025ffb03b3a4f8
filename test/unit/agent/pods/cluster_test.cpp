// What an API server's pods ask of the room beyond those of manifests.
#include <boost/test/unit_test.hpp>

#include "test/unit/agent/pods/node.h"

BOOST_AUTO_TEST_SUITE(pods_of_the_api)

using namespace keelson;
using namespace keelson::pods;
using namespace keelson::pods::test;
using std::chrono::seconds;
using Texts = std::vector<std::string>;

namespace {

api::Pod api_pod(const std::string& name) {
  auto pod = make_pod(name, {make_container("main")});
  pod.metadata.annotations["kubernetes.io/config.source"] = "api";
  return pod;
}

api::Pod greedy(const std::string& name, const char* cpu) {
  auto pod = api_pod(name);
  pod.spec.containers[0].resources.requests["cpu"] = {cpu};
  return pod;
}

void small(Settings& settings) { settings.node.cpu_milli = 1000; }

}  // namespace

BOOST_AUTO_TEST_CASE(events_are_told_in_kubelets_words) {
  Node node;
  node.want({make_pod("web", {make_container("main")})});
  const Texts started = {"Pulled: Container image \"app\" already present on machine",
                         "Created: Created container: main", "Started: Started container main"};
  BOOST_TEST(node.listener.notes["web"] == started, boost::test_tools::per_element());
  node.listener.notes.clear();
  node.exit("web", "main", 1);
  node.exit("web", "main", 1);
  BOOST_TEST(node.listener.notes["web"].back() ==
             "BackOff: Back-off restarting failed container main in pod web_default(uid-web)");
  node.advance(seconds(10));
  node.listener.notes.clear();
  node.want({});
  BOOST_TEST(node.listener.notes["web"] == Texts{"Killing: Stopping container main"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_image_that_cannot_be_had_is_told_as_kubelet_does) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.containers[0].image = "missing";
  pod.spec.containers[0].image_pull_policy = "Never";
  node.want({pod});
  const Texts told = {"ErrImageNeverPull: Container image \"missing\" is not present with pull policy of Never",
                      "Failed: Error: ErrImageNeverPull"};
  BOOST_TEST(node.listener.notes["web"] == told, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(how_it_ended_is_told_before_it_goes) {
  Node node;
  node.want({api_pod("web")});
  std::vector<api::PodStatus> told;
  node.want({});
  BOOST_TEST(node.listener.removed == Texts{"web"}, boost::test_tools::per_element());
  BOOST_TEST(node.listener.phases["web"].back() == "Failed");  // 143, and nothing will restart it
}

BOOST_AUTO_TEST_CASE(a_deleted_pod_stops_within_the_grace_of_its_deletion) {
  Node node;
  auto pod = api_pod("web");
  node.want({pod});
  node.runtime->stubborn.insert("main");
  pod.metadata.deletion_timestamp = api::Time{1};
  pod.metadata.deletion_grace_period_seconds = 20;
  node.want({pod});
  BOOST_TEST(node.runtime->count("signal main 15") == 1U);
  node.advance(seconds(5));
  BOOST_TEST(node.runtime->count("signal main 9") == 0U);
  // Somebody has lost patience.
  pod.metadata.deletion_grace_period_seconds = 1;
  node.want({pod});
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->count("signal main 9") == 1U);
  BOOST_TEST(node.pods->list().empty());
  // It is listed until the API server has heard: that starts nothing.
  node.want({pod});
  BOOST_TEST(node.runtime->count("start main/0") == 1U);
}

BOOST_AUTO_TEST_CASE(a_pod_that_is_over_is_not_run_again) {
  Node node;
  auto pod = api_pod("job");
  pod.status.phase = "Succeeded";
  node.want({pod});
  BOOST_TEST(node.pods->list().empty());
}

BOOST_AUTO_TEST_CASE(a_refused_pod_of_the_api_stays_failed_while_one_of_a_manifest_tries_again) {
  Node node(small);
  node.want({greedy("first", "800m")});
  auto static_pod = make_pod("static", {make_container("main")});
  static_pod.spec.containers[0].resources.requests["cpu"] = {"500m"};
  node.want({greedy("first", "800m"), greedy("second", "500m"), static_pod});
  BOOST_TEST(node.status("second").phase == "Failed");
  BOOST_TEST(node.status("second").reason == "OutOfcpu");
  node.want({greedy("second", "500m"), static_pod});
  BOOST_TEST(node.status("second").phase == "Failed");
  BOOST_TEST(node.status("static").phase == "Running");
}

BOOST_AUTO_TEST_CASE(a_pod_that_does_not_fit_the_node_is_refused_with_kubelets_reason) {
  Node node;
  node.pods->set_node({{"disk", "ssd"}, {"cores", "8"}}, {{.key = "broken", .effect = "NoExecute"}});
  auto wrong = api_pod("wrong");
  wrong.spec.node_selector = {{"disk", "tape"}};
  auto tolerant = api_pod("tolerant");
  tolerant.spec.node_selector = {{"disk", "ssd"}};
  tolerant.spec.tolerations = {{.key = "broken", .operator_ = "Exists"}};
  auto many = tolerant;
  many.metadata.name = "many";
  many.metadata.uid = "uid-many";
  api::NodeSelectorTerm term;
  term.match_expressions = {{.key = "cores", .operator_ = "Gt", .values = {"16"}}};
  api::NodeAffinity affinity;
  affinity.required_during_scheduling_ignored_during_execution = api::NodeSelector{{term}};
  many.spec.affinity = api::Affinity{.node_affinity = affinity, .pod_affinity = {}, .pod_anti_affinity = {}};
  auto intolerant = api_pod("intolerant");
  auto manifest = make_pod("manifest", {make_container("main")});
  node.want({wrong, tolerant, many, intolerant, manifest});
  BOOST_TEST(node.status("wrong").reason == "NodeAffinity");
  BOOST_TEST(node.status("wrong").message ==
             "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
  BOOST_TEST(node.status("many").reason == "NodeAffinity");
  BOOST_TEST(node.status("intolerant").reason == "TaintToleration");
  BOOST_TEST(node.status("tolerant").phase == "Running");
  BOOST_TEST(node.status("manifest").phase == "Running");
}

BOOST_AUTO_TEST_CASE(a_toleration_that_is_added_restarts_nothing) {
  Node node;
  auto pod = api_pod("web");
  node.want({pod});
  pod.spec.tolerations.push_back({.key = "new", .operator_ = "Exists"});
  node.want({pod});
  BOOST_TEST(node.runtime->count("start main/0") == 1U);
  BOOST_TEST(node.runtime->those("signal ").empty());
}

BOOST_AUTO_TEST_SUITE_END()
