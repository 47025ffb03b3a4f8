#pragma once
// nftables as data: a table is described whole (maps, chains, rules) and put into
// the kernel in one transaction; elements of its maps then change one by one.
// libmnl and libnftnl do the talking (nft.cpp); nft(8) can list all of it.
//
//   nft::Table table{.family = nft::Family::ip, .name = "keelson-proxy"};
//   table.sets.push_back({.name = "backend4", .key = {nft::Type::mark},
//                         .data = {nft::Type::ipv4, nft::Type::port}, .elements = elements});
//   table.chains.push_back(
//       {.name = "prerouting",
//        .base = nft::BaseChain{nft::ChainType::nat, nft::Hook::prerouting, nft::kPriorityDstNat},
//        .rules = {{.match = {nft::mark_is(kChosen, kChosen)},
//                   .action = nft::DnatByMap{{nft::Field::mark, kBackendMask}, "backend4"}}}});
//   table.chains.push_back(
//       {.name = "postrouting",
//        .base = nft::BaseChain{nft::ChainType::nat, nft::Hook::postrouting, nft::kPrioritySrcNat},
//        .rules = {{.match = {nft::mark_is(kSnat, kSnat)}, .action = nft::Snat{node_ip, 32768, 65535}}}});
//   nft.replace({&table, 1});
//   nft.change_elements(table.family, table.name, "backend4", gone,
//                       {{{.key = nft::Data().mark(7), .data = nft::Data().address(ip).port(8080)}}});
//
// A port range (Snat, Masquerade, MatchPort) belongs behind a MatchProtocol of a
// protocol that has ports.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/ip.h"

namespace keelson::host::nft {

enum class Family { ip, ip6, inet };

// ---- what a rule looks at ---------------------------------------------------------

struct Field {
  enum Kind {
    mark,  // meta mark, & mask
    ct_mark,
    protocol,  // layer 4
    source_ip4,
    source_ip6,
    destination_ip4,
    destination_ip6,
    source_port,
    destination_port,
    input_interface,  // by name
    output_interface,
  };
  Kind kind = mark;
  uint32_t mask = 0xffffffff;  // for the marks
};

// Conditions of a rule, all of which must hold, in order.
struct MatchFamily {  // in an inet table: AF_INET or AF_INET6
  int family = 0;
};
struct MatchMark {
  Field::Kind field = Field::mark;  // or ct_mark
  uint32_t value = 0, mask = 0xffffffff;
  bool negate = false;
};
struct MatchProtocol {
  uint8_t protocol = 0;  // IPPROTO_TCP …
};
struct MatchAddress {  // in an inet table it matches the address's family too
  bool destination = false;
  Cidr network;
  bool negate = false;
};
struct MatchPort {
  bool destination = true;
  uint16_t first = 0, last = 0;
};
struct MatchInterface {
  bool output = false;
  std::string name;  // "eth0"; "kl*" for all whose name starts so
  bool negate = false;
};
struct MatchSet {  // the fields, concatenated, are a key of the set
  std::vector<Field> fields;
  std::string set;
  bool negate = false;
};
// The destination (or source) is an address of this host: `fib daddr type local`.
struct MatchLocal {
  bool destination = true;
  bool negate = false;
};
// No route leads to the destination, or an unreachable one: `fib daddr oif missing`. Not
// for IPv6 addresses of this host, which the kernel reports as missing too. In
// prerouting, input and forward only, like the next.
struct MatchUnreachable {};
// No route leads back to the source through the interface that it came in by:
// `fib saddr . iif oif missing`.
struct MatchSpoofed {};
struct MatchConnectionState {  // NF_CT_STATE_* bits as nft has them
  static constexpr uint32_t kInvalid = 1, kEstablished = 2, kRelated = 4, kNew = 8, kUntracked = 64;
  uint32_t any_of = 0;
};
struct MatchConnectionStatus {  // IPS_* of linux/netfilter/nf_conntrack_common.h, such as IPS_DST_NAT
  uint32_t any_of = 0;
};
using Match = std::variant<MatchFamily, MatchMark, MatchProtocol, MatchAddress, MatchPort, MatchInterface, MatchSet,
                           MatchLocal, MatchUnreachable, MatchSpoofed, MatchConnectionState, MatchConnectionStatus>;

inline MatchMark mark_is(uint32_t value, uint32_t mask) { return {Field::mark, value, mask, false}; }
inline MatchAddress from(const Cidr& network) { return {false, network, false}; }
inline MatchAddress to(const Cidr& network) { return {true, network, false}; }
inline MatchAddress not_to(const Cidr& network) { return {true, network, true}; }

// ---- what a rule does ---------------------------------------------------------------

struct Accept {};
struct Drop {};
struct Return {};
struct Continue {};  // nothing but the counter and the mark
struct Jump {
  std::string chain;
};
struct NoTrack {};  // in chains of a priority below kPriorityConntrack
// (mark & ~mask) | value
struct SetMark {
  Field::Kind field = Field::mark;  // or ct_mark
  uint32_t value = 0, mask = 0xffffffff;
};
struct CopyMark {  // meta mark := ct mark, or the other way; the bits in mask, the others become 0
  Field::Kind to = Field::mark;
  uint32_t mask = 0xffffffff;
};
struct Dnat {
  IpAddress address;
  uint16_t port = 0;  // 0: kept
};
// To map[key]. The map's data is {ipv4 or ipv6} or {ipv4 or ipv6, port}; a key that
// it does not hold ends the rule without effect. The map must be in the same table.
struct DnatByMap {
  Field key;
  std::string map;
};
struct Snat {
  IpAddress address;
  uint16_t first_port = 0, last_port = 0;  // 0: kept where possible
  bool random = false;                     // fully random choice of the port
};
struct Masquerade {
  uint16_t first_port = 0, last_port = 0;
  bool random = false;
};
struct Reject {
  enum Kind {
    port_unreachable,  // ICMP or ICMPv6, by the packet's family
    host_unreachable,
    admin_prohibited,
    tcp_reset,  // behind MatchProtocol{IPPROTO_TCP}
  };
  Kind kind = port_unreachable;
};
using Action = std::variant<Continue, Accept, Drop, Return, Jump, NoTrack, SetMark, CopyMark, Dnat, DnatByMap, Snat,
                            Masquerade, Reject>;

struct Rule {
  std::vector<Match> match;
  Action action;
  bool counter = false;  // packets and bytes, shown by nft list
  std::string comment;   // shown by nft list; at most 128 bytes
};

// ---- chains, maps, tables -------------------------------------------------------------

enum class Hook { prerouting, input, forward, output, postrouting };
enum class ChainType { filter, nat, route };
inline constexpr int kPriorityRaw = -300, kPriorityConntrack = -200, kPriorityMangle = -150, kPriorityDstNat = -100,
                     kPriorityFilter = 0, kPrioritySrcNat = 100;

struct BaseChain {
  ChainType type = ChainType::filter;
  Hook hook = Hook::prerouting;
  int priority = 0;
  bool drop = false;  // the policy
};

struct Chain {
  std::string name;
  std::optional<BaseChain> base;  // absent: reached by Jump only
  std::vector<Rule> rules;
};

// A key or a datum as it stands in nft's registers: fields one after the other, each
// padded to 4 bytes when there are several.
class Data {
 public:
  Data& mark(uint32_t value);
  Data& address(const IpAddress& address);
  Data& port(uint16_t port);
  Data& protocol(uint8_t protocol);
  Data& interface(std::string_view name);
  const std::string& bytes() const { return bytes_; }
  static Data from_bytes(std::string bytes);
  auto operator<=>(const Data&) const = default;

