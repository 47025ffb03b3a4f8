// The packet path with real packets: an outside host, the node and two pods as network
// namespaces; clients that the socket hooks do not touch. tc chooses, nftables
// translates: client × path × protocol × family.

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <regex>
#include <set>

#include "host/nft.h"
#include "test/bpf/yard.h"
#include "test/patience.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

using namespace keelson;
using namespace keelson::test;

namespace {

class Namespace {
 public:
  Namespace() {
    const auto home = current();
    BOOST_REQUIRE_EQUAL(unshare(CLONE_NEWNET), 0);
    fd_ = current();
    Yard::command("ip link set lo up");
    Yard::command("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    BOOST_REQUIRE_EQUAL(setns(home.get(), CLONE_NEWNET), 0);
  }
  // Sockets keep the namespace that they were made in.
  template <typename Body>
  auto inside(Body body) const {
    struct Return {
      host::Fd home = current();
      ~Return() { BOOST_CHECK_EQUAL(setns(home.get(), CLONE_NEWNET), 0); }
    } back;
    BOOST_REQUIRE_EQUAL(setns(fd_.get(), CLONE_NEWNET), 0);
    return body();
  }
  host::Fd descriptor() const { return host::Fd(dup(fd_.get())); }
  uint64_t cookie() const {
    return inside([] {
      uint64_t cookie = 0;
      socklen_t length = sizeof(cookie);
      const auto socket = open_socket(AF_INET, SOCK_DGRAM);
      BOOST_REQUIRE_EQUAL(getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length), 0);
      return cookie;
    });
  }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", getpid(), fd_.get()); }

 private:
  static host::Fd current() { return host::Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)); }
  host::Fd fd_;
};

struct Net : Yard {
  static constexpr const char* kClient4 = "192.0.2.20";
  static constexpr const char* kClient6 = "fd00:2::20";
  struct Pod {
    std::string name, ip4, ip6;
    Namespace netns;
    host::Fd tcp4, tcp6, udp4, udp6;
  };
  Namespace outside;
  std::vector<Pod> pods;
  api::Service service = make_service("web", {"10.96.0.1", "fd00:96::1"},
                                      {{.port = 80, .target = {.number = 8080}, .protocol = "TCP", .node_port = 30080},
                                       {.port = 80, .target = {.number = 8080}, .protocol = "UDP", .node_port = 30080}},
                                      "NodePort");

