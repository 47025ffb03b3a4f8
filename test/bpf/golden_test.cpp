// The packet programs by themselves (BPF_PROG_TEST_RUN): packet in; verdict, mark and
// counter out, and the packet untouched. Translation is nftables' and not seen here.

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <net/if.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <vector>

#include "bpf/abi.h"
#include "host/bpf.h"
#include "test/bpf/yard.h"

using namespace keelson;
using namespace keelson::test;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kSyn = 0x02, kAck = 0x10;
constexpr int kPass = -1;  // TC_ACT_UNSPEC: the next program, then the stack

struct Packet {
  std::string from, to;
  uint8_t protocol = IPPROTO_TCP;
  uint16_t source_port = 40000, port = 80;
  uint8_t flags = kSyn;
  uint16_t fragment_offset = 0;  // in units of 8 bytes
  bool more_fragments = false;
  Bytes extensions;  // IPv6 headers in front of the fragment's: type, then the same again for the next …
  size_t cut_to = SIZE_MAX;
};

void put16(Bytes& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void put_address(Bytes& out, const std::string& text) {
  uint8_t raw[16];
  const bool v6 = text.find(':') != std::string::npos;
  BOOST_REQUIRE_EQUAL(inet_pton(v6 ? AF_INET6 : AF_INET, text.c_str(), raw), 1);
  out.insert(out.end(), raw, raw + (v6 ? 16 : 4));
}

// An Ethernet frame. Checksums stay zero: nothing here looks at them.
Bytes build(const Packet& p) {
  Bytes segment;
  put16(segment, p.source_port);
  put16(segment, p.port);
  if (p.protocol == IPPROTO_TCP) {
    segment.insert(segment.end(), {0, 0, 0, 1, 0, 0, 0, 0, 0x50, p.flags, 0xff, 0xff, 0, 0, 0, 0});
  } else {
    put16(segment, 8 + 4);
    segment.insert(segment.end(), {0, 0, 'a', 'b', 'c', 'd'});
  }
  const bool v6 = p.to.find(':') != std::string::npos;
  const bool fragment = p.fragment_offset != 0 || p.more_fragments;
  Bytes out(12, 0x02);
  put16(out, v6 ? ETH_P_IPV6 : ETH_P_IP);
  if (v6) {
    Bytes payload;
    uint8_t first = fragment ? uint8_t{IPPROTO_FRAGMENT} : p.protocol;
    for (size_t i = p.extensions.size(); i-- > 0;) {
      Bytes header = {first, 0, 1, 4, 0, 0, 0, 0};  // PadN
      payload.insert(payload.begin(), header.begin(), header.end());
      first = p.extensions[i];
    }
    if (fragment) {
      payload.insert(payload.end(), {p.protocol, 0});
      put16(payload, static_cast<size_t>(p.fragment_offset << 3 | (p.more_fragments ? 1 : 0)));
      payload.insert(payload.end(), {0, 0, 0, 7});
    }
    payload.insert(payload.end(), segment.begin(), segment.end());
    out.insert(out.end(), {0x60, 0, 0, 0});
    put16(out, payload.size());
    out.insert(out.end(), {first, 64});
    put_address(out, p.from);
    put_address(out, p.to);
    out.insert(out.end(), payload.begin(), payload.end());
  } else {
    out.insert(out.end(), {0x45, 0});
    put16(out, 20 + segment.size());
    put16(out, 7);
    put16(out, static_cast<size_t>(p.fragment_offset | (p.more_fragments ? 0x2000 : 0)));
    out.insert(out.end(), {64, p.protocol, 0, 0});
    put_address(out, p.from);
    put_address(out, p.to);
    out.insert(out.end(), segment.begin(), segment.end());
  }
  if (p.cut_to < out.size()) out.resize(p.cut_to);
  return out;
}

struct Programs : Yard {
  static constexpr const char* kClient4 = "192.0.2.20";
  static constexpr const char* kClient6 = "fd00:2::20";
  static constexpr uint32_t kForeign = 0x80000000 | 0x07000000;  // bits of a mark that are others'
  host::Fd uplink, pod;

  Programs() {
    // Yard's up0 is the uplink; cable0 stands for a pod's cable.
    command("ip link add cable0 type veth peer name cable1 && ip link set cable0 up");
    auto with_packets = settings();
    with_packets.cable_prefix = "cable";
    start(with_packets);
    BOOST_REQUIRE(proxy->register_netns("uid-x", ~uint64_t{0}, "cable0"));
    uplink = program_of("up0");
    pod = program_of("cable0");
    const auto ports =
        std::vector<Port>{{.port = 80, .target = {.number = 8080}, .protocol = "TCP", .node_port = 30080},
                          {.port = 80, .target = {.number = 8080}, .protocol = "UDP", .node_port = 30080}};
    auto empty = make_service("empty", {"10.96.0.2", "fd00:96::2"}, {{.port = 80, .target = {.number = 8080}}});
    auto remote = make_service("remote", {"10.96.0.3"}, {{.port = 80, .target = {.number = 8080}}});
    remote.spec.selector.clear();
    remote.spec.ports[0].name = "";
    api::Endpoints elsewhere;
    elsewhere.metadata.namespace_ = "default";
    elsewhere.metadata.name = "remote";
    elsewhere.subsets.push_back({.addresses = {{.ip = "198.51.100.9"}}, .ports = {{.port = 8080, .protocol = "TCP"}}});
    proxy->set_services({make_service("web", {"10.96.0.1", "fd00:96::1"}, ports, "NodePort"), empty, remote});
    proxy->set_endpoints({elsewhere});
    proxy->set_pod(make_pod("web-0", "web", {"10.244.0.5", "fd00:244::5"}));
    BOOST_REQUIRE(proxy->flush());
    run_until([&] { return proxy->settled(); });
  }

  // By the tcx link, or where the kernel has none by the filter.
  host::Fd program_of(const std::string& interface) const {
    uint32_t id = 0;
    const host::Fd link(bpf_obj_get((bpffs / ("links/tcx:" + interface)).c_str()));
    if (link) {
      bpf_link_info info{};
      uint32_t length = sizeof(info);
      BOOST_REQUIRE_EQUAL(bpf_obj_get_info_by_fd(link.get(), &info, &length), 0);
      id = info.prog_id;
    } else {
      LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(if_nametoindex(interface.c_str())),
                  .attach_point = BPF_TC_INGRESS);
      LIBBPF_OPTS(bpf_tc_opts, options, .handle = 1, .priority = 19301);
      BOOST_REQUIRE_EQUAL(bpf_tc_query(&hook, &options), 0);
      id = options.prog_id;
    }
    return host::Fd(bpf_prog_get_fd_by_id(id));
  }

  // The mark that a packet leaves with; it must pass, unchanged.
  static uint32_t mark_after(const host::Fd& program, const Bytes& packet, uint32_t mark = 0) {
    __sk_buff in{}, out{};
    in.mark = mark;
    Bytes after(packet.size() + 64);
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(), .data_out = after.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()),
                .data_size_out = static_cast<uint32_t>(after.size()), .ctx_in = &in, .ctx_out = &out,
                .ctx_size_in = sizeof(in), .ctx_size_out = sizeof(out), .repeat = 1);
    const int ran = bpf_prog_test_run_opts(program.get(), &options);
    BOOST_REQUIRE_MESSAGE(ran == 0, "BPF_PROG_TEST_RUN: " << std::strerror(-ran));
    BOOST_CHECK_EQUAL(static_cast<int>(options.retval), kPass);
    after.resize(options.data_size_out);
    BOOST_CHECK(after == packet);
    return out.mark;
  }

  // Those of TCP and UDP have numbers of their own.
  std::vector<uint32_t> backend_ids(const std::string& address) const {
    std::vector<uint32_t> ids;
    for (const auto& view : proxy->backends()) {
      if (view.address == address) ids.push_back(view.id);
    }
    return ids;
  }
  bool is_chosen(uint32_t mark, const std::string& address, bool snat) const {
    for (const auto id : backend_ids(address)) {
      if (mark == (keelson::abi::MARK_CHOSEN | (snat ? uint32_t{keelson::abi::MARK_SNAT} : 0u) | id)) return true;
    }
    BOOST_TEST_MESSAGE("mark " << std::hex << mark);
    return false;
  }
  uint64_t counter(const std::string& reason) const {
    for (const auto& view : proxy->counters()) {
      if (view.reason == reason) return view.flows;
    }
    return 0;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(packets_to_a_service_are_marked_with_a_backend_of_theirs, Programs) {
  struct Case {
    const char *from, *to;
    uint16_t port;
    const char* backend;
  };
  for (const auto& [from, to, port, backend] :
       {Case{kClient4, "10.96.0.1", 80, "10.244.0.5:8080"}, Case{kClient6, "fd00:96::1", 80, "[fd00:244::5]:8080"},
        Case{kClient4, kNodeIp, 30080, "10.244.0.5:8080"}, Case{kClient6, kNodeIp6, 30080, "[fd00:244::5]:8080"}}) {
    for (const uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
      const auto packet = build({.from = from, .to = to, .protocol = protocol, .port = port});
      BOOST_CHECK(is_chosen(mark_after(uplink, packet), backend, false));
      BOOST_CHECK(is_chosen(mark_after(pod, packet), backend, false));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(every_packet_of_a_flow_gets_the_same_mark_and_counts_once, Programs) {
  const auto before = counter("forwarded");
  const auto first = mark_after(uplink, build({.from = kClient4, .to = "10.96.0.1"}));
  for (int i = 0; i < 4; ++i)
    BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "10.96.0.1", .flags = kAck})), first);
  BOOST_CHECK_EQUAL(counter("forwarded"), before + 1);
  const auto datagram = build({.from = kClient4, .to = "10.96.0.1", .protocol = IPPROTO_UDP});
  for (int i = 0; i < 4; ++i) mark_after(uplink, datagram);
  BOOST_CHECK_EQUAL(counter("forwarded"), before + 2);
}

