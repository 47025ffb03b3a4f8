#include "host/nft.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace keelson::host::nft {
namespace {

constexpr size_t kMessageRoom = 1 << 17;    // room for one message; none is longer than its longest attribute, 64 KiB
constexpr size_t kElementsPerAttr = 60000;  // bytes: a netlink attribute's length is 16 bits wide
constexpr size_t kAnswerRoom = 32 << 10;    // what the kernel puts into one answer at most
constexpr int kDumpAttempts = 8;            // a dump that a change cut short is repeated

template <typename T, void (*release)(const T*)>
struct Releaser {
  void operator()(T* object) const { release(object); }
};
using TablePtr = std::unique_ptr<nftnl_table, Releaser<nftnl_table, nftnl_table_free>>;
using ChainPtr = std::unique_ptr<nftnl_chain, Releaser<nftnl_chain, nftnl_chain_free>>;
using RulePtr = std::unique_ptr<nftnl_rule, Releaser<nftnl_rule, nftnl_rule_free>>;
using SetPtr = std::unique_ptr<nftnl_set, Releaser<nftnl_set, nftnl_set_free>>;
using UdataPtr = std::unique_ptr<nftnl_udata_buf, Releaser<nftnl_udata_buf, nftnl_udata_buf_free>>;

uint16_t nfproto(Family family) {
  switch (family) {
    case Family::ip:
      return NFPROTO_IPV4;
    case Family::ip6:
      return NFPROTO_IPV6;
    case Family::inet:
      break;
  }
  return NFPROTO_INET;
}

const char* family_name(Family family) {
  switch (family) {
    case Family::ip:
      return "ip";
    case Family::ip6:
      return "ip6";
    case Family::inet:
      break;
  }
  return "inet";
}

// nft(8)'s own numbers of its data types; the kernel only keeps them, for whoever lists.
struct TypeFacts {
  uint32_t nft_type;
  uint32_t size;
};
TypeFacts facts(Type type) {
  switch (type) {
    case Type::ipv4:
      return {7, 4};
    case Type::ipv6:
      return {8, 16};
    case Type::protocol:
      return {12, 1};
    case Type::port:
      return {13, 2};
    case Type::mark:
      return {19, 4};
    case Type::interface:
      break;
  }
  return {41, IFNAMSIZ};
}
constexpr uint32_t padded(uint32_t size) { return (size + 3) & ~3u; }

TypeFacts facts(std::span<const Type> types) {
  TypeFacts sum = facts(types[0]);
  if (types.size() == 1) return sum;
  sum.size = padded(sum.size);
  for (const auto type : types.subspan(1)) {
    const auto one = facts(type);
    sum.nft_type = sum.nft_type << 6 | one.nft_type;
    sum.size += padded(one.size);
  }
  return sum;
}

// nft(8)'s enum byteorder: 0 invalid (a concatenation with a mark in it), 1 the host's, 2 the network's.
uint32_t byte_order(std::span<const Type> types) {
  const bool host = std::ranges::any_of(types, [](Type t) { return t == Type::mark || t == Type::interface; });
  return !host ? 2 : types.size() == 1 ? 1 : 0;
}

// ---- rules as expressions -----------------------------------------------------------

struct RuleWriter {
  nftnl_rule* rule;
  const Table& table;
  std::string error;  // set by the first thing that cannot be said

  nftnl_expr* add(const char* name) {
    nftnl_expr* expr = nftnl_expr_alloc(name);
    if (expr == nullptr) std::abort();  // libnftnl knows all the names used here
    nftnl_rule_add_expr(rule, expr);
    return expr;
  }

