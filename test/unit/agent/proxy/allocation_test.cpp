// Which ClusterIPs and NodePorts Services get.

#include "agent/proxy/allocation.h"

#include <boost/test/unit_test.hpp>
#include <set>

BOOST_AUTO_TEST_SUITE(allocation_tests)

using namespace keelson;
using namespace keelson::proxy;

namespace {

AllocationRanges ranges(const std::string& cidrs = "10.96.0.0/24,fd00:96::/112") {
  return {.service_cidrs = host::parse_cidrs(cidrs).value(), .first_node_port = 30000, .last_node_port = 30099};
}

api::Service service(const std::string& name, const std::string& type = "ClusterIP") {
  api::Service made;
  made.metadata.namespace_ = "default";
  made.metadata.name = name;
  made.spec.type = type;
  api::ServicePort port;
  port.port = 80;
  port.protocol = "TCP";
  made.spec.ports.push_back(port);
  return made;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_service_gets_an_address_of_its_own_until_none_is_left) {
  Allocations allocations(ranges("10.96.0.0/24"));
  std::vector<api::Service> services;
  for (int i = 0; i < 260; ++i) services.push_back(service("s" + std::to_string(i)));
  const auto outcome = allocations.assign(services, true);
  std::set<std::string> addresses;
  for (const auto& got : outcome.services) addresses.insert(got.spec.cluster_ip);
  BOOST_CHECK_EQUAL(addresses.size(), 254);
  BOOST_CHECK_EQUAL(outcome.services.size(), 254);
  BOOST_REQUIRE_EQUAL(outcome.problems.size(), 6);
  BOOST_CHECK_EQUAL(outcome.problems[0].field, "spec.clusterIP");
  BOOST_CHECK(!addresses.contains("10.96.0.0") && !addresses.contains("10.96.0.255"));
}

BOOST_AUTO_TEST_CASE(values_are_kept_over_calls_and_restarts) {
  Allocations allocations(ranges());
  auto dual = service("dual", "NodePort");
  dual.spec.ip_family_policy = "RequireDualStack";
  const auto first = allocations.assign({service("other"), dual}, true);
  BOOST_REQUIRE_EQUAL(first.services.size(), 2);
  BOOST_CHECK(first.changed);
  BOOST_CHECK(!allocations.assign({service("other"), dual}, true).changed);

  Allocations again(ranges());
  BOOST_REQUIRE(again.load(allocations.text()));
  const auto second = again.assign({service("newcomer"), dual, service("other")}, true);
  BOOST_REQUIRE_EQUAL(second.services.size(), 3);
  BOOST_CHECK(second.services[1].spec.cluster_ips == first.services[1].spec.cluster_ips);
  BOOST_CHECK_EQUAL(second.services[1].spec.cluster_ips.size(), 2);
  BOOST_CHECK_EQUAL(second.services[1].spec.ports[0].node_port.value(),
                    first.services[1].spec.ports[0].node_port.value());
  BOOST_CHECK_EQUAL(second.services[2].spec.cluster_ip, first.services[0].spec.cluster_ip);
}

BOOST_AUTO_TEST_CASE(what_users_give_is_theirs_before_anything_is_chosen) {
  Allocations probe(ranges());
  const auto favourite = probe.assign({service("a")}, true).services[0].spec.cluster_ip;
  auto given = service("b");
  given.spec.cluster_ip = favourite;
  Allocations allocations(ranges());
  const auto outcome = allocations.assign({service("a"), given}, true);
  BOOST_REQUIRE_EQUAL(outcome.services.size(), 2);
  BOOST_CHECK_EQUAL(outcome.services[1].spec.cluster_ip, favourite);
  BOOST_CHECK_NE(outcome.services[0].spec.cluster_ip, favourite);
}

BOOST_AUTO_TEST_CASE(a_value_that_another_service_has_is_refused_by_name) {
  Allocations allocations(ranges());
  const auto held = allocations.assign({service("a", "NodePort")}, true).services[0].spec;
  auto same_address = service("b");
  same_address.spec.cluster_ip = held.cluster_ip;
  auto same_port = service("c", "NodePort");
  same_port.spec.ports[0].node_port = held.ports[0].node_port;
  auto outside = service("d");
  outside.spec.cluster_ip = "192.0.2.1";
  auto low = service("e", "NodePort");
  low.spec.ports[0].node_port = 80;
  const auto outcome = allocations.assign({service("a", "NodePort"), same_address, same_port, outside, low}, true);
  BOOST_CHECK_EQUAL(outcome.services.size(), 1);
  BOOST_REQUIRE_EQUAL(outcome.problems.size(), 4);
  BOOST_CHECK_EQUAL(outcome.problems[0].message, held.cluster_ip + " belongs to service default/a");
  BOOST_CHECK_EQUAL(outcome.problems[1].field, "spec.ports[0].nodePort");
  BOOST_CHECK_EQUAL(outcome.problems[2].object, "Service default/d");
  BOOST_CHECK_EQUAL(outcome.problems[3].field, "spec.ports[0].nodePort");
}

BOOST_AUTO_TEST_CASE(nothing_is_let_go_before_all_has_been_heard) {
  Allocations allocations(ranges());
  const auto first = allocations.assign({service("a"), service("b")}, true);
  BOOST_CHECK(!allocations.assign({service("b")}, false).changed);
  BOOST_CHECK_EQUAL(allocations.assign({service("a"), service("b")}, false).services[0].spec.cluster_ip,
                    first.services[0].spec.cluster_ip);
  BOOST_CHECK(allocations.assign({service("b")}, true).changed);
}

BOOST_AUTO_TEST_CASE(headless_and_external_name_services_are_left_alone) {
  Allocations allocations(ranges());
  auto headless = service("headless");
  headless.spec.cluster_ip = "None";
  const auto external = service("external", "ExternalName");
  const auto outcome = allocations.assign({headless, external}, true);
  BOOST_REQUIRE_EQUAL(outcome.services.size(), 2);
  BOOST_CHECK(outcome.services[0] == headless);
  BOOST_CHECK(outcome.services[1] == external);
}

BOOST_AUTO_TEST_CASE(families_follow_the_policy) {
  Allocations allocations(ranges());
  auto v6 = service("v6");
  v6.spec.ip_families = {"IPv6"};
  auto prefer = service("prefer");
  prefer.spec.ip_family_policy = "PreferDualStack";
  const auto outcome = allocations.assign({v6, prefer}, true);
  BOOST_REQUIRE_EQUAL(outcome.services.size(), 2);
  BOOST_CHECK(outcome.services[0].spec.cluster_ip.starts_with("fd00:96::"));
  BOOST_CHECK((outcome.services[1].spec.ip_families == std::vector<std::string>{"IPv4", "IPv6"}));

  Allocations single(ranges("10.96.0.0/24"));
  auto require = service("require");
  require.spec.ip_family_policy = "RequireDualStack";
  const auto refused = single.assign({prefer, require}, true);
  BOOST_CHECK_EQUAL(refused.services.size(), 1);
  BOOST_CHECK_EQUAL(refused.problems.at(0).field, "spec.ipFamilyPolicy");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_allocation_is_refused_whole) {
  Allocations allocations(ranges());
  const auto before = allocations.text();
  BOOST_CHECK(!allocations.load("address default a 10.96.0.1\nnonsense\n"));
  BOOST_CHECK(!allocations.load("address default a 10.96.0.1\naddress default b 10.96.0.1\n"));
  BOOST_CHECK_EQUAL(allocations.text(), before);
}

BOOST_AUTO_TEST_SUITE_END()