BOOST_FIXTURE_TEST_CASE(replies_that_would_not_come_back_are_marked_for_source_translation, Programs) {
  BOOST_CHECK(is_chosen(mark_after(uplink, build({.from = kClient4, .to = "10.96.0.3"})), "198.51.100.9:8080", true));
  BOOST_CHECK(is_chosen(mark_after(pod, build({.from = "10.244.0.7", .to = "10.96.0.3"})), "198.51.100.9:8080", false));
  // A pod to itself.
  BOOST_CHECK(is_chosen(mark_after(pod, build({.from = "10.244.0.5", .to = "10.96.0.1"})), "10.244.0.5:8080", true));
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_served_is_marked_to_be_refused, Programs) {
  for (const char* to : {"10.96.0.2", "fd00:96::2"})
    BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = to[0] == 'f' ? kClient6 : kClient4, .to = to})),
                      keelson::abi::MARK_REFUSE);
  BOOST_CHECK_EQUAL(counter("no_endpoint"), 2);
  BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "10.96.0.1", .port = 81})),
                    keelson::abi::MARK_REFUSE);
  BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "10.96.77.1"})), keelson::abi::MARK_REFUSE);
  // A packet of a flow that goes on does not count again.
  BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "10.96.77.1", .flags = kAck})),
                    keelson::abi::MARK_REFUSE);
  BOOST_CHECK_EQUAL(counter("unknown_port"), 2);
}