  Net() {
    command("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    command("ip link set up1 netns " + outside.path());
    outside.inside([] {
      command("ip link set up1 up && ip addr add 192.0.2.20/24 dev up1 && ip -6 addr add fd00:2::20/64 dev up1 nodad");
      command("ip route add default via 192.0.2.10 && ip -6 route add default via fd00:2::10");
    });
    // What the network room installs: virtual addresses that nobody translates go nowhere.
    command("ip route add unreachable 10.96.0.0/16 && ip -6 route add unreachable fd00:96::/112");
    for (int i = 0; i < 2; ++i) {
      pods.push_back({.name = fmt::format("web-{}", i),
                      .ip4 = fmt::format("10.244.0.{}", 5 + i),
                      .ip6 = fmt::format("fd00:244::{}", 5 + i),
                      .netns = {},
                      .tcp4 = {},
                      .tcp6 = {},
                      .udp4 = {},
                      .udp6 = {}});
      auto& pod = pods.back();
      command(fmt::format("ip link add pod{0} type veth peer name eth0 netns {1} && ip link set pod{0} up", i,
                          pod.netns.path()));
      command(
          fmt::format("ip addr add 10.244.0.1/32 dev pod{0} && ip -6 addr add fd00:244::1/128 dev pod{0} nodad", i));
      pod.netns.inside([&] {
        command(fmt::format("ip link set eth0 up && ip addr add {}/32 dev eth0 && ip -6 addr add {}/128 dev eth0 nodad",
                            pod.ip4, pod.ip6));
        command("ip route add 10.244.0.1 dev eth0 && ip route add default via 10.244.0.1");
        command("ip -6 route add fd00:244::1 dev eth0 && ip -6 route add default via fd00:244::1");
        pod.tcp4 = listen_on(SOCK_STREAM, pod.ip4, 8080);
        pod.tcp6 = listen_on(SOCK_STREAM, pod.ip6, 8080);
        pod.udp4 = listen_on(SOCK_DGRAM, pod.ip4, 8080);
        pod.udp6 = listen_on(SOCK_DGRAM, pod.ip6, 8080);
      });
      command(fmt::format("ip route add {0} dev pod{1} && ip -6 route add {2} dev pod{1}", pod.ip4, i, pod.ip6));
    }
  }

  ~Net() {
    if (!proxy) return;
    const auto down = proxy->teardown();
    BOOST_CHECK_MESSAGE(down, (down ? "" : down.error().message));
    proxy.reset();
    BOOST_CHECK(host::nft::Nft::open().value().tables().value().empty());
    BOOST_CHECK_EQUAL(std::system("test -z \"$(tc qdisc show dev up0 | grep clsact)\""), 0);
  }

  // `client`: a pod that the socket hooks serve.
  void begin(size_t client = SIZE_MAX) {
    auto with_uplink = settings();
    with_uplink.cable_prefix = "pod";
    start(with_uplink);
    for (size_t i = 0; i < pods.size(); ++i) {
      // A cookie that no namespace has: the pod passes the socket hooks by.
      const auto cookie = i == client ? pods[i].netns.cookie() : ~uint64_t{0} - i;
      const auto registered =
          proxy->register_netns("uid-" + pods[i].name, cookie, fmt::format("pod{}", i), pods[i].netns.descriptor());
      BOOST_REQUIRE_MESSAGE(registered, (registered ? "" : registered.error().message));
    }
  }

  void program() {
    proxy->set_services({service});
    for (const auto& pod : pods) proxy->set_pod(make_pod(pod.name, "web", {pod.ip4, pod.ip6}));
    settle();
  }

  void settle() {
    const auto done = proxy->flush();
    BOOST_REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
    run_until([&] { return proxy->settled(); });
  }

  static host::Fd client(int family, int type) {
    auto socket = open_socket(family, type);
    const timeval patience{.tv_sec = patient(2), .tv_usec = 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return socket;
  }

  // Connects; which pod took it and whom it saw: "web-0 from 192.0.2.20".
  std::string tcp(const std::string& ip, uint16_t port) {
    const auto to = address_of(ip, port);
    const auto socket = client(to.storage.ss_family, SOCK_STREAM);
    if (const int error = connect_to(socket, to); error != 0) return std::strerror(error);
    std::vector<const host::Fd*> listeners;
    for (const auto& pod : pods) listeners.insert(listeners.end(), {&pod.tcp4, &pod.tcp6});
    const int which = wait_for_any(listeners);
    if (which < 0) return "nobody";
    Address from;
    const host::Fd connection(
        accept4(listeners[static_cast<size_t>(which)]->get(), from.get(), &from.length, SOCK_CLOEXEC));
    if (!connection) return "nobody";
    // Data both ways: every packet is translated, not only the first.
    char byte = 0;
    BOOST_CHECK_EQUAL(::send(socket.get(), "a", 1, 0), 1);
    BOOST_CHECK_EQUAL(recv(connection.get(), &byte, 1, 0), 1);
    BOOST_CHECK_EQUAL(::send(connection.get(), "b", 1, 0), 1);
    BOOST_CHECK_EQUAL(recv(socket.get(), &byte, 1, 0), 1);
    return pods[static_cast<size_t>(which) / 2].name + " from " + without_port(text_of(from));
  }

  // The same with one datagram, and its answer must come from where it was sent to.
  std::string udp(const std::string& ip, uint16_t port) {
    const auto to = address_of(ip, port);
    const auto socket = client(to.storage.ss_family, SOCK_DGRAM);
    if (const int error = connect_to(socket, to); error != 0) return std::strerror(error);
    if (::send(socket.get(), "q", 1, 0) != 1) return std::strerror(errno);
    std::vector<const host::Fd*> sockets = {&socket};  // readable too when an ICMP error has come
    for (const auto& pod : pods) sockets.insert(sockets.end(), {&pod.udp4, &pod.udp6});
    const int which = wait_for_any(sockets);
    if (which <= 0) {
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
      return error != 0 ? std::strerror(error) : "nobody";
    }
    const auto& server = *sockets[static_cast<size_t>(which)];
    const auto question = receive(server, 0);
    if (!question) return "nobody";
    BOOST_CHECK_EQUAL(send_to(server, question->address, "a"), 0);
    if (!receive(socket, 1000)) return "no answer";
    return pods[static_cast<size_t>(which - 1) / 2].name + " from " + without_port(question->from);
  }

  // A connection that goes on, whatever becomes of its pod; and to which one it was led.
  struct Held {
    host::Fd socket, other_end;
    std::string pod;
    // Why a recv() that waits in it has ended; "" while it goes on.
    std::string end() const {
      char byte = 0;
      const auto got = recv(socket.get(), &byte, 1, MSG_DONTWAIT);
      if (got < 0) return errno == EAGAIN ? "" : std::strerror(errno);
      return got == 0 ? "end of stream" : "data";
    }
  };
  Held hold(int type, const std::string& ip, uint16_t port, bool mapped = false) {
    const auto to = address_of(ip, port, mapped);
    Held held{.socket = client(to.storage.ss_family, type), .other_end = {}, .pod = {}};
    BOOST_REQUIRE_EQUAL(connect_to(held.socket, to), 0);
    std::vector<const host::Fd*> places;
    if (type == SOCK_DGRAM) BOOST_REQUIRE_EQUAL(::send(held.socket.get(), "q", 1, 0), 1);
    for (const auto& pod : pods) {
      if (type == SOCK_DGRAM)
        places.insert(places.end(), {&pod.udp4, &pod.udp6});
      else
        places.insert(places.end(), {&pod.tcp4, &pod.tcp6});
    }
    const int which = wait_for_any(places);
    BOOST_REQUIRE_GE(which, 0);
    const auto& place = *places[static_cast<size_t>(which)];
    if (type == SOCK_DGRAM)
      BOOST_REQUIRE(receive(place, 0));
    else
      held.other_end = host::Fd(accept4(place.get(), nullptr, nullptr, SOCK_CLOEXEC));
    held.pod = pods[static_cast<size_t>(which) / 2].name;
    return held;
  }

  static std::string without_port(const std::string& text) { return text.substr(0, text.rfind(':')); }
};

const std::string kRefused = std::strerror(ECONNREFUSED);

}  // namespace

BOOST_FIXTURE_TEST_CASE(clients_from_outside_reach_every_pod_and_keep_their_address, Net) {
  begin();
  program();
  outside.inside([&] {
    for (const auto& [ip, port] :
         {std::pair{kNodeIp, 30080}, {kNodeIp6, 30080}, {"10.96.0.1", 80}, {"fd00:96::1", 80}}) {
      const bool v6 = std::string(ip).find(':') != std::string::npos;
      const std::string me = v6 ? fmt::format("[{}]", kClient6) : kClient4;
      std::set<std::string> tcp_seen, udp_seen;
      for (int i = 0; i < 24; ++i) {
        tcp_seen.insert(tcp(ip, static_cast<uint16_t>(port)));
        udp_seen.insert(udp(ip, static_cast<uint16_t>(port)));
      }
      const std::set<std::string> both = {"web-0 from " + me, "web-1 from " + me};
      BOOST_CHECK_MESSAGE(tcp_seen == both, "TCP " << ip << ": " << *tcp_seen.begin());
      BOOST_CHECK_MESSAGE(udp_seen == both, "UDP " << ip << ": " << *udp_seen.begin());
    }
  });
}

BOOST_FIXTURE_TEST_CASE(pods_that_pass_the_socket_hooks_by_reach_services_and_themselves, Net) {
  begin();
  proxy->set_services({service});
  proxy->set_pod(make_pod("web-0", "web", {pods[0].ip4, pods[0].ip6}));
  settle();
  struct Case {
    std::string ip;
    uint16_t port;
    bool v6;
  };
  for (const auto& [ip, port, v6] : {Case{"10.96.0.1", 80, false}, Case{"fd00:96::1", 80, true},
                                     Case{kNodeIp, 30080, false}, Case{kNodeIp6, 30080, true}}) {
    // The other pod is seen as itself; a pod that gets back to itself, as the node.
    const auto other = v6 ? fmt::format("[{}]", pods[1].ip6) : pods[1].ip4;
    const auto node = v6 ? fmt::format("[{}]", kNodeIp6) : std::string(kNodeIp);
    pods[1].netns.inside([&] {
      BOOST_CHECK_EQUAL(tcp(ip, port), "web-0 from " + other);
      BOOST_CHECK_EQUAL(udp(ip, port), "web-0 from " + other);
    });
    pods[0].netns.inside([&] {
      BOOST_CHECK_EQUAL(tcp(ip, port), "web-0 from " + node);
      BOOST_CHECK_EQUAL(udp(ip, port), "web-0 from " + node);
    });
  }
}

BOOST_FIXTURE_TEST_CASE(packets_to_a_service_without_endpoints_or_to_an_unknown_port_are_refused_at_once, Net) {
  begin();
  proxy->set_services({service});
  settle();
  outside.inside([&] {
    for (const auto& ip : {kNodeIp, kNodeIp6}) {
      BOOST_CHECK_EQUAL(tcp(ip, 30080), kRefused);
      BOOST_CHECK_EQUAL(udp(ip, 30080), kRefused);
    }
    for (const auto& ip : {"10.96.0.1", "fd00:96::1"}) {
      for (const uint16_t port : {80, 81}) {
        BOOST_CHECK_EQUAL(tcp(ip, port), kRefused);
        BOOST_CHECK_EQUAL(udp(ip, port), kRefused);
      }
    }
  });
}

BOOST_FIXTURE_TEST_CASE(replies_of_a_backend_elsewhere_come_back_through_the_node, Net) {
  auto remote =
      make_service("remote", {"10.96.0.9"},
                   {{.port = 80, .target = {.number = 9000}, .protocol = "TCP", .node_port = 30090}}, "NodePort");
  remote.spec.selector.clear();
  remote.spec.ports[0].name = "";
  api::Endpoints endpoints;
  endpoints.metadata.namespace_ = "default";
  endpoints.metadata.name = "remote";
  endpoints.subsets.push_back({.addresses = {{.ip = kClient4}}, .ports = {{.port = 9000, .protocol = "TCP"}}});
  begin();
  proxy->set_services({remote});
  proxy->set_endpoints({endpoints});
  settle();
  outside.inside([&] {
    const auto server = listen_on(SOCK_STREAM, kClient4, 9000);
    BOOST_REQUIRE_EQUAL(connect_to(client(AF_INET, SOCK_STREAM), address_of(kNodeIp, 30090)), 0);
    Address from;
    const host::Fd connection(accept4(server.get(), from.get(), &from.length, SOCK_CLOEXEC));
    BOOST_REQUIRE(connection);
    BOOST_CHECK_EQUAL(without_port(text_of(from)), kNodeIp);
  });
}

BOOST_FIXTURE_TEST_CASE(session_affinity_holds_for_packets_too, Net) {
  service.spec.session_affinity = "ClientIP";
  begin();
  program();
  outside.inside([&] {
    const auto first = tcp(kNodeIp, 30080);
    for (int i = 0; i < 24; ++i) BOOST_REQUIRE_EQUAL(tcp(kNodeIp, 30080), first);
  });
}

BOOST_FIXTURE_TEST_CASE(packets_are_served_while_the_agent_is_dead_and_over_its_restart, Net) {
  begin();
  program();
  const auto works = [&] { return outside.inside([&] { return tcp(kNodeIp, 30080) + ", " + udp(kNodeIp6, 30080); }); };
  std::string last;
  const std::regex both("web-. from 192.0.2.20, web-. from .fd00:2::20.");
  stop();
  BOOST_TEST(std::regex_match(last = works(), both), last);
  auto again = settings();
  again.cable_prefix = "pod";
  start(again, false);
  BOOST_TEST(std::regex_match(last = works(), both), last);
  proxy->set_services({service});
  for (const auto& pod : pods) proxy->set_pod(make_pod(pod.name, "web", {pod.ip4, pod.ip6}));
  proxy->synced();
  settle();
  BOOST_TEST(std::regex_match(last = works(), both), last);
}

BOOST_FIXTURE_TEST_CASE(a_udp_flow_from_outside_moves_on_when_its_pod_leaves, Net) {
  begin();
  program();
  outside.inside([&] {
    const auto socket = client(AF_INET, SOCK_DGRAM);
    BOOST_REQUIRE_EQUAL(connect_to(socket, address_of(kNodeIp, 30080)), 0);
    const auto asked = [&] {
      BOOST_REQUIRE_EQUAL(::send(socket.get(), "q", 1, 0), 1);
      const int which = wait_for_any({&pods[0].udp4, &pods[1].udp4});
      if (which < 0 || !receive(pods[static_cast<size_t>(which)].udp4, 0)) return std::string("nobody");
      return pods[static_cast<size_t>(which)].name;
    };
    const auto first = asked();
    BOOST_REQUIRE_EQUAL(asked(), first);
    proxy->remove_pod("default", first);
    settle();
    const auto second = asked();
    BOOST_CHECK(second.starts_with("web-") && second != first);
  });
}

BOOST_FIXTURE_TEST_CASE(a_udp_flow_that_began_before_its_service_reaches_it_and_ends_with_it, Net) {
  service.spec.external_ips = {"203.0.113.5"};
  begin();
  proxy->set_services({});
  settle();
  for (const char* ip : {kNodeIp, kNodeIp6, "203.0.113.5"}) {
    outside.inside([&] {
      const uint16_t port = ip[0] == '2' ? 80 : 30080;
      const auto to = address_of(ip, port);
      const auto socket = client(to.storage.ss_family, SOCK_DGRAM);
      const auto ask = [&] { return ::send(socket.get(), "q", 1, 0) < 0 ? errno : 0; };
      const auto reached = [&] {
        const int which = wait_for_any({&pods[0].udp4, &pods[0].udp6, &pods[1].udp4, &pods[1].udp6}, 200);
        if (which < 0) return false;
        const auto& pod = pods[static_cast<size_t>(which) / 2];
        return receive(which % 2 == 0 ? pod.udp4 : pod.udp6, 0).has_value();
      };
      BOOST_REQUIRE_EQUAL(connect_to(socket, to), 0);
      for (int i = 0; i < 4; ++i) ask();
      BOOST_CHECK(!reached());
      program();
      ask();  // tells of what became of the last one
      ask();
      BOOST_CHECK_MESSAGE(reached(), ip);
      reached();
      proxy->set_services({});
      settle();
      for (int i = 0; i < 4; ++i) ask();
      BOOST_CHECK_MESSAGE(!reached(), ip);
    });
  }
}

BOOST_FIXTURE_TEST_CASE(a_tcp_connection_from_outside_goes_on_while_its_pod_is_not_ready_and_is_reset_when_it_leaves,
                        Net) {
  begin();
  program();
  outside.inside([&] {
    const auto socket = client(AF_INET, SOCK_STREAM);
    BOOST_REQUIRE_EQUAL(connect_to(socket, address_of(kNodeIp, 30080)), 0);
    const int which = wait_for_any({&pods[0].tcp4, &pods[1].tcp4});
    BOOST_REQUIRE_GE(which, 0);
    const auto* pod = &pods[static_cast<size_t>(which)];
    const host::Fd connection(accept4(pod->tcp4.get(), nullptr, nullptr, SOCK_CLOEXEC));
    BOOST_REQUIRE(connection);
    proxy->set_pod(make_pod(pod->name, "web", {pod->ip4, pod->ip6}, false));
    settle();
    char byte = 0;
    BOOST_CHECK_EQUAL(::send(socket.get(), "a", 1, 0), 1);
    BOOST_CHECK_EQUAL(recv(connection.get(), &byte, 1, 0), 1);

    proxy->remove_pod("default", pod->name);
    settle();
    const timeval patience{.tv_sec = patient(3), .tv_usec = 0};
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    BOOST_CHECK_EQUAL(::send(socket.get(), "b", 1, 0), 1);
    BOOST_CHECK_EQUAL(recv(socket.get(), &byte, 1, 0), -1);
    BOOST_CHECK_EQUAL(errno, ECONNRESET);
  });
}

BOOST_FIXTURE_TEST_CASE(clients_of_a_pod_that_is_gone_are_ended_at_once_and_no_others, Net) {
  begin(1);
  program();
  std::vector<Held> by_service, direct;
  const auto connect_all = [&] {
    for (int i = 0; i < 6; ++i) {
      for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
        by_service.push_back(hold(type, "10.96.0.1", 80));
        by_service.push_back(hold(type, "10.96.0.1", 80, true));
        by_service.push_back(hold(type, "fd00:96::1", 80));
      }
    }
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) direct.push_back(hold(type, pods[0].ip4, 8080));
  };
  connect_all();
  pods[1].netns.inside(connect_all);

  // Not ready is not gone: only datagrams move on.
  proxy->set_pod(make_pod("web-0", "web", {pods[0].ip4, pods[0].ip6}, false));
  settle();
  const auto is_tcp = [](const Held& held) { return static_cast<bool>(held.other_end); };
  for (const auto& held : by_service)
    BOOST_CHECK_EQUAL(held.end(), held.pod == "web-0" && !is_tcp(held) ? std::strerror(ECONNABORTED) : "");
  proxy->remove_pod("default", "web-0");
  settle();
  std::set<std::string> seen;
  for (const auto& held : by_service) {
    seen.insert(held.pod);
    if (is_tcp(held)) BOOST_CHECK_EQUAL(held.end(), held.pod == "web-0" ? std::strerror(ECONNABORTED) : "");
    if (held.pod == "web-1") BOOST_CHECK_EQUAL(held.end(), "");
  }
  BOOST_CHECK_EQUAL(seen.size(), 2);
  for (const auto& held : direct) BOOST_CHECK_EQUAL(held.end(), "");
}

