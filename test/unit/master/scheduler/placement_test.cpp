// Where Pods go, and what they are told when they go nowhere.

#include "master/scheduler/placement.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <set>

#include "test/unit/master/scheduler/model.h"

BOOST_AUTO_TEST_SUITE(placement_tests)

using namespace keelson;
using namespace keelson::scheduler;

namespace {

struct Fixture {
  Cluster cluster;
  size_t start = 0;

  Placement place(const api::Pod& pod) { return scheduler::place(cluster, *info_of(pod), start); }
  // Places and assumes; the node's name.
  std::string put(const api::Pod& pod) {
    const auto placement = place(pod);
    if (!placement.node.empty()) cluster.assume(info_of(pod), placement.node);
    return placement.node;
  }
};

api::Taint taint(const std::string& key, const std::string& value, const std::string& effect) {
  return {.key = key, .value = value, .effect = effect, .time_added = {}};
}

constexpr const char* kNotHelpful = "Preemption is not helpful for scheduling";
constexpr const char* kNoVictims = "No preemption victims found for incoming pod";

}  // namespace

BOOST_FIXTURE_TEST_CASE(an_empty_cluster_says_so, Fixture) {
  BOOST_TEST(place(pod("a")).why == "no nodes available to schedule pods");
}

BOOST_FIXTURE_TEST_CASE(reasons_are_counted_over_the_nodes_in_kubernetes_words, Fixture) {
  cluster.set_node(node("small", "1"));
  for (const char* name : {"t1", "t2"}) {
    api::Node tainted = node(name);
    tainted.spec.taints.push_back(taint("key", "value", "NoSchedule"));
    cluster.set_node(tainted);
  }
  BOOST_TEST(place(pod("a", "2")).why ==
             std::string("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {key: value}. "
                         "preemption: 0/3 nodes are available: 1 ") +
                 kNoVictims + ", 2 " + kNotHelpful + ".");
  api::Pod never = pod("b", "2");
  never.spec.preemption_policy = "Never";
  BOOST_TEST(place(never).why ==
             "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {key: value}. preemption: "
             "not eligible due to preemptionPolicy=Never.");
}

BOOST_FIXTURE_TEST_CASE(a_node_lacks_several_things_at_once, Fixture) {
  cluster.set_node(node("n", "1", "0"));
  api::Pod big = pod("a", "2");
  big.spec.containers[0].resources.requests["memory"] = {"9Gi"};
  big.spec.containers[0].resources.requests["ephemeral-storage"] = {"11Gi"};
  big.spec.containers[0].resources.requests["example.com/gpu"] = {"1"};
  const std::string why = place(big).why;
  BOOST_TEST(why.starts_with("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, 1 "
                             "Insufficient example.com/gpu, 1 Insufficient memory, 1 Too many pods."),
             why);
}

BOOST_FIXTURE_TEST_CASE(a_node_that_is_not_ready_gets_nobody_even_before_it_is_tainted, Fixture) {
  api::Node silent = node("n");
  silent.status.conditions[0].status = "Unknown";
  cluster.set_node(silent);
  BOOST_TEST(place(pod("a")).why.starts_with(
      "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }."));
  silent.status.conditions.clear();  // created by hand
  cluster.set_node(silent);
  BOOST_TEST(place(pod("a")).why.starts_with(
      "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."));
  api::Pod tolerant = pod("b");
  tolerant.spec.tolerations.push_back({.key = "node.kubernetes.io/not-ready", .operator_ = "Exists"});
  BOOST_TEST(place(tolerant).node == "n");
  cluster.set_node(node("n"));
  BOOST_TEST(place(pod("a")).node == "n");
}

BOOST_FIXTURE_TEST_CASE(a_cordoned_node_is_unschedulable, Fixture) {
  api::Node cordoned = node("n");
  cordoned.spec.unschedulable = true;
  cluster.set_node(cordoned);
  BOOST_TEST(place(pod("a")).why.starts_with("0/1 nodes are available: 1 node(s) were unschedulable. preemption: "));
}

BOOST_FIXTURE_TEST_CASE(tolerations_match_by_key_value_and_effect, Fixture) {
  api::Node tainted = node("n");
  tainted.spec.taints = {taint("k", "v", "NoExecute")};
  cluster.set_node(tainted);
  const auto fits = [&](api::Toleration toleration) {
    api::Pod tolerant = pod("a");
    tolerant.spec.tolerations = {std::move(toleration)};
    return place(tolerant).node == "n";
  };
  BOOST_TEST(fits({.key = "k", .operator_ = "Equal", .value = "v", .effect = "NoExecute"}));
  BOOST_TEST(fits({.key = "k", .operator_ = "", .value = "v", .effect = ""}));
  BOOST_TEST(fits({.key = "k", .operator_ = "Exists", .value = "", .effect = ""}));
  BOOST_TEST(fits({.key = "", .operator_ = "Exists", .value = "", .effect = ""}));
  BOOST_TEST(!fits({.key = "k", .operator_ = "Equal", .value = "w", .effect = ""}));
  BOOST_TEST(!fits({.key = "k", .operator_ = "Exists", .value = "", .effect = "NoSchedule"}));
  BOOST_TEST(!fits({.key = "x", .operator_ = "Exists", .value = "", .effect = ""}));
}