BOOST_FIXTURE_TEST_CASE(ipv6_extension_headers_are_passed_over, Programs) {
  for (const auto& extensions :
       {Bytes{IPPROTO_HOPOPTS}, Bytes{IPPROTO_DSTOPTS}, Bytes{IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS}}) {
    const auto packet = build({.from = kClient6, .to = "fd00:96::1", .extensions = extensions});
    BOOST_CHECK(is_chosen(mark_after(uplink, packet), "[fd00:244::5]:8080", false));
  }
  // More of them than the program looks at: not a service's.
  const auto packet = build({.from = kClient6, .to = "fd00:96::1", .extensions = Bytes(7, IPPROTO_DSTOPTS)});
  BOOST_CHECK_EQUAL(mark_after(uplink, packet), 0);
}

BOOST_FIXTURE_TEST_CASE(the_first_fragment_is_chosen_for_and_the_others_follow_it, Programs) {
  for (const auto& [from, to, backend] :
       {std::tuple{kClient4, "10.96.0.1", "10.244.0.5:8080"}, {kClient6, "fd00:96::1", "[fd00:244::5]:8080"}}) {
    const auto first = build({.from = from, .to = to, .protocol = IPPROTO_UDP, .more_fragments = true});
    BOOST_CHECK(is_chosen(mark_after(uplink, first), backend, false));
    const auto later = build({.from = from, .to = to, .protocol = IPPROTO_UDP, .fragment_offset = 185});
    BOOST_CHECK_EQUAL(mark_after(uplink, later), 0);
  }
}

BOOST_FIXTURE_TEST_CASE(the_bits_of_others_in_a_mark_stay_and_ours_cannot_be_forged, Programs) {
  const uint32_t forged = kForeign | keelson::abi::MARK_CHOSEN | 3;
  BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "198.51.100.7"}), forged), kForeign);
  BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "198.51.100.7", .fragment_offset = 9}), forged),
                    kForeign);
  BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "198.51.100.7"}), kForeign | 77), kForeign | 77);
  const auto chosen = mark_after(uplink, build({.from = kClient4, .to = "10.96.0.1"}), kForeign);
  BOOST_CHECK_EQUAL(chosen & kForeign, kForeign);
  BOOST_CHECK(is_chosen(chosen & ~kForeign, "10.244.0.5:8080", false));
}

BOOST_FIXTURE_TEST_CASE(packets_that_are_cut_off_pass_untouched_and_are_counted, Programs) {
  const size_t v4_whole = ETH_HLEN + 20 + 20, v6_whole = ETH_HLEN + 40 + 20;
  uint64_t expected = counter("packet_short");
  for (const size_t length : {size_t{ETH_HLEN} + 20, size_t{ETH_HLEN} + 23, v4_whole - 7}) {
    BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient4, .to = "10.96.0.1", .cut_to = length})), 0);
    BOOST_CHECK_EQUAL(counter("packet_short"), ++expected);
  }
  for (const size_t length : {size_t{ETH_HLEN} + 40, v6_whole - 7}) {
    BOOST_CHECK_EQUAL(mark_after(uplink, build({.from = kClient6, .to = "fd00:96::1", .cut_to = length})), 0);
    BOOST_CHECK_EQUAL(counter("packet_short"), ++expected);
  }
}
