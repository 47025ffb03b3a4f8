// The socket load balancer with real sockets: client × protocol × family.

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <set>

#include "test/bpf/yard.h"

using namespace keelson;
using namespace keelson::test;

namespace {

// Two pods, each with TCP and UDP servers on 8080 in both families, behind one
// dual-stack service "web" on 80.
struct Web : Yard {
  static constexpr const char* kVip4 = "10.96.0.1";
  static constexpr const char* kVip6 = "fd00:96::1";
  struct Server {
    std::string ip;
    host::Fd tcp, udp;
  };
  std::vector<Server> servers;
  api::Service service = make_service("web", {kVip4, kVip6},
                                      {{.port = 80, .target = {.number = 8080}, .protocol = "TCP", .node_port = 30080},
                                       {.port = 80, .target = {.number = 8080}, .protocol = "UDP", .node_port = 30080}},
                                      "NodePort");

  Web() {
    for (const char* ip : {"10.244.0.5", "10.244.0.6", "fd00:244::5", "fd00:244::6"}) {
      add_address(ip);
      servers.push_back({ip, listen_on(SOCK_STREAM, ip, 8080), listen_on(SOCK_DGRAM, ip, 8080)});
    }
  }

  void program() {
    proxy->set_services({service});
    proxy->set_pod(make_pod("web-0", "web", {"10.244.0.5", "fd00:244::5"}));
    proxy->set_pod(make_pod("web-1", "web", {"10.244.0.6", "fd00:244::6"}));
    flush();
  }

  void flush() {
    const auto done = proxy->flush();
    BOOST_REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
  }

  std::string accepted_by() {
    std::vector<const host::Fd*> listeners;
    for (const auto& server : servers) listeners.push_back(&server.tcp);
    const int which = wait_for_any(listeners);
    if (which < 0 || !accept_one(*listeners[static_cast<size_t>(which)])) return "";
    return servers[static_cast<size_t>(which)].ip;
  }

  // Answers what is waiting; who did.
  std::string answered_by() {
    std::vector<const host::Fd*> sockets;
    for (const auto& server : servers) sockets.push_back(&server.udp);
    const int which = wait_for_any(sockets);
    if (which < 0) return "";
    const auto& server = servers[static_cast<size_t>(which)];
    const auto question = receive(server.udp, 0);
    if (!question) return "";
    send_to(server.udp, question->address, "answer to " + question->text);
    return server.ip;
  }

  uint64_t counter(const std::string& reason) const {
    for (const auto& view : proxy->counters()) {
      if (view.reason == reason) return view.flows;
    }
    return 0;
  }
};

// Runs `body` in a process in a network namespace that nobody registered.
int in_foreign_netns(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0) _exit(255);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(tcp_reaches_every_backend_and_sees_the_virtual_address_as_its_peer, Web) {
  start();
  program();
  struct Case {
    std::string ip, peer;
    bool mapped;
  };
  for (const auto& [ip, peer, mapped] : {Case{kVip4, "10.96.0.1:80", false}, Case{kVip6, "[fd00:96::1]:80", false},
                                         Case{kVip4, "[::ffff:10.96.0.1]:80", true}}) {
    std::set<std::string> seen;
    for (int i = 0; i < 64; ++i) {
      const auto to = address_of(ip, 80, mapped);
      const auto client = open_socket(to.storage.ss_family, SOCK_STREAM);
      BOOST_REQUIRE_EQUAL(connect_to(client, to), 0);
      BOOST_REQUIRE_EQUAL(peer_of(client), peer);
      seen.insert(accepted_by());
    }
    BOOST_CHECK_EQUAL(seen.size(), 2);
    BOOST_CHECK(!seen.contains(""));
  }
  BOOST_CHECK_GE(counter("forwarded"), 3 * 64);
}

BOOST_FIXTURE_TEST_CASE(a_closed_socket_is_forgotten_and_one_that_finds_no_room_is_served_all_the_same, Web) {
  auto narrow = settings();
  narrow.limits.connections = 4;
  start(narrow);
  program();
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    std::vector<host::Fd> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(open_socket(AF_INET, type));
      BOOST_REQUIRE_EQUAL(connect_to(clients.back(), address_of(kVip4, 80)), 0);
    }
    BOOST_CHECK_EQUAL(connections(), 4);
    for (const auto& client : clients) BOOST_CHECK_EQUAL(peer_of(client), "10.96.0.1:80");
    clients.clear();
    BOOST_CHECK_EQUAL(connections(), 0);
  }
  // A socket that goes elsewhere is forgotten too, whichever of the two places it was in.
  std::vector<host::Fd> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(open_socket(AF_INET, SOCK_DGRAM));
    BOOST_REQUIRE_EQUAL(connect_to(clients.back(), address_of(kVip4, 80)), 0);
  }
  for (const auto& client : clients) {
    BOOST_REQUIRE_EQUAL(connect_to(client, address_of("10.244.0.5", 8080)), 0);
    BOOST_CHECK_EQUAL(peer_of(client), "10.244.0.5:8080");
  }
  BOOST_CHECK_EQUAL(connections(), 0);
}

