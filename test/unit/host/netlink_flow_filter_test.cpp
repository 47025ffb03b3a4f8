#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/in.h>

#include <boost/test/unit_test.hpp>

#include "host/conntrack.h"

BOOST_AUTO_TEST_SUITE(netlink_flow_filter)

using namespace keelson::host;

namespace {
IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
const Flow kFlow{.protocol = IPPROTO_UDP,
                 .original = {ip("10.0.0.9"), ip("10.96.0.10"), 40000, 53},
                 .reply = {ip("10.244.0.5"), ip("10.0.0.9"), 5353, 40000},
                 .mark = 0x105,
                 .status = IPS_DST_NAT};
}  // namespace

BOOST_AUTO_TEST_CASE(a_flow_is_known_by_its_backend_service_client_and_mark) {
  BOOST_TEST(FlowFilter{}.matches(kFlow));
  BOOST_TEST((FlowFilter{.protocol = IPPROTO_UDP, .backend = ip("10.244.0.5"), .backend_port = 5353}.matches(kFlow)));
  BOOST_TEST((FlowFilter{.service = ip("10.96.0.10"), .service_port = 53, .client = ip("10.0.0.9")}.matches(kFlow)));
  BOOST_TEST((FlowFilter{.mark = 0x05, .mark_mask = 0xff}.matches(kFlow)));
  BOOST_TEST((FlowFilter{.zone = 0, .only_translated = true}.matches(kFlow)));
}

BOOST_AUTO_TEST_CASE(each_condition_must_hold) {
  BOOST_TEST((!FlowFilter{.protocol = IPPROTO_TCP}.matches(kFlow)));
  BOOST_TEST((!FlowFilter{.backend = ip("10.244.0.5"), .backend_port = 53}.matches(kFlow)));
  BOOST_TEST((!FlowFilter{.backend = ip("10.96.0.10")}.matches(kFlow)));
  BOOST_TEST((!FlowFilter{.service_port = 5353}.matches(kFlow)));
  BOOST_TEST((!FlowFilter{.zone = 7}.matches(kFlow)));
  BOOST_TEST((!FlowFilter{.mark = 0x06, .mark_mask = 0xff}.matches(kFlow)));
  auto direct = kFlow;
  direct.status = 0;
  BOOST_TEST((!FlowFilter{.only_translated = true}.matches(direct)));
}

BOOST_AUTO_TEST_SUITE_END()