  void load_meta(uint32_t key, uint32_t reg) {
    auto* expr = add("meta");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, reg);
  }
  void store_meta(uint32_t key, uint32_t reg) {
    auto* expr = add("meta");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, reg);
  }
  void load_ct(uint32_t key, uint32_t reg) {
    auto* expr = add("ct");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, reg);
  }
  void store_ct(uint32_t key, uint32_t reg) {
    auto* expr = add("ct");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, reg);
  }
  void load_payload(uint32_t base, uint32_t offset, uint32_t length, uint32_t reg) {
    auto* expr = add("payload");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, length);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, reg);
  }
  // reg := (reg & mask) ^ flip
  void bitwise(uint32_t reg, const void* mask, const void* flip, uint32_t length) {
    auto* expr = add("bitwise");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, reg);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, reg);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, length);
    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, mask, length);
    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, flip, length);
  }
  void bitwise(uint32_t reg, uint32_t mask, uint32_t flip) { bitwise(reg, &mask, &flip, sizeof mask); }
  void compare(uint32_t reg, uint32_t op, const void* data, uint32_t length) {
    auto* expr = add("cmp");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, reg);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, length);
  }
  void compare(bool negate, const void* data, uint32_t length) {
    compare(NFT_REG_1, negate ? NFT_CMP_NEQ : NFT_CMP_EQ, data, length);
  }
  void immediate(uint32_t reg, const void* data, uint32_t length) {
    auto* expr = add("immediate");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, reg);
    nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, data, length);
  }
  void immediate_port(uint32_t reg, uint16_t port) {
    const uint16_t wire = htons(port);
    immediate(reg, &wire, sizeof wire);
  }
  void verdict(int verdict, const std::string& chain = {}) {
    auto* expr = add("immediate");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, static_cast<uint32_t>(verdict));
    if (!chain.empty()) nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain.c_str());
  }

  void refuse(std::string why) {
    if (error.empty()) error = std::move(why);
  }

  // In an inet table what belongs to one family stands behind a match of that family.
  void only_family(int family) {
    const uint8_t wanted = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
    if (table.family == Family::inet) {
      load_meta(NFT_META_NFPROTO, NFT_REG_1);
      compare(false, &wanted, sizeof wanted);
    } else if (nfproto(table.family) != wanted) {
      refuse(fmt::format("an {} table cannot look at {} addresses", family_name(table.family),
                         family == AF_INET ? "IPv4" : "IPv6"));
    }
  }

  // Loads the field from `reg` on; returns how many 4-byte registers it fills.
  uint32_t load(const Field& field, uint32_t reg) {
    switch (field.kind) {
      case Field::mark:
      case Field::ct_mark:
        if (field.kind == Field::mark)
          load_meta(NFT_META_MARK, reg);
        else
          load_ct(NFT_CT_MARK, reg);
        if (field.mask != 0xffffffff) bitwise(reg, field.mask, 0);
        return 1;
      case Field::protocol:
        load_meta(NFT_META_L4PROTO, reg);
        return 1;
      case Field::source_ip4:
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4, reg);
        return 1;
      case Field::destination_ip4:
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4, reg);
        return 1;
      case Field::source_ip6:
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, 8, 16, reg);
        return 4;
      case Field::destination_ip6:
        load_payload(NFT_PAYLOAD_NETWORK_HEADER, 24, 16, reg);
        return 4;
      case Field::source_port:
        load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, reg);
        return 1;
      case Field::destination_port:
        load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg);
        return 1;
      case Field::input_interface:
        load_meta(NFT_META_IIFNAME, reg);
        return IFNAMSIZ / 4;
      case Field::output_interface:
        load_meta(NFT_META_OIFNAME, reg);
        return IFNAMSIZ / 4;
    }
    return 0;
  }

  const Set* find_set(const std::string& name) {
    const auto found = std::ranges::find(table.sets, name, &Set::name);
    if (found == table.sets.end()) refuse(fmt::format("the table has no set \"{}\"", name));
    return found == table.sets.end() ? nullptr : &*found;
  }

  // ---- matches

  void operator()(const MatchFamily& match) {
    const uint8_t wanted = match.family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
    load_meta(NFT_META_NFPROTO, NFT_REG_1);
    compare(false, &wanted, sizeof wanted);
  }
  void operator()(const MatchMark& match) {
    load({match.field, match.mask}, NFT_REG_1);
    compare(match.negate, &match.value, sizeof match.value);
  }
  void operator()(const MatchProtocol& match) {
    load({Field::protocol}, NFT_REG_1);
    compare(false, &match.protocol, sizeof match.protocol);
  }
  void operator()(const MatchAddress& match) {
    const auto& network = match.network;
    only_family(network.family());
    if (network.is_v4())
      load({match.destination ? Field::destination_ip4 : Field::source_ip4}, NFT_REG_1);
    else
      load({match.destination ? Field::destination_ip6 : Field::source_ip6}, NFT_REG_1);
    // The wire form by the network's family: the address of ::/0 and its like is no IPv4.
    const auto mask = network.mask().mapped();
    const auto address = network.address().mapped();
    const uint32_t skip = network.is_v4() ? 12 : 0, length = 16 - skip;
    if (network.prefix() != static_cast<int>(8 * length)) {
      const std::array<uint8_t, 16> zero{};
      bitwise(NFT_REG_1, mask.data() + skip, zero.data(), length);
    }
    compare(match.negate, address.data() + skip, length);
  }
  void operator()(const MatchPort& match) {
    load({match.destination ? Field::destination_port : Field::source_port}, NFT_REG_1);
    const uint16_t first = htons(match.first), last = htons(std::max(match.first, match.last));
    if (first == last) {
      compare(false, &first, sizeof first);
    } else {
      compare(NFT_REG_1, NFT_CMP_GTE, &first, sizeof first);
      compare(NFT_REG_1, NFT_CMP_LTE, &last, sizeof last);
    }
  }
  void operator()(const MatchInterface& match) {
    load({match.output ? Field::output_interface : Field::input_interface}, NFT_REG_1);
    char name[IFNAMSIZ] = {};
    const bool prefix = match.name.ends_with('*');
    const size_t length = match.name.size() - (prefix ? 1 : 0);
    if (length == 0 || length >= sizeof name) return refuse(fmt::format("\"{}\" is no interface's name", match.name));
    std::memcpy(name, match.name.data(), length);
    compare(match.negate, name, prefix ? length : sizeof name);
  }
  void operator()(const MatchSet& match) {
    if (find_set(match.set) == nullptr) return;
    for (const auto& field : match.fields) {
      if (field.kind == Field::source_ip4 || field.kind == Field::destination_ip4) only_family(AF_INET);
      if (field.kind == Field::source_ip6 || field.kind == Field::destination_ip6) only_family(AF_INET6);
    }
    uint32_t reg = NFT_REG32_00;
    for (const auto& field : match.fields) reg += load(field, reg);
    auto* expr = add("lookup");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, match.set.c_str());
    if (match.negate) nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  }
  void fib(uint32_t result, uint32_t flags) {
    auto* expr = add("fib");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, result);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, flags);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
  }
  void no_route(uint32_t flags) {
    fib(NFT_FIB_RESULT_OIF, flags | NFTA_FIB_F_PRESENT);
    const uint32_t missing = 0;
    compare(false, &missing, sizeof missing);
  }
  void operator()(const MatchLocal& match) {
    fib(NFT_FIB_RESULT_ADDRTYPE, match.destination ? NFTA_FIB_F_DADDR : NFTA_FIB_F_SADDR);
    const uint32_t local = RTN_LOCAL;
    compare(match.negate, &local, sizeof local);
  }
  // Not by the address's type: for IPv4 the kernel looks that up among local addresses only.
  void operator()(const MatchUnreachable&) { no_route(NFTA_FIB_F_DADDR); }
  void operator()(const MatchSpoofed&) { no_route(NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF); }
  void any_bit(uint32_t bits) {
    bitwise(NFT_REG_1, bits, 0);
    const uint32_t none = 0;
    compare(true, &none, sizeof none);
  }
  void operator()(const MatchConnectionState& match) {
    load_ct(NFT_CT_STATE, NFT_REG_1);
    any_bit(match.any_of);
  }
  void operator()(const MatchConnectionStatus& match) {
    load_ct(NFT_CT_STATUS, NFT_REG_1);
    any_bit(match.any_of);
  }

  // ---- actions

  void operator()(const Continue&) {}
  void operator()(const Accept&) { verdict(NF_ACCEPT); }
  void operator()(const Drop&) { verdict(NF_DROP); }
  void operator()(const Return&) { verdict(NFT_RETURN); }
  void operator()(const Jump& jump) { verdict(NFT_JUMP, jump.chain); }
  void operator()(const NoTrack&) { add("notrack"); }
  void store_mark(Field::Kind field) {
    if (field == Field::ct_mark)
      store_ct(NFT_CT_MARK, NFT_REG_1);
    else
      store_meta(NFT_META_MARK, NFT_REG_1);
  }
  void operator()(const SetMark& action) {
    if (action.mask == 0xffffffff) {
      immediate(NFT_REG_1, &action.value, sizeof action.value);
    } else {
      load({action.field}, NFT_REG_1);
      bitwise(NFT_REG_1, ~action.mask, action.value & action.mask);
    }
    store_mark(action.field);
  }
  void operator()(const CopyMark& action) {
    load({action.to == Field::ct_mark ? Field::mark : Field::ct_mark, action.mask}, NFT_REG_1);
    store_mark(action.to);
  }
  nftnl_expr* nat(uint32_t type, int family) {
    auto* expr = add("nat");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, type);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FAMILY, family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
    return expr;
  }
  void operator()(const Dnat& action) {
    only_family(action.address.family());
    const auto wire = action.address.wire();
    immediate(NFT_REG_1, wire.data(), wire.size());
    if (action.port != 0) immediate_port(NFT_REG_2, action.port);
    auto* expr = nat(NFT_NAT_DNAT, action.address.family());
    if (action.port != 0) nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG_2);
  }
  void operator()(const DnatByMap& action) {
    const Set* map = find_set(action.map);
    if (map == nullptr) return;
    if (map->data.empty() || (map->data[0] != Type::ipv4 && map->data[0] != Type::ipv6) || map->data.size() > 2 ||
        (map->data.size() == 2 && map->data[1] != Type::port))
      return refuse(fmt::format("map \"{}\" does not hold an address, or an address and a port", action.map));
    const bool v4 = map->data[0] == Type::ipv4;
    only_family(v4 ? AF_INET : AF_INET6);
    load(action.key, NFT_REG_1);
    auto* lookup = add("lookup");
    nftnl_expr_set_u32(lookup, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(lookup, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
    nftnl_expr_set_str(lookup, NFTNL_EXPR_LOOKUP_SET, action.map.c_str());
    auto* expr = nat(NFT_NAT_DNAT, v4 ? AF_INET : AF_INET6);
    if (map->data.size() == 2) nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, v4 ? NFT_REG32_01 : NFT_REG32_04);
  }
  // masq, unlike nat, does not conclude from the registers that there is a range.
  static uint32_t nat_flags(bool range, bool random) {
    return (range ? NF_NAT_RANGE_PROTO_SPECIFIED : 0) | (random ? NF_NAT_RANGE_PROTO_RANDOM_FULLY : 0);
  }
  void port_range(uint32_t low, uint32_t high, uint16_t first, uint16_t last) {
    immediate_port(low, first);
    immediate_port(high, std::max(first, last));
  }
  void operator()(const Snat& action) {
    only_family(action.address.family());
    const auto wire = action.address.wire();
    immediate(NFT_REG_1, wire.data(), wire.size());
    if (action.first_port != 0) port_range(NFT_REG_2, NFT_REG_3, action.first_port, action.last_port);
    auto* expr = nat(NFT_NAT_SNAT, action.address.family());
    if (action.first_port != 0) {
      nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG_2);
      nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MAX, NFT_REG_3);
    }
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FLAGS, nat_flags(action.first_port != 0, action.random));
  }
  void operator()(const Masquerade& action) {
    if (action.first_port != 0) port_range(NFT_REG_1, NFT_REG_2, action.first_port, action.last_port);
    auto* expr = add("masq");
    if (action.first_port != 0) {
      nftnl_expr_set_u32(expr, NFTNL_EXPR_MASQ_REG_PROTO_MIN, NFT_REG_1);
      nftnl_expr_set_u32(expr, NFTNL_EXPR_MASQ_REG_PROTO_MAX, NFT_REG_2);
    }
    nftnl_expr_set_u32(expr, NFTNL_EXPR_MASQ_FLAGS, nat_flags(action.first_port != 0, action.random));
  }
  void operator()(const Reject& action) {
    struct Codes {
      uint8_t ip, ip6, inet;
    };
    auto* expr = add("reject");
    if (action.kind == Reject::tcp_reset) {
      nftnl_expr_set_u32(expr, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
      nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE, 0);
      return;
    }
    const Codes codes = action.kind == Reject::port_unreachable
                            ? Codes{ICMP_PORT_UNREACH, ICMP6_DST_UNREACH_NOPORT, NFT_REJECT_ICMPX_PORT_UNREACH}
                        : action.kind == Reject::host_unreachable
                            ? Codes{ICMP_HOST_UNREACH, ICMP6_DST_UNREACH_ADDR, NFT_REJECT_ICMPX_HOST_UNREACH}
                            : Codes{ICMP_PKT_FILTERED, ICMP6_DST_UNREACH_ADMIN, NFT_REJECT_ICMPX_ADMIN_PROHIBITED};
    const bool inet = table.family == Family::inet;
    nftnl_expr_set_u32(expr, NFTNL_EXPR_REJECT_TYPE, inet ? NFT_REJECT_ICMPX_UNREACH : NFT_REJECT_ICMP_UNREACH);
    nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE,
                      inet                         ? codes.inet
                      : table.family == Family::ip ? codes.ip
                                                   : codes.ip6);
  }
};

