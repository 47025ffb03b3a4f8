// The pod runtime against the kernel, as root: an image from busybox-static, a scratch
// cgroup, directories of its own, no network. Each test leaves nothing behind, and
// checks it.

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "agent/runtime/devices.h"
#include "agent/runtime/runtime.h"
#include "agent/runtime/shim/log.h"
#include "host/cgroup.h"
#include "host/loop.h"
#include "host/mount.h"
#include "host/process.h"
#include "test/patience.h"

namespace {

using namespace keelson;
using host::Error;
using host::Path;
using host::Result;
using host::Status;
using test::patient;
using namespace std::chrono_literals;
using namespace std::string_literals;

std::string read_all(const Path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Words of the log's lines of one stream, without time and tags.
std::string log_text(const Path& path, std::string_view stream = "stdout") {
  std::istringstream lines(read_all(path));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string stamp, of, tag;
    words >> stamp >> of >> tag;
    words.get();
    std::string rest;
    std::getline(words, rest);
    if (of == stream) text += rest + (tag == "F" ? "\n" : "");
  }
  return text;
}

Path shim_path() {
  if (const char* given = std::getenv("KEELSON_PODSHIM")) return given;
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "podshim";
}

// A layer with busybox, its applets and two users: made once for all tests.
struct Image {
  Path directory;
  Image() {
    directory = "/tmp/keelson-runtime-image-" + std::to_string(::getpid());
    // Beside the binaries, where make_test_image keeps it too: not every machine has a network.
    const Path downloads = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "downloads";
    const std::string script =
        "set -e; mkdir -p " + downloads.string() + "; cd " + downloads.string() +
        "; ls busybox-static_*.deb >/dev/null 2>&1 || apt-get download -q busybox-static >/dev/null 2>&1; "
        "d=$(mktemp -d); dpkg-deb -x $(ls busybox-static_*.deb | head -n 1) $d; "
        "mkdir -p " +
        directory.string() + "; cd " + directory.string() +
        "; mkdir -p bin etc tmp root proc; chmod 1777 tmp; "
        "cp $d/bin/busybox bin/; rm -r $d; bin/busybox --list > applets; "
        "printf 'root:x:0:0:root:/root:/bin/sh\\nweb:x:1234:1235::/home/web:/bin/sh\\n' > etc/passwd; "
        "printf 'root:x:0:\\nweb:x:1235:\\nextra:x:1300:web\\n' > etc/group; ln -s /nowhere dangling; "
        "mkdir -p hostile; ln -s ../../../../../../../../etc hostile/link";
    if (std::system(script.c_str()) != 0) throw std::runtime_error("cannot make the test image");
    std::ifstream applets(directory / "applets");
    for (std::string applet; applets >> applet;) {
      if (applet != "busybox") std::filesystem::create_symlink("busybox", directory / "bin" / applet);
    }
    std::filesystem::remove(directory / "applets");
  }
  ~Image() { std::filesystem::remove_all(directory); }
};
BOOST_GLOBAL_FIXTURE(Image);

const Path& image() {
  static const Path path = "/tmp/keelson-runtime-image-" + std::to_string(::getpid());
  return path;
}

struct Events : api::PodRuntimeEvents {
  std::vector<api::ExitRecord> exits;
  std::vector<std::string> lost;
  void container_exited(const api::ExitRecord& record) override { exits.push_back(record); }
  void sandbox_lost(const std::string& uid, const std::string&) override { lost.push_back(uid); }
};

struct Node {
  std::unique_ptr<host::Loop> loop = host::Loop::create(2);
  Events events;
  Path directory;
  Path unified;
  Path cgroup_root;
  std::unique_ptr<runtime::Runtime> runtime;
  std::vector<std::string> pods;

  Node() {
    static int count = 0;
    const std::string name = "keelson-rt-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    directory = "/tmp/" + name;
    std::filesystem::create_directories(directory);
    auto mounts = host::CgroupMounts::parse(read_all("/proc/self/mountinfo"));
    BOOST_REQUIRE(mounts);
    unified = mounts->unified;
    cgroup_root = unified / name;
    std::filesystem::create_directory(cgroup_root);
    start_agent();
    auto recovered = await<std::vector<api::RecoveredPod>>([&](auto done) { runtime->recover(std::move(done)); });
    BOOST_REQUIRE(recovered);
    BOOST_TEST(recovered->empty());
  }
  ~Node() {
    if (!runtime) start_agent();
    for (const auto& uid : pods) {
      auto removed = status([&](auto done) { runtime->remove_sandbox(uid, true, std::move(done)); });
      BOOST_TEST(removed.has_value(), (removed ? "" : removed.error().message));
    }
    auto drained = status([&](auto done) { runtime->drained(std::move(done)); });
    BOOST_TEST(drained.has_value(), (drained ? "" : drained.error().message));
    runtime.reset();
    BOOST_TEST(::rmdir(cgroup_root.c_str()) == 0);
    check_nothing_left();
    std::filesystem::remove_all(directory);
  }
  void check_nothing_left() {
    const std::string name = directory.filename().string();
    BOOST_TEST(!std::filesystem::exists(directory / "run/pods"));
    BOOST_TEST(std::filesystem::is_empty(directory / "root/pods"));
    BOOST_TEST(read_all("/proc/self/mountinfo").find(name) == std::string::npos);
    for (const auto& entry : std::filesystem::directory_iterator(unified.parent_path())) {
      BOOST_TEST(!std::filesystem::exists(entry.path() / name), entry.path().string());
    }
  }

  void start_agent() {
    auto created = runtime::Runtime::create(*loop,
                                            {.root_dir = directory / "root",
                                             .run_dir = directory / "run",
                                             .shim = shim_path(),
                                             .cgroup_root = cgroup_root,
                                             .pod_cgroup = "pods"},
                                            events);
    BOOST_REQUIRE_MESSAGE(created.has_value(), (created ? "" : created.error().message));
    runtime = std::move(*created);
  }

  // Runs the loop until it holds, 10 s at most.
  bool until(const std::function<bool()>& holds, std::chrono::milliseconds limit = 10s) {
    const auto deadline = std::chrono::steady_clock::now() + patient(limit);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      auto timer = loop->after(2ms, [this] { loop->stop(); });
      loop->run();
    }
    return true;
  }

