// The agent in a cluster: two nodes and a master on a third host, none with a route to
// anywhere else; the real etcd beneath, the real kubectl in front.
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <rapidjson/document.h>
#include <rapidjson/pointer.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "test/integration/cluster_rig.h"
#include "test/patience.h"

namespace host = keelson::host;
using keelson::test::Cluster;
using keelson::test::patient;
using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

using Words = std::vector<std::string>;
// What demo-echo's answers begin with: who answered.
std::set<std::string> names(const std::string& answers) {
  std::set<std::string> result;
  std::istringstream lines(answers);
  for (std::string line; std::getline(lines, line);) result.insert(line.substr(0, line.find(':')));
  return result;
}

std::string echo_pod(const std::string& name, const std::string& node) {
  return fmt::format(R"(---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, labels: {{app: echo}}}}
spec:
  nodeName: {1}
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/demo-echo, serve, "7000"]
    ports: [{{name: tcp, containerPort: 7000}}, {{name: udp, containerPort: 7000, protocol: UDP}}]
    readinessProbe: {{tcpSocket: {{port: 7000}}, periodSeconds: 1}}
)",
                     name, node);
}

constexpr const char* kEchoService = R"(---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: NodePort
  clusterIP: 10.96.0.7
  selector: {app: echo}
  ports:
  - {name: t, port: 7, targetPort: tcp, nodePort: 30007}
  - {name: u, port: 7, targetPort: udp, protocol: UDP, nodePort: 30007}
)";

std::string shell_pod(const std::string& name, const std::string& node, const std::string& script,
                      const std::string& more = "") {
  return fmt::format(R"(---
apiVersion: v1
kind: Pod
metadata: {{name: {0}}}
spec:
  nodeName: {1}
  restartPolicy: Never
  {3}
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, '{2}']
)",
                     name, node, script, more);
}

