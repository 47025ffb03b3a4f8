// Hooks, probes, sidecars, deadlines, drain, admission.
#include <boost/test/unit_test.hpp>

#include "test/unit/agent/pods/node.h"

BOOST_AUTO_TEST_SUITE(lifecycle)

using namespace keelson;
using namespace keelson::pods;
using namespace keelson::pods::test;
using std::chrono::seconds;
using Calls = std::vector<std::string>;

namespace {

api::Probe exec_probe(int period, int threshold) {
  api::Probe probe;
  probe.handler.exec.emplace();
  probe.period_seconds = period;
  probe.failure_threshold = threshold;
  return probe;
}

api::Box<api::Lifecycle> pre_stop_exec() {
  api::Lifecycle lifecycle;
  lifecycle.pre_stop.emplace().exec.emplace();
  return lifecycle;
}

}  // namespace

BOOST_AUTO_TEST_CASE(readiness_gates_the_ready_condition_and_liveness_restarts) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.containers[0].readiness_probe = exec_probe(5, 2);
  node.checks->results["main"] = {false, "not yet"};
  node.want({pod});
  BOOST_TEST(node.status("web").phase == "Running");
  BOOST_TEST(node.condition("web", "Ready") == "False");
  node.checks->results["main"] = {true, ""};
  node.advance(seconds(5));
  BOOST_TEST(node.condition("web", "Ready") == "True");
  node.checks->results["main"] = {false, "broken"};
  node.advance(seconds(5));
  BOOST_TEST(node.condition("web", "Ready") == "True");  // one failure of two
  node.advance(seconds(5));
  BOOST_TEST(node.condition("web", "Ready") == "False");
  BOOST_TEST(node.runtime->those("signal ").empty());
}

BOOST_AUTO_TEST_CASE(a_failed_liveness_probe_restarts_the_container_and_only_that) {
  Node node;
  auto pod = make_pod("web", {make_container("main"), make_container("other")});
  pod.spec.containers[0].liveness_probe = exec_probe(10, 3);
  pod.spec.restart_policy = "OnFailure";
  node.want({pod});
  node.checks->results["main"] = {false, "dead"};
  node.advance(seconds(29));
  BOOST_TEST(node.runtime->those("signal ").empty());
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->those("signal ") == Calls({"signal main 15"}), boost::test_tools::per_element());
  BOOST_TEST(node.runtime->count("start main/1") == 1U);
  BOOST_TEST(node.runtime->count("start other/1") == 0U);
}

BOOST_AUTO_TEST_CASE(a_startup_probe_holds_the_others_back) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.containers[0].startup_probe = exec_probe(1, 30);
  pod.spec.containers[0].liveness_probe = exec_probe(1, 1);
  pod.spec.containers[0].readiness_probe = exec_probe(100, 1);
  node.checks->results["main"] = {false, "starting"};
  node.want({pod});
  node.advance(seconds(10));
  BOOST_TEST(node.runtime->those("signal ").empty());
  BOOST_TEST(node.container("web").started.value_or(true) == false);
  node.checks->results["main"] = {true, ""};
  node.advance(seconds(1));
  BOOST_TEST(node.container("web").started.value_or(false) == true);
  BOOST_TEST(node.condition("web", "Ready") == "True");
}

BOOST_AUTO_TEST_CASE(a_pre_stop_hook_runs_before_sigterm_and_within_the_grace_period) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.containers[0].lifecycle = pre_stop_exec();
  pod.spec.termination_grace_period_seconds = 5;
  node.checks->held.insert("main");  // the hook hangs
  node.want({pod});
  node.runtime->stubborn.insert("main");
  node.want({});
  BOOST_TEST(node.checks->asked == Calls({"main"}), boost::test_tools::per_element());
  node.advance(seconds(4));
  BOOST_TEST(node.runtime->those("signal ").empty());
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->those("signal ") == Calls({"signal main 15"}), boost::test_tools::per_element());
  node.advance(seconds(2));  // Kubernetes' minimum after a hook
  BOOST_TEST(node.runtime->count("signal main 9") == 1U);
  BOOST_TEST(node.pods->list().empty());
}