  template <typename T, typename Start>
  Result<T> await(Start start) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    start([this, result](Result<T> value) {
      *result = std::move(value);
      loop->stop();
    });
    auto timer = loop->after(patient(20s), [this] { loop->stop(); });
    if (!*result) loop->run();
    if (!*result) return host::fail("no answer in 20 s");
    return std::move(**result);
  }
  template <typename Start>
  Status status(Start start) {
    auto result = std::make_shared<std::optional<Status>>();
    start([this, result](Status value) {
      *result = std::move(value);
      loop->stop();
    });
    auto timer = loop->after(patient(20s), [this] { loop->stop(); });
    if (!*result) loop->run();
    return *result ? std::move(**result) : Status(host::fail("no answer in 20 s"));
  }

  api::SandboxSpec pod_spec(const std::string& uid) {
    api::SandboxSpec spec;
    spec.uid = uid;
    spec.namespace_ = "default";
    spec.name = "test";
    spec.qos = "Burstable";
    spec.hostname = "test-host";
    spec.manifest = "{\"kind\":\"Pod\"}";
    return spec;
  }
  Result<api::Sandbox> try_pod(api::SandboxSpec spec) {
    pods.push_back(spec.uid);
    return await<api::Sandbox>([&](auto done) { runtime->start_sandbox(spec, std::move(done)); });
  }
  api::Sandbox pod(api::SandboxSpec spec) {
    auto sandbox = try_pod(std::move(spec));
    BOOST_REQUIRE_MESSAGE(sandbox.has_value(), (sandbox ? "" : sandbox.error().message));
    return std::move(*sandbox);
  }
  api::Sandbox pod(const std::string& uid) { return pod(pod_spec(uid)); }

  Path log(const std::string& uid, const std::string& name = "main") {
    return directory / "logs" / uid / name / "0.log";
  }
  api::ContainerSpec container(const std::string& uid, const std::string& script, const std::string& name = "main") {
    api::ContainerSpec spec;
    spec.id = {uid, name, 0};
    spec.layers = {image().string()};
    spec.argv = {"/bin/sh", "-c", script};
    spec.environment = {"PATH=/bin"};
    spec.log_path = log(uid, name).string();
    return spec;
  }
  Result<api::StartedContainer> try_start(const api::ContainerSpec& spec) {
    return await<api::StartedContainer>([&](auto done) { runtime->start_container(spec, std::move(done)); });
  }
  api::StartedContainer start(const api::ContainerSpec& spec) {
    auto started = try_start(spec);
    BOOST_REQUIRE_MESSAGE(started.has_value(), (started ? "" : started.error().message));
    return *started;
  }
  const api::ExitRecord* exit_of(const api::ContainerId& id) {
    const auto record = std::ranges::find_if(events.exits, [&](const auto& one) { return one.id == id; });
    return record == events.exits.end() ? nullptr : &*record;
  }
  api::ExitRecord wait_exit(const api::ContainerId& id) {
    BOOST_REQUIRE(until([&] { return exit_of(id) != nullptr; }));
    return *exit_of(id);
  }
  // Starts it, waits for its end, gives what it wrote to stdout.
  std::string output(const api::ContainerSpec& spec) {
    start(spec);
    wait_exit(spec.id);
    return log_text(spec.log_path);
  }
  struct Ran {
    Result<int> result;
    std::string out;
  };
  Ran exec(const api::ContainerId& id, std::vector<std::string> argv, int64_t timeout_ms = 0) {
    int pipes[2];
    BOOST_REQUIRE(::pipe2(pipes, O_CLOEXEC) == 0);
    host::Fd reader(pipes[0]);
    api::ExecSpec spec;
    spec.argv = std::move(argv);
    spec.stdout_fd = host::Fd(pipes[1]);
    spec.stderr_fd = host::Fd(::fcntl(pipes[1], F_DUPFD_CLOEXEC, 3));
    spec.timeout_ms = timeout_ms;
    Ran ran{.result = await<int>([&](auto done) { runtime->exec(id, std::move(spec), std::move(done)); })};
    ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
    char buffer[4096];
    for (ssize_t size; (size = ::read(reader.get(), buffer, sizeof buffer)) > 0;) ran.out.append(buffer, size);
    return ran;
  }
  void remove(const std::string& uid, bool forget = true) {
    auto removed = status([&](auto done) { runtime->remove_sandbox(uid, forget, std::move(done)); });
    BOOST_TEST(removed.has_value(), (removed ? "" : removed.error().message));
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(runtime_on_this_kernel, Node)

BOOST_AUTO_TEST_CASE(a_container_runs_logs_exits_and_leaves_nothing) {
  auto sandbox = pod("uid-1");
  BOOST_TEST(static_cast<bool>(sandbox.network_namespace));
  BOOST_TEST(static_cast<bool>(sandbox.netlink));
  BOOST_TEST(sandbox.netns_cookie != 0u);
  auto spec = container("uid-1", "echo hello; echo oops >&2; hostname; printf unfinished; exit 7");
  const auto started = start(spec);
  BOOST_TEST(started.pid > 0);
  BOOST_TEST(started.started_at_us > 0);
  const auto record = wait_exit(spec.id);
  BOOST_TEST(WIFEXITED(record.wait_status));
  BOOST_TEST(WEXITSTATUS(record.wait_status) == 7);
  BOOST_TEST(record.finished_at_us >= record.started_at_us);
  BOOST_TEST(log_text(spec.log_path) == "hello\ntest-host\nunfinished");
  BOOST_TEST(log_text(spec.log_path, "stderr") == "oops\n");
  BOOST_TEST(read_all(spec.log_path).find("Z stdout F hello\n") == 30u - 1);
  BOOST_TEST(read_all(spec.log_path).find("stdout P unfinished\n") != std::string::npos);
  remove("uid-1");
}

BOOST_AUTO_TEST_CASE(a_signal_ends_the_container_and_is_its_wait_status) {
  pod("uid-1");
  auto spec = container("uid-1", "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
  start(spec);
  BOOST_TEST(until([&] { return log_text(spec.log_path) == "ready\n"; }));
  BOOST_TEST(status([&](auto done) { runtime->signal_container(spec.id, SIGTERM, std::move(done)); }).has_value());
  BOOST_TEST(WEXITSTATUS(wait_exit(spec.id).wait_status) == 3);
  BOOST_TEST(log_text(spec.log_path) == "ready\ncaught\n");

  auto stubborn = container("uid-1", "trap '' TERM; sleep 1000 & wait", "stubborn");
  start(stubborn);
  BOOST_TEST(status([&](auto done) { runtime->signal_container(stubborn.id, SIGKILL, std::move(done)); }).has_value());
  const auto record = wait_exit(stubborn.id);
  BOOST_TEST(WIFSIGNALED(record.wait_status));
  BOOST_TEST(WTERMSIG(record.wait_status) == SIGKILL);
  BOOST_TEST(!record.oom_killed);
  // One that is gone has been signalled enough.
  BOOST_TEST(status([&](auto done) { runtime->signal_container(stubborn.id, SIGTERM, std::move(done)); }).has_value());
}

BOOST_AUTO_TEST_CASE(each_attempt_gets_a_fresh_layer_and_the_same_one_is_never_started_twice) {
  pod("uid-1");
  auto spec = container("uid-1", "ls /mark 2>/dev/null; touch /mark; echo $$");
  BOOST_TEST(output(spec) == "1\n");
  spec.id.attempt = 1;
  spec.log_path += ".1";
  BOOST_TEST(output(spec) == "1\n");
  auto sleeper = container("uid-1", "sleep 1000", "sleeper");
  const auto first = start(sleeper);
  const auto again = start(sleeper);
  BOOST_TEST(first.pid == again.pid);
  sleeper.id.attempt = 1;
  auto refused = try_start(sleeper);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == Error::Code::exists));
}

