#pragma once
// Which devices a container may open: the usual harmless ones, terminals, and
// mknod of anything (a node alone opens nothing). By v1's device controller where it is
// mounted, else by a BPF program on the container's v2 cgroup; never on any other.

#include "host/cgroup.h"
#include "host/error.h"

namespace keelson::runtime {

// Loads the program once and attaches it to one cgroup after another. Safe on
// every thread after create().
class DeviceGuard {
 public:
  static host::Result<DeviceGuard> create(const host::CgroupTree& cgroups);
  // On a container's cgroup that no process has entered yet. Safe to repeat.
  host::Status restrict(const host::CgroupTree& cgroups, const host::Path& cgroup) const;

 private:
  host::Fd program_;  // unset where v1 does it
};

}  // namespace keelson::runtime
