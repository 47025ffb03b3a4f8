#pragma once
// The shim's children: how they are born, and what their ends mean.

#include "agent/runtime/shim/state.h"

namespace keelson::shim {

// A process that is born into the PID namespace of `member` (-1: ours).
pid_t clone_beside(Shim& shim, uint64_t flags, int cgroup, int member, int* pidfd);
void kill_everything(Shim& shim);
bool childless(const Shim& shim);
// Each exit is on disk before its process is reaped. Ends the shim when it is told to and
// has no child left.
void reap_children(Shim& shim);

}  // namespace keelson::shim
