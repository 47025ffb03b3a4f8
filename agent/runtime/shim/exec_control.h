#pragma once
// Commands in running containers, from the shim's side.

#include "agent/runtime/shim/socket.h"
#include "agent/runtime/shim/state.h"

namespace keelson::shim {

void handle_exec(Shim& shim, Packet& packet);
void read_exec_control(Shim& shim, uint32_t index);
// Reaps it and tells the agent.
void exec_ended(Shim& shim, uint32_t index, int wait_status);

}  // namespace keelson::shim