BOOST_FIXTURE_TEST_CASE(unconnected_udp_gets_answers_from_the_virtual_address, Web) {
  start();
  program();
  for (const auto& [ip, mapped, shown] : {std::tuple{kVip4, false, "10.96.0.1:80"},
                                          {kVip6, false, "[fd00:96::1]:80"},
                                          {kVip4, true, "[::ffff:10.96.0.1]:80"}}) {
    const auto to = address_of(ip, 80, mapped);
    const auto client = open_socket(to.storage.ss_family, SOCK_DGRAM);
    BOOST_REQUIRE_EQUAL(send_to(client, to, "one"), 0);
    const auto first = answered_by();
    BOOST_CHECK(!first.empty());
    const auto answer = receive(client);
    BOOST_REQUIRE(answer);
    BOOST_CHECK_EQUAL(answer->text, "answer to one");
    BOOST_CHECK_EQUAL(answer->from, shown);
    // The socket's later datagrams stay with the backend of the first.
    for (int i = 0; i < 16; ++i) {
      BOOST_REQUIRE_EQUAL(send_to(client, to, "more"), 0);
      BOOST_CHECK_EQUAL(answered_by(), first);
      BOOST_CHECK(receive(client));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(connected_udp_talks_to_one_backend_and_sees_the_virtual_address, Web) {
  start();
  program();
  for (const auto& [ip, mapped, shown] : {std::tuple{kVip4, false, "10.96.0.1:80"},
                                          {kVip6, false, "[fd00:96::1]:80"},
                                          {kVip4, true, "[::ffff:10.96.0.1]:80"}}) {
    const auto to = address_of(ip, 80, mapped);
    const auto client = open_socket(to.storage.ss_family, SOCK_DGRAM);
    BOOST_REQUIRE_EQUAL(connect_to(client, to), 0);
    BOOST_CHECK_EQUAL(peer_of(client), shown);
    std::set<std::string> seen;
    for (int i = 0; i < 8; ++i) {
      BOOST_REQUIRE_EQUAL(send(client.get(), "x", 1, 0), 1);
      seen.insert(answered_by());
      const auto answer = receive(client);
      BOOST_REQUIRE(answer);
      BOOST_CHECK_EQUAL(answer->from, shown);
    }
    BOOST_CHECK_EQUAL(seen.size(), 1);
    BOOST_CHECK(!seen.contains(""));
  }
}

BOOST_FIXTURE_TEST_CASE(one_udp_socket_talking_to_several_services_gets_each_answer_from_the_right_address, Web) {
  auto other = make_service("other", {"10.96.0.2"}, {{.port = 53, .target = {.number = 8080}, .protocol = "UDP"}});
  other.spec.selector = {{"app", "web"}};
  start();
  proxy->set_services({service, other});
  proxy->set_pod(make_pod("web-0", "web", {"10.244.0.5", "fd00:244::5"}));
  proxy->set_pod(make_pod("web-1", "web", {"10.244.0.6", "fd00:244::6"}));
  flush();
  // The same pod may answer both; the socket must not confuse them when it does not.
  for (int round = 0; round < 16; ++round) {
    const auto client = open_socket(AF_INET, SOCK_DGRAM);
    BOOST_REQUIRE_EQUAL(send_to(client, address_of("10.96.0.1", 80), "a"), 0);
    const auto first = answered_by();
    BOOST_REQUIRE_EQUAL(send_to(client, address_of("10.96.0.2", 53), "b"), 0);
    const auto second = answered_by();
    const auto one = receive(client), two = receive(client);
    BOOST_REQUIRE(one && two);
    if (first != second) BOOST_CHECK_EQUAL(one->from, "10.96.0.1:80");
    BOOST_CHECK_EQUAL(two->from, "10.96.0.2:53");
  }
}

BOOST_FIXTURE_TEST_CASE(a_service_without_endpoints_refuses_at_once, Web) {
  start();
  proxy->set_services({service});
  flush();
  for (const auto& ip : {std::string(kVip4), std::string(kVip6)}) {
    BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, ip, 80), ECONNREFUSED);
    const auto to = address_of(ip, 80);
    BOOST_CHECK_EQUAL(send_to(open_socket(to.storage.ss_family, SOCK_DGRAM), to, "x"), ECONNREFUSED);
  }
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80, true), ECONNREFUSED);
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, "127.0.0.1", 30080), ECONNREFUSED);
  BOOST_CHECK_GE(counter("no_endpoint"), 5);

  proxy->set_pod(make_pod("web-0", "web", {"10.244.0.5"}));
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  proxy->set_pod(make_pod("web-0", "web", {"10.244.0.5"}, false));
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), ECONNREFUSED);
}

