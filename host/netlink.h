#pragma once
// rtnetlink(7): links, addresses, routes and neighbours of one network namespace, the
// one that the socket was opened in. So the agent configures a pod's inside without
// ever entering it: with a socket that the pod's shim opened there.
//
// Writing goes by batches: requests are collected, sent in few sendmsg calls, and
// answered by the kernel before sendmsg returns. Reading goes by libnl's caches.
// Not here: tc and BPF attachment (libbpf's bpf_tc_hook_create makes the clsact qdisc,
// bpf_tc_attach the filter); conntrack (host/conntrack.h); nftables (host/nft.h).

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/ip.h"

struct nl_sock;

namespace keelson::host {

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  std::string to_string() const;
  bool operator==(const MacAddress&) const = default;
};

struct Link {
  int index = 0;
  std::string name;
  std::string kind;    // "veth", "bridge" …; "" for hardware and lo
  uint32_t flags = 0;  // IFF_*
  uint32_t mtu = 0;
  int lower = 0;  // IFLA_LINK: the index of a veth's other end, in its own namespace
  MacAddress mac;
};

struct InterfaceAddress {
  int link = 0;
  IpAddress address;
  int prefix = 0;
  uint8_t scope = 0;   // RT_SCOPE_*
  uint32_t flags = 0;  // IFA_F_*
};

struct Route {
  Cidr destination;                  // 0.0.0.0/0 or ::/0: the default route
  std::optional<IpAddress> gateway;  // the first hop's, when there are several
  int link = 0;                      // 0: none (unreachable and its like)
  std::optional<IpAddress> source;   // preferred
  uint32_t metric = 0;               // the kernel makes 0 of an IPv6 route 1024
  uint32_t table = 254;              // RT_TABLE_MAIN
  uint8_t protocol = 4;              // RTPROT_STATIC
  uint8_t type = 1;                  // RTN_UNICAST
  bool on_link = false;              // the gateway is reached through the link although no route says so
};

// A pair of which one end stays in the socket's namespace.
struct Veth {
  std::string name;  // at most 15 characters
  MacAddress mac;
  std::string peer_name;
  MacAddress peer_mac;
  int peer_namespace = -1;  // a descriptor of the namespace where the peer is born
  uint32_t mtu = 0;         // 0: the kernel's choice
};

// Requests to be sent together. They run in order; an error of one does not stop those
// after it. Each is safe to repeat, create_veth excepted.
class RouteBatch {
 public:
  RouteBatch();
  ~RouteBatch();
  RouteBatch(RouteBatch&&) noexcept;
  RouteBatch& operator=(RouteBatch&&) noexcept;

  // Both ends are down. Code exists when the name is taken, here or there.
  void create_veth(const Veth& veth);
  // A missing link is success. Its addresses, routes and neighbours go with it, and the
  // other end of a veth. Takes some ms: the kernel waits until nobody uses it.
  void delete_link(const std::string& name);
  void set_up(int link);
  // Lets a link that has just got its carrier (a veth, by its other end's coming up) send at
  // once: the kernel acts upon that in its own time and until then drops what is sent, but
  // asking for the link hurries it (linkwatch_sync_dev in rtnl_getlink, Linux 6.8 and its
  // stable branches).
  void settle(int link);
  // No IPv6 link-local address made by the kernel itself (addrgenmode none); takes effect
  // on a link that is still down.
  void disable_ipv6_autoconfiguration(int link);
  // IPv6 addresses are usable at once (IFA_F_NODAD).
  void add_address(int link, const IpAddress& address, int prefix);
  // Replaces a route to the same destination with the same metric.
  void add_route(const Route& route);
  // Matched by destination, table, type, protocol and metric. A missing route is success.
  void delete_route(const Route& route);
  // A permanent entry: the kernel never asks by ARP or neighbour discovery.
  void add_neighbour(int link, const IpAddress& address, const MacAddress& mac);

  bool empty() const { return requests_.empty(); }

 private:
  friend class RouteSocket;
  class Message;
  struct Request {
    std::string bytes;    // one nlmsghdr and what follows
    std::string purpose;  // for the error
    int accepted = 0;     // an errno that counts as success
  };
  std::vector<Request> requests_;
};

// For one thread at a time. Calls block for as long as the kernel works on them.
class RouteSocket {
 public:
  // In the network namespace of the calling thread.
  static Result<RouteSocket> open();
  // The same socket as `fd`, which stays the caller's: for one that was opened in
  // another namespace. Nobody else may use it meanwhile.
  static Result<RouteSocket> borrow(int fd);
  RouteSocket(RouteSocket&&) noexcept;
  RouteSocket& operator=(RouteSocket&&) noexcept;
  ~RouteSocket();

  // The first error, naming its request. The others have run all the same.
  Status run(const RouteBatch& batch);

  // One system call; not_found when there is none.
  Result<int> link_index(const std::string& name);
  Result<std::vector<Link>> links();
  Result<std::vector<InterfaceAddress>> addresses();
  // Of all tables, cached clones excepted.
  Result<std::vector<Route>> routes();

 private:
  struct Release {
    void operator()(nl_sock* socket) const;
  };
  explicit RouteSocket(nl_sock* socket);
  std::unique_ptr<nl_sock, Release> socket_;
};

// The addresses by which this host is known: the preferred source of the default route
// of each family, else the first global address of the link that it leads to; with no
// default route, the first global address of any link that is up, loopback excepted.
// IPv6: neither temporary nor deprecated, global before unique-local.
struct NodeAddresses {
  std::optional<IpAddress> v4, v6;
};
// not_found when the host has neither.
Result<NodeAddresses> detect_node_addresses();
// The rule by itself, for tests.
NodeAddresses choose_node_addresses(const std::vector<Link>& links, const std::vector<InterfaceAddress>& addresses,
                                    const std::vector<Route>& routes);

}  // namespace keelson::host
