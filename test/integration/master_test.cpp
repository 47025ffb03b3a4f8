// The master from the outside: how it starts, who may come in, what stands there from the
// beginning, and that it survives what may happen to it.

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "test/integration/master_box.h"
#include "test/patience.h"

using namespace keelson;
using namespace keelson::test;
using namespace std::chrono_literals;

namespace {

mode_t mode_of(const host::Path& file) {
  struct stat status{};
  BOOST_REQUIRE_MESSAGE(::stat(file.c_str(), &status) == 0, file.string());
  return status.st_mode & 07777;
}

void write(const host::Path& file, const std::string& text) { std::ofstream(file) << text; }

int exit_status(const host::Output& output) {
  return WIFEXITED(output.wait_status) ? WEXITSTATUS(output.wait_status) : -1;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_master_starts_from_nothing_and_kubectl_works_at_once, MasterBox) {
  start();
  BOOST_TEST(contains(log(), "--kubeconfig " + admin().string()), log());
  const auto namespaces = kubectl({"get", "namespaces", "-o", "name"});
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    BOOST_TEST(contains(namespaces.out, std::string("namespace/") + name + "\n"), namespaces.out << namespaces.err);
  }
  BOOST_TEST(contains(kubectl({"cluster-info"}).out, kUrl));
  BOOST_TEST(contains(kubectl({"get", "service", "kubernetes", "-o", "wide"}).out, "10.96.0.1"));
  BOOST_TEST(contains(kubectl({"get", "endpoints,endpointslices"}).out, "192.0.2.10"));
  // Everybody's files are nobody else's.
  for (const char* file : {"admin.kubeconfig", "pki/ca.key", "pki/apiserver.key", "pki/admin.key"}) {
    BOOST_TEST(mode_of(data_dir() / file) == 0600U, file);
  }
  for (const char* directory : {"", "pki", "etcd"}) BOOST_TEST(mode_of(data_dir() / directory) == 0700U, directory);
}

BOOST_FIXTURE_TEST_CASE(etcd_has_no_port_and_the_master_only_its_own, MasterBox) {
  start();
  const auto sockets = on_host({"/usr/bin/ss", "-Htuln"});
  BOOST_TEST(std::count(sockets.out.begin(), sockets.out.end(), '\n') == 1, sockets.out);
  BOOST_TEST(contains(sockets.out, ":6443"), sockets.out);
}

BOOST_FIXTURE_TEST_CASE(it_serves_a_tenth_of_a_second_after_etcd, MasterBox) {
  start();
  // By its own log, whose lines begin with 2026-11-28T23:14:00.920242+00:00: what a test sees from
  // outside has the starts of programs in it.
  const auto when = [text = log()](std::string_view what) {
    const size_t at = text.find(what);
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, what << " is not in the log:\n" << text);
    const size_t line = text.rfind('\n', at) + 1;  // npos + 1 is the first
    int hours = 0;
    int minutes = 0;
    double seconds = 0;
    BOOST_REQUIRE(std::sscanf(text.c_str() + line + 11, "%d:%d:%lf", &hours, &minutes, &seconds) == 3);
    return (hours * 60 + minutes) * 60 + seconds;
  };
  double took = when("the API is served") - when("etcd: serves");
  if (took < 0) took += 24 * 3600;
  BOOST_TEST_MESSAGE("served " << took * 1000 << " ms after etcd");
  BOOST_TEST(took <= patient(0.1));
}