BOOST_FIXTURE_TEST_CASE(an_unknown_port_of_a_virtual_address_refuses, Web) {
  start();
  program();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 81), ECONNREFUSED);
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip6, 81), ECONNREFUSED);
  BOOST_CHECK_EQUAL(counter("unknown_port"), 2);
}

BOOST_FIXTURE_TEST_CASE(node_ports_are_served_on_every_address_of_the_node_and_on_loopback, Web) {
  start();
  program();
  for (const auto& ip : {"127.0.0.1", "127.1.2.3", "0.0.0.0", kNodeIp, "::1", kNodeIp6}) {
    BOOST_CHECK_MESSAGE(try_connect(SOCK_STREAM, ip, 30080) == 0, ip);
    BOOST_CHECK(!accepted_by().empty());
    const auto to = address_of(ip, 30080);
    const auto client = open_socket(to.storage.ss_family, SOCK_DGRAM);
    BOOST_REQUIRE_EQUAL(send_to(client, to, "x"), 0);
    BOOST_CHECK(!answered_by().empty());
    const auto answer = receive(client);
    BOOST_REQUIRE(answer);
    BOOST_CHECK_EQUAL(answer->from, text_of(to));
  }
}

BOOST_FIXTURE_TEST_CASE(a_process_of_the_node_cannot_bind_a_node_port, Web) {
  start();
  program();
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    for (const auto& ip : {"0.0.0.0", kNodeIp, "::", "127.0.0.1"}) {
      const auto at = address_of(ip, 30080);
      const auto socket = open_socket(at.storage.ss_family, type);
      BOOST_CHECK_EQUAL(bind(socket.get(), at.get(), at.length), -1);
      BOOST_CHECK_EQUAL(errno, EADDRINUSE);
    }
  }
  const auto free = address_of("0.0.0.0", 30081);
  BOOST_CHECK_EQUAL(bind(open_socket(AF_INET, SOCK_STREAM).get(), free.get(), free.length), 0);
  // A pod's namespace is not the node's.
  BOOST_CHECK_EQUAL(in_foreign_netns([] {
                      const auto at = address_of("0.0.0.0", 30080);
                      return bind(open_socket(AF_INET, SOCK_STREAM).get(), at.get(), at.length) == 0 ? 0 : errno;
                    }),
                    0);
}

BOOST_FIXTURE_TEST_CASE(namespaces_that_nobody_registered_are_left_alone, Web) {
  start();
  program();
  BOOST_CHECK_EQUAL(in_foreign_netns([] { return try_connect(SOCK_STREAM, "10.96.0.1", 80); }), ENETUNREACH);
  BOOST_CHECK_EQUAL(in_foreign_netns([] { return try_connect(SOCK_STREAM, "10.96.0.1", 81); }), ENETUNREACH);
  BOOST_CHECK_EQUAL(counter("foreign_netns"), 2);
}

