// The issue's sentence "Services", from the outside: who answers, who is refused.
#include <fmt/core.h>
#include <signal.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <set>
#include <sstream>
#include <string>

#include "test/integration/sandbox.h"
#include "test/patience.h"

namespace host = keelson::host;
using keelson::test::patient;
using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

constexpr const char* kEchoPod = R"(---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, labels: {{app: echo}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/demo-echo, serve, "7000"]
    ports: [{{name: tcp, containerPort: 7000}}, {{name: udp, containerPort: 7000, protocol: UDP}}]
    readinessProbe: {{tcpSocket: {{port: 7000}}, periodSeconds: 1}}
)";

constexpr const char* kEchoService = R"(---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: NodePort
  clusterIPs: [10.96.0.7, "fd00:96::7"]
  clusterIP: 10.96.0.7
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports:
  - {name: t, port: 7, targetPort: tcp, nodePort: 30007}
  - {name: u, port: 7, targetPort: udp, protocol: UDP, nodePort: 30007}
)";

struct Node : Sandbox {
  Node() {
    import_test_image();
    start_agent();
  }
  void run_echo(const std::vector<std::string>& names, const std::string& services = kEchoService) {
    std::string text = services;
    for (const auto& name : names) text += fmt::format(kEchoPod, name);
    write_manifest("echo.yaml", text);
    for (const auto& name : names) require_eventually(name + " is Ready", [&] { return pod_is_ready(name); });
  }
  std::string ask_command() const { return (binaries() / "demo-echo").string(); }
  // Who answered `count` questions.
  static std::set<std::string> names(const std::string& answers) {
    std::set<std::string> result;
    std::istringstream lines(answers);
    for (std::string line; std::getline(lines, line);) result.insert(line.substr(0, line.find(':')));
    return result;
  }
  std::set<std::string> ask(const std::string& protocol, const std::string& ip, int port, int count = 20) {
    return names(on_node({ask_command(), "ask", protocol, ip, std::to_string(port), std::to_string(count)}).out);
  }
  std::set<std::string> ask_outside(const std::string& protocol, const std::string& ip, int port, int count = 20) {
    return names(outside({ask_command(), "ask", protocol, ip, std::to_string(port), std::to_string(count)}).out);
  }
  std::set<std::string> ask_in_pod(const std::string& pod, const std::string& protocol, const std::string& ip, int port,
                                   int count = 20) {
    return names(
        ctl({"exec", pod, "--", "/bin/demo-echo", "ask", protocol, ip, std::to_string(port), std::to_string(count)})
            .out);
  }
};

const std::set<std::string> kBoth = {"a", "b"};

}  // namespace

BOOST_FIXTURE_TEST_CASE(every_client_reaches_every_pod_over_every_way, Node) {
  run_echo({"a", "b"});
  for (const char* protocol : {"tcp", "udp"}) {
    for (const char* ip : {"10.96.0.7", "fd00:96::7"}) {
      BOOST_TEST((ask(protocol, ip, 7) == kBoth), "node " << protocol << " " << ip);
      BOOST_TEST((ask_in_pod("a", protocol, ip, 7) == kBoth), "pod " << protocol << " " << ip);
      BOOST_TEST((ask_outside(protocol, ip, 7) == kBoth), "outside " << protocol << " " << ip);
    }
    for (const char* ip : {kNodeIp, kNodeIp6}) {
      BOOST_TEST((ask(protocol, ip, 30007) == kBoth), "node port, node " << protocol << " " << ip);
      BOOST_TEST((ask_in_pod("a", protocol, ip, 30007) == kBoth), "node port, pod " << protocol << " " << ip);
      BOOST_TEST((ask_outside(protocol, ip, 30007) == kBoth), "node port, outside " << protocol << " " << ip);
    }
    BOOST_TEST((ask(protocol, "127.0.0.1", 30007) == kBoth), "node port on localhost " << protocol);
  }
}

BOOST_FIXTURE_TEST_CASE(only_ready_pods_get_traffic_and_at_once, Node) {
  run_echo({"a", "b"});
  ctl({"exec", "b", "--", "/bin/sh", "-c", "kill -STOP 1 2>/dev/null; true"});
  std::string text = kEchoService + fmt::format(kEchoPod, "a");
  write_manifest("echo.yaml", text);
  require_eventually("b no longer answers",
                     [&] { return ask("tcp", "10.96.0.7", 7, 10) == std::set<std::string>{"a"}; });
  BOOST_TEST((ask("udp", "10.96.0.7", 7) == std::set<std::string>{"a"}));
}

