#pragma once
// Which addresses of one CIDR are free. Pure: no files, no clock.
//
// Never given out: the network's own address, an IPv4 broadcast address, and the first
// address, which people expect to be a gateway's (a network of one or two addresses is
// used whole). What has never been used comes first, then what was freed longest ago, so
// that a stale connection meets a new pod as late as possible. At most the first 2^20
// addresses of a network are used, which bounds the memory.

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "api/ip.h"
#include "host/error.h"

namespace keelson::network {

class AddressPool {
 public:
  // Invalid when the network has no address to give.
  static host::Result<AddressPool> create(const api::Cidr& network);

  // Code unavailable when all are in use.
  host::Result<api::IpAddress> allocate();
  // Takes this very address (it was allocated before a restart). False when it is not of
  // this pool or is taken already.
  bool reserve(const api::IpAddress& address);
  // What is not allocated is ignored.
  void release(const api::IpAddress& address);
  // Fresh addresses are handed out from the one behind this on.
  void continue_after(const api::IpAddress& address);

  const api::Cidr& network() const { return network_; }
  uint64_t capacity() const { return end_ - first_; }
  uint64_t used() const { return used_; }

 private:
  enum class State { taken, freed };
  AddressPool(const api::Cidr& network, uint64_t first, uint64_t end);
  bool inside(uint64_t index) const { return index >= first_ && index < end_; }

  api::Cidr network_;
  uint64_t first_, end_;  // indices into the network that may be used: [first, end)
  uint64_t next_;         // where the walk over fresh addresses stands
  uint64_t fresh_left_;   // how many steps of that walk are left
  uint64_t used_ = 0;
  std::unordered_map<uint64_t, State> known_;  // those that are not fresh
  std::deque<uint64_t> freed_;                 // oldest first; may name some that were reserved since
};

}  // namespace keelson::network