uint32_t hook_number(Hook hook) {
  switch (hook) {
    case Hook::prerouting:
      return NF_INET_PRE_ROUTING;
    case Hook::input:
      return NF_INET_LOCAL_IN;
    case Hook::forward:
      return NF_INET_FORWARD;
    case Hook::output:
      return NF_INET_LOCAL_OUT;
    case Hook::postrouting:
      break;
  }
  return NF_INET_POST_ROUTING;
}

// ---- the transaction ------------------------------------------------------------------

// Messages between BATCH_BEGIN and BATCH_END, and what each was for. The kernel takes
// them as one transaction when they arrive in one sendmsg (nfnetlink_rcv_batch).
class Transaction {
 public:
  explicit Transaction(uint32_t first_sequence) : sequence_(first_sequence) {
    nftnl_batch_begin(scratch_.get(), sequence_++);
    take();
  }

  nlmsghdr* start(uint16_t type, Family family, uint16_t flags, std::string purpose) {
    purposes_.emplace_back(sequence_, std::move(purpose));
    return nftnl_nlmsg_build_hdr(scratch_.get(), type, nfproto(family), flags, sequence_++);
  }
  void take() {
    const auto* header = reinterpret_cast<const nlmsghdr*>(scratch_.get());
    bytes_.append(scratch_.get(), MNL_ALIGN(header->nlmsg_len));
    last_start_ = bytes_.size() - MNL_ALIGN(header->nlmsg_len);
  }
  void finish() {
    // The kernel answers while it works through the batch: an acknowledgement of the
    // last message, or the errors.
    reinterpret_cast<nlmsghdr*>(bytes_.data() + last_start_)->nlmsg_flags |= NLM_F_ACK;
    nftnl_batch_end(scratch_.get(), sequence_++);
    take();
  }