BOOST_FIXTURE_TEST_CASE(who_shows_nothing_is_told_so_and_may_only_probe, MasterBox) {
  start();
  for (const char* path : {"/api", "/apis", "/api/v1/pods", "/openapi/v2", "/metrics", "/", "/nonsense"}) {
    const auto [status, body] = bare(path);
    BOOST_TEST(status == 401, path << ": " << body);
    BOOST_TEST(contains(body, R"("kind":"Status")"), body);
    BOOST_TEST(contains(body, R"("reason":"Unauthorized")"), body);
  }
  for (const char* path : {"/healthz", "/livez", "/readyz", "/readyz/etcd", "/version", "/version/"}) {
    BOOST_TEST(bare(path).first == 200, path);
  }
  BOOST_TEST(bare("/api", {"-H", "Authorization: Bearer nonsense"}).first == 401);
  // A certificate of somebody else's authority.
  const auto made = on_host({"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                             "-nodes", "-subj", "/O=system:masters/CN=kubernetes-admin", "-keyout",
                             (directory() / "key").string(), "-out", (directory() / "crt").string()});
  BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
  BOOST_TEST(bare("/api", {"--cert", (directory() / "crt").string(), "--key", (directory() / "key").string()}).first !=
             200);
}

// Kubernetes' conformance test of that name (sig-api-machinery, Table transformation).
BOOST_FIXTURE_TEST_CASE(should_return_a_406_for_a_backend_which_does_not_implement_metadata, MasterBox) {
  start();
  const std::string path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const std::string review =
      R"({"spec":{"resourceAttributes":{"namespace":"default","verb":"list","resource":"pods"}}})";
  const auto ask = [&](const std::string& accept) {
    return api(path, {"-H", "Accept: " + accept, "-H", "Content-Type: application/json", "-d", review}).out;
  };
  BOOST_TEST(contains(ask("application/json;as=Table;v=v1;g=meta.k8s.io"), R"("code":406)"));
  BOOST_TEST(contains(ask("application/json"), R"("allowed":true)"));
}

BOOST_FIXTURE_TEST_CASE(every_answer_is_in_the_audit_log_with_its_code, MasterBox) {
  start({"--v", "debug"});
  const auto send = [this](const std::string& method, const std::string& path, const std::string& body) {
    return api(path, {"-X", method, "-H", "Content-Type: application/json", "-d", body}).out;
  };
  const auto audited = [this](const std::string& what, const std::string& code) {
    const std::string text = log();
    for (size_t at = 0; (at = text.find(" audit " + what + " ", at)) != std::string::npos; ++at) {
      if (contains(text.substr(at, text.find('\n', at) - at), " code=" + code + " ms=")) return true;
    }
    return false;
  };

  const std::string reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const std::string review = "verb=create resource=selfsubjectaccessreviews group=authorization.k8s.io";
  send("POST", reviews, R"({"spec":{"nonResourceAttributes":{"path":"/api","verb":"get"}}})");
  BOOST_TEST(audited(review, "201"));
  send("POST", reviews, "nonsense");
  BOOST_TEST(audited(review, "400"));
  api("/apis");
  BOOST_TEST(audited("verb=get path=/apis", "200"));

  const std::string pods = "/api/v1/namespaces/default/pods";
  api(pods + "/gone/log");
  BOOST_TEST(audited("verb=get resource=pods/log namespace=default name=gone", "404"));
  // A log that comes bit by bit, from what stands for an agent.
  const auto directory = this->directory() / "containerLogs/default/web";
  std::filesystem::create_directories(directory);
  write(directory / "web", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\na line\n\r\n0\r\n\r\n");
  on_host({"/bin/sh", "-c",
           "cd $0 && exec timeout 120 openssl s_server -quiet -HTTP -naccept 1 -accept 192.0.2.10:10250 -cert "
           "data/pki/admin.crt -key data/pki/admin.key </dev/null >/dev/null 2>&1 &",
           this->directory().string()});
  BOOST_REQUIRE(eventually([this] { return contains(on_host({"/usr/bin/ss", "-Htln"}).out, ":10250"); }));
  send("POST", "/api/v1/nodes", R"({"metadata":{"name":"n1"}})");
  send("PUT", "/api/v1/nodes/n1/status",
       R"({"metadata":{"name":"n1"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.10"}]}})");
  send("POST", pods,
       R"({"metadata":{"name":"web"},"spec":{"nodeName":"n1","containers":[{"name":"web","image":"none"}]}})");
  BOOST_TEST(api(pods + "/web/log?insecureSkipTLSVerifyBackend=true").out == "a line\n");
  BOOST_TEST(audited("verb=get resource=pods/log namespace=default name=web", "200"));

  const std::string text = log();
  for (size_t at = 0; (at = text.find(" audit ", at)) != std::string::npos; ++at) {
    const std::string line = text.substr(at, text.find('\n', at) - at);
    BOOST_TEST((contains(line, " code=") && contains(line, " ms=")), line);
  }
}