BOOST_AUTO_TEST_CASE(a_failed_start_says_what_was_wrong) {
  pod("uid-1");
  const auto error_of = [&](api::ContainerSpec spec) {
    auto started = try_start(spec);
    BOOST_REQUIRE(!started);
    return started.error().message;
  };
  auto spec = container("uid-1", "");
  spec.argv = {"/bin/foo"};
  BOOST_TEST(error_of(spec) == "exec \"/bin/foo\": No such file or directory");
  spec.argv = {"foo"};
  BOOST_TEST(error_of(spec) == "exec \"foo\": executable file not found in $PATH");
  spec.argv = {"/etc/passwd"};
  BOOST_TEST(error_of(spec) == "exec \"/etc/passwd\": Permission denied");
  spec.argv = {"true"};
  spec.working_directory = "/etc/passwd";
  BOOST_TEST(error_of(spec) == "chdir to working directory \"/etc/passwd\": Not a directory");
  spec.working_directory = "";
  std::filesystem::create_directories(directory / "volume");
  spec.mounts = {{.source = (directory / "volume").string(), .target = "/data", .read_only = true},
                 {.source = (directory / "volume").string(), .target = "/data/inner/deep"}};
  BOOST_TEST(error_of(spec) == "mkdir /data/inner: Read-only file system");
  spec.mounts = {{.source = "/nowhere/at/all", .target = "/data"}};
  BOOST_TEST(error_of(spec) == "mount /data: open /nowhere/at/all: No such file or directory");
  spec.mounts.clear();
  spec.user = "unknown";
  BOOST_TEST(error_of(spec) == "user \"unknown\": not in the image's /etc/passwd");
  spec.user = "0";
  spec.must_run_as_non_root = true;
  BOOST_TEST(error_of(spec) == "container has runAsNonRoot and image will run as root");
  // After all that the same attempt still starts.
  spec = container("uid-1", "echo at last");
  BOOST_TEST(output(spec) == "at last\n");
}

BOOST_AUTO_TEST_CASE(limits_are_in_the_cgroup) {
  auto pod_with_limits = pod_spec("uid-1");
  pod_with_limits.limits = {
      .cpu_request_milli = 500, .cpu_limit_milli = 1000, .memory_limit_bytes = 256 << 20, .pids_limit = 100};
  pod(pod_with_limits);
  auto spec = container("uid-1", "sleep 1000");
  spec.limits = {.cpu_request_milli = 250, .cpu_limit_milli = 500, .memory_limit_bytes = 64 << 20, .pids_limit = 50};
  spec.oom_score_adj = 500;
  const auto started = start(spec);
  auto mounts = host::CgroupMounts::parse(read_all("/proc/self/mountinfo"));
  const auto control = [&](const Path& cgroup, const std::string& controller, const std::string& v1,
                           const std::string& v2) {
    for (const auto& hierarchy : mounts->v1) {
      if (hierarchy.controller == controller) return read_all(hierarchy.root / cgroup.lexically_relative(unified) / v1);
    }
    return read_all(cgroup / v2);
  };
  const bool hybrid = !mounts->v1.empty();
  const Path pod_group = runtime->cgroup("uid-1", "").value();
  const Path group = runtime->cgroup("uid-1", "main").value();
  BOOST_TEST(group == cgroup_root / "pods/burstable/poduid-1/main");
  BOOST_TEST(control(group, "cpu", "cpu.shares", "cpu.weight") == (hybrid ? "256\n" : "10\n"));
  BOOST_TEST(control(group, "cpu", "cpu.cfs_quota_us", "cpu.max") == (hybrid ? "50000\n" : "50000 100000\n"));
  BOOST_TEST(control(group, "memory", "memory.limit_in_bytes", "memory.max") == std::to_string(64 << 20) + "\n");
  BOOST_TEST(control(group, "pids", "pids.max", "pids.max") == "50\n");
  BOOST_TEST(control(pod_group, "memory", "memory.limit_in_bytes", "memory.max") == std::to_string(256 << 20) + "\n");
  BOOST_TEST(control(pod_group, "cpu", "cpu.cfs_quota_us", "cpu.max") == (hybrid ? "100000\n" : "100000 100000\n"));
  // The process is where the limits are, in every hierarchy.
  std::istringstream lines(read_all("/proc/" + std::to_string(started.pid) + "/cgroup"));
  int found = 0;
  for (std::string line; std::getline(lines, line);) found += line.ends_with("/pods/burstable/poduid-1/main");
  BOOST_TEST(found == (hybrid ? static_cast<int>(mounts->v1.size()) + 1 : 1));
  BOOST_TEST(read_all("/proc/" + std::to_string(started.pid) + "/oom_score_adj") == "500\n");
}