 private:
  void append(const void* field, size_t size);
  std::string bytes_;
};

struct Element {
  Data key;
  Data data;  // empty in a set
  auto operator<=>(const Element&) const = default;
};

enum class Type { ipv4, ipv6, port, protocol, mark, interface };

struct Set {  // with data: a map
  std::string name;
  std::vector<Type> key;
  std::vector<Type> data;
  std::vector<Element> elements;
};

struct Table {
  Family family = Family::inet;
  std::string name;
  std::vector<Set> sets;
  std::vector<Chain> chains;  // a chain that is jumped to stands before the one that jumps
};

struct TableName {
  Family family = Family::inet;
  std::string name;
  auto operator<=>(const TableName&) const = default;
};

// A chain of anybody's that the kernel's hooks call, as the kernel lists it.
struct ForeignChain {
  TableName table;
  std::string name;
  BaseChain base;
};

// A rule of anybody's that accepts whatever comes in, or goes out, by interfaces of this name.
struct InterfaceAccept {
  bool incoming = false;
  std::string name;
  bool is_prefix = false;  // "kl*", or iptables' "kl+"
};

// One NETLINK_NETFILTER socket, in the network namespace of the thread that opened
// it. For one thread at a time. Calls block for as long as the kernel's transaction
// takes (10,000 elements: some 10 ms).
class Nft {
 public:
  // Loads nf_tables if need be; code unsupported when the kernel has none.
  static Result<Nft> open();

  // Puts each table in place of what bears its name, all in one transaction: packets
  // see the old tables or the new ones. After a failure nothing has changed.
  Status replace(std::span<const Table> tables);
  // A table that is not there is success.
  Status remove(Family family, const std::string& table);

  // In one transaction: first `gone` (by key; its data is not looked at), then `added`.
  // Adding what is there with the same data is fine; with other data it is `exists`;
  // taking away what is not there is `not_found`. After a failure nothing has changed.
  // So a new value for a key is: the key in both.
  Status change_elements(Family family, const std::string& table, const std::string& set, std::span<const Element> gone,
                         std::span<const Element> added);
  // In no order.
  Result<std::vector<Element>> elements(Family family, const std::string& table, const std::string& set);

  // Tables of the families ip, ip6 and inet, and their base chains.
  Result<std::vector<TableName>> tables();
  Result<std::vector<ForeignChain>> base_chains();
  // In any chain of the table; rules with further conditions are not among them.
  Result<std::vector<InterfaceAccept>> interface_accepts(const TableName& table);

 private:
  explicit Nft(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
  uint32_t sequence_ = 0;
};

// The transaction that replace() sends, as bytes; for tests without a kernel.
Result<std::string> encode(std::span<const Table> tables);

}  // namespace keelson::host::nft