BOOST_FIXTURE_TEST_CASE(bearer_tokens_come_from_the_file_and_a_reload_reads_it_again, MasterBox) {
  const auto file = directory() / "tokens.csv";
  write(file, "secret-1,root,1,\"system:masters\"\nsecret-2,jane,2,dev\n");
  start({"--token-auth-file", file.string()});
  const auto with = [this](const std::string& token, const std::string& path) {
    return bare(path, {"-H", "Authorization: Bearer " + token}).first;
  };
  BOOST_TEST(with("secret-1", "/api/v1/namespaces") == 200);
  BOOST_TEST(with("secret-2", "/api") == 200);
  const auto [status, body] = bare("/api/v1/namespaces/default/pods", {"-H", "Authorization: Bearer secret-2"});
  BOOST_TEST(status == 403);
  BOOST_TEST(
      contains(
          body,
          R"(pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\")"),
      body);
  write(file, "secret-3,root,1,\"system:masters\"\n");
  ::kill(pid(), SIGHUP);
  BOOST_TEST(eventually([&] { return with("secret-3", "/api/v1/namespaces") == 200; }));
  BOOST_TEST(with("secret-1", "/api/v1/namespaces") == 401);
  write(file, "nonsense\n");
  ::kill(pid(), SIGHUP);
  BOOST_TEST(eventually([&] { return contains(log(), "keeping the old tokens"); }));
  BOOST_TEST(with("secret-3", "/api/v1/namespaces") == 200);
}

BOOST_FIXTURE_TEST_CASE(a_kubeconfig_is_for_a_node_or_a_user_and_lets_in_no_further, MasterBox) {
  start();
  const auto make = [this](std::vector<std::string> who, const std::string& name) {
    who.insert(who.begin(), "kubeconfig");
    const auto made = run_to_its_end(who);
    BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
    write(directory() / name, made.out);
    return directory() / name;
  };
  const auto node = make({"--node", "n1"}, "node");
  const auto user = make({"--user", "jane", "--group", "dev"}, "user");
  const auto master = make({"--user", "joe", "--group", "system:masters"}, "master");
  BOOST_TEST(kubectl({"get", "pods", "-A"}, {}, master).wait_status == 0);
  BOOST_TEST(contains(kubectl({"get", "pods"}, {}, user).err, "User \"jane\" cannot list resource \"pods\""));
  BOOST_TEST(contains(kubectl({"auth", "whoami"}, {}, user).out, "dev"));

  // The node: its own Node, Lease and Pods.
  const std::string own_node = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}})";
  const std::string other_node = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n2"}})";
  const auto as_node = [&](const std::vector<std::string>& arguments, const std::string& input = {}) {
    return kubectl(arguments, input, node);
  };
  BOOST_TEST(as_node({"create", "-f", "-"}, own_node).err == "");
  BOOST_TEST(contains(as_node({"create", "-f", "-"}, other_node).err, "is not allowed to modify node \"n2\""));
  BOOST_TEST(kubectl({"create", "-f", "-"}, other_node).wait_status == 0);
  BOOST_TEST(as_node({"get", "nodes"}).wait_status == 0);
  BOOST_TEST(contains(as_node({"label", "node", "n2", "a=b"}).err, "forbidden"));
  BOOST_TEST(as_node({"label", "node", "n1", "a=b"}).err == "");
  BOOST_TEST(contains(as_node({"taint", "node", "n1", "a=b:NoSchedule"}).err, "not allowed to modify taints"));
  BOOST_TEST(contains(as_node({"get", "pods", "-A"}).err, "spec.nodeName"));
  BOOST_TEST(as_node({"get", "pods", "-A", "--field-selector", "spec.nodeName=n1"}).wait_status == 0);
  BOOST_TEST(contains(as_node({"get", "secrets"}).err, "forbidden"));
  const auto pod = [](const std::string& name, const std::string& node, const std::string& more = {}) {
    return R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"("},"spec":{"nodeName":")" + node +
           R"(","containers":[{"name":"c","image":"x",)" + more + R"("command":["a"]}]}})";
  };
  BOOST_TEST(kubectl({"create", "secret", "generic", "mine", "--from-literal=a=b"}).wait_status == 0);
  BOOST_TEST(kubectl({"create", "secret", "generic", "theirs", "--from-literal=a=b"}).wait_status == 0);
  BOOST_TEST(
      kubectl({"create", "-f", "-"}, pod("p1", "n1", R"("envFrom":[{"secretRef":{"name":"mine"}}],)")).wait_status ==
      0);
  BOOST_TEST(
      kubectl({"create", "-f", "-"}, pod("p2", "n2", R"("envFrom":[{"secretRef":{"name":"theirs"}}],)")).wait_status ==
      0);
  BOOST_TEST(as_node({"get", "secret", "mine"}).wait_status == 0);
  BOOST_TEST(
      contains(as_node({"get", "secret", "theirs"}).err, "no relationship found between node 'n1' and this object"));
  BOOST_TEST(contains(as_node({"delete", "pod", "p2", "--now", "--wait=false"}).err, "forbidden"));
  BOOST_TEST(contains(as_node({"create", "-f", "-"}, pod("p3", "n1")).err, "can only create mirror pods"));
  BOOST_TEST(as_node({"delete", "pod", "p1", "--grace-period=0", "--force"}).wait_status == 0);
  BOOST_TEST(contains(as_node({"get", "secret", "mine"}).err, "forbidden"));  // nothing here needs it any more
}