BOOST_FIXTURE_TEST_CASE(a_preference_against_a_node_yields_to_need, Fixture) {
  api::Node disliked = node("disliked");
  disliked.spec.taints = {taint("k", "", "PreferNoSchedule")};
  cluster.set_node(disliked);
  cluster.set_node(node("small", "1"));
  BOOST_TEST(put(pod("a", "800m")) == "small");
  BOOST_TEST(put(pod("b", "800m")) == "disliked");
}

BOOST_FIXTURE_TEST_CASE(node_selectors_and_affinity_choose_nodes, Fixture) {
  for (const char* name : {"a1", "a2", "b1"}) {
    api::Node made = node(name);
    made.metadata.labels["zone"] = std::string(1, name[0]);
    made.metadata.labels["rank"] = name + 1;
    cluster.set_node(made);
  }
  api::Pod selecting = pod("p");
  selecting.spec.node_selector = {{"zone", "b"}};
  BOOST_TEST(place(selecting).node == "b1");
  selecting.spec.node_selector = {{"zone", "c"}};
  BOOST_TEST(place(selecting).why.starts_with(
      "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are "
      "available: 3 Preemption is not helpful for scheduling."));
  const auto with = [](const std::string& expressions) {
    return pod_of(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: c, image: i}]\n  affinity: "
        "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [" +
        expressions + "]}}}");
  };
  BOOST_TEST(place(with("{matchExpressions: [{key: zone, operator: In, values: [a]}, {key: rank, operator: Gt, "
                        "values: ['1']}]}"))
                 .node == "a2");
  BOOST_TEST(place(with("{matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}")).node == "b1");
  BOOST_TEST(place(with("{matchFields: [{key: metadata.name, operator: In, values: [a1]}]}")).node == "a1");
  BOOST_TEST(place(with("{matchExpressions: [{key: none, operator: Exists}]}, {matchExpressions: [{key: rank, "
                        "operator: Lt, values: ['2']}, {key: zone, operator: In, values: [b]}]}"))
                 .node == "b1");
}

BOOST_FIXTURE_TEST_CASE(a_preferred_node_is_preferred, Fixture) {
  for (const char* name : {"a", "b", "c"}) cluster.set_node(node(name));
  for (int i = 0; i < 6; ++i) {
    BOOST_TEST(place(pod_of(R"(
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers: [{name: c, image: i}]
  affinity:
    nodeAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - {weight: 1, preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [b]}]}}
)"))
                   .node == "b");
  }
}

BOOST_FIXTURE_TEST_CASE(a_host_port_is_taken_once, Fixture) {
  cluster.set_node(node("n"));
  const auto with_port = [](const std::string& name, const std::string& ip, int port) {
    api::Pod made = pod(name);
    made.spec.containers[0].ports.push_back({.host_port = port, .container_port = 1, .protocol = "TCP", .host_ip = ip});
    return made;
  };
  BOOST_TEST(put(with_port("a", "127.0.0.1", 80)) == "n");
  BOOST_TEST(put(with_port("b", "127.0.0.2", 80)) == "n");
  BOOST_TEST(
      place(with_port("c", "", 80))
          .why.starts_with("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."));
  BOOST_TEST(put(with_port("d", "", 81)) == "n");
  BOOST_TEST(place(with_port("e", "127.0.0.1", 81)).node.empty());
}

BOOST_FIXTURE_TEST_CASE(replicas_spread_over_the_nodes, Fixture) {
  for (const char* name : {"a", "b", "c", "d"}) cluster.set_node(node(name, "64"));
  std::map<std::string, int> counts;
  for (int i = 0; i < 40; ++i) {
    api::Pod replica = pod("web-" + std::to_string(i));
    replica.metadata.labels = {{"app", "web"}};
    ++counts[put(replica)];
  }
  for (const auto& [name, count] : counts) BOOST_TEST(count == 10, name << " has " << count);
}

BOOST_FIXTURE_TEST_CASE(pods_without_requests_spread_as_well, Fixture) {
  for (const char* name : {"a", "b"}) cluster.set_node(node(name));
  std::map<std::string, int> counts;
  for (int i = 0; i < 10; ++i) {
    api::Pod bare = pod("p" + std::to_string(i));
    bare.spec.containers[0].resources = {};
    ++counts[put(bare)];
  }
  BOOST_TEST(counts["a"] == 5);
  BOOST_TEST(counts["b"] == 5);
}

