#pragma once
// The service proxy: Kubernetes nouns in, the kernel's load balancing out.
//
// Owner: main. Loop's thread, all of it. Inputs may be repeated and come in any
// order; they are gathered for one turn of the loop and then act at once. Nothing
// that the kernel holds from before a restart is changed or removed until synced()
// says that everything has been heard.
//
// A backend that is gone takes its clients with it: their sockets are ended and their
// flows deleted, so that they try again elsewhere at once. Gone is a pod whose network is
// no more, or an address that its Endpoints no longer list; not one that is unready or
// terminating, whose connections go on. Datagrams move on from those too.
//
// The data plane outlives this object: only teardown() takes it out of the kernel.

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/proxy/allocation.h"
#include "agent/proxy/plan.h"
#include "agent/proxy/service_table.h"
#include "api/object.h"
#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"
#include "host/ip.h"
#include "host/link_monitor.h"
#include "host/loop.h"

namespace keelson::proxy {

class Clients;
class Kernel;
class PacketPath;

struct Settings {
  host::Path bpffs = "/sys/fs/bpf/keelson";
  host::Path cgroup_root;       // v2; what the socket load balancer sees
  host::Path allocations_file;  // ClusterIPs and NodePorts, kept over reboots
  std::string node_name;
  std::vector<host::IpAddress> node_addresses;  // the node's own, primary first (--node-ip)
  std::vector<host::Cidr> pod_cidrs, service_cidrs;
  uint16_t first_node_port = 30000, last_node_port = 32767;
  // Interfaces with an address of their own, whenever they appear, bring clients from
  // outside the node, except those whose names begin so: the pods' cables. Absent: none do.
  std::optional<std::string> cable_prefix;
  bool packet_path = true;  // false: services for sockets only, nftables untouched
  Limits limits;            // of new maps; pinned ones keep their sizes
};

// ---- looking inside -------------------------------------------------------------------

struct ServiceView {
  EntryKey key;
  uint32_t id = 0;                // in the kernel's maps
  std::vector<std::string> vips;  // "10.96.0.1:80/TCP"; the node's ports as "*:30080/TCP"
  uint32_t ready = 0, terminating = 0, draining = 0;
  uint32_t affinity_seconds = 0;
  uint64_t forwarded = 0, refused = 0;  // flows
  std::string degraded;                 // why it is not, or not all, in the kernel
};

struct BackendView {
  uint32_t id = 0;
  EntryKey key;
  std::string address, pod, state;  // "10.244.0.5:8080", "web-0", "ready"
  uint64_t flows = 0;
};

struct FlowView {
  uint64_t number = 0;  // counts on without a gap
  int64_t time_us = 0;  // since the epoch
  std::string path;     // "socket" or "packet"
  std::string client, vip, backend, protocol, service, verdict;
};

struct CounterView {
  std::string reason;  // "forwarded", "no_endpoint", …
  uint64_t flows = 0;
};

class Proxy {
 public:
  // Attaches to the kernel and registers this thread's network namespace as the node's.
  static host::Result<std::unique_ptr<Proxy>> create(host::Loop& loop, Settings settings);
  ~Proxy();

  // Whole sets. Services get their addresses and node ports before this returns.
  void set_services(std::vector<api::Service> services);
  void set_endpoints(std::vector<api::Endpoints> endpoints);
  // One EndpointSlice of the cluster, whenever it differs: the endpoints on other nodes.
  void set_slice(const api::EndpointSlice& slice);
  void remove_slice(const std::string& namespace_, const std::string& name);
  // One pod of this node, with its status, whenever that has changed.
  void set_pod(const api::Pod& pod);
  void remove_pod(const std::string& namespace_, const std::string& name);

  // The network namespace of a pod (not of one with hostNetwork): its processes may
  // use services from now on. `veth` is the node's end of its link; "" when it has none.
  // `netns` is the namespace itself: without it clients in there are not ended when their
  // backend goes.
  host::Status register_netns(const std::string& uid, uint64_t cookie, const std::string& veth, host::Fd netns = {});
  void unregister_netns(const std::string& uid);

  // All sources have spoken and all pods are recovered: what nobody asked for goes.
  void synced();

  // Carries out what is pending now, instead of in the next turn of the loop. A
  // failure is kept, reported by problems(), and tried again. Packets from outside see
  // new backends some milliseconds later, once nftables has been told: settled().
  host::Status flush();
  bool settled() const;

  // Takes all of it out of the kernel: programs, maps, pins. Nothing else may be
  // called afterwards.
  host::Status teardown();

  // As `GET /services` shows them.
  std::vector<api::Service> services_with_allocations() const;
  std::vector<api::Problem> problems() const;
  std::vector<ServiceView> services() const;
  std::vector<BackendView> backends() const;
  std::vector<FlowView> flows(uint64_t after = 0);  // the latest past that number, oldest first, 1,024 at most
  void on_flows(std::function<void()> listener);    // called when there are more; one listener, null for none
  std::vector<CounterView> counters() const;
  Planner::Usage usage() const;
  const Limits& limits() const;

 private:
  struct Netns {
    uint64_t cookie = 0;
    std::string veth;
  };
  Proxy(host::Loop& loop, Settings settings);

  void touch();
  host::Status carry_out(const std::vector<EntryChange>& changes, host::TimePoint now);
  host::Status start_over();
  host::Status write_netns(const std::string& uid);
  host::Status apply(const Plan& plan);
  host::Status forget_strangers();
  void release_later(host::TimePoint now);
  void end_flows_to_pod(const std::string& uid);
  void end_flows_to_missing(const api::Endpoints& before, const api::Endpoints* now);
  void end_flows_to(const host::IpAddress& address, uint16_t port, Protocol protocol);
  void interfaces_changed(const std::set<std::string>& names);
  host::Status look_at_interfaces();
  void save_allocations();
  void watch_flows();
  void gather_flows();

  host::Loop& loop_;
  Settings settings_;
  Allocations allocations_;
  ServiceTable table_;
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<Planner> planner_;
  std::unique_ptr<PacketPath> packets_;
  std::unique_ptr<Clients> clients_;
  std::vector<host::IpAddress> local_addresses_;
  std::map<std::string, int> uplinks_;  // by name: the interface that the program is attached to
  std::optional<host::LinkMonitor> monitor_;
  host::FdWatch monitor_watch_;
  bool synced_ = false, garbage_ = false, failed_ = false;
  uint64_t node_cookie_ = 0;
  std::map<std::string, Netns> netns_;                                           // by pod uid
  std::unordered_map<std::string, std::vector<host::IpAddress>> pod_addresses_;  // by pod uid
  std::unordered_map<ServiceName, std::string, ServiceNameHash> pod_uids_;
  std::vector<api::Problem> allocation_problems_;
  std::string last_failure_;
  std::deque<FlowView> flows_;
  uint64_t flows_seen_ = 0;
  host::FdWatch flow_watch_;
  std::function<void()> flow_listener_;
  host::Timer flush_timer_, release_timer_, retry_timer_, flow_timer_;
};

}  // namespace keelson::proxy
