#include "test/integration/sandbox.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <rapidjson/document.h>
#include <rapidjson/pointer.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <thread>

#include "test/patience.h"

namespace keelson::test {

using host::Output;
using host::Path;
using namespace std::chrono_literals;

namespace {

constexpr int kCommandTimeoutMs = 45000;  // a drain may wait for a grace period of 30 s
// Sanitizers make the agent several times slower; what they add is not what is tested.
const std::vector<std::string> kEnvironment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                                               "ASAN_OPTIONS=detect_stack_use_after_return=0:exitcode=99",
                                               "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1", "ETCDCTL_API=3"};

Path first_mount(std::string_view type) {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, target, kind, rest;
  while (mounts >> device >> target >> kind && std::getline(mounts, rest)) {
    if (kind == type) return target;
  }
  return {};
}

std::vector<Path> cgroup_v1_mounts() {
  std::vector<Path> result;
  std::ifstream mounts("/proc/self/mounts");
  std::string device, target, kind, rest;
  while (mounts >> device >> target >> kind && std::getline(mounts, rest)) {
    if (kind == "cgroup") result.emplace_back(target);
  }
  return result;
}

void end(host::Child& child, int signal) {
  (void)host::send_signal(child.pidfd, signal);
  pollfd polled{child.pidfd.get(), POLLIN, 0};
  if (::poll(&polled, 1, patient(15000)) == 0) {
    (void)host::send_signal(child.pidfd, SIGKILL);
    ::poll(&polled, 1, patient(5000));
    BOOST_ERROR(fmt::format("process {} did not end after signal {}", child.identity.pid, signal));
  }
  auto status = host::reap(child.pidfd);
  if (status && WIFEXITED(*status) && WEXITSTATUS(*status) == 99) BOOST_ERROR("a sanitizer found something");
}

}  // namespace

Path Sandbox::binaries() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

void Sandbox::make_places() {
  static int count = 0;
  ::signal(SIGPIPE, SIG_IGN);
  name_ = fmt::format("klt{}-{}", ::getpid(), ++count);
  directory_ = "/tmp/keelson-test-" + name_;
  const Path v2 = first_mount("cgroup2");
  BOOST_REQUIRE_MESSAGE(!v2.empty(), "no cgroup v2 hierarchy is mounted");
  cgroup_ = v2 / name_;
  if (first_mount("bpf").empty()) must_run({"/bin/mount", "-t", "bpf", "bpf", "/sys/fs/bpf"});
  BOOST_REQUIRE(host::make_directories(directory_, 0700));
  BOOST_REQUIRE(host::make_directories(manifests()));
  BOOST_REQUIRE(host::make_directories(cgroup_ / "host"));
}

Sandbox::Sandbox() {
  make_places();
  outside_ = name_ + "-out";
  must_run({"/bin/bash", "-ec", R"(
    node=$0 outside=$0-out
    ip netns add $node; ip netns add $outside
    ip -n $node link set lo up; ip -n $outside link set lo up
    ip -n $node link add eth0 type veth peer name eth0 netns $outside
    ip -n $node address add 192.0.2.10/24 dev eth0
    ip -n $node address add fd00:2::10/64 dev eth0 nodad
    ip -n $outside address add 192.0.2.20/24 dev eth0
    ip -n $outside address add fd00:2::20/64 dev eth0 nodad
    ip -n $node link set eth0 up; ip -n $outside link set eth0 up
    ip -n $outside route add 10.96.0.0/16 via 192.0.2.10
    ip -n $outside route add 10.244.0.0/24 via 192.0.2.10
    ip -n $outside route add fd00:96::/112 via fd00:2::10
    ip -n $outside route add fd00:244::/64 via fd00:2::10)",
            name_});
}