BOOST_FIXTURE_TEST_CASE(what_is_no_service_is_left_alone, Web) {
  start();
  program();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, "10.244.0.5", 8080), 0);
  BOOST_CHECK_EQUAL(accepted_by(), "10.244.0.5");
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, "127.0.0.1", 9), ECONNREFUSED);
  // A socket that talks to a backend by itself sees that backend as its peer.
  const auto client = open_socket(AF_INET, SOCK_DGRAM);
  BOOST_REQUIRE_EQUAL(connect_to(client, address_of(kVip4, 80)), 0);
  BOOST_REQUIRE_EQUAL(connect_to(client, address_of("10.244.0.5", 8080)), 0);
  BOOST_CHECK_EQUAL(peer_of(client), "10.244.0.5:8080");
}

BOOST_FIXTURE_TEST_CASE(session_affinity_keeps_a_client_with_its_backend_until_that_leaves, Web) {
  service.spec.session_affinity = "ClientIP";
  start();
  program();
  BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  const auto first = accepted_by();
  for (int i = 0; i < 32; ++i) {
    BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
    BOOST_REQUIRE_EQUAL(accepted_by(), first);
  }
  proxy->remove_pod("default", first == "10.244.0.5" ? "web-0" : "web-1");
  flush();
  BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  BOOST_CHECK_NE(accepted_by(), first);
}

BOOST_FIXTURE_TEST_CASE(session_affinity_ends_after_its_timeout, Web) {
  service.spec.session_affinity = "ClientIP";
  service.spec.session_affinity_config = api::SessionAffinityConfig{};
  service.spec.session_affinity_config->client_ip = api::ClientIPConfig{.timeout_seconds = 1};
  start();
  program();
  std::set<std::string> seen;
  // Each round waits out the timeout; eight rounds with one backend are luck of 1 in 128.
  for (int i = 0; i < 8 && seen.size() < 2; ++i) {
    if (i > 0) usleep(1'100'000);
    BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
    seen.insert(accepted_by());
  }
  BOOST_CHECK_EQUAL(seen.size(), 2);
}

BOOST_FIXTURE_TEST_CASE(udp_moves_on_when_its_backend_leaves, Web) {
  start();
  program();
  const auto client = open_socket(AF_INET, SOCK_DGRAM);
  const auto to = address_of(kVip4, 80);
  BOOST_REQUIRE_EQUAL(send_to(client, to, "x"), 0);
  const auto first = answered_by();
  proxy->remove_pod("default", first == "10.244.0.5" ? "web-0" : "web-1");
  flush();
  BOOST_REQUIRE_EQUAL(send_to(client, to, "x"), 0);
  const auto second = answered_by();
  BOOST_CHECK(!second.empty());
  BOOST_CHECK_NE(second, first);
}

BOOST_FIXTURE_TEST_CASE(a_terminating_backend_gets_new_flows_only_when_nothing_is_ready, Web) {
  start();
  program();
  auto leaving = make_pod("web-0", "web", {"10.244.0.5", "fd00:244::5"});
  leaving.metadata.deletion_timestamp = api::Time{};
  proxy->set_pod(leaving);
  flush();
  for (int i = 0; i < 16; ++i) {
    BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
    BOOST_REQUIRE_EQUAL(accepted_by(), "10.244.0.6");
  }
  proxy->remove_pod("default", "web-1");
  flush();
  BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  BOOST_CHECK_EQUAL(accepted_by(), "10.244.0.5");
}

