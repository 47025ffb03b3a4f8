// Who stands behind a Service.

#include "master/controllers/endpoints.h"

#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <set>

#include "test/unit/master/controllers/model.h"

BOOST_AUTO_TEST_SUITE(endpoints_tests)

using namespace keelson;
using namespace keelson::controllers;

namespace {

api::Service service() {
  api::Service made;
  made.metadata.namespace_ = "default";
  made.metadata.name = "web";
  made.metadata.uid = "uid-svc";
  made.metadata.labels = {{"team", "a"}};
  made.spec.type = "ClusterIP";
  made.spec.cluster_ip = "10.0.0.1";
  made.spec.ip_families = {"IPv4"};
  made.spec.selector = {{"app", "web"}};
  made.spec.ports.push_back(
      {.name = "http", .protocol = "TCP", .port = 80, .target_port = api::IntOrString{.number = 8080}});
  return made;
}

api::Pod at(api::Pod pod, const std::string& ip) {
  pod.status.pod_ip = ip;
  pod.status.pod_ips.push_back({ip});
  return pod;
}

std::string no_zone(const std::string&) { return {}; }

// Keeps slices as the API server would.
struct Server {
  std::vector<SlicePtr> slices;
  int made = 0;
  size_t writes = 0;

  void apply(const SlicePlan& plan) {
    writes += plan.create.size() + plan.update.size() + plan.remove.size();
    for (const SlicePtr& gone : plan.remove) std::erase(slices, gone);
    for (const api::EndpointSlice& updated : plan.update) {
      for (SlicePtr& slice : slices) {
        if (slice->metadata.name == updated.metadata.name) slice = std::make_shared<api::EndpointSlice>(updated);
      }
    }
    for (api::EndpointSlice created : plan.create) {
      created.metadata.name = fmt::format("web-{}", ++made);
      slices.push_back(std::make_shared<api::EndpointSlice>(std::move(created)));
    }
  }
  std::multiset<std::string> addresses() const {
    std::multiset<std::string> all;
    for (const SlicePtr& slice : slices) {
      BOOST_TEST(slice->endpoints.size() <= kSliceSize);
      for (const api::Endpoint& endpoint : slice->endpoints) all.insert(endpoint.addresses.front());
    }
    return all;
  }
};

std::vector<PodPtr> many(int count, int first = 0) {
  std::vector<PodPtr> pods;
  for (int i = first; i < first + count; ++i) {
    pods.push_back(ptr(at(ready(pod(fmt::format("p{}", i))), fmt::format("10.244.{}.{}", i / 250, i % 250 + 1))));
  }
  return pods;
}

}  // namespace

BOOST_AUTO_TEST_CASE(ready_and_not_ready_pods_are_told_apart) {
  api::Pod going = at(ready(pod("going")), "10.244.0.4");
  going.metadata.deletion_timestamp = api::Time{1};
  api::Pod done = at(ready(pod("done")), "10.244.0.5");
  done.status.phase = "Succeeded";
  const std::vector<PodPtr> pods = {ptr(at(ready(pod("b")), "10.244.0.20")),
                                    ptr(at(ready(pod("a")), "10.244.0.3")),
                                    ptr(at(pod("c"), "10.244.0.1")),
                                    ptr(going),
                                    ptr(done),
                                    ptr(ready(pod("no-ip")))};
  const api::Endpoints endpoints = endpoints_of(service(), pods);
  BOOST_TEST(endpoints.metadata.name == "web");
  BOOST_TEST(endpoints.metadata.labels.at("team") == "a");
  BOOST_REQUIRE_EQUAL(endpoints.subsets.size(), 1);
  const api::EndpointSubset& subset = endpoints.subsets[0];
  BOOST_REQUIRE_EQUAL(subset.addresses.size(), 2);
  BOOST_TEST(subset.addresses[0].ip == "10.244.0.3");
  BOOST_TEST(subset.addresses[0].node_name == "n1");
  BOOST_TEST(subset.addresses[0].target_ref->uid == "uid-a");
  BOOST_REQUIRE_EQUAL(subset.not_ready_addresses.size(), 1);
  BOOST_TEST(subset.not_ready_addresses[0].ip == "10.244.0.1");
  BOOST_TEST(subset.ports[0].port == 8080);

  api::Service any = service();
  any.spec.publish_not_ready_addresses = true;
  const api::Endpoints all = endpoints_of(any, pods);
  BOOST_TEST(all.subsets[0].addresses.size() == 4);  // the one that is going as well
  BOOST_TEST(all.subsets[0].not_ready_addresses.empty());
}

