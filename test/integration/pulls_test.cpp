// Images as a node gets and loses them: an agent against Debian's docker-registry, and
// keelsonctl on the store with no agent at all.
#include <fmt/core.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>

#include "test/integration/sandbox.h"

using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

struct Node : Sandbox {
  // An image of demo-echo and so much noise, as an OCI layout.
  std::string layout(const std::string& name, int megabytes) {
    const auto made =
        shell(fmt::format("set -e; cd {0}; mkdir -p {1}-root/bin; cp {2}/demo-echo {1}-root/bin/; head -c {3}M "
                          "/dev/urandom > {1}-root/noise; "
                          "{4}/tools/mkimage --root {1}-root --name {1}:1 --entrypoint /bin/demo-echo --cmd serve "
                          "--cmd 7000 --layout {1}",
                          directory().string(), name, binaries().string(), megabytes, KEELSON_SOURCE_DIR));
    BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
    return (directory() / name).string();
  }

  // On an address of the node that is not loopback.
  keelson::host::Child& start_registry(int port, const std::string& more = {}) {
    const auto config = directory() / fmt::format("registry-{}.yml", port);
    shell(
        fmt::format("cat > {} <<'END'\nversion: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: "
                    "{}/registry}}}}\nhttp:\n  addr: {}:{}\n{}END",
                    config.string(), directory().string(), kNodeIp, port, more));
    auto& registry =
        background({"/usr/bin/env", "OTEL_TRACES_EXPORTER=none", "/usr/bin/docker-registry", "serve", config.string()},
                   directory() / "registry.log");
    const auto scheme = more.empty() ? "http" : "https";
    require_eventually("the registry answers", [&] {
      return on_node({"/usr/bin/curl", "-sk", fmt::format("{}://{}:{}/v2/", scheme, kNodeIp, port)}).wait_status == 0;
    });
    return registry;
  }