BOOST_FIXTURE_TEST_CASE(clients_of_an_address_that_its_endpoints_list_no_more_are_ended_at_once, Net) {
  auto given = make_service("given", {"10.96.0.9"}, {{.port = 80, .target = {.number = 8080}}});
  given.spec.selector.clear();
  given.spec.ports[0].name = "";
  api::Endpoints endpoints;
  endpoints.metadata.namespace_ = "default";
  endpoints.metadata.name = "given";
  endpoints.subsets.push_back(
      {.addresses = {{.ip = pods[0].ip4}, {.ip = pods[1].ip4}}, .ports = {{.port = 8080, .protocol = "TCP"}}});
  begin();
  proxy->set_services({given});
  proxy->set_endpoints({endpoints});
  settle();
  std::vector<Held> clients;
  for (int i = 0; i < 16; ++i) clients.push_back(hold(SOCK_STREAM, "10.96.0.9", 80));
  // Not ready is not gone.
  auto& subset = endpoints.subsets[0];
  subset.not_ready_addresses = {subset.addresses[0]};
  subset.addresses.erase(subset.addresses.begin());
  proxy->set_endpoints({endpoints});
  settle();
  for (const auto& held : clients) BOOST_CHECK_EQUAL(held.end(), "");
  subset.not_ready_addresses.clear();
  proxy->set_endpoints({endpoints});
  settle();
  std::set<std::string> seen;
  for (const auto& held : clients) {
    seen.insert(held.pod);
    BOOST_CHECK_EQUAL(held.end(), held.pod == "web-0" ? std::strerror(ECONNABORTED) : "");
  }
  BOOST_CHECK_EQUAL(seen.size(), 2);
}

