#include "host/socket_diag.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

namespace keelson::host {
namespace {

constexpr size_t kRoom = 64 << 10;

constexpr uint32_t states_of(uint8_t protocol) {
  constexpr uint32_t kEstablished = 1U << TCP_ESTABLISHED;
  if (protocol != IPPROTO_TCP) return kEstablished;  // what connect() makes of a datagram socket
  return kEstablished | 1U << TCP_SYN_SENT | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 |
         1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING;
}

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

Request request(uint16_t type, uint16_t flags, uint32_t sequence, uint8_t family, uint8_t protocol) {
  Request made{};
  made.header = {.nlmsg_len = sizeof made,
                 .nlmsg_type = type,
                 .nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags),
                 .nlmsg_seq = sequence,
                 .nlmsg_pid = 0};
  made.body.sdiag_family = family;
  made.body.sdiag_protocol = protocol;
  return made;
}

uint64_t cookie_of(const inet_diag_sockid& id) { return uint64_t{id.idiag_cookie[1]} << 32 | id.idiag_cookie[0]; }

int error_of(const nlmsghdr* message) { return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error; }

std::unexpected<Error> unsupported() {
  return fail(Error::Code::unsupported,
              "this kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY; modprobe tcp_diag udp_diag)");
}

}  // namespace

Result<SocketDiag> SocketDiag::open() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket) return sys_fail("sock_diag: socket");
  return SocketDiag(std::move(socket));
}

Result<SocketDiag> SocketDiag::open_in(int network_namespace) {
  Result<SocketDiag> result = fail(Error::Code::failed, "sock_diag: no thread");
  try {
    std::thread([&] {
      if (setns(network_namespace, CLONE_NEWNET) != 0)
        result = sys_fail("sock_diag: enter the network namespace");
      else
        result = open();
    }).join();
  } catch (const std::system_error& error) {
    return sys_fail("sock_diag: start a thread", error.code().value());
  }
  return result;
}

Result<size_t> SocketDiag::destroy(uint8_t protocol, const std::unordered_set<uint64_t>& cookies) {
  const auto buffer = std::make_unique<char[]>(kRoom);
  // What answers the request just sent, until `visit` has seen all of it; the errno that ended it.
  const auto ask = [&](const Request& request, auto visit) -> int {
    if (send(socket_.get(), &request, sizeof request, 0) < 0) return errno;
    for (;;) {
      const ssize_t received = recv(socket_.get(), buffer.get(), kRoom, 0);
      if (received < 0 && errno == EINTR) continue;
      if (received < 0) return errno;
      int left = static_cast<int>(received);
      for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.get()); mnl_nlmsg_ok(message, left);
           message = mnl_nlmsg_next(message, &left)) {
        if (message->nlmsg_seq != sequence_) continue;
        if (message->nlmsg_type == NLMSG_DONE) return 0;
        if (message->nlmsg_type == NLMSG_ERROR) return error_of(message);
        visit(message);
      }
    }
  };

  struct Found {
    uint8_t family;
    inet_diag_sockid id;
  };
  std::vector<Found> found;
  for (const uint8_t family : {AF_INET, AF_INET6}) {
    auto list = request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, ++sequence_, family, protocol);
    list.body.idiag_states = states_of(protocol);
    const int error = ask(list, [&](const nlmsghdr* message) {
      if (mnl_nlmsg_get_payload_len(message) < sizeof(inet_diag_msg)) return;
      const auto* socket = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(message));
      if (cookies.contains(cookie_of(socket->id))) found.push_back({socket->idiag_family, socket->id});
    });
    if (error == ENOENT || error == EINVAL) return unsupported();  // no such module
    if (error != 0) return sys_fail("sock_diag: list", error);
  }
  size_t ended = 0;
  for (const auto& socket : found) {
    auto end = request(SOCK_DESTROY, NLM_F_ACK, ++sequence_, socket.family, protocol);
    end.body.id = socket.id;
    const int error = ask(end, [](const nlmsghdr*) {});
    if (error == EOPNOTSUPP) return unsupported();
    if (error != 0 && error != ENOENT) return sys_fail("sock_diag: destroy", error);
    ended += error == 0 ? 1 : 0;
  }
  return ended;
}

}  // namespace keelson::host
