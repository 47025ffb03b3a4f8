// Scheduler, controllers and election from the outside: a real keelson-master with a real
// etcd, driven by the real kubectl. The nodes are hollow (hollow_node.cpp): what runs on a
// node is others' to test.
#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>

#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "host/file.h"
#include "host/process.h"
#include "test/integration/sandbox.h"
#include "test/patience.h"

using keelson::test::Sandbox;
using namespace keelson;
using namespace std::chrono_literals;

namespace {

constexpr const char* kController = R"(
apiVersion: v1
kind: ReplicationController
metadata: {{name: {0}}}
spec:
  replicas: {1}
  selector: {{app: {0}}}
  template:
    metadata: {{labels: {{app: {0}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: busybox, resources: {{requests: {{cpu: 10m}}}}, ports: [{{name: http, containerPort: 8080}}]}}]
)";

// Of nodes that speak twice a second.
constexpr const char* kGrace = "4s";

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), std::istream_iterator<std::string>()};
}

// A cluster with a master in the sandbox's node namespace, and no nodes yet.
struct Cluster : Sandbox {
  explicit Cluster(std::string run = "apiserver,scheduler,controllers", std::vector<std::string> further = {})
      : components(std::move(run)), flags(std::move(further)) {
    master = start_master();
  }
  ~Cluster() { show_log_on_failure(); }

  std::string components;
  std::vector<std::string> flags;
  pid_t master = 0;

  host::Path kubeconfig() const { return directory() / "master/admin.kubeconfig"; }
  host::Path master_log() const { return directory() / "master.log"; }

  pid_t start_master() {
    std::vector<std::string> command = {(binaries() / "keelson-master").string(),
                                        "--config",
                                        "",
                                        "--components",
                                        components,
                                        "--data-dir",
                                        (directory() / "master").string(),
                                        "--listen",
                                        "192.0.2.10:6443",
                                        "--node-monitor-grace-period",
                                        kGrace,
                                        "--pod-eviction-timeout",
                                        "1s"};
    command.insert(command.end(), flags.begin(), flags.end());
    const pid_t pid = background(command, master_log()).identity.pid;
    require_eventually("the API server is ready", [&] { return raw("/readyz") == "ok"; }, 20s);
    return pid;
  }

  // kill -9, and until nothing holds its data any more.
  void kill_master() const {
    ::kill(master, SIGKILL);
    siginfo_t ended{};
    BOOST_REQUIRE(::waitid(P_PID, static_cast<id_t>(master), &ended, WEXITED | WNOWAIT) == 0);
  }

  // Scheduler or controllers on their own, with the rights that they have by their names.
  pid_t start_component(const std::string& component, const std::string& log) {
    const host::Path config = directory() / (component + ".kubeconfig");
    const std::string user = component == "scheduler" ? "system:kube-scheduler" : "system:kube-controller-manager";
    const auto made = on_node({(binaries() / "keelson-master").string(), "kubeconfig", "--config", "", "--data-dir",
                               (directory() / "master").string(), "--listen", "192.0.2.10:6443", "--user", user});
    BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
    std::ofstream(config) << made.out;
    return background(
               {(binaries() / "keelson-master").string(), "--config", "", "--data-dir", (directory() / log).string(),
                "--components", component, "--kubeconfig", config.string(), "--node-monitor-grace-period", kGrace},
               directory() / (log + ".log"))
        .identity.pid;
  }

  pid_t start_nodes(const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {(binaries() / "hollow-node").string(), kubeconfig().string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return background(command, directory() / "hollow.log").identity.pid;
  }

  host::Output kubectl(const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"kubectl", "--kubeconfig", kubeconfig().string(), "--cache-dir",
                                        (directory() / "kubectl-cache").string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return on_node(command);
  }
  std::string must(const std::vector<std::string>& arguments) {
    const host::Output output = kubectl(arguments);
    BOOST_REQUIRE_MESSAGE(output.wait_status == 0, "kubectl " << arguments[0] << ": " << output.err << output.out);
    return output.out;
  }
  std::string raw(const std::string& path) { return kubectl({"get", "--raw", path}).out; }
  std::string get(const std::string& what, const std::string& path) {
    std::vector<std::string> arguments = {"get"};
    for (const std::string& word : words(what)) arguments.push_back(word);
    arguments.insert(arguments.end(), {"--ignore-not-found", "-o", "jsonpath=" + path});
    return kubectl(arguments).out;
  }
  void apply(const std::string& yaml) {
    static int count = 0;
    const host::Path file = directory() / fmt::format("apply-{}.yaml", ++count);
    std::ofstream(file) << yaml;
    must({"apply", "-f", file.string()});
  }
  void controller(const std::string& name, int replicas) {
    apply(fmt::format(fmt::runtime(kController), name, replicas));
  }

  std::set<std::string> pods(const std::string& selector, const std::string& space = "default") {
    const auto names = words(get("pods -n " + space + " -l " + selector, "{.items[*].metadata.name}"));
    return {names.begin(), names.end()};
  }
  bool has_replicas(const std::string& name, int count) {
    const std::string number = std::to_string(count);
    return get("rc " + name, "{.status.replicas}/{.status.readyReplicas}/{.status.availableReplicas}") ==
           (count == 0 ? "0//" : number + "/" + number + "/" + number);
  }
  std::string ready(const std::string& node) {
    return get("node " + node, "{.status.conditions[?(@.type==\"Ready\")].status}");
  }
  // Of these Pods, in JSON, each beside one container that is as given.
  void pod(const std::string& name, const std::string& fields, const std::string& container = "") {
    apply(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{0}","labels":{{"app":"{0}"}}}},"spec":{{{1}{2}"containers":[{{"name":"main","image":"busybox"{3}{4}}}]}}}})",
        name, fields, fields.empty() ? "" : ",", container.empty() ? "" : ",", container));
  }
  // That it waits, in the words of kube-scheduler for a cluster of these nodes.
  void require_reason(const std::string& pod, const std::string& reason) {
    require_eventually(pod + " waits: " + reason, [&] { return scheduled_message(pod) == reason; });
    BOOST_TEST(get("pod " + pod, "{.spec.nodeName}").empty());
  }
  void require_running(const std::string& pod, const std::string& node) {
    require_eventually(pod + " runs", [&] { return get("pod " + pod, "{.status.phase}") == "Running"; });
    BOOST_TEST(get("pod " + pod, "{.spec.nodeName}") == node);
  }
  std::string scheduled_message(const std::string& pod) {
    return get("pod " + pod, "{.status.conditions[?(@.type==\"PodScheduled\")].message}");
  }

