#pragma once
// What the kernel half (bpf/*.bpf.c) and the proxy room agree upon: the layout of
// every map's keys and values. Valid C and C++; the only file both halves include.
//
// Addresses are 16 bytes in wire order, IPv4 as v4-mapped (::ffff:a.b.c.d): one
// code path serves both families. Ports are in host order, so that
// `bpftool map dump` reads like a table. A layout here never changes under one
// KEELSON_SCHEMA: pinned maps outlive the agent that made them.

#include <linux/types.h>

#ifdef __cplusplus
#include <cstddef>
namespace keelson::abi {
#endif

// A byte that nobody names is a byte that nobody clears: a key with one is found on some kernels and lost on others.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

// The pins' directory is <bpffs>/v<KEELSON_SCHEMA>.
#define KEELSON_SCHEMA 1

struct address {
  __u8 byte[16];
} __attribute__((aligned(4)));

enum protocol { PROTOCOL_ANY = 0, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 } __attribute__((packed));

// Where a virtual address is valid.
enum scope {
  SCOPE_CLUSTER = 0,  // the address itself: ClusterIP, external IP
  SCOPE_NODE = 1,     // the node's addresses: NodePort and hostPort; 0.0.0.0 or :: stands for all of them
} __attribute__((packed));

// vip: HASH, key → service id, immutable for the life of the entry.
struct vip_key {
  struct address address;
  __u16 port;
  enum protocol protocol;
  enum scope scope;
};

// A service's current set of slots, read and written as one aligned 64-bit word:
// nobody ever sees half a set. `generation` changes with every publication.
struct publication {
  __u32 base;   // first slot
  __u16 count;  // 0: no endpoint, refuse
  __u16 generation;
} __attribute__((aligned(8)));

enum service_flags {
  SERVICE_NODE_PORT = 1,  // holds its port in the node's namespace: bind guard
};

// service: mmapable ARRAY, by service id.
struct service {
  struct publication published;
  __u32 flags;
  __u32 affinity_seconds;  // 0: none
};

enum backend_state {
  BACKEND_FREE = 0,         // the id is not in use, or quarantined
  BACKEND_READY = 1,        // takes new flows
  BACKEND_TERMINATING = 2,  // takes new flows for want of a ready one
  BACKEND_DRAINING = 3,     // keeps the flows it has
} __attribute__((packed));

enum backend_flags {
  BACKEND_LOCAL = 1,    // on this node: replies come back through it
  BACKEND_PACKETS = 2,  // nftables knows its address: packets may be given to it
};

// backend: mmapable ARRAY, by backend id. One endpoint of one service port. The
// address of an id never changes while the id is in use; each new use has a new
// generation.
struct backend {
  struct address address;
  __u16 port;
  enum protocol protocol;
  enum backend_state state;
  __u32 service;
  __u32 generation;
  __u32 flags;
};

// slot: mmapable ARRAY of backend ids (__u32).

// netns: HASH, network namespace cookie → who lives there. Sockets of namespaces
// that are not in here are never touched.
enum netns_flags { NETNS_NODE = 1, NETNS_POD = 2 };
struct netns {
  __u32 flags;
  struct address address4;  // what packets from here carry as source: the key of session
  struct address address6;  // affinity, alike for the socket and the packet path; zero: unknown
};

// affinity: LRU_HASH. The client is its source address, or its netns cookie in the
// first eight bytes where the address is unknown.
struct affinity_key {
  struct address client;
  __u32 service;
};
struct affinity {
  __u64 last_ns;  // CLOCK_MONOTONIC
  __u32 backend;
  __u32 generation;  // the backend's
};

// What a socket believes it talks to, and what it does talk to.
//   sock_peer: HASH by socket cookie, written by connect(), removed by close(). The agent
//     looks here for the clients of a backend that is gone.
//   sock_spill: SK_STORAGE, the same for sockets for which sock_peer has no room.
//   sock_datagram: SK_STORAGE, by the last sendto().
struct sock_flow {
  __u64 netns_cookie;
  struct address vip;
  struct address backend;
  __u16 vip_port;
  __u16 backend_port;
  __u32 service;
  __u32 backend_id;
  __u32 backend_generation;
  __u32 protocol;
  __u32 several;  // sock_datagram: earlier pairs are in udp_reverse
};

// udp_reverse: LRU_HASH, only for unconnected sockets that talk to several services.
struct udp_reverse_key {
  __u64 socket_cookie;
  struct address backend;
  __u32 port;
  __u32 zero;
};
struct udp_reverse {
  struct address vip;
  __u32 port;
};

// Why a flow was or was not translated: return code, counter and flow event in one.
enum reason {
  REASON_NOT_OURS = 0,         // no service: passed on untouched
  REASON_FORWARDED = 1,        // a new flow was given a backend
  REASON_CONTINUED = 2,        // a datagram of a flow that has one
  REASON_NO_ENDPOINT = 3,      // refused
  REASON_UNKNOWN_PORT = 4,     // refused: inside the service CIDR, no such service port
  REASON_FOREIGN_NETNS = 5,    // a virtual address, asked for in a namespace that is not ours: untouched
  REASON_STALE_SLOT = 6,       // a service, slot or backend id out of range: passed on
  REASON_BIND_REFUSED = 7,     // bind() to a port that a NodePort holds
  REASON_STORAGE_FULL = 8,     // no memory for the socket's reverse entry: refused
  REASON_EVENTS_LOST = 9,      // the flow ring was full or over its rate
  REASON_PACKET_SHORT = 10,    // a packet whose headers are cut off: untouched
  REASON_FRAGMENT = 11,        // a later fragment: it follows its first one through conntrack
  REASON_SOURCE_REFUSED = 12,  // loadBalancerSourceRanges
  REASON_COUNT = 16,
};

// udp_flow: LRU_HASH, the UDP flows that the packet path has counted. (Translation
// itself is pinned by the kernel's conntrack.)
struct udp_flow_key {
  struct address source;
  struct address destination;
  __u16 source_port;
  __u16 destination_port;
};

// counter: PERCPU_ARRAY of __u64, by reason.
// service_stat and backend_stat: mmapable ARRAYs, added to atomically: read by the
// agent without a system call, and no size × CPUs.
struct service_stat {
  __u64 forwarded;
  __u64 refused;
};

// flow: RINGBUF, at most EVENTS_PER_SECOND per CPU.
enum hook { HOOK_SOCKET = 0, HOOK_PACKET = 1 } __attribute__((packed));
struct flow_event {
  __u64 time_ns;  // CLOCK_MONOTONIC
  __u64 netns_cookie;
  struct address client;  // zero on the socket path, where it is not known yet
  struct address vip;
  struct address backend;
  __u16 client_port;
  __u16 vip_port;
  __u16 backend_port;
  enum protocol protocol;
  enum hook hook;
  __u32 service;
  __u32 reason;
};

// The packet path: BPF chooses and marks, nftables translates. The rest of the
// mark is left as found.
enum mark {
  MARK_CHOSEN = 0x10000000,  // the low bits are a backend id
  MARK_SNAT = 0x20000000,    // the reply would not come back through this node
  MARK_REFUSE = 0x40000000,  // answer with RST or ICMP port unreachable
  MARK_OURS = 0x70000000,
  MARK_BACKEND = 0x00ffffff,
};

#ifdef __cplusplus
static_assert(sizeof(address) == 16);
static_assert(sizeof(vip_key) == 20);
static_assert(sizeof(publication) == 8);
static_assert(sizeof(service) == 16);
static_assert(sizeof(backend) == 32);
static_assert(sizeof(netns) == 36);
static_assert(sizeof(affinity_key) == 20);
static_assert(sizeof(affinity) == 16);
static_assert(sizeof(sock_flow) == 64);
static_assert(sizeof(udp_reverse_key) == 32);
static_assert(offsetof(udp_reverse_key, port) == 24);
static_assert(sizeof(udp_reverse) == 20);
static_assert(sizeof(udp_flow_key) == 36);
static_assert(sizeof(flow_event) == 80);
}  // namespace keelson::abi
#endif
#pragma GCC diagnostic pop
