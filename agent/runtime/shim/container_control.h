#pragma once
// Containers, from the shim's side: start, log, signal, end.

#include "agent/runtime/shim/socket.h"
#include "agent/runtime/shim/state.h"

namespace keelson::shim {

Container* find(Shim& shim, std::string_view name, uint32_t attempt);
void handle_start(Shim& shim, Packet& packet);
void handle_signal(Shim& shim, const Packet& packet);
// What its first process says while it sets itself up.
void read_control(Shim& shim, uint32_t index);
void read_stream(Shim& shim, uint32_t index, bool error);
// Records it, reaps it, tells the agent, and lets go of all that was kept for it.
void container_ended(Shim& shim, uint32_t index, int wait_status);

}  // namespace keelson::shim