  const std::string& bytes() const { return bytes_; }
  uint32_t next_sequence() const { return sequence_; }
  std::string_view purpose(uint32_t sequence) const {
    for (const auto& [number, text] : purposes_)
      if (number == sequence) return text;
    return "transaction";
  }

 private:
  std::unique_ptr<char[]> scratch_ = std::make_unique<char[]>(kMessageRoom);
  std::string bytes_;
  size_t last_start_ = 0;
  uint32_t sequence_;
  std::vector<std::pair<uint32_t, std::string>> purposes_;
};

void put_table(Transaction& transaction, uint16_t type, Family family, const std::string& name) {
  auto* message = transaction.start(type, family, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0,
                                    fmt::format("table {} {}", family_name(family), name));
  TablePtr table(nftnl_table_alloc());
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, name.c_str());
  nftnl_table_set_u32(table.get(), NFTNL_TABLE_FAMILY, nfproto(family));
  if (type == NFT_MSG_NEWTABLE) nftnl_table_set_u32(table.get(), NFTNL_TABLE_FLAGS, 0);
  nftnl_table_nlmsg_build_payload(message, table.get());
  transaction.take();
}

void put_value(nlmsghdr* message, uint16_t attribute, const std::string& bytes) {
  auto* nest = mnl_attr_nest_start(message, attribute);
  mnl_attr_put(message, NFTA_DATA_VALUE, bytes.size(), bytes.data());
  mnl_attr_nest_end(message, nest);
}

// As many messages as it takes: the list of a message is one attribute, 64 KiB at most.
void put_elements(Transaction& transaction, uint16_t type, Family family, const std::string& table,
                  const std::string& set, std::span<const Element> elements) {
  const bool adding = type == NFT_MSG_NEWSETELEM;
  while (!elements.empty()) {
    auto* message =
        transaction.start(type, family, adding ? NLM_F_CREATE : 0,
                          fmt::format("{} table {} {}, set {}", adding ? "elements added to" : "elements taken from",
                                      family_name(family), table, set));
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, table.c_str());
    mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set.c_str());
    auto* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    const uint32_t start = message->nlmsg_len;
    size_t taken = 0;
    for (; taken < elements.size() && message->nlmsg_len - start < kElementsPerAttr; ++taken) {
      auto* item = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
      put_value(message, NFTA_SET_ELEM_KEY, elements[taken].key.bytes());
      if (adding && !elements[taken].data.bytes().empty())
        put_value(message, NFTA_SET_ELEM_DATA, elements[taken].data.bytes());
      mnl_attr_nest_end(message, item);
    }
    mnl_attr_nest_end(message, list);
    transaction.take();
    elements = elements.subspan(taken);
  }
}

