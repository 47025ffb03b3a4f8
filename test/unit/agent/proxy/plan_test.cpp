// The planner's limits, its order and what it shares.

#include "agent/proxy/plan.h"

#include <boost/test/unit_test.hpp>

#include "agent/proxy/maglev.h"

BOOST_AUTO_TEST_SUITE(plan_tests)

using namespace keelson;
using namespace keelson::proxy;
using namespace std::chrono_literals;

namespace {

const host::TimePoint kNow{1h};

host::IpAddress ip(uint32_t last) { return host::IpAddress::v4(0x0af40000 + last); }

EntryKey key_of(const std::string& name, Traffic traffic = Traffic::internal) {
  return {{{"default", name}, 80, Protocol::tcp, false}, traffic};
}

Entry entry_of(uint32_t vip, std::vector<uint32_t> targets) {
  Entry entry;
  entry.vips.push_back({host::IpAddress::v4(0x0a600000 + vip), 80, Protocol::tcp, false});
  for (const auto target : targets) entry.targets.push_back({.address = ip(target), .port = 8080});
  return entry;
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_changed_endpoint_writes_one_backend_and_one_block) {
  Planner planner({.vips = 16, .services = 16, .backends = 64, .slots = 256});
  planner.plan({{key_of("a"), entry_of(1, {1, 2})}, {key_of("b"), entry_of(2, {3})}}, kNow);
  const auto plan = planner.plan({{key_of("a"), entry_of(1, {1, 2, 4})}}, kNow);
  BOOST_CHECK_EQUAL(plan.backends.size(), 1);
  BOOST_CHECK_EQUAL(plan.slots.size(), 1);
  BOOST_CHECK_EQUAL(plan.slots[0].backends.size(), 3);
  BOOST_CHECK_EQUAL(plan.services.size(), 1);
  BOOST_CHECK(plan.vip_adds.empty() && plan.vip_deletes.empty() && plan.states.empty());
}

BOOST_AUTO_TEST_CASE(the_same_entry_again_plans_nothing) {
  Planner planner({.vips = 16, .services = 16, .backends = 64, .slots = 256});
  planner.plan({{key_of("a"), entry_of(1, {1, 2})}}, kNow);
  BOOST_CHECK(planner.plan({{key_of("a"), entry_of(1, {1, 2})}}, kNow).empty());
}

BOOST_AUTO_TEST_CASE(a_full_map_degrades_one_service_and_it_comes_when_there_is_room) {
  Planner planner({.vips = 16, .services = 16, .backends = 3, .slots = 256});
  planner.plan({{key_of("a"), entry_of(1, {1, 2})}}, kNow);
  const auto refused = planner.plan({{key_of("b"), entry_of(2, {3, 4})}}, kNow);
  BOOST_CHECK(refused.empty());
  BOOST_REQUIRE_EQUAL(planner.degraded().size(), 1);
  BOOST_CHECK_EQUAL(planner.degraded().at(key_of("b")), "the map of backends is full");

  planner.plan({{key_of("a"), std::nullopt}}, kNow);
  BOOST_CHECK(planner.plan({}, kNow).empty());  // in quarantine still
  planner.release(kNow + 5s);
  BOOST_CHECK_EQUAL(planner.plan({}, kNow + 5s).backends.size(), 2);
  BOOST_CHECK(planner.degraded().empty());
}

BOOST_AUTO_TEST_CASE(two_claims_on_one_address_leave_it_with_the_first_until_that_goes) {
  Planner planner({.vips = 16, .services = 16, .backends = 64, .slots = 256});
  planner.plan({{key_of("b"), entry_of(1, {1})}}, kNow);
  const auto second = planner.plan({{key_of("a"), entry_of(1, {2})}}, kNow);
  BOOST_CHECK(second.vip_adds.empty());
  BOOST_CHECK(planner.degraded().contains(key_of("a")));
  const auto gone = planner.plan({{key_of("b"), std::nullopt}}, kNow);
  BOOST_REQUIRE_EQUAL(gone.vip_adds.size(), 1);
  BOOST_CHECK_EQUAL(gone.vip_adds[0].second, planner.programmed().at(key_of("a")).id);
  BOOST_CHECK(gone.vip_deletes.empty());
  BOOST_CHECK(planner.degraded().empty());
}

BOOST_AUTO_TEST_CASE(both_entries_of_a_port_share_its_backends_and_the_last_one_retires_them) {
  Planner planner({.vips = 16, .services = 16, .backends = 64, .slots = 256});
  const auto plan =
      planner.plan({{key_of("a"), entry_of(1, {1})}, {key_of("a", Traffic::external), entry_of(2, {1})}}, kNow);
  BOOST_CHECK_EQUAL(plan.backends.size(), 1);
  BOOST_CHECK(planner.plan({{key_of("a"), std::nullopt}}, kNow).retired.empty());
  BOOST_CHECK_EQUAL(planner.plan({{key_of("a", Traffic::external), std::nullopt}}, kNow).retired.size(), 1);
}

BOOST_AUTO_TEST_CASE(consistent_slots_give_almost_equal_shares_and_move_little) {
  std::vector<Target> targets;
  for (uint32_t i = 1; i <= 10; ++i) targets.push_back({.address = ip(i), .port = 8080});
  const auto before = maglev_table(targets);
  std::map<uint32_t, size_t> shares;
  for (const auto slot : before) ++shares[slot];
  BOOST_REQUIRE_EQUAL(shares.size(), 10);
  for (const auto& [target, share] : shares) {
    BOOST_CHECK_GE(share, before.size() / 10 - 1);
    BOOST_CHECK_LE(share, before.size() / 10 + 2);
  }
  // The table's size depends on the number of targets, so moves are compared at one size:
  // replacing one of ten must leave most of the others' slots alone.
  targets[3].address = ip(99);
  const auto after = maglev_table(targets);
  BOOST_REQUIRE_EQUAL(before.size(), after.size());
  size_t moved = 0;
  for (size_t i = 0; i < before.size(); ++i) moved += before[i] != after[i] && before[i] != 3 && after[i] != 3;
  BOOST_CHECK_LT(moved, before.size() / 5);
}

BOOST_AUTO_TEST_CASE(slot_space_finds_its_pieces_together_again) {
  SlotSpace space(100);
  const auto a = space.take(30), b = space.take(30), c = space.take(40);
  BOOST_REQUIRE(a && b && c);
  BOOST_CHECK(!space.take(1));
  space.give_back(*a, 30);
  space.give_back(*c, 40);
  BOOST_CHECK(!space.take(41));
  space.give_back(*b, 30);
  BOOST_CHECK_EQUAL(space.take(100).value(), 0);
  BOOST_CHECK_EQUAL(space.free(), 0);
}

BOOST_AUTO_TEST_SUITE_END()
