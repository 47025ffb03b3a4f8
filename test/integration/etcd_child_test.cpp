// A real etcd as our child, and the real client on its socket.

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <thread>

#include "etcd/client.h"
#include "host/process.h"
#include "master/etcd_child/etcd_child.h"
#include "test/patience.h"

using namespace keelson;
using namespace std::chrono_literals;
using etcd_child::EtcdChild;

namespace {

struct Home {
  host::Path path;
  std::unique_ptr<host::Loop> loop = host::Loop::create(1);
  std::unique_ptr<EtcdChild> child;
  int times_ready = 0;

  explicit Home(const std::string& below = {})
      : path("/tmp/keelson-test-etcd-child-" + std::to_string(::getpid())), directory(path / below / "etcd") {}
  ~Home() {
    child.reset();
    std::filesystem::remove_all(path);
  }
  host::Path directory;

  void start() {
    auto started = EtcdChild::start(*loop, {.directory = directory, .least_backoff = 20ms}, [this] { ++times_ready; });
    BOOST_REQUIRE_MESSAGE(started, started.error().message);
    child = std::move(*started);
  }
  // Runs the loop until it holds.
  bool until(const std::function<bool()>& holds, std::chrono::milliseconds limit = 10s) {
    bool held = false;
    const auto end = host::Clock::now() + test::patient(limit);
    std::function<void()> look;
    host::Timer timer;
    look = [&] {
      held = holds();
      if (held || host::Clock::now() > end) {
        loop->stop();
      } else {
        timer = loop->after(2ms, look);
      }
    };
    timer = loop->after(0ms, look);
    loop->run();
    return held;
  }
  void stop() {
    bool stopped = false;
    child->stop([&] { stopped = true; });
    BOOST_REQUIRE(until([&] { return stopped; }));
  }
  std::unique_ptr<etcd::Client> client() {
    auto made = etcd::Client::create(*loop, etcd::Settings{.servers = {child->endpoint()}});
    BOOST_REQUIRE_MESSAGE(made, made.error().message);
    return std::move(*made);
  }
  bool put(etcd::Client& client, const std::string& key) {
    std::optional<bool> good;
    client.put({.key = key, .value = "v"}, [&](host::Result<etcd::PutAnswer> answer) { good = answer.has_value(); });
    BOOST_REQUIRE(until([&] { return good.has_value(); }));
    return *good;
  }
  size_t count(etcd::Client& client, const std::string& prefix) {
    std::optional<size_t> found;
    client.list(prefix, [&](host::Result<etcd::RangeAnswer> answer) { found = answer ? answer->kvs.size() : 0; });
    BOOST_REQUIRE(until([&] { return found.has_value(); }));
    return *found;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_child_serves_on_a_unix_socket_and_opens_no_port) {
  Home home;
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
  auto client = home.client();
  BOOST_TEST(home.put(*client, "/a"));
  BOOST_TEST(home.count(*client, "/") == 1U);
  auto sockets = host::run({.argv = {"/usr/bin/ss", "-Htulnp"}}, "", 10'000);
  BOOST_REQUIRE(sockets);
  BOOST_TEST(sockets->out.find("pid=" + std::to_string(home.child->pid()) + ",") == std::string::npos);
  const auto mode = std::filesystem::status(home.directory).permissions();
  BOOST_TEST((mode == std::filesystem::perms::owner_all));
}

BOOST_AUTO_TEST_CASE(the_child_has_half_of_the_processors_unless_the_environment_says_otherwise) {
  const auto given = [] {
    Home home;
    home.start();
    BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
    const auto environment = host::read_file("/proc/" + std::to_string(home.child->pid()) + "/environ");
    BOOST_REQUIRE(environment);
    const std::string name = "GOMAXPROCS=";
    const auto at = environment->find(name);
    BOOST_REQUIRE(at != std::string::npos);
    return std::string(environment->c_str() + at + name.size());
  };
  BOOST_TEST(given() == std::to_string(std::max(1u, std::thread::hardware_concurrency() / 2)));
  ::setenv("GOMAXPROCS", "3", 1);
  BOOST_TEST(given() == "3");
  ::unsetenv("GOMAXPROCS");
}

BOOST_AUTO_TEST_CASE(a_killed_etcd_is_started_again_and_has_lost_nothing) {
  Home home;
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
  auto client = home.client();
  for (int round = 1; round <= 5; ++round) {
    BOOST_TEST(home.put(*client, "/round/" + std::to_string(round)));
    ::kill(static_cast<pid_t>(home.child->pid()), SIGKILL);
    BOOST_REQUIRE(home.until([&] { return home.times_ready == round + 1; }));
    BOOST_TEST(home.count(*client, "/round/") == static_cast<size_t>(round));
  }
  BOOST_TEST(home.child->deaths() == 5);
}

BOOST_AUTO_TEST_CASE(stopped_it_stays_so_and_starts_again_with_its_data) {
  Home home;
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
  auto client = home.client();
  BOOST_TEST(home.put(*client, "/kept"));
  home.stop();
  BOOST_TEST(home.child->pid() == 0);
  BOOST_TEST(home.child->deaths() == 0);
  client.reset();
  home.child.reset();
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
  client = home.client();
  BOOST_TEST(home.count(*client, "/kept") == 1U);
}

BOOST_AUTO_TEST_CASE(a_directory_longer_than_a_socket_address_will_do) {
  Home home(std::string(120, 'd'));
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
  auto client = home.client();
  BOOST_TEST(home.put(*client, "/a"));
}

BOOST_AUTO_TEST_CASE(a_child_that_cannot_begin_is_tried_again_and_says_why) {
  Home home;
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->serves(); }));
  home.stop();
  home.child.reset();
  // A file in the way of its data.
  std::filesystem::rename(home.directory / "data", home.directory / "aside");
  std::filesystem::copy_file("/etc/hostname", home.directory / "data");
  home.start();
  BOOST_REQUIRE(home.until([&] { return home.child->deaths() >= 2; }));
  std::filesystem::remove(home.directory / "data");
  std::filesystem::rename(home.directory / "aside", home.directory / "data");
  BOOST_TEST(home.until([&] { return home.child->serves(); }));
}

BOOST_AUTO_TEST_CASE(a_program_that_is_not_there_is_an_error_at_once) {
  Home home;
  auto started = EtcdChild::start(*home.loop, {.directory = home.directory, .program = "/usr/bin/no-etcd"}, {});
  BOOST_REQUIRE(!started);
  BOOST_TEST(started.error().message.find("/usr/bin/no-etcd") != std::string::npos);
}
