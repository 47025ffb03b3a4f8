// The agent from the outside: its API with certificates, and keelsonctl with what people
// type, and with what they should not.
#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <set>
#include <string>

#include "test/integration/sandbox.h"

using keelson::host::Fd;
using keelson::host::Output;
using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

std::string pod(const std::string& name, const std::string& script, const std::string& namespace_ = "default") {
  return fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: {}, namespace: {}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "{}"]}}]
)",
                     name, namespace_, script);
}

constexpr const char* kWait = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
int code(const Output& output) { return WIFEXITED(output.wait_status) ? WEXITSTATUS(output.wait_status) : -1; }

struct Node : Sandbox {
  Node() { import_test_image(); }
  void run_pod(const std::string& name, const std::string& script) {
    write_manifest(name + ".yaml", pod(name, script));
    require_eventually(name + " is Ready", [&] { return pod_is_ready(name); });
  }
  std::string file(const std::string& name, const std::string& text) {
    const auto path = directory() / name;
    BOOST_REQUIRE(keelson::host::write_file_atomically(path, text));
    return path.string();
  }
  // keelsonctl under a shell, which is where its pipes are.
  std::string ctl_line(const std::vector<std::string>& arguments) {
    return fmt::format("'{}'", fmt::join(ctl_command(arguments), "' '"));
  }
  Output on_node_shell(const std::string& script) { return on_node({"/bin/bash", "-c", script}); }
  // It failed with this exit code, and says why on stderr, in one word of keelsonctl's at least.
  void refuses(const std::vector<std::string>& arguments, int expected, std::string_view why) {
    const auto output = ctl(arguments);
    const auto shown = fmt::format("{}", fmt::join(arguments, " ")).substr(0, 200);
    BOOST_TEST(code(output) == expected, shown << " ends with " << code(output));
    BOOST_TEST(contains(output.err, why), shown << ": " << output.err.substr(0, 2000));
    BOOST_TEST(output.err.size() < 4000U, shown << ": an error of " << output.err.size() << " bytes");
  }
};

