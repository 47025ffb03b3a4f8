// What a client may meet while the agent programs: half a set, a set that the agent left
// when it was killed, an agent that starts over.

#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "bpf/abi.h"
#include "host/bpf.h"
#include "test/bpf/yard.h"

using namespace keelson;
using namespace keelson::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* kVip = "10.96.0.1";

api::Service web() {
  return make_service(
      "web", {kVip},
      {{.port = 80, .target = {.number = 8080}}, {.port = 80, .target = {.number = 8080}, .protocol = "UDP"}});
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(every_pick_belongs_to_one_published_set, Yard) {
  auto wide = settings();
  wide.limits = {};  // each flip takes new numbers, and the old ones rest
  wide.packet_path = false;
  start(wide);
  auto tcp_only = web();
  tcp_only.spec.ports.pop_back();
  proxy->set_services({tcp_only});
  // 10.244.0.1 to .3 are one set, .129 to .131 the other.
  const auto set_pods = [&](bool second) {
    for (const int half : {0, 1}) {
      for (int i = 1; i <= 3; ++i) {
        const int last = half * 128 + i;
        proxy->set_pod(
            make_pod(fmt::format("web-{}", last), "web", {fmt::format("10.244.0.{}", last)}, (half == 1) == second));
      }
    }
    BOOST_REQUIRE(proxy->flush());
  };
  set_pods(false);

  const auto map_of = [&](const char* map) {
    auto opened = host::BpfMap::open_pinned(bpffs / "v1" / map);
    BOOST_REQUIRE(opened);
    return std::move(*opened);
  };
  const auto vip = map_of("vip");
  uint32_t service_id = 0;
  BOOST_REQUIRE(vip.for_each([&](const void*, const void* value) { std::memcpy(&service_id, value, 4); }));
  const auto services = map_of("service").map_memory().value(), slots = map_of("slot").map_memory().value(),
             backends = map_of("backend").map_memory().value();

  std::atomic<bool> done = false;
  std::atomic<uint64_t> picks = 0, torn = 0, sets_seen = 0;
  const auto read = [&] {
    const auto* published = reinterpret_cast<const volatile uint64_t*>(services.element(service_id));
    uint64_t last = 0;
    while (!done) {
      // As choose() in bpf/lb.h does: one load, then the slots that it names.
      union {
        uint64_t word;
        keelson::abi::publication set;
      } now = {.word = *published};
      bool first_half = false, second_half = false;
      for (uint32_t i = 0; i < now.set.count; ++i) {
        const auto id = *reinterpret_cast<const volatile uint32_t*>(slots.element(now.set.base + i));
        const auto* backend = reinterpret_cast<const keelson::abi::backend*>(backends.element(id));
        (backend->address.byte[15] < 128 ? first_half : second_half) = true;
      }
      ++picks;
      if (now.set.count != 3 || (first_half && second_half)) ++torn;
      if (now.word != last) ++sets_seen;
      last = now.word;
    }
  };
  std::thread one(read), two(read);
  const auto end = host::Clock::now() + 2s;
  int flips = 0;
  for (; flips < 4000 && host::Clock::now() < end; ++flips) set_pods(flips % 2 == 0);
  done = true;
  one.join();
  two.join();
  BOOST_TEST_MESSAGE(flips << " flips, " << picks << " picks, " << sets_seen << " sets seen");
  BOOST_CHECK_EQUAL(torn.load(), 0);
  BOOST_CHECK_GT(sets_seen.load(), 20);
  for (const auto& view : proxy->services()) BOOST_CHECK_EQUAL(view.degraded, "");
}

BOOST_FIXTURE_TEST_CASE(kill_9_at_any_moment_of_programming_moves_no_flow_and_the_next_agent_converges, Yard) {
  constexpr int kRounds = 30, kOthers = 40;
  add_address("10.244.0.5");
  const auto tcp = listen_on(SOCK_STREAM, "10.244.0.5", 8080);
  const auto udp = listen_on(SOCK_DGRAM, "10.244.0.5", 8080);
  auto only_sockets = settings();
  only_sockets.packet_path = false;
  only_sockets.limits.slots = 65536;
  std::vector<api::Service> services = {web()};
  for (int i = 0; i < kOthers; ++i)
    services.push_back(
        make_service(fmt::format("other-{}", i), {}, {{.port = 80, .target = {.number = 8080}}}, "NodePort"));
  const auto stable = make_pod("web-0", "web", {"10.244.0.5"});
  const auto feed = [&](int round) {
    proxy->set_services(round % 3 == 0 ? std::vector<api::Service>{web()} : services);
    proxy->set_pod(stable);
    for (int i = 1; i <= 8; ++i)
      proxy->set_pod(
          make_pod(fmt::format("web-{}", i), "web", {fmt::format("10.244.0.{}", 100 + i)}, (round + i) % 2 == 0));
    for (int i = 0; i < kOthers; ++i)
      proxy->set_pod(make_pod(fmt::format("pod-{}", i), fmt::format("other-{}", i), {fmt::format("10.244.1.{}", i + 1)},
                              (round + i) % 3 != 0));
  };
  start(only_sockets);
  proxy->set_services({web()});
  proxy->set_pod(stable);
  BOOST_REQUIRE(proxy->flush());
  const auto to = address_of(kVip, 80);
  const auto stream = open_socket(AF_INET, SOCK_STREAM), datagrams = open_socket(AF_INET, SOCK_DGRAM),
             connected = open_socket(AF_INET, SOCK_DGRAM);
  BOOST_REQUIRE_EQUAL(connect_to(stream, to), 0);
  BOOST_REQUIRE_EQUAL(connect_to(connected, to), 0);
  const host::Fd other_end(accept4(tcp.get(), nullptr, nullptr, SOCK_CLOEXEC));
  BOOST_REQUIRE(other_end);
  BOOST_REQUIRE_EQUAL(send_to(datagrams, to, "x"), 0);
  BOOST_REQUIRE(receive(udp));
  stop();
  loop.reset();  // no thread of ours when we fork

  const auto seed = static_cast<unsigned>(getpid());
  std::mt19937 random(seed);
  for (int round = 0; round < kRounds; ++round) {
    BOOST_TEST_CONTEXT("seed " << seed << ", round " << round) {
      const pid_t agent = fork();
      if (agent == 0) {
        loop = host::Loop::create(1);
        auto created = proxy::Proxy::create(*loop, only_sockets);
        if (!created) _exit(1);
        proxy = std::move(*created);
        feed(round);
        proxy->synced();
        for (int turn = round;; ++turn) {
          feed(turn);
          if (!proxy->flush()) _exit(2);
        }
      }
      usleep(std::uniform_int_distribution<unsigned>(0, 60'000)(random));
      kill(agent, SIGKILL);
      int status = 0;
      BOOST_REQUIRE_EQUAL(waitpid(agent, &status, 0), agent);
      BOOST_CHECK_MESSAGE(WIFSIGNALED(status), "the agent ended by itself with " << WEXITSTATUS(status));

      BOOST_REQUIRE_EQUAL(::send(stream.get(), "s", 1, MSG_NOSIGNAL), 1);
      const auto in_stream = receive(other_end);
      BOOST_REQUIRE(in_stream);
      BOOST_CHECK_EQUAL(in_stream->text, "s");
      BOOST_REQUIRE_EQUAL(::send(connected.get(), "c", 1, 0), 1);
      BOOST_REQUIRE_EQUAL(send_to(datagrams, to, "d"), 0);
      for (int i = 0; i < 2; ++i) BOOST_CHECK(receive(udp));
      BOOST_CHECK_EQUAL(peer_of(stream), "10.96.0.1:80");
    }
  }

  loop = host::Loop::create(1);
  start(only_sockets, false);
  proxy->set_services({web()});
  proxy->set_pod(stable);
  proxy->synced();
  BOOST_REQUIRE(proxy->flush());
  for (int i = 0; i < 32; ++i) {
    BOOST_REQUIRE_EQUAL(try_connect(SOCK_STREAM, kVip, 80), 0);
    BOOST_REQUIRE(accept_one(tcp));
  }
  // Nothing of the killed agents is left, once its rest is over.
  run_until([&] {
    const auto usage = proxy->usage();
    return usage.vips == 2 && usage.services == 2 && usage.backends == 2 && usage.slots == 2;
  });
  BOOST_CHECK_EQUAL(peer_of(stream), "10.96.0.1:80");
}
