// The socket load balancer: connect() and sendto() to a virtual address go to a
// backend, once, before a packet exists; getpeername() and recvmsg() show the
// virtual address again. Attached to --cgroup-root; translates only for sockets in
// network namespaces that the agent registered.

#include "bpf/lb.h"

#define ECONNREFUSED 111
#define EADDRINUSE 98
#define ENOMEM 12
#define SOCK_DGRAM 2

char LICENSE[] SEC("license") = "GPL";

// Not in the sockets' own storage: allocating that takes longer than all the rest of a
// connect() here (docs/decisions.md).
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1);
  __type(key, __u64);
  __type(value, struct sock_flow);
} sock_peer SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct sock_flow);
} sock_spill SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct sock_flow);
} sock_datagram SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1);
  __type(key, struct udp_reverse_key);
  __type(value, struct udp_reverse);
} udp_reverse SEC(".maps");

enum { PASS = 1, REFUSE = 0 };

static __always_inline void read_v4(struct bpf_sock_addr* ctx, struct target* to) {
  to->address = from_v4(ctx->user_ip4);
  to->port = bpf_ntohs((__u16)ctx->user_port);
}

static __always_inline void read_v6(struct bpf_sock_addr* ctx, struct target* to) {
  __u32* w = words(&to->address);
  w[0] = ctx->user_ip6[0];
  w[1] = ctx->user_ip6[1];
  w[2] = ctx->user_ip6[2];
  w[3] = ctx->user_ip6[3];
  to->port = bpf_ntohs((__u16)ctx->user_port);
}

static __always_inline void write_v4(struct bpf_sock_addr* ctx, const struct target* to) {
  ctx->user_ip4 = cwords(&to->address)[3];
  ctx->user_port = bpf_htons(to->port);
}

static __always_inline void write_v6(struct bpf_sock_addr* ctx, const struct target* to) {
  const __u32* w = cwords(&to->address);
  ctx->user_ip6[0] = w[0];
  ctx->user_ip6[1] = w[1];
  ctx->user_ip6[2] = w[2];
  ctx->user_ip6[3] = w[3];
  ctx->user_port = bpf_htons(to->port);
}

static __always_inline void record(struct sock_flow* flow, const struct target* to, const struct choice* chosen,
                                   __u64 netns_cookie) {
  flow->netns_cookie = netns_cookie;
  flow->protocol = to->protocol;
  flow->vip = to->address;
  flow->vip_port = to->port;
  flow->backend = chosen->backend->address;
  flow->backend_port = chosen->backend->port;
  flow->service = chosen->service;
  flow->backend_id = chosen->backend_id;
  flow->backend_generation = chosen->backend->generation;
}

static __always_inline struct sock_flow* known_peer(struct bpf_sock_addr* ctx) {
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct sock_flow* flow = bpf_map_lookup_elem(&sock_peer, &cookie);
  return flow || !ctx->sk ? flow : bpf_sk_storage_get(&sock_spill, ctx->sk, NULL, 0);
}

static __always_inline void forget_peer(struct bpf_sock_addr* ctx) {
  if (!known_peer(ctx)) return;
  __u64 cookie = bpf_get_socket_cookie(ctx);
  bpf_map_delete_elem(&sock_peer, &cookie);
  if (ctx->sk) bpf_sk_storage_delete(&sock_spill, ctx->sk);
}