// A person before a terminal.
class Person {
 public:
  Person(Sandbox& sandbox, const std::vector<std::string>& command, uint16_t columns, uint16_t rows) {
    int screen = -1, terminal = -1;
    winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    BOOST_REQUIRE(::openpty(&screen, &terminal, nullptr, nullptr, &size) == 0);
    screen_ = Fd(screen);
    terminal_ = Fd(terminal);
    BOOST_REQUIRE(::tcgetattr(terminal_.get(), &before_) == 0);
    child_ = sandbox.on_terminal(command, terminal_);
  }
  ~Person() {
    if (!ended_) (void)keelson::host::send_signal(child_.pidfd, SIGKILL);
    wait();
  }
  void types(std::string_view text) {
    BOOST_REQUIRE(::write(screen_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void resizes(uint16_t columns, uint16_t rows) {
    winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    BOOST_REQUIRE(::ioctl(screen_.get(), TIOCSWINSZ, &size) == 0);
  }
  void sees(std::string_view text) {
    const bool seen = Sandbox::eventually([&] {
      pollfd waiting{screen_.get(), POLLIN, 0};
      char block[4096];
      if (::poll(&waiting, 1, 20) > 0) {
        const ssize_t size = ::read(screen_.get(), block, sizeof block);
        if (size > 0) shown_.append(block, static_cast<size_t>(size));
      }
      return contains(shown_, text);
    });
    BOOST_REQUIRE_MESSAGE(seen, "the terminal never showed " << text << " but:\n" << shown_);
    shown_.erase(0, shown_.find(text) + text.size());
  }
  int wait() {
    if (ended_) return *ended_;
    pollfd waiting{child_.pidfd.get(), POLLIN, 0};
    BOOST_REQUIRE_MESSAGE(::poll(&waiting, 1, 10000) == 1, "keelsonctl does not end; the terminal shows\n" << shown_);
    const int status = keelson::host::reap(child_.pidfd).value_or(-1);
    ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return *ended_;
  }
  // Its modes are what they were: nobody is left without an echo.
  bool terminal_is_as_before() const {
    termios now{};
    return ::tcgetattr(terminal_.get(), &now) == 0 && now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag;
  }

 private:
  Fd screen_, terminal_;
  termios before_{};
  keelson::host::Child child_;
  std::string shown_;
  std::optional<int> ended_;
};

}  // namespace

// ---- certificates ------------------------------------------------------------------------

struct CertificateNode : Node {
  CertificateNode() {
    const auto made = shell(fmt::format(R"(set -e; cd {}
      ca() {{ openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$1 -keyout $1.key -out $1.crt; }}
      leaf() {{ openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$2 -keyout $2.key -out $2.csr
        openssl x509 -req -in $2.csr -CA $1.crt -CAkey $1.key -CAcreateserial -days 2 -out $2.crt -extfile <(echo "$3"); }}
      ca ca; ca stranger-ca
      leaf ca server 'subjectAltName=IP:192.0.2.10'
      leaf ca admin 'extendedKeyUsage=clientAuth'
      leaf stranger-ca stranger 'extendedKeyUsage=clientAuth')",
                                        directory().string()));
    BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
    ctl_flags = {"--agent=https://192.0.2.10:10250", "--cacert=" + at("ca.crt")};
    start_agent({"--listen=192.0.2.10:10250", "--tls-cert-file=" + at("server.crt"),
                 "--tls-private-key-file=" + at("server.key"), "--client-ca-file=" + at("ca.crt")});
  }
  std::string at(const std::string& name) const { return (directory() / name).string(); }
  // GET /pods from the outside host: the HTTP status; 000 when TLS failed.
  std::string status(const std::string& how) {
    return outside({"/bin/bash", "-c",
                    "curl -sS --noproxy '*' -o /dev/null -w '%{http_code}' --cacert " + at("ca.crt") + " " + how +
                        " https://192.0.2.10:10250/pods"})
        .out;
  }
  Output ctl_without_token(std::vector<std::string> arguments) {
    std::vector<std::string> command = {(binaries() / "keelsonctl").string(), "--root-dir=" + at("nowhere")};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return on_node(command);
  }
};

BOOST_FIXTURE_TEST_CASE(a_client_certificate_of_the_ca_opens_the_api_and_no_other_does, CertificateNode) {
  const auto certificate = [&](const std::string& name) {
    return fmt::format("--cert {} --key {}", at(name + ".crt"), at(name + ".key"));
  };
  BOOST_TEST(status(certificate("admin")) == "200");
  BOOST_TEST(status("") == "401");
  BOOST_TEST(status(certificate("stranger")) == "000");
  const auto token = shell("cat " + (root_dir() / "api.token").string()).out;
  BOOST_TEST(status("-H 'Authorization: Bearer " + token.substr(0, token.find('\n')) + "'") == "200");
  BOOST_TEST(status("-H 'Authorization: Bearer nonsense'") == "401");
}

BOOST_FIXTURE_TEST_CASE(keelsonctl_shows_certificates_and_looks_at_the_agents, CertificateNode) {
  run_pod("web", kWait);
  const std::string agent = "--agent=https://192.0.2.10:10250", ca = "--cacert=" + at("ca.crt");
  const std::string cert = "--cert=" + at("admin.crt"), key = "--key=" + at("admin.key");
  const auto by_certificate = ctl_without_token({agent, ca, cert, key, "pods"});
  BOOST_TEST(contains(by_certificate.out, "web"), by_certificate.err);
  const auto exec = ctl_without_token({agent, ca, cert, key, "exec", "web", "--", "/bin/sh", "-c", "echo in; exit 3"});
  BOOST_TEST(exec.out == "in\n", exec.err);
  BOOST_TEST(code(exec) == 3);

  const auto fails = [&](const std::vector<std::string>& arguments, std::string_view why) {
    const auto output = ctl_without_token(arguments);
    BOOST_TEST(code(output) == 1);
    BOOST_TEST(contains(output.err, why), output.err);
  };
  fails({agent, ca, "pods"}, "api.token");
  fails({agent, cert, key, "pods"}, "certificate");  // the agent's is of no CA that the system knows
  fails({agent, "--cacert=" + at("stranger-ca.crt"), cert, key, "pods"}, "certificate");
  fails({agent, ca, "--cert=" + at("stranger.crt"), "--key=" + at("stranger.key"), "pods"}, "cannot reach the agent");
  fails({agent, ca, cert, "pods"}, "--cert and --key go together");
  fails({agent, "--cacert=" + at("none.crt"), "pods"}, "none.crt");
  fails({agent, "--cacert=" + at("ca.key"), "pods"}, "ca.key");                     // no certificate in it
  fails({agent, ca, cert, "--key=" + at("stranger.key"), "pods"}, "stranger.key");  // not of this certificate
  ctl_flags = {"--agent=http://192.0.2.10:10250"};
  refuses({"pods"}, 1, "in the clear");
  ctl_flags = {agent, ca};
}

BOOST_FIXTURE_TEST_CASE(keelsonctl_finds_the_agent_of_its_configuration, CertificateNode) {
  const auto by_configuration = [&](const std::string& config, std::vector<std::string> arguments) {
    std::vector<std::string> command = {(binaries() / "keelsonctl").string(), "--config=" + config};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return on_node(command);
  };
  // The certificate names 192.0.2.10 alone; this agent is asked over loopback.
  const auto config = file("agent.yaml", "listen: 0.0.0.0:10299\nroot-dir: " + root_dir().string() +
                                             "\ntls-cert-file: " + at("server.crt") +
                                             "\ntls-private-key-file: " + at("server.key") + "\n");
  stop_agent(SIGKILL);
  ctl_flags = {"--config=" + config};
  start_agent({"--config=" + config});
  run_pod("web", kWait);
  BOOST_TEST(contains(by_configuration(config, {"pods"}).out, "web"));
  BOOST_TEST(by_configuration(config, {"exec", "web", "--", "/bin/echo", "-n", "in"}).out == "in");
  BOOST_TEST(contains(by_configuration(config, {"images"}).out, "busybox-test"));
  BOOST_TEST(contains(by_configuration(config, {"doctor"}).out, "127.0.0.1:10299: an agent answers"));

  // Whoever else listens there does not get the token.
  const auto stranger = file("stranger.yaml", "listen: 0.0.0.0:10299\nroot-dir: " + root_dir().string() +
                                                  "\ntls-cert-file: " + at("admin.crt") + "\n");
  const auto refused = by_configuration(stranger, {"pods"});
  BOOST_TEST(code(refused) == 1);
  BOOST_TEST(contains(refused.err, "has to show the certificate in " + at("admin.crt")), refused.err);

  // The command line wins; what is broken says so.
  BOOST_TEST(contains(
      by_configuration(stranger, {"--cacert=" + at("ca.crt"), "--agent=https://192.0.2.10:10299", "pods"}).out, "web"));
  const auto broken = by_configuration(file("broken.yaml", "\nlisten: 127.0.0.1:1\nlsten: 1\n"), {"pods"});
  BOOST_TEST(code(broken) == 2);
  BOOST_TEST(contains(broken.err, "broken.yaml:3: unknown setting \"lsten\""), broken.err);
  BOOST_TEST(code(by_configuration(at("none.yaml"), {"pods"})) == 2);
  BOOST_TEST(code(by_configuration(at("none.yaml"), {"validate", config})) == 1);  // about the file, not the agent

  // /etc may change under a running agent; what it goes by is in its run directory.
  const auto in_force = (run_dir() / "agent.yaml").string();
  file("agent.yaml", "listen: 127.0.0.1:1\n");
  ctl_flags = {"--config=" + in_force};
  BOOST_TEST(code(by_configuration(config, {"pods"})) == 1);
  BOOST_TEST(contains(by_configuration(in_force, {"pods"}).out, "web"));
  const auto drained = by_configuration(in_force, {"drain"});
  BOOST_TEST(contains(drained.out, "drained"), drained.err);
}

// ---- apply, delete, namespaces, drain ------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(apply_pushes_and_delete_takes_back, Node) {
  start_agent();
  const auto manifest = file("two.yaml", pod("a", kWait) + "---" + pod("b", kWait));
  const auto applied = ctl({"apply", "-f", manifest});
  BOOST_TEST(applied.out == "Pod default/a applied\nPod default/b applied\n", applied.err);
  BOOST_TEST(code(applied) == 0);
  require_eventually("both run", [&] { return pod_is_ready("a") && pod_is_ready("b"); });
  BOOST_TEST(code(ctl({"apply", "-f", manifest})) == 0);  // again is no error
  const auto by_stdin = on_node_shell(ctl_line({"delete", "-f", "-"}) + " < " + file("one.yaml", pod("a", kWait)));
  BOOST_TEST(by_stdin.out == "Pod default/a deleted\n", by_stdin.err);
  require_eventually("a is gone", [&] { return !pod_exists("a"); });
  BOOST_TEST(pod_is_ready("b"));
  refuses({"delete", "-f", file("one.yaml", pod("a", kWait))}, 1, "was not pushed");
  write_manifest("f.yaml", pod("f", kWait));
  require_eventually("f runs", [&] { return pod_is_ready("f"); });
  refuses({"delete", "-f", file("f.yaml", pod("f", kWait))}, 1, "f.yaml");  // it says whose it is
}

