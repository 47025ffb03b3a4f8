#include "agent/network/address_pool.h"

#include <boost/test/unit_test.hpp>
#include <random>
#include <set>

BOOST_AUTO_TEST_SUITE(address_pool)

using keelson::api::Cidr;
using keelson::api::IpAddress;
using keelson::network::AddressPool;

namespace {
AddressPool pool(const char* cidr) { return AddressPool::create(Cidr::parse(cidr).value()).value(); }
IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
std::string next(AddressPool& pool) { return pool.allocate().value().to_string(); }
}  // namespace

BOOST_AUTO_TEST_CASE(network_gateway_and_broadcast_addresses_are_never_given_out) {
  auto small = pool("10.0.0.0/29");
  std::set<std::string> given;
  while (const auto address = small.allocate()) given.insert(address->to_string());
  BOOST_TEST(given == (std::set<std::string>{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}),
             boost::test_tools::per_element());
  BOOST_TEST(next(*std::make_unique<AddressPool>(pool("fd00::/64"))) == "fd00::2");
}

BOOST_AUTO_TEST_CASE(a_network_of_one_or_two_addresses_is_used_whole) {
  auto one = pool("10.0.0.7/32");
  BOOST_TEST(next(one) == "10.0.0.7");
  BOOST_TEST(!one.allocate().has_value());
  auto two = pool("10.0.0.6/31");
  BOOST_TEST(two.capacity() == 2u);
}

BOOST_AUTO_TEST_CASE(what_was_freed_longest_ago_is_used_first_and_only_when_no_fresh_one_is_left) {
  auto small = pool("10.0.0.0/29");
  for (int i = 0; i < 4; ++i) small.allocate().value();
  small.release(ip("10.0.0.4"));
  small.release(ip("10.0.0.2"));
  BOOST_TEST(next(small) == "10.0.0.6");
  BOOST_TEST(next(small) == "10.0.0.4");
  BOOST_TEST(next(small) == "10.0.0.2");
  BOOST_TEST(!small.allocate().has_value());
}

BOOST_AUTO_TEST_CASE(exhaustion_says_which_network_and_what_to_do) {
  auto small = pool("10.0.0.0/30");
  small.allocate().value();
  const auto none = small.allocate();
  BOOST_TEST_REQUIRE(!none.has_value());
  BOOST_TEST((none.error().code == keelson::host::Error::Code::unavailable));
  BOOST_TEST(none.error().message.find("10.0.0.0/30 (1 in use)") != std::string::npos, none.error().message);
  BOOST_TEST(none.error().message.find("--pod-cidr") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_is_reserved_after_a_restart_is_not_given_out_again) {
  auto small = pool("10.0.0.0/29");
  BOOST_TEST(small.reserve(ip("10.0.0.3")));
  BOOST_TEST(!small.reserve(ip("10.0.0.3")));
  BOOST_TEST(!small.reserve(ip("10.0.0.7")));  // the broadcast address
  BOOST_TEST(!small.reserve(ip("10.0.1.2")));
  small.continue_after(ip("10.0.0.3"));
  BOOST_TEST(next(small) == "10.0.0.4");
  small.release(ip("10.0.0.3"));
  BOOST_TEST(small.reserve(ip("10.0.0.3")));  // freed and taken again
  std::set<std::string> rest;
  while (const auto address = small.allocate()) rest.insert(address->to_string());
  BOOST_TEST(rest == (std::set<std::string>{"10.0.0.2", "10.0.0.5", "10.0.0.6"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(releasing_what_is_not_allocated_changes_nothing) {
  auto small = pool("10.0.0.0/29");
  small.release(ip("10.0.0.3"));
  small.release(ip("10.9.9.9"));
  const auto first = small.allocate().value();
  small.release(first);
  small.release(first);
  BOOST_TEST(small.used() == 0u);
  std::set<std::string> given;
  while (const auto address = small.allocate()) BOOST_TEST(given.insert(address->to_string()).second);
  BOOST_TEST(given.size() == 5u);
}

BOOST_AUTO_TEST_CASE(networks_that_nobody_can_give_out_are_refused) {
  for (const auto* cidr :
       {"127.0.0.0/8", "224.0.0.0/8", "169.254.0.0/16", "0.0.0.0/0", "::/0", "fe80::/64", "ff00::/16"})
    BOOST_TEST(!AddressPool::create(Cidr::parse(cidr).value()).has_value(), cidr);
}

// Against a model: a set of what is held and a list in the order of freeing.
BOOST_AUTO_TEST_CASE(random_churn_never_gives_an_address_twice) {
  std::mt19937 random(20240611);
  auto tested = pool("10.0.0.0/26");
  std::set<std::string> held;
  std::vector<std::string> freed;
  bool all_were_used = false;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      const auto address = tested.allocate();
      BOOST_TEST_REQUIRE(address.has_value() == (held.size() < tested.capacity()));
      if (!address) continue;
      const auto text = address->to_string();
      BOOST_TEST_REQUIRE(held.insert(text).second);
      const auto again = std::ranges::find(freed, text);
      all_were_used = all_were_used || again != freed.end();
      if (all_were_used) BOOST_TEST_REQUIRE((again == freed.begin()));
      if (again != freed.end()) freed.erase(again);
    } else if (!held.empty()) {
      const auto victim = std::next(held.begin(), static_cast<long>(random() % held.size()));
      tested.release(ip(victim->c_str()));
      freed.push_back(*victim);
      held.erase(victim);
    }
    BOOST_TEST_REQUIRE(tested.used() == held.size());
  }
  BOOST_TEST(all_were_used);
}

BOOST_AUTO_TEST_SUITE_END()
