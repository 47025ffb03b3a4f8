#include "host/netlink.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

namespace keelson::host {
namespace {

// Acknowledgements queue up on the socket until the batch has been sent; 64 of them fit
// into the smallest receive buffer.
constexpr size_t kRequestsPerSend = 64;
constexpr size_t kReceiveRoom = 32 << 10;

struct CacheRelease {
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
};
using Cache = std::unique_ptr<nl_cache, CacheRelease>;

std::unexpected<Error> nl_fail(std::string_view what, int nl_error) {
  auto code = Error::Code::failed;
  if (nl_error == -NLE_PERM || nl_error == -NLE_NOACCESS) code = Error::Code::denied;
  if (nl_error == -NLE_OPNOTSUPP || nl_error == -NLE_AF_NOSUPPORT) code = Error::Code::unsupported;
  return fail(code, fmt::format("netlink: {}: {}", what, nl_geterror(nl_error)));
}

IpAddress to_ip(nl_addr* address) {
  if (address == nullptr) return {};
  return IpAddress::from_wire(
      {static_cast<const uint8_t*>(nl_addr_get_binary_addr(address)), nl_addr_get_len(address)});
}

// An absent destination is the default route of the family.
Cidr to_cidr(nl_addr* address, int family) {
  if (address == nullptr || nl_addr_get_len(address) == 0)
    return family == AF_INET ? Cidr::around(IpAddress::v4(0), 0) : Cidr();
  return Cidr::around(to_ip(address), static_cast<int>(nl_addr_get_prefixlen(address)));
}

// What the kernel says of an error in words, when it does (NETLINK_EXT_ACK).
std::string kernel_words(nlmsghdr* message) {
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(message));
  int offset = sizeof *error;
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) offset += NLMSG_ALIGN(error->msg.nlmsg_len) - NLMSG_HDRLEN;
  auto* words = nlmsg_find_attr(message, offset, NLMSGERR_ATTR_MSG);
  return words == nullptr ? std::string() : fmt::format(" ({})", nla_get_string(words));
}

}  // namespace

std::string MacAddress::to_string() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                     bytes[5]);
}

// ---- batches -----------------------------------------------------------------------

// One request while it is being written. libnl grows nothing: a page holds any of ours.
class RouteBatch::Message {
 public:
  Message(int type, int flags) : message_(nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags)) {
    if (message_ == nullptr) throw std::bad_alloc();
  }
  ~Message() { nlmsg_free(message_); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  template <typename Header>
  Message& header(const Header& header) {
    nlmsg_append(message_, const_cast<Header*>(&header), sizeof header, NLMSG_ALIGNTO);
    return *this;
  }
  Message& put(int type, const void* data, size_t size) {
    nla_put(message_, type, static_cast<int>(size), data);
    return *this;
  }
  Message& put(int type, uint32_t value) { return put(type, &value, sizeof value); }
  Message& put(int type, const std::string& text) { return put(type, text.c_str(), text.size() + 1); }
  Message& put(int type, const IpAddress& address) { return put(type, address.wire().data(), address.wire().size()); }
  Message& put(int type, const MacAddress& mac) { return put(type, mac.bytes.data(), mac.bytes.size()); }
  nlattr* nest(int type) { return nla_nest_start(message_, type); }
  void end(nlattr* nest) { nla_nest_end(message_, nest); }

  Request request(std::string purpose, int accepted = 0) {
    const auto* header = nlmsg_hdr(message_);
    return {std::string(reinterpret_cast<const char*>(header), NLMSG_ALIGN(header->nlmsg_len)), std::move(purpose),
            accepted};
  }

 private:
  nl_msg* message_;
};

RouteBatch::RouteBatch() = default;
RouteBatch::~RouteBatch() = default;
RouteBatch::RouteBatch(RouteBatch&&) noexcept = default;
RouteBatch& RouteBatch::operator=(RouteBatch&&) noexcept = default;

