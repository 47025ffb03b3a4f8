// The manifest sources against the real thing: a file system, HTTP servers that behave
// and misbehave, Debian's etcd. Loopback only; no root needed.

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <mutex>
#include <thread>

#include "agent/sources/prepare.h"
#include "agent/sources/sources.h"
#include "api/codec.h"
#include "etcd/client.h"
#include "host/process.h"
#include "test/patience.h"

namespace keelson::sources {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::patient;

std::string pod(std::string_view name, std::string_view image = "busybox") {
  return fmt::format(
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\nspec:\n  containers:\n  - name: main\n    image: {}\n", name,
      image);
}

struct TestDirectory {
  TestDirectory() { BOOST_REQUIRE(::mkdtemp(name) != nullptr); }
  ~TestDirectory() { std::filesystem::remove_all(name); }
  host::Path operator/(std::string_view below) const { return host::Path(name) / below; }
  char name[40] = "/tmp/keelson-sources-XXXXXX";
};

host::Output must_run(const std::vector<std::string>& argv, const std::vector<std::string>& environment = {}) {
  host::SpawnOptions options{.argv = argv, .environment = environment};
  options.environment.emplace_back("PATH=/usr/bin:/bin");
  auto output = host::run(options, "", patient(20'000));
  BOOST_REQUIRE_MESSAGE(output, output.error().message);
  BOOST_REQUIRE_MESSAGE(output->wait_status == 0, argv[0] + ": " + output->err);
  return *output;
}

uint16_t free_port() {
  const host::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  BOOST_REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  BOOST_REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

// A node's sources, and the loop they live on. The loop runs while the test waits.
struct Node : TestDirectory {
  Node() {
    settings.node_name = "node1";
    settings.root_dir = *this / "root";
    settings.push = false;
    std::filesystem::create_directory(manifests());
  }

  host::Path manifests() const { return *this / "manifests"; }
  void use_files() { settings.manifest_path = manifests(); }

  void start() {
    auto made = Sources::create(*loop, settings, [this](const api::DesiredState& state) {
      ++changes;
      last_change = host::Clock::now();
      pods.clear();
      for (const auto& one : state.pods) {
        pods += fmt::format("{}{}={}:{}", pods.empty() ? "" : " ", one.object.metadata.name, one.origin.source,
                            one.object.spec.containers.at(0).image);
      }
    });
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    sources = std::move(*made);
  }
  // As a reboot: what is in memory is gone, the disk stays.
  void restart() {
    sources.reset();
    pods = "nothing yet";
    start();
  }

  bool until(const std::function<bool()>& holds, milliseconds limit = patient(seconds(10))) {
    const auto deadline = host::Clock::now() + limit;
    while (!holds() && host::Clock::now() < deadline) {
      auto tick = loop->after(milliseconds(2), [this] { loop->stop(); });
      loop->run();
    }
    return holds();
  }
  void require_pods(const std::string& expected, milliseconds limit = patient(seconds(10))) {
    BOOST_REQUIRE_MESSAGE(until([&] { return pods == expected; }, limit), "pods are " + pods + ", not " + expected);
  }
  void run_for(milliseconds time) {
    until([] { return false; }, time);
  }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(manifests() / name, std::ios::trunc) << text;
  }
  void write_by_rename(const std::string& name, const std::string& text) {
    write("." + name + ".tmp", text);
    std::filesystem::rename(manifests() / ("." + name + ".tmp"), manifests() / name);
  }
  std::string problems() const {
    std::string text;
    for (const auto& problem : sources->problems()) text += describe(problem) + "\n";
    return text;
  }
  SourceStatus status(const std::string& name) const {
    for (auto& one : sources->status()) {
      if (one.name == name) return one;
    }
    BOOST_FAIL("no source " + name);
    return {};
  }
  bool stored(const std::string& name) {
    return until([&] { return std::filesystem::exists(*this / ("root/sources/" + name + ".set")); });
  }

  std::unique_ptr<host::Loop> loop = host::Loop::create();
  Settings settings;
  std::unique_ptr<Sources> sources;
  std::string pods = "nothing yet";
  int changes = 0;
  host::TimePoint last_change;
};

// An HTTP server that answers as it is told, also as no decent server would.
class Web {
 public:
  Web() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    BOOST_REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    BOOST_REQUIRE(::listen(listener_.get(), 16) == 0);
    BOOST_REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    url = fmt::format("http://127.0.0.1:{}/pods.yaml", ntohs(address.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~Web() {
    ending_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  void answer(std::string text) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(text);
  }
  void serve_body(const std::string& body, const std::string& etag = "\"1\"") {
    answer(fmt::format("HTTP/1.1 200 OK\r\nETag: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", etag,
                       body.size(), body));
  }
  std::string last_request() {
    const std::lock_guard lock(mutex_);
    return last_request_;
  }

  std::string url;
  std::atomic<int> requests = 0;
  std::atomic<int> not_modified = 0;
  std::atomic<bool> drip = false;  // a byte each 20 ms, for as long as the client stays

 private:
  void serve() {
    while (!ending_) {
      const host::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t count = ::recv(client.get(), buffer, sizeof(buffer), 0);
        if (count <= 0) break;
        request.append(buffer, static_cast<size_t>(count));
      }
      std::string answer;
      {
        const std::lock_guard lock(mutex_);
        last_request_ = request;
        answer = answer_;
      }
      ++requests;
      const auto etag = answer.find("ETag: ");
      if (etag != std::string::npos) {
        const auto value = answer.substr(etag + 6, answer.find('\r', etag) - etag - 6);
        if (request.find("If-None-Match: " + value) != std::string::npos) {
          ++not_modified;
          answer = "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n";
        }
      }
      if (drip) {
        while (drip && !ending_ && ::send(client.get(), "H", 1, MSG_NOSIGNAL) == 1) ::poll(nullptr, 0, 20);
        continue;
      }
      for (std::string_view rest = answer; !rest.empty();) {
        const ssize_t count = ::send(client.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (count <= 0) break;
        rest.remove_prefix(static_cast<size_t>(count));
      }
    }
  }

  host::Fd listener_;
  std::mutex mutex_;
  std::string answer_, last_request_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

// Debian's etcd on loopback, its data in the directory given.
class Etcd {
 public:
  explicit Etcd(host::Path directory, std::vector<std::string> flags = {}, std::string scheme = "http")
      : directory_(std::move(directory)), flags_(std::move(flags)), scheme_(std::move(scheme)), port(free_port()) {}
  ~Etcd() { kill(); }

  std::string endpoint() const { return fmt::format("{}://127.0.0.1:{}", scheme_, port); }

  void start(uint16_t on_port = 0) {
    const auto url = fmt::format("{}://127.0.0.1:{}", scheme_, on_port == 0 ? port : on_port);
    begin({"--listen-client-urls", url, "--advertise-client-urls", url});
  }
  // On a unix socket; its name is relative to the working directory, and must look like a host and a port.
  std::string start_on_socket() {
    begin({"--listen-client-urls", "unix://etcd:0", "--advertise-client-urls", "http://127.0.0.1:1"});
    return fmt::format("unix://{}/etcd:0", directory_.string());
  }
  void kill() {
    if (!child_) return;
    BOOST_REQUIRE(host::send_signal(child_->pidfd, SIGKILL));
    pollfd ended{.fd = child_->pidfd.get(), .events = POLLIN};
    BOOST_REQUIRE(::poll(&ended, 1, patient(10'000)) == 1);
    BOOST_REQUIRE(host::reap(child_->pidfd));
    child_.reset();
  }
  std::string ctl(std::vector<std::string> arguments, uint16_t on_port = 0) {
    arguments.insert(arguments.begin(),
                     {"/usr/bin/etcdctl", fmt::format("--endpoints=127.0.0.1:{}", on_port == 0 ? port : on_port)});
    return must_run(arguments, {"ETCDCTL_API=3"}).out;
  }

  host::Path log() const { return directory_ / "log"; }

 private:
  void begin(std::vector<std::string> listen) {
    std::filesystem::create_directories(directory_);
    const auto peer = fmt::format("http://127.0.0.1:{}", free_port());
    std::vector<std::string> argv = {"/bin/sh",
                                     "-c",
                                     "cd \"$0\" && exec \"$@\"",
                                     directory_.string(),
                                     "/usr/bin/etcd",
                                     "--name",
                                     "test",
                                     "--data-dir",
                                     "data",
                                     "--listen-peer-urls",
                                     peer,
                                     "--initial-advertise-peer-urls",
                                     peer,
                                     "--initial-cluster",
                                     "test=" + peer};
    argv.insert(argv.end(), listen.begin(), listen.end());
    argv.insert(argv.end(), flags_.begin(), flags_.end());
    auto output = host::open_file(log(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    BOOST_REQUIRE(output);
    auto child = host::spawn({.argv = argv, .environment = {}, .fds = {{output->get(), 1}, {output->get(), 2}}});
    BOOST_REQUIRE_MESSAGE(child, child.error().message);
    child_ = std::move(*child);
  }

  host::Path directory_;
  std::vector<std::string> flags_;
  std::string scheme_;
  std::optional<host::Child> child_;

 public:
  const uint16_t port;
};

struct EtcdNode : Node {
  EtcdNode() { settings.etcd_servers = {etcd.endpoint()}; }
  static std::string key(std::string_view name) { return fmt::format("/registry/hosts/node1/{}", name); }
  void put(std::string_view name, const std::string& text, uint16_t port = 0) {
    etcd.ctl({"put", key(name), text}, port);
  }
  // etcdctl waits until etcd answers: then it is up.
  void start_etcd(uint16_t port = 0) {
    etcd.start(port);
    etcd.ctl({"get", "--dial-timeout=15s", "--command-timeout=15s", "x"}, port);
  }
  Etcd etcd{*this / "etcd"};
};

// What the quicker quarter stays within: that a change acts at once shows there, while the
// slower ones tell how busy the machine is.
milliseconds quick_quarter(std::vector<milliseconds> times) {
  std::ranges::sort(times);
  return times.at(times.size() / 4);
}

}  // namespace

// ---- files ---------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_changed_file_acts_at_once, Node) {
  use_files();
  start();
  require_pods("");
  std::vector<milliseconds> times;
  for (int i = 0; i < 21; ++i) {
    const auto begin = host::Clock::now();
    const auto image = fmt::format("i{}", i);
    if (i % 2 == 0) {
      write("a.yaml", pod("a", image));
    } else {
      write_by_rename("a.yaml", pod("a", image));
    }
    require_pods("a=file:" + image);
    times.push_back(std::chrono::duration_cast<milliseconds>(last_change - begin));
  }
  BOOST_TEST_MESSAGE("file to state: quick quarter " << quick_quarter(times).count() << " ms");
  BOOST_TEST(quick_quarter(times).count() < patient(100));
  std::filesystem::remove(manifests() / "a.yaml");
  require_pods("");
}

BOOST_FIXTURE_TEST_CASE(a_directory_that_comes_goes_and_comes_again_is_followed, Node) {
  use_files();
  std::filesystem::remove(manifests());
  start();
  require_pods("");
  std::filesystem::create_directory(manifests());
  write("a.yaml", pod("a"));
  require_pods("a=file:busybox");
  std::filesystem::remove_all(manifests());
  require_pods("");
  std::filesystem::create_directory(manifests());
  write("b.yaml", pod("b"));
  require_pods("b=file:busybox");
}

BOOST_FIXTURE_TEST_CASE(the_path_may_be_one_file, Node) {
  settings.manifest_path = manifests() / "only.yaml";
  write("only.yaml", pod("a"));
  write("other.yaml", pod("b"));
  start();
  require_pods("a=file:busybox");
  write_by_rename("only.yaml", pod("a", "new"));
  require_pods("a=file:new");
}

BOOST_FIXTURE_TEST_CASE(a_broken_manifest_keeps_the_last_good_one_and_says_where, Node) {
  use_files();
  write("a.yaml", pod("a"));
  write("b.yaml", pod("b"));
  start();
  require_pods("a=file:busybox b=file:busybox");
  write("a.yaml", pod("a", "new") + "  restartPolicy: Sometimes\n");
  write("b.yaml", "kind: Pod\nmetadata: [\n");
  BOOST_REQUIRE(until([&] { return sources->problems().size() >= 2; }));
  BOOST_TEST(pods == "a=file:busybox b=file:busybox");
  BOOST_TEST(problems().find((manifests() / "a.yaml").string() + ":9: Pod default/a: spec.restartPolicy") !=
             std::string::npos);
  BOOST_TEST(problems().find((manifests() / "b.yaml").string() + ":") != std::string::npos);
  BOOST_TEST(status("file").errors == 2U);
  write("a.yaml", pod("a", "new"));
  write("b.yaml", pod("b"));
  require_pods("a=file:new b=file:busybox");
  BOOST_TEST(until([&] { return sources->problems().empty(); }));
}

BOOST_FIXTURE_TEST_CASE(a_file_that_is_being_written_is_not_read_half, Node) {
  use_files();
  write("a.yaml", pod("a") + "---\n" + pod("b"));
  start();
  require_pods("a=file:busybox b=file:busybox");
  {
    // Truncated and written in place: valid YAML at every step, but not what is meant.
    std::ofstream file(manifests() / "a.yaml", std::ios::trunc);
    file << pod("a", "new") << std::flush;
    write("other.yaml", pod("c"));  // makes the source look right now
    require_pods("a=file:busybox b=file:busybox c=file:busybox");
    run_for(milliseconds(300));
    BOOST_TEST(pods == "a=file:busybox b=file:busybox c=file:busybox");
    file << "---\n" << pod("b", "new");
  }
  require_pods("a=file:new b=file:new c=file:busybox");
}

BOOST_FIXTURE_TEST_CASE(a_file_that_stays_open_for_writing_is_read_in_the_end, Node) {
  use_files();
  start();
  require_pods("");
  std::ofstream file(manifests() / "a.yaml", std::ios::trunc);
  file << pod("a") << std::flush;
  require_pods("a=file:busybox", patient(seconds(5)));
}

BOOST_FIXTURE_TEST_CASE(a_directory_like_a_mounted_config_map_works, Node) {
  use_files();
  auto version = [&](const std::string& name, const std::string& image) {
    std::filesystem::create_directory(manifests() / name);
    std::ofstream(manifests() / name / "web.yaml") << pod("web", image);
    std::filesystem::create_symlink(name, manifests() / "..data_tmp");
    std::filesystem::rename(manifests() / "..data_tmp", manifests() / "..data");
  };
  version("..one", "one");
  std::filesystem::create_symlink("..data/web.yaml", manifests() / "web.yaml");
  start();
  require_pods("web=file:one");
  version("..two", "two");
  require_pods("web=file:two");
}

BOOST_FIXTURE_TEST_CASE(what_is_no_manifest_is_left_alone, Node) {
  use_files();
  settings.limits.document_bytes = 4096;
  write("a.yaml~", pod("no"));
  write(".b.yaml", pod("no"));
  write("README", "read me");
  std::filesystem::create_directory(manifests() / "below");
  std::ofstream(manifests() / "below" / "c.yaml") << pod("no");
  BOOST_REQUIRE(::mkfifo((manifests() / "fifo.yaml").c_str(), 0600) == 0);  // must not hang
  std::filesystem::create_symlink("nowhere", manifests() / "dangling.yaml");
  write("large.yaml", pod("no") + std::string(5000, '#'));
  write(
      "yes.json",
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"yes"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  start();
  require_pods("yes=file:i");
  BOOST_TEST(problems().find("fifo.yaml: not a regular file") != std::string::npos);
  BOOST_TEST(problems().find("large.yaml: ") != std::string::npos);
  BOOST_TEST(sources->problems().size() == 2U);
}

BOOST_FIXTURE_TEST_CASE(a_change_that_inotify_cannot_tell_is_seen_at_the_next_check, Node) {
  use_files();
  settings.file_check = milliseconds(200);
  const auto target = *this / "elsewhere.yaml";  // outside the directory that is watched
  std::ofstream(target) << pod("a");
  std::filesystem::create_symlink(target, manifests() / "a.yaml");
  start();
  require_pods("a=file:busybox");
  std::ofstream(target, std::ios::trunc) << pod("a", "new");
  require_pods("a=file:new");
}

BOOST_FIXTURE_TEST_CASE(after_a_restart_nothing_differs_and_a_damaged_store_is_ignored, Node) {
  use_files();
  write("a.yaml", pod("a"));
  start();
  require_pods("a=file:busybox");
  BOOST_REQUIRE(stored("file"));
  const auto before = sources->state().pods;
  restart();
  BOOST_TEST(sources->synced());
  BOOST_TEST((sources->state().pods == before));  // from the disk alone: the loop has not run yet
  BOOST_REQUIRE(until([&] { return status("file").spoken; }));
  BOOST_TEST((sources->state().pods == before));  // uid, config.seen and all

  sources.reset();
  std::ofstream(*this / "root/sources/file.set", std::ios::trunc) << "keelson-set 1 file 1 0000\nrubbish";
  restart();
  BOOST_TEST(!sources->synced());
  BOOST_TEST(!sources->has_spoken("file"));
  require_pods("a=file:busybox");
  BOOST_TEST(sources->synced());
}

// ---- URL -----------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_url_is_fetched_with_its_headers_and_an_unchanged_one_by_etag, Node) {
  Web web;
  web.serve_body(pod("a"));
  settings.manifest_url = web.url;
  settings.manifest_url_headers = {{"X-Token", "secret"}};
  settings.http_check = milliseconds(50);
  start();
  require_pods("a=url:busybox");
  BOOST_TEST(web.last_request().find("X-Token: secret\r\n") != std::string::npos);
  BOOST_REQUIRE(until([&] { return web.not_modified >= 2; }));
  const int before = changes;
  BOOST_REQUIRE(until([&] { return web.not_modified >= 4; }));
  BOOST_TEST(changes == before);
  web.serve_body(pod("a", "new"), "\"2\"");
  require_pods("a=url:new");
}

BOOST_FIXTURE_TEST_CASE(a_server_that_fails_in_any_way_keeps_the_last_set, Node) {
  Web web;
  web.serve_body(pod("a"));
  settings.manifest_url = web.url;
  settings.http_check = milliseconds(50);
  use_files();
  start();
  require_pods("a=url:busybox");
  const std::string garbage(2000, '\xfe');
  int n = 0;
  for (const std::string& answer :
       {std::string("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nkind: Pod"),  // cut off
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), garbage, std::string()}) {
    web.answer(answer);
    const auto failed = status("url").failed_total;
    BOOST_REQUIRE_MESSAGE(until([&] { return status("url").failed_total > failed; }), answer.substr(0, 40));
    BOOST_TEST(pods.find("a=url:busybox") != std::string::npos);
    // It holds up nobody else.
    write("f.yaml", pod("f", fmt::format("i{}", ++n)));
    require_pods(fmt::format("a=url:busybox f=file:i{}", n));
  }
  BOOST_TEST(!status("url").last_error.empty());
  // A body that is no manifest is no failure to fetch, and keeps the last good one too.
  web.serve_body("<html>captive portal</html>", "\"3\"");
  BOOST_REQUIRE(until([&] { return status("url").last_error.empty() && !problems().empty(); }));
  BOOST_TEST(pods.find("a=url:busybox") != std::string::npos);
  web.serve_body(pod("a", "back"), "\"4\"");
  require_pods(fmt::format("a=url:back f=file:i{}", n));
}

BOOST_FIXTURE_TEST_CASE(a_server_that_drips_is_left_at_the_period, Node) {
  Web web;
  web.drip = true;
  settings.manifest_url = web.url;
  settings.http_check = milliseconds(300);
  use_files();
  write("f.yaml", pod("f"));
  start();
  require_pods("f=file:busybox");
  BOOST_REQUIRE(until([&] { return status("url").failed_total >= 1; }));
  BOOST_TEST(!sources->synced());
  BOOST_TEST(!sources->has_spoken("url"));
  BOOST_TEST(sources->has_spoken("file"));
  web.serve_body(pod("a"));
  web.drip = false;
  require_pods("a=url:busybox f=file:busybox");
  BOOST_TEST(sources->synced());
}

BOOST_FIXTURE_TEST_CASE(a_reboot_without_the_network_brings_the_pods_back, Node) {
  {
    Web web;
    web.serve_body(pod("a"));
    settings.manifest_url = web.url;
    settings.http_check = milliseconds(100);
    start();
    require_pods("a=url:busybox");
    BOOST_REQUIRE(stored("url"));
  }
  restart();
  require_pods("a=url:busybox");
  BOOST_TEST(sources->synced());
  BOOST_REQUIRE(until([&] { return status("url").failed_total >= 2; }));
  BOOST_TEST(pods == "a=url:busybox");
  // A URL that is configured no more takes its pods along, and they do not come back.
  const auto url = std::exchange(settings.manifest_url, "");
  use_files();
  restart();
  require_pods("");
  BOOST_TEST(sources->has_spoken("url"));
  settings.manifest_url = url;
  restart();
  require_pods("");
  BOOST_TEST(!sources->has_spoken("url"));
}

// ---- push ----------------------------------------------------------------------------

struct PushNode : Node {
  PushNode() { settings.push = true; }
  std::expected<Pushed, PushError> push(PushRequest request) {
    std::optional<std::expected<Pushed, PushError>> answer;
    sources->push_store(std::move(request), [&](auto result) { answer = std::move(result); });
    BOOST_REQUIRE(until([&] { return answer.has_value(); }));
    return std::move(*answer);
  }
  host::Status remove(const std::string& name) {
    std::optional<host::Status> answer;
    sources->push_remove({"Pod", "default", name}, [&](auto result) { answer = std::move(result); });
    BOOST_REQUIRE(until([&] { return answer.has_value(); }));
    return *answer;
  }
};

BOOST_FIXTURE_TEST_CASE(what_a_push_accepted_is_on_disk_before_the_answer, PushNode) {
  start();
  const auto pushed = push({.manifest = pod("a") + "---\n" + pod("b")});
  BOOST_REQUIRE(pushed);
  BOOST_TEST(pushed->keys.size() == 2U);
  // No more than the answer has happened: what is on disk now is all that a power cut would leave.
  restart();
  require_pods("a=push:busybox b=push:busybox");
  BOOST_REQUIRE(push({.manifest = pod("a", "new")}));
  require_pods("a=push:new b=push:busybox");
  BOOST_REQUIRE(remove("b"));
  restart();
  require_pods("a=push:new");
  BOOST_TEST((remove("b").error().code == host::Error::Code::not_found));
}

BOOST_FIXTURE_TEST_CASE(a_push_is_taken_whole_or_not_at_all, PushNode) {
  use_files();
  write("f.yaml", pod("f"));
  start();
  require_pods("f=file:busybox");
  auto code = [&](PushRequest request) {
    const auto answer = push(std::move(request));
    BOOST_REQUIRE(!answer);
    return answer.error().error.code;
  };
  using Code = host::Error::Code;
  BOOST_TEST((code({.manifest = pod("a") + "---\n" + pod("b") + "  restartPolicy: Sometimes\n"}) == Code::invalid));
  BOOST_TEST((code({.manifest = pod("a") + "---\nkind: ["}) == Code::invalid));
  BOOST_TEST((code({.manifest = ""}) == Code::invalid));
  BOOST_TEST((code({.manifest = pod("a") + "  hostNetwork: true\n"}) == Code::denied));
  BOOST_TEST((code({.manifest = pod("f", "mine")}) == Code::exists));
  BOOST_TEST((code({.manifest = pod("a"), .only = api::ObjectKey{"Pod", "default", "b"}}) == Code::invalid));
  BOOST_TEST(pods == "f=file:busybox");
  BOOST_REQUIRE(push({.manifest = pod("a"), .replace = false}));
  BOOST_TEST((code({.manifest = pod("a", "other"), .replace = false}) == Code::exists));
  BOOST_REQUIRE(push({.manifest = pod("a", "new"), .only = api::ObjectKey{"Pod", "default", "a"}}));
  require_pods("a=push:new f=file:busybox");
}

BOOST_FIXTURE_TEST_CASE(a_push_that_cannot_be_stored_is_not_accepted, PushNode) {
  start();
  require_pods("");
  std::filesystem::remove_all(*this / "root/sources");
  std::ofstream(*this / "root/sources") << "in the way";
  const auto answer = push({.manifest = pod("a")});
  BOOST_REQUIRE(!answer);
  run_for(milliseconds(50));
  BOOST_TEST(pods == "");
}

BOOST_FIXTURE_TEST_CASE(pushes_at_once_are_done_one_after_the_other, PushNode) {
  start();
  int done = 0;
  for (int i = 0; i < 20; ++i) {
    sources->push_store({.manifest = pod(fmt::format("p{:02}", i))}, [&](auto result) { done += result ? 1 : 0; });
  }
  BOOST_REQUIRE(until([&] { return done == 20; }));
  BOOST_TEST(sources->state().pods.size() == 20U);
  restart();
  BOOST_TEST(until([&] { return sources->state().pods.size() == 20; }));
}

// The longest time in which the loop did nothing else, while `happens` came true.
host::Duration longest_turn(Node& node, const std::function<bool()>& happens) {
  host::Duration longest{};
  auto last = host::Clock::now();
  BOOST_REQUIRE(node.until(
      [&] {
        longest = std::max(longest, host::Clock::now() - std::exchange(last, host::Clock::now()));
        return happens();
      },
      seconds(60)));
  return longest;
}

// 40 ConfigMaps of 75,000 bytes.
std::string big_manifest() {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += fmt::format("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{}}}\ndata:\n", i);
    for (int line = 0; line < 1500; ++line) text += fmt::format("  key-{:06}: \"{:035}\"\n", line, line);
    text += "---\n";
  }
  return text;
}

// Decoding takes long; the loop, which serves Pods and Services meanwhile, must not.
BOOST_FIXTURE_TEST_CASE(big_manifests_do_not_hold_up_the_loop, PushNode) {
  const auto text = big_manifest();
  const auto began = host::Clock::now();
  BOOST_REQUIRE(api::decode_manifest(text).objects.size() == 40U);
  const auto decoding = host::Clock::now() - began;
  Web web;
  web.serve_body(text);
  settings.manifest_url = web.url;
  settings.http_check = seconds(1);
  start();
  const auto has = [&](size_t count) { return [this, count] { return sources->state().config_maps.size() == count; }; };
  BOOST_TEST((longest_turn(*this, has(40)) < decoding / 4), "by URL");

  std::string pushed = text;
  for (size_t at = 0; (at = pushed.find("{name: m", at)) != pushed.npos; ++at) pushed[at + 7] = 'p';
  bool stored = false;
  sources->push_store({.manifest = pushed}, [&](const auto& result) { stored = result.has_value(); });
  BOOST_TEST((longest_turn(*this, [&] { return stored; }) < decoding / 4), "by push");
  BOOST_TEST((longest_turn(*this, has(80)) < decoding / 4), "by push, on its way to the state");
  // What was pushed is read from the disk again.
  restart();
  BOOST_TEST((longest_turn(*this, has(80)) < decoding / 4), "by a restart");
}

// ---- etcd ----------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_key_that_is_put_or_deleted_acts_at_once, EtcdNode) {
  start_etcd();
  put("early", pod("early"));
  etcd.ctl({"put", "/registry/hosts/node10/other", pod("other")});
  start();
  require_pods("early=etcd:busybox");
  etcd.ctl({"del", key("early")});
  require_pods("");

  auto client = etcd::Client::create(*loop, {.servers = {etcd.endpoint()}});
  BOOST_REQUIRE_MESSAGE(client, client.error().message);
  std::vector<milliseconds> times;
  for (int i = 0; i < 21; ++i) {
    const auto image = fmt::format("i{}", i);
    const auto begin = host::Clock::now();
    (*client)->put({.key = key("a"), .value = pod("a", image)},
                   [](const auto& answer) { BOOST_TEST(answer.has_value()); });
    require_pods("a=etcd:" + image);
    times.push_back(std::chrono::duration_cast<milliseconds>(last_change - begin));
  }
  BOOST_TEST_MESSAGE("put to state: quick quarter " << quick_quarter(times).count() << " ms");
  BOOST_TEST(quick_quarter(times).count() < patient(50));
}

BOOST_FIXTURE_TEST_CASE(etcd_may_be_killed_and_come_back, EtcdNode) {
  start_etcd();
  put("a", pod("a"));
  start();
  require_pods("a=etcd:busybox");
  for (int i = 0; i < 2; ++i) {
    etcd.kill();
    BOOST_REQUIRE(until([&] { return !status("etcd").last_error.empty(); }));
    BOOST_TEST(pods.find("a=etcd") == 0U);
    start_etcd();
    BOOST_REQUIRE(until([&] { return status("etcd").last_error.empty(); }));  // also when there is nothing new
    put("a", pod("a", fmt::format("i{}", i)));
    require_pods(fmt::format("a=etcd:i{}", i));
  }
}

BOOST_FIXTURE_TEST_CASE(a_compaction_while_it_is_away_loses_nothing, EtcdNode) {
  start_etcd();
  put("a", pod("a"));
  put("b", pod("b"));
  start();
  require_pods("a=etcd:busybox b=etcd:busybox");
  etcd.kill();
  // The same data, but where the node does not look.
  const auto elsewhere = free_port();
  start_etcd(elsewhere);
  etcd.ctl({"del", key("a")}, elsewhere);
  for (int i = 0; i < 5; ++i) put("c", pod("c", fmt::format("i{}", i)), elsewhere);
  const auto json = etcd.ctl({"get", "x", "-w", "json"}, elsewhere);
  const auto at = json.find("\"revision\":") + 11;
  etcd.ctl({"compact", json.substr(at, json.find_first_of(",}", at) - at)}, elsewhere);
  etcd.kill();
  BOOST_TEST(pods == "a=etcd:busybox b=etcd:busybox");
  start_etcd();
  require_pods("b=etcd:busybox c=etcd:i4");
}

BOOST_FIXTURE_TEST_CASE(an_etcd_that_is_away_at_a_reboot_is_waited_for_with_the_stored_set, EtcdNode) {
  start_etcd();
  put("a", pod("a"));
  start();
  require_pods("a=etcd:busybox");
  BOOST_REQUIRE(stored("etcd"));
  etcd.kill();
  use_files();
  write("f.yaml", pod("f"));
  restart();
  require_pods("a=etcd:busybox f=file:busybox");
  BOOST_REQUIRE(until([&] { return status("etcd").failed_total >= 1; }));
  start_etcd();
  etcd.ctl({"del", key("a")});
  require_pods("f=file:busybox");
}

BOOST_FIXTURE_TEST_CASE(of_several_endpoints_the_one_that_answers_is_used, EtcdNode) {
  settings.etcd_servers = {fmt::format("http://127.0.0.1:{}", free_port()), etcd.endpoint()};
  start_etcd();
  put("a", pod("a"));
  start();
  require_pods("a=etcd:busybox");
}

BOOST_FIXTURE_TEST_CASE(etcd_on_a_unix_socket_works, EtcdNode) {
  settings.etcd_servers = {etcd.start_on_socket()};
  auto client = etcd::Client::create(*loop, {.servers = settings.etcd_servers, .deadline = patient(seconds(15))});
  BOOST_REQUIRE(client);
  bool up = false;
  (*client)->range({.key = "x"}, [&](const auto& answer) { up = answer.has_value(); });
  BOOST_REQUIRE(until([&] { return up; }, patient(seconds(15))));
  start();
  require_pods("");
  (*client)->put({.key = key("a"), .value = pod("a")}, [](const auto&) {});
  require_pods("a=etcd:busybox");
}

BOOST_FIXTURE_TEST_CASE(etcd_with_tls_and_client_certificates_works_and_strangers_are_refused, Node) {
  const auto make = [&](const std::string& script) { must_run({"/bin/sh", "-ec", "cd \"$0\"; " + script, name}); };
  const std::string key = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes ";
  make(key + "-x509 -days 1 -subj /CN=ca -keyout ca.key -out ca.pem 2>&1");
  make(key + "-x509 -days 1 -subj /CN=stranger -keyout stranger.key -out stranger.pem 2>&1");
  for (const std::string who : {"server", "client"}) {
    make(key + "-subj /CN=" + who + " -keyout " + who + ".key -out " + who +
         ".csr 2>&1; "
         "printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext; "
         "openssl x509 -req -days 1 -in " +
         who + ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out " + who + ".pem 2>&1");
  }
  Etcd etcd(*this / "etcd",
            {"--cert-file", (*this / "server.pem").string(), "--key-file", (*this / "server.key").string(),
             "--trusted-ca-file", (*this / "ca.pem").string(), "--client-cert-auth"},
            "https");
  etcd.start();
  const etcd::Settings good{.servers = {etcd.endpoint()},
                            .ca_file = *this / "ca.pem",
                            .cert_file = *this / "client.pem",
                            .key_file = *this / "client.key",
                            .deadline = patient(seconds(15))};
  auto client = etcd::Client::create(*loop, good);
  BOOST_REQUIRE_MESSAGE(client, client.error().message);
  bool up = false;
  (*client)->put({.key = "/registry/hosts/node1/a", .value = pod("a")},
                 [&](const auto& answer) { up = answer.has_value(); });
  BOOST_REQUIRE(until([&] { return up; }, patient(seconds(15))));

  settings.etcd_servers = good.servers;
  settings.etcd_ca_file = good.ca_file;
  settings.etcd_cert_file = good.cert_file;
  settings.etcd_key_file = good.key_file;
  start();
  require_pods("a=etcd:busybox");
  sources.reset();
  std::filesystem::remove_all(*this / "root");

  // A server whose certificate is not of our CA; a client without one of theirs.
  settings.etcd_ca_file = *this / "stranger.pem";
  start();
  BOOST_REQUIRE(until([&] { return status("etcd").failed_total >= 1; }));
  BOOST_TEST(!status("etcd").spoken);
  sources.reset();
  settings.etcd_ca_file = good.ca_file;
  settings.etcd_cert_file = settings.etcd_key_file = "";
  start();
  BOOST_REQUIRE(until([&] { return status("etcd").failed_total >= 1; }));
  BOOST_TEST(!status("etcd").spoken);
}

BOOST_FIXTURE_TEST_CASE(keys_transactions_pages_and_leases_work_against_a_real_etcd, EtcdNode) {
  start_etcd();
  auto made = etcd::Client::create(*loop, {.servers = {etcd.endpoint()}, .message_bytes = 256u << 10});
  BOOST_REQUIRE(made);
  auto& client = **made;
  const auto wait = [&]<typename A>(std::optional<host::Result<A>>& slot) {
    BOOST_REQUIRE(until([&] { return slot.has_value(); }));
    BOOST_REQUIRE_MESSAGE(slot->has_value(), slot->error().message);
    return **slot;
  };
  const auto into = [](auto& slot) { return [&slot](auto answer) { slot = std::move(answer); }; };

  // A transaction: create if it does not exist, else read.
  const etcd::Txn create{.compares = {{.key = "/t/a", .target = etcd::Compare::Target::create_revision, .value = 0}},
                         .success = {etcd::Put{.key = "/t/a", .value = "1"}},
                         .failure = {etcd::Range{.key = "/t/a"}}};
  std::optional<host::Result<etcd::TxnAnswer>> first, second;
  client.txn(create, into(first));
  BOOST_TEST(wait(first).succeeded);
  client.txn(create, into(second));
  const auto lost = wait(second);
  BOOST_TEST(!lost.succeeded);
  BOOST_TEST(std::get<etcd::RangeAnswer>(lost.answers.at(0)).kvs.at(0).value == "1");

  // A list that is longer than a message may be.
  std::optional<host::Result<etcd::PutAnswer>> stored;
  for (int i = 0; i < 40; ++i) {
    stored.reset();
    client.put({.key = fmt::format("/big/{:02}", i), .value = std::string(50'000, 'x')}, into(stored));
    wait(stored);
  }
  std::optional<host::Result<etcd::RangeAnswer>> all;
  client.list("/big/", into(all));
  BOOST_TEST(wait(all).kvs.size() == 40U);
  std::optional<host::Result<etcd::RangeAnswer>> too_much;
  client.range({.key = "/big/", .range_end = "/big0"}, into(too_much));
  BOOST_REQUIRE(until([&] { return too_much.has_value(); }));
  BOOST_TEST(!too_much->has_value());

  std::optional<host::Result<etcd::DeleteAnswer>> removed;
  client.remove({.key = "/big/", .range_end = "/big0"}, into(removed));
  BOOST_TEST(wait(removed).deleted == 40);

  // A lease that is kept outlives its time; one that is not takes its key along.
  std::optional<host::Result<etcd::LeaseGrantAnswer>> kept, left;
  client.grant({.ttl_seconds = 1}, into(kept));
  client.grant({.ttl_seconds = 1}, into(left));
  const auto lease = wait(kept).id;
  client.put({.key = "/l/kept", .lease = lease}, [](const auto&) {});
  client.put({.key = "/l/left", .lease = wait(left).id}, [](const auto&) {});
  bool gone = false;
  auto beats = client.keep_alive(lease, seconds(1), [&] { gone = true; });
  int deleted = 0;
  auto watch = client.watch("/l/", 0,
                            {.events =
                                 [&](int64_t, const auto& events) {
                                   for (const auto& event : events) {
                                     if (event.type == etcd::Event::Type::deleted) ++deleted;
                                   }
                                 },
                             .compacted = [] {}});
  BOOST_REQUIRE(until([&] { return deleted == 1; }));
  run_for(seconds(2));
  BOOST_TEST(deleted == 1);
  BOOST_TEST(!gone);
  std::optional<host::Result<etcd::LeaseRevokeAnswer>> revoked;
  client.revoke({.id = lease}, into(revoked));
  wait(revoked);
  BOOST_TEST(until([&] { return gone && deleted == 2; }));
}

BOOST_FIXTURE_TEST_CASE(settings_that_cannot_work_are_refused_with_a_reason, Node) {
  const auto refused = [&](auto change) {
    Settings wrong = settings;
    change(wrong);
    const auto made = Sources::create(*loop, wrong, [](const auto&) {});
    return made ? std::string("accepted") : made.error().message;
  };
  BOOST_TEST(refused([](auto& s) { s.manifest_url = "ftp://x"; }).find("--manifest-url") == 0U);
  BOOST_TEST(refused([](auto& s) { s.etcd_servers = {"http://a:b"}; }).find("--etcd-servers") == 0U);
  BOOST_TEST(refused([](auto& s) {
               s.etcd_servers = {"http://a"};
               s.etcd_prefix = "/registry/hosts/node1";
             }).find("must end with /") != std::string::npos);
  BOOST_TEST(refused([](auto& s) {
               s.etcd_servers = {"https://a"};
               s.etcd_ca_file = "/nonexistent";
             }).find("/nonexistent") != std::string::npos);
  BOOST_TEST(refused([](auto& s) {
               s.etcd_servers = {"http://a"};
               s.etcd_ca_file = "/etc/passwd";
             }).find("https") != std::string::npos);
}

}  // namespace keelson::sources
