// What the scheduler believes of the cluster while its own bindings are under way.

#include "master/scheduler/cluster.h"

#include <boost/test/unit_test.hpp>

#include "test/unit/master/scheduler/model.h"

BOOST_AUTO_TEST_SUITE(cluster_tests)

using namespace keelson;
using namespace keelson::scheduler;

BOOST_AUTO_TEST_CASE(an_assumed_pod_stays_until_it_is_seen_or_forgotten) {
  Cluster cluster;
  cluster.set_node(node("n"));
  const PodPtr waiting = info_of(pod("p", "1"));
  cluster.assume(waiting, "n");
  BOOST_TEST(cluster.is_assumed(waiting));
  cluster.set_pod(waiting);  // its status was written before the binding came through
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);
  cluster.set_pod(info_of(on(pod("p", "1"), "n")));
  BOOST_TEST(!cluster.is_assumed(waiting));
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);
  cluster.forget(waiting);  // too late: it is really there
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);

  const PodPtr refused = info_of(pod("q", "1"));
  cluster.assume(refused, "n");
  cluster.forget(refused);
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);
}

BOOST_AUTO_TEST_CASE(a_pod_that_was_bound_elsewhere_counts_there) {
  Cluster cluster;
  cluster.set_node(node("a"));
  cluster.set_node(node("b"));
  cluster.assume(info_of(pod("p", "1")), "a");
  cluster.set_pod(info_of(on(pod("p", "1"), "b")));
  BOOST_TEST(cluster.node("a")->requested.cpu == 0);
  BOOST_TEST(cluster.node("b")->requested.cpu == 1000);
}

BOOST_AUTO_TEST_CASE(heartbeats_and_status_are_no_improvements) {
  Cluster cluster;
  api::Node made = node("n");
  cluster.set_node(made);
  cluster.set_pod(info_of(on(pod("p"), "n")));
  const uint64_t before = cluster.improvements();
  made.status.conditions[0].last_heartbeat_time = api::Time{5};
  made.metadata.resource_version = "7";
  cluster.set_node(made);
  api::Pod running = on(pod("p"), "n");
  running.status.phase = "Running";
  cluster.set_pod(info_of(running));
  BOOST_TEST(cluster.improvements() == before);
  made.status.allocatable["cpu"] = {"8"};
  cluster.set_node(made);
  BOOST_TEST(cluster.improvements() > before);
}

BOOST_AUTO_TEST_CASE(pods_of_a_node_that_comes_back_are_counted) {
  Cluster cluster;
  cluster.set_pod(info_of(on(pod("p", "1"), "n")));  // seen before its node
  BOOST_TEST(cluster.nodes().empty());
  cluster.set_node(node("n"));
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);
  cluster.remove_node("n");
  BOOST_TEST(cluster.nodes().empty());
  cluster.set_node(node("n"));
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);
  cluster.remove_pod("default/p", "another");  // an old delete of a namesake
  BOOST_TEST(cluster.node("n")->requested.cpu == 1000);
  cluster.remove_pod("default/p", "uid-p");
  BOOST_TEST(cluster.node("n")->requested.cpu == 0);
  BOOST_TEST(cluster.node("n")->requested.others.empty());
}

BOOST_AUTO_TEST_SUITE_END()