struct OneNode : Cluster {
  OneNode() {
    join(one);
    require_node_ready(one);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(pods_of_two_nodes_answer_behind_one_service) {
  Cluster cluster;
  auto& master = cluster.master;
  auto& one = cluster.one;
  Sandbox two(one);
  cluster.join(one);
  cluster.join(two);
  cluster.require_node_ready(one);
  cluster.require_node_ready(two);
  const auto cidr_of = [&](const char* node) { return master.json_path({"node", node}, "{.spec.podCIDR}"); };
  BOOST_TEST(cidr_of("node1").starts_with("10.244."));
  BOOST_TEST(cidr_of("node1") != cidr_of("node2"));

  master.apply(std::string(kEchoService) + echo_pod("echo-1", "node1") + echo_pod("echo-2", "node2"));
  for (const auto* pod : {"echo-1", "echo-2"}) {
    cluster.require(one, std::string(pod) + " is Ready", [&] { return master.ready(pod); });
  }
  const std::set<std::string> both = {"echo-1", "echo-2"};
  const auto ask = [](Sandbox& from, const std::string& pod, const char* protocol, const char* address) {
    const Words question = {"/bin/demo-echo", "ask", protocol, address, "7", "16"};
    if (pod.empty()) {
      return from.on_node({(Sandbox::binaries() / "demo-echo").string(), "ask", protocol, address, "7", "16"}).out;
    }
    Words command = {"exec", pod, "--"};
    command.insert(command.end(), question.begin(), question.end());
    return from.ctl(command).out;
  };
  for (const auto* protocol : {"tcp", "udp"}) {
    for (const auto* address : {"10.96.0.7"}) {
      const auto what = fmt::format("{} {}", protocol, address);
      cluster.require(one, "a Pod of node1 hears both by " + what,
                      [&] { return names(ask(one, "echo-1", protocol, address)) == both; });
      cluster.require(two, "a Pod of node2 hears both by " + what,
                      [&] { return names(ask(two, "echo-2", protocol, address)) == both; });
      cluster.require(two, "node2 itself hears both by " + what,
                      [&] { return names(ask(two, "", protocol, address)) == both; });
    }
  }
  // From outside, by either node's port.
  for (const auto& address : {one.node_ip(), two.node_ip()}) {
    cluster.require(two, "the node port on " + address + " leads to both", [&] {
      const auto answers =
          one.outside({(Sandbox::binaries() / "demo-echo").string(), "ask", "tcp", address, "30007", "16"}).out;
      return names(answers) == both;
    });
  }
  // Pods of two nodes see each other's own addresses, in both families: no translation between the nodes.
  const auto ips_of = [&](const char* pod) { return master.pod(pod, ".status.podIPs[*].ip"); };
  std::istringstream mine(ips_of("echo-1")), others(ips_of("echo-2"));
  for (std::string from, to; mine >> from && others >> to;) {
    one.ctl({"exec", "echo-1", "--", "/bin/sh", "-c", fmt::format("demo-echo hold tcp {} 7000 >/tmp/hold 2>&1 &", to)});
    cluster.require(two, fmt::format("{} is seen as such by {}", from, to), [&] {
      std::istringstream lines(two.ctl({"exec", "echo-2", "--", "/bin/busybox", "netstat", "-tn"}).out);
      for (std::string line; std::getline(lines, line);) {
        if (line.find("ESTABLISHED") != std::string::npos && line.find(from + ":") != std::string::npos) return true;
      }
      return false;
    });
  }

  // One goes: the other alone answers, on both nodes.
  master.must_kubectl({"delete", "pod", "echo-2", "--wait=false"});
  cluster.require(one, "echo-1 alone answers", [&] {
    return names(ask(one, "echo-1", "tcp", "10.96.0.7")) == std::set<std::string>{"echo-1"} &&
           names(ask(two, "", "tcp", "10.96.0.7")) == std::set<std::string>{"echo-1"};
  });

  // The Node goes, and with it the way to its Pods.
  two.stop_agent(SIGKILL);
  master.must_kubectl({"delete", "node", "node2"});
  cluster.require(one, "the route to node2 is gone",
                  [&] { return one.on_node({"/sbin/ip", "route"}).out.find("192.0.2.11") == std::string::npos; });
  cluster.require(one, "the IPv6 route to node2 is gone",
                  [&] { return one.on_node({"/sbin/ip", "-6", "route"}).out.find("fd00:2::11") == std::string::npos; });
}

BOOST_FIXTURE_TEST_CASE(a_node_says_what_it_is, OneNode) {
  const auto field = [&](const std::string& path) { return master.json_path({"node", "node1"}, "{" + path + "}"); };
  const auto read = [&](const char* file) {
    auto text = host::read_file(file, 4096).value_or("");
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return text;
  };
  BOOST_TEST(field(".status.nodeInfo.bootID") == read("/proc/sys/kernel/random/boot_id"));
  BOOST_TEST(field(".status.nodeInfo.machineID") == read("/etc/machine-id"));
  BOOST_TEST(field(".status.nodeInfo.kernelVersion") == read("/proc/sys/kernel/osrelease"));
  BOOST_TEST(field(".status.nodeInfo.containerRuntimeVersion").starts_with("keelson://"));
  BOOST_TEST(field(".status.nodeInfo.kubeletVersion").find("-keelson") != std::string::npos);
  BOOST_TEST(field(".status.nodeInfo.kubeProxyVersion").find("-keelson") != std::string::npos);
  BOOST_TEST(!field(".status.nodeInfo.systemUUID").empty());
  BOOST_TEST(!field(".status.nodeInfo.osImage").empty());
  BOOST_TEST(field(".spec.externalID") == "node1");
  BOOST_TEST(field(".metadata.labels.kubernetes\\.io/hostname") == "node1");
  BOOST_TEST(field(".status.addresses[?(@.type==\"InternalIP\")].address") == "192.0.2.10 fd00:2::10");
  BOOST_TEST(field(".status.capacity.pods") == "110");
  BOOST_TEST(field(".status.conditions[*].type") == "NetworkUnavailable MemoryPressure DiskPressure PIDPressure Ready");
  BOOST_TEST(field(".status.daemonEndpoints.kubeletEndpoint.Port") == "10250");
  require(one, "its images are told",
          [&] { return field(".status.images[*].names").find("busybox-test") != std::string::npos; });
  const auto lease = [&] { return master.json_path({"lease", "-n", "kube-node-lease", "node1"}, "{.spec.renewTime}"); };
  std::string first;
  require(one, "it has a Lease", [&] { return !(first = lease()).empty(); });
  BOOST_TEST(master.json_path({"lease", "-n", "kube-node-lease", "node1"}, "{.spec.leaseDurationSeconds}") == "40");
  require(one, "the Lease is renewed", [&] { return lease() != first; }, 15s);
}

BOOST_FIXTURE_TEST_CASE(status_exit_codes_events_and_logs_are_the_nodes, OneNode) {
  master.apply(shell_pod("failing", "node1", "echo to the log; exit 3"));
  require(one, "it has failed", [&] { return master.pod("failing", ".status.phase") == "Failed"; });
  const auto terminated = ".status.containerStatuses[0].state.terminated";
  BOOST_TEST(master.pod("failing", fmt::format("{}.exitCode", terminated)) == "3");
  BOOST_TEST(master.pod("failing", fmt::format("{}.reason", terminated)) == "Error");
  BOOST_TEST(!master.pod("failing", fmt::format("{}.finishedAt", terminated)).empty());
  BOOST_TEST(master.pod("failing", ".status.hostIP") == "192.0.2.10");
  BOOST_TEST(master.pod("failing", ".status.podIP").starts_with("10.244."));
  BOOST_TEST(!master.pod("failing", ".status.startTime").empty());
  BOOST_TEST(master.must_kubectl({"logs", "failing"}) == "to the log\n");
  const auto events = [&] {
    return master.json_path({"events", "--field-selector", "involvedObject.name=failing"}, "{.items[*].reason}");
  };
  require(one, "its events are there", [&] {
    const auto reasons = events();
    return reasons.find("Pulled") != std::string::npos && reasons.find("Created") != std::string::npos &&
           reasons.find("Started") != std::string::npos;
  });
  // One that is over is not run again by an agent that starts anew.
  one.stop_agent(SIGTERM);
  one.start_agent({"--kubeconfig=" + master.kubeconfig_of("node1")});
  std::this_thread::sleep_for(patient(1s));
  BOOST_TEST(master.pod("failing", ".status.phase") == "Failed");
  BOOST_TEST(master.must_kubectl({"logs", "failing"}) == "to the log\n");
  master.must_kubectl({"delete", "pod", "failing"});
  BOOST_TEST(!master.exists("failing"));

  // Follow, through the master.
  master.apply(shell_pod("talker", "node1", "for i in 1 2 3; do echo line $i; sleep 0.3; done"));
  require(one, "it runs", [&] { return !master.pod("talker", ".status.startTime").empty(); });
  std::string text;
  require(one, "its log can be followed",
          [&] { return (text = master.kubectl({"logs", "-f", "talker"}).out).ends_with("line 3\n"); });
  BOOST_TEST(text == "line 1\nline 2\nline 3\n");
  master.must_kubectl({"delete", "pod", "talker"});
}

BOOST_FIXTURE_TEST_CASE(deletion_waits_for_the_pod_and_no_longer, OneNode) {
  master.apply(shell_pod("polite", "node1", "trap \"echo bye; exit 7\" TERM; echo up; while :; do sleep 0.1; done"));
  require(one, "it is up", [&] { return master.kubectl({"logs", "polite"}).out == "up\n"; });
  auto watch = one.spawn_outside(
      {"/usr/bin/kubectl", "--kubeconfig", (master.data() / "admin.kubeconfig").string(), "get", "pod", "polite", "-w",
       "-o", "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}{\"\\n\"}"},
      one.directory() / "watch.log");
  const auto began = std::chrono::steady_clock::now();
  master.must_kubectl({"delete", "pod", "polite"});
  const auto took = std::chrono::steady_clock::now() - began;
  BOOST_TEST((took < patient(5s)), "an end at once took longer than 5 s");
  BOOST_TEST(!master.exists("polite"));
  std::this_thread::sleep_for(300ms);
  Sandbox::end_child(watch, SIGTERM);
  const auto seen = host::read_file(one.directory() / "watch.log", 1U << 20).value_or("");
  BOOST_TEST(seen.find("7\n") != std::string::npos, "how it ended was not told before it went: " << seen);

  // One that does not listen is killed when its grace is over.
  master.apply(shell_pod("rude", "node1", "trap : TERM; echo up; while :; do sleep 0.1; done"));
  require(one, "it is up", [&] { return master.kubectl({"logs", "rude"}).out == "up\n"; });
  master.must_kubectl({"delete", "pod", "rude", "--grace-period=2", "--wait=false"});
  std::this_thread::sleep_for(1s);
  BOOST_TEST(!master.pod("rude", ".metadata.deletionTimestamp").empty());
  require(one, "it is gone", [&] { return !master.exists("rude"); }, 10s);
  require(one, "here too", [&] { return !one.pod_exists("rude"); });
}

BOOST_FIXTURE_TEST_CASE(static_pods_have_mirrors, OneNode) {
  one.write_manifest("web.yaml", R"(
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "echo static; sleep 3600"]}
)");
  require(one, "the mirror is Ready", [&] { return master.ready("web-node1"); });
  BOOST_TEST(master.pod("web-node1", ".metadata.annotations.kubernetes\\.io/config\\.source") == "file");
  BOOST_TEST(!master.pod("web-node1", ".metadata.annotations.kubernetes\\.io/config\\.mirror").empty());
  BOOST_TEST(master.must_kubectl({"logs", "web-node1"}) == "static\n");
  // Deleted, it comes back, and nothing has been restarted.
  const auto uid = master.pod("web-node1", ".metadata.uid");
  const auto container = one.pod_value("web", "/status/containerStatuses/0/containerID");
  master.must_kubectl({"delete", "pod", "web-node1"});
  require(one, "another mirror is Ready",
          [&] { return master.ready("web-node1") && master.pod("web-node1", ".metadata.uid") != uid; });
  BOOST_TEST(one.pod_value("web", "/status/containerStatuses/0/containerID") == container);
  // The manifest goes, and the mirror with it.
  one.remove_manifest("web.yaml");
  require(one, "the mirror is gone", [&] { return !master.exists("web-node1"); });
}