// Its Pod's cable is cut first, so that nothing the Pod's own kernel says arrives: only the
// agent can tell the clients.
BOOST_FIXTURE_TEST_CASE(a_client_that_waits_for_a_pod_that_is_gone_hears_of_it_at_once, Node) {
  run_echo({"a", "b"});
  std::vector<host::Path> outputs;
  std::string script;
  for (int i = 0; i < 4; ++i) {
    for (const char* protocol : {"tcp", "udp"}) {
      for (const char* ip : {"10.96.0.7", "fd00:96::7"}) {
        outputs.push_back(directory() / fmt::format("client-{}", outputs.size()));
        background({ask_command(), "hold", protocol, ip, "7"}, outputs.back());
        script += fmt::format("demo-echo hold {} {} 7 > /tmp/client-{} & ", protocol, ip, outputs.size());
      }
    }
  }
  write_manifest("client.yaml", fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "{}wait; sleep 1000"]}}
)",
                                            script));
  require_eventually("the client Pod is Ready", [&] { return pod_is_ready("client"); });
  // Each as "a: hello" or "b: hello", and with "ended: …" once it has.
  const auto all = [&] {
    std::vector<std::string> texts;
    for (const auto& output : outputs) texts.push_back(host::read_file(output).value_or(""));
    std::istringstream in_pod(
        ctl({"exec", "client", "--", "/bin/sh", "-c", "for f in /tmp/client-*; do tr '\\n' ' ' < $f; echo; done"}).out);
    for (std::string line; std::getline(in_pod, line);) texts.push_back(line);
    return texts;
  };
  const auto count = [&](const char* pod, bool ended) {
    return std::ranges::count_if(all(), [&](const std::string& text) {
      return text.starts_with(pod) &&
             (text.find("ended: Software caused connection abort") != std::string::npos) == ended;
    });
  };
  require_eventually("all are connected", [&] { return count("a", false) + count("b", false) == 32; });
  const auto of_a = count("a", false), of_b = count("b", false);
  BOOST_REQUIRE_GT(of_a, 0);
  BOOST_REQUIRE_GT(of_b, 0);

  const auto cut = on_node(
      {"/bin/sh", "-c",
       fmt::format("ip link set $(ip -o route get {} | grep -o 'dev [^ ]*') down", pod_value("a", "/status/podIP"))});
  BOOST_REQUIRE_EQUAL(cut.wait_status, 0);
  write_manifest("echo.yaml", kEchoService + fmt::format(kEchoPod, "b"));
  require_eventually("the clients of a have heard", [&] { return count("a", true) == of_a; }, 5s);
  BOOST_TEST(count("b", false) == of_b);
}

BOOST_FIXTURE_TEST_CASE(no_endpoint_is_refused_at_once, Node) {
  write_manifest("echo.yaml", kEchoService);
  require_eventually("the service is there",
                     [&] { return ctl({"services"}).out.find("10.96.0.7") != std::string::npos; });
  const auto began = std::chrono::steady_clock::now();
  for (const char* ip : {"10.96.0.7", "fd00:96::7"}) {
    for (const char* protocol : {"tcp", "udp"}) {
      const auto output = on_node({ask_command(), "ask", protocol, ip, "7"});
      BOOST_TEST(output.wait_status != 0);
      BOOST_TEST(output.err.find("refused") != std::string::npos, protocol << " " << ip << ": " << output.err);
      const auto from_outside = outside({ask_command(), "ask", protocol, ip, "7"});
      BOOST_TEST(from_outside.err.find("refused") != std::string::npos,
                 "outside " << protocol << " " << ip << ": " << from_outside.err);
    }
  }
  BOOST_TEST((std::chrono::steady_clock::now() - began < patient(4s)));
}

