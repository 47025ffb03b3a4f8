#pragma once
// A loop on a thread of its own, and a blocking TCP client and server, for tests over
// real loopback sockets.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "host/fd.h"
#include "host/loop.h"

namespace keelson::test {

class LoopThread {
 public:
  LoopThread() : loop_(host::Loop::create(1)), thread_([this] { loop_->run(); }) {}
  ~LoopThread() {
    loop_->stop();
    thread_.join();
  }
  host::Loop& loop() { return *loop_; }
  // Runs it on the loop's thread and waits for the end.
  void run(std::function<void()> task) {
    std::promise<void> ended;
    loop_->post([&] {
      task();
      ended.set_value();
    });
    ended.get_future().wait();
  }

 private:
  std::unique_ptr<host::Loop> loop_;
  std::thread thread_;
};

class RawClient {
 public:
  explicit RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  explicit RawClient(host::Fd fd) : fd_(std::move(fd)), connected_(fd_.get() >= 0) {}
  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  void send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const auto size = ::send(fd_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) return;
      sent += static_cast<size_t>(size);
    }
  }
  void half_close() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  // With RST instead of FIN.
  void reset() {
    const linger hard{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    fd_.reset();
  }
  // Until what was read ends with, or holds, the text; the end; or the time is up.
  std::string read_until(const std::string& text, int timeout_ms = 5000) {
    return read([&](const std::string& have) { return have.find(text) != std::string::npos; }, timeout_ms);
  }
  std::string read_to_end(int timeout_ms = 5000) {
    return read([](const std::string&) { return false; }, timeout_ms);
  }
  // Whether the peer has closed (or reset) within the time.
  bool ended(int timeout_ms = 5000) {
    read_to_end(timeout_ms);
    return at_end_;
  }

 private:
  template <typename Enough>
  std::string read(Enough enough, int timeout_ms) {
    std::string have;
    const auto until = host::Clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!enough(have)) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - host::Clock::now()).count();
      pollfd poller{.fd = fd_.get(), .events = POLLIN, .revents = 0};
      if (left <= 0 || ::poll(&poller, 1, static_cast<int>(left)) <= 0) break;
      char buffer[65536];
      const auto size = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (size <= 0) {
        at_end_ = true;
        break;
      }
      have.append(buffer, static_cast<size_t>(size));
    }
    return have;
  }
  host::Fd fd_;
  bool connected_ = false, at_end_ = false;
};

// A server whose every byte is the test's: accepts one connection after the other.
class RawServer {
 public:
  explicit RawServer(uint16_t port = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(fd_.get(), 64);
  }
  uint16_t port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  // One that has not come by then is not connected().
  RawClient accept(int timeout_ms = 5000) {
    pollfd poller{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&poller, 1, timeout_ms) <= 0) return RawClient(host::Fd());
    return RawClient(host::Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
  void close() { fd_.reset(); }

 private:
  host::Fd fd_;
};

}  // namespace keelson::test