BOOST_FIXTURE_TEST_CASE(apply_says_what_is_wrong_with_what_it_is_given, Node) {
  start_agent();
  refuses({"apply"}, 2, "");
  refuses({"apply", "-f", "/no/such/file.yaml"}, 1, "/no/such/file.yaml");
  refuses({"apply", "-f", file("empty.yaml", "")}, 1, "no object");
  refuses({"apply", "-f",
           file("binary.yaml", std::string("\x7f"
                                           "ELF\0\1\2\xff\xfe",
                                           9))},
          1, "binary.yaml");
  auto broken = pod("a", kWait);
  broken.replace(broken.find("name: main"), 10, "name: MAIN");
  refuses({"apply", "-f", file("broken.yaml", broken)}, 1, "spec.containers[0].name");
  refuses({"apply", "-f", file("torn.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a\n")}, 1, "torn.yaml:");
  auto privileged = pod("a", kWait);
  privileged.replace(privileged.find("spec:"), 5, "spec:\n  hostNetwork: true");
  refuses({"apply", "-f", file("privileged.yaml", privileged)}, 1, "spec.hostNetwork");
  const auto big = file("big.yaml", pod("a", kWait) + "  # " + std::string(10u << 20, 'x') + "\n");
  refuses({"apply", "-f", big}, 1, "big.yaml");
  const auto map =
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  text: \"" + std::string(9u << 20, 'x') + "\"\n";
  refuses({"apply", "-f", file("map.yaml", map)}, 1, "map.yaml");
  BOOST_TEST(!pod_exists("a"));
  // The agent takes no harm, and what was right beside what was wrong is there.
  const auto mixed = ctl({"apply", "-f", file("mixed.yaml", pod("good", kWait) + "---" + broken)});
  BOOST_TEST(code(mixed) == 1);
  BOOST_TEST(contains(mixed.out, "Pod default/good applied"), mixed.out << mixed.err);
  require_eventually("good runs", [&] { return pod_is_ready("good"); });
}