Status put_set(Transaction& transaction, const Table& table, const Set& set, uint32_t id) {
  if (set.key.empty() || facts(set.key).size > NFT_REG32_COUNT * 4 - 4)
    return fail(Error::Code::invalid, fmt::format("nft set {}: its key is empty or too long", set.name));
  const auto key = facts(set.key);
  const auto data = set.data.empty() ? TypeFacts{0, 0} : facts(set.data);
  for (const auto& element : set.elements)
    if (element.key.bytes().size() != key.size || element.data.bytes().size() != data.size)
      return fail(Error::Code::invalid,
                  fmt::format("nft set {}: an element of {} and {} bytes, where {} and {} are declared", set.name,
                              element.key.bytes().size(), element.data.bytes().size(), key.size, data.size));
  auto* message =
      transaction.start(NFT_MSG_NEWSET, table.family, NLM_F_CREATE,
                        fmt::format("table {} {}, set {}", family_name(table.family), table.name, set.name));
  SetPtr built(nftnl_set_alloc());
  nftnl_set_set_str(built.get(), NFTNL_SET_TABLE, table.name.c_str());
  nftnl_set_set_str(built.get(), NFTNL_SET_NAME, set.name.c_str());
  nftnl_set_set_u32(built.get(), NFTNL_SET_ID, id);
  nftnl_set_set_u32(built.get(), NFTNL_SET_FLAGS, set.data.empty() ? 0 : NFT_SET_MAP);
  nftnl_set_set_u32(built.get(), NFTNL_SET_KEY_TYPE, key.nft_type);
  nftnl_set_set_u32(built.get(), NFTNL_SET_KEY_LEN, key.size);
  if (!set.data.empty()) {
    nftnl_set_set_u32(built.get(), NFTNL_SET_DATA_TYPE, data.nft_type);
    nftnl_set_set_u32(built.get(), NFTNL_SET_DATA_LEN, data.size);
  }
  // For nft(8), which cannot know otherwise that the bytes of a mark are the host's.
  UdataPtr udata(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  nftnl_udata_put_u32(udata.get(), NFTNL_UDATA_SET_KEYBYTEORDER, byte_order(set.key));
  if (!set.data.empty()) nftnl_udata_put_u32(udata.get(), NFTNL_UDATA_SET_DATABYTEORDER, byte_order(set.data));
  nftnl_set_set_data(built.get(), NFTNL_SET_USERDATA, nftnl_udata_buf_data(udata.get()),
                     nftnl_udata_buf_len(udata.get()));
  nftnl_set_nlmsg_build_payload(message, built.get());
  transaction.take();
  put_elements(transaction, NFT_MSG_NEWSETELEM, table.family, table.name, set.name, set.elements);
  return {};
}

void put_chain(Transaction& transaction, const Table& table, const Chain& chain) {
  auto* message =
      transaction.start(NFT_MSG_NEWCHAIN, table.family, NLM_F_CREATE,
                        fmt::format("table {} {}, chain {}", family_name(table.family), table.name, chain.name));
  ChainPtr built(nftnl_chain_alloc());
  nftnl_chain_set_str(built.get(), NFTNL_CHAIN_TABLE, table.name.c_str());
  nftnl_chain_set_str(built.get(), NFTNL_CHAIN_NAME, chain.name.c_str());
  if (chain.base) {
    nftnl_chain_set_u32(built.get(), NFTNL_CHAIN_HOOKNUM, hook_number(chain.base->hook));
    nftnl_chain_set_s32(built.get(), NFTNL_CHAIN_PRIO, chain.base->priority);
    nftnl_chain_set_u32(built.get(), NFTNL_CHAIN_POLICY, chain.base->drop ? NF_DROP : NF_ACCEPT);
    nftnl_chain_set_str(built.get(), NFTNL_CHAIN_TYPE,
                        chain.base->type == ChainType::nat     ? "nat"
                        : chain.base->type == ChainType::route ? "route"
                                                               : "filter");
  }
  nftnl_chain_nlmsg_build_payload(message, built.get());
  transaction.take();
}

Status put_rule(Transaction& transaction, const Table& table, const Chain& chain, size_t index) {
  const Rule& rule = chain.rules[index];
  const auto where = fmt::format("table {} {}, chain {}, rule {}{}{}", family_name(table.family), table.name,
                                 chain.name, index + 1, rule.comment.empty() ? "" : ": ", rule.comment);
  RulePtr built(nftnl_rule_alloc());
  nftnl_rule_set_u32(built.get(), NFTNL_RULE_FAMILY, nfproto(table.family));
  nftnl_rule_set_str(built.get(), NFTNL_RULE_TABLE, table.name.c_str());
  nftnl_rule_set_str(built.get(), NFTNL_RULE_CHAIN, chain.name.c_str());
  RuleWriter writer{built.get(), table, {}};
  for (const auto& match : rule.match) std::visit(writer, match);
  if (rule.counter) writer.add("counter");
  std::visit(writer, rule.action);
  if (!writer.error.empty()) return fail(Error::Code::invalid, fmt::format("nft {}: {}", where, writer.error));
  if (!rule.comment.empty()) {
    const auto comment = rule.comment.substr(0, NFTNL_UDATA_COMMENT_MAXLEN - 1);
    UdataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
    nftnl_udata_put_strz(data.get(), NFTNL_UDATA_RULE_COMMENT, comment.c_str());
    nftnl_rule_set_data(built.get(), NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data.get()),
                        nftnl_udata_buf_len(data.get()));
  }
  auto* message = transaction.start(NFT_MSG_NEWRULE, table.family, NLM_F_CREATE | NLM_F_APPEND, where);
  nftnl_rule_nlmsg_build_payload(message, built.get());
  transaction.take();
  return {};
}