  void show_log_on_failure() {
    if (boost::unit_test::results_collector.results(boost::unit_test::framework::current_test_case().p_id).passed()) {
      return;
    }
    for (const char* log : {"master.log", "hollow.log", "c1.log", "c2.log", "c3.log", "s1.log", "s2.log"}) {
      const auto text = host::read_file(directory() / log, 64U << 20);
      if (text) BOOST_TEST_MESSAGE(log << ":\n" << text->substr(text->size() > 8000 ? text->size() - 8000 : 0));
    }
  }
};

// The API server and the scheduler; controllers are started beside them.
struct Apart : Cluster {
  Apart() : Cluster("apiserver,scheduler") {}
};

struct OnlyApiServer : Cluster {
  OnlyApiServer() : Cluster("apiserver") {}
};

// Eight networks of each family for the nodes.
struct SmallCidr : Cluster {
  SmallCidr() : Cluster("apiserver,scheduler,controllers", {"--cluster-cidr", "10.244.0.0/21,fd00:244::/61"}) {}
};

struct BriefEvents : Cluster {
  BriefEvents() : Cluster("apiserver,scheduler,controllers", {"--event-ttl", "2s"}) {}
};

// Of a cluster of one node.
std::string crowded(const std::string& reason) {
  return "0/1 nodes are available: 1 " + reason +
         ". preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
}
std::string hopeless(const std::string& reason) {
  return "0/1 nodes are available: 1 " + reason +
         ". preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_replication_controller_keeps_exactly_its_number_of_pods, Cluster) {
  start_nodes({"n1", "n2"});
  controller("web", 5);
  require_eventually("five are ready", [&] { return has_replicas("web", 5); }, 20s);
  BOOST_TEST(pods("app=web").size() == 5);
  BOOST_TEST(get("rc web", "{.status.observedGeneration}") == get("rc web", "{.metadata.generation}"));
  BOOST_TEST(get("rc web", "{.status.fullyLabeledReplicas}") == "5");
  BOOST_TEST(get("pods -l app=web", "{.items[0].metadata.ownerReferences[0].controller}") == "true");
  // They are spread over the nodes.
  const auto nodes = words(get("pods -l app=web", "{.items[*].spec.nodeName}"));
  BOOST_TEST((std::set<std::string>(nodes.begin(), nodes.end()).size()) == 2);

  must({"scale", "rc", "web", "--replicas=2"});
  require_eventually("two are left", [&] { return has_replicas("web", 2) && pods("app=web").size() == 2; }, 20s);
  const auto before = pods("app=web");
  must({"delete", "pod", *before.begin(), "--wait=false"});
  require_eventually(
      "it was replaced",
      [&] {
        const auto now = pods("app=web");
        return has_replicas("web", 2) && now.size() == 2 && now != before;
      },
      20s);
  must({"scale", "rc", "web", "--replicas=0"});
  require_eventually("none is left", [&] { return has_replicas("web", 0) && pods("app=web").empty(); }, 20s);
  BOOST_TEST(must({"get", "events"}).find("SuccessfulCreate") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(pods_are_adopted_and_released_by_their_labels, Cluster) {
  start_nodes({"n1"});
  apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: stray, labels: {app: web}}
spec: {containers: [{name: main, image: busybox}]}
)");
  controller("web", 2);
  require_eventually("two are ready", [&] { return has_replicas("web", 2); }, 20s);
  BOOST_TEST(pods("app=web").size() == 2);
  BOOST_TEST(pods("app=web").contains("stray"));
  BOOST_TEST(get("pod stray", "{.metadata.ownerReferences[0].name}") == "web");

  must({"label", "pod", "stray", "app=debug", "--overwrite"});
  require_eventually(
      "it was let go and replaced",
      [&] {
        return get("pod stray", "{.metadata.ownerReferences[*].name}").empty() && pods("app=web").size() == 2 &&
               has_replicas("web", 2);
      },
      20s);
  BOOST_TEST(pods("app=debug").size() == 1);
}