BOOST_FIXTURE_TEST_CASE(namespaces_are_chosen_as_with_kubectl, Node) {
  start_agent();
  write_manifest("far.yaml", pod("far", kWait, "elsewhere") + R"(
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: elsewhere}
spec: {clusterIP: 10.96.0.9, selector: {no: one}, ports: [{port: 7}]}
)");
  require_eventually("far runs", [&] { return pod_is_ready("far"); });
  for (const char* list : {"pods", "services"}) {
    const auto none = ctl({list});
    BOOST_TEST(code(none) == 0);
    BOOST_TEST(none.out.empty());
    BOOST_TEST(none.err == "No resources found in default namespace; other namespaces have 1 (-A shows them).\n");
    BOOST_TEST(contains(ctl({list, "-n", "empty"}).err, "No resources found in empty namespace"));
  }
  for (const char* list : {"pods", "services", "backends"}) {
    BOOST_TEST(!contains(ctl({list}).out, "far"));
    BOOST_TEST(contains(ctl({list, "-A"}).out, "elsewhere"), list);
    BOOST_TEST(contains(ctl({list, "-n", "elsewhere"}).out, "far"), list);
    BOOST_TEST(contains(ctl({"-n", "elsewhere", list}).out, "far"), list);
  }
  BOOST_TEST(ctl({"exec", "-n", "elsewhere", "far", "--", "/bin/echo", "-n", "here"}).out == "here");
  BOOST_TEST(code(ctl({"logs", "-n", "elsewhere", "far"})) == 0);
  BOOST_TEST(code(ctl({"flows", "-n", "elsewhere"})) == 0);
  refuses({"logs", "-A", "far"}, 2, "across all namespaces");

  auto unnamed = pod("near", kWait);
  unnamed.erase(unnamed.find(", namespace: default"), 20);
  BOOST_TEST(ctl({"apply", "-n", "elsewhere", "-f", file("near.yaml", unnamed)}).out == "Pod elsewhere/near applied\n");
  refuses({"apply", "-n", "elsewhere", "-f", file("d.yaml", pod("d", kWait))}, 1, "another namespace");
  BOOST_TEST(ctl({"delete", "-n", "elsewhere", "-f", file("near.yaml", unnamed)}).out ==
             "Pod elsewhere/near deleted\n");
}

BOOST_FIXTURE_TEST_CASE(a_service_is_as_old_as_its_first_manifest, Node) {
  start_agent();
  const std::string service =
      "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n";
  write_manifest("s.yaml", service);
  const auto created = [&] {
    return shell("grep -o '\"creationTimestamp\": *\"[^\"]*\"' <<'E'\n" + ctl({"services", "-o", "json"}).out + "\nE")
        .out;
  };
  require_eventually("it is created", [&] { return contains(created(), "T"); });
  const auto first = created();
  BOOST_TEST(!contains(ctl({"services"}).out, "<unknown>"));
  shell("sleep 1.2");
  write_manifest("s.yaml", service + "# changed\n");
  stop_agent(SIGKILL);
  start_agent();
  require_eventually("it is there again", [&] { return contains(ctl({"services"}).out, "web"); });
  BOOST_TEST(created() == first);
}

BOOST_FIXTURE_TEST_CASE(drain_returns_when_all_is_gone_and_may_be_repeated, Node) {
  start_agent();
  run_pod("web", kWait);
  const auto drained = ctl({"drain"});
  BOOST_TEST(code(drained) == 0, drained.err);
  BOOST_TEST(contains(drained.out, "drained"));
  BOOST_TEST(ctl({"pods", "-A"}).out == "");
  BOOST_TEST(contains(ctl({"status"}).out, "draining"));
  BOOST_TEST(code(ctl({"drain"})) == 0);
  for (const char* list : {"services", "backends", "flows", "images"}) BOOST_TEST(code(ctl({list})) == 0, list);
}