Status put_tables(Transaction& transaction, std::span<const Table> tables) {
  uint32_t set_id = 1;
  for (const auto& table : tables) {
    // Made if absent, so that it can be deleted, then made anew.
    put_table(transaction, NFT_MSG_NEWTABLE, table.family, table.name);
    put_table(transaction, NFT_MSG_DELTABLE, table.family, table.name);
    put_table(transaction, NFT_MSG_NEWTABLE, table.family, table.name);
    for (const auto& set : table.sets)
      if (auto done = put_set(transaction, table, set, set_id++); !done) return done;
    for (const auto& chain : table.chains) put_chain(transaction, table, chain);
    for (const auto& chain : table.chains)
      for (size_t i = 0; i < chain.rules.size(); ++i)
        if (auto done = put_rule(transaction, table, chain, i); !done) return done;
  }
  return {};
}

// What nfnetlink says of an error in words, when it does (NETLINK_EXT_ACK).
std::string kernel_words(const nlmsghdr* message) {
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  size_t offset = sizeof *error;
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) offset += error->msg.nlmsg_len - sizeof error->msg;
  std::string words;
  mnl_attr_parse(
      message, MNL_ALIGN(offset),
      [](const nlattr* attribute, void* out) {
        if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG)
          *static_cast<std::string*>(out) = fmt::format(" ({})", mnl_attr_get_str(attribute));
        return MNL_CB_OK;
      },
      &words);
  return words;
}

Status send_transaction(const Fd& socket, const Transaction& transaction) {
  const auto& bytes = transaction.bytes();
  // The kernel refuses a message that is larger than the send buffer.
  const int room = static_cast<int>(bytes.size() + 4096);
  if (setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0)
    return sys_fail("nft: SO_SNDBUFFORCE (it takes CAP_NET_ADMIN)");
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent = sendto(socket.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return sys_fail("nft: send");

  // All answers are there when sendto returns. The first error is the cause.
  Status result;
  bool answered = false;
  const auto buffer = std::make_unique<char[]>(kAnswerRoom);
  while (true) {
    const ssize_t received = recv(socket.get(), buffer.get(), kAnswerRoom, MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) break;
    if (received < 0) {
      if (result) result = sys_fail("nft: receive");
      break;
    }
    int left = static_cast<int>(received);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.get()); mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_type != NLMSG_ERROR) continue;
      answered = true;
      const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
      if (error->error != 0 && result)
        result = sys_fail(fmt::format("nft: {}{}", transaction.purpose(error->msg.nlmsg_seq), kernel_words(message)),
                          -error->error);
    }
  }
  if (result && !answered) result = fail("nft: the kernel did not answer the transaction");
  return result;
}

// One dump; `each` sees every message of it.
Status dump(const Fd& socket, const nlmsghdr* request, mnl_cb_t each, void* data, std::string_view what) {
  if (send(socket.get(), request, request->nlmsg_len, 0) < 0) return sys_fail(fmt::format("nft: {}", what));
  const auto buffer = std::make_unique<char[]>(kAnswerRoom);
  Status result;
  while (true) {
    const ssize_t received = recv(socket.get(), buffer.get(), kAnswerRoom, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return sys_fail(fmt::format("nft: {}", what));
    // EINTR: a change cut the dump short (NLM_F_DUMP_INTR); the rest is read off all the same.
    const int more = mnl_cb_run(buffer.get(), received, request->nlmsg_seq, 0, each, data);
    if (more == MNL_CB_STOP) return result;
    if (more < 0 && errno != EINTR) return sys_fail(fmt::format("nft: {}", what));
    if (more < 0) {
      result = sys_fail(fmt::format("nft: {}", what), EINTR);
      // mnl_cb_run stopped in the middle: look whether this was the last part.
      int left = static_cast<int>(received);
      for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.get()); mnl_nlmsg_ok(message, left);
           message = mnl_nlmsg_next(message, &left))
        if (message->nlmsg_type == NLMSG_DONE) return result;
    }
  }
}

std::string value_of(const nlattr* nest) {
  std::string bytes;
  mnl_attr_parse_nested(
      nest,
      [](const nlattr* attribute, void* out) {
        if (mnl_attr_get_type(attribute) == NFTA_DATA_VALUE)
          static_cast<std::string*>(out)->assign(static_cast<const char*>(mnl_attr_get_payload(attribute)),
                                                 mnl_attr_get_payload_len(attribute));
        return MNL_CB_OK;
      },
      &bytes);
  return bytes;
}

int take_element(const nlattr* attribute, void* out) {
  Element element;
  mnl_attr_parse_nested(
      attribute,
      [](const nlattr* field, void* into) {
        auto* one = static_cast<Element*>(into);
        if (mnl_attr_get_type(field) == NFTA_SET_ELEM_KEY) one->key = Data::from_bytes(value_of(field));
        if (mnl_attr_get_type(field) == NFTA_SET_ELEM_DATA) one->data = Data::from_bytes(value_of(field));
        return MNL_CB_OK;
      },
      &element);
  static_cast<std::vector<Element>*>(out)->push_back(std::move(element));
  return MNL_CB_OK;
}

