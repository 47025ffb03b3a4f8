#pragma once
// How this agent's traces in the kernel are called, so that it knows its own among those
// of others, of another agent on the same host too. Pure.

#include <cstdint>
#include <string>
#include <string_view>

#include "host/netlink.h"

namespace keelson::network {

// The protocol number of all our routes (`ip route` shows "proto 107"); the numbers that
// are known by name are in /etc/iproute2/rt_protos.
inline constexpr uint8_t kRouteProtocol = 0x6b;

// The Settings::instance of an agent with that --run-dir; "" for the ordinary one.
std::string instance_of(const std::string& run_dir);

struct Names {
  std::string table;        // the nft table: "keelson", or "keelson-<instance>"
  std::string link_prefix;  // of the host's end of each pod's veth: "kl" and three hex digits
  uint32_t metric = 0;      // of our unreachable routes: tells whose they are

  static Names of(std::string_view instance);
  // 15 characters, the most that a link's name may have.
  std::string link(std::string_view uid) const;
};

// The pod's end of a veth has an address of its own, so that the host's neighbour entry
// can be written down; all host ends share one, so that the pods' can.
host::MacAddress pod_mac(std::string_view uid);
inline constexpr host::MacAddress kHostMac{{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}};

}  // namespace keelson::network
