#pragma once
// IP addresses and CIDRs as values: IPv4 and IPv6 through one type. Pure, safe on
// every thread. The kernel's side (netlink, nft, BPF keys) and the API's side
// (api/ip.h) use the same ones.
//
// An address is kept as 16 bytes in network order, IPv4 as v4-mapped
// (::ffff:a.b.c.d, RFC 4291 2.5.5.2), as the data plane's maps hold it. So
// "::ffff:10.0.0.1" and "10.0.0.1" are the same value, an IPv4 one.

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"

namespace keelson::host {

class IpAddress {
 public:
  // "::", which no host has: the absent address.
  constexpr IpAddress() = default;

  // "10.0.0.1", "fd00::1". Refused: leading zeros, zones ("%eth0"), ports, blanks.
  static Result<IpAddress> parse(std::string_view text);
  static constexpr IpAddress v4(uint32_t host_order) {
    IpAddress a;
    a.bytes_[10] = a.bytes_[11] = 0xff;
    for (int i = 0; i < 4; ++i) a.bytes_[12 + i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
    return a;
  }
  // As it stands in a packet or an attribute: 4 or 16 bytes; any other length gives "::".
  static IpAddress from_wire(std::span<const uint8_t> wire);

  bool is_v4() const;
  int family() const;  // AF_INET or AF_INET6
  int bits() const { return is_v4() ? 32 : 128; }

  // 4 or 16 bytes in network order. Valid as long as the address is.
  std::span<const uint8_t> wire() const;
  // Always 16 bytes, IPv4 v4-mapped.
  const std::array<uint8_t, 16>& mapped() const { return bytes_; }

  bool is_unspecified() const;  // 0.0.0.0 or ::
  bool is_loopback() const;     // 127.0.0.0/8 or ::1
  bool is_link_local() const;   // 169.254.0.0/16 or fe80::/10
  bool is_multicast() const;    // 224.0.0.0/4 or ff00::/8

  // "10.0.0.1", "fd00::1" (RFC 5952).
  std::string to_string() const;

  // IPv4 sorts together, in numeric order.
  constexpr auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

// A network: an address whose bits past the prefix are zero.
class Cidr {
 public:
  constexpr Cidr() = default;  // ::/0

  // "10.244.0.0/24", "fd00::/64"; a bare address is a network of its own. Bits past
  // the prefix are cleared, as Kubernetes does ("10.0.0.7/24" is 10.0.0.0/24).
  static Result<Cidr> parse(std::string_view text);
  // The network of that length around the address; the prefix is clamped to the family.
  static Cidr around(const IpAddress& address, int prefix);

  const IpAddress& address() const { return address_; }
  int prefix() const { return prefix_; }  // 0..32 or 0..128
  bool is_v4() const { return v4_; }
  int family() const;

  // Never across families: ::/0 contains no IPv4 address.
  bool contains(const IpAddress& address) const;
  bool contains(const Cidr& other) const;
  bool overlaps(const Cidr& other) const { return contains(other) || other.contains(*this); }

  // How many addresses, saturating at UINT64_MAX.
  uint64_t size() const;
  // The n-th address, 0 being the network's own; absent when n >= size().
  std::optional<IpAddress> at(uint64_t n) const;
  // The inverse; absent when it is not in here or beyond 2^64.
  std::optional<uint64_t> index_of(const IpAddress& address) const;
  IpAddress last() const;
  // 255.255.255.0 and its like, in the family's length.
  IpAddress mask() const;

  std::string to_string() const;
  constexpr auto operator<=>(const Cidr&) const = default;

 private:
  IpAddress address_;
  int prefix_ = 0;
  bool v4_ = false;  // kept apart: the mask of "::ffff:0:0/64" is no IPv4 network
};

// "10.244.0.0/24,fd00::/64" or "": comma-separated, blanks around are fine.
Result<std::vector<Cidr>> parse_cidrs(std::string_view text);

}  // namespace keelson::host

template <>
struct std::hash<keelson::host::IpAddress> {
  size_t operator()(const keelson::host::IpAddress& address) const noexcept {
    const auto& bytes = address.mapped();
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
};
