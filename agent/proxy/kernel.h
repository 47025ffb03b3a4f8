#pragma once
// The kernel half as the proxy holds it: pinned maps, their memory, the programs
// and where they are attached. It carries plans out and decides nothing.
//
// Pins: <bpffs>/v<schema>/<map> for maps, <bpffs>/links/<program> for links. Both
// outlive the process: a new agent finds them, takes the maps over with what is in
// them and swaps the programs without a gap. Loop's thread.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/proxy/plan.h"
#include "bpf/abi.h"
#include "host/bpf.h"
#include "host/error.h"
#include "host/file.h"
#include "host/ip.h"

namespace keelson::proxy {

struct KernelSettings {
  host::Path bpffs;
  host::Path cgroup_root;  // of the v2 hierarchy
  std::vector<host::Cidr> service_cidrs;
  Limits limits;  // for maps that do not exist yet; pinned ones keep their sizes
};

class Kernel {
 public:
  // Loads the programs, makes or takes over the maps; attaches nothing. What the
  // kernel lacks is named by the error. A failure leaves at most empty pinned maps.
  static host::Result<std::unique_ptr<Kernel>> open(const KernelSettings& settings);
  ~Kernel();

  // To the cgroup; pinned links of an earlier agent get the new programs. Safe to
  // repeat. After a failure some hooks may be attached: teardown() or try again.
  host::Status attach();

  // The packet programs, on the ingress of an interface of this network namespace: tcx
  // where the kernel has it (6.6), else clsact. Safe to repeat; an interface that was
  // made anew under its old name is noticed.
  enum class Side { uplink, pod };
  host::Status attach_interface(const std::string& name, Side side);
  // An interface that is gone is success.
  host::Status detach_interface(const std::string& name);
  // Those that an earlier agent (or this one) attached.
  std::vector<std::string> attached_interfaces() const;

  // nftables knows these backends' addresses now: packets may be given to them.
  void introduce_to_packets(const std::vector<uint32_t>& backends);

  // The sizes that the maps really have.
  const Limits& limits() const { return limits_; }
  host::Result<KernelState> read() const;
  // After a failure the plan is carried out in part: read() and plan anew.
  host::Status apply(const Plan& plan);

  host::Status set_netns(uint64_t cookie, const abi::netns& value);
  host::Status remove_netns(uint64_t cookie);
  host::Result<std::map<uint64_t, abi::netns>> netns() const;
  // Socket cookie → abi::sock_flow of the connected sockets, for use on a worker.
  host::Result<host::BpfMap> connections() const;
  host::Status set_node_addresses(const std::vector<host::IpAddress>& addresses);

  host::Result<std::vector<uint64_t>> counters() const;  // by abi::reason
  abi::service_stat service_stat(uint32_t id) const;
  uint64_t backend_stat(uint32_t id) const;
  // Hands over the flow events since the last call.
  void drain_flows(const std::function<void(const abi::flow_event&)>& visit);
  int flows_fd() const { return flows_->fd(); }  // readable while there are any

  // Detaches and unpins everything that lies under `bpffs`; it need not be open.
  static host::Status remove_pins(const host::Path& bpffs);

 private:
  struct Programs;
  Kernel();

  KernelSettings settings_;
  Limits limits_;
  std::unique_ptr<Programs> programs_;
  host::BpfMap vip_, service_, slot_, backend_, netns_, peer_, node_address_, counter_, service_stat_, backend_stat_;
  host::BpfMemory service_memory_, slot_memory_, backend_memory_, service_stat_memory_, backend_stat_memory_;
  std::function<void(const abi::flow_event&)> flow_visitor_;
  std::unique_ptr<host::BpfRing> flows_;
};

}  // namespace keelson::proxy