void RouteBatch::create_veth(const Veth& veth) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header(ifinfomsg{.ifi_family = AF_UNSPEC}).put(IFLA_IFNAME, veth.name).put(IFLA_ADDRESS, veth.mac);
  if (veth.mtu != 0) message.put(IFLA_MTU, veth.mtu);
  auto* info = message.nest(IFLA_LINKINFO);
  message.put(IFLA_INFO_KIND, std::string("veth"));
  auto* data = message.nest(IFLA_INFO_DATA);
  auto* peer = message.nest(VETH_INFO_PEER);
  message.header(ifinfomsg{.ifi_family = AF_UNSPEC})
      .put(IFLA_IFNAME, veth.peer_name)
      .put(IFLA_ADDRESS, veth.peer_mac)
      .put(IFLA_NET_NS_FD, static_cast<uint32_t>(veth.peer_namespace));
  if (veth.mtu != 0) message.put(IFLA_MTU, veth.mtu);
  message.end(peer);
  message.end(data);
  message.end(info);
  requests_.push_back(message.request(fmt::format("create veth {}", veth.name)));
}

void RouteBatch::delete_link(const std::string& name) {
  Message message(RTM_DELLINK, 0);
  message.header(ifinfomsg{.ifi_family = AF_UNSPEC}).put(IFLA_IFNAME, name);
  requests_.push_back(message.request(fmt::format("delete link {}", name), ENODEV));
}

void RouteBatch::set_up(int link) {
  Message message(RTM_NEWLINK, 0);
  message.header(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = link, .ifi_flags = IFF_UP, .ifi_change = IFF_UP});
  requests_.push_back(message.request(fmt::format("set link {} up", link)));
}

void RouteBatch::settle(int link) {
  Message message(RTM_GETLINK, 0);
  message.header(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = link});
  requests_.push_back(message.request(fmt::format("look at link {}", link)));
}

void RouteBatch::disable_ipv6_autoconfiguration(int link) {
  Message message(RTM_NEWLINK, 0);
  message.header(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_index = link});
  auto* families = message.nest(IFLA_AF_SPEC);
  auto* inet6 = message.nest(AF_INET6);
  const uint8_t none = IN6_ADDR_GEN_MODE_NONE;
  message.put(IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
  message.end(inet6);
  message.end(families);
  // EAFNOSUPPORT: a kernel without IPv6, which configures nothing by itself either.
  requests_.push_back(message.request(fmt::format("IPv6 address generation of link {}", link), EAFNOSUPPORT));
}

void RouteBatch::add_address(int link, const IpAddress& address, int prefix) {
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  message
      .header(ifaddrmsg{.ifa_family = static_cast<uint8_t>(address.family()),
                        .ifa_prefixlen = static_cast<uint8_t>(prefix),
                        .ifa_flags = address.is_v4() ? uint8_t{0} : uint8_t{IFA_F_NODAD},
                        .ifa_scope = static_cast<uint8_t>(address.is_link_local() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE),
                        .ifa_index = static_cast<uint32_t>(link)})
      .put(IFA_LOCAL, address)
      .put(IFA_ADDRESS, address);
  requests_.push_back(message.request(fmt::format("add address {}/{} to link {}", address.to_string(), prefix, link)));
}

namespace {

rtmsg route_header(const Route& route) {
  rtmsg header{};
  header.rtm_family = static_cast<uint8_t>(route.destination.family());
  header.rtm_dst_len = static_cast<uint8_t>(route.destination.prefix());
  header.rtm_table = static_cast<uint8_t>(route.table < 256 ? route.table : RT_TABLE_UNSPEC);
  header.rtm_protocol = route.protocol;
  header.rtm_type = route.type;
  header.rtm_scope =
      route.type == RTN_UNICAST && route.destination.is_v4() && !route.gateway ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header.rtm_flags = route.on_link ? static_cast<unsigned>(RTNH_F_ONLINK) : 0;
  return header;
}

// The network in the family's own length, which "::ffff:0:0/…" as bytes does not tell.
std::span<const uint8_t> network_wire(const Cidr& network) {
  const std::span<const uint8_t> bytes(network.address().mapped());
  return network.is_v4() ? bytes.subspan(12) : bytes;
}

}  // namespace

