// Services of a cluster: this node's pods speak for themselves, EndpointSlices for all others.
#include <boost/test/unit_test.hpp>

#include "agent/proxy/service_table.h"

BOOST_AUTO_TEST_SUITE(slices)

using namespace keelson;
using namespace keelson::proxy;
using host::IpAddress;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

api::Service service(bool selecting = true) {
  api::Service service;
  service.metadata.namespace_ = "default";
  service.metadata.name = "web";
  service.spec.type = "ClusterIP";
  service.spec.cluster_ip = "10.96.0.9";
  service.spec.cluster_ips = {"10.96.0.9"};
  if (selecting) service.spec.selector = {{"app", "web"}};
  api::ServicePort port;
  port.port = 80;
  port.protocol = "TCP";
  port.target_port = api::IntOrString{};
  port.target_port->number = 8080;
  service.spec.ports = {port};
  return service;
}

struct Given {
  const char* address;
  const char* node;
  std::optional<bool> ready, serving, terminating;
};
api::EndpointSlice slice(const char* name, const std::vector<Given>& endpoints) {
  api::EndpointSlice slice;
  slice.metadata.namespace_ = "default";
  slice.metadata.name = name;
  slice.metadata.labels = {{"kubernetes.io/service-name", "web"}};
  slice.address_type = "IPv4";
  api::EndpointSlicePort port;
  port.protocol = "TCP";
  port.port = 8080;
  slice.ports = {port};
  for (const auto& given : endpoints) {
    api::Endpoint endpoint;
    endpoint.addresses = {given.address};
    endpoint.node_name = given.node;
    endpoint.conditions.ready = given.ready;
    endpoint.conditions.serving = given.serving;
    endpoint.conditions.terminating = given.terminating;
    slice.endpoints.push_back(endpoint);
  }
  return slice;
}

api::Pod pod(const char* name, const char* address, bool ready = true) {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = name;
  pod.metadata.labels = {{"app", "web"}};
  pod.status.phase = "Running";
  pod.status.pod_ips = {{address}};
  api::PodCondition condition;
  condition.type = "Ready";
  condition.status = ready ? "True" : "False";
  pod.status.conditions = {condition};
  return pod;
}

struct Table : ServiceTable {
  Table() : ServiceTable({.name = "node1", .addresses = {}, .pod_cidrs = {*host::Cidr::parse("10.244.0.0/24")}}) {}
  // "10.244.0.2 10.244.1.2~": ~ terminating, ! draining, * local.
  std::string targets(Traffic traffic = Traffic::internal) {
    (void)take_changes();
    std::string text;
    for (const auto& [key, entry] : entries()) {
      if (key.traffic != traffic) continue;
      for (const auto& target : entry.targets) {
        text += (text.empty() ? "" : " ") + target.address.to_string();
        if (target.state == Target::State::terminating) text += "~";
        if (target.state == Target::State::draining) text += "!";
        if (target.local) text += "*";
      }
    }
    return text;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(pods_of_both_nodes_stand_behind_one_service, Table) {
  set_service(service());
  set_pod(pod("web-0", "10.244.0.2"));
  set_slice(slice("web-a", {{"10.244.0.2", "node1", true, true, false}, {"10.244.1.2", "node2", true, true, false}}));
  BOOST_TEST(targets() == "10.244.0.2* 10.244.1.2");
  // Its own pod's end is known here before the master has heard of it.
  set_pod(pod("web-0", "10.244.0.2", false));
  BOOST_TEST(targets() == "10.244.1.2");
  remove_slice({"default", "web-a"});
  set_pod(pod("web-0", "10.244.0.2"));
  BOOST_TEST(targets() == "10.244.0.2*");
}

BOOST_FIXTURE_TEST_CASE(terminating_endpoints_serve_only_when_nothing_is_ready, Table) {
  set_service(service());
  set_slice(slice("web-a", {{"10.244.1.2", "node2", false, true, true},
                            {"10.244.1.3", "node2", true, true, false},
                            {"10.244.1.4", "node2", false, false, true},
                            {"10.244.1.5", "node2", false, false, false}}));
  BOOST_TEST(targets() == "10.244.1.2! 10.244.1.3");
  set_slice(slice("web-a", {{"10.244.1.2", "node2", false, true, true}, {"10.244.1.4", "node2", false, false, true}}));
  BOOST_TEST(targets() == "10.244.1.2~");
  // Conditions that are not said mean ready.
  set_slice(slice("web-a", {{"10.244.1.2", "node2", {}, {}, {}}}));
  BOOST_TEST(targets() == "10.244.1.2");
}

BOOST_FIXTURE_TEST_CASE(the_policy_local_takes_no_other_nodes_endpoints, Table) {
  auto local = service();
  local.spec.internal_traffic_policy = "Local";
  set_service(local);
  set_slice(slice("web-a", {{"10.244.1.2", "node2", true, true, false}}));
  BOOST_TEST(targets() == "");
  set_pod(pod("web-0", "10.244.0.2"));
  BOOST_TEST(targets() == "10.244.0.2*");
}

BOOST_FIXTURE_TEST_CASE(a_service_without_a_selector_has_its_slices_alone, Table) {
  set_service(service(false));
  set_slice(slice("web-a", {{"192.0.2.7", "", true, {}, {}}, {"10.244.0.9", "node1", true, {}, {}}}));
  BOOST_TEST(targets() == "10.244.0.9* 192.0.2.7");
}

BOOST_FIXTURE_TEST_CASE(slices_of_other_services_and_names_are_nothing_to_balance, Table) {
  set_service(service());
  auto stray = slice("stray", {{"10.244.1.2", "node2", true, {}, {}}});
  stray.metadata.labels.clear();
  set_slice(stray);
  auto names = slice("names", {{"db.example", "node2", true, {}, {}}});
  names.address_type = "FQDN";
  set_slice(names);
  auto broken = slice("broken", {{"not an address", "node2", true, {}, {}}});
  set_slice(broken);
  BOOST_TEST(targets() == "");
}

BOOST_FIXTURE_TEST_CASE(only_what_no_slice_names_any_more_has_departed, Table) {
  set_service(service());
  set_slice(slice("web-a", {{"10.244.1.2", "node2", true, {}, {}}, {"10.244.1.3", "node2", true, {}, {}}}));
  BOOST_TEST(take_departed().empty());
  // One becomes unready and the other moves to another slice: neither has gone.
  set_slice(slice("web-a", {{"10.244.1.2", "node2", false, {}, {}}}));
  set_slice(slice("web-b", {{"10.244.1.3", "node2", true, {}, {}}}));
  BOOST_TEST(take_departed().empty());
  remove_slice({"default", "web-a"});
  const auto gone = take_departed();
  BOOST_REQUIRE(gone.size() == 1u);
  BOOST_TEST((gone[0].address == ip("10.244.1.2")));
  BOOST_TEST(gone[0].port == 8080);
  BOOST_TEST(take_departed().empty());
}

BOOST_FIXTURE_TEST_CASE(a_slice_can_be_given_to_another_service, Table) {
  set_service(service());
  auto given = slice("web-a", {{"10.244.1.2", "node2", true, {}, {}}});
  set_slice(given);
  given.metadata.labels["kubernetes.io/service-name"] = "other";
  set_slice(given);
  BOOST_TEST(targets() == "");
  BOOST_TEST(take_departed().size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