BOOST_FIXTURE_TEST_CASE(the_node_works_on_while_the_master_is_away_and_catches_up, OneNode) {
  master.apply(std::string(kEchoService) + echo_pod("echo-1", "node1") +
               shell_pod("going", "node1", "echo up; while :; do sleep 0.1; done", "terminationGracePeriodSeconds: 1"));
  require(one, "echo-1 is Ready", [&] { return master.ready("echo-1"); });
  require(one, "going runs", [&] { return master.pod("going", ".status.phase") == "Running"; });
  const auto container = [&] { return one.pod_value("echo-1", "/status/containerStatuses/0/containerID"); };
  const auto before = container();
  master.must_kubectl({"delete", "pod", "going", "--grace-period=4", "--wait=false"});
  master.stop(SIGKILL);

  // Services and Pods go on; so do they through a restart of the agent.
  const auto answers = [&] {
    return names(
               one.on_node({(Sandbox::binaries() / "demo-echo").string(), "ask", "tcp", "10.96.0.7", "7", "4"}).out) ==
           std::set<std::string>{"echo-1"};
  };
  BOOST_TEST(answers());
  one.stop_agent(SIGKILL);
  one.start_agent({"--kubeconfig=" + (one.directory() / "node1.kubeconfig").string()});
  std::this_thread::sleep_for(patient(2s));
  BOOST_TEST(container() == before);
  BOOST_TEST(answers());
  // What happens meanwhile is told later.
  const auto killed =
      one.shell(fmt::format("for p in $(find {} -name cgroup.procs -exec cat {{}} +); do grep -q 'demo-echo' "
                            "/proc/$p/cmdline && kill -9 $p; done",
                            one.pod_cgroup().string()));
  BOOST_TEST_MESSAGE(killed.err);
  one.require_eventually("it was restarted",
                         [&] { return one.pod_value("echo-1", "/status/containerStatuses/0/restartCount") == "1"; });

  master.start();
  require(one, "the restart has been told",
          [&] { return master.pod("echo-1", ".status.containerStatuses[0].restartCount") == "1"; });
  require(one, "echo-1 is Ready again", [&] { return master.ready("echo-1"); });
  require(one, "what was deleted before is gone", [&] { return !master.exists("going"); });
  BOOST_TEST(one.pod_value("echo-1", "/status/containerStatuses/0/restartCount") == "1");
  require(one, "the service answers", answers);
}