BOOST_FIXTURE_TEST_CASE(an_address_and_an_interface_that_appear_later_serve_at_once, Net) {
  begin();
  program();
  // Refused by the node itself until the proxy has heard of the address.
  const auto serves = [&](const std::string& ip) {
    return outside.inside([&] { return tcp(ip, 30080).starts_with("web-"); });
  };
  command("ip addr add 192.0.2.77/24 dev up0");
  run_until([&] { return serves("192.0.2.77"); });
  command("ip addr add fd00:2::77/64 dev up0 nodad");
  run_until([&] { return serves("fd00:2::77"); });
  command("ip addr del 192.0.2.77/24 dev up0");

  command("ip link add up2 type veth peer name up3 netns " + outside.path());
  outside.inside([] { command("ip link set up3 up && ip addr add 198.51.100.20/24 dev up3"); });
  command("ip link set up2 up && ip addr add 198.51.100.10/24 dev up2");
  run_until([&] { return serves("198.51.100.10"); });

  // An interface that was made anew under its old name, and one that goes.
  command("ip link del up2 && ip link add up2 type veth peer name up3 netns " + outside.path());
  outside.inside([] { command("ip link set up3 up && ip addr add 198.51.100.20/24 dev up3"); });
  command("ip link set up2 up && ip addr add 198.51.100.10/24 dev up2");
  run_until([&] { return serves("198.51.100.10"); });
  command("ip link del up2");
  run_until([&] {
    return !std::filesystem::exists(bpffs / "links/tcx:up2") && !std::filesystem::exists(bpffs / "links/tc:up2");
  });
}