BOOST_FIXTURE_TEST_CASE(a_node_is_never_filled_beyond_what_it_has, Fixture) {
  cluster.set_node(node("n", "1"));
  int placed = 0;
  for (int i = 0; i < 20; ++i) placed += put(pod("p" + std::to_string(i), "100m")).empty() ? 0 : 1;
  BOOST_TEST(placed == 10);
  cluster.remove_pod("default/p3", "uid-p3");
  BOOST_TEST(put(pod("late")) == "n");
  BOOST_TEST(put(pod("later")).empty());
}

BOOST_FIXTURE_TEST_CASE(finished_pods_leave_their_room_and_those_going_keep_it, Fixture) {
  cluster.set_node(node("n", "1"));
  api::Pod running = on(pod("p", "1"), "n");
  cluster.set_pod(info_of(running));
  running.metadata.deletion_timestamp = api::Time{1};
  cluster.set_pod(info_of(running));
  BOOST_TEST(place(pod("q", "1")).node.empty());
  running.status.phase = "Succeeded";
  cluster.set_pod(info_of(running));
  BOOST_TEST(place(pod("q", "1")).node == "n");
}

BOOST_FIXTURE_TEST_CASE(anti_affinity_holds_in_both_directions, Fixture) {
  for (const char* name : {"a", "b"}) cluster.set_node(node(name));
  const auto loner = [](const std::string& name) {
    api::Pod made = pod_of(R"(
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: loner}}
spec:
  containers: [{name: c, image: i}]
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchExpressions: [{key: app, operator: Exists}]}}
)");
    made.metadata.name = name;
    made.metadata.uid = "uid-" + name;
    return made;
  };
  const std::string first = put(loner("one")), second = put(loner("two"));
  BOOST_TEST(first != second);
  BOOST_TEST(place(loner("three"))
                 .why.starts_with("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."));
  api::Pod other = pod("other");
  other.metadata.labels = {{"app", "x"}};
  BOOST_TEST(place(other).why.starts_with(
      "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."));
  BOOST_TEST(!place(pod("unlabelled")).node.empty());
}

BOOST_FIXTURE_TEST_CASE(affinity_keeps_company_and_the_first_may_begin_alone, Fixture) {
  for (const char* name : {"a", "b", "c"}) cluster.set_node(node(name));
  const auto social = [](const std::string& name, const std::string& label) {
    api::Pod made = pod_of(R"(
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers: [{name: c, image: i}]
  affinity:
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: social}}}
)");
    made.metadata.labels = {{"app", label}};
    made.metadata.name = name;
    made.metadata.uid = "uid-" + name;
    return made;
  };
  BOOST_TEST(place(social("guest", "guest"))
                 .why.starts_with("0/3 nodes are available: 3 node(s) didn't match pod affinity rules."));
  const std::string home = put(social("first", "social"));
  BOOST_TEST(!home.empty());
  for (int i = 0; i < 5; ++i) BOOST_TEST(put(social("more" + std::to_string(i), "social")) == home);
  BOOST_TEST(put(social("guest", "guest")) == home);
}

BOOST_FIXTURE_TEST_CASE(spread_constraints_bound_the_skew, Fixture) {
  for (const char* name : {"a", "b", "c"}) {
    api::Node made = node(name, name[0] == 'c' ? "100m" : "8");
    made.metadata.labels["zone"] = name;
    cluster.set_node(made);
  }
  const auto spread = [](const std::string& name) {
    api::Pod made = pod_of(R"(
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: web}}
spec:
  containers: [{name: c, image: i, resources: {requests: {cpu: 100m}}}]
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
)");
    made.metadata.name = name;
    made.metadata.uid = "uid-" + name;
    return made;
  };
  std::map<std::string, int> counts;
  for (int i = 0; i < 5; ++i) ++counts[put(spread("p" + std::to_string(i)))];
  BOOST_TEST(counts["c"] == 1);
  BOOST_TEST(counts["a"] == 2);
  BOOST_TEST(counts["b"] == 2);
  BOOST_TEST(
      place(spread("last"))
          .why.starts_with(
              "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match pod topology spread constraints."));
}

BOOST_AUTO_TEST_CASE(a_large_cluster_is_searched_in_turn) {
  Cluster cluster;
  for (int i = 0; i < 1000; ++i) cluster.set_node(node("n" + std::to_string(i)));
  size_t start = 0;
  std::set<std::string> used;
  for (int i = 0; i < 200; ++i) {
    const api::Pod made = pod("p" + std::to_string(i));
    const auto placement = place(cluster, *info_of(made), start);
    BOOST_REQUIRE(!placement.node.empty());
    cluster.assume(info_of(made), placement.node);
    used.insert(placement.node);
  }
  BOOST_TEST(used.size() == 200);
}

BOOST_AUTO_TEST_SUITE_END()