BOOST_FIXTURE_TEST_CASE(configmaps_and_secrets_come_with_the_pods_that_name_them, OneNode) {
  master.apply(R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {word: swordfish}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, 'echo $GREETING $(cat /secret/word); while :; do cat /settings/greeting > /tmp/now; sleep 0.2; done']
    env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}]
    volumeMounts: [{name: s, mountPath: /secret}, {name: c, mountPath: /settings}]
  volumes:
  - {name: s, secret: {secretName: password}}
  - {name: c, configMap: {name: settings}}
)");
  require(one, "it has read both", [&] { return master.kubectl({"logs", "reader"}).out == "hello swordfish\n"; });
  master.must_kubectl({"patch", "configmap", "settings", "-p", R"({"data":{"greeting":"welcome"}})"});
  require(one, "a change arrives in the volume",
          [&] { return one.ctl({"exec", "reader", "--", "cat", "/settings/greeting"}).out == "welcome"; });
  // One that names what is not there waits, says why, and starts when it comes.
  master.apply(shell_pod("waiting", "node1", "sleep 3600",
                         "terminationGracePeriodSeconds: 1\n  volumes: [{name: v, configMap: {name: later}}]"));
  require(one, "it says what it waits for", [&] {
    return master.json_path({"events", "--field-selector", "involvedObject.name=waiting"}, "{.items[*].message}")
               .find("\"later\" not found") != std::string::npos;
  });
  master.must_kubectl({"create", "configmap", "later", "--from-literal=a=b"});
  require(one, "it starts", [&] { return master.pod("waiting", ".status.phase") == "Running"; });
}

