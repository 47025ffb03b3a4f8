// The packet path: what comes in from outside the node, and from pods that pass the
// socket hooks by. BPF chooses a backend and says so in the packet's mark; nftables
// translates (agent/proxy/packet_path.cpp), so that conntrack holds the flow and
// fragments, ICMP errors and port collisions are the kernel's business.
//
// Two thin shells: the node's uplinks, and the node's ends of the pods' cables.

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "bpf/lb.h"

#define IP_OFFSET_MASK 0x1fff
#define EXTENSIONS_TRIED 6  // IPv6 extension headers in front of TCP or UDP

char LICENSE[] SEC("license") = "GPL";

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct udp_flow_key);
  __type(value, __u64);
} udp_flow SEC(".maps");

struct packet {
  struct source from;
  struct target to;
  bool begins;  // the first packet of a flow
};

static __always_inline enum reason parse_ports(struct __sk_buff* skb, __u32 offset, struct packet* out) {
  struct {
    __be16 source, destination;
  } ports;
  if (bpf_skb_load_bytes(skb, offset, &ports, sizeof(ports)) < 0) return REASON_PACKET_SHORT;
  out->from.port = bpf_ntohs(ports.source);
  out->to.port = bpf_ntohs(ports.destination);
  if (out->to.protocol == PROTOCOL_TCP) {
    __u8 flags = 0;
    if (bpf_skb_load_bytes(skb, offset + 13, &flags, sizeof(flags)) < 0) return REASON_PACKET_SHORT;
    out->begins = (flags & 0x12) == 0x02;  // SYN without ACK
  }
  return REASON_FORWARDED;
}

static __always_inline enum reason parse_v4(struct __sk_buff* skb, struct packet* out) {
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0) return REASON_PACKET_SHORT;
  if (ip.protocol != PROTOCOL_TCP && ip.protocol != PROTOCOL_UDP) return REASON_NOT_OURS;
  out->from.address = from_v4(ip.saddr);
  out->to.address = from_v4(ip.daddr);
  out->to.protocol = ip.protocol;
  if (ip.frag_off & bpf_htons(IP_OFFSET_MASK)) return REASON_FRAGMENT;
  return parse_ports(skb, ETH_HLEN + ip.ihl * 4, out);
}

static __always_inline enum reason parse_v6(struct __sk_buff* skb, struct packet* out) {
  struct ipv6hdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0) return REASON_PACKET_SHORT;
  __builtin_memcpy(&out->from.address, &ip.saddr, sizeof(out->from.address));
  __builtin_memcpy(&out->to.address, &ip.daddr, sizeof(out->to.address));
  __u32 offset = ETH_HLEN + sizeof(ip);
  __u8 next = ip.nexthdr;
  for (int i = 0; i < EXTENSIONS_TRIED; i++) {
    if (next == PROTOCOL_TCP || next == PROTOCOL_UDP) {
      out->to.protocol = next;
      return parse_ports(skb, offset, out);
    }
    struct {
      __u8 next, length;
      __be16 fragment;
    } extension;
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
      return REASON_NOT_OURS;
    if (bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension)) < 0) return REASON_PACKET_SHORT;
    if (next == IPPROTO_FRAGMENT) {
      if (extension.fragment & bpf_htons(0xfff8)) return REASON_FRAGMENT;
      offset += 8;
    } else {
      offset += (extension.length + 1) * 8;
    }
    next = extension.next;
  }
  return REASON_NOT_OURS;
}

// Murmur3 over both ends of the flow: every node gives the same one.
static __always_inline __u32 mix(__u32 hash, __u32 word) {
  word *= 0xcc9e2d51;
  word = (word << 15) | (word >> 17);
  word *= 0x1b873593;
  hash ^= word;
  hash = (hash << 13) | (hash >> 19);
  return hash * 5 + 0xe6546b64;
}

