// Who leads, by what is seen of the Lease.

#include "master/election/elector.h"

#include <boost/test/unit_test.hpp>
#include <chrono>

BOOST_AUTO_TEST_SUITE(elector_tests)

using namespace keelson;
using namespace keelson::election;
using namespace std::chrono_literals;

namespace {

const host::TimePoint kStart = host::TimePoint{} + 1000s;

Elector elector(const std::string& identity) {
  return Elector({.namespace_ = "kube-system", .name = "it", .identity = identity});
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_first_makes_the_lease_and_the_second_waits_until_it_stands_still) {
  Elector a = elector("a"), b = elector("b");
  a.saw(std::nullopt, kStart);
  auto bid = a.bid(kStart, 1'000'000);
  BOOST_REQUIRE(bid && bid->create);
  BOOST_TEST(bid->lease.spec.holder_identity == "a");
  BOOST_TEST(*bid->lease.spec.lease_duration_seconds == 15);
  BOOST_TEST(*bid->lease.spec.lease_transitions == 0);
  BOOST_TEST(!a.leads());
  a.won(bid->lease, kStart);
  BOOST_TEST(a.leads());
  BOOST_CHECK(a.deadline() == kStart + 10s);

  // b's clock says that the Lease is hours old, or from the future: only standing still counts.
  b.saw(bid->lease, kStart);
  BOOST_TEST(!b.bid(kStart, 999'000'000'000).has_value());
  BOOST_TEST(!b.bid(kStart + 14s, 0).has_value());
  auto renewal = a.bid(kStart + 14s, 15'000'000);
  BOOST_REQUIRE(renewal && !renewal->create);
  BOOST_TEST(*renewal->lease.spec.lease_transitions == 0);
  BOOST_TEST(renewal->lease.spec.acquire_time->microseconds == 1'000'000);
  b.saw(renewal->lease, kStart + 14s);
  BOOST_TEST(!b.bid(kStart + 28s, 0).has_value());
  b.saw(renewal->lease, kStart + 28s);
  auto takeover = b.bid(kStart + 29s, 30'000'000);
  BOOST_REQUIRE(takeover && !takeover->create);
  BOOST_TEST(takeover->lease.spec.holder_identity == "b");
  BOOST_TEST(*takeover->lease.spec.lease_transitions == 1);
  BOOST_TEST(takeover->lease.spec.acquire_time->microseconds == 30'000'000);
}

BOOST_AUTO_TEST_CASE(a_leader_stops_before_anybody_else_may_begin) {
  Elector a = elector("a"), b = elector("b");
  a.saw(std::nullopt, kStart);
  const auto bid = a.bid(kStart, 1);
  // The answer took long: the time counts from when it was asked.
  a.won(bid->lease, kStart);
  b.saw(bid->lease, kStart + 1s);
  host::TimePoint first_bid = kStart;
  while (!b.bid(first_bid, 1)) first_bid += 1s;
  BOOST_CHECK(a.deadline() < first_bid);
}

BOOST_AUTO_TEST_CASE(what_was_given_back_is_taken_at_once) {
  Elector a = elector("a"), b = elector("b");
  a.saw(std::nullopt, kStart);
  a.won(a.bid(kStart, 1)->lease, kStart);
  const api::Lease released = a.released(5);
  BOOST_TEST(released.spec.holder_identity.empty());
  b.saw(released, kStart + 1s);
  BOOST_TEST(b.bid(kStart + 1s, 6).has_value());
}

BOOST_AUTO_TEST_CASE(a_process_that_starts_again_is_another_one) {
  Elector a = elector("a"), again = elector("a-again");
  a.saw(std::nullopt, kStart);
  a.won(a.bid(kStart, 1)->lease, kStart);
  again.saw(a.bid(kStart, 1)->lease, kStart);
  BOOST_TEST(!again.bid(kStart + 5s, 1));
  a.lost();
  BOOST_TEST(!a.leads());
}

BOOST_AUTO_TEST_SUITE_END()