BOOST_FIXTURE_TEST_CASE(services_have_endpoints_and_slices_of_their_ready_pods, Cluster) {
  start_nodes({"n1", "n2"});
  apply(R"(
apiVersion: v1
kind: Service
metadata: {name: web, labels: {team: a}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
)");
  require_eventually("an empty slice says that there is nobody", [&] {
    return words(get("endpointslices -l kubernetes.io/service-name=web", "{.items[*].metadata.name}")).size() == 1;
  });
  controller("web", 3);
  const auto addresses = [&] {
    const auto all = words(get("endpoints web", "{.subsets[*].addresses[*].ip}"));
    return std::set<std::string>(all.begin(), all.end());
  };
  const auto in_slices = [&] {
    const auto all = words(get("endpointslices -l kubernetes.io/service-name=web",
                               "{.items[*].endpoints[?(@.conditions.ready==true)].addresses[*]}"));
    return std::set<std::string>(all.begin(), all.end());
  };
  const auto pod_ips = [&] {
    const auto all = words(get("pods -l app=web", "{.items[*].status.podIP}"));
    return std::set<std::string>(all.begin(), all.end());
  };
  require_eventually(
      "three stand behind it",
      [&] { return addresses().size() == 3 && addresses() == pod_ips() && in_slices() == pod_ips(); }, 20s);
  BOOST_TEST(get("endpoints web", "{.subsets[*].ports[*].port}") == "8080");
  BOOST_TEST(get("endpoints web", "{.metadata.labels.team}") == "a");
  BOOST_TEST(get("endpoints web", "{.subsets[0].addresses[0].targetRef.kind}") == "Pod");
  BOOST_TEST(words(get("endpointslices -l kubernetes.io/service-name=web", "{.items[*].metadata.name}")).size() == 1);
  must({"scale", "rc", "web", "--replicas=1"});
  require_eventually(
      "one stands behind it", [&] { return addresses().size() == 1 && in_slices() == addresses(); }, 20s);
  must({"delete", "service", "web"});
  require_eventually("both go with the Service", [&] {
    return get("endpoints web", "{.metadata.name}").empty() &&
           get("endpointslices -l kubernetes.io/service-name=web", "{.items[*].metadata.name}").empty();
  });
}

BOOST_FIXTURE_TEST_CASE(a_namespace_goes_with_all_that_is_in_it, Cluster) {
  start_nodes({"n1"});
  must({"create", "namespace", "doomed"});
  require_eventually("it has its account",
                     [&] { return get("serviceaccount -n doomed default", "{.metadata.name}") == "default"; });
  must({"create", "configmap", "-n", "doomed", "plain", "--from-literal=a=b"});
  apply(R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: held, namespace: doomed, finalizers: [example.com/mine]}
)");
  must({"run", "-n", "doomed", "pod", "--image=busybox"});
  require_eventually("its Pod runs", [&] { return get("pod -n doomed pod", "{.status.phase}") == "Running"; }, 20s);
  must({"delete", "namespace", "doomed", "--wait=false"});
  require_eventually(
      "it says what remains",
      [&] {
        return get("namespace doomed", "{.status.conditions[?(@.type==\"NamespaceFinalizersRemaining\")].message}") ==
               "Some content in the namespace has finalizers remaining: example.com/mine in 1 resource instances";
      },
      20s);
  BOOST_TEST(get("namespace doomed", "{.status.phase}") == "Terminating");
  BOOST_TEST(get("namespace doomed", "{.status.conditions[?(@.type==\"NamespaceContentRemaining\")].message}") ==
             "Some resources are remaining: configmaps. has 1 resource instances");
  BOOST_TEST(get("pod -n doomed pod", "{.metadata.name}").empty());
  BOOST_TEST(get("configmap -n doomed plain", "{.metadata.name}").empty());
  must({"patch", "configmap", "-n", "doomed", "held", "--type=merge", "-p", R"({"metadata":{"finalizers":null}})"});
  require_eventually("it is gone", [&] { return get("namespace doomed", "{.metadata.name}").empty(); }, 40s);
}

BOOST_FIXTURE_TEST_CASE(owners_go_in_each_of_the_three_ways, Cluster) {
  start_nodes({"n1"});
  for (const char* name : {"back", "fore", "orphan"}) controller(name, 2);
  for (const char* name : {"back", "fore", "orphan"}) {
    require_eventually(name, [&] { return has_replicas(name, 2); }, 20s);
  }
  must({"delete", "rc", "back", "--cascade=background"});
  require_eventually("its Pods follow", [&] { return pods("app=back").empty(); }, 20s);
  must({"delete", "rc", "fore", "--cascade=foreground"});  // waits
  BOOST_TEST(pods("app=fore").empty());
  const auto kept = pods("app=orphan");
  must({"delete", "rc", "orphan", "--cascade=orphan"});
  require_eventually("its Pods are free",
                     [&] { return get("pods -l app=orphan", "{.items[*].metadata.ownerReferences[*].name}").empty(); });
  std::this_thread::sleep_for(1s);
  BOOST_TEST(pods("app=orphan") == kept);

  // An owner that never was, one of another namespace, and one by another uid.
  must({"create", "namespace", "other"});
  apply(R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: far, namespace: other}
)");
  const std::string uid = get("configmap -n other far", "{.metadata.uid}");
  for (const auto& [name, owner] :
       {std::pair<std::string, std::string>{"never", "00000000-0000-4000-8000-000000000000"},
        std::pair<std::string, std::string>{"across", uid}}) {
    apply(fmt::format(R"(
apiVersion: v1
kind: ConfigMap
metadata: {{name: {}, ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: far, uid: {}}}]}}
)",
                      name, owner));
    require_eventually(name, [&] { return get("configmap " + name, "{.metadata.name}").empty(); });
  }
  BOOST_TEST(get("configmap -n other far", "{.metadata.name}") == "far");
}

