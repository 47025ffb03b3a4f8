#pragma once
// The clients of backends that are gone. A socket that was led to one would wait for its
// own timeout, or for ever; it is ended, and whoever waits in it learns so at once
// (ECONNABORTED). Only sockets that came by a Service: the data plane has written down
// which (abi::sock_flow).
//
// One pass on a worker for all that has gathered: through the table of connections, then
// through the sockets of those network namespaces that have one to end. Loop's thread.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "agent/proxy/entry.h"
#include "host/bpf.h"
#include "host/fd.h"
#include "host/ip.h"
#include "host/loop.h"

namespace keelson::proxy {

class Clients {
 public:
  // Where their backend was. `backend`, its number in the kernel, tells one Service's
  // clients of a place from another's.
  struct Gone {
    host::IpAddress address;
    std::optional<uint16_t> port;
    std::optional<Protocol> protocol;
    std::optional<uint32_t> backend;
  };

  Clients(host::Loop& loop, host::BpfMap connections, uint64_t own_netns);
  ~Clients();

  // A pod's network namespace, by its cookie. One that was not given is passed over.
  void add_netns(uint64_t cookie, host::Fd netns);
  void remove_netns(uint64_t cookie);

  // Acts with the next sync().
  void end(Gone gone) { gone_.push_back(gone); }
  // Starts what is to be done. A failure is logged: those clients keep their own timeouts.
  void sync();
  // Nothing is under way and nothing is left to do.
  bool settled() const { return !busy_ && gone_.empty(); }

 private:
  host::Loop& loop_;
  // Shared with the job that is under way, which may outlive this object.
  std::shared_ptr<host::BpfMap> connections_;
  std::shared_ptr<bool> alive_;
  const uint64_t own_netns_;
  std::map<uint64_t, std::shared_ptr<host::Fd>> netns_;  // of pods
  std::vector<Gone> gone_;
  bool busy_ = false;
};

}  // namespace keelson::proxy
