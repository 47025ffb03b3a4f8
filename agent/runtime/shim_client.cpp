#include "agent/runtime/shim_client.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace keelson::runtime {

namespace {

using host::Error;
using host::Fd;

constexpr size_t kMaxOutgoing = 1024;  // requests that wait for the socket

// A socket's path holds 107 bytes; through a descriptor of its directory any will do.
host::Result<std::pair<Fd, sockaddr_un>> socket_address(const host::Path& directory) {
  auto at = host::open_file(directory, O_PATH | O_DIRECTORY);
  if (!at) return std::unexpected(at.error());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/shim.sock", at->get());
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return std::pair(std::move(*at), address);
}

}  // namespace

host::Result<Fd> connect_shim(const host::Path& run_directory) {
  auto address = socket_address(run_directory);
  if (!address) return std::unexpected(address.error());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return host::sys_fail("socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->second), sizeof(sockaddr_un)) != 0) {
    return host::sys_fail(fmt::format("connect to {}/shim.sock", run_directory.string()));
  }
  return socket;
}

host::Result<Fd> listen_for_shim(const host::Path& run_directory) {
  auto address = socket_address(run_directory);
  if (!address) return std::unexpected(address.error());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return host::sys_fail("socket");
  ::unlink(address->second.sun_path);
  if (::fchmod(socket.get(), 0600) != 0 ||  // before bind: the file is born with it
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address->second), sizeof(sockaddr_un)) != 0 ||
      ::listen(socket.get(), 8) != 0) {
    return host::sys_fail(fmt::format("listen on {}/shim.sock", run_directory.string()));
  }
  return socket;
}

ShimClient::ShimClient(host::Loop& loop, Fd socket, Fd pidfd, Events events)
    : loop_(loop), socket_(std::move(socket)), pidfd_(std::move(pidfd)), events_(std::move(events)) {}

ShimClient::~ShimClient() { *alive_ = false; }

host::Result<std::unique_ptr<ShimClient>> ShimClient::create(host::Loop& loop, Fd socket, Fd pidfd, Events events) {
  std::unique_ptr<ShimClient> client(new ShimClient(loop, std::move(socket), std::move(pidfd), std::move(events)));
  if (auto watched = client->watch(); !watched) return std::unexpected(watched.error());
  auto ended = loop.on_readable(client->pidfd_.get(), [raw = client.get()] {
    raw->process_watch_ = {};
    const auto alive = raw->alive_;
    // What it said before its end is still in the socket.
    if (raw->socket_) raw->readable();
    if (!*alive) return;
    const auto tell = raw->events_.ended;  // it may destroy us
    tell();
  });
  if (!ended) return std::unexpected(ended.error());
  client->process_watch_ = std::move(*ended);
  return client;
}

host::Status ShimClient::watch() {
  auto watched = loop_.on_readable(socket_.get(), [this] { readable(); });
  if (!watched) return std::unexpected(watched.error());
  socket_watch_ = std::move(*watched);
  return {};
}

host::Status ShimClient::reconnect(Fd socket) {
  socket_watch_ = {};
  writable_watch_ = {};
  outgoing_.clear();
  socket_ = std::move(socket);
  return watch();
}

void ShimClient::lose() {
  socket_watch_ = {};
  writable_watch_ = {};
  outgoing_.clear();
  socket_.reset();
  loop_.post([this, alive = alive_] {
    if (!*alive || socket_) return;
    const auto tell = events_.disconnected;  // it may destroy us
    tell();
  });
}