  // What `docker push` does, by hand.
  void push(const std::string& layout, const std::string& repository) {
    const auto pushed = on_node({"/bin/bash", "-c",
                                 fmt::format(R"sh(set -e
base=http://{0}:5000 manifest=$(sed -n 's/.*"digest": *"sha256:\([0-9a-f]*\)".*/\1/p' {1}/index.json | head -n 1)
for blob in {1}/blobs/sha256/*; do
  hex=$(basename $blob)
  [ $hex = $manifest ] && continue
  location=$(curl -sSf -X POST -D - -o /dev/null $base/v2/{2}/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  curl -sSf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$blob "$location&digest=sha256:$hex"
done
curl -sSf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @{1}/blobs/sha256/$manifest $base/v2/{2}/manifests/1
)sh",
                                             kNodeIp, layout, repository)});
    BOOST_REQUIRE_MESSAGE(pushed.wait_status == 0, pushed.err);
  }

  std::string listing(const std::string& within) {
    return shell(fmt::format("ls {}/images/{}", root_dir().string(), within)).out;
  }
  std::string waiting(const std::string& pod, const std::string& field) {
    return pod_value(pod, "/status/containerStatuses/0/state/waiting/" + field);
  }
};

constexpr const char* kPulled = R"(
apiVersion: v1
kind: Pod
metadata: {{name: pulled}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: "{}:5000/team/big:1"}}]
)";

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_registry_killed_in_the_middle_of_a_pull_is_asked_again_and_leaves_no_half_layer, Node) {
  auto& registry = start_registry(5000);
  push(layout("big", 24), "team/big");
  // Plain HTTP to what is not loopback takes the flag, here by its name in agent.yaml.
  shell(fmt::format("echo 'insecure-registry: [{}:5000]' > {}/agent.yaml", kNodeIp, directory().string()));
  start_agent({"--config=" + (directory() / "agent.yaml").string()});
  on_node({"/sbin/tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "40mbit", "burst", "256k", "latency", "1s"});
  write_manifest("pulled.yaml", fmt::format(kPulled, kNodeIp));
  require_eventually("the download is under way", [&] {
    return shell(fmt::format("find {}/images/partial -size +1M | grep .", root_dir().string())).wait_status == 0;
  });
  keelson::host::send_signal(registry.pidfd, SIGKILL);
  on_node({"/sbin/tc", "qdisc", "del", "dev", "lo", "root"});
  require_eventually("the pull has failed", [&] { return waiting("pulled", "reason") == "ErrImagePull"; }, 30s);
  BOOST_TEST(contains(waiting("pulled", "message"), "connection refused"), waiting("pulled", "message"));
  require_eventually("it backs off", [&] { return waiting("pulled", "reason") == "ImagePullBackOff"; });
  BOOST_TEST(contains(waiting("pulled", "message"), "Back-off pulling image"), waiting("pulled", "message"));
  BOOST_TEST(listing("layers") == "");
  BOOST_TEST(listing("staging") == "");
  BOOST_TEST(listing("partial") != "", "what has come is there to go on with");
  start_registry(5000);
  require_eventually("it runs", [&] { return pod_is_ready("pulled"); }, 40s);
  BOOST_TEST(listing("partial") == "");
}

BOOST_FIXTURE_TEST_CASE(registries_by_plain_http_or_a_ca_of_ones_own_take_their_flags, Node) {
  start_registry(5000);
  push(layout("small", 1), "team/small");
  const auto pull = [this](const std::string& port, const std::string& flag) {
    std::vector<std::string> command = {"images", "pull", fmt::format("{}:{}/team/small:1", kNodeIp, port)};
    if (!flag.empty()) command.push_back(flag);
    return ctl(command);
  };
  BOOST_TEST(contains(pull("5000", "").err, "the registry speaks plain HTTP"));
  BOOST_TEST(pull("5000", fmt::format("--insecure-registry={}:5000", kNodeIp)).wait_status == 0);
  ctl({"images", "prune"});
  const auto directory = this->directory().string();
  shell(fmt::format(
      "cd {} && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 2 -subj /CN=registry "
      "-addext subjectAltName=IP:{}",
      directory, kNodeIp));
  start_registry(5001, fmt::format("  tls: {{certificate: {0}/ca.pem, key: {0}/key.pem}}\n", directory));
  BOOST_TEST(contains(pull("5001", "").err, "x509: "));
  const auto trusted = pull("5001", fmt::format("--registry-ca-file={}/ca.pem", directory));
  BOOST_TEST(trusted.wait_status == 0, trusted.err);
}

BOOST_FIXTURE_TEST_CASE(pruning_with_no_agent_keeps_what_containers_run_on, Node) {
  import_test_image();
  BOOST_REQUIRE(ctl({"images", "import", layout("unused", 1)}).wait_status == 0);
  start_agent();
  write_manifest("web.yaml", R"(
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sleep, "1000"]}]
)");
  require_eventually("web is Ready", [&] { return pod_is_ready("web"); });
  stop_agent(SIGKILL);
  for (const std::vector<std::string>& prune :
       {std::vector<std::string>{"images", "prune"}, {"images", "prune", "--force"}}) {
    const auto pruned = ctl(prune);
    BOOST_TEST(pruned.wait_status == 0, pruned.err);
    BOOST_TEST(!contains(pruned.out, "busybox-test"), pruned.out);
  }
  BOOST_TEST(contains(ctl({"images", "remove", "--force", "busybox-test"}).err, "in use"));
  const auto left = ctl({"images"}).out;
  BOOST_TEST(contains(left, "busybox-test"), left);
  BOOST_TEST(!contains(left, "unused"), left);
  start_agent();
  require_eventually("web is Ready again", [&] { return pod_is_ready("web"); });
  BOOST_TEST(ctl({"exec", "web", "--", "/bin/echo", "still here"}).out == "still here\n");
  // Its end gives the layers free.
  remove_manifest("web.yaml");
  require_eventually("web is gone", [&] { return !pod_exists("web"); });
  stop_agent(SIGKILL);
  BOOST_TEST(contains(ctl({"images", "prune"}).out, "busybox-test"));
}
