#include "agent/runtime/shim/socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace keelson::shim {

namespace {
char receive_buffer[sizeof(Header) + kMaxPacket];
}

void Packet::close_fds() {
  for (size_t i = 0; i < fd_count; ++i) {
    if (fds[i] >= 0) close(fds[i]);
  }
  fd_count = 0;
}

int Packet::take(size_t index) {
  if (index >= fd_count) return -1;
  const int fd = fds[index];
  fds[index] = -1;
  return fd;
}

Received receive_packet(int socket, Packet& packet) {
  packet.fd_count = 0;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 253)];
  iovec part{receive_buffer, sizeof receive_buffer};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno == EAGAIN ? Received::nothing : Received::closed;
  bool too_many = false;
  for (cmsghdr* part_header = CMSG_FIRSTHDR(&message); part_header != nullptr;
       part_header = CMSG_NXTHDR(&message, part_header)) {
    if (part_header->cmsg_level != SOL_SOCKET || part_header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part_header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(part_header) + i * sizeof(int), sizeof fd);
      if (packet.fd_count < kMaxFds) {
        packet.fds[packet.fd_count++] = fd;
      } else {
        close(fd);
        too_many = true;
      }
    }
  }
  const bool whole =
      static_cast<size_t>(size) >= sizeof(Header) && !too_many && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  if (whole) memcpy(&packet.header, receive_buffer, sizeof(Header));
  if (!whole || packet.header.magic != kMagic || packet.header.size != size - sizeof(Header)) {
    packet.close_fds();
    return Received::closed;
  }
  packet.body = receive_buffer + sizeof(Header);
  return Received::message;
}

namespace {

bool send_parts(int socket, iovec* parts, size_t part_count, const int* fds, size_t fd_count) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = part_count;
  if (fd_count > 8) return false;
  if (fd_count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    memset(control, 0, sizeof control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
  }
  ssize_t size;
  do {
    size = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (size < 0 && errno == EINTR);
  return size >= 0;
}

}  // namespace

bool send_packet(int socket, Type type, uint32_t number, const char* body, size_t size, const int* fds,
                 size_t fd_count) {
  Header header;
  header.type = static_cast<uint16_t>(type);
  header.number = number;
  header.size = static_cast<uint32_t>(size);
  iovec parts[2] = {{&header, sizeof header}, {const_cast<char*>(body), size}};
  return send_parts(socket, parts, 2, fds, fd_count);
}

bool send_note(int socket, char kind, const char* text, size_t size, int fd) {
  iovec parts[2] = {{&kind, 1}, {const_cast<char*>(text), size}};
  return send_parts(socket, parts, 2, &fd, fd >= 0 ? 1 : 0);
}

long receive_note(int socket, char* buffer, size_t size, int* fd, bool wait) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{buffer, size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (received < 0 && errno == EINTR);
  if (received < 0) return errno == EAGAIN ? -1 : 0;
  if (fd != nullptr) *fd = -1;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int got;
    memcpy(&got, CMSG_DATA(header), sizeof got);
    if (fd != nullptr) {
      *fd = got;
    } else {
      close(got);
    }
  }
  return received;
}

}  // namespace keelson::shim
