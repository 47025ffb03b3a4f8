#pragma once
// The agent's end of the socket: connections, requests, answers. A connection that does not
// take an answer at once is dropped; the agent connects again and reads the journal.

#include "agent/runtime/shim/socket.h"
#include "agent/runtime/shim/state.h"

namespace keelson::shim {

void accept_agent(Shim& shim);
void read_agent(Shim& shim);
void drop_agent(Shim& shim);

template <typename Message>
void answer(Shim& shim, Type type, uint32_t number, const Message& message, const int* fds = nullptr,
            size_t fd_count = 0) {
  if (shim.agent < 0) return;
  // An agent that does not read is let go: it connects again and reads the journal.
  if (!send_message(shim.agent, type, number, message, fds, fd_count)) drop_agent(shim);
}

// What was asked for over a connection that is gone has no number in the new one.
template <typename Message>
void answer_to(Shim& shim, uint32_t connection, Type type, uint32_t number, const Message& message,
               const int* fds = nullptr, size_t fd_count = 0) {
  if (connection == shim.connection) answer(shim, type, number, message, fds, fd_count);
}

void answer_done(Shim& shim, uint32_t number);
void answer_error(Shim& shim, uint32_t number, int error_number, const char* text, size_t size);
// `what`, and what the error number means when it is not 0.
void answer_error(Shim& shim, uint32_t number, int error_number, const char* what);

}  // namespace keelson::shim
