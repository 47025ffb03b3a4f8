#include "host/conntrack.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace keelson::host {
namespace {

constexpr size_t kEventRoom = 64 << 10;
constexpr size_t kDeletesPerSend = 64;  // their answers fit into the smallest receive buffer

template <typename Visit>
void each_attribute(const void* payload, int left, Visit visit) {
  for (auto* attribute = static_cast<const nlattr*>(payload); mnl_attr_ok(attribute, left);
       left -= MNL_ALIGN(mnl_attr_get_len(attribute)), attribute = mnl_attr_next(attribute))
    visit(attribute);
}
template <typename Visit>
void each_attribute(const nlattr* nest, Visit visit) {
  each_attribute(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), visit);
}

IpAddress address_of(const nlattr* attribute) {
  return IpAddress::from_wire(
      {static_cast<const uint8_t*>(mnl_attr_get_payload(attribute)), mnl_attr_get_payload_len(attribute)});
}

FlowTuple tuple_of(const nlattr* nest, uint8_t& protocol) {
  FlowTuple tuple;
  each_attribute(nest, [&](const nlattr* part) {
    if (mnl_attr_get_type(part) == CTA_TUPLE_IP)
      each_attribute(part, [&](const nlattr* field) {
        const auto type = mnl_attr_get_type(field);
        if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC) tuple.source = address_of(field);
        if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST) tuple.destination = address_of(field);
      });
    if (mnl_attr_get_type(part) == CTA_TUPLE_PROTO)
      each_attribute(part, [&](const nlattr* field) {
        const auto type = mnl_attr_get_type(field);
        if (type == CTA_PROTO_NUM) protocol = mnl_attr_get_u8(field);
        if (type == CTA_PROTO_SRC_PORT) tuple.source_port = ntohs(mnl_attr_get_u16(field));
        if (type == CTA_PROTO_DST_PORT) tuple.destination_port = ntohs(mnl_attr_get_u16(field));
      });
  });
  return tuple;
}

Flow flow_of(const nlmsghdr* message) {
  Flow flow;
  const int length = static_cast<int>(mnl_nlmsg_get_payload_len(message)) - int{MNL_ALIGN(sizeof(nfgenmsg))};
  each_attribute(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)), length, [&](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case CTA_TUPLE_ORIG:
        flow.original = tuple_of(attribute, flow.protocol);
        break;
      case CTA_TUPLE_REPLY:
        flow.reply = tuple_of(attribute, flow.protocol);
        break;
      case CTA_MARK:
        flow.mark = ntohl(mnl_attr_get_u32(attribute));
        break;
      case CTA_STATUS:
        flow.status = ntohl(mnl_attr_get_u32(attribute));
        break;
      case CTA_ID:
        std::memcpy(&flow.id, mnl_attr_get_payload(attribute), sizeof flow.id);  // opaque
        break;
      case CTA_ZONE:
        flow.zone = ntohs(mnl_attr_get_u16(attribute));
        break;
      default:
        break;
    }
  });
  return flow;
}

nlmsghdr* start(char* buffer, uint8_t operation, uint16_t flags, uint8_t family, uint32_t sequence) {
  auto* message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | operation;
  message->nlmsg_flags = NLM_F_REQUEST | flags;
  message->nlmsg_seq = sequence;
  auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  header->nfgen_family = family;
  header->version = NFNETLINK_V0;
  return message;
}

// The original tuple identifies a flow within its zone.
void put_tuple(nlmsghdr* message, const Flow& flow) {
  const auto& tuple = flow.original;
  const bool v4 = tuple.source.is_v4();
  auto* nest = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
  auto* ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);
  mnl_attr_put(message, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.source.wire().size(), tuple.source.wire().data());
  mnl_attr_put(message, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.destination.wire().size(),
               tuple.destination.wire().data());
  mnl_attr_nest_end(message, ip);
  auto* protocol = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(message, CTA_PROTO_NUM, flow.protocol);
  mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(tuple.source_port));
  mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(tuple.destination_port));
  mnl_attr_nest_end(message, protocol);
  mnl_attr_nest_end(message, nest);
  if (flow.zone != 0) mnl_attr_put_u16(message, CTA_ZONE, htons(flow.zone));
  mnl_attr_put(message, CTA_ID, sizeof flow.id, &flow.id);
}