BOOST_FIXTURE_TEST_CASE(datagrams_larger_than_the_mtu_arrive_whole_and_so_do_their_answers, Net) {
  begin();
  program();
  const std::string large(4000, 'x');
  outside.inside([&] {
    for (const auto& [ip, port] :
         {std::pair{kNodeIp, 30080}, {kNodeIp6, 30080}, {"10.96.0.1", 80}, {"fd00:96::1", 80}}) {
      std::set<int> seen;
      for (int i = 0; i < 16; ++i) {
        const auto to = address_of(ip, static_cast<uint16_t>(port));
        const auto socket = client(to.storage.ss_family, SOCK_DGRAM);
        BOOST_REQUIRE_EQUAL(connect_to(socket, to), 0);
        BOOST_REQUIRE_EQUAL(::send(socket.get(), large.data(), large.size(), 0), 4000);
        std::vector<const host::Fd*> servers;
        for (const auto& pod : pods) servers.insert(servers.end(), {&pod.udp4, &pod.udp6});
        const int which = wait_for_any(servers);
        BOOST_REQUIRE_GE(which, 0);
        const auto question = receive(*servers[static_cast<size_t>(which)], 0);
        BOOST_REQUIRE(question);
        BOOST_CHECK_EQUAL(question->text.size(), large.size());
        BOOST_REQUIRE_EQUAL(send_to(*servers[static_cast<size_t>(which)], question->address, large), 0);
        const auto answer = receive(socket, 1000);
        BOOST_REQUIRE(answer);
        BOOST_CHECK_EQUAL(answer->text.size(), large.size());
        seen.insert(which / 2);
      }
      BOOST_CHECK_MESSAGE(seen.size() == 2, ip);
    }
  });
}

