#include "test/bpf/yard.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "host/bpf.h"
#include "host/file.h"
#include "test/patience.h"

namespace keelson::test {

namespace {

host::Path unified_mount() {
  const host::Path hybrid = "/sys/fs/cgroup/unified";
  return std::filesystem::exists(hybrid / "cgroup.procs") ? hybrid : host::Path("/sys/fs/cgroup");
}

std::string own_cgroup() {
  const auto text = host::read_file("/proc/self/cgroup").value();
  const auto start = text.find("0::") + 3;
  return text.substr(start, text.find('\n', start) - start);
}

void enter(const host::Path& cgroup) {
  BOOST_REQUIRE(host::write_control(cgroup / "cgroup.procs", std::to_string(getpid())));
}

}  // namespace

void Yard::command(const std::string& line) { BOOST_REQUIRE_MESSAGE(std::system(line.c_str()) == 0, line); }

Yard::Yard() {
  static int number = 0;
  name = fmt::format("klt{}-{}", getpid(), ++number);
  cgroup = unified_mount() / name;
  bpffs = host::Path("/sys/fs/bpf") / name;
  directory = host::Path("/tmp") / name;
  home_ = host::Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  home_cgroup_ = own_cgroup();
  BOOST_REQUIRE(std::filesystem::create_directory(cgroup));
  enter(cgroup);
  BOOST_REQUIRE_EQUAL(unshare(CLONE_NEWNET), 0);
  command("ip link set lo up");
  // A link-local address that is still being probed cannot ask for neighbours (ndisc_send_ns).
  command("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
  command("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
  command(fmt::format("ip addr add {}/24 dev up0 && ip -6 addr add {}/64 dev up0 nodad", kNodeIp, kNodeIp6));
  loop = host::Loop::create(1);
}

Yard::~Yard() {
  if (proxy) {
    const auto down = proxy->teardown();
    BOOST_CHECK_MESSAGE(down, (down ? "" : down.error().message));
    proxy.reset();
  }
  loop.reset();
  BOOST_CHECK_MESSAGE(!std::filesystem::exists(bpffs), "left: " << bpffs);
  BOOST_CHECK_EQUAL(setns(home_.get(), CLONE_NEWNET), 0);
  enter(unified_mount().string() + home_cgroup_);
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  // A thread that was joined a moment ago may not have left its cgroup yet.
  bool removed = false;
  for (int i = 0; i < 200 && !removed; ++i) {
    removed = rmdir(cgroup.c_str()) == 0;
    if (!removed) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  BOOST_CHECK_MESSAGE(removed, "left: " << cgroup);
}

proxy::Settings Yard::settings() const {
  proxy::Settings settings;
  settings.bpffs = bpffs;
  settings.cgroup_root = cgroup;
  settings.allocations_file = directory / "allocations";
  settings.node_name = "node";
  settings.node_addresses = {host::IpAddress::parse(kNodeIp).value(), host::IpAddress::parse(kNodeIp6).value()};
  settings.pod_cidrs = host::parse_cidrs("10.244.0.0/24,fd00:244::/64").value();
  settings.service_cidrs = host::parse_cidrs("10.96.0.0/16,fd00:96::/112").value();
  settings.limits = {.vips = 1024, .services = 1024, .backends = 1024, .slots = 8192};
  return settings;
}

void Yard::start(bool synced) { start(settings(), synced); }

void Yard::start(proxy::Settings settings, bool synced) {
  auto created = proxy::Proxy::create(*loop, std::move(settings));
  BOOST_REQUIRE_MESSAGE(created, (created ? "" : created.error().message));
  proxy = std::move(*created);
  if (synced) proxy->synced();
}

size_t Yard::connections() const {
  size_t count = 0;
  const auto map = host::BpfMap::open_pinned(bpffs / "v1/sock_peer");
  BOOST_REQUIRE(map);
  BOOST_REQUIRE(map->for_each([&](const void*, const void*) { ++count; }));
  return count;
}

void Yard::run_until(const std::function<bool()>& holds) {
  const auto deadline = host::Clock::now() + patient(std::chrono::seconds(5));
  host::Timer timer;
  std::function<void()> look = [&] {
    if (holds() || host::Clock::now() > deadline) return loop->stop();
    timer = loop->after(std::chrono::milliseconds(1), look);
  };
  timer = loop->after(std::chrono::milliseconds(0), look);
  loop->run();
  BOOST_REQUIRE(holds());
}

void Yard::add_address(const std::string& address) {
  const bool v6 = address.find(':') != std::string::npos;
  command(v6 ? fmt::format("ip -6 addr add {}/128 dev up0 nodad", address)
             : fmt::format("ip addr add {}/32 dev up0", address));
}

Address address_of(const std::string& ip, uint16_t port, bool mapped) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (ip.find(':') == std::string::npos && !mapped) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    BOOST_REQUIRE_EQUAL(inet_pton(AF_INET, ip.c_str(), &v4->sin_addr), 1);
    address.length = sizeof(*v4);
  } else {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    BOOST_REQUIRE_EQUAL(inet_pton(AF_INET6, (mapped ? "::ffff:" + ip : ip).c_str(), &v6->sin6_addr), 1);
    address.length = sizeof(*v6);
  }
  return address;
}

std::string text_of(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    return fmt::format("{}:{}", text, ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
  return fmt::format("[{}]:{}", text, ntohs(v6->sin6_port));
}

host::Fd open_socket(int family, int type) {
  host::Fd socket(::socket(family, type | SOCK_CLOEXEC, 0));
  BOOST_REQUIRE(socket);
  return socket;
}

host::Fd listen_on(int type, const std::string& ip, uint16_t port) {
  const auto address = address_of(ip, port);
  auto socket = open_socket(address.storage.ss_family, type | SOCK_NONBLOCK);
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  BOOST_REQUIRE_MESSAGE(bind(socket.get(), address.get(), address.length) == 0, ip << ": " << std::strerror(errno));
  if (type == SOCK_STREAM) BOOST_REQUIRE_EQUAL(listen(socket.get(), 128), 0);
  return socket;
}

int connect_to(const host::Fd& socket, const Address& to) {
  return connect(socket.get(), to.get(), to.length) == 0 ? 0 : errno;
}

int try_connect(int type, const std::string& ip, uint16_t port, bool mapped) {
  const auto to = address_of(ip, port, mapped);
  return connect_to(open_socket(to.storage.ss_family, type), to);
}

std::string peer_of(const host::Fd& socket) {
  Address peer;
  if (getpeername(socket.get(), peer.get(), &peer.length) != 0) return std::strerror(errno);
  return text_of(peer);
}

bool accept_one(const host::Fd& listener) {
  const host::Fd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return static_cast<bool>(connection);
}

int wait_for_any(const std::vector<const host::Fd*>& sockets, int timeout_ms) {
  std::vector<pollfd> polls;
  for (const auto* socket : sockets) polls.push_back({.fd = socket->get(), .events = POLLIN, .revents = 0});
  if (poll(polls.data(), polls.size(), patient(timeout_ms)) < 1) return -1;
  for (size_t i = 0; i < polls.size(); ++i) {
    if ((polls[i].revents & POLLIN) != 0) return static_cast<int>(i);
  }
  return -1;
}

int send_to(const host::Fd& socket, const Address& to, const std::string& text) {
  return sendto(socket.get(), text.data(), text.size(), 0, to.get(), to.length) < 0 ? errno : 0;
}

std::optional<Datagram> receive(const host::Fd& socket, int timeout_ms) {
  pollfd poll_for{.fd = socket.get(), .events = POLLIN, .revents = 0};
  if (poll(&poll_for, 1, patient(timeout_ms)) != 1) return std::nullopt;
  char buffer[8192];
  Datagram datagram;
  const auto length =
      recvfrom(socket.get(), buffer, sizeof(buffer), 0, datagram.address.get(), &datagram.address.length);
  if (length < 0) return std::nullopt;
  datagram.text.assign(buffer, static_cast<size_t>(length));
  datagram.from = text_of(datagram.address);
  return datagram;
}

api::Service make_service(const std::string& name, std::vector<std::string> cluster_ips, std::vector<Port> ports,
                          const std::string& type) {
  api::Service service;
  service.metadata.namespace_ = "default";
  service.metadata.name = name;
  service.spec.type = type;
  service.spec.selector = {{"app", name}};
  if (!cluster_ips.empty()) service.spec.cluster_ip = cluster_ips.front();
  if (cluster_ips.size() > 1) service.spec.ip_family_policy = "RequireDualStack";
  service.spec.cluster_ips = std::move(cluster_ips);
  for (const auto& port : ports) {
    api::ServicePort made;
    made.name = fmt::format("p{}-{}", port.port, port.protocol == "TCP" ? "tcp" : "udp");
    made.port = port.port;
    made.protocol = port.protocol;
    made.target_port = port.target;
    if (port.node_port != 0) made.node_port = port.node_port;
    service.spec.ports.push_back(std::move(made));
  }
  return service;
}

api::Pod make_pod(const std::string& name, const std::string& app, std::vector<std::string> ips, bool ready) {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = name;
  pod.metadata.uid = "uid-" + name;
  pod.metadata.labels = {{"app", app}};
  pod.status.phase = "Running";
  for (auto& ip : ips) pod.status.pod_ips.push_back({std::move(ip)});
  if (!pod.status.pod_ips.empty()) pod.status.pod_ip = pod.status.pod_ips.front().ip;
  api::PodCondition condition;
  condition.type = "Ready";
  condition.status = ready ? "True" : "False";
  pod.status.conditions.push_back(std::move(condition));
  return pod;
}

}  // namespace keelson::test