BOOST_FIXTURE_TEST_CASE(addresses_and_node_ports_are_allocated_and_kept, Node) {
  write_manifest("s.yaml", R"(
apiVersion: v1
kind: Service
metadata: {name: one}
spec: {type: NodePort, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {ports: [{port: 80}]}
)");
  std::string before;
  require_eventually("both have addresses", [&] {
    before = ctl({"services"}).out;
    return before.find("one") != std::string::npos && before.find("two") != std::string::npos;
  });
  BOOST_TEST(before.find("10.96.") != std::string::npos, before);
  BOOST_TEST(before.find("80:3") != std::string::npos, before);
  const auto addresses = [&] {
    return shell("printf '%s' '" + ctl({"services", "-o", "json"}).out +
                 "' | grep -oE '\"(clusterIP|nodePort)\": ?[^,}]*'")
        .out;
  };
  const auto first = addresses();
  stop_agent(SIGTERM);
  start_agent();
  BOOST_TEST(addresses() == first);
}

BOOST_FIXTURE_TEST_CASE(session_affinity_keeps_a_client_on_one_pod, Node) {
  std::string sticky = kEchoService;
  sticky.replace(sticky.find("  selector:"), 0, "  sessionAffinity: ClientIP\n");
  run_echo({"a", "b"}, sticky);
  for (const char* protocol : {"tcp", "udp"}) {
    BOOST_TEST(ask(protocol, "10.96.0.7", 7, 30).size() == 1U);
    BOOST_TEST(ask_outside(protocol, kNodeIp, 30007, 30).size() == 1U);
  }
}

BOOST_FIXTURE_TEST_CASE(given_endpoints_are_used, Node) {
  run_echo({"a"});
  const auto ip = pod_value("a", "/status/podIP");
  write_manifest("given.yaml", fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: given}}
spec: {{clusterIP: 10.96.0.99, ports: [{{port: 99, targetPort: 7000}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: given}}
subsets: [{{addresses: [{{ip: {}}}], ports: [{{port: 7000}}]}}]
)",
                                           ip));
  require_eventually("it answers", [&] { return ask("tcp", "10.96.0.99", 99, 3) == std::set<std::string>{"a"}; });
}

BOOST_FIXTURE_TEST_CASE(headless_and_external_name_services_are_left_alone, Node) {
  write_manifest("s.yaml", R"(
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: echo}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: example.org}
)");
  require_eventually("both are listed", [&] {
    const auto text = ctl({"services"}).out;
    return text.find("headless") != std::string::npos && text.find("elsewhere") != std::string::npos;
  });
  BOOST_TEST(ctl({"status"}).out.find("error") == std::string::npos, ctl({"status"}).out);
}

BOOST_FIXTURE_TEST_CASE(a_process_in_another_namespace_is_not_touched, Node) {
  run_echo({"a"});
  // In the agent's cgroup root, but in a network namespace that is not the node's.
  const auto output = shell(fmt::format("echo $$ > {}/host/cgroup.procs; unshare -n {} ask tcp 10.96.0.7 7",
                                        cgroup().string(), ask_command()));
  BOOST_TEST(output.out.empty());
  BOOST_TEST(output.err.find("unreachable") != std::string::npos, output.err);
}

BOOST_FIXTURE_TEST_CASE(a_node_port_cannot_be_bound_on_the_node_only, Node) {
  run_echo({"a"});
  const auto bind = [&](const std::string& prefix) {
    return shell(fmt::format("echo $$ > {}/host/cgroup.procs; exec {} timeout {} {} serve 30007", cgroup().string(),
                             prefix, patient(1), ask_command()));
  };
  const auto on_the_node = bind("nsenter --net=/run/netns/" + name());
  BOOST_TEST(on_the_node.err.find("Address already in use") != std::string::npos, on_the_node.err);
  BOOST_TEST(bind("unshare -n").out.find("serving") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(an_interface_that_appears_later_brings_clients_at_once, Node) {
  run_echo({"a", "b"});
  const auto added = shell(fmt::format(R"(set -e
    ip -n {0} link add eth1 type veth peer name eth1 netns {0}-out
    ip -n {0}-out address add 198.51.100.20/24 dev eth1; ip -n {0}-out link set eth1 up
    ip -n {0} link set eth1 up; ip -n {0} address add 198.51.100.10/24 dev eth1)",
                                       name()));
  BOOST_REQUIRE_EQUAL(added.wait_status, 0);
  require_eventually(
      "node ports are served on it", [&] { return ask_outside("tcp", "198.51.100.10", 30007) == kBoth; }, 3s);
  BOOST_TEST((ask_outside("udp", "198.51.100.10", 30007) == kBoth));
  BOOST_TEST((ask("tcp", "198.51.100.10", 30007) == kBoth));
  BOOST_TEST((ask_in_pod("a", "udp", "198.51.100.10", 30007) == kBoth));
  shell(fmt::format("ip -n {} link delete eth1", name()));
}

BOOST_FIXTURE_TEST_CASE(the_maps_read_like_a_table, Node) {
  run_echo({"a"});
  const auto dump = shell("bpftool map dump pinned " + (bpffs() / "v1/vip").string()).out;
  BOOST_TEST(dump.find("\"port\"") != std::string::npos, dump);
  BOOST_TEST(dump.find("\"key\"") != std::string::npos, dump);
}
