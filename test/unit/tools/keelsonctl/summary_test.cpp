#include "tools/keelsonctl/summary.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(summary_tests)

using namespace keelson;
using keelson::ctl::summarize;

namespace {

constexpr int64_t kNow = 1'000'000;

api::Pod pod(size_t containers, size_t init_containers = 0) {
  api::Pod made;
  made.metadata.name = "web";
  made.metadata.namespace_ = "default";
  made.metadata.creation_timestamp = api::Time{kNow - 300};
  made.status.phase = "Pending";
  for (size_t i = 0; i < containers; ++i) {
    made.spec.containers.emplace_back().name = "c" + std::to_string(i);
    made.status.container_statuses.emplace_back().name = "c" + std::to_string(i);
  }
  for (size_t i = 0; i < init_containers; ++i) {
    made.spec.init_containers.emplace_back().name = "i" + std::to_string(i);
    made.status.init_container_statuses.emplace_back().name = "i" + std::to_string(i);
  }
  return made;
}

void run(api::ContainerStatus& status, bool ready = true) {
  status.state = {};
  status.state.running.emplace();
  status.ready = ready;
  status.started = true;
}
void wait(api::ContainerStatus& status, const std::string& reason) {
  status.state = {};
  status.state.waiting.emplace().reason = reason;
}
void end(api::ContainerState& state, int code, const std::string& reason = "", int64_t at = 0) {
  state = {};
  auto& terminated = state.terminated.emplace();
  terminated.exit_code = code;
  terminated.reason = reason;
  if (at != 0) terminated.finished_at = api::Time{at};
}
void set_condition(api::Pod& made, const std::string& type) {
  made.status.conditions.push_back({.type = type, .status = "True"});
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_running_pod) {
  auto made = pod(2);
  made.status.phase = "Running";
  run(made.status.container_statuses[0]);
  run(made.status.container_statuses[1], false);
  const auto summary = summarize(made, kNow);
  BOOST_TEST(summary.ready == "1/2");
  BOOST_TEST(summary.status == "Running");
  BOOST_TEST(summary.restarts == "0");
  BOOST_TEST(summary.age == "5m");
}

BOOST_AUTO_TEST_CASE(waiting_reasons_are_the_status) {
  for (const char* reason : {"ContainerCreating", "ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"}) {
    auto made = pod(1);
    wait(made.status.container_statuses[0], reason);
    BOOST_TEST(summarize(made, kNow).status == reason);
  }
}

BOOST_AUTO_TEST_CASE(restarts_tell_when_the_last_one_was) {
  auto made = pod(1);
  auto& status = made.status.container_statuses[0];
  wait(status, "CrashLoopBackOff");
  status.restart_count = 3;
  end(status.last_state, 1, "Error", kNow - 10);
  BOOST_TEST(summarize(made, kNow).restarts == "3 (10s ago)");
}

BOOST_AUTO_TEST_CASE(ends_are_told_by_reason_code_or_signal) {
  auto made = pod(1);
  auto& state = made.status.container_statuses[0].state;
  end(state, 0, "Completed");
  BOOST_TEST(summarize(made, kNow).status == "Completed");
  end(state, 1, "OOMKilled");
  BOOST_TEST(summarize(made, kNow).status == "OOMKilled");
  end(state, 3);
  BOOST_TEST(summarize(made, kNow).status == "ExitCode:3");
  state.terminated->signal = 9;
  BOOST_TEST(summarize(made, kNow).status == "Signal:9");
}

BOOST_AUTO_TEST_CASE(a_completed_container_beside_a_running_one_does_not_end_the_pod) {
  auto made = pod(2);
  end(made.status.container_statuses[0].state, 0, "Completed");
  run(made.status.container_statuses[1]);
  BOOST_TEST(summarize(made, kNow).status == "NotReady");
  set_condition(made, "Ready");
  BOOST_TEST(summarize(made, kNow).status == "Running");
}

BOOST_AUTO_TEST_CASE(init_containers_are_counted_until_the_last_has_ended) {
  auto made = pod(1, 2);
  wait(made.status.container_statuses[0], "PodInitializing");
  wait(made.status.init_container_statuses[0], "PodInitializing");
  BOOST_TEST(summarize(made, kNow).status == "Init:0/2");
  end(made.status.init_container_statuses[0].state, 0, "Completed");
  run(made.status.init_container_statuses[1]);
  BOOST_TEST(summarize(made, kNow).status == "Init:1/2");
  end(made.status.init_container_statuses[1].state, 1, "Error");
  BOOST_TEST(summarize(made, kNow).status == "Init:Error");
  end(made.status.init_container_statuses[1].state, 2);
  BOOST_TEST(summarize(made, kNow).status == "Init:ExitCode:2");
  wait(made.status.init_container_statuses[1], "CrashLoopBackOff");
  BOOST_TEST(summarize(made, kNow).status == "Init:CrashLoopBackOff");
  end(made.status.init_container_statuses[1].state, 0, "Completed");
  BOOST_TEST(summarize(made, kNow).status == "PodInitializing");
}

BOOST_AUTO_TEST_CASE(a_sidecar_counts_among_the_containers) {
  auto made = pod(1, 1);
  made.spec.init_containers[0].restart_policy = "Always";
  made.status.phase = "Running";
  run(made.status.init_container_statuses[0]);
  run(made.status.container_statuses[0]);
  made.status.init_container_statuses[0].restart_count = 2;
  const auto summary = summarize(made, kNow);
  BOOST_TEST(summary.ready == "2/2");
  BOOST_TEST(summary.status == "Running");
  BOOST_TEST(summary.restarts == "2");
}

BOOST_AUTO_TEST_CASE(a_pod_being_removed_is_terminating_unless_it_has_ended) {
  auto made = pod(1);
  made.status.phase = "Running";
  run(made.status.container_statuses[0]);
  made.metadata.deletion_timestamp = api::Time{kNow};
  BOOST_TEST(summarize(made, kNow).status == "Terminating");
  made.status.phase = "Failed";
  made.status.reason = "Evicted";
  made.status.container_statuses.clear();
  BOOST_TEST(summarize(made, kNow).status == "Evicted");
}

BOOST_AUTO_TEST_CASE(the_tables_have_kubectls_columns) {
  auto made = pod(1);
  made.status.phase = "Running";
  run(made.status.container_statuses[0]);
  made.status.pod_ip = "10.244.0.2";
  made.spec.node_name = "node1";
  BOOST_TEST(ctl::pod_table({made}, false, false, kNow) ==
             "NAME   READY   STATUS    RESTARTS   AGE\n"
             "web    1/1     Running   0          5m\n");
  BOOST_TEST(ctl::pod_table({made}, true, true, kNow) ==
             "NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE   IP           NODE\n"
             "default     web    1/1     Running   0          5m    10.244.0.2   node1\n");
}

BOOST_AUTO_TEST_CASE(services_show_ports_and_addresses_as_kubectl_does) {
  api::Service service;
  service.metadata.name = "web";
  service.metadata.creation_timestamp = api::Time{kNow - 60};
  service.spec.type = "NodePort";
  service.spec.cluster_ip = "10.96.0.7";
  service.spec.selector = {{"app", "web"}, {"tier", "front"}};
  service.spec.ports.push_back({.protocol = "TCP", .port = 80, .node_port = 30080});
  service.spec.ports.push_back({.protocol = "UDP", .port = 53});
  BOOST_TEST(ctl::service_table({service}, false, true, kNow) ==
             "NAME   TYPE       CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE   SELECTOR\n"
             "web    NodePort   10.96.0.7    <none>        80:30080/TCP,53/UDP   60s   app=web,tier=front\n");
}

BOOST_AUTO_TEST_CASE(the_default_container_is_the_annotated_or_the_first) {
  auto made = pod(2);
  BOOST_TEST(ctl::default_container(made) == "c0");
  made.metadata.annotations["kubectl.kubernetes.io/default-container"] = "c1";
  BOOST_TEST(ctl::default_container(made) == "c1");
}

BOOST_AUTO_TEST_SUITE_END()