bool has_ports(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP || protocol == IPPROTO_UDPLITE;
}

}  // namespace

bool FlowFilter::matches(const Flow& flow) const {
  return (!protocol || *protocol == flow.protocol) && (!backend || *backend == flow.reply.source) &&
         (!backend_port || *backend_port == flow.reply.source_port) &&
         (!service || *service == flow.original.destination) &&
         (!service_port || *service_port == flow.original.destination_port) &&
         (!client || *client == flow.original.source) && (!zone || *zone == flow.zone) &&
         (flow.mark & mark_mask) == (mark & mark_mask) && (!only_translated || (flow.status & IPS_DST_NAT) != 0);
}

Result<Conntrack> Conntrack::open() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket) return sys_fail("conntrack: socket");
  const int room = 4 << 20;  // a listing comes in bursts; what does not fit is ENOBUFS
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  return Conntrack(std::move(socket));
}

Result<std::vector<Flow>> Conntrack::flows(std::span<const FlowFilter> filters) {
  std::array<char, 256> request;
  // All families in one listing. The kernel could filter by mark alone, which few ask for.
  const auto* message = start(request.data(), IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, ++sequence_);
  if (send(socket_.get(), message, message->nlmsg_len, 0) < 0) return sys_fail("conntrack: list");
  std::vector<Flow> found;
  const auto buffer = std::make_unique<char[]>(kEventRoom);
  while (true) {
    const ssize_t received = recv(socket_.get(), buffer.get(), kEventRoom, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return sys_fail("conntrack: list");
    int left = static_cast<int>(received);
    for (auto* part = reinterpret_cast<const nlmsghdr*>(buffer.get()); mnl_nlmsg_ok(part, left);
         part = mnl_nlmsg_next(part, &left)) {
      if (part->nlmsg_seq != sequence_) continue;  // of a listing that failed halfway
      if (part->nlmsg_type == NLMSG_DONE) return found;
      if (part->nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(part))->error;
        if (error == EINVAL || error == EOPNOTSUPP)
          return fail(Error::Code::unsupported, "this kernel has no conntrack (modprobe nf_conntrack_netlink)");
        return sys_fail("conntrack: list", error);
      }
      auto flow = flow_of(part);
      if (std::ranges::any_of(filters, [&](const auto& filter) { return filter.matches(flow); })) found.push_back(flow);
    }
  }
}

Result<size_t> Conntrack::remove(std::span<const FlowFilter> filters) {
  if (filters.empty()) return size_t{0};
  auto found = flows(filters);
  if (!found) return std::unexpected(std::move(found.error()));
  // Flows of ICMP and others without ports end by their short timeouts.
  std::erase_if(*found, [](const Flow& flow) { return !has_ports(flow.protocol); });
  const std::span<const Flow> all(*found);
  for (size_t first = 0; first < all.size(); first += kDeletesPerSend)
    if (auto removed = remove(all.subspan(first, std::min(kDeletesPerSend, all.size() - first))); !removed)
      return std::unexpected(std::move(removed.error()));
  return all.size();
}

Status Conntrack::remove(std::span<const Flow> flows) {
  std::string bytes;
  std::array<char, 512> one;
  for (const auto& flow : flows) {
    auto* message = start(one.data(), IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
                          static_cast<uint8_t>(flow.original.source.family()), ++sequence_);
    put_tuple(message, flow);
    bytes.append(one.data(), MNL_ALIGN(message->nlmsg_len));
  }
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent = sendto(socket_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return sys_fail("conntrack: delete");
  // The kernel has worked through all of it when sendto returns.
  Status result;
  const auto buffer = std::make_unique<char[]>(kEventRoom);
  for (size_t answers = 0; answers < flows.size();) {
    const ssize_t received = recv(socket_.get(), buffer.get(), kEventRoom, MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return sys_fail("conntrack: delete");
    int left = static_cast<int>(received);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer.get()); mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_type != NLMSG_ERROR) continue;
      ++answers;
      const int error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
      if (error != 0 && error != ENOENT && result) result = sys_fail("conntrack: delete", error);
    }
  }
  return result;
}

}  // namespace keelson::host