BOOST_AUTO_TEST_CASE(named_ports_are_each_pods_own) {
  api::Service named = service();
  named.spec.ports[0].target_port = api::IntOrString{.is_string = true, .number = 0, .text = "http"};
  const auto with_port = [](const std::string& name, const std::string& ip, int32_t port, const char* protocol) {
    api::Pod made = at(ready(pod(name)), ip);
    made.spec.containers[0].ports.push_back({.name = "http", .container_port = port, .protocol = protocol});
    return ptr(made);
  };
  const std::vector<PodPtr> pods = {with_port("a", "10.244.0.1", 8080, "TCP"),
                                    with_port("b", "10.244.0.2", 9090, "TCP"),
                                    with_port("c", "10.244.0.3", 8080, "UDP"), ptr(at(ready(pod("d")), "10.244.0.4"))};
  const api::Endpoints endpoints = endpoints_of(named, pods);
  BOOST_REQUIRE_EQUAL(endpoints.subsets.size(), 2);
  BOOST_TEST(endpoints.subsets[0].ports[0].port == 8080);
  BOOST_TEST(endpoints.subsets[0].addresses.size() == 1);
  BOOST_TEST(endpoints.subsets[1].ports[0].port == 9090);
  const SlicePlan plan = plan_slices(named, pods, {}, no_zone);
  BOOST_TEST(plan.create.size() == 2);
}

BOOST_AUTO_TEST_CASE(a_headless_service_may_have_no_ports_and_names_its_pods) {
  api::Service headless = service();
  headless.spec.cluster_ip = "None";
  headless.spec.ports.clear();
  api::Pod made = at(ready(pod("db-0")), "10.244.0.1");
  made.spec.hostname = "db-0";
  made.spec.subdomain = "web";
  const api::Endpoints endpoints = endpoints_of(headless, {ptr(made)});
  BOOST_REQUIRE_EQUAL(endpoints.subsets.size(), 1);
  BOOST_TEST(endpoints.subsets[0].addresses[0].hostname == "db-0");
  BOOST_TEST(endpoints.subsets[0].ports.empty());
  BOOST_TEST(endpoints.metadata.labels.contains("service.kubernetes.io/headless"));
  const SlicePlan plan = plan_slices(headless, {ptr(made)}, {}, no_zone);
  BOOST_REQUIRE_EQUAL(plan.create.size(), 1);
  BOOST_TEST(plan.create[0].endpoints[0].hostname == "db-0");
  BOOST_TEST(plan.create[0].metadata.labels.contains("service.kubernetes.io/headless"));
}

BOOST_AUTO_TEST_CASE(beyond_a_thousand_addresses_ready_ones_come_first) {
  std::vector<PodPtr> pods = many(990);
  for (int i = 0; i < 30; ++i) pods.push_back(ptr(at(pod(fmt::format("q{}", i)), fmt::format("10.245.0.{}", i + 1))));
  const api::Endpoints endpoints = endpoints_of(service(), pods);
  BOOST_TEST(endpoints.subsets[0].addresses.size() == 990);
  BOOST_TEST(endpoints.subsets[0].not_ready_addresses.size() == 10);
  BOOST_TEST(endpoints.metadata.annotations.at("endpoints.kubernetes.io/over-capacity") == "truncated");
  BOOST_TEST(endpoints_of(service(), many(1000)).metadata.annotations.empty());
}

BOOST_AUTO_TEST_CASE(slices_tell_ready_serving_and_terminating) {
  api::Pod going = at(ready(pod("going")), "10.244.0.2");
  going.metadata.deletion_timestamp = api::Time{1};
  const SlicePlan plan =
      plan_slices(service(), {ptr(at(ready(pod("a")), "10.244.0.1")), ptr(going), ptr(at(pod("b"), "10.244.0.3"))}, {},
                  [](const std::string& node) { return "zone-of-" + node; });
  BOOST_REQUIRE_EQUAL(plan.create.size(), 1);
  const api::EndpointSlice& slice = plan.create[0];
  BOOST_TEST(slice.metadata.generate_name == "web-");
  BOOST_TEST(slice.metadata.labels.at(kServiceNameLabel) == "web");
  BOOST_TEST(slice.metadata.labels.at(kManagedByLabel) == kManager);
  BOOST_TEST(slice.metadata.owner_references.at(0).uid == "uid-svc");
  BOOST_TEST(slice.address_type == "IPv4");
  BOOST_REQUIRE_EQUAL(slice.endpoints.size(), 3);
  const auto is = [](const api::Endpoint& endpoint, bool ready, bool serving, bool terminating) {
    return *endpoint.conditions.ready == ready && *endpoint.conditions.serving == serving &&
           *endpoint.conditions.terminating == terminating;
  };
  BOOST_TEST(is(slice.endpoints[0], true, true, false));
  BOOST_TEST(is(slice.endpoints[1], false, true, true));
  BOOST_TEST(is(slice.endpoints[2], false, false, false));
  BOOST_TEST(slice.endpoints[0].zone == "zone-of-n1");
  BOOST_TEST(slice.endpoints[0].node_name == "n1");
}

