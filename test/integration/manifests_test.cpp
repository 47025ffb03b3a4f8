// The issue's sentence "Sources": where manifests come from, and what happens to bad ones.
#include <fmt/core.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "test/integration/sandbox.h"

using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

std::string pod(const std::string& name, const std::string& more = "") {
  return fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: {}}}
spec:
  terminationGracePeriodSeconds: 1
{}
  containers: [{{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]}}]
)",
                     name, more);
}

struct Node : Sandbox {
  Node() { import_test_image(); }
  void require_ready(const std::string& name) {
    require_eventually(name + " is Ready", [&] { return pod_is_ready(name); });
  }
  void require_gone(const std::string& name) {
    require_eventually(name + " is gone", [&] { return !pod_exists(name); });
  }
  std::string token() { return shell("tr -d '\\n' < " + (root_dir() / "api.token").string()).out; }
  keelson::host::Output curl(const std::string& arguments) {
    return on_node({"/bin/bash", "-c", "curl -sS --noproxy '*' -w '\\n%{http_code}' " + arguments});
  }
  std::string authorized() { return "-H 'Authorization: Bearer " + token() + "' "; }
};

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_file_acts_at_once_and_its_removal_too, Node) {
  start_agent();
  write_manifest("a.yaml", pod("a") + "---" + pod("b"));
  require_ready("a");
  require_ready("b");
  write_manifest("a.yaml", pod("a"));
  require_gone("b");
  remove_manifest("a.yaml");
  require_gone("a");
}

BOOST_FIXTURE_TEST_CASE(json_and_lists_are_read, Node) {
  start_agent();
  write_manifest("list.json", R"({"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"terminationGracePeriodSeconds":1,"containers":[
      {"name":"main","image":"busybox-test","imagePullPolicy":"Never","command":["/bin/sleep","1000"]}]}}]})");
  require_ready("j");
}

BOOST_FIXTURE_TEST_CASE(a_broken_manifest_keeps_the_last_good_one_and_is_reported, Node) {
  start_agent();
  write_manifest("a.yaml", pod("a"));
  require_ready("a");
  const auto uid = pod_value("a", "/metadata/uid");
  std::string broken = pod("a");
  broken.replace(broken.find("name: main"), 10, "name: MAIN");
  write_manifest("a.yaml", broken);
  const auto line = std::count(broken.begin(), broken.begin() + static_cast<long>(broken.find("name: MAIN")), '\n') + 1;
  require_eventually("it is reported with file, line and field", [&] {
    return contains(ctl({"status"}).out, fmt::format("a.yaml:{}: Pod default/a: spec.containers[0].name: ", line));
  });
  BOOST_TEST(contains(agent_log(), fmt::format("a.yaml:{}: Pod default/a: spec.containers[0].name: ", line)));
  BOOST_TEST(contains(curl("http://127.0.0.1:10250/metrics").out,
                      "keelson_source_problems{source=\"file\",severity=\"error\"} 1"));
  BOOST_TEST(contains(curl("http://127.0.0.1:10250/metrics").out, "keelson_problems{severity=\"error\"} 1"));
  write_manifest("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a\n");
  require_eventually("it is reported with file and line", [&] { return contains(ctl({"status"}).out, "a.yaml:"); });
  BOOST_TEST(contains(agent_log(), "a.yaml"));
  BOOST_TEST(pod_value("a", "/metadata/uid") == uid);
  BOOST_TEST(pod_is_ready("a"));
}

BOOST_FIXTURE_TEST_CASE(a_service_that_cannot_have_its_address_is_reported_with_its_file, Node) {
  start_agent();
  const std::string service =
      "apiVersion: v1\nkind: Service\nmetadata: {name: first}\nspec: {clusterIP: 10.96.0.5, ports: [{port: 80}]}\n";
  write_manifest("first.yaml", service);
  require_eventually("it has its address", [&] { return contains(ctl({"services"}).out, "10.96.0.5"); });
  auto second = "# two\n# lines\n" + service;
  second.replace(second.find("first"), 5, "other");
  write_manifest("second.yaml", second);
  require_eventually("it is told whose the address is, and where the manifest is", [&] {
    return contains(
        ctl({"status"}).out,
        "second.yaml:3: Service default/other: spec.clusterIPs: 10.96.0.5 belongs to service default/first");
  });
}

