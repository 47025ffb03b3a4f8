// The room as a whole, through its interfaces.
#include <boost/test/unit_test.hpp>

#include "test/unit/agent/pods/node.h"

BOOST_AUTO_TEST_SUITE(the_pods_room)

using namespace keelson;
using namespace keelson::pods;
using namespace keelson::pods::test;
using std::chrono::seconds;
using Calls = std::vector<std::string>;

BOOST_AUTO_TEST_CASE(a_pod_goes_from_pending_through_init_to_running_and_away) {
  Node node;
  node.want({make_pod("web", {make_container("main")}, {make_container("init")})});
  BOOST_TEST(node.status("web").phase == "Pending");
  BOOST_TEST(node.condition("web", "Initialized") == "False");
  BOOST_TEST(node.condition("web", "PodReadyToStartContainers") == "True");
  BOOST_TEST(node.container("web").state.waiting->reason == "PodInitializing");
  BOOST_TEST(node.runtime->those("start ") == Calls({"start init/0"}), boost::test_tools::per_element());

  node.exit("web", "init", 0);
  BOOST_TEST(node.status("web").phase == "Running");
  BOOST_TEST(node.condition("web", "Ready") == "True");
  BOOST_TEST(node.status("web").pod_ip == "10.244.0.2");
  BOOST_TEST(node.status("web").host_ip == "192.0.2.1");
  BOOST_TEST(node.status("web").init_container_statuses[0].state.terminated->reason == "Completed");
  BOOST_TEST(node.container("web").image == "docker.io/library/app:latest");
  BOOST_TEST(node.container("web").container_id == "keelson://uid-web/main/0");
  BOOST_TEST(node.listener.sandboxes.contains("uid-web"));

  node.want({});
  BOOST_TEST(node.runtime->those("signal ") == Calls({"signal main 15"}), boost::test_tools::per_element());
  BOOST_TEST(node.runtime->calls.back() == "forget web");
  BOOST_TEST(node.listener.removed == Calls({"web"}), boost::test_tools::per_element());
  BOOST_TEST(node.listener.sandboxes.empty());
  BOOST_TEST(node.pods->list().empty());
}

BOOST_AUTO_TEST_CASE(an_update_stops_the_old_pod_and_then_starts_the_new_one_at_once) {
  Node node;
  node.want({make_pod("web", {make_container("main")})});
  node.runtime->stubborn.insert("main");
  auto updated = make_pod("web", {make_container("main")});
  updated.metadata.uid = "uid-second";
  updated.spec.containers[0].args = {"-v"};
  node.want({updated});
  BOOST_TEST(node.runtime->count("start main/0") == 1U);  // the old one still runs
  BOOST_TEST(node.listener.pods.at("web").metadata.deletion_timestamp.has_value());
  node.advance(seconds(29));
  BOOST_TEST(node.runtime->count("start main/0") == 1U);
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->count("signal main 9") == 1U);
  BOOST_TEST(node.runtime->count("start main/0") == 2U);
  BOOST_TEST(node.listener.pods.at("web").metadata.uid == "uid-second");
  BOOST_TEST(node.runtime->double_starts == 0);
}

BOOST_AUTO_TEST_CASE(a_crashing_container_backs_off_as_kubernetes_does) {
  Node node;
  node.want({make_pod("web", {make_container("main")})});
  node.exit("web", "main", 1);
  BOOST_TEST(node.runtime->count("start main/1") == 1U);  // the first restart is at once
  node.exit("web", "main", 3, "out of luck");
  BOOST_TEST(node.runtime->count("start main/2") == 0U);
  BOOST_TEST(node.container("web").state.waiting->reason == "CrashLoopBackOff");
  BOOST_TEST(node.container("web").state.waiting->message ==
             "back-off 10s restarting failed container=main pod=web_default(uid-web)");
  BOOST_TEST(node.container("web").last_state.terminated->exit_code == 3);
  BOOST_TEST(node.container("web").last_state.terminated->message == "out of luck");
  BOOST_TEST(node.container("web").restart_count == 1);
  BOOST_TEST(node.status("web").phase == "Running");
  node.advance(seconds(9));
  BOOST_TEST(node.runtime->count("start main/2") == 0U);
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->count("start main/2") == 1U);
  node.exit("web", "main", 1);
  node.advance(seconds(19));
  BOOST_TEST(node.runtime->count("start main/3") == 0U);
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->count("start main/3") == 1U);
  node.advance(seconds(601));  // ten good minutes
  node.exit("web", "main", 1);
  BOOST_TEST(node.runtime->count("start main/4") == 1U);
}

BOOST_AUTO_TEST_CASE(a_pod_that_never_restarts_ends_as_succeeded_or_failed) {
  Node node;
  auto good = make_pod("good", {make_container("main")});
  auto bad = make_pod("bad", {make_container("main")});
  good.spec.restart_policy = bad.spec.restart_policy = "Never";
  node.want({good, bad});
  node.exit("good", "main", 0);
  node.exit("bad", "main", 7);
  BOOST_TEST(node.status("good").phase == "Succeeded");
  BOOST_TEST(node.status("bad").phase == "Failed");
  BOOST_TEST(node.container("bad").state.terminated->exit_code == 7);
  BOOST_TEST(node.runtime->count("remove good") == 1U);
  node.apply();
  BOOST_TEST(node.runtime->those("start ").size() == 2U);
  node.want({});
  BOOST_TEST(node.runtime->count("forget good") == 1U);
  BOOST_TEST(node.listener.pods.empty());
}

BOOST_AUTO_TEST_CASE(an_image_that_appears_starts_the_pod_that_waits_for_it) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.containers[0].image = "late";
  node.images->pull_error = "connection refused";
  node.want({pod});
  BOOST_TEST(node.container("web").state.waiting->reason == "ErrImagePull");
  BOOST_TEST(node.container("web").state.waiting->message == "connection refused");
  node.advance(seconds(1));
  BOOST_TEST(node.container("web").state.waiting->reason == "ImagePullBackOff");
  node.advance(seconds(9));
  BOOST_TEST(node.images->pulls.size() == 2U);
  node.images->add("late");
  node.scheduler->run();
  BOOST_TEST(node.status("web").phase == "Running");
}

BOOST_AUTO_TEST_CASE(a_hundred_pods_start_without_waiting_for_each_other) {
  Node node;
  std::vector<api::Pod> pods;
  for (int i = 0; i < 100; ++i) pods.push_back(make_pod(fmt::format("web-{}", i), {make_container("main")}));
  node.want(pods);
  BOOST_TEST(node.runtime->those("start ").size() == 100U);
  for (const auto& [name, changes] : node.listener.changes) BOOST_TEST(changes <= 5);
}

BOOST_AUTO_TEST_SUITE_END()