BOOST_FIXTURE_TEST_CASE(services_work_while_the_agent_is_dead_and_a_restart_changes_nothing, Web) {
  start();
  program();
  const auto connected = open_socket(AF_INET, SOCK_DGRAM);
  BOOST_REQUIRE_EQUAL(connect_to(connected, address_of(kVip4, 80)), 0);
  stop();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  BOOST_CHECK(!accepted_by().empty());

  // The new agent knows nothing yet: what is there serves on.
  start(false);
  BOOST_CHECK_EQUAL(peer_of(connected), "10.96.0.1:80");
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  proxy->set_services({service});
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, "127.0.0.1", 30080), 0);
  proxy->set_pod(make_pod("web-0", "web", {"10.244.0.5", "fd00:244::5"}));
  proxy->set_pod(make_pod("web-1", "web", {"10.244.0.6", "fd00:244::6"}));
  const auto before = proxy->usage();
  proxy->synced();
  flush();
  BOOST_CHECK_EQUAL(proxy->usage().vips, before.vips);
  BOOST_CHECK_EQUAL(proxy->usage().backends, before.backends);
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip6, 80), 0);
  BOOST_CHECK_EQUAL(peer_of(connected), "10.96.0.1:80");
  BOOST_CHECK_EQUAL(proxy->services().size(), 8);
}

BOOST_FIXTURE_TEST_CASE(what_nobody_asks_for_after_a_restart_goes_when_all_has_been_heard, Web) {
  start();
  program();
  stop();
  start(false);
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  proxy->synced();
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), ECONNREFUSED);  // an address without a service
  BOOST_CHECK_EQUAL(proxy->usage().vips, 0);
}

BOOST_FIXTURE_TEST_CASE(allocated_addresses_and_ports_are_kept_and_shown, Web) {
  start();
  auto asking = make_service("asking", {}, {{.port = 80, .target = {.number = 8080}}}, "NodePort");
  proxy->set_services({asking});
  const auto first = proxy->services_with_allocations().at(0).spec;
  BOOST_CHECK(first.cluster_ip.starts_with("10.96."));
  BOOST_CHECK_GE(first.ports[0].node_port.value_or(0), 30000);
  run_until([&] { return std::filesystem::exists(settings().allocations_file); });
  BOOST_REQUIRE(std::filesystem::exists(settings().allocations_file));
  stop();
  start();
  proxy->set_services({make_service("another", {}, {{.port = 80, .target = {.number = 8080}}}), asking});
  const auto again = proxy->services_with_allocations().at(1).spec;
  BOOST_CHECK_EQUAL(again.cluster_ip, first.cluster_ip);
  BOOST_CHECK_EQUAL(again.ports[0].node_port.value(), first.ports[0].node_port.value());
}

BOOST_FIXTURE_TEST_CASE(a_host_port_leads_to_its_pod, Web) {
  start();
  auto pod = make_pod("web-0", "web", {"10.244.0.5", "fd00:244::5"}, false);
  api::Container container;
  api::ContainerPort port;
  port.container_port = 8080;
  port.host_port = 8443;
  container.ports.push_back(port);
  pod.spec.containers.push_back(container);
  proxy->set_pod(pod);
  flush();
  for (const auto& ip : {"127.0.0.1", kNodeIp, kNodeIp6}) {
    BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, ip, 8443), 0);
    BOOST_CHECK(!accepted_by().empty());
  }
  proxy->remove_pod("default", "web-0");
  flush();
  BOOST_CHECK_EQUAL(try_connect(SOCK_STREAM, kNodeIp, 8443), ECONNREFUSED);
}

BOOST_FIXTURE_TEST_CASE(flows_and_counters_name_who_talked_to_whom, Web) {
  start();
  program();
  BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip4, 80), 0);
  const auto backend = accepted_by();
  const auto flows = proxy->flows();
  BOOST_REQUIRE_EQUAL(flows.size(), 1);
  BOOST_CHECK_EQUAL(flows[0].client, "node");
  BOOST_CHECK_EQUAL(flows[0].vip, "10.96.0.1:80");
  BOOST_CHECK_EQUAL(flows[0].backend, backend + ":8080");
  BOOST_CHECK_EQUAL(flows[0].service, "default/web");
  BOOST_CHECK_EQUAL(flows[0].verdict, "forwarded");
  uint64_t forwarded = 0, to_backends = 0;
  for (const auto& view : proxy->services()) forwarded += view.forwarded;
  for (const auto& view : proxy->backends()) to_backends += view.flows;
  BOOST_CHECK_EQUAL(forwarded, 1);
  BOOST_CHECK_EQUAL(to_backends, 1);
}