static __always_inline bool remember_peer(struct bpf_sock_addr* ctx, const struct target* to,
                                          const struct choice* chosen, __u64 netns_cookie) {
  struct sock_flow flow = {};
  record(&flow, to, chosen, netns_cookie);
  __u64 cookie = bpf_get_socket_cookie(ctx);
  if (bpf_map_update_elem(&sock_peer, &cookie, &flow, BPF_ANY) == 0) return true;
  struct sock_flow* spilled = bpf_sk_storage_get(&sock_spill, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (spilled) *spilled = flow;
  return spilled != NULL;
}

// A datagram to the virtual address that the socket's last one went to stays with
// its backend for as long as that lives: protocols over UDP have state too.
static __always_inline struct backend* last_backend(const struct sock_flow* last, const struct target* to,
                                                    __u32 service_id) {
  if (last->backend_port == 0 || last->vip_port != to->port || last->service != service_id ||
      !same_address(&last->vip, &to->address))
    return NULL;
  __u32 id = last->backend_id;
  struct backend* b = bpf_map_lookup_elem(&backend, &id);
  if (!b || b->generation != last->backend_generation || b->state == BACKEND_FREE) return NULL;
  return b;
}

// The previous pair of an unconnected socket, so that late replies still show
// their virtual address.
static __always_inline void remember_previous(struct bpf_sock_addr* ctx, struct sock_flow* last) {
  if (last->backend_port == 0) return;
  struct udp_reverse_key key = {
      .socket_cookie = bpf_get_socket_cookie(ctx), .backend = last->backend, .port = last->backend_port};
  struct udp_reverse value = {.vip = last->vip, .port = last->vip_port};
  bpf_map_update_elem(&udp_reverse, &key, &value, BPF_ANY);
  last->several = 1;
}

static __always_inline int refuse_for_memory(void) {
  count(REASON_STORAGE_FULL);
  bpf_set_retval(-ENOMEM);
  return REFUSE;
}

// Where the connect() or sendto() of `ctx` to `to` shall go: `to` is changed.
static __always_inline int translate(struct bpf_sock_addr* ctx, struct target* to, bool connecting) {
  __u32 ip_protocol = ctx->protocol;
  if (ip_protocol != PROTOCOL_TCP && ip_protocol != PROTOCOL_UDP) return PASS;
  to->protocol = ip_protocol;

  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct netns* home = NULL;
  __u32* id = find_cluster(to);
  if (!id) {
    bool loopback = is_loopback(&to->address);
    if (loopback || bpf_map_lookup_elem(&node_address, &to->address)) {
      home = bpf_map_lookup_elem(&netns, &cookie);
      // A pod's loopback is its own; the node's NodePorts are not on it.
      if (home && (!loopback || (home->flags & NETNS_NODE))) id = find_node(to);
    }
  }
  if (id || in_service_cidr(&to->address)) {
    if (!home) home = bpf_map_lookup_elem(&netns, &cookie);
    if (!home) {
      count(REASON_FOREIGN_NETNS);
      return PASS;
    }
  }

  struct source from = {.hook = HOOK_SOCKET, .netns_cookie = cookie};
  struct choice chosen = {};
  enum reason reason;
  if (!id) {
    if (connecting) forget_peer(ctx);
    if (!in_service_cidr(&to->address)) return PASS;
    count(REASON_UNKNOWN_PORT);
    report_flow(REASON_UNKNOWN_PORT, &from, to, &chosen);
    bpf_set_retval(-ECONNREFUSED);
    return REFUSE;
  }
  if (!home || !ctx->sk) return PASS;

  __u32 service_id = *id;
  struct sock_flow* last = NULL;  // of datagrams
  if (!connecting) {
    last = bpf_sk_storage_get(&sock_datagram, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (!last) return refuse_for_memory();
    struct backend* b = last_backend(last, to, service_id);
    if (b) {
      count(REASON_CONTINUED);
      to->address = b->address;
      to->port = b->port;
      return PASS;
    }
  }

  struct address client = is_v4(&to->address) ? home->address4 : home->address6;
  if ((cwords(&client)[0] | cwords(&client)[1] | cwords(&client)[2] | cwords(&client)[3]) == 0) {
    words(&client)[0] = (__u32)(cookie >> 32);
    words(&client)[1] = (__u32)cookie;
  }
  reason = choose(service_id, &client, bpf_get_prandom_u32(), 0, true, &chosen);
  count_flow(reason, &chosen);
  report_flow(reason, &from, to, &chosen);
  if (reason == REASON_NO_ENDPOINT) {
    if (last)
      last->backend_port = 0;
    else
      forget_peer(ctx);
    bpf_set_retval(-ECONNREFUSED);
    return REFUSE;
  }
  if (reason != REASON_FORWARDED || !chosen.backend) return PASS;
  if (last) {
    remember_previous(ctx, last);
    record(last, to, &chosen, cookie);
  } else if (!remember_peer(ctx, to, &chosen, cookie)) {
    return refuse_for_memory();
  }
  to->address = chosen.backend->address;
  to->port = chosen.backend->port;
  return PASS;
}

// Which virtual address the peer `from` stands for; `from` is changed.
static __always_inline bool reverse(struct bpf_sock_addr* ctx, struct target* from, bool datagrams) {
  if (!ctx->sk) return false;
  struct sock_flow* flow = known_peer(ctx);
  if (flow && flow->backend_port == from->port && same_address(&flow->backend, &from->address)) {
    from->address = flow->vip;
    from->port = flow->vip_port;
    return true;
  }
  if (!datagrams) return false;
  flow = bpf_sk_storage_get(&sock_datagram, ctx->sk, NULL, 0);
  if (!flow) return false;
  if (flow->backend_port == from->port && same_address(&flow->backend, &from->address)) {
    from->address = flow->vip;
    from->port = flow->vip_port;
    return true;
  }
  if (!flow->several) return false;
  struct udp_reverse_key key = {
      .socket_cookie = bpf_get_socket_cookie(ctx), .backend = from->address, .port = from->port};
  struct udp_reverse* known = bpf_map_lookup_elem(&udp_reverse, &key);
  if (!known) return false;
  from->address = known->vip;
  from->port = known->port;
  return true;
}

static __always_inline int forward_v4(struct bpf_sock_addr* ctx, bool connecting) {
  struct target to = {};
  read_v4(ctx, &to);
  int verdict = translate(ctx, &to, connecting);
  if (verdict == PASS) write_v4(ctx, &to);
  return verdict;
}

static __always_inline int forward_v6(struct bpf_sock_addr* ctx, bool connecting) {
  struct target to = {};
  read_v6(ctx, &to);
  int verdict = translate(ctx, &to, connecting);
  if (verdict == PASS) write_v6(ctx, &to);
  return verdict;
}

static __always_inline int reverse_v4(struct bpf_sock_addr* ctx, bool datagrams) {
  struct target from = {};
  read_v4(ctx, &from);
  if (reverse(ctx, &from, datagrams)) write_v4(ctx, &from);
  return PASS;
}

static __always_inline int reverse_v6(struct bpf_sock_addr* ctx, bool datagrams) {
  struct target from = {};
  read_v6(ctx, &from);
  if (reverse(ctx, &from, datagrams)) write_v6(ctx, &from);
  return PASS;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) { return forward_v4(ctx, true); }

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) { return forward_v6(ctx, true); }

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr* ctx) { return forward_v4(ctx, false); }

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr* ctx) { return forward_v6(ctx, false); }

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr* ctx) { return reverse_v4(ctx, true); }

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr* ctx) { return reverse_v6(ctx, true); }

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr* ctx) { return reverse_v4(ctx, false); }

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr* ctx) { return reverse_v6(ctx, false); }

