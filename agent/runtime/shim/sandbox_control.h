#pragma once
// The sandbox, from the shim's side: its init and what that hands up.

#include "agent/runtime/shim/socket.h"
#include "agent/runtime/shim/state.h"

namespace keelson::shim {

// sandbox_ready or welcome.
void answer_sandbox(Shim& shim, Type type, uint32_t number);
void handle_sandbox(Shim& shim, Packet& packet);
void read_init_control(Shim& shim);

}  // namespace keelson::shim
