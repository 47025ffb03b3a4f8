#pragma once
// Packets with descriptors over a SEQPACKET socket.

#include <cstddef>
#include <cstdint>

#include "agent/runtime/shim/protocol.h"

namespace keelson::shim {

struct Packet {
  Header header;
  const char* body = nullptr;  // in the receive buffer, until the next receive
  int fds[kMaxFds];
  size_t fd_count = 0;

  // Closes what was not taken. take(i) hands the descriptor to the caller.
  void close_fds();
  int take(size_t index);
};

enum class Received { message, nothing, closed };

// Takes one packet. `closed` also stands for a malformed one.
Received receive_packet(int socket, Packet& packet);

// false: the peer does not take it now or is gone; the connection is of no more use.
bool send_packet(int socket, Type type, uint32_t number, const char* body, size_t size, const int* fds = nullptr,
                 size_t fd_count = 0);

template <typename Message>
bool send_message(int socket, Type type, uint32_t number, const Message& message, const int* fds = nullptr,
                  size_t fd_count = 0) {
  char buffer[8192];
  Writer out(buffer, sizeof buffer);
  message.encode(out);
  return out.fits() && send_packet(socket, type, number, buffer, out.size(), fds, fd_count);
}

// One byte kind and text, with at most one descriptor: between shim and child.
bool send_note(int socket, char kind, const char* text, size_t size, int fd = -1);
// Returns the size (kind included), 0 at the end, -1 when there is nothing.
long receive_note(int socket, char* buffer, size_t size, int* fd, bool wait);

}  // namespace keelson::shim