int take_elements(const nlmsghdr* message, void* out) {
  return mnl_attr_parse(
      message, sizeof(nfgenmsg),
      [](const nlattr* attribute, void* into) {
        if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_LIST_ELEMENTS)
          return mnl_attr_parse_nested(attribute, take_element, into);
        return MNL_CB_OK;
      },
      out);
}

std::optional<Family> family_of(uint32_t nfproto) {
  switch (nfproto) {
    case NFPROTO_IPV4:
      return Family::ip;
    case NFPROTO_IPV6:
      return Family::ip6;
    case NFPROTO_INET:
      return Family::inet;
    default:
      return std::nullopt;
  }
}

int take_table(const nlmsghdr* message, void* out) {
  TablePtr table(nftnl_table_alloc());
  if (nftnl_table_nlmsg_parse(message, table.get()) < 0) return MNL_CB_OK;
  if (const auto family = family_of(nftnl_table_get_u32(table.get(), NFTNL_TABLE_FAMILY)))
    static_cast<std::vector<TableName>*>(out)->push_back({*family, nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME)});
  return MNL_CB_OK;
}

int take_chain(const nlmsghdr* message, void* out) {
  ChainPtr chain(nftnl_chain_alloc());
  if (nftnl_chain_nlmsg_parse(message, chain.get()) < 0 || !nftnl_chain_is_set(chain.get(), NFTNL_CHAIN_HOOKNUM))
    return MNL_CB_OK;
  const auto family = family_of(nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_FAMILY));
  if (!family) return MNL_CB_OK;
  ForeignChain found{.table = {*family, nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TABLE)},
                     .name = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_NAME)};
  const std::string_view type = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TYPE);
  found.base.type = type == "nat" ? ChainType::nat : type == "route" ? ChainType::route : ChainType::filter;
  for (const auto hook : {Hook::prerouting, Hook::input, Hook::forward, Hook::output, Hook::postrouting})
    if (hook_number(hook) == nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_HOOKNUM)) found.base.hook = hook;
  found.base.priority = nftnl_chain_get_s32(chain.get(), NFTNL_CHAIN_PRIO);
  found.base.drop = nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_POLICY) == NF_DROP;
  static_cast<std::vector<ForeignChain>*>(out)->push_back(std::move(found));
  return MNL_CB_OK;
}

// `meta iifname "kl*" [counter] accept`, and nothing else in between.
int take_interface_accept(const nlmsghdr* message, void* out) {
  const RulePtr rule(nftnl_rule_alloc());
  if (nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return MNL_CB_OK;
  struct Look {
    InterfaceAccept found;
    std::optional<uint32_t> key;
    bool compared = false, accepts = false, more = false;
  } look;
  nftnl_expr_foreach(
      rule.get(),
      [](nftnl_expr* expression, void* data) {
        auto& seen = *static_cast<Look*>(data);
        const std::string_view name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);
        if (name == "meta" && !seen.key) {
          seen.key = nftnl_expr_get_u32(expression, NFTNL_EXPR_META_KEY);
        } else if (name == "cmp" && seen.key && !seen.compared) {
          uint32_t size = 0;
          const auto* bytes = static_cast<const char*>(nftnl_expr_get(expression, NFTNL_EXPR_CMP_DATA, &size));
          seen.compared = nftnl_expr_get_u32(expression, NFTNL_EXPR_CMP_OP) == NFT_CMP_EQ;
          seen.found.name = std::string(bytes, ::strnlen(bytes, size));
          seen.found.is_prefix = seen.found.name.size() == size;
        } else if (name == "immediate" && nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_VERDICT)) {
          seen.accepts = nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_VERDICT) == NF_ACCEPT;
        } else if (name != "counter") {
          seen.more = true;
        }
        return 0;
      },
      &look);
  const bool by_interface = look.key == NFT_META_IIFNAME || look.key == NFT_META_OIFNAME;
  if (!by_interface || !look.compared || !look.accepts || look.more) return MNL_CB_OK;
  look.found.incoming = look.key == NFT_META_IIFNAME;
  static_cast<std::vector<InterfaceAccept>*>(out)->push_back(std::move(look.found));
  return MNL_CB_OK;
}

}  // namespace

void Data::append(const void* field, size_t size) {
  // A field by itself stands at its own size; in a concatenation each is padded.
  const bool concatenated = !bytes_.empty();
  bytes_.resize(padded(bytes_.size()));
  bytes_.append(static_cast<const char*>(field), size);
  if (concatenated) bytes_.resize(padded(bytes_.size()));
}

Data& Data::mark(uint32_t value) {
  append(&value, sizeof value);
  return *this;
}
Data& Data::address(const IpAddress& address) {
  append(address.wire().data(), address.wire().size());
  return *this;
}
Data& Data::port(uint16_t port) {
  const uint16_t wire = htons(port);
  append(&wire, sizeof wire);
  return *this;
}
Data& Data::protocol(uint8_t protocol) {
  append(&protocol, sizeof protocol);
  return *this;
}
Data& Data::interface(std::string_view name) {
  char padded_name[IFNAMSIZ] = {};
  std::memcpy(padded_name, name.data(), std::min(name.size(), sizeof padded_name - 1));
  append(padded_name, sizeof padded_name);
  return *this;
}
Data Data::from_bytes(std::string bytes) {
  Data data;
  data.bytes_ = std::move(bytes);
  return data;
}