BOOST_FIXTURE_TEST_CASE(a_silent_node_loses_its_pods_to_others_and_comes_back, Cluster) {
  const pid_t first = start_nodes({"--first", "1", "n1"});
  start_nodes({"--first", "2", "n2"});
  // One that somebody wrote by hand, which nobody has seen alive.
  apply("apiVersion: v1\nkind: Node\nmetadata: {name: paper}\n");
  controller("web", 6);
  require_eventually("all are ready", [&] { return has_replicas("web", 6); }, 20s);
  const auto on = [&](const std::string& node) {
    return words(get("pods --field-selector spec.nodeName=" + node,
                     "{.items[?(@.status.phase==\"Running\")].metadata.name}"))
        .size();
  };
  BOOST_TEST(on("n1") == 3);
  BOOST_TEST(on("paper") == 0);
  const auto cidr = [&](const std::string& node) { return get("node " + node, "{.spec.podCIDR}"); };
  BOOST_TEST((std::set<std::string>{cidr("n1"), cidr("n2"), cidr("paper")}.size()) == 3);
  BOOST_TEST(cidr("n1").starts_with("10.244."));

  ::kill(first, SIGKILL);
  require_eventually("it is Unknown", [&] { return ready("n1") == "Unknown"; }, 15s);
  BOOST_TEST(get("node n1", "{.status.conditions[?(@.type==\"Ready\")].message}") ==
             "Kubelet stopped posting node status.");
  require_eventually("it is tainted", [&] {
    const auto taints = get("node n1", "{.spec.taints[*].key}:{.spec.taints[*].effect}");
    return taints == "node.kubernetes.io/unreachable node.kubernetes.io/unreachable:NoExecute NoSchedule" ||
           taints == "node.kubernetes.io/unreachable node.kubernetes.io/unreachable:NoSchedule NoExecute";
  });
  require_eventually("its Pods are replaced elsewhere", [&] { return on("n2") == 6 && has_replicas("web", 6); }, 30s);
  BOOST_TEST(ready("n2") == "True");
  require_eventually("the paper one is Unknown", [&] { return ready("paper") == "Unknown"; }, 15s);
  BOOST_TEST(get("node paper", "{.status.conditions[?(@.type==\"Ready\")].reason}") == "NodeStatusNeverUpdated");

  start_nodes({"--first", "1", "n1"});
  require_eventually(
      "it is back", [&] { return ready("n1") == "True" && get("node n1", "{.spec.taints}").empty(); }, 15s);
  must({"scale", "rc", "web", "--replicas=12"});
  require_eventually("it gets Pods again", [&] { return has_replicas("web", 12) && on("n1") > 0; }, 20s);

  // A node that is gone takes its Pods' objects with it in the end; its name gets another CIDR or its own.
  must({"cordon", "n1"});
  must({"delete", "node", "paper"});
  require_eventually("paper is gone", [&] { return get("node paper", "{.metadata.name}").empty(); });
}

BOOST_FIXTURE_TEST_CASE(a_node_made_by_hand_gets_pods_once_it_passes_its_health_check_and_while_it_does, Cluster) {
  const auto on = [&](const std::string& node) {
    return words(get("pods -l app=web --field-selector spec.nodeName=" + node,
                     "{.items[?(@.status.phase==\"Running\")].metadata.name}"))
        .size();
  };
  const auto stays_away = [&](const std::string& taint) {
    require_reason("wants-hand",
                   "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) "
                   "had untolerated taint {" +
                       taint +
                       ": }. preemption: 0/2 nodes are available: 2 "
                       "Preemption is not helpful for scheduling.");
    BOOST_TEST(on("hand") == 0);
  };
  start_nodes({"--first", "1", "n1"});
  require_eventually("n1 is ready", [&] { return ready("n1") == "True"; });
  // With all that a node would have to say for itself, but nobody who says it.
  apply(R"(
apiVersion: v1
kind: Node
metadata: {name: hand, labels: {kubernetes.io/hostname: hand, by: hand}}
status:
  capacity: {cpu: "8", memory: 32Gi, pods: "110"}
  allocatable: {cpu: "8", memory: 32Gi, pods: "110"}
)");
  pod("wants-hand", R"("nodeSelector":{"by":"hand"})");
  controller("web", 4);
  stays_away("node.kubernetes.io/not-ready");
  require_eventually("the others do without", [&] { return has_replicas("web", 4); }, 20s);
  require_eventually("nobody has heard of it", [&] { return ready("hand") == "Unknown"; }, 15s);
  BOOST_TEST(get("node hand", "{.status.conditions[?(@.type==\"Ready\")].reason}") == "NodeStatusNeverUpdated");
  stays_away("node.kubernetes.io/unreachable");

  // Somebody answers for it, and says that it is not well.
  pid_t hand = start_nodes({"--first", "2", "--unready", "hand"});
  require_eventually("it says so", [&] { return ready("hand") == "False"; });
  stays_away("node.kubernetes.io/not-ready");
  const auto becomes = [&](const std::vector<std::string>& arguments) {
    ::kill(hand, SIGKILL);
    hand = start_nodes(arguments);
  };
  becomes({"--first", "2", "hand"});
  require_running("wants-hand", "hand");
  must({"scale", "rc", "web", "--replicas=8"});
  require_eventually("it has its part", [&] { return has_replicas("web", 8) && on("hand") > 1; }, 20s);

  // It fails: nobody new, and after the time that is configured its Pods are replaced elsewhere.
  becomes({"--first", "2", "--unready", "hand"});
  require_eventually("it is not well", [&] { return ready("hand") == "False"; });
  require_eventually("its Pods are replaced elsewhere", [&] { return on("n1") == 8 && has_replicas("web", 8); }, 30s);
  require_eventually("the Pod that wanted it is gone with them",
                     [&] { return get("pod wants-hand", "{.metadata.name}").empty(); });
  pod("wants-hand", R"("nodeSelector":{"by":"hand"})");
  stays_away("node.kubernetes.io/not-ready");
  becomes({"--first", "2", "hand"});
  require_running("wants-hand", "hand");
}

