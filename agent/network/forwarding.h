#pragma once
// The sysctls that make the host a router, and their old values in a file, from before
// the first change until they are restored. Blocking.
//
// Turning forwarding on changes more than the switch: IPv4's resets accept_redirects and
// every interface's own forwarding flag (inet_forward_change in net/ipv4/devinet.c), and
// an IPv6 router no longer listens to router advertisements unless accept_ra is 2, so
// that a host would lose its default route some minutes later. Both are taken care of.

#include <string>

#include "host/error.h"
#include "host/file.h"

namespace keelson::network {

class Forwarding {
 public:
  // `saved` holds the old values; `proc_sys_net` is /proc/sys/net, of the network
  // namespace of the calling thread.
  Forwarding(host::Path saved, std::string boot_id, host::Path proc_sys_net = "/proc/sys/net");

  // What is on already is left alone. Old values that an earlier run saved in this boot
  // stay the ones to restore.
  host::Status enable(bool v4, bool v6);
  // Writes back what was saved, and removes the file. Interfaces that have gone since are
  // ignored. Nothing saved is success.
  host::Status restore();

 private:
  host::Path saved_;
  std::string boot_id_;
  host::Path net_;
};

}  // namespace keelson::network