Sandbox::Sandbox(Sandbox& first) : outside_(first.outside_), first_(false) {
  make_places();
  node_name_ = "node2";
  ip_ = "192.0.2.11";
  ip6_ = "fd00:2::11";
  pod_cidr_ = "10.244.1.0/24,fd00:244:0:1::/64";
  // The cable between the first node and the outside host becomes a switch in the latter.
  must_run({"/bin/bash", "-ec", R"(
    node=$0 outside=$1
    if ! ip -n $outside link show port1 >/dev/null 2>&1; then
      ip -n $outside link set eth0 down
      ip -n $outside link set eth0 name port1
      ip -n $outside address flush dev port1
      ip -n $outside link add eth0 type bridge
      ip -n $outside link set port1 master eth0 up
      ip -n $outside link set eth0 up
      ip -n $outside address add 192.0.2.20/24 dev eth0
      ip -n $outside address add fd00:2::20/64 dev eth0 nodad
      ip -n $outside route add 10.96.0.0/16 via 192.0.2.10
      ip -n $outside route add 10.244.0.0/24 via 192.0.2.10
    fi
    ip netns add $node
    ip -n $node link set lo up
    ip -n $node link add eth0 type veth peer name port2 netns $outside
    ip -n $node address add 192.0.2.11/24 dev eth0
    ip -n $node address add fd00:2::11/64 dev eth0 nodad
    ip -n $node link set eth0 up
    ip -n $outside link set port2 master eth0 up)",
            name_, outside_});
}

Sandbox::~Sandbox() {
  try {
    for (auto& child : background_) end(child, SIGTERM);
    if (ran_agent_) drain();
    if (agent_runs()) stop_agent(SIGTERM);
    if (etcd_) stop_etcd(SIGTERM);
    const std::string left = what_is_left();
    BOOST_CHECK_MESSAGE(left.empty(), "left behind by the agent:\n" << left);
    // Whatever it was, the next test starts clean.
    if (!left.empty()) {
      shell(
          fmt::format("for p in $(find {0} -name cgroup.kill | sort -r); do echo 1 > $p; done; sleep 0.3; "
                      "find {0} /sys/fs/cgroup/*/{1} -depth -type d -exec rmdir {{}} + ; rm -rf /sys/fs/bpf/{1}",
                      cgroup_.string(), name_));
    }
    shell(fmt::format("rmdir {0}/host {0}; ip netns delete {1}", cgroup_.string(), name_));
    if (first_) shell(fmt::format("ip netns delete {}", outside_));
    if (auto removed = host::remove_tree(directory_); !removed) BOOST_ERROR(removed.error().message);
  } catch (const std::exception& error) {
    BOOST_ERROR(error.what());
  } catch (...) {  // a BOOST_REQUIRE, which has been reported
  }
}

std::string Sandbox::what_is_left() const {
  std::string left;
  const auto add = [&left](const std::string& line) { left += "  " + line + "\n"; };
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(cgroup_, ignored)) {
    if (entry.is_directory() && entry.path().filename() != "host") add("cgroup " + entry.path().string());
  }
  for (const auto& hierarchy : cgroup_v1_mounts()) {
    const Path mirror = hierarchy / name_;
    if (std::filesystem::exists(mirror)) add("cgroup " + mirror.string());
  }
  if (std::filesystem::exists(bpffs()) && !std::filesystem::is_empty(bpffs(), ignored))
    add("pins in " + bpffs().string());
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(directory_.string()) != std::string::npos) add("mount " + line);
  }
  const auto list = [&](const std::string& what, const std::string& command) {
    auto output =
        host::run({.argv = {"/bin/bash", "-c", command}, .environment = kEnvironment}, "", patient(kCommandTimeoutMs));
    if (output && !output->out.empty()) add(what + ": " + output->out);
  };
  if (!ran_agent_) return left;
  const std::string in_node = "nsenter --net=/run/netns/" + name_ + " -- ";
  list("nft", in_node + "nft list tables");
  list("routes",
       in_node + "ip route show | grep -v 'dev eth0'; " + in_node + "ip -6 route show | grep -vE 'dev (eth0|lo)'");
  list("links", in_node + "ip -o link | grep -vE ': (lo|eth0)[@:]'");
  list("tc", in_node + "tc qdisc show dev eth0 | grep -E 'clsact|ingress'");
  list("sysctl", in_node + "sh -c 'cat /proc/sys/net/ipv4/ip_forward' | grep -v 0");
  // One that was forked and is about to end is not left behind: what stays is.
  list("processes", "look() { for p in /proc/[0-9]*; do tr '\\0' ' ' 2>/dev/null <$p/cmdline | grep -F '" +
                        directory_.string() +
                        "' | grep -v etcd; done; }; for i in 1 2 3 4 5 6 7 8 9 10; do [ -n \"$(look)\" ] || exit 0; "
                        "sleep 0.3; done; look");
  return left;
}