BOOST_AUTO_TEST_CASE(a_service_without_pods_has_one_empty_slice_of_each_family) {
  api::Service dual = service();
  dual.spec.ip_families = {"IPv4", "IPv6"};
  Server server;
  server.apply(plan_slices(dual, {}, server.slices, no_zone));
  BOOST_TEST(server.slices.size() == 2);
  BOOST_TEST(plan_slices(dual, {}, server.slices, no_zone).empty());
  api::Pod both = at(at(ready(pod("a")), "10.244.0.1"), "fd00::1");
  server.apply(plan_slices(dual, {ptr(both)}, server.slices, no_zone));
  BOOST_TEST(server.slices.size() == 2);  // the empty ones were used
  BOOST_TEST(server.made == 2);
  BOOST_TEST((server.addresses() == std::multiset<std::string>{"10.244.0.1", "fd00::1"}));
  BOOST_TEST(plan_slices(dual, {ptr(both)}, server.slices, no_zone).empty());
  server.apply(plan_slices(dual, {}, server.slices, no_zone));
  BOOST_TEST(server.slices.size() == 2);
  BOOST_TEST(server.made == 2);
  BOOST_TEST(server.addresses().empty());
  BOOST_TEST(plan_slices(dual, {}, server.slices, no_zone).empty());
}

BOOST_AUTO_TEST_CASE(slices_hold_a_hundred_and_change_little) {
  Server server;
  std::vector<PodPtr> pods = many(250);
  server.apply(plan_slices(service(), pods, server.slices, no_zone));
  BOOST_TEST(server.slices.size() == 3);
  BOOST_TEST(server.addresses().size() == 250);
  BOOST_TEST(plan_slices(service(), pods, server.slices, no_zone).empty());
  // One Pod goes and another comes: one write.
  server.writes = 0;
  pods.erase(pods.begin() + 120);
  const std::vector<PodPtr> newcomer = many(1, 500);
  pods.push_back(newcomer[0]);
  server.apply(plan_slices(service(), pods, server.slices, no_zone));
  BOOST_TEST(server.writes == 1);
  BOOST_TEST(server.addresses().size() == 250);
  // One comes: the slice with room takes it.
  server.writes = 0;
  pods.push_back(many(1, 501)[0]);
  server.apply(plan_slices(service(), pods, server.slices, no_zone));
  BOOST_TEST(server.writes == 1);
  BOOST_TEST(server.made == 3);
  // All go but one.
  pods.resize(1);
  server.apply(plan_slices(service(), pods, server.slices, no_zone));
  BOOST_TEST(server.slices.size() == 1);
  BOOST_TEST(server.addresses().size() == 1);
  pods.clear();
  server.apply(plan_slices(service(), pods, server.slices, no_zone));
  BOOST_TEST(server.slices.size() == 1);
  BOOST_TEST(plan_slices(service(), pods, server.slices, no_zone).empty());
}

BOOST_AUTO_TEST_CASE(random_changes_always_end_with_exactly_the_pods) {
  Server server;
  uint32_t seed = 7;
  const auto random = [&](uint32_t below) { return (seed = seed * 1664525 + 1013904223) / 65536 % below; };
  std::vector<PodPtr> all = many(400);
  for (int round = 0; round < 100; ++round) {
    std::vector<PodPtr> pods;
    const uint32_t share = random(101);
    for (const PodPtr& pod : all) {
      if (random(100) < share) pods.push_back(pod);
    }
    server.apply(plan_slices(service(), pods, server.slices, no_zone));
    std::multiset<std::string> wanted;
    for (const PodPtr& pod : pods) wanted.insert(pod->status.pod_ip);
    BOOST_REQUIRE(server.addresses() == wanted);
    BOOST_REQUIRE(!server.slices.empty());
    BOOST_REQUIRE(plan_slices(service(), pods, server.slices, no_zone).empty());
  }
}

BOOST_AUTO_TEST_CASE(endpoints_by_hand_are_mirrored) {
  api::Service bare = service();
  bare.spec.selector.clear();
  BOOST_TEST(!selects_pods(bare));
  api::Endpoints endpoints;
  endpoints.subsets.resize(1);
  endpoints.subsets[0].addresses = {{.ip = "192.0.2.1"}, {.ip = "fd00::1"}};
  endpoints.subsets[0].not_ready_addresses = {{.ip = "192.0.2.2"}};
  endpoints.subsets[0].ports = {{.name = "http", .port = 80, .protocol = "TCP"}};
  Server server;
  server.apply(mirror_slices(bare, endpoints, server.slices));
  BOOST_TEST(server.slices.size() == 2);
  BOOST_TEST(server.slices[0]->metadata.labels.at(kManagedByLabel) == kMirrorManager);
  BOOST_TEST(server.addresses().size() == 3);
  BOOST_TEST(mirror_slices(bare, endpoints, server.slices).empty());
}

BOOST_AUTO_TEST_SUITE_END()