BOOST_AUTO_TEST_CASE(an_ordinary_container_can_do_no_harm) {
  pod("uid-1");
  auto spec = container("uid-1", R"(
    grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|Seccomp|NoNewPrivs):' /proc/self/status | tr '\t\n' '  '; echo
    id
    ls /dev | tr '\n' ' '; echo
    ls -l /proc/keys | awk '{print $1,$5,$6,$NF}'
    ls -A /sys/firmware | wc -l
    echo b > /proc/sysrq-trigger || echo no sysrq
    echo 1 > /proc/sys/kernel/panic || echo no sysctl
    mknod /disk b 254 0 && cat /disk > /dev/null || echo no disk
    mknod /kmsg c 1 11 && cat /kmsg > /dev/null || echo no kmsg
    echo x > /dev/null && echo null
    mount -t tmpfs none /mnt 2>/dev/null || echo no mount
    unshare -U true 2>/dev/null || echo no userns
    mkdir /sys/fs/cgroup/unified/x /sys/fs/cgroup/x 2>/dev/null || echo no cgroup
    cat /proc/1/environ | tr '\0' ' '; echo
    ls /proc/self/fd | tr '\n' ' '; echo
    awk '$5=="/" {print $4}' /proc/self/mountinfo
    pwd
  )");
  start(spec);
  wait_exit(spec.id);
  const std::string text = log_text(spec.log_path);
  BOOST_TEST_MESSAGE(text);
  const auto has = [&](std::string_view line) {
    return ("\n" + text).find("\n" + std::string(line) + "\n") != std::string::npos;
  };
  BOOST_TEST(
      has("CapInh: 0000000000000000 CapPrm: 00000000a80425fb CapEff: 00000000a80425fb CapBnd: 00000000a80425fb CapAmb: "
          "0000000000000000 NoNewPrivs: 0 Seccomp: 2 "));
  BOOST_TEST(has("uid=0(root) gid=0(root) groups=0(root)"));
  BOOST_TEST(has("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "));
  BOOST_TEST(has("crw-rw-rw- 1, 3 /proc/keys"));
  BOOST_TEST(has("0"));
  for (const char* refusal :
       {"no sysrq", "no sysctl", "no disk", "no kmsg", "null", "no mount", "no userns", "no cgroup"}) {
    BOOST_TEST(has(refusal), refusal);
  }
  BOOST_TEST(has("PATH=/bin HOSTNAME=test-host HOME=/root "));
  BOOST_TEST(has("0 1 2 3 "));  // 3 is ls' own
  BOOST_TEST(has("/"));
}

BOOST_AUTO_TEST_CASE(who_runs_and_what_it_may_are_as_asked) {
  auto sandbox = pod_spec("uid-1");
  sandbox.memory_volumes = {{.name = "scratch", .size_bytes = 1 << 20}};
  pod(sandbox);
  auto spec =
      container("uid-1", R"(id; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr '\t\n' '  '; echo
    touch /x || echo read-only; echo y > /scratch/y && cat /scratch/y; echo to-stdout > /dev/stdout; pwd)");
  spec.user = "web";
  spec.supplemental_groups = {4000};
  spec.add_capabilities = {"NET_ADMIN"};
  spec.drop_capabilities = {"ALL"};
  spec.no_new_privileges = true;
  spec.read_only_root = true;
  spec.working_directory = "/made/for/it";
  spec.mounts = {{.type = api::Mount::Type::memory, .beneath = "scratch", .target = "/scratch"}};
  const std::string text = output(spec);
  BOOST_TEST_MESSAGE(text);
  BOOST_TEST(text.starts_with("uid=1234(web) gid=1235(web) groups=1235(web),"));
  BOOST_TEST(text.find("4000") != std::string::npos);
  BOOST_TEST(text.find("1300(extra)") != std::string::npos);
  BOOST_TEST(text.find("CapEff: 0000000000000000 CapBnd: 0000000000001000 NoNewPrivs: 1 Seccomp: 2") !=
             std::string::npos);
  BOOST_TEST(text.find("read-only\ny\nto-stdout\n/made/for/it\n") != std::string::npos);

  auto privileged =
      container("uid-1", "grep -E 'Seccomp:' /proc/self/status; mount -t tmpfs none /tmp && echo mounted; ls /dev/kmsg",
                "privileged");
  privileged.privileged = true;
  BOOST_TEST(output(privileged) == "Seccomp:\t0\nmounted\n/dev/kmsg\n");
}

BOOST_AUTO_TEST_CASE(a_hostile_image_leads_no_mount_outside) {
  pod("uid-1");
  std::filesystem::create_directories(directory / "volume");
  std::ofstream(directory / "volume/file") << "content";
  auto spec = container("uid-1", "cat /etc/made/file; ls /etc | tr '\\n' ' '");
  // A symlink to ../../../../etc means the container's own /etc.
  spec.mounts = {{.source = (directory / "volume").string(), .target = "/hostile/link/made"}};
  BOOST_TEST(output(spec) == "contentgroup made passwd "s);
  BOOST_TEST(!std::filesystem::exists("/etc/made"));
  const auto refused = [&](std::vector<api::Mount> mounts) {
    auto bad = container("uid-1", "true", "bad");
    bad.mounts = std::move(mounts);
    auto started = try_start(bad);
    BOOST_REQUIRE(!started);
    BOOST_TEST_MESSAGE(started.error().message);
    return started.error().message;
  };
  BOOST_TEST(
      refused({{.source = (directory / "volume").string(), .target = "/dangling/x"}}).starts_with("mkdir /dangling"));
  BOOST_TEST(refused({{.source = (directory / "volume").string(), .target = "/proc/sys"}}) ==
             "mount /proc/sys: in /proc: Operation not permitted");
  // A subPath that is a symlink out of its volume (CVE-2021-25741).
  std::filesystem::create_directory_symlink("/etc", directory / "volume/out");
  BOOST_TEST(refused({{.source = "out", .beneath = (directory / "volume").string(), .target = "/data"}}) ==
             "mount /data: out: leads out of " + (directory / "volume").string());
  BOOST_TEST(refused({{.source = "../..", .beneath = (directory / "volume").string(), .target = "/data"}}) ==
             "mount /data: ../..: leads out of " + (directory / "volume").string());
}

BOOST_AUTO_TEST_CASE(volumes_are_where_and_as_they_were_asked_for) {
  auto sandbox = pod_spec("uid-1");
  sandbox.memory_volumes = {{.name = "scratch", .size_bytes = 3 << 20}};
  pod(sandbox);
  std::filesystem::create_directories(directory / "volume/sub");
  std::ofstream(directory / "volume/file") << "content\n";
  auto spec = container("uid-1", R"(cat /data/file; echo new > /data/sub/made; echo x > /ro/file || echo read-only
    cat /etc/config; df -m /scratch | awk 'NR==2 {print $2}'; echo gone > /dev/termination-log)");
  spec.mounts = {{.source = (directory / "volume").string(), .target = "/data"},
                 {.source = "sub", .beneath = (directory / "volume").string(), .target = "/ro", .read_only = true},
                 {.source = (directory / "volume/file").string(), .target = "/etc/config"},
                 {.type = api::Mount::Type::memory, .beneath = "scratch", .target = "/scratch"}};
  spec.termination_message_path = "/dev/termination-log";
  BOOST_TEST(output(spec) == "content\nread-only\ncontent\n3\n");
  BOOST_TEST(read_all(directory / "volume/sub/made") == "new\n");
  BOOST_TEST(wait_exit(spec.id).termination_message == "gone\n");
}