std::vector<std::string> Sandbox::in_namespace(const std::string& name_space, const std::vector<std::string>& command,
                                               bool in_cgroup) const {
  std::vector<std::string> argv = {
      "/bin/bash", "-c",
      (in_cgroup ? "echo $$ > " + (cgroup_ / "host/cgroup.procs").string() + " && " : std::string()) +
          "exec nsenter --net=/run/netns/" + name_space + " -- \"$@\"",
      "--"};
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

Output Sandbox::must_run(const std::vector<std::string>& command) {
  auto output = host::run({.argv = command, .environment = kEnvironment}, "", patient(kCommandTimeoutMs));
  BOOST_REQUIRE_MESSAGE(output, output.error().message);
  BOOST_REQUIRE_MESSAGE(output->wait_status == 0, fmt::format("{}\n{}", fmt::join(command, " "), output->err));
  return *output;
}

Output Sandbox::shell(const std::string& script) {
  auto output =
      host::run({.argv = {"/bin/bash", "-c", script}, .environment = kEnvironment}, "", patient(kCommandTimeoutMs));
  BOOST_REQUIRE_MESSAGE(output, output.error().message);
  return *output;
}

Output Sandbox::on_node(const std::vector<std::string>& command) {
  auto output = host::run({.argv = in_namespace(name_, command, true), .environment = kEnvironment}, "",
                          patient(kCommandTimeoutMs));
  BOOST_REQUIRE_MESSAGE(output, output.error().message);
  return *output;
}

Output Sandbox::outside(const std::vector<std::string>& command) {
  auto output = host::run({.argv = in_namespace(outside_, command, false), .environment = kEnvironment}, "",
                          patient(kCommandTimeoutMs));
  BOOST_REQUIRE_MESSAGE(output, output.error().message);
  return *output;
}

host::Child& Sandbox::background(const std::vector<std::string>& command, const Path& output) {
  auto file = host::open_file(output, O_WRONLY | O_CREAT | O_APPEND, 0644);
  BOOST_REQUIRE(file);
  auto child = host::spawn({.argv = in_namespace(name_, command, true),
                            .environment = kEnvironment,
                            .fds = {{file->get(), 1}, {file->get(), 2}}});
  BOOST_REQUIRE_MESSAGE(child, child.error().message);
  background_.push_back(std::move(*child));
  return background_.back();
}

host::Child Sandbox::spawn_outside(const std::vector<std::string>& command, const Path& output) {
  auto file = host::open_file(output, O_WRONLY | O_CREAT | O_APPEND, 0644);
  BOOST_REQUIRE(file);
  auto child = host::spawn({.argv = in_namespace(outside_, command, false),
                            .environment = kEnvironment,
                            .fds = {{file->get(), 1}, {file->get(), 2}}});
  BOOST_REQUIRE_MESSAGE(child, child.error().message);
  return std::move(*child);
}

void Sandbox::end_child(host::Child& child, int signal) { end(child, signal); }

host::Child Sandbox::on_terminal(const std::vector<std::string>& command, const host::Fd& terminal) {
  std::vector<std::string> argv = {"/usr/bin/setsid", "--ctty", "--wait"};
  const auto inside = in_namespace(name_, command, true);
  argv.insert(argv.end(), inside.begin(), inside.end());
  auto child = host::spawn({.argv = argv,
                            .environment = kEnvironment,
                            .fds = {{terminal.get(), 0}, {terminal.get(), 1}, {terminal.get(), 2}}});
  BOOST_REQUIRE_MESSAGE(child, child.error().message);
  return std::move(*child);
}

std::vector<std::string> Sandbox::ctl_command(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {(binaries() / "keelsonctl").string(), "--root-dir", root_dir().string()};
  // Not what this host may have in /etc.
  if (std::ranges::none_of(ctl_flags, [](const auto& flag) { return flag.starts_with("--config"); })) {
    command.insert(command.end(), {"--config", ""});
  }
  command.insert(command.end(), ctl_flags.begin(), ctl_flags.end());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Output Sandbox::ctl(const std::vector<std::string>& arguments) { return on_node(ctl_command(arguments)); }

std::vector<std::string> Sandbox::agent_command(const std::vector<std::string>& flags) const {
  std::vector<std::string> command = {(binaries() / "keelson-agent").string(),
                                      "--config",  // not what this host may have in /etc
                                      "",
                                      "--root-dir=" + root_dir().string(),
                                      "--run-dir=" + run_dir().string(),
                                      "--pod-manifest-path=" + manifests().string(),
                                      "--bpffs=" + bpffs().string(),
                                      "--cgroup-root=" + cgroup_.string(),
                                      "--pod-cgroup=" + pod_cgroup().string(),
                                      "--hostname-override=" + node_name_,
                                      "--v=debug"};
  const auto given = [&flags](std::string_view flag) {
    return std::ranges::any_of(flags, [flag](const auto& text) { return text.starts_with(flag); });
  };
  if (!given("--node-ip")) command.push_back(fmt::format("--node-ip={},{}", ip_, ip6_));
  // In a cluster the pod CIDR is the master's to give.
  if (!given("--pod-cidr") && !given("--kubeconfig") && !given("--master"))
    command.push_back("--pod-cidr=" + pod_cidr_);
  if (!given("--service-cidr")) command.emplace_back("--service-cidr=10.96.0.0/16,fd00:96::/112");
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

Output Sandbox::run_agent_to_its_end(const std::vector<std::string>& flags) { return on_node(agent_command(flags)); }

void Sandbox::start_agent(const std::vector<std::string>& flags) {
  auto log = host::open_file(directory_ / "agent.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
  BOOST_REQUIRE(log);
  auto child = host::spawn({.argv = in_namespace(name_, agent_command(flags), true),
                            .environment = kEnvironment,
                            .fds = {{log->get(), 1}, {log->get(), 2}}});
  BOOST_REQUIRE_MESSAGE(child, child.error().message);
  agent_ = std::move(*child);
  ran_agent_ = true;
  last_flags_ = flags;
  require_eventually("the agent answers", [this] {
    BOOST_REQUIRE_MESSAGE(agent_runs(), "the agent ended:\n" << agent_log());
    return ctl({"status"}).wait_status == 0;
  });
}

bool Sandbox::agent_runs() const {
  if (!agent_) return false;
  pollfd polled{agent_->pidfd.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 0;
}

void Sandbox::stop_agent(int signal) {
  BOOST_REQUIRE(agent_);
  end(*agent_, signal);
  agent_.reset();
}

std::string Sandbox::agent_log() const {
  auto text = host::read_file(directory_ / "agent.log", 64U << 20);
  if (!text) return text.error().message;
  constexpr size_t kTail = 6000;
  return text->size() > kTail ? text->substr(text->size() - kTail) : *text;
}

void Sandbox::drain() {
  if (!agent_runs()) {
    if (agent_) stop_agent(SIGKILL);
    start_agent(last_flags_);
  }
  auto drained = ctl({"drain"});
  BOOST_CHECK_MESSAGE(drained.wait_status == 0, "drain failed: " << drained.out << drained.err << "\n" << agent_log());
}

void Sandbox::write_manifest(std::string_view name, std::string_view text) {
  BOOST_REQUIRE(host::write_file_atomically(manifests() / name, text));
}

void Sandbox::remove_manifest(std::string_view name) { std::filesystem::remove(manifests() / name); }

void Sandbox::import_test_image() {
  // Built once per test program, kept beside the binaries.
  const Path archive = binaries().parent_path() / "test-image.tar";
  if (!std::filesystem::exists(archive) ||
      std::filesystem::last_write_time(archive) < std::filesystem::last_write_time(binaries() / "demo-echo")) {
    must_run({KEELSON_SOURCE_DIR "/test/integration/make_test_image", binaries().string(), archive.string()});
  }
  auto imported = ctl({"images", "import", archive.string()});
  BOOST_REQUIRE_MESSAGE(imported.wait_status == 0, imported.out << imported.err);
}

bool Sandbox::eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + patient(limit);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

void Sandbox::require_eventually(std::string_view what, const std::function<bool()>& holds,
                                 std::chrono::milliseconds limit) {
  if (eventually(holds, limit)) return;
  BOOST_FAIL(fmt::format("not within {} ms: {}\n--- pods\n{}\n--- agent log\n{}", patient(limit).count(), what,
                         agent_runs() ? ctl({"pods", "-o", "wide"}).out : "(no agent)", agent_log()));
}

std::string Sandbox::pods_json() { return ctl({"pods", "-A", "-o", "json"}).out; }

namespace {

const rapidjson::Value* find_pod(const rapidjson::Document& list, std::string_view name) {
  if (list.HasParseError() || !list.IsObject() || !list.HasMember("items")) return nullptr;
  for (const auto& pod : list["items"].GetArray()) {
    if (name == pod["metadata"]["name"].GetString()) return &pod;
  }
  return nullptr;
}

std::string text_of(const rapidjson::Value& value) {
  if (value.IsString()) return value.GetString();
  if (value.IsBool()) return value.GetBool() ? "true" : "false";
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  return {};
}

}  // namespace

std::string Sandbox::pod_value(std::string_view name, std::string_view pointer) {
  rapidjson::Document list;
  list.Parse(pods_json().c_str());
  const auto* pod = find_pod(list, name);
  if (pod == nullptr) return {};
  const auto* value = rapidjson::Pointer(pointer.data(), pointer.size()).Get(*pod);
  return value == nullptr ? std::string() : text_of(*value);
}

std::string Sandbox::pod_condition(std::string_view name, std::string_view type) {
  rapidjson::Document list;
  list.Parse(pods_json().c_str());
  const auto* pod = find_pod(list, name);
  const auto* conditions = pod == nullptr ? nullptr : rapidjson::Pointer("/status/conditions").Get(*pod);
  if (conditions == nullptr) return {};
  for (const auto& condition : conditions->GetArray()) {
    if (type == condition["type"].GetString()) return condition["status"].GetString();
  }
  return {};
}

std::string Sandbox::etcd_endpoint() {
  if (!etcd_) start_etcd();
  return "http://127.0.0.1:2379";
}

void Sandbox::start_etcd() {
  auto log = host::open_file(directory_ / "etcd.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
  BOOST_REQUIRE(log);
  auto child = host::spawn(
      {.argv = in_namespace(name_,
                            {"/usr/bin/etcd", "--data-dir", (directory_ / "etcd").string(), "--listen-client-urls",
                             "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
                             "--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync"},
                            false),
       .environment = kEnvironment,
       .fds = {{log->get(), 1}, {log->get(), 2}}});
  BOOST_REQUIRE_MESSAGE(child, child.error().message);
  etcd_ = std::move(*child);
  BOOST_REQUIRE_MESSAGE(eventually([this] { return etcdctl({"endpoint", "health"}).wait_status == 0; }, 15s),
                        "etcd does not answer");
}

void Sandbox::stop_etcd(int signal) {
  BOOST_REQUIRE(etcd_);
  end(*etcd_, signal);
  etcd_.reset();
}

Output Sandbox::etcdctl(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"/usr/bin/etcdctl", "--endpoints=http://127.0.0.1:2379"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return on_node(command);
}

}  // namespace keelson::test
