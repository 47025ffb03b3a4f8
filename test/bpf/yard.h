#pragma once
// Where the data plane is tried: the test's own process moves into a network
// namespace (the node's) and a cgroup of its own, so that its sockets are clients;
// a veth pair carries the backends' addresses. Destroying it moves the process back
// and fails the test when a pin, link or cgroup is left.

#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/proxy/proxy.h"
#include "api/object.h"
#include "host/fd.h"
#include "host/loop.h"

namespace keelson::test {

inline constexpr const char* kNodeIp = "192.0.2.10";
inline constexpr const char* kNodeIp6 = "fd00:2::10";

class Yard {
 public:
  Yard();
  ~Yard();
  Yard(const Yard&) = delete;
  Yard& operator=(const Yard&) = delete;

  proxy::Settings settings() const;
  // Creates the proxy, with every change made visible.
  void start(bool synced = true);
  void start(proxy::Settings settings, bool synced = true);
  // How many connected sockets the data plane knows.
  size_t connections() const;
  void stop() { proxy.reset(); }  // as when the agent dies: the kernel's part stays
  // Runs the loop until it holds; fails the test after five seconds.
  void run_until(const std::function<bool()>& holds);
  void add_address(const std::string& address);  // to the node's namespace
  static void command(const std::string& line);  // must succeed

  std::string name;
  host::Path cgroup, bpffs, directory;
  std::unique_ptr<host::Loop> loop;
  std::unique_ptr<proxy::Proxy> proxy;

 private:
  host::Fd home_;
  std::string home_cgroup_;
};

// ---- sockets ---------------------------------------------------------------------------

struct Address {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};
// "10.0.0.1", "fd00::1"; `mapped`: an IPv4 address as an AF_INET6 socket writes it.
Address address_of(const std::string& ip, uint16_t port, bool mapped = false);
std::string text_of(const Address& address);  // "10.0.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80"

host::Fd listen_on(int type, const std::string& ip, uint16_t port);  // TCP: non-blocking accept
host::Fd open_socket(int family, int type);
// 0 or errno.
int connect_to(const host::Fd& socket, const Address& to);
int try_connect(int type, const std::string& ip, uint16_t port, bool mapped = false);
std::string peer_of(const host::Fd& socket);
bool accept_one(const host::Fd& listener);  // true when a connection waited
int send_to(const host::Fd& socket, const Address& to, const std::string& text);
// Which of them has something to read; -1 when none has after a second. A handshake
// may still be under way when the client's connect() returns.
int wait_for_any(const std::vector<const host::Fd*>& sockets, int timeout_ms = 1000);
struct Datagram {
  std::string text, from;
  Address address;
};
std::optional<Datagram> receive(const host::Fd& socket, int timeout_ms = 500);

// ---- objects ---------------------------------------------------------------------------

struct Port {
  int32_t port;
  api::IntOrString target;
  std::string protocol = "TCP";
  int32_t node_port = 0;
};
api::Service make_service(const std::string& name, std::vector<std::string> cluster_ips, std::vector<Port> ports,
                          const std::string& type = "ClusterIP");
// Selected by the service of the same `app`.
api::Pod make_pod(const std::string& name, const std::string& app, std::vector<std::string> ips, bool ready = true);

}  // namespace keelson::test
