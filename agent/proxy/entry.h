#pragma once
// The data plane's nouns: what a Kubernetes Service becomes for the kernel. Plain
// values, pure, safe on every thread.

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "host/ip.h"

namespace keelson::proxy {

enum class Protocol : uint8_t { tcp = 6, udp = 17 };
std::string to_string(Protocol protocol);  // "TCP", "UDP"

struct ServiceName {
  std::string namespace_, name;
  bool operator==(const ServiceName&) const = default;
  // By the name first: namespaces are mostly the same, and comparing equal texts is what costs.
  auto operator<=>(const ServiceName& other) const {
    const auto by_name = name <=> other.name;
    return by_name != 0 ? by_name : namespace_ <=> other.namespace_;
  }
};
std::string to_string(const ServiceName& name);  // "default/web"
struct ServiceNameHash {
  size_t operator()(const ServiceName& name) const {
    return std::hash<std::string>{}(name.namespace_) * 31 + std::hash<std::string>{}(name.name);
  }
};

// An address that clients ask for.
struct Vip {
  host::IpAddress address;  // with `node`: 0.0.0.0 or :: stands for every address of the node
  uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool node = false;  // a port of the node's (NodePort, hostPort), not an address of its own
  auto operator<=>(const Vip&) const = default;
};
std::string to_string(const Vip& vip);  // "10.96.0.1:80/TCP"

// One port of a Service in one family: the owner of its backends.
struct PortKey {
  ServiceName service;
  uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool v6 = false;
  auto operator<=>(const PortKey&) const = default;
};

// A port's clients inside and outside the cluster may be given different sets
// (internalTrafficPolicy, externalTrafficPolicy), so they are different entries.
enum class Traffic : uint8_t { internal, external, host_port };

struct EntryKey {
  PortKey port;
  Traffic traffic = Traffic::internal;
  auto operator<=>(const EntryKey&) const = default;
};
std::string to_string(const EntryKey& key);  // "default/web 80/TCP IPv4 internal"

struct Target {
  enum class State : uint8_t {
    ready,
    terminating,  // takes new flows because nothing is ready (KEP-1669)
    draining,     // keeps the flows it has
  };
  host::IpAddress address;
  uint16_t port = 0;
  State state = State::ready;
  bool local = false;  // on this node
  std::string pod;     // its name, for display; "" when given by an Endpoints object
  auto operator<=>(const Target&) const = default;
};

// What the kernel shall do for one EntryKey.
struct Entry {
  std::vector<Vip> vips;        // sorted
  std::vector<Target> targets;  // sorted by address; none that takes new flows: refuse
  uint32_t affinity_seconds = 0;
  bool guards_port = false;  // nobody on the node may bind it (NodePort)
  bool consistent = false;   // slots by Maglev, so that every node chooses alike for one flow
  bool operator==(const Entry&) const = default;
};

}  // namespace keelson::proxy
