#pragma once
// Everything of a container that can be made before there is a process: cgroups and
// their limits, the root's mount, volumes, user, capabilities, seccomp program. Done on
// a worker; the shim then only clones, and the container's first process puts the
// pieces together (shim/root.cpp).

#include <string>
#include <vector>

#include "agent/runtime/devices.h"
#include "agent/runtime/pod_files.h"
#include "agent/runtime/seccomp.h"
#include "api/cri.h"
#include "host/cgroup.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::runtime {

// What is the same for every launch. Outlives them all; used by several workers at once.
struct LaunchContext {
  const host::CgroupTree* cgroups = nullptr;
  const DeviceGuard* devices = nullptr;
  SeccompProfiles* seccomp = nullptr;
  CapabilitySet available = 0;
};

// The body and the descriptors of a start request (shim/protocol.h).
struct Launch {
  std::string body;
  std::vector<host::Fd> fds;
};

// After a failure there may be a directory or a cgroup more, which the next attempt or
// the pod's removal takes away.
host::Result<Launch> prepare_launch(const LaunchContext& context, const api::SandboxSpec& pod,
                                    const host::Path& pod_cgroup, const PodPaths& paths,
                                    const api::ContainerSpec& spec);

// "burstable/podUID": as Kubernetes lays them out.
host::Path pod_cgroup_of(const api::SandboxSpec& pod);
host::CgroupLimits cgroup_limits_of(const api::ResourceLimits& limits, bool oom_group);

// shim::SandboxFlag bits.
uint32_t sandbox_flags_of(const api::SandboxSpec& pod);
// "net.core.somaxconn" may be set in a pod; the text of the refusal otherwise. Gives
// the list of SandboxRequest.
host::Result<std::string> encode_sysctls(const api::SandboxSpec& pod);

}  // namespace keelson::runtime
