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
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "agent/runtime/runtime.h"
#include "agent/runtime/shim/log.h"
#include "host/cgroup.h"
#include "host/loop.h"
#include "host/process.h"

namespace {

using namespace keelson;
using host::Error;
using host::Path;
using host::Result;
using host::Status;
using namespace std::chrono_literals;

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
    const std::string script =
        "set -e; cd $(mktemp -d); d=$PWD; "
        "if [ -n \"$(ls /tmp/bb/busybox-static_*.deb 2>/dev/null)\" ]; then cp /tmp/bb/busybox-static_*.deb .; "
        "else apt-get download -q busybox-static >/dev/null 2>&1; fi; dpkg-deb -x busybox-static_*.deb x; "
        "mkdir -p " +
        directory.string() + "; cd " + directory.string() +
        "; mkdir -p bin etc tmp root proc; chmod 1777 tmp; "
        "cp $d/x/bin/busybox bin/; rm -r $d; for a in $(bin/busybox --list); do [ -e bin/$a ] || ln -s busybox bin/$a; "
        "done; "
        "printf 'root:x:0:0:root:/root:/bin/sh\\nweb:x:1234:1235::/home/web:/bin/sh\\n' > etc/passwd; "
        "printf 'root:x:0:\\nweb:x:1235:\\nextra:x:1300:web\\n' > etc/group; ln -s /nowhere dangling; "
        "mkdir -p hostile; ln -s ../../../../../../../../etc hostile/link";
    if (std::system(script.c_str()) != 0) throw std::runtime_error("cannot make the test image");
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
    const auto deadline = std::chrono::steady_clock::now() + limit;
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
    auto timer = loop->after(20s, [this] { loop->stop(); });
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
    auto timer = loop->after(20s, [this] { loop->stop(); });
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

BOOST_AUTO_TEST_SUITE_END()
