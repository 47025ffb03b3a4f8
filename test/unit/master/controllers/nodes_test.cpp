// Nodes: silence, taints, evictions, pod CIDRs.

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <set>

#include "master/controllers/cidr_pool.h"
#include "master/controllers/evictions.h"
#include "master/controllers/node_health.h"
#include "master/controllers/patches.h"
#include "test/unit/master/controllers/model.h"

BOOST_AUTO_TEST_SUITE(nodes_tests)

using namespace keelson;
using namespace keelson::controllers;
using namespace std::chrono_literals;

namespace {

api::Node node(const std::string& name, const std::string& ready = "True") {
  api::Node made;
  made.metadata.name = name;
  made.metadata.uid = "uid-" + name;
  made.metadata.resource_version = "5";
  if (!ready.empty()) {
    made.status.conditions.push_back(
        {.type = "Ready", .status = ready, .last_heartbeat_time = api::Time{10}, .last_transition_time = api::Time{5}});
  }
  return made;
}

api::Lease lease(const std::string& name, int64_t renewed) {
  api::Lease made;
  made.metadata.name = name;
  made.spec.renew_time = api::MicroTime{renewed};
  return made;
}

std::string text(const std::vector<api::Taint>& taints) {
  std::string out;
  for (const api::Taint& taint : taints) {
    const size_t slash = taint.key.find('/');
    out += (out.empty() ? "" : " ") + taint.key.substr(slash == std::string::npos ? 0 : slash + 1) + ":" + taint.effect;
  }
  return out;
}

const host::TimePoint kStart = host::TimePoint{} + 1000s;

std::string cidrs(const host::Result<std::vector<host::Cidr>>& result) {
  if (!result) return result.error().message;
  std::string out;
  for (const host::Cidr& cidr : *result) out += (out.empty() ? "" : ",") + cidr.to_string();
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_node_is_overdue_when_neither_lease_nor_status_moves) {
  Heartbeats heartbeats(40s);
  heartbeats.saw(node("a"), kStart);
  heartbeats.saw(lease("a", 1), kStart + 10s);
  heartbeats.saw(node("b"), kStart);
  heartbeats.saw(lease("nobody", 1), kStart);  // no node: nothing to watch over
  BOOST_CHECK(*heartbeats.next(kStart) == kStart + 40s);
  BOOST_TEST(heartbeats.overdue(kStart + 39s).empty());
  BOOST_TEST(heartbeats.overdue(kStart + 40s) == std::vector<std::string>{"b"});
  heartbeats.saw(lease("a", 1), kStart + 45s);  // seen again, not renewed
  heartbeats.saw(node("a"), kStart + 45s);
  BOOST_TEST(heartbeats.is_overdue("a", kStart + 50s));
  heartbeats.saw(lease("a", 2), kStart + 50s);
  BOOST_TEST(!heartbeats.is_overdue("a", kStart + 50s));
  // What we wrote ourselves is no sign of life; what its agent writes is.
  heartbeats.saw(node("b", "Unknown"), kStart + 60s);
  BOOST_TEST(heartbeats.is_overdue("b", kStart + 60s));
  heartbeats.saw(node("b", "True"), kStart + 61s);
  BOOST_TEST(!heartbeats.is_overdue("b", kStart + 61s));
  heartbeats.restart(kStart + 500s);
  BOOST_TEST(heartbeats.overdue(kStart + 539s).empty());
  BOOST_TEST(heartbeats.overdue(kStart + 540s).size() == 2);
}

BOOST_AUTO_TEST_CASE(a_silent_node_is_unknown_in_kubernetes_words) {
  const auto conditions = silenced(node("a"), 100);
  BOOST_REQUIRE(conditions);
  BOOST_REQUIRE_EQUAL(conditions->size(), 4);
  BOOST_TEST((*conditions)[0].status == "Unknown");
  BOOST_TEST((*conditions)[0].reason == "NodeStatusUnknown");
  BOOST_TEST((*conditions)[0].message == "Kubelet stopped posting node status.");
  BOOST_TEST((*conditions)[0].last_transition_time->seconds == 100);
  BOOST_TEST((*conditions)[1].reason == "NodeStatusNeverUpdated");
  api::Node unknown = node("a");
  unknown.status.conditions = *conditions;
  BOOST_TEST(!silenced(unknown, 200));
  BOOST_TEST(
      node_conditions_patch(node("a"), *conditions)
          .starts_with(
              R"({"metadata":{"uid":"uid-a","resourceVersion":"5"},"status":{"conditions":[{"type":"Ready","status":"Unknown",)"));
}

BOOST_AUTO_TEST_CASE(taints_follow_the_conditions) {
  BOOST_TEST(text(taints_for(node("a"), true, 1)) == "");
  BOOST_TEST(text(taints_for(node("a", "False"), true, 1)) == "not-ready:NoExecute not-ready:NoSchedule");
  BOOST_TEST(text(taints_for(node("a", "Unknown"), true, 1)) == "unreachable:NoExecute unreachable:NoSchedule");
  BOOST_TEST(text(taints_for(node("a", "Unknown"), false, 1)) == "unreachable:NoSchedule");
  BOOST_TEST(text(taints_for(node("a", ""), true, 1)) == "not-ready:NoSchedule");
  api::Node made = node("a", "Unknown");
  made.spec.unschedulable = true;
  made.spec.taints = {{.key = "mine", .value = "x", .effect = "NoSchedule"},
                      {.key = kNotReadyTaint, .value = "", .effect = "NoExecute"},
                      {.key = kUnreachableTaint, .value = "", .effect = "NoExecute", .time_added = api::Time{3}}};
  made.status.conditions.push_back({.type = "DiskPressure", .status = "True"});
  const auto taints = taints_for(made, true, 99);
  BOOST_TEST(text(taints) ==
             "mine:NoSchedule disk-pressure:NoSchedule unreachable:NoExecute unreachable:NoSchedule "
             "unschedulable:NoSchedule");
  BOOST_TEST(taints[2].time_added->seconds == 3);
  BOOST_TEST(taints[3].time_added->seconds == 99);
  made.spec.taints = taints;
  BOOST_CHECK(taints_for(made, true, 120) == taints);
  BOOST_TEST(node_taints_patch(node("a"), {}).ends_with(R"("spec":{"taints":null}})"));
}

BOOST_AUTO_TEST_CASE(when_most_nodes_fail_nobody_is_evicted) {
  BOOST_TEST(!is_disrupted(3, 0));
  BOOST_TEST(!is_disrupted(0, 0));
  BOOST_TEST(!is_disrupted(1, 1));
  BOOST_TEST(!is_disrupted(1, 2));
  BOOST_TEST(is_disrupted(0, 1));
  BOOST_TEST(is_disrupted(2, 3));
  BOOST_TEST(!is_disrupted(5, 3));
}

BOOST_AUTO_TEST_CASE(tolerations_say_when_a_pod_leaves) {
  const std::vector<api::Taint> taints = {
      {.key = kUnreachableTaint, .value = "", .effect = "NoExecute", .time_added = api::Time{1000}}};
  api::Pod made = pod("p");
  BOOST_TEST(*eviction_time(made, taints, {}, 1500) == 1000);
  made.spec.tolerations = {
      {.key = kUnreachableTaint, .operator_ = "Exists", .effect = "NoExecute", .toleration_seconds = 300}};
  BOOST_TEST(*eviction_time(made, taints, {}, 1500) == 1300);
  BOOST_TEST(*eviction_time(made, taints, {.default_seconds = 5}, 1500) == 1005);
  BOOST_TEST(*eviction_time(made, taints, {.not_before = 2000}, 1500) == 2000);
  made.spec.tolerations[0].toleration_seconds = 20;
  BOOST_TEST(*eviction_time(made, taints, {.default_seconds = 5}, 1500) == 1020);  // the Pod's own word
  made.metadata.creation_timestamp = api::Time{1100};
  BOOST_TEST(*eviction_time(made, taints, {}, 1500) == 1120);  // the taint was there first
  made.status.conditions = {{.type = "PodScheduled", .status = "True", .last_transition_time = api::Time{1200}}};
  BOOST_TEST(*eviction_time(made, taints, {}, 1500) == 1220);
  made.metadata.creation_timestamp.reset();
  made.status.conditions.clear();
  made.spec.tolerations[0].toleration_seconds = -1;
  BOOST_TEST(*eviction_time(made, taints, {}, 1500) == 1000);
  made.spec.tolerations[0].toleration_seconds.reset();
  BOOST_TEST(!eviction_time(made, taints, {}, 1500));
  BOOST_TEST(!eviction_time(pod("p"), {{.key = "k", .value = "", .effect = "NoSchedule"}}, {}, 1));
  const std::vector<api::Taint> mine = {{.key = "mine", .value = "x", .effect = "NoExecute"}};
  BOOST_TEST(*eviction_time(pod("p"), mine, {.not_before = 2000}, 1500) == 1500);  // a user's taint acts at once
}

BOOST_AUTO_TEST_CASE(evictions_come_in_order_and_can_be_called_off) {
  Evictions evictions;
  evictions.set("a", 30);
  evictions.set("b", 10);
  evictions.set("c", 20);
  evictions.set("c", std::nullopt);
  evictions.set("a", 15);
  BOOST_TEST(*evictions.next() == 10);
  BOOST_TEST(evictions.take_due(9).empty());
  BOOST_TEST(evictions.take_due(20) == (std::vector<std::string>{"b", "a"}));
  BOOST_TEST(!evictions.next());
}

BOOST_AUTO_TEST_CASE(every_node_gets_networks_of_its_own_in_both_families) {
  auto pool = CidrPool::create(host::parse_cidrs("10.244.0.0/16,fd00:10:244::/56").value(), 24, 64);
  BOOST_REQUIRE(pool);
  BOOST_TEST(cidrs(pool->allocate("a")) == "10.244.0.0/24,fd00:10:244::/64");
  BOOST_TEST(cidrs(pool->allocate("b")) == "10.244.1.0/24,fd00:10:244:1::/64");
  BOOST_TEST(cidrs(pool->allocate("a")) == "10.244.0.0/24,fd00:10:244::/64");
  std::set<std::string> seen;
  for (int i = 0; i < 254; ++i) seen.insert(cidrs(pool->allocate("n" + std::to_string(i))));
  BOOST_TEST(seen.size() == 254);
  BOOST_TEST(cidrs(pool->allocate("late")) == "no /24 is left in 10.244.0.0/16");
  pool->release("b");
  BOOST_TEST(cidrs(pool->allocate("late")) == "10.244.1.0/24,fd00:10:244:1::/64");
}

BOOST_AUTO_TEST_CASE(what_nodes_have_already_is_left_alone) {
  auto pool = CidrPool::create(host::parse_cidrs("10.0.0.0/22").value(), 24, 64);
  BOOST_REQUIRE(pool);
  BOOST_TEST(pool->occupy("wide", host::parse_cidrs("10.0.0.0/23").value()).has_value());
  BOOST_TEST(pool->occupy("far", host::parse_cidrs("192.168.0.0/24").value()).has_value());
  BOOST_TEST(!pool->occupy("thief", host::parse_cidrs("10.0.1.0/24").value()).has_value());
  BOOST_TEST(pool->occupy("narrow", host::parse_cidrs("10.0.2.128/25").value()).has_value());
  BOOST_TEST(cidrs(pool->allocate("a")) == "10.0.3.0/24");
  BOOST_TEST(!pool->allocate("b").has_value());
  pool->release("narrow");
  BOOST_TEST(cidrs(pool->allocate("b")) == "10.0.2.0/24");
}

BOOST_AUTO_TEST_CASE(a_mask_that_does_not_fit_is_refused) {
  BOOST_TEST(!CidrPool::create(host::parse_cidrs("10.0.0.0/24").value(), 16, 64));
  BOOST_TEST(!CidrPool::create(host::parse_cidrs("10.0.0.0/8").value(), 28, 64));
  BOOST_TEST(!CidrPool::create(host::parse_cidrs("10.0.0.0/8,11.0.0.0/8").value(), 24, 64));
  BOOST_TEST(CidrPool::create({}, 24, 64).has_value());
  auto one = CidrPool::create(host::parse_cidrs("10.0.0.0/24").value(), 24, 64);
  BOOST_REQUIRE(one);
  BOOST_TEST(cidrs(one->allocate("a")) == "10.0.0.0/24");
  BOOST_TEST(!one->allocate("b"));
}

BOOST_AUTO_TEST_SUITE_END()