BOOST_FIXTURE_TEST_CASE(no_pod_is_lost_when_the_master_was_away, Cluster) {
  start_nodes({"n1", "n2"});
  controller("web", 4);
  require_eventually("all are ready", [&] { return has_replicas("web", 4); }, 20s);
  const auto before = pods("app=web");
  // Away for longer than the grace: no node could be heard.
  kill_master();
  std::this_thread::sleep_for(8s);
  master = start_master();
  std::this_thread::sleep_for(4s);
  BOOST_TEST(ready("n1") == "True");
  BOOST_TEST(pods("app=web") == before);
}

BOOST_FIXTURE_TEST_CASE(a_pod_that_fits_nowhere_says_why_and_goes_as_soon_as_it_can, Cluster) {
  apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: big}
spec:
  nodeSelector: {disk: fast}
  containers: [{name: main, image: busybox, resources: {requests: {cpu: "3"}}}]
)");
  require_eventually("no nodes", [&] { return scheduled_message("big") == "no nodes available to schedule pods"; });
  start_nodes({"--first", "1", "--cpu", "2", "n1"});
  start_nodes({"--first", "2", "--cpu", "4", "n2"});
  require_eventually(
      "neither has the label",
      [&] {
        return scheduled_message("big") ==
               "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes "
               "are "
               "available: 2 Preemption is not helpful for scheduling.";
      },
      15s);
  must({"taint", "node", "n2", "key=value:NoSchedule"});
  must({"label", "node", "n1", "n2", "disk=fast"});
  require_eventually("one is too small, one is tainted", [&] {
    return scheduled_message("big") ==
           "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {key: value}. preemption: 0/2 "
           "nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for "
           "scheduling.";
  });
  BOOST_TEST(get("pod big", "{.status.conditions[?(@.type==\"PodScheduled\")].reason}") == "Unschedulable");
  require_eventually("an Event says so", [&] {
    return must({"get", "events", "--field-selector", "involvedObject.name=big"}).find("FailedScheduling") !=
           std::string::npos;
  });
  must({"taint", "node", "n2", "key-"});
  require_eventually("it runs", [&] { return get("pod big", "{.status.phase}") == "Running"; });
  BOOST_TEST(get("pod big", "{.spec.nodeName}") == "n2");
  BOOST_TEST(must({"describe", "pod", "big"}).find("Successfully assigned default/big to n2") != std::string::npos);

  // Named by hand, and one of another scheduler's: neither is touched.
  apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: placed}
