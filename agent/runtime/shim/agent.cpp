#include "agent/runtime/shim/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/runtime/shim/children.h"
#include "agent/runtime/shim/container_control.h"
#include "agent/runtime/shim/exec_control.h"
#include "agent/runtime/shim/sandbox_control.h"

namespace keelson::shim {

void drop_agent(Shim& shim) { close_fd(shim.agent); }

void answer_done(Shim& shim, uint32_t number) {
  if (shim.agent >= 0 && !send_packet(shim.agent, Type::done, number, nullptr, 0)) drop_agent(shim);
}

void answer_error(Shim& shim, uint32_t number, int error_number, const char* text, size_t size) {
  answer(shim, Type::error, number, Failure{error_number, std::string_view(text, size)});
}

void answer_error(Shim& shim, uint32_t number, int error_number, const char* what) {
  char text[256];
  const char* reason = error_number != 0 ? strerror(error_number) : nullptr;
  snprintf(text, sizeof text, "%s%s%s", what, reason != nullptr ? ": " : "", reason != nullptr ? reason : "");
  answer_error(shim, number, error_number, text, strlen(text));
}

void accept_agent(Shim& shim) {
  const int fd = accept4(kListenFd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0) {
    close(fd);
    return;
  }
  drop_agent(shim);  // the newest agent is the agent
  shim.agent = fd;
  ++shim.connection;
  shim.sandbox_number = 0;
  watch(shim, fd, Watch::agent);
}

void read_agent(Shim& shim) {
  static Packet packet;
  while (shim.agent >= 0) {
    switch (receive_packet(shim.agent, packet)) {
      case Received::nothing:
        return;
      case Received::closed:
        return drop_agent(shim);
      case Received::message:
        break;
    }
    switch (static_cast<Type>(packet.header.type)) {
      case Type::hello:
        answer_sandbox(shim, Type::welcome, packet.header.number);
        break;
      case Type::sandbox:
        handle_sandbox(shim, packet);
        break;
      case Type::start:
        handle_start(shim, packet);
        break;
      case Type::signal:
        handle_signal(shim, packet);
        break;
      case Type::exec:
        handle_exec(shim, packet);
        break;
      case Type::shutdown:
        shim.closing = true;
        kill_everything(shim);
        answer_done(shim, packet.header.number);
        if (childless(shim)) _exit(0);
        break;
      default:
        answer_error(shim, packet.header.number, EOPNOTSUPP, "this shim does not know the request");
    }
    packet.close_fds();
  }
}

}  // namespace keelson::shim
