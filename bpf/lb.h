#pragma once
// The load balancer itself: find the service of a destination, choose a backend,
// count and report. Every program is a thin shell over these functions, so that
// the socket and the packet path cannot disagree.

#include "bpf/maps.h"
// maps.h first
#include <bpf/bpf_endian.h>

#define EVENTS_PER_SECOND 512
#define SLOTS_TRIED 8
#define NANOSECONDS 1000000000ULL

// Set by the loader before the programs are loaded: network and mask in wire order;
// a mask of zeros is an unused place.
const volatile __u32 service_network[2][4] = {};
const volatile __u32 service_mask[2][4] = {};

struct target {
  struct address address;
  __u16 port;
  enum protocol protocol;
};

// What find() and choose() fill in on the way to a verdict.
struct choice {
  struct backend* backend;
  __u32 service;
  __u32 backend_id;
};

static __always_inline __u32* words(struct address* address) { return (__u32*)address->byte; }
static __always_inline const __u32* cwords(const struct address* address) { return (const __u32*)address->byte; }

static __always_inline bool same_address(const struct address* a, const struct address* b) {
  const __u32 *x = cwords(a), *y = cwords(b);
  return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

static __always_inline bool is_v4(const struct address* a) {
  const __u32* w = cwords(a);
  return w[0] == 0 && w[1] == 0 && w[2] == bpf_htonl(0xffff);
}

static __always_inline struct address from_v4(__be32 ip) {
  struct address a = {};
  words(&a)[2] = bpf_htonl(0xffff);
  words(&a)[3] = ip;
  return a;
}

static __always_inline void count(__u32 reason) {
  __u64* n = bpf_map_lookup_elem(&counter, &reason);
  if (n) *n += 1;
}

// 127/8, 0.0.0.0, ::1, :: — connect() takes the unspecified address for loopback.
static __always_inline bool is_loopback(const struct address* a) {
  const __u32* w = cwords(a);
  if (w[0] | w[1]) return false;
  if (w[2] == 0) return w[3] == 0 || w[3] == bpf_htonl(1);
  return w[2] == bpf_htonl(0xffff) && (w[3] == 0 || (w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000));
}

static __always_inline bool in_service_cidr(const struct address* a) {
  const __u32* w = cwords(a);
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const volatile __u32 *net = service_network[i], *mask = service_mask[i];
    if (mask[0] == 0) continue;
    if ((((w[0] ^ net[0]) & mask[0]) | ((w[1] ^ net[1]) & mask[1]) | ((w[2] ^ net[2]) & mask[2]) |
         ((w[3] ^ net[3]) & mask[3])) == 0)
      return true;
  }
  return false;
}

static __always_inline __u32* find_cluster(const struct target* to) {
  struct vip_key key = {.address = to->address, .port = to->port, .protocol = to->protocol, .scope = SCOPE_CLUSTER};
  return bpf_map_lookup_elem(&vip, &key);
}

// A port of the node: hostPort with a host address of its own, then NodePort and
// hostPort on every address. The caller has made sure that `to` is the node.
static __always_inline __u32* find_node(const struct target* to) {
  struct vip_key key = {.address = to->address, .port = to->port, .protocol = to->protocol, .scope = SCOPE_NODE};
  __u32* id = bpf_map_lookup_elem(&vip, &key);
  if (id) return id;
  if (is_v4(&to->address)) {
    words(&key.address)[3] = 0;
  } else {
    __builtin_memset(&key.address, 0, sizeof(key.address));
  }
  return bpf_map_lookup_elem(&vip, &key);
}

static __always_inline bool takes_new_flows(const struct backend* b) {
  return b->state == BACKEND_READY || b->state == BACKEND_TERMINATING;
}