BOOST_AUTO_TEST_CASE(a_failed_post_start_hook_kills_the_container) {
  Node node;
  auto pod = make_pod("web", {make_container("main"), make_container("second")});
  pod.spec.containers[0].lifecycle.emplace().post_start.emplace().exec.emplace();
  node.checks->held.insert("main");
  node.want({pod});
  BOOST_TEST(node.runtime->count("start second/0") == 0U);  // those behind it wait
  BOOST_TEST(node.container("web").state.waiting->reason == "ContainerCreating");
  node.want({});
  Node failing;
  failing.checks->results["main"] = {false, "no"};
  failing.want({pod});
  BOOST_TEST(failing.runtime->count("start main/1") == 1U);  // restarted once at once, then it backs off
  BOOST_TEST(failing.runtime->count("signal main 15") == 2U);
  BOOST_TEST(failing.container("web").state.waiting->reason == "CrashLoopBackOff");
  BOOST_TEST(failing.runtime->count("start second/0") == 1U);
}

BOOST_AUTO_TEST_CASE(sidecars_start_in_order_before_and_end_in_reverse_after_the_others) {
  Node node;
  auto first = make_container("first"), second = make_container("second");
  first.restart_policy = second.restart_policy = "Always";
  first.startup_probe = exec_probe(1, 100);
  node.checks->results["first"] = {false, "starting"};
  node.want({make_pod("web", {make_container("main")}, {first, second})});
  BOOST_TEST(node.runtime->those("start ") == Calls({"start first/0"}), boost::test_tools::per_element());
  node.checks->results["first"] = {true, ""};
  node.advance(seconds(1));
  BOOST_TEST(node.runtime->those("start ") == Calls({"start first/0", "start second/0", "start main/0"}),
             boost::test_tools::per_element());
  node.runtime->calls.clear();
  node.want({});
  BOOST_TEST(node.runtime->those("signal ") == Calls({"signal main 15", "signal second 15", "signal first 15"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_pod_is_done_when_its_containers_are_though_a_sidecar_runs) {
  Node node;
  auto sidecar = make_container("side");
  sidecar.restart_policy = "Always";
  auto pod = make_pod("job", {make_container("main")}, {sidecar});
  pod.spec.restart_policy = "Never";
  node.want({pod});
  node.exit("job", "main", 0);
  BOOST_TEST(node.runtime->count("signal side 15") == 1U);
  BOOST_TEST(node.status("job").phase == "Succeeded");
}

BOOST_AUTO_TEST_CASE(a_failed_init_container_is_retried_or_fails_the_pod) {
  Node node;
  auto retried = make_pod("retried", {make_container("main")}, {make_container("init")});
  auto failed = make_pod("failed", {make_container("main")}, {make_container("init")});
  failed.spec.restart_policy = "Never";
  node.want({retried, failed});
  node.exit("retried", "init", 1);
  node.exit("failed", "init", 1);
  BOOST_TEST(node.runtime->count("start init/1") == 1U);
  BOOST_TEST(node.status("retried").phase == "Pending");
  BOOST_TEST(node.status("failed").phase == "Failed");
  BOOST_TEST(node.runtime->those("start main").empty());
}

BOOST_AUTO_TEST_CASE(the_active_deadline_fails_the_pod) {
  Node node;
  auto pod = make_pod("job", {make_container("main")});
  pod.spec.active_deadline_seconds = 60;
  node.want({pod});
  node.advance(seconds(59));
  BOOST_TEST(node.status("job").phase == "Running");
  node.advance(seconds(1));
  BOOST_TEST(node.status("job").phase == "Failed");
  BOOST_TEST(node.status("job").reason == "DeadlineExceeded");
  BOOST_TEST(node.runtime->count("remove job") == 1U);
}

BOOST_AUTO_TEST_CASE(two_pods_cannot_have_one_host_port_and_the_second_gets_it_when_it_is_free) {
  Node node;
  auto first = make_pod("first", {make_container("main")}), second = make_pod("second", {make_container("main")});
  for (auto* pod : {&first, &second}) {
    api::ContainerPort port;
    port.container_port = 80;
    port.host_port = 8080;
    port.protocol = "TCP";
    pod->spec.containers[0].ports = {port};
  }
  node.want({first, second});
  BOOST_TEST(node.status("second").phase == "Failed");
  BOOST_TEST(node.status("second").reason == "NodePorts");
  BOOST_TEST(node.status("second").message ==
             "Pod was rejected: Predicate NodePorts failed: host port 8080/TCP is used by pod default/first");
  node.want({second});
  BOOST_TEST(node.status("second").phase == "Running");
}

BOOST_AUTO_TEST_CASE(a_node_that_is_full_refuses) {
  Node node([](Settings& settings) { settings.node.memory_bytes = 1 << 30; });
  auto big = [](const std::string& name) {
    auto pod = make_pod(name, {make_container("main")});
    pod.spec.containers[0].resources.requests["memory"] = {"600Mi"};
    return pod;
  };
  node.want({big("a"), big("b")});
  BOOST_TEST(node.status("a").phase == "Running");
  BOOST_TEST(node.status("b").reason == "OutOfmemory");
}

BOOST_AUTO_TEST_CASE(drain_stops_every_pod_and_calls_back_when_all_are_gone) {
  Node node;
  node.want({make_pod("a", {make_container("main")}), make_pod("b", {make_container("slow")})});
  node.runtime->stubborn.insert("slow");
  bool drained = false;
  node.pods->stop_all([&] { drained = true; });
  node.advance(seconds(29));
  BOOST_TEST(!drained);
  node.advance(seconds(1));
  BOOST_TEST(drained);
  node.apply();
  BOOST_TEST(node.pods->list().empty());
}

BOOST_AUTO_TEST_CASE(a_missing_config_map_is_named_and_its_arrival_starts_the_container) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  api::EnvVar variable;
  variable.name = "COLOR";
  variable.value_from.emplace().config_map_key_ref.emplace().ref.name = "colors";
  variable.value_from->config_map_key_ref->key = "main";
  pod.spec.containers[0].env = {variable};
  node.want({pod});
  BOOST_TEST(node.container("web").state.waiting->reason == "CreateContainerConfigError");
  BOOST_TEST(node.container("web").state.waiting->message == "configmap \"colors\" not found");
  BOOST_TEST(node.container("web").restart_count == 0);
  api::ConfigMap map;
  map.metadata.namespace_ = "default";
  map.metadata.name = "colors";
  map.data["main"] = "red";
  node.desired.config_maps = {{.object = map, .origin = {}}};
  node.apply();
  BOOST_TEST(node.status("web").phase == "Running");
  const auto& environment = node.runtime->specs["main"].environment;
  BOOST_TEST((std::ranges::find(environment, "COLOR=red") != environment.end()));
}

BOOST_AUTO_TEST_CASE(a_config_map_volume_follows_the_object_without_a_restart) {
  Node node;
  auto pod = make_pod("web", {make_container("main")});
  api::Volume volume;
  volume.name = "config";
  volume.source.config_map.emplace().ref.name = "settings";
  pod.spec.volumes = {volume};
  api::VolumeMount mount;
  mount.name = "config";
  mount.mount_path = "/config";
  pod.spec.containers[0].volume_mounts = {mount};
  node.want({pod});
  BOOST_TEST(node.container("web").state.waiting->message ==
             "MountVolume.SetUp failed for volume \"config\" : configmap \"settings\" not found");
  BOOST_TEST(node.runtime->calls.empty());  // no sandbox for a pod that cannot be
  api::ConfigMap map;
  map.metadata.namespace_ = "default";
  map.metadata.name = "settings";
  map.data["color"] = "red";
  node.desired.config_maps = {{.object = map, .origin = {}}};
  node.apply();
  BOOST_TEST(node.status("web").phase == "Running");
  auto file = node.directory / "root/pods/uid-web/volumes/config-map/config/color";
  BOOST_TEST(host::read_file(file).value() == "red");
  node.desired.config_maps[0].object.data["color"] = "green";
  node.apply();
  BOOST_TEST(host::read_file(file).value() == "green");
  BOOST_TEST(node.runtime->those("start ").size() == 1U);
  node.want({});
  BOOST_TEST(!std::filesystem::exists(node.directory / "root/pods/uid-web"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_executed_is_a_start_error_with_the_runtimes_words) {
  Node node;
  node.runtime->start_errors["main"] = "execve /bin/app: No such file or directory";
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.restart_policy = "Never";
  node.want({pod});
  BOOST_TEST(node.status("web").phase == "Failed");
  BOOST_TEST(node.container("web").state.terminated->reason == "StartError");
  BOOST_TEST(node.container("web").state.terminated->exit_code == 128);
  BOOST_TEST(node.container("web").state.terminated->message == "execve /bin/app: No such file or directory");
}

BOOST_AUTO_TEST_CASE(exec_and_logs_find_the_current_attempt) {
  Node node;
  node.want({make_pod("web", {make_container("main")})});
  node.exit("web", "main", 1);
  BOOST_TEST(node.pods->running_container("default", "web", "").value().attempt == 1U);
  auto log = node.pods->log_path("default", "web", "main", false).value();
  BOOST_TEST(log == (node.directory / "root/logs/default_web_uid-web/main/1.log").string());
  BOOST_TEST(node.pods->log_path("default", "web", "main", true).value().ends_with("/main/0.log"));
  BOOST_TEST(node.pods->running_container("default", "web", "nobody").error().message ==
             "container nobody is not valid for pod web");
}

BOOST_AUTO_TEST_SUITE_END()