void ShimClient::readable() {
  static_assert(shim::kMaxPacket < (1u << 17));
  std::array<char, sizeof(shim::Header) + shim::kMaxPacket> buffer;
  const auto alive = alive_;
  while (*alive && socket_) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control;
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    ShimMessage received;
    for (cmsghdr* header = size > 0 ? CMSG_FIRSTHDR(&message) : nullptr; header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
        received.fds.emplace_back(fd);
      }
    }
    shim::Header header;
    if (size < static_cast<ssize_t>(sizeof header) || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
      return lose();
    std::memcpy(&header, buffer.data(), sizeof header);
    if (header.magic != shim::kMagic || header.size != size - sizeof header) return lose();
    received.type = static_cast<shim::Type>(header.type);
    received.body.assign(buffer.data() + sizeof header, header.size);
    if (received.type == shim::Type::exited) {
      const auto tell = events_.reported;  // it may destroy us
      tell(received);
      continue;
    }
    const auto waiting = waiting_.find(header.number);
    if (waiting == waiting_.end()) continue;  // its asker has given up
    if (received.type == shim::Type::exec_started) {
      waiting->second(std::move(received));
      continue;
    }
    Reply reply = std::move(waiting->second);
    waiting_.erase(waiting);
    if (received.type == shim::Type::error) {
      auto failure = received.as<shim::Failure>();
      if (!failure) {
        reply(std::unexpected(failure.error()));
      } else {
        const auto code = failure->error_number == ESRCH || failure->error_number == ENOENT ? Error::Code::not_found
                          : failure->error_number == EEXIST                                 ? Error::Code::exists
                                                                                            : Error::Code::failed;
        reply(std::unexpected(Error{code, failure->error_number, std::string(failure->message)}));
      }
    } else {
      reply(std::move(received));
    }
  }
}

void ShimClient::call(shim::Type type, std::string body, std::vector<Fd> fds, Reply reply) {
  if (++last_number_ == 0) ++last_number_;
  const uint32_t number = last_number_;
  const char* refusal = nullptr;
  if (!socket_) refusal = "the pod's shim is not connected";
  if (body.size() > shim::kMaxPacket || fds.size() > shim::kMaxFds) refusal = "the request is too long";
  if (outgoing_.size() >= kMaxOutgoing) refusal = "the pod's shim does not answer";
  if (refusal != nullptr) {
    loop_.post([reply = std::make_shared<Reply>(std::move(reply)), refusal, alive = alive_] {
      if (*alive) (*reply)(host::fail(Error::Code::unavailable, refusal));
    });
    return;
  }
  shim::Header header;
  header.type = static_cast<uint16_t>(type);
  header.number = number;
  header.size = static_cast<uint32_t>(body.size());
  Outgoing outgoing{.packet = std::string(reinterpret_cast<const char*>(&header), sizeof header) + body,
                    .fds = std::move(fds)};
  waiting_[number] = std::move(reply);
  if (!outgoing_.empty() || !send(outgoing)) {
    if (!socket_) return;
    outgoing_.push_back(std::move(outgoing));
    if (outgoing_.size() == 1) {
      auto watched = loop_.on_writable(socket_.get(), [this] { flush(); });
      if (watched) writable_watch_ = std::move(*watched);
    }
  }
}

bool ShimClient::send(const Outgoing& outgoing) {
  std::vector<char> control(CMSG_SPACE(sizeof(int) * outgoing.fds.size()));
  iovec part{const_cast<char*>(outgoing.packet.data()), outgoing.packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!outgoing.fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * outgoing.fds.size());
    for (size_t i = 0; i < outgoing.fds.size(); ++i) {
      const int fd = outgoing.fds[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof fd);
    }
  }
  ssize_t size;
  do {
    size = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (size < 0 && errno == EINTR);
  if (size >= 0) return true;
  if (errno != EAGAIN) lose();
  return false;
}

void ShimClient::flush() {
  while (socket_ && !outgoing_.empty() && send(outgoing_.front())) outgoing_.pop_front();
  if (outgoing_.empty()) writable_watch_ = {};
}

void ShimClient::fail_all(const Error& error) {
  auto waiting = std::exchange(waiting_, {});
  for (auto& [number, reply] : waiting) reply(std::unexpected(error));
}

}  // namespace keelson::runtime