BOOST_FIXTURE_TEST_CASE(a_node_refuses_what_it_cannot_run_with_kubelets_reason, OneNode) {
  master.apply(shell_pod("huge", "node1", "sleep 3600").replace(0, 0, "") +
               R"(    resources: {requests: {cpu: "4000"}}
)");
  require(one, "it has failed", [&] { return master.pod("huge", ".status.phase") == "Failed"; });
  BOOST_TEST(master.pod("huge", ".status.reason") == "OutOfcpu");
  master.apply(shell_pod("elsewhere", "node1", "sleep 3600", "nodeSelector: {disk: tape}"));
  require(one, "it has failed", [&] { return master.pod("elsewhere", ".status.phase") == "Failed"; });
  BOOST_TEST(master.pod("elsewhere", ".status.reason") == "NodeAffinity");
}

BOOST_AUTO_TEST_CASE(pods_come_by_an_etcd_that_lets_the_node_read_its_own_prefix) {
  Sandbox one;
  const auto directory = one.directory();
  const auto pki = (directory / "etcd-pki").string();
  // Certificates by which etcd knows its users: their common names. The server's own is also its
  // gateway's client certificate.
  const auto made = one.shell(fmt::format(R"(set -e; mkdir -p {0}; cd {0}
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=etcd-ca 2>/dev/null
    issue() {{
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj "/CN=$2" 2>/dev/null
      printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:192.0.2.20,IP:127.0.0.1\n' > $1.ext
      openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out $1.crt -days 2 -extfile $1.ext 2>/dev/null
    }}
    issue server etcd; issue root root; issue node node1)",
                                          pki));
  BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.out << made.err);
  const std::string endpoint = "https://192.0.2.20:2379";
  auto etcd =
      one.spawn_outside({"/usr/bin/etcd", "--data-dir", (directory / "external-etcd").string(), "--listen-client-urls",
                         endpoint, "--advertise-client-urls", endpoint, "--listen-peer-urls", "http://127.0.0.1:2380",
                         "--cert-file", pki + "/server.crt", "--key-file", pki + "/server.key", "--client-cert-auth",
                         "--trusted-ca-file", pki + "/ca.crt", "--unsafe-no-fsync"},
                        directory / "external-etcd.log");
  const auto etcdctl = [&](const std::string& who, Words arguments) {
    Words command = {"/usr/bin/etcdctl", "--endpoints=" + endpoint, "--cacert=" + pki + "/ca.crt",
                     "--cert=" + pki + "/" + who + ".crt", "--key=" + pki + "/" + who + ".key"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return one.outside(command);
  };
  BOOST_REQUIRE(Sandbox::eventually([&] { return etcdctl("root", {"endpoint", "health"}).wait_status == 0; }, 15s));
  for (const Words& step :
       std::vector<Words>{{"user", "add", "root", "--no-password"},
                          {"user", "grant-role", "root", "root"},
                          {"role", "add", "node1"},
                          {"role", "grant-permission", "node1", "--prefix=true", "read", "/registry/hosts/node1/"},
                          {"user", "add", "node1", "--no-password"},
                          {"user", "grant-role", "node1", "node1"},
                          {"auth", "enable"}}) {
    const auto done = etcdctl("root", step);
    BOOST_REQUIRE_MESSAGE(done.wait_status == 0, fmt::format("{}: {}{}", fmt::join(step, " "), done.out, done.err));
  }
  BOOST_TEST(etcdctl("node", {"get", "/registry/pods/", "--prefix"}).wait_status != 0, "the node can read all");
  {
    keelson::test::Master master(one, {"--etcd-servers=" + endpoint, "--etcd-cafile=" + pki + "/ca.crt",
                                       "--etcd-certfile=" + pki + "/root.crt", "--etcd-keyfile=" + pki + "/root.key"});
    one.import_test_image();
    one.start_agent({"--kubeconfig=" + master.kubeconfig_of("node1"), "--etcd-servers=" + endpoint,
                     "--etcd-cafile=" + pki + "/ca.crt", "--etcd-certfile=" + pki + "/node.crt",
                     "--etcd-keyfile=" + pki + "/node.key", "--node-status-update-frequency=2s"});
    const auto require = [&](const std::string& what, const std::function<bool()>& holds) {
      if (!Sandbox::eventually(holds, keelson::test::kClusterPatience))
        BOOST_FAIL("not in time: " << what << "\n" << master.log() << "\n--- agent\n" << one.agent_log());
    };
    require("the node has its pod CIDR",
            [&] { return !master.json_path({"node", "node1"}, "{.spec.podCIDR}").empty(); });
    master.apply(R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, 'echo $GREETING; sleep 3600']
    env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}]
)");
    require("it is Ready in the API", [&] { return master.ready("reader"); });
    BOOST_TEST(master.must_kubectl({"logs", "reader"}) == "hello\n");
    BOOST_TEST(one.pod_value("reader", "/metadata/annotations/kubernetes.io~1config.source") == "etcd");
    master.must_kubectl({"delete", "pod", "reader"});
    require("it is gone here too", [&] { return !one.pod_exists("reader"); });
    // Its manifest by hand is a static Pod, and has a mirror.
    etcdctl("root",
            {"put", "/registry/hosts/node1/hand", R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"hand"},"spec":
      {"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"busybox-test","imagePullPolicy":"Never",
      "command":["sleep","3600"]}]}})"});
    require("its mirror is Ready", [&] { return master.ready("hand-node1"); });
    etcdctl("root", {"del", "/registry/hosts/node1/hand"});
    require("the mirror is gone", [&] { return !master.exists("hand-node1"); });
  }
  one.drain();
  Sandbox::end_child(etcd, SIGTERM);
}
