#pragma once
// sock_diag(7): ending other processes' sockets by SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY,
// linux/inet_diag.h), as `ss -K` does. Whoever waits in such a socket is woken with
// ECONNABORTED, and a TCP peer that still listens gets a reset.

#include <cstddef>
#include <cstdint>
#include <unordered_set>

#include "host/error.h"
#include "host/fd.h"

namespace keelson::host {

// One NETLINK_SOCK_DIAG socket, in one network namespace. For one thread at a time. Calls
// go through all of the namespace's sockets, so make them from a worker.
class SocketDiag {
 public:
  // In the network namespace of the calling thread.
  static Result<SocketDiag> open();
  // In the namespace behind this descriptor. A thread of its own enters it, opens the
  // socket and ends: no other thread ever changes its namespace.
  static Result<SocketDiag> open_in(int network_namespace);

  // Ends the connected sockets of `protocol` (IPPROTO_TCP, IPPROTO_UDP) that bear one of
  // these cookies (SO_COOKIE); how many there were. One that ended by itself meanwhile is
  // success; after a failure some may have been ended. Code unsupported when the kernel
  // cannot.
  Result<size_t> destroy(uint8_t protocol, const std::unordered_set<uint64_t>& cookies);

 private:
  explicit SocketDiag(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
  uint32_t sequence_ = 0;
};

}  // namespace keelson::host