Result<Nft> Nft::open() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket) {
    if (errno == EPROTONOSUPPORT)
      return fail(Error::Code::unsupported, "nft: this kernel has no nfnetlink (CONFIG_NETFILTER_NETLINK)");
    return sys_fail("nft: socket");
  }
  const int on = 1;
  setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  Nft nft(std::move(socket));
  auto probe = nft.tables();
  if (!probe) {
    if (probe.error().sys == EOPNOTSUPP || probe.error().sys == EINVAL)
      return fail(Error::Code::unsupported, "nft: this kernel has no nf_tables (CONFIG_NF_TABLES; modprobe nf_tables)");
    return std::unexpected(std::move(probe.error()));
  }
  return nft;
}

Status Nft::replace(std::span<const Table> tables) {
  if (tables.empty()) return {};
  Transaction transaction(sequence_);
  if (auto put = put_tables(transaction, tables); !put) return put;
  transaction.finish();
  sequence_ = transaction.next_sequence();
  return send_transaction(socket_, transaction);
}

Status Nft::remove(Family family, const std::string& table) {
  Transaction transaction(sequence_);
  put_table(transaction, NFT_MSG_NEWTABLE, family, table);
  put_table(transaction, NFT_MSG_DELTABLE, family, table);
  transaction.finish();
  sequence_ = transaction.next_sequence();
  return send_transaction(socket_, transaction);
}

Status Nft::change_elements(Family family, const std::string& table, const std::string& set,
                            std::span<const Element> gone, std::span<const Element> added) {
  if (gone.empty() && added.empty()) return {};
  Transaction transaction(sequence_);
  put_elements(transaction, NFT_MSG_DELSETELEM, family, table, set, gone);
  put_elements(transaction, NFT_MSG_NEWSETELEM, family, table, set, added);
  transaction.finish();
  sequence_ = transaction.next_sequence();
  auto done = send_transaction(socket_, transaction);
  // Linux says EBUSY or EEXIST, by version, of a key that is there with other data.
  if (!done && done.error().sys == EBUSY) done.error().code = Error::Code::exists;
  return done;
}

Result<std::vector<Element>> Nft::elements(Family family, const std::string& table, const std::string& set) {
  for (int attempt = 1;; ++attempt) {
    std::vector<Element> found;
    std::array<char, 1024> buffer;
    auto* request = nftnl_nlmsg_build_hdr(buffer.data(), NFT_MSG_GETSETELEM, nfproto(family), NLM_F_DUMP, sequence_++);
    if (table.size() >= NFT_NAME_MAXLEN || set.size() >= NFT_NAME_MAXLEN)
      return fail(Error::Code::invalid, "nft: a name is too long");
    mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, table.c_str());
    mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set.c_str());
    auto done = dump(socket_, request, take_elements, &found,
                     fmt::format("elements of table {} {}, set {}", family_name(family), table, set));
    if (done) return found;
    if (done.error().sys != EINTR || attempt == kDumpAttempts) return std::unexpected(std::move(done.error()));
  }
}

namespace {

template <typename T>
Result<std::vector<T>> list(const Fd& socket, uint16_t type, uint32_t& sequence, mnl_cb_t take, std::string_view what) {
  for (int attempt = 1;; ++attempt) {
    std::vector<T> found;
    std::array<char, 256> buffer;
    const auto* request = nftnl_nlmsg_build_hdr(buffer.data(), type, NFPROTO_UNSPEC, NLM_F_DUMP, sequence++);
    auto done = dump(socket, request, take, &found, what);
    if (done) return found;
    if (done.error().sys != EINTR || attempt == kDumpAttempts) return std::unexpected(std::move(done.error()));
  }
}

}  // namespace

Result<std::vector<TableName>> Nft::tables() {
  return list<TableName>(socket_, NFT_MSG_GETTABLE, sequence_, take_table, "list of tables");
}

Result<std::vector<ForeignChain>> Nft::base_chains() {
  return list<ForeignChain>(socket_, NFT_MSG_GETCHAIN, sequence_, take_chain, "list of chains");
}

Result<std::vector<InterfaceAccept>> Nft::interface_accepts(const TableName& table) {
  for (int attempt = 1;; ++attempt) {
    std::vector<InterfaceAccept> found;
    std::array<char, 1024> buffer;
    auto* request =
        nftnl_nlmsg_build_hdr(buffer.data(), NFT_MSG_GETRULE, nfproto(table.family), NLM_F_DUMP, sequence_++);
    if (table.name.size() >= NFT_NAME_MAXLEN) return fail(Error::Code::invalid, "nft: a name is too long");
    mnl_attr_put_strz(request, NFTA_RULE_TABLE, table.name.c_str());
    auto done = dump(socket_, request, take_interface_accept, &found,
                     fmt::format("rules of table {} {}", family_name(table.family), table.name));
    if (done) return found;
    if (done.error().sys != EINTR || attempt == kDumpAttempts) return std::unexpected(std::move(done.error()));
  }
}

Result<std::string> encode(std::span<const Table> tables) {
  Transaction transaction(1);
  if (auto put = put_tables(transaction, tables); !put) return std::unexpected(std::move(put.error()));
  transaction.finish();
  return transaction.bytes();
}

}  // namespace keelson::host::nft