// A backend for a new flow. `random` is uniform over 32 bits: random on the socket
// path, the flow's hash on the packet path. `client` is the key of session affinity.
// `wanted` are backend_flags that the backend must have; another one is looked for
// among the next slots while the agent has not finished introducing a new one.
// Without `begins` nothing is recorded: the packet is one of a flow that goes on.
static __always_inline enum reason choose(__u32 service_id, const struct address* client, __u32 random, __u32 wanted,
                                          bool begins, struct choice* out) {
  out->service = service_id;
  struct service* s = bpf_map_lookup_elem(&service, &service_id);
  if (!s) return REASON_STALE_SLOT;

  // One load: base, count and generation belong together.
  union {
    __u64 word;
    struct publication set;
  } published = {.word = *(volatile __u64*)&s->published};
  if (published.set.count == 0) return REASON_NO_ENDPOINT;

  struct affinity_key key = {.client = *client, .service = service_id};
  __u32 affinity_seconds = s->affinity_seconds;
  __u64 now = 0;
  if (affinity_seconds) {
    now = bpf_ktime_get_ns();
    struct affinity* known = bpf_map_lookup_elem(&affinity, &key);
    if (known && now - known->last_ns < affinity_seconds * NANOSECONDS) {
      __u32 id = known->backend;
      struct backend* b = bpf_map_lookup_elem(&backend, &id);
      if (b && b->generation == known->generation && takes_new_flows(b) && (b->flags & wanted) == wanted) {
        if (begins) known->last_ns = now;
        out->backend = b;
        out->backend_id = id;
        return REASON_FORWARDED;
      }
    }
  }

  __u32 first = (__u32)(((__u64)random * published.set.count) >> 32);
  for (__u32 i = 0; i < SLOTS_TRIED; i++) {
    __u32 offset = first + i;
    if (offset >= published.set.count) offset -= published.set.count;
    if (offset >= published.set.count) break;  // all have been tried
    __u32 index = published.set.base + offset;
    __u32* id = bpf_map_lookup_elem(&slot, &index);
    if (!id) return REASON_STALE_SLOT;
    out->backend_id = *id;
    out->backend = bpf_map_lookup_elem(&backend, &out->backend_id);
    if (!out->backend) return REASON_STALE_SLOT;
    if ((out->backend->flags & wanted) == wanted) break;
    out->backend = NULL;
  }
  if (!out->backend) return REASON_NO_ENDPOINT;
  if (affinity_seconds && begins) {
    struct affinity chosen = {.last_ns = now, .backend = out->backend_id, .generation = out->backend->generation};
    bpf_map_update_elem(&affinity, &key, &chosen, BPF_ANY);
  }
  return REASON_FORWARDED;
}

static __always_inline void count_flow(enum reason reason, const struct choice* chosen) {
  count(reason);
  struct service_stat* stat = bpf_map_lookup_elem(&service_stat, &chosen->service);
  if (!stat) return;
  if (reason != REASON_FORWARDED) {
    __sync_fetch_and_add(&stat->refused, 1);
    return;
  }
  __sync_fetch_and_add(&stat->forwarded, 1);
  __u64* flows = bpf_map_lookup_elem(&backend_stat, &chosen->backend_id);
  if (flows) __sync_fetch_and_add(flows, 1);
}

struct source {
  struct address address;
  __u16 port;
  enum hook hook;
  __u64 netns_cookie;
};

static __always_inline void report_flow(enum reason reason, const struct source* from, const struct target* to,
                                        const struct choice* chosen) {
  __u64 now = bpf_ktime_get_coarse_ns();  // a tick's resolution is enough, and costs nothing
  __u32 zero = 0;
  struct event_window* window = bpf_map_lookup_elem(&event_window, &zero);
  if (!window) return;
  __u64 second = now / NANOSECONDS;
  if (window->second != second) {
    window->second = second;
    window->events = 0;
  }
  if (window->events >= EVENTS_PER_SECOND) {
    count(REASON_EVENTS_LOST);
    return;
  }
  window->events += 1;
  struct flow_event* event = bpf_ringbuf_reserve(&flow, sizeof(*event), 0);
  if (!event) {
    count(REASON_EVENTS_LOST);
    return;
  }
  event->time_ns = now;
  event->netns_cookie = from->netns_cookie;
  event->client = from->address;
  event->vip = to->address;
  if (reason == REASON_FORWARDED && chosen->backend) {
    event->backend = chosen->backend->address;
    event->backend_port = chosen->backend->port;
  } else {
    __builtin_memset(&event->backend, 0, sizeof(event->backend));
    event->backend_port = 0;
  }
  event->client_port = from->port;
  event->vip_port = to->port;
  event->protocol = to->protocol;
  event->hook = from->hook;
  event->service = chosen->service;
  event->reason = reason;
  // Wakes the agent for the first flow after it has looked, not for those that follow: it rests between looks.
  bpf_ringbuf_submit(event, 0);
}
