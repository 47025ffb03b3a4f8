// After a restart of the agent, a reboot, a lost sandbox: nothing twice, nothing lost.
#include <boost/test/unit_test.hpp>

#include "api/codec.h"
#include "test/unit/agent/pods/node.h"

BOOST_AUTO_TEST_SUITE(recovery)

using namespace keelson;
using namespace keelson::pods;
using namespace keelson::pods::test;
using std::chrono::seconds;
using Calls = std::vector<std::string>;

namespace {

api::RecoveredPod remains(const api::Pod& pod, bool alive) {
  api::RecoveredPod recovered;
  recovered.spec.uid = pod.metadata.uid;
  recovered.spec.namespace_ = pod.metadata.namespace_;
  recovered.spec.name = pod.metadata.name;
  recovered.spec.manifest = api::encode_json(pod);
  recovered.alive = alive;
  return recovered;
}

void add_running(Node& node, api::RecoveredPod& pod, const std::string& container, uint32_t attempt) {
  pod.containers.push_back({{pod.spec.uid, container, attempt}, true, {.pid = 1, .started_at_us = 1'000'000}});
  node.runtime->running[{pod.spec.uid, container}] = attempt;
}

void add_exit(api::RecoveredPod& pod, const std::string& container, uint32_t attempt, int code, int64_t start = 100,
              int64_t end = 200) {
  api::ExitRecord record;
  record.id = {pod.spec.uid, container, attempt};
  record.wait_status = FakeRuntime::code(code);
  record.started_at_us = start;
  record.finished_at_us = end;
  pod.exits.push_back(record);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_wanted_pod_that_still_runs_is_adopted_and_starts_nothing_twice) {
  Node node({}, false);
  auto pod = make_pod("web", {make_container("main")}, {make_container("init")});
  auto before = remains(pod, true);
  add_exit(before, "init", 0, 0);
  add_exit(before, "main", 2, 5, 300, 400);
  add_running(node, before, "main", 3);
  before.containers.push_back({{pod.metadata.uid, "init", 0}, false, {}});
  node.pods->recover({before});
  node.want({pod});
  BOOST_TEST(node.runtime->those("start ").empty());
  BOOST_TEST(node.runtime->those("signal ").empty());
  BOOST_TEST(node.status("web").phase == "Running");
  BOOST_TEST(node.condition("web", "Ready") == "True");
  BOOST_TEST(node.container("web").restart_count == 3);
  BOOST_TEST(node.container("web").last_state.terminated->exit_code == 5);
  BOOST_TEST(node.listener.sandboxes.contains("uid-web"));  // the proxy learns its cookie again
  BOOST_TEST(node.network->retained == Calls({"uid-web"}), boost::test_tools::per_element());
  node.exit("web", "main", 1);
  BOOST_TEST(node.runtime->count("start main/4") == 1U);
}

BOOST_AUTO_TEST_CASE(an_exit_while_the_agent_was_away_is_handled_as_if_now) {
  Node node({}, false);
  auto pod = make_pod("web", {make_container("main")});
  auto before = remains(pod, true);
  before.containers.push_back({{pod.metadata.uid, "main", 0}, false, {}});
  add_exit(before, "main", 0, 42);
  node.pods->recover({before});
  node.want({pod});
  BOOST_TEST(node.runtime->count("start main/1") == 1U);
  BOOST_TEST(node.container("web").last_state.terminated->exit_code == 42);
}

BOOST_AUTO_TEST_CASE(an_exit_between_recovery_and_the_first_apply_is_not_lost) {
  Node node({}, false);
  auto pod = make_pod("web", {make_container("main")});
  auto before = remains(pod, true);
  add_running(node, before, "main", 0);
  node.pods->recover({before});
  node.runtime->exit("uid-web", "main", FakeRuntime::code(9));
  node.want({pod});
  BOOST_TEST(node.runtime->count("start main/1") == 1U);
  BOOST_TEST(node.container("web").last_state.terminated->exit_code == 9);
}

BOOST_AUTO_TEST_CASE(what_is_desired_before_recovery_waits_for_it) {
  Node node({}, false);
  node.want({make_pod("web", {make_container("main")})});
  BOOST_TEST(node.runtime->calls.empty());
  node.pods->recover({});
  node.scheduler->run();
  BOOST_TEST(node.status("web").phase == "Running");
}

BOOST_AUTO_TEST_CASE(a_pod_that_is_no_longer_wanted_is_stopped_gracefully) {
  Node node({}, false);
  auto pod = make_pod("old", {make_container("main")});
  auto before = remains(pod, true);
  add_running(node, before, "main", 0);
  node.pods->recover({before});
  node.want({});
  BOOST_TEST(node.runtime->count("signal main 15") == 1U);
  BOOST_TEST(node.runtime->those("sandbox ").empty());
  BOOST_TEST(node.runtime->calls.back() == "forget uid-old");
  BOOST_TEST(node.pods->list().empty());
}

BOOST_AUTO_TEST_CASE(a_pod_that_had_succeeded_is_not_run_again) {
  Node node({}, false);
  auto pod = make_pod("job", {make_container("main")}, {make_container("init")});
  pod.spec.restart_policy = "Never";
  auto before = remains(pod, false);
  add_exit(before, "init", 0, 0);
  add_exit(before, "main", 0, 0, 300, 400);
  node.pods->recover({before});
  node.want({pod});
  BOOST_TEST(node.runtime->those("start ").empty());
  BOOST_TEST(node.status("job").phase == "Succeeded");
  node.want({});
  BOOST_TEST(node.runtime->count("forget uid-job") == 1U);
}

BOOST_AUTO_TEST_CASE(after_a_reboot_init_containers_run_again) {
  Node node({}, false);
  auto pod = make_pod("web", {make_container("main")}, {make_container("init")});
  auto before = remains(pod, false);
  add_exit(before, "init", 0, 0);
  before.containers.push_back({{pod.metadata.uid, "main", 1}, false, {}});  // the power cut took its exit
  node.pods->recover({before});
  node.want({pod});
  BOOST_TEST(node.runtime->those("start ") == Calls({"start init/1"}), boost::test_tools::per_element());
  node.exit("web", "init", 0);
  BOOST_TEST(node.runtime->count("start main/2") == 1U);
  BOOST_TEST(node.container("web").last_state.terminated->reason == "ContainerStatusUnknown");
  BOOST_TEST(node.container("web").last_state.terminated->exit_code == 137);
}

BOOST_AUTO_TEST_CASE(a_lost_sandbox_restarts_everything_and_backs_off_when_it_happens_again) {
  Node node;
  node.want({make_pod("web", {make_container("main")}, {make_container("init")})});
  node.exit("web", "init", 0);
  auto lose = [&] {
    node.runtime->running.clear();
    node.pods->sandbox_lost("uid-web", "podshim ended");
    node.scheduler->run();
  };
  lose();
  BOOST_TEST(node.runtime->count("start init/1") == 1U);
  node.exit("web", "init", 0);
  BOOST_TEST(node.status("web").phase == "Running");
  BOOST_TEST(node.container("web").restart_count == 1);
  lose();
  BOOST_TEST(node.runtime->count("start init/2") == 0U);
  node.advance(seconds(10));
  BOOST_TEST(node.runtime->count("start init/2") == 1U);
}

BOOST_AUTO_TEST_CASE(a_readiness_probe_of_an_adopted_container_keeps_its_endpoint) {
  Node node({}, false);
  auto pod = make_pod("web", {make_container("main")});
  api::Probe probe;
  probe.handler.tcp_socket.emplace();
  probe.period_seconds = 10;
  pod.spec.containers[0].readiness_probe = probe;
  auto before = remains(pod, true);
  add_running(node, before, "main", 0);
  node.pods->recover({before});
  node.want({pod});
  BOOST_TEST(node.condition("web", "Ready") == "True");
  node.checks->results["main"] = {false, "refused"};
  node.advance(seconds(1));  // the first answer decides
  BOOST_TEST(node.condition("web", "Ready") == "False");
}

BOOST_AUTO_TEST_SUITE_END()
