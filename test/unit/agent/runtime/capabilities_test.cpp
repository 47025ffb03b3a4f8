#include "agent/runtime/capabilities.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(capabilities)

namespace {
constexpr keelson::runtime::CapabilitySet kEverything = 0x1ffffffffff;
uint64_t set(const std::vector<std::string>& add, const std::vector<std::string>& drop, bool privileged = false,
             uint64_t available = kEverything) {
  auto result = keelson::runtime::container_capabilities(add, drop, privileged, available);
  return result ? *result : 0xbad;
}
}  // namespace

BOOST_AUTO_TEST_CASE(the_default_set_is_containerds) { BOOST_TEST(set({}, {}) == 0xa80425fbu); }

BOOST_AUTO_TEST_CASE(names_are_added_and_dropped_as_in_manifests) {
  BOOST_TEST(set({"NET_ADMIN"}, {}) == (0xa80425fbu | 1u << 12));
  BOOST_TEST(set({"CAP_NET_ADMIN"}, {"net_raw"}) == ((0xa80425fbu | 1u << 12) & ~(1u << 13)));
  BOOST_TEST(set({"NET_BIND_SERVICE"}, {"ALL"}) == 1u << 10);
  BOOST_TEST(set({"ALL"}, {"SYS_ADMIN"}) == (kEverything & ~(1ull << 21)));
  BOOST_TEST(set({"CHOWN"}, {"CHOWN", "ALL"}) == 0u);
}

BOOST_AUTO_TEST_CASE(nothing_beyond_what_we_have_is_given) {
  BOOST_TEST(set({"ALL"}, {}, false, 0xff) == 0xffu);
  BOOST_TEST(set({}, {"ALL"}, true, 0xff) == 0xffu);  // privileged
}

BOOST_AUTO_TEST_CASE(an_unknown_name_is_an_error) {
  BOOST_TEST(!keelson::runtime::container_capabilities({"FLY"}, {}, false, kEverything));
  BOOST_TEST(!keelson::runtime::container_capabilities({}, {"64"}, false, kEverything));
}

BOOST_AUTO_TEST_SUITE_END()