BOOST_AUTO_TEST_CASE(memory_volumes_are_the_pods_and_nothing_leads_out_of_them) {
  auto sandbox = pod_spec("uid-1");
  sandbox.memory_volumes = {{.name = "a", .size_bytes = 1 << 20, .mode = 02777, .group = 3000},
                            {.name = "b", .size_bytes = 1 << 20}};
  pod(sandbox);
  const api::Mount all{.type = api::Mount::Type::memory, .beneath = "a", .target = "/a"};
  auto first = container("uid-1", R"(echo one > /a/file; mkdir /a/dir; echo deep > /a/dir/file
    ln -s ../b /a/out; ln -s /etc /a/absolute; stat -c '%a %g' /a /a/file
    head -c 2000000 /dev/zero > /a/big 2>/dev/null; stat -c %s /a/big; rm /a/big)");
  first.mounts = {all};
  BOOST_TEST(output(first) == "2777 3000\n644 3000\n1040384\n");
  // Another container, later: the same content, also below, also read-only; files too.
  auto second = container("uid-1", "cat /a/file /dir/file /one; ls /new; echo x > /dir/x || echo read-only", "second");
  second.mounts = {
      all,
      {.type = api::Mount::Type::memory, .source = "dir", .beneath = "a", .target = "/dir", .read_only = true},
      {.type = api::Mount::Type::memory, .source = "file", .beneath = "a", .target = "/one"},
      {.type = api::Mount::Type::memory, .source = "made/for/it", .beneath = "a", .target = "/new"}};
  BOOST_TEST(output(second) == "one\ndeep\none\nread-only\n");
  for (const std::string path : {"out", "absolute", "out/x", "../b"}) {
    auto bad = container("uid-1", "true", "bad");
    bad.mounts = {{.type = api::Mount::Type::memory, .source = path, .beneath = "a", .target = "/data"}};
    auto started = try_start(bad);
    BOOST_REQUIRE(!started);
    BOOST_TEST(started.error().message.starts_with("subPath " + path), started.error().message);
  }
}