// ---- images ----------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(images_are_listed_imported_pulled_removed_and_pruned, Node) {
  start_agent();
  run_pod("web", kWait);
  BOOST_TEST(contains(ctl({"images", "list"}).out, "docker.io/library/busybox-test"));
  BOOST_TEST(ctl({"images"}).out == ctl({"images", "list"}).out);
  BOOST_TEST(contains(ctl({"images", "list", "-o", "json"}).out, "\"ImageList\""));
  const auto archive = (binaries().parent_path() / "test-image.tar").string();
  BOOST_TEST(contains(ctl({"images", "import", archive, "--name", "second:1"}).out, "docker.io/library/second:1"));
  const auto piped = on_node_shell(ctl_line({"images", "import", "-", "--name", "third:1"}) + " < " + archive);
  BOOST_TEST(contains(piped.out, "docker.io/library/third:1"), piped.err);
  refuses({"images", "import", "/no/such.tar"}, 1, "/no/such.tar");
  refuses({"images", "import", file("garbage.tar", std::string(100'000, 'g'))}, 1, "garbage.tar");
  refuses({"images", "import", archive, "--name", "Not A Name"}, 1, "Not A Name");
  refuses({"images", "frobnicate"}, 2, "frobnicate");
  refuses({"images", "remove"}, 2, "reference");
  refuses({"images", "remove", "never-heard-of"}, 1, "never-heard-of");
  refuses({"images", "remove", "busybox-test"}, 1, "in use");
  BOOST_TEST(code(ctl({"images", "remove", "second:1"})) == 0);
  BOOST_TEST(!contains(ctl({"images", "list"}).out, "second"));
  refuses({"images", "pull", "127.0.0.1:5/app:1"}, 1, "127.0.0.1:5");
  refuses({"images", "pull", "no.such.host.example/app:1"}, 1, "no.such.host.example");
  refuses({"images", "pull", "::::"}, 1, "::::");

  background({"/usr/bin/env", "OTEL_TRACES_EXPORTER=none", "/usr/bin/docker-registry", "serve",
              file("registry.yml", fmt::format("version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: "
                                               "{{rootdirectory: {}/registry}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n",
                                               directory().string()))},
             directory() / "registry.log");
  // What `docker push` does, by hand.
  const auto pushed = on_node_shell(fmt::format(R"(set -e; mkdir {0}/layout; tar -xf {1} -C {0}/layout; cd {0}/layout
    base=http://127.0.0.1:5000/v2/app curl="curl -sSf --noproxy *"; set -f
    for i in $(seq 100); do $curl -o /dev/null http://127.0.0.1:5000/v2/ 2>/dev/null && break; sleep 0.1; done
    manifest=$(grep -o 'sha256:[0-9a-f]*' index.json | head -n 1 | cut -d: -f2)
    set +f; for blob in blobs/sha256/*; do set -f
      hex=$(basename $blob); [ $hex = $manifest ] && continue
      location=$($curl -X POST -D - -o /dev/null $base/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
      case $location in *\?*) mark='&' ;; *) mark='?' ;; esac
      $curl -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$blob "$location${{mark}}digest=sha256:$hex"
    done
    type=$(grep -o 'application/vnd.oci.image.manifest[^"]*' index.json | head -n 1)
    $curl -X PUT -H "Content-Type: $type" --data-binary @blobs/sha256/$manifest $base/manifests/1)",
                                                directory().string(), archive));
  BOOST_REQUIRE_MESSAGE(pushed.wait_status == 0, pushed.out << pushed.err);
  refuses({"images", "pull", "127.0.0.1:5000/app:2"}, 1, "not found");
  const auto pulled = ctl({"images", "pull", "127.0.0.1:5000/app:1"});
  BOOST_TEST(contains(pulled.out, "pulled 127.0.0.1:5000/app:1"), pulled.err);
  // All that no Pod uses goes; what one uses stays, under all its names.
  const auto other =
      shell(fmt::format("mkdir {0}/other && " KEELSON_SOURCE_DIR
                        "/tools/mkimage --root {0}/other --name docker.io/library/unused:1 --output {0}/other.tar",
                        directory().string()));
  BOOST_REQUIRE_MESSAGE(other.wait_status == 0, other.err);
  BOOST_TEST(code(ctl({"images", "import", (directory() / "other.tar").string()})) == 0);
  const auto pruned = ctl({"images", "prune"});
  BOOST_TEST(code(pruned) == 0, pruned.err);
  BOOST_TEST(contains(pruned.out, "removed docker.io/library/unused:1"), pruned.out);
  const auto left = ctl({"images", "list"}).out;
  BOOST_TEST((contains(left, "busybox-test") && contains(left, "third") && !contains(left, "unused")), left);
  BOOST_TEST(pod_is_ready("web"));
  // Without an agent the locks of the Pods' shims tell what is in use.
  stop_agent(SIGKILL);
  const auto alone = ctl({"images", "prune"});
  BOOST_TEST(code(alone) == 0);
  BOOST_TEST(contains(alone.err, "the agent does not answer"), alone.err);
  BOOST_TEST(code(ctl({"images", "list"})) == 0);
}

// ---- exec ------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(exec_on_a_terminal_has_its_size_and_its_keys, Node) {
  start_agent();
  run_pod("web", kWait);
  Person person(*this, ctl_command({"exec", "-it", "web", "--", "/bin/sh"}), 100, 40);
  person.types("stty size; echo tty=$(tty)\n");
  person.sees("40 100");
  person.sees("tty=/dev/pts/");
  person.resizes(120, 50);
  person.types("sleep 0.3; stty size\n");
  person.sees("50 120");
  person.types("sleep 1000\n");
  shell("sleep 0.5");
  person.types("\x03");
  person.types("echo interrupted=$?\n");
  person.sees("interrupted=130");
  person.types("exit 7\n");
  BOOST_TEST(person.wait() == 7);
  BOOST_TEST(person.terminal_is_as_before());
}

BOOST_FIXTURE_TEST_CASE(an_exec_whose_agent_goes_gives_the_terminal_back, Node) {
  start_agent();
  run_pod("web", kWait);
  Person person(*this, ctl_command({"exec", "-it", "web", "--", "/bin/sh"}), 80, 24);
  person.types("echo re''ady\n");
  person.sees("ready");
  stop_agent(SIGKILL);
  BOOST_TEST(person.wait() == 1);
  person.sees("keelsonctl: ");
  BOOST_TEST(person.terminal_is_as_before());
  start_agent();
}

BOOST_FIXTURE_TEST_CASE(exec_passes_stdin_whole_and_tells_how_it_ended, Node) {
  start_agent();
  run_pod("web", kWait);
  const auto through = on_node_shell("head -c 3000000 /dev/urandom > " + (directory() / "in").string() + "; " +
                                     ctl_line({"exec", "-i", "web", "--", "/bin/cat"}) + " < " +
                                     (directory() / "in").string() + " | cmp - " + (directory() / "in").string());
  BOOST_TEST(through.wait_status == 0, through.out << through.err);
  const auto counted = on_node_shell("printf 'a\\0b\\377' | " + ctl_line({"exec", "-i", "web", "--", "/bin/wc", "-c"}));
  BOOST_TEST(counted.out == "4\n", counted.err);
  // Without -i stdin is nobody's.
  BOOST_TEST(on_node_shell("echo x | " + ctl_line({"exec", "web", "--", "/bin/wc", "-c"})).out == "0\n");
  const auto both = ctl({"exec", "web", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 5"});
  BOOST_TEST(both.out == "out\n");
  BOOST_TEST(both.err == "err\n");
  BOOST_TEST(code(both) == 5);
  BOOST_TEST(code(ctl({"exec", "web", "--", "/bin/sh", "-c", "kill -9 $$"})) == 137);
  refuses({"exec", "web", "--", "/no/such/program"}, 1, "/no/such/program");
  refuses({"exec", "nobody", "--", "/bin/true"}, 1, "nobody");
  refuses({"exec", "web", "-c", "other", "--", "/bin/true"}, 1, "other");
  refuses({"exec", "web"}, 2, "command");
  refuses({"exec", "../../status", "--", "/bin/true"}, 1, "may not hold");
}

// ---- logs --------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(logs_are_cut_by_tail_and_since, Node) {
  start_agent();
  run_pod("web", "echo one; echo two; sleep 3; echo three; trap 'exit 0' TERM; while :; do sleep 0.1; done");
  require_eventually("all is said", [&] { return contains(ctl({"logs", "web"}).out, "three"); });
  BOOST_TEST(ctl({"logs", "web"}).out == "one\ntwo\nthree\n");
  BOOST_TEST(ctl({"logs", "web", "--tail", "2"}).out == "two\nthree\n");
  BOOST_TEST(ctl({"logs", "web", "--tail", "0"}).out == "");
  BOOST_TEST(ctl({"logs", "web", "--since", "2s"}).out == "three\n");
  BOOST_TEST(ctl({"logs", "web", "--since", "1h30m"}).out == "one\ntwo\nthree\n");
  BOOST_TEST(contains(ctl({"logs", "web", "--timestamps", "--tail=1"}).out, "Z three\n"));
  BOOST_TEST(ctl({"logs", "default/web", "-c", "main", "--tail=1"}).out == "three\n");
  BOOST_TEST(ctl({"logs", "web", "--tail=-1"}).out == ctl({"logs", "web"}).out);  // kubectl's default
  refuses({"logs", "web", "--tail", "-2"}, 2, "--tail: Value -2 not in range -1 to 9223372036854775807");
  refuses({"logs", "web", "--tail", "many"}, 2, "--tail");
  refuses({"logs", "web", "--since", "yesterday"}, 2, "yesterday");
  refuses({"logs"}, 2, "pod");
  refuses({"logs", "nobody"}, 1, "nobody");
  refuses({"logs", "web", "-c", "other"}, 1, "it has main");
  refuses({"logs", "web", "-p"}, 1, "previous terminated container");
  refuses({"logs", "we%2Fb"}, 1, "not found");
}

BOOST_FIXTURE_TEST_CASE(a_followed_log_ends_with_its_container_and_the_one_before_is_kept, Node) {
  start_agent();
  run_pod("web", "echo begin; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo end; exit 1");
  background(ctl_command({"logs", "-f", "web"}), directory() / "followed");
  const auto followed = [&] { return shell("cat " + (directory() / "followed").string()).out; };
  require_eventually("it begins", [&] { return followed() == "begin\n"; });
  ctl({"exec", "web", "--", "/bin/touch", "/tmp/go"});
  require_eventually("it goes on", [&] { return followed() == "begin\nend\n"; });
  require_eventually("the one before is kept", [&] { return ctl({"logs", "-p", "web"}).out == "begin\nend\n"; });
}

BOOST_FIXTURE_TEST_CASE(a_followed_log_whose_agent_goes_is_an_error, Node) {
  start_agent();
  run_pod("web", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done");
  const auto log = directory() / "followed";
  background({"/bin/bash", "-c", ctl_line({"logs", "-f", "web"}) + "; echo ended=$?"}, log);
  require_eventually("lines come", [&] { return contains(shell("cat " + log.string()).out, "line 3"); });
  stop_agent(SIGKILL);
  require_eventually("it ends", [&] { return contains(shell("cat " + log.string()).out, "ended="); });
  const auto text = shell("cat " + log.string()).out;
  BOOST_TEST(contains(text, "ended=1"), text);
  BOOST_TEST(contains(text, "keelsonctl: "), text);
  start_agent();
}

BOOST_FIXTURE_TEST_CASE(binary_and_endless_logs_pass_through, Node) {
  start_agent();
  run_pod("web", "printf 'a\\\\0b\\\\377\\\\n'; head -c 1000000 /dev/zero | tr '\\\\0' x; echo; sleep 1000");
  require_eventually("all is said",
                     [&] { return on_node_shell(ctl_line({"logs", "web"}) + " | wc -c").out == "1000006\n"; });
  BOOST_TEST(on_node_shell(ctl_line({"logs", "web"}) + " | head -c 5 | od -An -tx1 | tr -d ' \\n'").out ==
             "610062ff0a");
  // A reader that goes away is no error worth a word.
  const auto cut = on_node_shell("set -o pipefail; " + ctl_line({"logs", "web"}) + " | head -c 1 > /dev/null");
  BOOST_TEST(cut.err == "");
}

// ---- flows, doctor -----------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(flows_are_told_as_they_happen, Node) {
  start_agent();
  write_manifest("s.yaml", R"(
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {clusterIP: 10.96.0.9, selector: {no: one}, ports: [{port: 7}]}
)");
  require_eventually("the Service is there", [&] { return contains(ctl({"backends"}).out, "nobody"); });
  background(ctl_command({"flows", "--follow"}), directory() / "flows");
  shell("sleep 0.5");
  on_node({(binaries() / "demo-echo").string(), "ask", "tcp", "10.96.0.9", "7"});
  require_eventually(
      "the flow is told",
      [&] { return contains(shell("cat " + (directory() / "flows").string()).out, "default/nobody"); }, 2s);
}

BOOST_FIXTURE_TEST_CASE(what_others_do_to_the_pod_network_is_in_status_and_metrics, Node) {
  on_node_shell(
      "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'");
  start_agent();
  const auto metrics = [&] { return on_node({"/usr/bin/curl", "-sS", "http://127.0.0.1:10250/metrics"}).out; };
  require_eventually("the FORWARD policy is told", [&] { return contains(ctl({"status"}).out, "FORWARD policy: "); });
  BOOST_TEST(contains(ctl({"status"}).out, "iptables -I FORWARD -i kl"));
  BOOST_TEST(contains(metrics(), "keelson_pod_network_problems{subject=\"FORWARD policy\"} 1"));
  BOOST_TEST(contains(agent_log(), "FORWARD policy"));
  const auto prefix = shell("grep -o 'FORWARD -i kl[0-9a-f]*' <<'E'\n" + ctl({"status"}).out + "\nE").out.substr(11, 5);
  on_node_shell(
      fmt::format("nft insert rule ip filter FORWARD iifname '\"{0}*\"' accept; "
                  "nft insert rule ip filter FORWARD oifname '\"{0}*\"' accept; sysctl -q net.ipv4.ip_forward=0",
                  prefix));
  require_eventually(
      "the next look sees the one mended and the other broken",
      [&] {
        const auto status = ctl({"status"}).out;
        return !contains(status, "FORWARD policy") && contains(status, "net.ipv4.ip_forward was switched off");
      },
      30s);
  BOOST_TEST(contains(metrics(), "keelson_pod_network_problems{subject=\"FORWARD policy\"} 0"));
  BOOST_TEST(contains(metrics(), "keelson_pod_network_problems{subject=\"forwarding\"} 1"));
  on_node_shell("nft delete table ip filter; sysctl -q net.ipv4.ip_forward=1");
}

BOOST_FIXTURE_TEST_CASE(doctor_finds_dockers_forward_policy_and_what_the_network_lacks, Node) {
  start_agent();
  const std::vector<std::string> doctor = {"doctor",
                                           "--",
                                           "--config",
                                           "",
                                           "--run-dir=" + run_dir().string(),
                                           "--pod-cidr=10.244.0.0/24,fd00:244::/64",
                                           "--service-cidr=10.96.0.0/16,fd00:96::/112"};
  const auto good = ctl(doctor);
  BOOST_TEST(contains(good.out, "FORWARD policy"), good.out << good.err);
  BOOST_TEST(contains(good.out, "conntrack"), good.out);
  BOOST_TEST(contains(good.out, "an agent answers"), good.out);
  BOOST_TEST(!contains(good.out, "DROP"), good.out);
  // As Docker leaves it.
  on_node_shell(
      "iptables-nft -P FORWARD DROP || nft 'add table ip filter; add chain ip filter FORWARD { type filter "
      "hook forward priority 0; policy drop; }'");
  const auto cut_off = ctl(doctor);
  BOOST_TEST(code(cut_off) == 1);
  BOOST_TEST(contains(cut_off.out, "fail  FORWARD policy"), cut_off.out);
  BOOST_TEST(contains(cut_off.out, "DOCKER-USER"), cut_off.out);
  on_node_shell("nft delete table ip filter");
  BOOST_TEST(contains(ctl({"doctor", "--", "--config", "", "--pod-cidr=192.0.2.0/25"}).out, "fail  CIDR"));
  BOOST_TEST(code(ctl({"doctor", "--", "--no-such-flag"})) == 2);
}

// ---- man pages -------------------------------------------------------------------------------

namespace {

// The long flags of `text`, which `mark` stands before.
std::set<std::string> flags_in(const std::string& text, std::string_view mark) {
  std::set<std::string> flags;
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos;) {
    at += mark.size();
    size_t end = at;
    while (end < text.size() && (std::islower(static_cast<unsigned char>(text[end])) != 0 || text[end] == '-')) ++end;
    if (end > at) flags.insert(text.substr(at, end - at));
    at = end;
  }
  return flags;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(the_man_pages_have_every_flag_and_command_of_help_and_no_other, Sandbox) {
  const auto page = [&](const std::string& name) {
    const auto text = keelson::host::read_file(KEELSON_SOURCE_DIR "/docs/man/" + name);
    BOOST_REQUIRE(text);
    return *text;
  };
  const auto help = [&](const std::string& program, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), (binaries() / program).string());
    arguments.emplace_back("--help");
    const auto output = on_node(arguments);
    BOOST_TEST(code(output) == 0);
    return output.out;
  };
  const auto compare = [](const std::set<std::string>& helped, const std::set<std::string>& paged) {
    BOOST_TEST(helped.size() > 5U);
    for (const auto& flag : helped) BOOST_TEST(paged.contains(flag), "--" << flag << " is not in the page");
    for (const auto& flag : paged) BOOST_TEST(helped.contains(flag), "--" << flag << " is in the page alone");
  };
  compare(flags_in(help("keelson-agent", {}), "--"), flags_in(page("keelson-agent.8"), "Fl -"));

  const auto ctl_page = page("keelsonctl.1");
  std::string helps = help("keelsonctl", {});
  const auto commands = [](const std::string& text) {
    std::vector<std::string> names;
    for (size_t at = text.find("ubcommands:\n"); (at = text.find("\n  ", at)) != std::string::npos; at += 3) {
      if (text[at + 3] != ' ') names.push_back(text.substr(at + 3, text.find(' ', at + 3) - at - 3));
    }
    return names;
  };
  const auto verbs = commands(helps);
  BOOST_TEST(verbs.size() > 10U);
  for (const auto& verb : verbs) {
    BOOST_TEST(contains(ctl_page, ".It Ic " + verb), verb << " is not in the page");
    helps += help("keelsonctl", {verb});
  }
  for (const auto& verb : commands(help("keelsonctl", {"images"}))) {
    if (verb != "list") BOOST_TEST(contains(ctl_page, ".It Ic images " + verb), verb << " is not in the page");
    helps += help("keelsonctl", {"images", verb});
  }
  compare(flags_in(helps, "--"), flags_in(ctl_page, "Fl -"));
}
