// The issue's sentences "Look inside" and "Pod network", and the agent's start.
#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "test/integration/sandbox.h"

using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  hostAliases: [{ip: 192.0.2.99, hostnames: [far.example]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [example.org]}
  containers:
  - {name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/demo-echo, serve, "7000"]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.7, selector: {app: web}, ports: [{port: 7, targetPort: 7000}]}
)";

struct Node : Sandbox {
  Node() {
    import_test_image();
    start_agent();
    write_manifest("web.yaml", kPod);
    require_eventually("web is Ready", [&] { return pod_is_ready("web"); });
  }
};

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_FIXTURE_TEST_CASE(every_command_answers_in_every_format, Node) {
  for (const char* command : {"pods", "services", "backends", "images", "status"}) {
    for (const char* format : {"", "json", "yaml", "wide"}) {
      std::vector<std::string> arguments = {command};
      if (*format != '\0') arguments.insert(arguments.end(), {"-o", format});
      const auto output = ctl(arguments);
      BOOST_TEST(output.wait_status == 0, command << " -o " << format << ": " << output.err);
      BOOST_TEST(!output.out.empty());
    }
  }
  BOOST_TEST(contains(ctl({"pods"}).out, "NAME"));
  BOOST_TEST(contains(ctl({"pods"}).out, "Running"));
  BOOST_TEST(contains(ctl({"pods", "-o", "wide"}).out, "10.244.0."));
  BOOST_TEST(contains(ctl({"backends"}).out, ":7000"));
}

BOOST_FIXTURE_TEST_CASE(usage_errors_end_with_2_and_failures_with_1, Node) {
  BOOST_TEST(WEXITSTATUS(ctl({"nonsense"}).wait_status) == 2);
  BOOST_TEST(WEXITSTATUS(ctl({"logs", "no-such-pod"}).wait_status) == 1);
  BOOST_TEST(WEXITSTATUS(ctl({"--agent", "http://127.0.0.1:1", "pods"}).wait_status) == 1);
  BOOST_TEST(WEXITSTATUS(run_agent_to_its_end({"--no-such-flag"}).wait_status) == 2);
}

BOOST_FIXTURE_TEST_CASE(validate_names_line_and_field_offline, Sandbox) {
  shell(
      "printf 'apiVersion: v1\\nkind: Pod\\nmetadata: {name: x}\\nspec:\\n  containers:\\n  - {name: BAD, image: "
      "a}\\n' > " +
      (directory() / "bad.yaml").string());
  const auto output = ctl({"validate", (directory() / "bad.yaml").string()});
  BOOST_TEST(WEXITSTATUS(output.wait_status) == 1);
  BOOST_TEST(contains(output.out, "bad.yaml:6: error: Pod default/x: spec.containers[0].name"),
             output.out << output.err);
}

BOOST_FIXTURE_TEST_CASE(doctor_tells_what_the_host_lacks, Sandbox) {
  const auto output = ctl({"doctor"});
  BOOST_TEST(contains(output.out, "BTF"), output.out << output.err);
  BOOST_TEST(contains(output.out, "cgroup"), output.out);
}

BOOST_FIXTURE_TEST_CASE(metrics_and_health_need_no_token, Node) {
  const auto metrics = on_node({"/usr/bin/curl", "-sS", "--noproxy", "*", "http://127.0.0.1:10250/metrics"}).out;
  BOOST_TEST(contains(metrics, "# TYPE keelson_"), metrics);
  BOOST_TEST(on_node({"/usr/bin/curl", "-sS", "--noproxy", "*", "http://127.0.0.1:10250/healthz"}).out == "ok");
}

BOOST_FIXTURE_TEST_CASE(hosts_resolv_conf_and_hostname_are_written, Node) {
  const auto in_pod = [&](const std::string& script) {
    return ctl({"exec", "web", "--", "/bin/sh", "-c", script}).out;
  };
  const auto hosts = in_pod("cat /etc/hosts");
  BOOST_TEST(contains(hosts, "192.0.2.99\tfar.example"), hosts);
  BOOST_TEST(contains(hosts, pod_value("web", "/status/podIP") + "\tweb"), hosts);
  BOOST_TEST(contains(in_pod("cat /etc/resolv.conf"), "nameserver 192.0.2.53"));
  BOOST_TEST(in_pod("cat /etc/hostname") == "web\n");
}