BOOST_FIXTURE_TEST_CASE(what_everybody_relies_on_comes_back, MasterBox) {
  start();
  BOOST_TEST(kubectl({"delete", "service", "kubernetes", "--wait=false"}).wait_status == 0);
  BOOST_TEST(eventually([this] { return contains(kubectl({"get", "service", "kubernetes"}).out, "10.96.0.1"); }, 15s));
}

BOOST_FIXTURE_TEST_CASE(a_master_announces_its_address_once_a_lease_and_tells_nobody, MasterBox) {
  const auto began = std::chrono::steady_clock::now();
  start();
  const auto version_of_endpoints = [this] {
    return kubectl({"get", "endpoints", "kubernetes", "-o", "jsonpath={.metadata.resourceVersion}"}).out;
  };
  const std::string endpoints = version_of_endpoints();
  // Each of these has it look whether all is there.
  for (const char* name : {"a", "b", "c"}) kubectl({"create", "namespace", name});
  const auto written = on_host({"/usr/bin/env", "ETCDCTL_API=3", "/usr/bin/etcdctl", "--endpoints",
                                "unix://" + (data_dir() / "etcd/client.sock:0").string(), "get",
                                "/registry/masterleases/192.0.2.10", "--write-out", "fields"});
  const auto took = std::chrono::steady_clock::now() - began;
  const size_t at = written.out.find("\"Version\" : ");
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, written.out << written.err);
  BOOST_TEST(std::atoi(written.out.c_str() + at + 12) <= 1 + took / 10s, written.out);
  BOOST_TEST(version_of_endpoints() == endpoints);
}

BOOST_FIXTURE_TEST_CASE(after_a_restart_and_after_a_kill_all_is_as_it_was, MasterBox) {
  start();
  const auto authority = host::read_file(data_dir() / "pki/ca.crt").value();
  BOOST_TEST(kubectl({"create", "configmap", "kept", "--from-literal=a=b"}).wait_status == 0);
  BOOST_TEST(stop(SIGTERM) == 0);
  start();
  BOOST_TEST(kubectl({"get", "configmap", "kept"}).wait_status == 0);
  const pid_t etcd = etcd_pid();
  BOOST_REQUIRE(etcd != 0);
  stop(SIGKILL);
  // etcd goes with it: the next one finds its data free.
  BOOST_TEST(eventually([etcd] { return ::kill(etcd, 0) != 0; }));
  start();
  BOOST_TEST(kubectl({"get", "configmap", "kept"}).wait_status == 0);
  BOOST_TEST(host::read_file(data_dir() / "pki/ca.crt").value() == authority);
}

