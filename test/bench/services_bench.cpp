// tools/bench services: what a service costs its clients and how soon a change is in
// the kernel, beside rule sets like kube-proxy's for nft and iptables in the same run.
// Everything in a network namespace and a cgroup of its own.

#include <fmt/core.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>

#include "test/bpf/yard.h"

using namespace keelson;
using namespace keelson::test;

namespace {

constexpr int kBackends = 2;
constexpr int kUdpRounds = 20000, kTcpRounds = 2000, kChanges = 300;
constexpr const char* kServer = "10.244.0.5";

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

double percentile(std::vector<int64_t> samples, double p) {
  const auto at = static_cast<size_t>(p * static_cast<double>(samples.size() - 1));
  std::ranges::nth_element(samples, samples.begin() + static_cast<ptrdiff_t>(at));
  return static_cast<double>(samples[at]);
}

// How long connect() takes: a new socket each time, both destinations in turn.
struct Pair {
  std::vector<int64_t> vip, direct;
};

Pair measure(int type, const Address& vip, const Address& direct, int rounds, const host::Fd& listener) {
  Pair pair;
  for (int i = 0; i < rounds; ++i) {
    for (auto [to, samples] : {std::pair{&vip, &pair.vip}, {&direct, &pair.direct}}) {
      const auto socket = open_socket(to->storage.ss_family, type);
      const auto begin = now_ns();
      const int error = connect_to(socket, *to);
      samples->push_back(now_ns() - begin);
      BOOST_REQUIRE_EQUAL(error, 0);
      if (type == SOCK_STREAM) {
        // Reset instead of TIME_WAIT: ports last for the whole run.
        const linger reset{.l_onoff = 1, .l_linger = 0};
        setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        accept_one(listener);
      }
    }
  }
  return pair;
}

std::string vip_of(int i) { return fmt::format("10.96.{}.{}", i / 250, i % 250 + 1); }

// Only the last service has a server, and UDP besides TCP.
api::Service numbered_service(int i, bool last) {
  std::vector<Port> ports = {{.port = 80, .target = {.number = 8080}}};
  if (last) ports.push_back({.port = 80, .target = {.number = 8080}, .protocol = "UDP"});
  return make_service(fmt::format("s{}", i), {vip_of(i)}, ports);
}

void write_iptables(std::ostream& out, int services) {
  out << "*nat\n:KUBE-SERVICES - [0:0]\n";
  for (int i = 0; i < services; ++i)
    out << fmt::format(":SVC-{0} - [0:0]\n:SEP-{0}-0 - [0:0]\n:SEP-{0}-1 - [0:0]\n", i);
  out << "-A OUTPUT -j KUBE-SERVICES\n-A PREROUTING -j KUBE-SERVICES\n";
  for (int i = 0; i < services; ++i) {
    out << fmt::format("-A KUBE-SERVICES -d {}/32 -p tcp -m tcp --dport 80 -j SVC-{}\n", vip_of(i), i)
        << fmt::format(
               "-A SVC-{0} -m statistic --mode random --probability 0.5 -j SEP-{0}-0\n-A SVC-{0} -j SEP-{0}-1\n", i)
        << fmt::format("-A SEP-{0}-0 -p tcp -j DNAT --to-destination {1}:8080\n", i, kServer)
        << fmt::format("-A SEP-{0}-1 -p tcp -j DNAT --to-destination {1}:8080\n", i, kServer);
  }
  out << "COMMIT\n";
}

void write_nft(std::ostream& out, int services) {
  out << "table ip peer {\n";
  for (int i = 0; i < services; ++i) {
    for (int b = 0; b < kBackends; ++b)
      out << fmt::format("chain sep-{}-{} {{ meta l4proto tcp dnat to {}:8080\n }}\n", i, b, kServer);
    out << fmt::format("chain svc-{0} {{ numgen random mod 2 vmap {{ 0 : goto sep-{0}-0, 1 : goto sep-{0}-1 }}\n }}\n",
                       i);
  }
  out << "map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = {\n";
  for (int i = 0; i < services; ++i) out << fmt::format("{} . tcp . 80 : goto svc-{},\n", vip_of(i), i);
  out << "}\n }\nchain out { type nat hook output priority -100; ip daddr . meta l4proto . th dport vmap @service-ips; "
         "}\n}\n";
}

int shell(const std::string& line) { return std::system((line + " 2>/dev/null").c_str()); }

}  // namespace

