#pragma once
// nftables' half of the packet path: constant rules that translate by the mark which
// bpf/node_port.bpf.c has set, and one map per family from backend id to address.
//
// Tables ip and ip6 <table>: prerouting DNATs to backend[mark], postrouting SNATs
// where the mark says so, refuse answers with RST or ICMP. A transaction takes some
// milliseconds, so they run on a worker, one at a time, each with all that has
// gathered. Loop's thread.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/conntrack.h"
#include "host/error.h"
#include "host/ip.h"
#include "host/loop.h"
#include "host/nft.h"

namespace keelson::proxy {

class PacketPath {
 public:
  struct Backend {
    host::IpAddress address;
    uint16_t port = 0;
    bool operator==(const Backend&) const = default;
  };
  // Makes the tables, keeping the elements of an earlier agent. `introduced` is told
  // each time which backends nftables has come to know.
  static host::Result<std::unique_ptr<PacketPath>> create(host::Loop& loop, std::string table,
                                                          const std::vector<host::IpAddress>& node_addresses,
                                                          std::function<void(const std::vector<uint32_t>&)> introduced);
  ~PacketPath();

  // An id that is given anew replaces what it had. Acts with the next sync().
  void set(uint32_t id, Backend backend) { wanted_[id] = backend; }
  void remove(uint32_t id) { wanted_.erase(id); }
  void clear() { wanted_.clear(); }
  // Flows to be deleted from conntrack, once nftables no longer leads new ones there.
  void end_flows(host::FlowFilter filter) { ending_.push_back(filter); }
  // Starts what is to be done; a failure is logged and tried again.
  void sync();
  // Nothing is under way and nothing is left to do.
  bool settled() const { return !busy_ && ending_.empty() && wanted_ == installed_; }

  // The tables go; a missing one is success. Blocking.
  static host::Status remove_tables(const std::string& table);

 private:
  using Backends = std::map<uint32_t, Backend>;
  PacketPath(host::Loop& loop, host::nft::Nft nft, std::string table);

  host::Loop& loop_;
  // Shared with the job that is under way, which may outlive this object.
  std::shared_ptr<host::nft::Nft> nft_;
  std::shared_ptr<host::Conntrack> conntrack_;  // null: this kernel has none, so no flows to end
  std::shared_ptr<bool> alive_;
  std::string table_;
  std::function<void(const std::vector<uint32_t>&)> introduced_;
  Backends wanted_, installed_;
  std::vector<host::FlowFilter> ending_;
  bool busy_ = false;
  host::Timer retry_;
};

}  // namespace keelson::proxy