static __always_inline __u32 flow_hash(const struct packet* p) {
  __u32 hash = p->to.protocol;
  const __u32 *from = cwords(&p->from.address), *to = cwords(&p->to.address);
#pragma unroll
  for (int i = 0; i < 4; i++) hash = mix(mix(hash, from[i]), to[i]);
  hash = mix(hash, ((__u32)p->from.port << 16) | p->to.port);
  hash ^= hash >> 16;
  hash *= 0x85ebca6b;
  hash ^= hash >> 13;
  hash *= 0xc2b2ae35;
  return hash ^ (hash >> 16);
}

// Conntrack would know whether a UDP flow is new, but cannot be asked on kernel 6.1.
static __always_inline bool is_new_udp(const struct packet* p) {
  struct udp_flow_key key = {.source = p->from.address,
                             .destination = p->to.address,
                             .source_port = p->from.port,
                             .destination_port = p->to.port};
  __u64 now = bpf_ktime_get_ns();
  __u64* last = bpf_map_lookup_elem(&udp_flow, &key);
  bool is_new = !last || now - *last > 30 * NANOSECONDS;  // conntrack's timeout for UDP
  if (last)
    *last = now;
  else
    bpf_map_update_elem(&udp_flow, &key, &now, BPF_ANY);
  return is_new;
}

static __always_inline void set_mark(struct __sk_buff* skb, __u32 mark) {
  skb->mark = (skb->mark & ~(MARK_OURS | MARK_BACKEND)) | mark;
}

static __always_inline int mark_packet(struct __sk_buff* skb, bool from_pod) {
  struct packet p = {.from = {.hook = HOOK_PACKET}};
  enum reason reason;
  if (skb->protocol == bpf_htons(ETH_P_IP))
    reason = parse_v4(skb, &p);
  else if (skb->protocol == bpf_htons(ETH_P_IPV6))
    reason = parse_v6(skb, &p);
  else
    return TC_ACT_UNSPEC;
  if (reason != REASON_FORWARDED) {
    // Nobody but this program may say that a backend was chosen.
    if (skb->mark & MARK_OURS) set_mark(skb, 0);
    if (reason == REASON_PACKET_SHORT) count(reason);
    return TC_ACT_UNSPEC;
  }

  struct choice chosen = {};
  __u32* id = find_cluster(&p.to);
  if (!id && bpf_map_lookup_elem(&node_address, &p.to.address)) id = find_node(&p.to);
  if (!id) {
    if (skb->mark & MARK_OURS) set_mark(skb, 0);
    if (!in_service_cidr(&p.to.address)) return TC_ACT_UNSPEC;
    if (p.begins || p.to.protocol == PROTOCOL_UDP) {
      count(REASON_UNKNOWN_PORT);
      report_flow(REASON_UNKNOWN_PORT, &p.from, &p.to, &chosen);
    }
    set_mark(skb, MARK_REFUSE);
    return TC_ACT_UNSPEC;
  }

  if (p.to.protocol == PROTOCOL_UDP) p.begins = is_new_udp(&p);
  __u32 service_id = *id;
  reason = choose(service_id, &p.from.address, flow_hash(&p), BACKEND_PACKETS, p.begins, &chosen);
  if (p.begins) {
    count_flow(reason, &chosen);
    report_flow(reason, &p.from, &p.to, &chosen);
  }
  if (reason == REASON_NO_ENDPOINT) {
    set_mark(skb, MARK_REFUSE);
  } else if (reason == REASON_FORWARDED && chosen.backend) {
    __u32 mark = MARK_CHOSEN | (chosen.backend_id & MARK_BACKEND);
    // Replies of a backend elsewhere go straight to an outside client, and those of a
    // pod to itself never leave it: both must come back here.
    bool hairpin = same_address(&chosen.backend->address, &p.from.address);
    if (hairpin || (!from_pod && !(chosen.backend->flags & BACKEND_LOCAL))) mark |= MARK_SNAT;
    set_mark(skb, mark);
  } else {
    set_mark(skb, 0);
  }
  return TC_ACT_UNSPEC;
}

SEC("tc")
int from_uplink(struct __sk_buff* skb) { return mark_packet(skb, false); }

SEC("tc")
int from_pod(struct __sk_buff* skb) { return mark_packet(skb, true); }