spec: {nodeName: n1, containers: [{name: main, image: busybox, resources: {requests: {cpu: "100"}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: others}
spec: {schedulerName: mine, containers: [{name: main, image: busybox}]}
)");
  require_eventually("placed runs", [&] { return get("pod placed", "{.status.phase}") == "Running"; });
  BOOST_TEST(get("pod others", "{.spec.nodeName}").empty());
  BOOST_TEST(get("pod others", "{.status.conditions}").empty());
}

BOOST_FIXTURE_TEST_CASE(each_reason_is_told_in_kubernetes_words_and_ends_with_its_cause, Cluster) {
  start_nodes({"--first", "1", "--cpu", "2", "--pods", "10", "n1"});
  require_eventually("n1 is ready", [&] { return ready("n1") == "True"; });
  pod("first", "", R"("resources":{"requests":{"cpu":"1"}},"ports":[{"containerPort":80,"hostPort":8080}])");
  require_running("first", "n1");

  // What the Pod that is there stands in the way of.
  const std::string no_company =
      R"("affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"first"}}}]}})";
  pod("processor", "", R"("resources":{"requests":{"cpu":"1500m"}})");
  pod("port", "", R"("ports":[{"containerPort":80,"hostPort":8080}])");
  pod("other-protocol", "", R"("ports":[{"containerPort":80,"hostPort":8080,"protocol":"UDP"}])");
  pod("loner", no_company);
  require_reason("processor", crowded("Insufficient cpu"));
  require_reason("port", crowded("node(s) didn't have free ports for the requested pod ports"));
  require_reason("loner", crowded("node(s) didn't match pod anti-affinity rules"));
  require_running("other-protocol", "n1");
  must({"delete", "pod", "first"});
  for (const char* name : {"processor", "port", "loner"}) require_running(name, "n1");
  pod("first", "");
  require_reason("first", crowded("node(s) didn't satisfy existing pods anti-affinity rules"));
  must({"delete", "pod", "loner"});
  require_running("first", "n1");

  // What the node lacks.
  pod("device", "", R"("resources":{"requests":{"example.com/gpu":"1"},"limits":{"example.com/gpu":"1"}})");
  pod("memory", "", R"("resources":{"requests":{"memory":"65Gi"}})");
  pod("label",
      R"("affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"In","values":["fast"]}]}]}}})");
  pod("zone",
      R"("topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"zone"}}}])");
  require_reason("device", crowded("Insufficient example.com/gpu"));
  require_reason("memory", crowded("Insufficient memory"));
  require_reason("label", hopeless("node(s) didn't match Pod's node affinity/selector"));
  require_reason("zone", hopeless("node(s) didn't match pod topology spread constraints (missing required label)"));
  must({"label", "node", "n1", "disk=fast", "zone=a"});
  for (const char* name : {"label", "zone"}) require_running(name, "n1");
  must({"patch", "node", "n1", "--type=merge", "-p", R"({"metadata":{"labels":{"size":"small"}}})"});
  BOOST_TEST(scheduled_message("device") == crowded("Insufficient example.com/gpu"));
  must({"delete", "pod", "device", "memory", "processor", "port", "first", "zone", "other-protocol"});

  // Whose company a Pod wants.
  pod("follower",
      R"("affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"leader"}}}]}})");
  require_reason("follower", hopeless("node(s) didn't match pod affinity rules"));
  pod("leader", "");
  require_running("leader", "n1");
  require_running("follower", "n1");

  // Nodes that are closed, to some or to all.
  must({"cordon", "n1"});
  pod("any", "");
  require_reason("any", hopeless("node(s) were unschedulable"));
  must({"taint", "node", "n1", "colour=red:NoSchedule"});
  must({"uncordon", "n1"});
  require_reason("any", hopeless("node(s) had untolerated taint {colour: red}"));
  pod("wrong", R"("tolerations":[{"key":"colour","operator":"Equal","value":"blue","effect":"NoSchedule"}])");
  require_reason("wrong", hopeless("node(s) had untolerated taint {colour: red}"));
  pod("right", R"("tolerations":[{"key":"colour","operator":"Equal","value":"red","effect":"NoSchedule"}])");
  pod("every", R"("tolerations":[{"operator":"Exists"}])");
  for (const char* name : {"right", "every"}) require_running(name, "n1");
  must({"taint", "node", "n1", "colour-"});
  for (const char* name : {"any", "wrong"}) require_running(name, "n1");

  // NoExecute sends away who is there: at once, after a while, or never.
  pod("brief", R"("tolerations":[{"key":"out","operator":"Exists","effect":"NoExecute","tolerationSeconds":3}])");
  require_running("brief", "n1");
  const auto began = std::chrono::steady_clock::now();
  must({"taint", "node", "n1", "out=now:NoExecute"});
  require_eventually("who tolerates nothing is gone", [&] { return get("pods any", "{.metadata.name}").empty(); });
  require_eventually("who tolerates it for a while is gone",
                     [&] { return get("pods brief", "{.metadata.name}").empty(); });
  BOOST_TEST((std::chrono::steady_clock::now() - began >= 2s));  // taints have times of whole seconds
  BOOST_TEST(get("pod every", "{.status.phase}") == "Running");
  must({"taint", "node", "n1", "out-"});

  // A node has room for so many, whatever they ask for.
  must({"delete", "pods", "--all"});
  for (int i = 0; i < 10; ++i) pod(fmt::format("one-of-ten-{}", i), "");
  for (int i = 0; i < 10; ++i) require_running(fmt::format("one-of-ten-{}", i), "n1");
  pod("eleventh", "");
  pod("large", "", R"("resources":{"requests":{"cpu":"3"}})");
  require_reason("eleventh", crowded("Too many pods"));
  require_reason("large",
                 "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
  must({"delete", "pod", "one-of-ten-3"});
  require_running("eleventh", "n1");
  start_nodes({"--first", "2", "--cpu", "4", "n2"});
  require_running("large", "n2");
}

BOOST_FIXTURE_TEST_CASE(replicas_are_spread_over_the_nodes_and_the_zones, Cluster) {
  start_nodes({"n1", "n2", "n3"});
  for (const char* node : {"n1", "n2", "n3"}) {
    require_eventually(node, [&] { return ready(node) == "True"; });
  }
  must({"label", "node", "n1", "n2", "zone=a"});
  must({"label", "node", "n3", "zone=b"});
  controller("web", 9);
  require_eventually("nine are ready", [&] { return has_replicas("web", 9); }, 20s);
  const auto counts = [&](const std::string& app) {
    std::map<std::string, int> result;
    for (const auto& node : words(get("pods -l app=" + app, "{.items[*].spec.nodeName}"))) ++result[node];
    return result;
  };
  auto web = counts("web");
  BOOST_TEST(web["n1"] == 3);
  BOOST_TEST(web["n2"] == 3);
  BOOST_TEST(web["n3"] == 3);
  apply(R"(
apiVersion: v1
kind: ReplicationController
metadata: {name: even}
spec:
  replicas: 6
  selector: {app: even}
  template:
    metadata: {labels: {app: even}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: even}}}
      containers: [{name: main, image: busybox}]
)");
  require_eventually("six are ready", [&] { return has_replicas("even", 6); }, 20s);
  auto even = counts("even");
  BOOST_TEST(even["n3"] == 3);
  BOOST_TEST(even["n1"] + even["n2"] == 3);
}

