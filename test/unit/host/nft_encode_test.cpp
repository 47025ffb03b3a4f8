// The transaction as bytes: shapes that the kernel insists on. What the kernel makes
// of it is tested with a kernel, in test/integration/network_test.cpp.
#include "host/nft.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

BOOST_AUTO_TEST_SUITE(nft_encode)

namespace nft = keelson::host::nft;
using keelson::host::Cidr;
using keelson::host::IpAddress;

namespace {

std::vector<nlmsghdr> messages(const std::string& bytes) {
  std::vector<nlmsghdr> headers;
  for (size_t offset = 0; offset + sizeof(nlmsghdr) <= bytes.size();) {
    nlmsghdr header;
    std::memcpy(&header, bytes.data() + offset, sizeof header);
    BOOST_TEST_REQUIRE(header.nlmsg_len >= sizeof header);
    BOOST_TEST_REQUIRE(offset + header.nlmsg_len <= bytes.size());
    headers.push_back(header);
    offset += NLMSG_ALIGN(header.nlmsg_len);
  }
  return headers;
}

int kind(const nlmsghdr& header) { return header.nlmsg_type & 0xff; }

nft::Table with_map(size_t elements) {
  nft::Table table{.family = nft::Family::ip, .name = "t"};
  table.sets.push_back({.name = "backend4", .key = {nft::Type::mark}, .data = {nft::Type::ipv4, nft::Type::port}});
  for (uint32_t i = 0; i < elements; ++i)
    table.sets[0].elements.push_back({nft::Data().mark(i), nft::Data().address(IpAddress::v4(i)).port(80)});
  return table;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_table_is_made_deleted_and_made_again_within_one_batch) {
  const auto bytes = nft::encode(std::vector{with_map(1)}).value();
  const auto all = messages(bytes);
  BOOST_TEST_REQUIRE(all.size() == 7u);
  BOOST_TEST(all.front().nlmsg_type == NFNL_MSG_BATCH_BEGIN);
  BOOST_TEST(kind(all[1]) == NFT_MSG_NEWTABLE);
  BOOST_TEST(kind(all[2]) == NFT_MSG_DELTABLE);
  BOOST_TEST(kind(all[3]) == NFT_MSG_NEWTABLE);
  BOOST_TEST(kind(all[4]) == NFT_MSG_NEWSET);
  BOOST_TEST(kind(all[5]) == NFT_MSG_NEWSETELEM);
  BOOST_TEST((all[5].nlmsg_flags & NLM_F_ACK) != 0);  // the last one is acknowledged
  BOOST_TEST(all.back().nlmsg_type == NFNL_MSG_BATCH_END);
}

BOOST_AUTO_TEST_CASE(ten_thousand_elements_fit_into_attributes_of_sixteen_bits) {
  const auto all = messages(nft::encode(std::vector{with_map(10000)}).value());
  size_t parts = 0;
  for (const auto& one : all) {
    if (kind(one) == NFT_MSG_NEWSETELEM && one.nlmsg_type != NFNL_MSG_BATCH_END) ++parts;
    BOOST_TEST(one.nlmsg_len < 65536u);
  }
  BOOST_TEST(parts > 1u);
  BOOST_TEST(parts < 20u);
}

BOOST_AUTO_TEST_CASE(a_field_by_itself_has_its_own_size_and_is_padded_in_company) {
  BOOST_TEST(nft::Data().port(0x1234).bytes() == std::string("\x12\x34", 2));
  BOOST_TEST(nft::Data().port(0x1234).mark(0).bytes() == std::string("\x12\x34\0\0\0\0\0\0", 8));
  BOOST_TEST(nft::Data().address(IpAddress::v4(0x01020304)).port(0x1234).bytes() ==
             std::string("\x01\x02\x03\x04\x12\x34\0\0", 8));
  BOOST_TEST(nft::Data().interface("eth0").bytes().size() == 16u);
}

BOOST_AUTO_TEST_CASE(an_element_of_the_wrong_size_is_refused) {
  auto table = with_map(0);
  table.sets[0].elements.push_back({nft::Data().mark(1), nft::Data().address(IpAddress::v4(1))});
  const auto refused = nft::encode(std::vector{table});
  BOOST_TEST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message.find("backend4") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_rule_that_names_no_known_map_is_refused) {
  auto table = with_map(0);
  table.chains.push_back({.name = "c", .rules = {{.action = nft::DnatByMap{{}, "nowhere"}}}});
  const auto refused = nft::encode(std::vector{table});
  BOOST_TEST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message.find("nowhere") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_ipv6_address_in_an_ipv4_table_is_refused) {
  auto table = with_map(0);
  table.chains.push_back({.name = "c", .rules = {{.match = {nft::from(Cidr::parse("fd00::/64").value())}}}});
  BOOST_TEST(!nft::encode(std::vector{table}).has_value());
  table.family = nft::Family::ip6;
  table.sets.clear();
  BOOST_TEST(nft::encode(std::vector{table}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
