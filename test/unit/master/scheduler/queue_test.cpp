// In which order Pods are tried, and when again.

#include "master/scheduler/queue.h"

#include <boost/test/unit_test.hpp>
#include <chrono>

#include "master/scheduler/reporter.h"
#include "test/unit/master/scheduler/model.h"

BOOST_AUTO_TEST_SUITE(queue_tests)

using namespace keelson;
using namespace keelson::scheduler;
using namespace std::chrono_literals;

namespace {

PodPtr waiting(const std::string& name, int priority = 0, int64_t created = 1) {
  api::Pod made = pod(name);
  made.spec.priority = priority;
  made.metadata.creation_timestamp = api::Time{created};
  return info_of(made);
}

std::string pop(Queue& queue) {
  const PodPtr pod = queue.pop();
  return pod == nullptr ? "" : pod->name;
}

}  // namespace

BOOST_AUTO_TEST_CASE(priority_goes_before_age_and_age_before_arrival) {
  Queue queue;
  queue.set(waiting("young", 0, 9));
  queue.set(waiting("old", 0, 5));
  queue.set(waiting("same-age", 0, 9));
  queue.set(waiting("urgent", 100, 9));
  queue.set(waiting("unloved", -5, 1));
  for (const char* name : {"urgent", "old", "young", "same-age", "unloved", ""}) BOOST_TEST(pop(queue) == name);
}

BOOST_AUTO_TEST_CASE(a_parked_pod_waits_for_a_release_and_not_for_its_own_status) {
  Queue queue;
  queue.set(waiting("p"));
  pop(queue);
  queue.park("default/p", false);
  api::Pod told = pod("p");
  told.spec.priority = 0;
  told.metadata.creation_timestamp = api::Time{1};
  told.status.conditions.push_back({.type = "PodScheduled", .status = "False"});
  queue.set(info_of(told));
  BOOST_TEST(pop(queue) == "");
  queue.release(true);
  BOOST_TEST(pop(queue) == "");
  queue.release(false);
  BOOST_TEST(pop(queue) == "p");
}

BOOST_AUTO_TEST_CASE(a_change_of_what_it_asks_for_brings_it_back) {
  Queue queue;
  queue.set(waiting("p"));
  pop(queue);
  queue.park("default/p", false);
  api::Pod changed = pod("p");
  changed.spec.tolerations.push_back({.key = "k", .operator_ = "Exists"});
  queue.set(info_of(changed));
  BOOST_TEST(pop(queue) == "p");
  queue.park("default/p", true);
  queue.release(true);
  BOOST_TEST(pop(queue) == "p");
}

BOOST_AUTO_TEST_CASE(failed_bindings_are_held_longer_each_time) {
  Queue queue;
  const host::TimePoint start{};
  queue.set(waiting("p"));
  host::TimePoint now = start;
  for (const auto delay : {1s, 2s, 4s, 8s, 10s, 10s}) {
    BOOST_TEST(pop(queue) == "p");
    queue.hold("default/p", now);
    BOOST_REQUIRE(queue.next_release());
    BOOST_CHECK(*queue.next_release() == now + delay);
    queue.release_held(now + delay - 1ms);
    BOOST_TEST(pop(queue) == "");
    now += delay;
    queue.release_held(now);
  }
  queue.remove("default/p");
  BOOST_TEST(pop(queue) == "");
  BOOST_TEST(queue.size() == 0);
}

BOOST_AUTO_TEST_CASE(a_namesake_starts_afresh) {
  Queue queue;
  queue.set(waiting("p"));
  pop(queue);
  queue.park("default/p", false);
  api::Pod again = pod("p");
  again.metadata.uid = "second";
  queue.set(info_of(again));
  BOOST_TEST(queue.pop()->uid == "second");
}

BOOST_AUTO_TEST_CASE(the_condition_keeps_its_time_while_its_status_stands) {
  api::Pod made = pod("p");
  BOOST_TEST(condition_patch(*info_of(made), "Unschedulable", "0/1 \"x\"", 100) ==
             R"({"metadata":{"uid":"uid-p"},"status":{"conditions":[{"type":"PodScheduled","status":"False",)"
             R"("reason":"Unschedulable","message":"0/1 \"x\"","lastProbeTime":null,)"
             R"("lastTransitionTime":"1970-01-01T00:01:40Z"}]}})");
  made.status.conditions.push_back({.type = "PodScheduled", .status = "False", .last_transition_time = api::Time{60}});
  BOOST_TEST(condition_patch(*info_of(made), "Unschedulable", "x", 100).find("1970-01-01T00:01:00Z") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