// The node cannot forward what is too large for the way to the pod; what it answers (ICMP
// fragmentation needed, packet too big) must speak of the address that the client knows.
BOOST_FIXTURE_TEST_CASE(a_client_learns_the_path_mtu_behind_a_virtual_address, Net) {
  begin();
  program();
  for (size_t i = 0; i < pods.size(); ++i) command(fmt::format("ip link set pod{} mtu 1300", i));
  outside.inside([&] {
    for (const auto& [ip, port] :
         {std::pair{kNodeIp, 30080}, {kNodeIp6, 30080}, {"10.96.0.1", 80}, {"fd00:96::1", 80}}) {
      const auto to = address_of(ip, static_cast<uint16_t>(port));
      const bool v6 = to.storage.ss_family == AF_INET6;
      const int level = v6 ? static_cast<int>(IPPROTO_IPV6) : static_cast<int>(IPPROTO_IP);
      const auto socket = client(to.storage.ss_family, SOCK_DGRAM);
      const int never_fragment = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;
      setsockopt(socket.get(), level, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &never_fragment,
                 sizeof(never_fragment));
      BOOST_REQUIRE_EQUAL(connect_to(socket, to), 0);
      const std::string large(1400, 'x');
      BOOST_REQUIRE_EQUAL(::send(socket.get(), large.data(), large.size(), 0), 1400);
      int mtu = 0;
      for (int i = 0; i < 100 && mtu != 1300; ++i) {
        socklen_t length = sizeof(mtu);
        BOOST_REQUIRE_EQUAL(getsockopt(socket.get(), level, v6 ? IPV6_MTU : IP_MTU, &mtu, &length), 0);
        usleep(10'000);
      }
      BOOST_CHECK_MESSAGE(mtu == 1300, ip << ": " << mtu);

      // TCP lives with it: all of a large message arrives.
      auto held = hold(SOCK_STREAM, ip, static_cast<uint16_t>(port));
      const std::string message(20000, 'y');
      BOOST_REQUIRE_EQUAL(::send(held.socket.get(), message.data(), message.size(), 0), 20000);
      const timeval patience{.tv_sec = 3, .tv_usec = 0};
      setsockopt(held.other_end.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
      std::string got(message.size(), 0);
      BOOST_CHECK_EQUAL(recv(held.other_end.get(), got.data(), got.size(), MSG_WAITALL), 20000);
    }
  });
}

BOOST_FIXTURE_TEST_CASE(one_client_port_reaches_one_pod_through_two_virtual_addresses_at_once, Net) {
  auto other = make_service(
      "other", {"10.96.0.2", "fd00:96::2"},
      {{.port = 80, .target = {.number = 8080}}, {.port = 80, .target = {.number = 8080}, .protocol = "UDP"}});
  other.spec.selector = {{"app", "web"}};
  begin();
  proxy->set_services({service, other});
  proxy->set_pod(make_pod("web-0", "web", {pods[0].ip4, pods[0].ip6}));
  settle();
  outside.inside([&] {
    for (const bool v6 : {false, true}) {
      for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
        const auto& server =
            type == SOCK_STREAM ? (v6 ? pods[0].tcp6 : pods[0].tcp4) : (v6 ? pods[0].udp6 : pods[0].udp4);
        std::vector<host::Fd> clients, accepted;
        std::set<std::string> sources;
        for (const char* ip : v6 ? std::array{"fd00:96::1", "fd00:96::2"} : std::array{"10.96.0.1", "10.96.0.2"}) {
          clients.push_back(client(v6 ? AF_INET6 : AF_INET, type));
          const int on = 1;
          setsockopt(clients.back().get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
          const auto from = address_of(v6 ? kClient6 : kClient4, 40000);
          BOOST_REQUIRE_EQUAL(bind(clients.back().get(), from.get(), from.length), 0);
          BOOST_REQUIRE_EQUAL(connect_to(clients.back(), address_of(ip, 80)), 0);
        }
        for (size_t i = 0; i < clients.size(); ++i) {
          const std::string text = fmt::format("question {}", i);
          BOOST_REQUIRE_EQUAL(::send(clients[i].get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
          BOOST_REQUIRE_EQUAL(wait_for_any({&server}), 0);
          if (type == SOCK_STREAM) {
            accepted.emplace_back(accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
            const auto question = receive(accepted.back());
            BOOST_REQUIRE(question);
            BOOST_CHECK_EQUAL(question->text, text);
            sources.insert(peer_of(accepted.back()));
            BOOST_REQUIRE_EQUAL(::send(accepted.back().get(), text.data(), text.size(), 0),
                                static_cast<ssize_t>(text.size()));
          } else {
            const auto question = receive(server);
            BOOST_REQUIRE(question);
            BOOST_CHECK_EQUAL(question->text, text);
            sources.insert(question->from);
            BOOST_REQUIRE_EQUAL(send_to(server, question->address, text), 0);
          }
          const auto answer = receive(clients[i], 1000);
          BOOST_REQUIRE(answer);
          BOOST_CHECK_EQUAL(answer->text, text);
        }
        // The pod must be able to tell them apart.
        BOOST_CHECK_EQUAL(sources.size(), 2);
      }
    }
  });
}

BOOST_FIXTURE_TEST_CASE(local_policies_serve_with_backends_of_this_node_only, Net) {
  auto given =
      make_service("given", {"10.96.0.9"},
                   {{.port = 80, .target = {.number = 8080}, .protocol = "TCP", .node_port = 30090}}, "NodePort");
  given.spec.selector.clear();
  given.spec.ports[0].name = "";
  api::Endpoints endpoints;
  endpoints.metadata.namespace_ = "default";
  endpoints.metadata.name = "given";
  // Nobody listens there: who is led to it is refused.
  endpoints.subsets.push_back(
      {.addresses = {{.ip = pods[0].ip4, .node_name = "node"}, {.ip = kClient4, .node_name = "other"}},
       .ports = {{.port = 8080, .protocol = "TCP"}}});
  begin();
  proxy->set_endpoints({endpoints});
  for (const bool external_local : {false, true}) {
    for (const bool internal_local : {false, true}) {
      given.spec.external_traffic_policy = external_local ? "Local" : "Cluster";
      given.spec.internal_traffic_policy = internal_local ? "Local" : "Cluster";
      proxy->set_services({given});
      settle();
      int from_outside = 0, from_inside = 0;
      for (int i = 0; i < 24; ++i) {
        from_outside += outside.inside([&] { return tcp(kNodeIp, 30090); }).starts_with("web-0") ? 1 : 0;
        from_inside += tcp("10.96.0.9", 80).starts_with("web-0") ? 1 : 0;
      }
      BOOST_CHECK_EQUAL(from_outside == 24, external_local);
      BOOST_CHECK_EQUAL(from_inside == 24, internal_local);
      BOOST_CHECK_GT(from_outside, 0);
      BOOST_CHECK_GT(from_inside, 0);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(external_addresses_are_served_to_clients_outside_and_on_the_node, Net) {
  service.spec.external_ips = {"203.0.113.5", "2001:db8::5"};
  begin();
  program();
  for (const char* ip : {"203.0.113.5", "2001:db8::5"}) {
    BOOST_CHECK_MESSAGE(tcp(ip, 80).starts_with("web-"), ip);
    outside.inside([&] {
      BOOST_CHECK_MESSAGE(tcp(ip, 80).starts_with("web-"), ip);
      BOOST_CHECK_MESSAGE(udp(ip, 80).starts_with("web-"), ip);
    });
  }
}
