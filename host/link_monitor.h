#pragma once
// News of network interfaces and their addresses, from rtnetlink's multicast groups
// (rtnetlink(7)). It says that something has changed and where; what there is now,
// RouteSocket tells (host/netlink.h).

#include <set>
#include <string>

#include "host/error.h"
#include "host/fd.h"

namespace keelson::host {

class LinkMonitor {
 public:
  // Of the calling thread's network namespace, from now on.
  static Result<LinkMonitor> open();
  int fd() const { return socket_.get(); }  // readable when there is news

  // The links that came, went or changed since the last call, or got or lost an address,
  // by name. "" stands for news that were lost: anything may have changed. Never waits.
  std::set<std::string> changed() const;

 private:
  explicit LinkMonitor(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
};

}  // namespace keelson::host