BOOST_FIXTURE_TEST_CASE(a_drain_evicts_and_what_was_evicted_is_replaced_elsewhere, Cluster) {
  start_nodes({"n1", "n2"});
  controller("web", 6);
  require_eventually("six are ready", [&] { return has_replicas("web", 6); }, 20s);
  const auto on = [&](const std::string& node) {
    return words(get("pods -l app=web --field-selector spec.nodeName=" + node, "{.items[*].metadata.name}")).size();
  };
  BOOST_TEST(on("n1") == 3);
  const std::string said = must({"drain", "n1", "--timeout=30s"});
  BOOST_TEST(said.find("evicting pod default/web-") != std::string::npos);
  BOOST_TEST(on("n1") == 0);
  require_eventually("all are on the other", [&] { return has_replicas("web", 6) && on("n2") == 6; }, 20s);
  const auto log = host::read_file(master_log(), 64U << 20);
  BOOST_REQUIRE(log);
  size_t evictions = 0;
  for (size_t at = 0; (at = log->find("verb=create resource=pods/eviction ", at)) != std::string::npos; ++at) {
    ++evictions;
  }
  BOOST_TEST(evictions == 3);
  must({"uncordon", "n1"});
  must({"scale", "rc", "web", "--replicas=8"});
  require_eventually("it gets Pods again", [&] { return on("n1") == 2; });
}

BOOST_FIXTURE_TEST_CASE(every_node_has_networks_that_no_other_has, SmallCidr) {
  std::vector<std::string> names;
  for (int i = 0; i < 10; ++i) names.push_back(fmt::format("n{}", i));
  start_nodes(names);
  const auto cidrs = [&](const std::string& node) { return get("node " + node, "{.spec.podCIDRs}"); };
  const auto given = [&] {
    std::map<std::string, std::string> result;
    for (const std::string& name : names) {
      if (std::string its = cidrs(name); !its.empty()) result[name] = its;
    }
    return result;
  };
  require_eventually("eight have theirs", [&] { return given().size() == 8; });
  const auto before = given();
  std::set<std::string> v4, v6, wanted4, wanted6;
  for (int i = 0; i < 8; ++i) wanted4.insert(fmt::format("10.244.{}.0/24", i));
  for (int i = 0; i < 8; ++i) wanted6.insert(i == 0 ? "fd00:244::/64" : fmt::format("fd00:244:0:{}::/64", i));
  for (const auto& [name, its] : before) {
    v4.insert(get("node " + name, "{.spec.podCIDRs[0]}"));
    v6.insert(get("node " + name, "{.spec.podCIDRs[1]}"));
    BOOST_TEST(get("node " + name, "{.spec.podCIDR}") == get("node " + name, "{.spec.podCIDRs[0]}"));
  }
  BOOST_TEST((v4 == wanted4));
  BOOST_TEST((v6 == wanted6));
  require_eventually("who got none says so", [&] {
    return must({"get", "events", "-A", "--field-selector", "reason=CIDRNotAvailable"}).find("CIDRNotAvailable") !=
           std::string::npos;
  });
  // What a node has stays its own over a restart of the master; what one leaves, another gets.
  kill_master();
  master = start_master();
  const std::string leaver = before.begin()->first, left = before.begin()->second;
  std::string heir;
  // Its agent would make the Node anew: only who speaks of it no more is gone.
  must({"delete", "node", leaver});
  require_eventually("another has what it had", [&] {
    for (const auto& [name, its] : given()) {
      if (its == left) heir = name;
    }
    return !heir.empty();
  });
  BOOST_TEST(!before.contains(heir));
  const auto after = given();
  BOOST_TEST(after.size() == 8);
  for (const auto& [name, its] : before) {
    if (name != leaver) BOOST_TEST(after.at(name) == its);
  }
}

BOOST_FIXTURE_TEST_CASE(events_end_after_their_time, BriefEvents) {
  pod("waits", "");
  const auto event = [&] {
    return get("events --field-selector involvedObject.name=waits,reason=FailedScheduling", "{.items[*].message}");
  };
  require_eventually("an Event says why", [&] { return event() == "no nodes available to schedule pods"; });
  // Events of one minute share an etcd lease.
  require_eventually("it is gone", [&] { return event().empty(); }, 80s);
  BOOST_TEST(get("pod waits", "{.metadata.name}") == "waits");
}

