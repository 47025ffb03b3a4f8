#pragma once
// The kernel's flow table (ctnetlink; linux/netfilter/nfnetlink_conntrack.h): what flows
// there are, and deleting those of a backend that has gone, so that its TCP clients are
// reset by whoever gets their next segment and its UDP clients are translated anew.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/ip.h"

namespace keelson::host {

// One direction of a flow, as its packets look.
struct FlowTuple {
  IpAddress source, destination;
  uint16_t source_port = 0, destination_port = 0;  // 0 for protocols without
  bool operator==(const FlowTuple&) const = default;
};

struct Flow {
  uint8_t protocol = 0;  // IPPROTO_*
  FlowTuple original;    // as the client sent it: to the VIP
  FlowTuple reply;       // as the answers come: from the backend
  uint32_t mark = 0;
  uint32_t id = 0;      // tells this flow from a later one with the same tuples
  uint32_t status = 0;  // IPS_*
  uint16_t zone = 0;
};

// What is given must hold.
struct FlowFilter {
  std::optional<uint8_t> protocol;
  std::optional<IpAddress> backend;  // the reply's source: where the flow was translated to
  std::optional<uint16_t> backend_port;
  std::optional<IpAddress> service;  // the original's destination
  std::optional<uint16_t> service_port;
  std::optional<IpAddress> client;  // the original's source
  std::optional<uint16_t> zone;
  uint32_t mark = 0, mark_mask = 0;  // (flow's mark & mask) == mark; mask 0: any
  bool only_translated = false;      // with IPS_DST_NAT
  bool matches(const Flow& flow) const;
};

// One NETLINK_NETFILTER socket, in the network namespace of the thread that opened it.
// For one thread at a time. A listing goes through the whole table (some 100 ns for each
// flow), so ask for many filters at once, and from a worker when the table may be large.
class Conntrack {
 public:
  // Code unsupported when the kernel has no conntrack (module nf_conntrack_netlink).
  static Result<Conntrack> open();

  // Those that at least one filter matches. Flows that come or go meanwhile may be missed.
  Result<std::vector<Flow>> flows(std::span<const FlowFilter> filters);
  // Deletes them; how many there were. One that ended by itself meanwhile is success.
  Result<size_t> remove(std::span<const FlowFilter> filters);

 private:
  explicit Conntrack(Fd socket) : socket_(std::move(socket)) {}
  Status remove(std::span<const Flow> flows);
  Fd socket_;
  uint32_t sequence_ = 0;
};

}  // namespace keelson::host