BOOST_FIXTURE_TEST_CASE(when_etcd_dies_it_is_started_again_and_the_api_goes_on, MasterBox) {
  start();
  BOOST_TEST(kubectl({"create", "configmap", "kept", "--from-literal=a=b"}).wait_status == 0);
  ::kill(etcd_pid(), SIGKILL);
  BOOST_TEST(eventually([this] { return contains(log(), "it is started again"); }));
  BOOST_TEST(eventually([this] { return ready() && kubectl({"get", "configmap", "kept"}).wait_status == 0; }));
  BOOST_TEST(kubectl({"create", "configmap", "more", "--from-literal=a=b"}).wait_status == 0);
}

BOOST_FIXTURE_TEST_CASE(a_second_master_on_the_same_data_is_refused, MasterBox) {
  start();
  const auto second = run_to_its_end({"--listen", "0.0.0.0:6444"});
  BOOST_TEST(exit_status(second) == 1);
  BOOST_TEST(contains(second.err, "another keelson-master runs"), second.err);
}

BOOST_FIXTURE_TEST_CASE(usage_errors_end_with_2_and_say_what_is_wrong, MasterBox) {
  const auto refuse = [this](const std::vector<std::string>& flags, std::string_view why) {
    const auto output = run_to_its_end(flags);
    BOOST_TEST(exit_status(output) == 2, flags.front());
    BOOST_TEST(contains(output.err + output.out, why), output.err << output.out);
  };
  refuse({"--nonsense"}, "--nonsense");
  refuse({"--components", "apiserver,nonsense"}, "\"nonsense\" is none of");
  refuse({"--components", "scheduler"}, "--kubeconfig");
  refuse({"--listen", "6443"}, "--listen 6443");
  refuse({"--listen", "example:6443"}, "--listen example:6443");
  refuse({"--service-cluster-ip-range", "10.96.0.0"}, "--service-cluster-ip-range");
  refuse({"--service-cluster-ip-range", "10.244.0.0/24"}, "addresses in common");
  refuse({"--service-node-port-range", "30000"}, "FIRST-LAST");
  refuse({"--event-ttl", "1d"}, "--event-ttl");
  refuse({"--tls-cert-file", "x"}, "go together");
  refuse({"--etcd-quota", "1Ki"}, "--etcd-quota");
  refuse({"--config", "/nonexistent"}, "/nonexistent");
  refuse({"kubeconfig"}, "--node");
  refuse({"kubeconfig", "--node", "a", "--user", "b"}, "--user");
  refuse({"kubeconfig", "--user", std::string(70, 'x')}, "subject");
  BOOST_TEST(exit_status(run_to_its_end({"--help"})) == 0);
  BOOST_TEST(contains(run_to_its_end({"--version"}).out, "keelson-master "));
}

BOOST_FIXTURE_TEST_CASE(flags_may_stand_in_a_file, MasterBox) {
  const auto file = directory() / "master.yaml";
  write(file, "listen: 192.0.2.10:6443\nservice-cluster-ip-range: 10.50.0.0/16\ntls-san: [api.example]\n");
  start({"--config", file.string()});
  BOOST_TEST(contains(kubectl({"get", "service", "kubernetes"}).out, "10.50.0.1"));
  const auto names = on_host({"/usr/bin/openssl", "x509", "-in", (data_dir() / "pki/apiserver.crt").string(), "-noout",
                              "-ext", "subjectAltName"});
  BOOST_TEST(contains(names.out, "DNS:api.example"), names.out);
  BOOST_TEST(contains(names.out, "IP Address:10.50.0.1"), names.out);
}
