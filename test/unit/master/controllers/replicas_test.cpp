// What a ReplicationController wants of its Pods.

#include "master/controllers/replicas.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "test/unit/master/controllers/model.h"

BOOST_AUTO_TEST_SUITE(replicas_tests)

using namespace keelson;
using namespace keelson::controllers;

namespace {

std::string names(const std::vector<PodPtr>& pods) {
  std::string out;
  for (const PodPtr& pod : pods) out += (out.empty() ? "" : " ") + pod->metadata.name;
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(pods_are_claimed_by_labels_and_owner) {
  api::Pod other = pod("other");
  other.metadata.labels = {{"app", "db"}};
  api::Pod going = pod("going");
  going.metadata.deletion_timestamp = api::Time{5};
  api::Pod finished = owned(pod("finished"));
  finished.status.phase = "Succeeded";
  api::Pod relabelled = owned(pod("relabelled"));
  relabelled.metadata.labels = {{"app", "debug"}};
  const std::vector<PodPtr> pods = {ptr(owned(pod("own"))),
                                    ptr(pod("orphan")),
                                    ptr(other),
                                    ptr(going),
                                    ptr(finished),
                                    ptr(relabelled),
                                    ptr(owned(pod("theirs"), "another"))};
  const Claims claims = claim(controller(1), pods);
  BOOST_TEST(names(claims.own) == "own");
  BOOST_TEST(names(claims.adopt) == "orphan");
  BOOST_TEST(names(claims.release) == "relabelled");

  api::ReplicationController leaving = controller(1);
  leaving.metadata.deletion_timestamp = api::Time{9};
  BOOST_TEST(claim(leaving, pods).adopt.empty());
  BOOST_TEST(claim(leaving, pods).release.empty());
}

BOOST_AUTO_TEST_CASE(victims_are_taken_in_kubernetes_order) {
  std::vector<PodPtr> pods;
  api::Pod made = ready(pod("old-ready"), 1000);
  pods.push_back(ptr(made));
  pods.push_back(ptr(ready(pod("new-ready"), 99'000)));
  pods.push_back(ptr(pod("not-ready")));
  made = ready(pod("restarted"), 1000);
  made.status.container_statuses.push_back({.restart_count = 7});
  pods.push_back(ptr(made));
  made = ready(pod("cheap"), 1000);
  made.metadata.annotations["controller.kubernetes.io/pod-deletion-cost"] = "-10";
  pods.push_back(ptr(made));
  made = pod("pending");
  made.status.phase = "Pending";
  pods.push_back(ptr(made));
  made = pod("unassigned");
  made.spec.node_name.clear();
  made.status.phase = "Pending";
  pods.push_back(ptr(made));
  made = ready(pod("lonely"), 1000);
  made.spec.node_name = "n2";
  pods.push_back(ptr(made));
  BOOST_TEST(names(victims(pods, 8, 100'000)) ==
             "unassigned pending not-ready cheap new-ready restarted old-ready lonely");
  BOOST_TEST(names(victims(pods, 2, 100'000)) == "unassigned pending");
  BOOST_TEST(victims(pods, 100, 100'000).size() == 8);
}

BOOST_AUTO_TEST_CASE(the_status_counts_what_is_there) {
  api::ReplicationController made = controller(3);
  made.spec.min_ready_seconds = 60;
  api::Pod labelled = owned(ready(pod("a"), 1000));
  labelled.metadata.labels["tier"] = "front";
  const std::vector<PodPtr> own = {ptr(labelled), ptr(owned(ready(pod("b"), 1950))), ptr(owned(pod("c")))};
  const ReplicaStatus result = status_of(made, own, std::nullopt, 2000);
  BOOST_TEST(result.status.replicas == 3);
  BOOST_TEST(*result.status.fully_labeled_replicas == 1);
  BOOST_TEST(*result.status.ready_replicas == 2);
  BOOST_TEST(*result.status.available_replicas == 1);
  BOOST_TEST(*result.status.observed_generation == 3);
  BOOST_TEST(result.next_available.value_or(0) == 2010);
}

BOOST_AUTO_TEST_CASE(a_failure_is_a_condition_until_it_is_over) {
  api::ReplicationController made = controller(1);
  made.status = status_of(made, {}, ReplicaFailure{"FailedCreate", "quota \"x\""}, 50).status;
  BOOST_REQUIRE_EQUAL(made.status.conditions.size(), 1);
  BOOST_TEST(made.status.conditions[0].message == "quota \"x\"");
  // Another text of the same reason is not written on and on.
  BOOST_CHECK(status_of(made, {}, ReplicaFailure{"FailedCreate", "other"}, 60).status == made.status);
  BOOST_TEST(status_patch(made.status).find(R"("conditions":[{"type":"ReplicaFailure","status":"True",)") !=
             std::string::npos);
  BOOST_TEST(status_of(made, {}, std::nullopt, 70).status.conditions.empty());
  BOOST_TEST(status_patch({}) ==
             R"({"status":{"replicas":0,"fullyLabeledReplicas":null,"readyReplicas":null,"availableReplicas":null,)"
             R"("observedGeneration":null,"conditions":null}})");
}

BOOST_AUTO_TEST_CASE(a_pod_is_made_as_the_template_says) {
  const api::Pod made = pod_from(controller(1));
  BOOST_TEST(made.metadata.namespace_ == "default");
  BOOST_TEST(made.metadata.generate_name == "web-");
  BOOST_TEST(made.metadata.labels.at("tier") == "front");
  const api::OwnerReference* owner = controller_of(made.metadata);
  BOOST_REQUIRE(owner != nullptr);
  BOOST_TEST(owner->uid == "uid-rc");
  BOOST_TEST(*owner->block_owner_deletion);
}

BOOST_AUTO_TEST_CASE(generated_names_are_short_and_differ) {
  std::set<std::string> names;
  for (uint64_t i = 0; i < 1000; ++i) names.insert(generated_name("web", i * 7919));
  BOOST_TEST(names.size() == 1000);
  const std::string name = generated_name(std::string(100, 'a'), 5);
  BOOST_TEST(name.size() == 63);
  BOOST_TEST(generated_name("web-", 1).size() == 9);
}

BOOST_AUTO_TEST_SUITE_END()
