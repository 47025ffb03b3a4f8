#include "host/service_manager.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "host/fd.h"

namespace keelson::host {

Status notify_service_manager(std::string_view address, std::string_view state) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (address.size() < 2 || address.size() >= sizeof to.sun_path || (address[0] != '/' && address[0] != '@')) {
    return fail(Error::Code::invalid, fmt::format("\"{}\" is no address of a service manager", address));
  }
  std::memcpy(to.sun_path, address.data(), address.size());
  if (address[0] == '@') to.sun_path[0] = '\0';
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return sys_fail("make a socket for the service manager");
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  if (::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), size) < 0) {
    return sys_fail(fmt::format("tell the service manager at {}", address));
  }
  return {};
}

}  // namespace keelson::host