BOOST_FIXTURE_TEST_CASE(pods_have_both_families_and_reach_the_outside_behind_the_nodes_address, Node) {
  BOOST_TEST(contains(pod_value("web", "/status/podIPs/0/ip"), "10.244.0."));
  BOOST_TEST(contains(pod_value("web", "/status/podIPs/1/ip"), "fd00:244::"));
  const auto in_pod = [&](const std::string& script) { return ctl({"exec", "web", "--", "/bin/sh", "-c", script}); };
  const auto ping = in_pod("ping -c 1 -W 2 192.0.2.20 && ping -c 1 -W 2 fd00:2::20");
  BOOST_TEST(ping.wait_status == 0, ping.out << ping.err);
  // The outside has a route to the Pods, so SNAT shows in whom it sees, not in whether it works.
  const auto seen =
      shell(fmt::format("(timeout 5 nsenter --net=/run/netns/{0}-out python3 -c \"import socket; s=socket.socket(); "
                        "s.setsockopt(1,2,1); s.bind(('',9000)); s.listen(); c,a=s.accept(); print(a[0])\" & "
                        "sleep 0.7; {1}/keelsonctl >/dev/null 2>&1; nsenter --net=/run/netns/{0} {1}/keelsonctl "
                        "--root-dir {2} exec web -- /bin/nc -w 1 192.0.2.20 9000 </dev/null >/dev/null 2>&1; wait)",
                        name(), binaries().string(), root_dir().string()));
  BOOST_TEST(seen.out == std::string(kNodeIp) + "\n", seen.out << seen.err);
}

BOOST_FIXTURE_TEST_CASE(an_address_without_a_pod_is_refused_not_forwarded, Node) {
  const auto output = on_node({(binaries() / "demo-echo").string(), "ask", "tcp", "10.244.0.250", "80"});
  BOOST_TEST(contains(output.err, "No route to host"), output.err);
  const auto service = on_node({(binaries() / "demo-echo").string(), "ask", "tcp", "10.96.200.200", "80"});
  BOOST_TEST(service.wait_status != 0);
  BOOST_TEST(!contains(service.err, "timed out"), service.err);
}

BOOST_FIXTURE_TEST_CASE(a_cidr_that_overlaps_the_hosts_is_refused, Sandbox) {
  const auto output = run_agent_to_its_end({"--pod-cidr=192.0.2.0/25"});
  BOOST_TEST(WEXITSTATUS(output.wait_status) == 1);
  BOOST_TEST(contains(output.err, "192.0.2.0/2"), output.err);
}

// systemd starts it again after a failure, but not after 2.
BOOST_FIXTURE_TEST_CASE(flags_that_cannot_work_end_with_2_and_leave_nothing_in_the_kernel, Sandbox) {
  for (const auto& [flag, why] : {std::pair("--manifest-url=ftp://a/b", "--manifest-url"),
                                  {"--manifest-url-header=nonsense", "--manifest-url-header"},
                                  {"--listen=nonsense", "--listen"},
                                  {"--client-ca-file=/ca.pem", "--client-ca-file"},
                                  {"--source-policy=file=god", "--source-policy"},
                                  {"--file-check-frequency=0s", "--file-check-frequency"},
                                  {"--service-node-port-range=2-1", "--service-node-port-range"}}) {
    const auto output = run_agent_to_its_end({flag});
    BOOST_TEST(WEXITSTATUS(output.wait_status) == 2, flag);
    BOOST_TEST(contains(output.err, why), output.err);
  }
  BOOST_TEST(on_node({"/usr/sbin/nft", "list", "tables"}).out == "");
  BOOST_TEST(!contains(on_node({"/usr/bin/ip", "route"}).out, "unreachable"));
  BOOST_TEST(!std::filesystem::exists(bpffs()));
}

BOOST_FIXTURE_TEST_CASE(off_loopback_the_api_needs_tls, Sandbox) {
  const auto output = run_agent_to_its_end({"--listen=0.0.0.0:10250"});
  BOOST_TEST(WEXITSTATUS(output.wait_status) == 2);
  BOOST_TEST(contains(output.err, "tls-cert-file"), output.err);
}

BOOST_FIXTURE_TEST_CASE(a_second_agent_on_the_same_directories_is_refused, Node) {
  const auto output = run_agent_to_its_end({"--listen=127.0.0.1:10260"});
  BOOST_TEST(WEXITSTATUS(output.wait_status) == 1);
  BOOST_TEST(contains(output.err, "another"), output.err);
}