// A process of the node that binds a NodePort would never see a connection: it
// learns so now.
static __always_inline int guard_bind(struct bpf_sock* ctx, __u32 protocol, bool v4) {
  if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) return PASS;
  struct vip_key key = {.port = ctx->src_port, .protocol = protocol, .scope = SCOPE_NODE};
  if (v4) key.address = from_v4(0);
  __u32* id = bpf_map_lookup_elem(&vip, &key);
  if (!id) return PASS;
  struct service* s = bpf_map_lookup_elem(&service, id);
  if (!s || !(s->flags & SERVICE_NODE_PORT)) return PASS;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct netns* home = bpf_map_lookup_elem(&netns, &cookie);
  if (!home || !(home->flags & NETNS_NODE)) return PASS;
  count(REASON_BIND_REFUSED);
  bpf_set_retval(-EADDRINUSE);
  return REFUSE;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock* ctx) { return guard_bind(ctx, ctx->protocol, true); }

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock* ctx) {
  // A dual-stack socket takes the IPv4 port as well.
  int verdict = guard_bind(ctx, ctx->protocol, true);
  return verdict == PASS ? guard_bind(ctx, ctx->protocol, false) : verdict;
}

// The last descriptor is closed: nobody asks for this socket's peer again.
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock* ctx) {
  __u64 cookie = bpf_get_socket_cookie(ctx);
  if (bpf_map_lookup_elem(&sock_peer, &cookie)) bpf_map_delete_elem(&sock_peer, &cookie);
  return PASS;
}