BOOST_FIXTURE_TEST_CASE(two_sources_with_the_same_pod_have_a_winner_and_it_is_reported, Node) {
  start_agent();
  write_manifest("a.yaml", pod("a"));
  require_ready("a");
  const auto uid = pod_value("a", "/metadata/uid");
  shell("cat > " + (directory() / "push.yaml").string() + " <<'E'\n" + pod("a", "  hostname: other") + "\nE");
  curl(authorized() + "-X POST --data-binary @" + (directory() / "push.yaml").string() +
       " http://127.0.0.1:10250/pods");
  require_eventually("it is reported", [&] { return contains(ctl({"status"}).out, "push"); });
  BOOST_TEST(pod_value("a", "/metadata/uid") == uid);
}

BOOST_FIXTURE_TEST_CASE(push_stores_before_it_answers_and_needs_the_token, Node) {
  start_agent();
  const auto manifest = directory() / "p.yaml";
  shell("cat > " + manifest.string() + " <<'E'\n" + pod("p") + "\nE");
  const std::string post = "-X POST --data-binary @" + manifest.string() + " http://127.0.0.1:10250/pods";
  BOOST_TEST(contains(curl(post).out, "\n401"));
  BOOST_TEST(contains(curl("http://127.0.0.1:10250/pods").out, "\n401"));
  BOOST_TEST(contains(curl("http://127.0.0.1:10250/healthz").out, "\n200"));
  BOOST_TEST(contains(curl(authorized() + post).out, "\n20"));
  stop_agent(SIGKILL);  // at once: it must be on disk
  start_agent();
  require_ready("p");
  BOOST_TEST(contains(curl(authorized() + "http://127.0.0.1:10250/pods").out, "PodList"));
  BOOST_TEST(contains(curl(authorized() + "-X DELETE http://127.0.0.1:10250/pods/default/p").out, "\n200"));
  require_gone("p");
  BOOST_TEST(shell("stat -c %a " + (root_dir() / "api.token").string()).out == "600\n");
}

BOOST_FIXTURE_TEST_CASE(a_source_policy_refuses_and_names_the_field, Node) {
  start_agent();
  const auto manifest = directory() / "p.yaml";
  shell("cat > " + manifest.string() + " <<'E'\n" + pod("p", "  hostNetwork: true") + "\nE");
  const auto answer =
      curl(authorized() + "-X POST --data-binary @" + manifest.string() + " http://127.0.0.1:10250/pods").out;
  BOOST_TEST(contains(answer, "spec.hostNetwork"), answer);
  BOOST_TEST(!pod_exists("p"));
}

BOOST_FIXTURE_TEST_CASE(a_url_is_read_and_its_silence_changes_nothing, Node) {
  shell(fmt::format("mkdir -p {0}/www && cat > {0}/www/pods.yaml <<'E'\n{1}\nE", directory().string(), pod("u")));
  auto& server = background({"/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                             (directory() / "www").string(), "8088"},
                            directory() / "www.log");
  start_agent({"--manifest-url=http://127.0.0.1:8088/pods.yaml", "--http-check-frequency=1s"});
  require_ready("u");
  (void)keelson::host::send_signal(server.pidfd, SIGKILL);
  shell("sleep 2");
  BOOST_TEST(pod_is_ready("u"));
  // A reboot with the server away: the set is on disk.
  stop_agent(SIGKILL);
  start_agent({"--manifest-url=http://127.0.0.1:8088/pods.yaml", "--http-check-frequency=1s"});
  write_manifest("f.yaml", pod("f"));
  require_ready("f");
  require_ready("u");
  BOOST_TEST(contains(ctl({"status"}).out, "8088"), "the failing source is reported");
}

BOOST_FIXTURE_TEST_CASE(etcd_keys_act_at_once_and_survive_a_restart_of_etcd, Node) {
  const auto endpoint = etcd_endpoint();
  start_agent({"--etcd-servers=" + endpoint});
  etcdctl({"put", "/registry/hosts/node1/e", pod("e")});
  require_ready("e");
  stop_etcd(SIGKILL);
  shell("sleep 0.5");
  BOOST_TEST(pod_is_ready("e"));
  start_etcd();
  etcdctl({"put", "/registry/hosts/node1/e2", pod("e2")});
  require_ready("e2");
  etcdctl({"del", "/registry/hosts/node1/e"});
  require_gone("e");
  BOOST_TEST(pod_is_ready("e2"));
}