BOOST_AUTO_TEST_CASE(images_of_many_layers_are_mounted_by_old_kernels_too) {
  host::OverlayOptions options{
      .upper = directory / "upper", .work = directory / "work", .scratch = directory / "scratch"};
  std::filesystem::create_directory(options.upper);
  std::filesystem::create_directory(options.work);
  for (int i = 0; i < 100; ++i) {
    const Path layer = directory / "layers" / (std::string(100, 'x') + ",:" + std::to_string(i));
    std::filesystem::create_directories(layer);
    std::ofstream(layer / "top") << i;
    std::ofstream(layer / std::to_string(i)) << i;
    options.lower.push_back(layer.string());
    if (i != 0 && i != 9 && i != 99) continue;  // in one option; by mount(2)
    for (const bool append : {true, false}) {
      if (append && !host::kernel_appends_layers()) continue;
      options.append = append;
      auto mount = host::make_overlay(options);
      BOOST_REQUIRE_MESSAGE(mount.has_value(), (mount ? "" : mount.error().message));
      const Path root = "/proc/self/fd/" + std::to_string(mount->get());
      BOOST_TEST(read_all(root / "top") == std::to_string(i));
      BOOST_TEST(read_all(root / "0") == "0");
    }
  }
  BOOST_TEST(read_all("/proc/self/mountinfo").find("scratch") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(containers_share_what_a_pod_shares) {
  auto shared = pod_spec("uid-1");
  shared.share_process_namespace = true;
  shared.sysctls = {{"net.ipv4.ip_unprivileged_port_start", "80"}, {"kernel.shm_rmid_forced", "1"}};
  pod(shared);
  start(container("uid-1", "echo here > /dev/shm/note; sleep 1234", "first"));
  BOOST_TEST(until([&] { return exec({"uid-1", "first", 0}, {"cat", "/dev/shm/note"}).out == "here\n"; }));
  auto second = container("uid-1",
                          "cat /dev/shm/note; ps -o pid,comm,args; cat /proc/sys/net/ipv4/ip_unprivileged_port_start "
                          "/proc/sys/kernel/shm_rmid_forced; readlink /proc/1/exe || echo hidden; (sleep 5 &) ",
                          "second");
  const std::string text = output(second);
  BOOST_TEST_MESSAGE(text);
  BOOST_TEST(text.starts_with("here\n"));
  BOOST_TEST(text.find("podinit") != std::string::npos);
  BOOST_TEST(text.find("sleep 1234") != std::string::npos);
  BOOST_TEST(text.find("podshim\n") == std::string::npos);
  BOOST_TEST(text.find("80\n1\nhidden\n") != std::string::npos);
  // What the second left behind went with it, the first is untouched.
  BOOST_TEST(until([&] { return exec({"uid-1", "first", 0}, {"sh", "-c", "ps | grep -c '[s]leep 5'"}).out == "0\n"; }));
  BOOST_TEST(exec({"uid-1", "first", 0}, {"sh", "-c", "ps | grep -c '[s]leep 1234'"}).out == "1\n");

  auto refused = pod_spec("uid-2");
  refused.sysctls = {{"kernel.panic", "1"}};
  auto started = try_pod(refused);
  BOOST_REQUIRE(!started);
  BOOST_TEST(started.error().message.starts_with("sysctl kernel.panic: is not one of the pod's own"));
}

BOOST_AUTO_TEST_CASE(the_hosts_namespaces_are_there_when_asked_for) {
  auto spec = pod_spec("uid-1");
  spec.host_network = spec.host_pid = spec.host_ipc = true;
  auto sandbox = pod(spec);
  BOOST_TEST(!sandbox.network_namespace);
  const auto link = [](const char* name) {
    return std::filesystem::read_symlink("/proc/self/ns/" + std::string(name)).string() + "\n";
  };
  auto main = container("uid-1", "for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done");
  const std::string text = output(main);
  BOOST_TEST(text.starts_with(link("net") + link("pid") + link("ipc")));
  BOOST_TEST(text.find(link("uts")) == std::string::npos);
  BOOST_TEST(text.find(link("mnt")) == std::string::npos);
}

BOOST_AUTO_TEST_CASE(commands_run_in_a_container) {
  pod("uid-1");
  auto spec = container("uid-1", "sleep 1000");
  spec.user = "web";
  spec.environment.push_back("GREETING=hello");
  spec.working_directory = "/tmp";
  start(spec);
  auto ran =
      exec(spec.id,
           {"sh", "-c", "echo $GREETING; id -u; pwd; hostname; grep -E 'CapBnd|Seccomp:' /proc/self/status; exit 5"});
  BOOST_REQUIRE(ran.result.has_value());
  BOOST_TEST(WEXITSTATUS(*ran.result) == 5);
  BOOST_TEST(ran.out == "hello\n1234\n/tmp\ntest-host\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n");
  ran = exec(spec.id, {"nothing"});
  BOOST_REQUIRE(!ran.result);
  BOOST_TEST(ran.result.error().message == "exec \"nothing\": executable file not found in $PATH");
  // Past its time everything it started is killed.
  const auto before = std::chrono::steady_clock::now();
  ran = exec(spec.id, {"sh", "-c", "sleep 999 & sleep 998"}, 100);
  BOOST_REQUIRE(!ran.result);
  BOOST_TEST((ran.result.error().code == Error::Code::unavailable));
  BOOST_TEST(ran.result.error().message == "command timed out after 100 ms");
  BOOST_TEST((std::chrono::steady_clock::now() - before < patient(2s)));
  BOOST_TEST(until([&] { return exec(spec.id, {"sh", "-c", "ps | grep -c '[s]leep 99'"}).out == "0\n"; }));
  const Path group = runtime->cgroup("uid-1", "main").value();
  BOOST_TEST(until([&] {
    for (const auto& entry : std::filesystem::directory_iterator(group)) {
      if (entry.is_directory()) return false;
    }
    return true;
  }));
  BOOST_TEST(!exec({"uid-1", "main", 1}, {"true"}).result);
  BOOST_TEST(!exec({"uid-1", "other", 0}, {"true"}).result);
}

BOOST_AUTO_TEST_CASE(a_command_can_have_a_terminal) {
  pod("uid-1");
  auto spec = container("uid-1", "sleep 1000");
  start(spec);
  api::ExecSpec terminal;
  terminal.argv = {"sh", "-c", "tty; read line; echo got $line"};
  terminal.tty = true;
  host::Fd master;
  terminal.on_tty = [&](host::Fd fd) { master = std::move(fd); };
  std::optional<Result<int>> result;
  runtime->exec(spec.id, std::move(terminal), [&](Result<int> value) { result = std::move(value); });
  BOOST_REQUIRE(until([&] { return static_cast<bool>(master); }));
  ::fcntl(master.get(), F_SETFL, O_NONBLOCK);
  BOOST_TEST(::write(master.get(), "word\n", 5) == 5);
  std::string text;
  char buffer[256];
  BOOST_TEST(until([&] {
    for (ssize_t size; (size = ::read(master.get(), buffer, sizeof buffer)) > 0;) text.append(buffer, size);
    return result.has_value();
  }));
  for (ssize_t size; (size = ::read(master.get(), buffer, sizeof buffer)) > 0;) text.append(buffer, size);
  BOOST_TEST(text.find("/dev/pts/0") != std::string::npos);
  BOOST_TEST(text.find("got word") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_container_with_a_terminal_logs_it) {
  pod("uid-1");
  auto spec = container("uid-1", "tty; ls -l /dev/console | cut -c1; echo $TERM");
  spec.tty = true;
  start(spec);
  wait_exit(spec.id);
  BOOST_TEST(log_text(spec.log_path) == "/dev/pts/0\r\nc\r\nxterm\r\n");
}

BOOST_AUTO_TEST_CASE(an_agent_that_comes_back_finds_everything) {
  pod("uid-1");
  auto done = container("uid-1", "exit 4", "done");
  start(done);
  wait_exit(done.id);
  auto later = container(
      "uid-1", "echo message > /dev/termination-log; while [ ! -e /data/go ]; do sleep 0.02; done; exit 9", "later");
  std::filesystem::create_directories(directory / "volume");
  later.mounts = {{.source = (directory / "volume").string(), .target = "/data"}};
  later.termination_message_path = "/dev/termination-log";
  start(later);
  auto lasting = container("uid-1", "n=0; while :; do echo $((n+=1)); sleep 0.01; done", "lasting");
  const auto started = start(lasting);
  events.exits.clear();

  runtime.reset();  // as good as kill -9: nothing is written on the way out
  std::ofstream(directory / "volume/go") << "";
  std::this_thread::sleep_for(300ms);
  start_agent();
  auto recovered = await<std::vector<api::RecoveredPod>>([&](auto callback) { runtime->recover(std::move(callback)); });
  BOOST_REQUIRE(recovered);
  BOOST_REQUIRE(recovered->size() == 1u);
  const auto& found = recovered->front();
  BOOST_TEST(found.alive);
  BOOST_TEST(found.spec.uid == "uid-1");
  BOOST_TEST(found.spec.manifest == "{\"kind\":\"Pod\"}");
  BOOST_REQUIRE(found.exits.size() == 2u);
  BOOST_TEST(found.exits[0].id.name == "done");
  BOOST_TEST(WEXITSTATUS(found.exits[0].wait_status) == 4);
  BOOST_TEST(found.exits[1].id.name == "later");
  BOOST_TEST(WEXITSTATUS(found.exits[1].wait_status) == 9);
  BOOST_TEST(found.exits[1].termination_message == "message\n");
  int running = 0;
  for (const auto& one : found.containers) {
    running += one.running;
    if (one.running) BOOST_TEST(one.started.pid == started.pid);
  }
  BOOST_TEST(running == 1);
  BOOST_TEST(events.exits.empty());
  // Starting what runs is success, and no second process.
  BOOST_TEST(start(lasting).pid == started.pid);
  BOOST_TEST(exec(lasting.id, {"echo", "still"}).out == "still\n");
  BOOST_TEST(static_cast<bool>(runtime->sandbox("uid-1")->netlink));
  // Not a line is missing.
  BOOST_TEST(
      status([&](auto callback) { runtime->signal_container(lasting.id, SIGKILL, std::move(callback)); }).has_value());
  wait_exit(lasting.id);
  std::istringstream lines(log_text(lasting.log_path));
  int expected = 0;
  for (int number; lines >> number;) BOOST_REQUIRE(number == ++expected);
  BOOST_TEST(expected > 1);
}

BOOST_AUTO_TEST_CASE(a_killed_shim_takes_its_pod_with_it_and_is_reported) {
  pod("uid-1");
  auto spec = container("uid-1", "sleep 1000 & sleep 1001");
  const auto started = start(spec);
  const std::string status_text = read_all("/proc/" + std::to_string(started.pid) + "/status");
  const pid_t shim = std::atoi(status_text.substr(status_text.find("PPid:") + 5, 20).c_str());
  BOOST_REQUIRE(read_all("/proc/" + std::to_string(shim) + "/comm") == "podshim\n");
  ::kill(shim, SIGKILL);
  BOOST_REQUIRE(until([&] { return !events.lost.empty(); }));
  BOOST_TEST(events.lost.front() == "uid-1");
  // A zombie at most, until the machine's init looks after it.
  BOOST_TEST(read_all("/proc/" + std::to_string(started.pid) + "/cmdline").empty());
  BOOST_TEST(!std::filesystem::exists(cgroup_root / "pods/burstable/poduid-1"));
  BOOST_TEST(!std::filesystem::exists(cgroup_root / "pods/shims/uid-1"));
  // And it starts again, with its journal.
  pod("uid-1");
  spec.id.attempt = 1;
  start(spec);
}

BOOST_AUTO_TEST_CASE(a_lost_node_keeps_its_journals_and_nothing_else) {
  pod("uid-1");
  auto spec = container("uid-1", "exit 6");
  start(spec);
  wait_exit(spec.id);
  start(container("uid-1", "sleep 1000", "lasting"));
  const Path record = directory / "root/pods/uid-1/spec.json";
  BOOST_TEST(until([&] { return std::filesystem::exists(record); }));
  // As after a power cut: /run is gone, no process lives, the journal's end is torn.
  runtime.reset();
  std::ofstream(cgroup_root / "cgroup.kill") << "1";
  std::filesystem::remove_all(directory / "run");
  std::ofstream(directory / "root/pods/uid-1/journal", std::ios::app) << "KESL torn";
  const auto torn = std::filesystem::file_size(directory / "root/pods/uid-1/journal");
  start_agent();
  auto recovered = await<std::vector<api::RecoveredPod>>([&](auto done) { runtime->recover(std::move(done)); });
  BOOST_REQUIRE(recovered);
  BOOST_REQUIRE(recovered->size() == 1u);
  BOOST_TEST(!recovered->front().alive);
  BOOST_TEST(recovered->front().spec.name == "test");
  BOOST_REQUIRE(recovered->front().exits.size() == 1u);
  BOOST_TEST(WEXITSTATUS(recovered->front().exits[0].wait_status) == 6);
  BOOST_TEST(recovered->front().containers.size() == 2u);
  BOOST_TEST(std::filesystem::file_size(directory / "root/pods/uid-1/journal") == torn - 9);
  BOOST_TEST(!std::filesystem::exists(directory / "root/pods/uid-1/rootfs"));
  BOOST_TEST(!std::filesystem::exists(cgroup_root / "pods/burstable/poduid-1"));
  pod("uid-1");
  spec.id.attempt = 1;
  BOOST_TEST(output(spec).empty());
}

BOOST_AUTO_TEST_CASE(a_container_over_its_memory_is_said_to_be_oom_killed) {
  pod("uid-1");
  auto spec = container("uid-1", "exec tail /dev/zero");
  spec.limits.memory_limit_bytes = 24 << 20;
  start(spec);
  const auto record = wait_exit(spec.id);
  BOOST_TEST(record.oom_killed);
  BOOST_TEST(WTERMSIG(record.wait_status) == SIGKILL);
  // Nor is a shell between us and the victim a way to hide it, where the whole cgroup is
  // not killed at once.
  auto behind = container("uid-1", "tail /dev/zero; exit $?", "behind");
  behind.limits.memory_limit_bytes = 24 << 20;
  start(behind);
  BOOST_TEST(wait_exit(behind.id).oom_killed);
  // The next attempt is not blamed for it.
  spec.id.attempt = 1;
  spec.argv = {"/bin/sh", "-c", "kill -9 $$; sleep 1000"};
  start(spec);
  BOOST_TEST(status([&](auto done) { runtime->signal_container(spec.id, SIGKILL, std::move(done)); }).has_value());
  BOOST_TEST(!wait_exit(spec.id).oom_killed);
}

BOOST_AUTO_TEST_CASE(a_log_never_outgrows_its_files) {
  pod("uid-1");
  auto spec = container("uid-1",
                        "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 800000; "
                        "head -c 40000 /dev/zero | tr '\\0' x; echo; echo last");
  start(spec);
  BOOST_REQUIRE(until([&] { return exit_of(spec.id) != nullptr; }, 60s));
  uint64_t total = 0;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Path(spec.log_path).parent_path())) {
    ++files;
    total += entry.file_size();
    BOOST_TEST(entry.file_size() <= shim::kLogFileSize);
  }
  BOOST_TEST(files == shim::kLogFiles);
  BOOST_TEST(total > 4 * shim::kLogFileSize);
  const std::string end = read_all(spec.log_path);
  BOOST_TEST(end.ends_with(" stdout F last\n"));
  // 40,000 bytes are two full parts and the rest.
  const size_t long_line = end.rfind(" stdout P x");
  BOOST_REQUIRE(long_line != std::string::npos);
  BOOST_TEST(end.find('\n', long_line) - long_line == 10 + shim::kMaxLogLine);
  BOOST_TEST(end.find(" stdout F xxx") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_full_disk_drops_lines_and_counts_them) {
  pod("uid-1");
  std::filesystem::create_directories(directory / "small");
  BOOST_REQUIRE(::mount("none", (directory / "small").c_str(), "tmpfs", 0, "size=64k") == 0);
  std::filesystem::create_directories(directory / "volume");
  auto spec = container("uid-1",
                        "seq 1 20000; echo full > /data/full; while [ ! -e /data/go ]; do sleep 0.02; done; echo room");
  spec.log_path = (directory / "small/0.log").string();
  spec.mounts = {{.source = (directory / "volume").string(), .target = "/data"}};
  start(spec);
  BOOST_TEST(until([&] { return std::filesystem::exists(directory / "volume/full"); }));  // it never waited
  std::filesystem::resize_file(spec.log_path, 0);
  std::ofstream(directory / "volume/go") << "";
  wait_exit(spec.id);
  const std::string text = read_all(spec.log_path);
  BOOST_TEST(text.find(" stderr F keelson: ") != std::string::npos);
  BOOST_TEST(text.find(" lines of this log were dropped: No space left on device\n") != std::string::npos);
  BOOST_TEST(text.ends_with(" stdout F room\n"));
  // The shim tells of the exit first and closes the log then.
  BOOST_TEST(until([&] { return ::umount2((directory / "small").c_str(), 0) == 0; }));
}

BOOST_AUTO_TEST_CASE(removal_ends_whatever_runs_and_can_be_repeated) {
  pod("uid-1");
  start(container("uid-1", "trap '' TERM INT HUP; (trap '' TERM; sleep 1000) & while :; do sleep 1; done"));
  start(container("uid-1", "sleep 1000", "other"));
  const auto before = std::chrono::steady_clock::now();
  remove("uid-1", false);
  BOOST_TEST((std::chrono::steady_clock::now() - before < patient(2s)));
  BOOST_TEST(events.exits.size() == 2u);
  BOOST_TEST(events.lost.empty());
  BOOST_TEST(std::filesystem::exists(directory / "root/pods/uid-1/journal"));
  BOOST_TEST(!std::filesystem::exists(directory / "run/pods/uid-1"));
  remove("uid-1", true);
  remove("uid-1", true);
  BOOST_TEST(!std::filesystem::exists(directory / "root/pods/uid-1"));
  remove("never-was");
}

BOOST_AUTO_TEST_CASE(devices_are_guarded_by_bpf_where_there_is_no_v1_controller) {
  host::CgroupMounts only_v2;
  only_v2.unified = unified;
  auto tree = host::CgroupTree::create(only_v2, cgroup_root / "guarded");
  BOOST_REQUIRE(tree);
  auto guard = runtime::DeviceGuard::create(*tree);
  BOOST_REQUIRE_MESSAGE(guard.has_value(), (guard ? "" : guard.error().message));
  BOOST_REQUIRE(tree->make("leaf", false).has_value());
  const auto may = [&](const std::string& command) {
    auto leaf = tree->open("leaf");
    BOOST_REQUIRE(leaf);
    auto ran = host::run({.argv = {"/bin/sh", "-c", command}, .cgroup = leaf->get()}, "", patient(5000));
    BOOST_REQUIRE(ran);
    return ran->wait_status == 0;
  };
  const std::string node = (directory / "node").string();
  const std::string other =
      "mknod " + node + " c 1 11 && true < " + node + "; status=$?; rm -f " + node + "; exit $status";
  BOOST_TEST(may(other));
  BOOST_TEST(guard->restrict(*tree, "leaf").has_value());
  BOOST_TEST(guard->restrict(*tree, "leaf").has_value());
  BOOST_TEST(!may(other));
  BOOST_TEST(may("true < /dev/null && head -c 1 /dev/urandom > /dev/null && true < /dev/zero"));
  BOOST_TEST(may("mknod " + node + " b 254 0 && rm " + node));
  BOOST_TEST(tree->remove_all().has_value());
}

BOOST_AUTO_TEST_CASE(strays_in_the_cgroup_are_ended_at_recovery) {
  start_agent();
  const Path stray = cgroup_root / "pods/besteffort/podstray";
  std::filesystem::create_directory(stray);
  auto group = host::open_file(stray, O_RDONLY | O_DIRECTORY);
  BOOST_REQUIRE(group);
  auto child = host::spawn({.argv = {"/bin/sleep", "1000"}, .cgroup = group->get()});
  BOOST_REQUIRE(child);
  auto recovered = await<std::vector<api::RecoveredPod>>([&](auto done) { runtime->recover(std::move(done)); });
  BOOST_TEST(recovered.has_value());
  BOOST_TEST(!std::filesystem::exists(stray));
  auto ended = host::reap(child->pidfd);
  BOOST_REQUIRE(ended);
  BOOST_TEST(WTERMSIG(*ended) == SIGKILL);
}

BOOST_AUTO_TEST_CASE(starts_are_measured_and_shims_are_small) {
  // With a share of the processor: on a busy machine two shares of it measure only the others.
  const auto roomy_pod = [&](const std::string& uid) {
    auto spec = pod_spec(uid);
    spec.limits.cpu_request_milli = 2000;
    return pod(spec);
  };
  roomy_pod("uid-1");
  std::vector<double> latencies;
  const auto measure = [&](const auto& run) {
    const auto before = std::chrono::steady_clock::now();
    run();
    latencies.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count());
  };
  const auto report = [&](const char* what) {
    std::ranges::sort(latencies);
    std::printf("%s: p50 %.2f ms, p90 %.2f ms, best %.2f ms\n", what, latencies[latencies.size() / 2],
                latencies[latencies.size() * 9 / 10], latencies.front());
    latencies.clear();
  };
  for (uint32_t i = 0; i < 50; ++i) {
    auto spec = container("uid-1", "exit 0");
    spec.argv = {"/bin/true"};
    spec.limits.cpu_request_milli = 2000;
    spec.id.attempt = i;
    measure([&] { start(spec); });
    wait_exit(spec.id);
  }
  report("start_container to execve");
  auto spec = container("uid-1", "sleep 1000", "target");
  spec.limits.cpu_request_milli = 2000;
  const auto started = start(spec);
  for (int i = 0; i < 20; ++i) {
    measure([&] { exec(spec.id, {"true"}); });
  }
  report("exec to its exit");
  for (int i = 0; i < 10; ++i) {
    const std::string uid = "uid-s" + std::to_string(i);
    measure([&] { roomy_pod(uid); });
  }
  report("start_sandbox");
  const std::string text = read_all("/proc/" + std::to_string(started.pid) + "/status");
  const pid_t shim = std::atoi(text.substr(text.find("PPid:") + 5, 20).c_str());
  // What /proc/PID/exe leads to can never be written to (CVE-2019-5736).
  const host::Fd binary(::open(("/proc/" + std::to_string(shim) + "/exe").c_str(), O_RDONLY | O_CLOEXEC));
  BOOST_TEST((::fcntl(binary.get(), F_GET_SEALS) & F_SEAL_WRITE) != 0);
  const std::string memory = read_all("/proc/" + std::to_string(shim) + "/smaps_rollup");
  const auto kilobytes = [&](const char* name) {
    return std::atoi(memory.c_str() + memory.find(name) + std::strlen(name));
  };
  std::printf("podshim: Rss %d kB, Pss %d kB, of its own %d kB\n", kilobytes("Rss:"), kilobytes("Pss:"),
              kilobytes("Private_Dirty:") + kilobytes("Private_Clean:"));
  BOOST_TEST(kilobytes("Rss:") <= 1536);
  BOOST_TEST(kilobytes("Pss:") <= 512);  // among 11 of them
  for (int i = 0; i < 10; ++i) {
    measure([&] { remove("uid-s" + std::to_string(i)); });
  }
  report("remove_sandbox");
}

BOOST_AUTO_TEST_SUITE_END()