BOOST_AUTO_TEST_CASE(keelson_services) {
  fmt::print("{:<34}{:>12}{:>12}{:>12}{:>12}{:>14}{:>14}\n", "services x 2 backends", "UDP +ns", "TCP p50 us",
             "direct us", "ratio", "cold ms", "change p50/p99 ms");
  for (const int services : {1, 1000, 10000}) {
    Yard yard;
    yard.add_address(kServer);
    const auto tcp = listen_on(SOCK_STREAM, kServer, 8080);
    auto settings = yard.settings();
    settings.limits = {};
    settings.packet_path = false;  // its nft transactions run on a worker, in nobody's way
    yard.start(settings);

    std::vector<api::Service> list;
    std::vector<api::Pod> pods;
    for (int i = 0; i < services; ++i) {
      const bool last = i == services - 1;
      list.push_back(numbered_service(i, last));
      for (int b = 0; b < kBackends; ++b) {
        pods.push_back(make_pod(fmt::format("p{}-{}", i, b), fmt::format("s{}", i),
                                {last ? kServer : fmt::format("10.244.{}.{}", i % 250 + 1, b + 1)}));
      }
    }
    const auto cold_begin = now_ns();
    yard.proxy->set_services(std::move(list));
    for (const auto& pod : pods) yard.proxy->set_pod(pod);
    BOOST_REQUIRE(yard.proxy->flush());
    const auto cold = now_ns() - cold_begin;

    const auto vip = vip_of(services - 1);
    const auto udp = measure(SOCK_DGRAM, address_of(vip, 80), address_of(kServer, 8080), kUdpRounds, tcp);
    const auto stream = measure(SOCK_STREAM, address_of(vip, 80), address_of(kServer, 8080), kTcpRounds, tcp);

    std::vector<int64_t> changes;
    for (int i = 0; i < kChanges; ++i) {
      auto pod = pods.front();
      pod.status.conditions.front().status = i % 2 == 0 ? "False" : "True";
      const auto begin = now_ns();
      yard.proxy->set_pod(pod);
      BOOST_REQUIRE(yard.proxy->flush());
      changes.push_back(now_ns() - begin);
    }
    fmt::print("{:<34}{:>12.0f}{:>12.2f}{:>12.2f}{:>12.3f}{:>14.1f}{:>8.3f}/{:.3f}\n",
               fmt::format("keelson {}", services), percentile(udp.vip, .5) - percentile(udp.direct, .5),
               percentile(stream.vip, .5) / 1e3, percentile(stream.direct, .5) / 1e3,
               percentile(stream.vip, .5) / percentile(stream.direct, .5), static_cast<double>(cold) / 1e6,
               percentile(changes, .5) / 1e6, percentile(changes, .99) / 1e6);
    std::fflush(stdout);
  }
}

BOOST_AUTO_TEST_CASE(peers_of_kube_proxys_kind) {
  struct Peer {
    const char* name;
    const char* load;
    void (*write)(std::ostream&, int);
  };
  for (const auto& peer :
       {Peer{"nft verdict map", "nft -f", write_nft}, Peer{"iptables-nft", "iptables-nft-restore", write_iptables},
        Peer{"iptables-legacy", "iptables-legacy-restore", write_iptables}}) {
    for (const int services : {1, 1000, 10000}) {
      Yard yard;
      yard.add_address(kServer);
      yard.command("ip route add 10.96.0.0/16 dev up0");
      const auto tcp = listen_on(SOCK_STREAM, kServer, 8080);
      std::filesystem::create_directories(yard.directory);
      const auto file = yard.directory / "rules";
      {
        std::ofstream out(file);
        peer.write(out, services);
      }
      const auto name = fmt::format("{} {}", peer.name, services);
      const auto begin = now_ns();
      const bool loaded = shell(fmt::format("timeout 120 {} {}", peer.load, file.string())) == 0;
      const auto cold = now_ns() - begin;
      if (!loaded || try_connect(SOCK_STREAM, vip_of(services - 1), 80) != 0) {
        fmt::print("{:<34} not measured: {} cannot be loaded here\n", name, peer.load);
        continue;
      }
      accept_one(tcp);
      const auto stream =
          measure(SOCK_STREAM, address_of(vip_of(services - 1), 80), address_of(kServer, 8080), kTcpRounds, tcp);
      fmt::print("{:<34}{:>12}{:>12.2f}{:>12.2f}{:>12.3f}{:>14.1f}\n", name, "", percentile(stream.vip, .5) / 1e3,
                 percentile(stream.direct, .5) / 1e3, percentile(stream.vip, .5) / percentile(stream.direct, .5),
                 static_cast<double>(cold) / 1e6);
      std::fflush(stdout);
    }
  }
}