void RouteBatch::add_route(const Route& route) {
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  message.header(route_header(route));
  const auto network = network_wire(route.destination);
  if (route.destination.prefix() > 0) message.put(RTA_DST, network.data(), network.size());
  message.put(RTA_TABLE, route.table);
  if (route.metric != 0) message.put(RTA_PRIORITY, route.metric);
  if (route.gateway) message.put(RTA_GATEWAY, *route.gateway);
  if (route.source) message.put(RTA_PREFSRC, *route.source);
  if (route.link != 0) message.put(RTA_OIF, static_cast<uint32_t>(route.link));
  requests_.push_back(message.request(fmt::format("add route to {}", route.destination.to_string())));
}

void RouteBatch::delete_route(const Route& route) {
  Message message(RTM_DELROUTE, 0);
  auto header = route_header(route);
  header.rtm_scope = RT_SCOPE_NOWHERE;  // any
  message.header(header);
  const auto network = network_wire(route.destination);
  if (route.destination.prefix() > 0) message.put(RTA_DST, network.data(), network.size());
  message.put(RTA_TABLE, route.table);
  if (route.metric != 0) message.put(RTA_PRIORITY, route.metric);
  requests_.push_back(message.request(fmt::format("delete route to {}", route.destination.to_string()), ESRCH));
}

void RouteBatch::add_neighbour(int link, const IpAddress& address, const MacAddress& mac) {
  Message message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  message
      .header(ndmsg{.ndm_family = static_cast<uint8_t>(address.family()),
                    .ndm_ifindex = link,
                    .ndm_state = NUD_PERMANENT,
                    .ndm_type = RTN_UNICAST})
      .put(NDA_DST, address)
      .put(NDA_LLADDR, mac);
  requests_.push_back(message.request(fmt::format("add neighbour {} to link {}", address.to_string(), link)));
}

// ---- the socket --------------------------------------------------------------------

void RouteSocket::Release::operator()(nl_sock* socket) const { nl_socket_free(socket); }
RouteSocket::RouteSocket(nl_sock* socket) : socket_(socket) {}
RouteSocket::RouteSocket(RouteSocket&&) noexcept = default;
RouteSocket& RouteSocket::operator=(RouteSocket&&) noexcept = default;
RouteSocket::~RouteSocket() = default;

Result<RouteSocket> RouteSocket::open() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return sys_fail("netlink: socket");
  return borrow(fd.get());
}