BOOST_FIXTURE_TEST_CASE(scheduler_and_controllers_run_alone_beside_an_api_server, OnlyApiServer) {
  start_nodes({"n1"});
  require_eventually("n1 is there", [&] { return get("node n1", "{.metadata.name}") == "n1"; });
  controller("web", 3);
  std::this_thread::sleep_for(1s);
  BOOST_TEST(pods("app=web").empty());
  BOOST_TEST(get("node n1", "{.spec.podCIDR}").empty());
  start_component("controllers", "c1");
  require_eventually("there are Pods", [&] { return pods("app=web").size() == 3; }, 20s);
  require_eventually("the node has its CIDR", [&] { return get("node n1", "{.spec.podCIDR}") == "10.244.0.0/24"; });
  require_eventually("the node's taint is taken", [&] { return get("node n1", "{.spec.taints}").empty(); });
  BOOST_TEST(get("pods", "{.items[*].spec.nodeName}").empty());
  BOOST_TEST(get("pods", "{.items[*].status.conditions}").empty());

  const auto holder = [&] { return get("lease -n kube-system kube-scheduler", "{.spec.holderIdentity}"); };
  const pid_t s1 = start_component("scheduler", "s1");
  require_eventually("they run", [&] { return has_replicas("web", 3); }, 20s);
  const std::string first = holder();
  start_component("scheduler", "s2");
  std::this_thread::sleep_for(3s);
  BOOST_TEST(holder() == first);
  // Of two schedulers one acts, and after its death the other.
  ::kill(s1, SIGKILL);
  must({"scale", "rc", "web", "--replicas=5"});
  require_eventually("the other acts", [&] { return has_replicas("web", 5); }, 40s);
  BOOST_TEST(holder() != first);
  // Neither was refused anything.
  for (const char* log : {"c1.log", "s1.log", "s2.log"}) {
    const auto text = host::read_file(directory() / log, 64U << 20);
    BOOST_REQUIRE(text);
    BOOST_TEST(text->find("forbidden") == std::string::npos, log << ": " << *text);
  }
}

BOOST_FIXTURE_TEST_CASE(a_thousand_pods_find_their_nodes, Cluster) {
  // Asked for numbers: to list a thousand Pods again and again would be most of what the master does.
  const auto metric = [&](const std::string& series) {
    const std::string metrics = raw("/metrics");
    const size_t at = metrics.find(series + " ");
    return at == std::string::npos ? 0.0 : std::strtod(metrics.c_str() + at + series.size(), nullptr);
  };
  const auto scheduled = [&] { return metric("scheduler_schedule_attempts_total{result=\"scheduled\"}"); };
  controller("many", 1000);
  require_eventually(
      "a thousand wait", [&] { return metric("scheduler_schedule_attempts_total{result=\"unschedulable\"}") >= 1000; },
      60s);
  require_eventually(
      "each says so",
      [&] {
        std::this_thread::sleep_for(1s);
        const auto said = get("pods", "{.items[*].status.conditions[0].message}");
        size_t count = 0;
        for (size_t at = 0; (at = said.find("no nodes available", at)) != std::string::npos; ++at) ++count;
        return count == 1000;
      },
      60s);
  std::vector<std::string> arguments = {"--quiet-pods", "--cpu", "1000"};
  for (int i = 0; i < 10; ++i) arguments.push_back(fmt::format("n{}", i));
  start_nodes(arguments);
  std::optional<std::chrono::steady_clock::time_point> began;
  require_eventually(
      "all are bound",
      [&] {
        const double count = scheduled();
        if (count > 0 && !began) began = std::chrono::steady_clock::now();
        return count == 1000;
      },
      60s);
  const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - *began).count();
  BOOST_TEST_MESSAGE(fmt::format("1000 Pods that waited were bound within {:.2f} s of the first that was seen", took));
  std::map<std::string, int> counts;
  for (const std::string& node : words(get("pods", "{.items[*].spec.nodeName}"))) ++counts[node];
  for (const auto& [node, count] : counts) BOOST_TEST(count > 50, node << " has " << count);
  BOOST_TEST(get("rc many", "{.status.replicas}") == "1000");
}

BOOST_FIXTURE_TEST_CASE(of_several_managers_one_acts_and_when_it_is_killed_nothing_is_made_twice, Apart) {
  const auto holder = [&] { return get("lease -n kube-system kube-controller-manager", "{.spec.holderIdentity}"); };
  const pid_t c1 = start_component("controllers", "c1");
  require_eventually("the first leads", [&] { return !holder().empty(); }, 20s);
  const std::string first = holder();
  const pid_t c2 = start_component("controllers", "c2");
  // Every Pod that ever appears is written down.
  background(
      {"kubectl", "--kubeconfig", kubeconfig().string(), "get", "pods", "-w", "--output-watch-events", "--no-headers"},
      directory() / "watch.log");
  std::this_thread::sleep_for(3s);
  BOOST_TEST(holder() == first);
  controller("web", 600);
  require_eventually("it is in the midst of its work", [&] { return pods("app=web").size() > 1; });
  ::kill(c1, SIGKILL);
  require_eventually("the other leads", [&] { return !holder().empty() && holder() != first; }, 40s);
  BOOST_TEST(get("lease -n kube-system kube-controller-manager", "{.spec.leaseTransitions}") == "1");
  require_eventually("all are there", [&] { return get("rc web", "{.status.replicas}") == "600"; }, 30s);
  std::this_thread::sleep_for(2s);
  BOOST_TEST(pods("app=web").size() == 600);
  const std::string added = shell("grep -c '^ADDED  *web-' " + (directory() / "watch.log").string()).out;
  BOOST_TEST(added == "600\n");

  // One that ends in good order is followed at once.
  const pid_t c3 = start_component("controllers", "c3");
  std::this_thread::sleep_for(1s);
  const std::string second = holder();
  ::kill(c2, SIGTERM);
  require_eventually("the third leads", [&] { return !holder().empty() && holder() != second; }, 8s);
  must({"scale", "rc", "web", "--replicas=10"});
  require_eventually("it acts", [&] { return pods("app=web").size() == 10; }, 20s);
  BOOST_TEST(c3 > 0);
}