Result<RouteSocket> RouteSocket::borrow(int fd) {
  // libnl closes what it is given, so it gets a duplicate.
  Fd ours(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!ours) return sys_fail("netlink: dup");
  // libnl wants a bound socket; binding to port 0 lets the kernel choose, once.
  sockaddr_nl local{};
  socklen_t size = sizeof local;
  if (getsockname(ours.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0) return sys_fail("netlink: getsockname");
  if (local.nl_family != AF_NETLINK) return fail(Error::Code::invalid, "netlink: not a netlink socket");
  if (local.nl_pid == 0 && bind(ours.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0)
    return sys_fail("netlink: bind");
  const int on = 1;
  setsockopt(ours.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(ours.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  RouteSocket socket(nl_socket_alloc());
  if (socket.socket_ == nullptr) return sys_fail("netlink: socket", ENOMEM);
  if (const int error = nl_socket_set_fd(socket.socket_.get(), NETLINK_ROUTE, ours.get()); error < 0)
    return nl_fail("socket", error);
  ours.release();
  return socket;
}

Status RouteSocket::run(const RouteBatch& batch) {
  const int fd = nl_socket_get_fd(socket_.get());
  Status result;
  const auto buffer = std::make_unique<char[]>(kReceiveRoom);
  for (size_t first = 0; first < batch.requests_.size(); first += kRequestsPerSend) {
    const auto part =
        std::span(batch.requests_).subspan(first, std::min(kRequestsPerSend, batch.requests_.size() - first));
    std::string bytes;
    for (size_t i = 0; i < part.size(); ++i) {
      const size_t start = bytes.size();
      bytes += part[i].bytes;
      const auto sequence = static_cast<uint32_t>(i + 1);
      std::memcpy(bytes.data() + start + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
    }
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    ssize_t sent;
    do {
      sent = sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return sys_fail("netlink: send");
    // The kernel has worked through all of it when sendto returns.
    for (size_t answers = 0; answers < part.size();) {
      const ssize_t received = recv(fd, buffer.get(), kReceiveRoom, MSG_DONTWAIT);
      if (received < 0 && errno == EINTR) continue;
      if (received < 0) return sys_fail("netlink: receive");
      int left = static_cast<int>(received);
      for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.get()); nlmsg_ok(message, left);
           message = nlmsg_next(message, &left)) {
        if (message->nlmsg_type != NLMSG_ERROR) continue;
        const size_t index = message->nlmsg_seq - 1;
        if (index >= part.size()) continue;  // an answer to somebody who did not wait for it
        ++answers;
        const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(message));
        if (error->error != 0 && -error->error != part[index].accepted && result)
          result = sys_fail(fmt::format("{}{}", part[index].purpose, kernel_words(message)), -error->error);
      }
    }
  }
  return result;
}

Result<int> RouteSocket::link_index(const std::string& name) {
  // The interface ioctls work on a socket of any family, in its own namespace.
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name)
    return fail(Error::Code::invalid, fmt::format("\"{}\" is no link's name", name));
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(nl_socket_get_fd(socket_.get()), SIOCGIFINDEX, &request) != 0) {
    if (errno == ENODEV) return fail(Error::Code::not_found, fmt::format("there is no link {}", name));
    return sys_fail(fmt::format("index of link {}", name));
  }
  return request.ifr_ifindex;
}

Result<std::vector<Link>> RouteSocket::links() {
  nl_cache* raw = nullptr;
  if (const int error = rtnl_link_alloc_cache(socket_.get(), AF_UNSPEC, &raw); error < 0)
    return nl_fail("list of links", error);
  const Cache cache(raw);
  std::vector<Link> links;
  nl_cache_foreach(
      cache.get(),
      [](nl_object* object, void* out) {
        auto* one = reinterpret_cast<rtnl_link*>(object);
        Link link;
        link.index = rtnl_link_get_ifindex(one);
        link.name = rtnl_link_get_name(one);
        if (const char* kind = rtnl_link_get_type(one)) link.kind = kind;
        link.flags = rtnl_link_get_flags(one);
        link.mtu = rtnl_link_get_mtu(one);
        link.lower = rtnl_link_get_link(one);
        if (auto* mac = rtnl_link_get_addr(one); mac != nullptr && nl_addr_get_len(mac) == link.mac.bytes.size())
          std::memcpy(link.mac.bytes.data(), nl_addr_get_binary_addr(mac), link.mac.bytes.size());
        static_cast<std::vector<Link>*>(out)->push_back(std::move(link));
      },
      &links);
  return links;
}

Result<std::vector<InterfaceAddress>> RouteSocket::addresses() {
  nl_cache* raw = nullptr;
  if (const int error = rtnl_addr_alloc_cache(socket_.get(), &raw); error < 0)
    return nl_fail("list of addresses", error);
  const Cache cache(raw);
  std::vector<InterfaceAddress> addresses;
  nl_cache_foreach(
      cache.get(),
      [](nl_object* object, void* out) {
        auto* one = reinterpret_cast<rtnl_addr*>(object);
        if (rtnl_addr_get_family(one) != AF_INET && rtnl_addr_get_family(one) != AF_INET6) return;
        InterfaceAddress address;
        address.link = rtnl_addr_get_ifindex(one);
        address.address = to_ip(rtnl_addr_get_local(one));
        address.prefix = rtnl_addr_get_prefixlen(one);
        address.scope = static_cast<uint8_t>(rtnl_addr_get_scope(one));
        address.flags = rtnl_addr_get_flags(one);
        static_cast<std::vector<InterfaceAddress>*>(out)->push_back(address);
      },
      &addresses);
  return addresses;
}

Result<std::vector<Route>> RouteSocket::routes() {
  nl_cache* raw = nullptr;
  if (const int error = rtnl_route_alloc_cache(socket_.get(), AF_UNSPEC, 0, &raw); error < 0)
    return nl_fail("list of routes", error);
  const Cache cache(raw);
  std::vector<Route> routes;
  nl_cache_foreach(
      cache.get(),
      [](nl_object* object, void* out) {
        auto* one = reinterpret_cast<rtnl_route*>(object);
        const int family = rtnl_route_get_family(one);
        if ((family != AF_INET && family != AF_INET6) || (rtnl_route_get_flags(one) & RTM_F_CLONED) != 0) return;
        Route route;
        route.destination = to_cidr(rtnl_route_get_dst(one), family);
        route.table = rtnl_route_get_table(one);
        route.protocol = rtnl_route_get_protocol(one);
        route.type = static_cast<uint8_t>(rtnl_route_get_type(one));
        route.metric = rtnl_route_get_priority(one);
        if (auto* source = rtnl_route_get_pref_src(one)) route.source = to_ip(source);
        if (auto* hop = rtnl_route_nexthop_n(one, 0)) {
          route.link = rtnl_route_nh_get_ifindex(hop);
          if (auto* gateway = rtnl_route_nh_get_gateway(hop)) route.gateway = to_ip(gateway);
        }
        static_cast<std::vector<Route>*>(out)->push_back(route);
      },
      &routes);
  return routes;
}

// ---- which address is the node's -----------------------------------------------------

namespace {

bool usable(const InterfaceAddress& address) {
  constexpr uint32_t kShortLived = IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED;
  if (address.scope != RT_SCOPE_UNIVERSE || address.address.is_loopback()) return false;
  // On IPv4 the flag of temporary addresses means secondary, and says nothing against it.
  return address.address.is_v4() || (address.flags & kShortLived) == 0;
}

// Lower is better.
int rank(const InterfaceAddress& address) {
  if (address.address.is_v4()) return (address.flags & IFA_F_SECONDARY) != 0 ? 1 : 0;
  return (address.address.mapped()[0] & 0xfe) == 0xfc ? 1 : 0;  // fc00::/7: unique-local
}

std::optional<IpAddress> choose(int family, const std::vector<Link>& links,
                                const std::vector<InterfaceAddress>& addresses, const std::vector<Route>& routes) {
  const Route* best = nullptr;
  for (const auto& route : routes)
    if (route.destination.family() == family && route.destination.prefix() == 0 && route.type == RTN_UNICAST &&
        route.table == RT_TABLE_MAIN && route.link != 0 && (best == nullptr || route.metric < best->metric))
      best = &route;
  if (best != nullptr && best->source && !best->source->is_link_local()) return best->source;

  const auto candidate_link = [&](int index) {
    if (best != nullptr) return index == best->link;
    const auto link = std::ranges::find(links, index, &Link::index);
    return link != links.end() && (link->flags & IFF_UP) != 0 && (link->flags & IFF_LOOPBACK) == 0;
  };
  const InterfaceAddress* chosen = nullptr;
  for (const auto& address : addresses) {
    if (address.address.family() != family || !usable(address) || !candidate_link(address.link)) continue;
    if (chosen == nullptr || rank(address) < rank(*chosen)) chosen = &address;
  }
  if (chosen == nullptr) return std::nullopt;
  return chosen->address;
}

}  // namespace

NodeAddresses choose_node_addresses(const std::vector<Link>& links, const std::vector<InterfaceAddress>& addresses,
                                    const std::vector<Route>& routes) {
  return {choose(AF_INET, links, addresses, routes), choose(AF_INET6, links, addresses, routes)};
}

Result<NodeAddresses> detect_node_addresses() {
  auto socket = RouteSocket::open();
  if (!socket) return std::unexpected(std::move(socket.error()));
  auto links = socket->links();
  if (!links) return std::unexpected(std::move(links.error()));
  auto addresses = socket->addresses();
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  auto routes = socket->routes();
  if (!routes) return std::unexpected(std::move(routes.error()));
  const auto chosen = choose_node_addresses(*links, *addresses, *routes);
  if (!chosen.v4 && !chosen.v6)
    return fail(Error::Code::not_found, "this host has no address besides its loopback's: name one with --node-ip");
  return chosen;
}

}  // namespace keelson::host
