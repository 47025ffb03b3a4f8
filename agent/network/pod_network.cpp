#include "agent/network/pod_network.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "agent/network/address_pool.h"
#include "agent/network/allocations.h"
#include "agent/network/doctor.h"
#include "agent/network/forwarding.h"
#include "agent/network/host_setup.h"
#include "agent/network/names.h"
#include "agent/network/pod_link.h"
#include "host/log.h"
#include "host/nft.h"
#include "host/process.h"

namespace keelson::network {
namespace {

constexpr auto kLookOut = std::chrono::seconds(20);

int64_t now_us() {
  using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::system_clock;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

constexpr auto kPeersRetry = std::chrono::seconds(5);

// Jobs about one link run in order.
uint64_t lane(const std::string& link) { return std::hash<std::string>()(link) | 1; }

api::PodAddresses addresses_of(const Allocation& allocation) {
  api::PodAddresses addresses;
  for (const auto& ip : allocation.ips) addresses.ips.push_back(ip.to_string());
  return addresses;
}

host::Status check(const Settings& settings) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (settings.instance.size() > 32 || !std::ranges::all_of(settings.instance, plain))
    return host::fail(host::Error::Code::invalid,
                      fmt::format("\"{}\" is no instance's name: letters, digits and '-'", settings.instance));
  if (settings.pod_cidrs.empty()) return host::fail(host::Error::Code::invalid, "--pod-cidr names no network");
  return {};
}

// Everything of ours in the kernel, by name.
std::vector<std::string> our_links(const HostView& host, const Names& names) {
  std::vector<std::string> found;
  for (const auto& link : host.links)
    if (link.kind == "veth" && link.name.starts_with(names.link_prefix)) found.push_back(link.name);
  return found;
}

}  // namespace

struct PodNet::Impl : std::enable_shared_from_this<PodNet::Impl> {
  Impl(host::Loop& loop, Settings settings, std::string boot_id)
      : loop(loop),
        settings(std::move(settings)),
        names(Names::of(this->settings.instance)),
        networks{this->settings.pod_cidrs, this->settings.service_cidrs, {}},
        directory(this->settings.run_dir / "network"),
        files(directory, boot_id),
        forwarding(directory / "host-state", boot_id) {}

  host::Loop& loop;
  const Settings settings;
  const Names names;
  Networks networks;
  const host::Path directory;
  const AllocationFiles files;
  Forwarding forwarding;

  uint32_t mtu = 0;
  std::vector<AddressPool> pools;                 // one for each of settings.pod_cidrs
  std::map<std::string, Allocation> allocations;  // by uid; those being attached and detached too
  std::set<std::string> attached;                 // those whose cable stands
  size_t jobs = 0;                                // on a worker, or on their way back
  bool closed = false;                            // by teardown
  std::move_only_function<void()> when_idle;
  std::vector<Finding> findings;
  host::Timer look_out_timer;

  std::vector<Peer> peers;
  bool peers_told = false, peers_dirty = false, peers_busy = false;
  std::vector<std::string> peer_problems;  // as they were logged last
  host::Timer peers_retry;
  void connect_peers();
  // What connect_peers() does on a worker.
  struct Connected {
    host::Status status;
    std::vector<std::string> problems;
    std::vector<api::Cidr> reachable;
  };
  static Connected connect(const std::vector<Peer>& peers, Networks networks, const Names& names);

  host::Status prepare();
  void look_out();
  host::Status prepare_host(host::RouteSocket& socket);
  host::Result<Allocation> allocate(const std::string& uid);
  void free(const Allocation& allocation);
  host::Status remove_all() const;
  host::Status look_for_leftovers(host::RouteSocket& socket) const;

  // `work` on a worker and `done` with its result here, with this object kept alive.
  template <typename Work, typename Done>
  void offload(const std::string& link, Work work, Done done) {
    ++jobs;
    loop.offload(
        std::move(work),
        [self = shared_from_this(), done = std::move(done)](host::Status result) mutable {
          done(std::move(result));
          if (--self->jobs == 0 && self->when_idle) std::exchange(self->when_idle, nullptr)();
        },
        lane(link));
  }
};

host::Status PodNet::Impl::prepare() {
  for (const auto& cidr : settings.pod_cidrs) {
    auto pool = AddressPool::create(cidr);
    if (!pool) return std::unexpected(std::move(pool.error()));
    pools.push_back(std::move(*pool));
  }
  auto socket = host::RouteSocket::open();
  if (!socket) return std::unexpected(std::move(socket.error()));
  if (auto prepared = prepare_host(*socket); !prepared) return prepared;

  auto loaded = files.load();
  if (!loaded) return std::unexpected(std::move(loaded.error()));
  for (auto& allocation : *loaded) {
    for (const auto& ip : allocation.ips) {
      const auto pool = std::ranges::find_if(pools, [&](const auto& p) { return p.network().contains(ip); });
      if (pool == pools.end()) {
        host::log_warning("network: pod {} has {} of an earlier --pod-cidr and keeps it until it is restarted",
                          allocation.uid, ip.to_string());
        continue;
      }
      pool->reserve(ip);
      pool->continue_after(ip);  // they come oldest first
    }
    attached.insert(allocation.uid);
    allocations.emplace(allocation.uid, std::move(allocation));
  }
  return {};
}

host::Status PodNet::Impl::prepare_host(host::RouteSocket& socket) {
  auto view = look_at_host(socket);
  if (!view) return std::unexpected(std::move(view.error()));
  if (auto checked = check_networks(networks, *view, names); !checked) return checked;
  if (auto run = socket.run(plan_unreachable_routes(networks, *view, names)); !run) return run;

  if (auto made = host::make_directories(directory, 0700); !made) return made;
  const auto wants = [&](bool v4) {
    return std::ranges::any_of(settings.pod_cidrs, [&](auto& c) { return c.is_v4() == v4; });
  };
  if (auto enabled = forwarding.enable(wants(true), wants(false)); !enabled) return enabled;

  // Until the peers are known, those that an earlier agent knew.
  for (const auto& route : view->routes)
    if (is_peer_route(route, names)) networks.peers.push_back(route.destination);
  networks.peers = joined(std::move(networks.peers));
  auto nft = host::nft::Nft::open();
  if (!nft) return std::unexpected(std::move(nft.error()));
  const auto table = pod_table(networks, names);
  if (auto replaced = nft->replace({&table, 1}); !replaced) return replaced;
  mtu = uplink_mtu(*view);
  return {};
}

void PodNet::Impl::look_out() {
  loop.offload([settings = settings] { return examine_running_host(settings); },
               [weak = weak_from_this()](std::vector<Finding> found) {
                 const auto self = weak.lock();
                 if (!self || self->closed) return;
                 for (const auto& one : found) {
                   if (std::ranges::find(self->findings, one) == self->findings.end())
                     host::log_warning("network: {}: {}; {}", one.subject, one.found, one.remedy);
                 }
                 self->findings = std::move(found);
                 self->look_out_timer = self->loop.after(kLookOut, [weak] {
                   if (const auto still = weak.lock()) still->look_out();
                 });
               });
}

host::Result<Allocation> PodNet::Impl::allocate(const std::string& uid) {
  if (const auto held = allocations.find(uid); held != allocations.end()) return held->second;
  Allocation allocation{.uid = uid, .allocated_at_us = now_us()};
  for (auto& pool : pools) {
    auto ip = pool.allocate();
    if (!ip) {
      free(allocation);
      return std::unexpected(std::move(ip.error()));
    }
    allocation.ips.push_back(*ip);
  }
  allocations.emplace(uid, allocation);
  return allocation;
}

void PodNet::Impl::free(const Allocation& allocation) {
  for (const auto& ip : allocation.ips)
    for (auto& pool : pools) pool.release(ip);
}

host::Status PodNet::Impl::remove_all() const {
  auto socket = host::RouteSocket::open();
  if (!socket) return std::unexpected(std::move(socket.error()));
  auto view = look_at_host(*socket);
  if (!view) return std::unexpected(std::move(view.error()));
  // All of it is tried; the first error is the one to tell.
  host::Status result;
  const auto keep = [&](host::Status status) {
    if (!status && result) result = std::move(status);
  };
  host::RouteBatch batch;
  for (const auto& link : our_links(*view, names)) batch.delete_link(link);
  keep(socket->run(batch));
  keep(socket->run(plan_unreachable_routes({}, *view, names)));
  keep(socket->run(plan_peer_routes({}, *view, names)));
  if (auto nft = host::nft::Nft::open(); nft)
    keep(nft->remove(host::nft::Family::inet, names.table));
  else
    keep(std::unexpected(std::move(nft.error())));
  keep(Forwarding(forwarding).restore());
  keep(host::remove_tree(directory));
  keep(look_for_leftovers(*socket));
  return result;
}

host::Status PodNet::Impl::look_for_leftovers(host::RouteSocket& socket) const {
  auto view = look_at_host(socket);
  if (!view) return std::unexpected(std::move(view.error()));
  auto left = our_links(*view, names);
  for (const auto& route : view->routes)
    if (is_ours(route, *view, names)) left.push_back(fmt::format("route to {}", route.destination.to_string()));
  struct stat status;
  if (lstat(directory.c_str(), &status) == 0) left.push_back(directory.native());
  if (left.empty()) return {};
  return host::fail(fmt::format("still there: {}", fmt::join(left, ", ")));
}

// ---- other nodes -----------------------------------------------------------------------

PodNet::Impl::Connected PodNet::Impl::connect(const std::vector<Peer>& peers, Networks networks, const Names& names) {
  Connected result;
  auto socket = host::RouteSocket::open();
  auto view = socket ? look_at_host(*socket) : host::Result<HostView>(std::unexpected(socket.error()));
  if (!view) return {.status = std::unexpected(std::move(view.error())), .problems = {}, .reachable = {}};
  auto routes = routes_to(peers, networks, *view, names);
  result.problems = std::move(routes.problems);
  for (const auto& route : routes.wanted) result.reachable.push_back(route.destination);
  result.reachable = joined(std::move(result.reachable));
  // The table before the routes: no packet to a new peer leaves with the wrong source, and
  // nftables would remember the choice for the flow's life.
  if (result.reachable != networks.peers) {
    networks.peers = result.reachable;
    const auto table = pod_table(networks, names);
    auto nft = host::nft::Nft::open();
    if (!nft) {
      result.status = std::unexpected(std::move(nft.error()));
      return result;
    }
    result.status = nft->replace({&table, 1});
    if (!result.status) return result;
  }
  result.status = socket->run(plan_peer_routes(routes.wanted, *view, names));
  return result;
}

void PodNet::Impl::connect_peers() {
  if (closed || peers_busy || !std::exchange(peers_dirty, false)) return;
  peers_busy = true;
  auto found = std::make_shared<Connected>();  // passes from the worker thread to the loop's
  offload(
      "peers",
      [found, peers = peers, networks = networks, names = names]() -> host::Status {
        *found = connect(peers, networks, names);
        return found->status;
      },
      [self = shared_from_this(), found](host::Status result) {
        self->peers_busy = false;
        if (found->problems != self->peer_problems) {
          for (const auto& problem : found->problems) host::log_warning("network: {}", problem);
          self->peer_problems = found->problems;
        }
        if (result) {
          self->networks.peers = found->reachable;
        } else {
          host::log_warning("network: routes to other nodes: {}, trying again", result.error().message);
          self->peers_dirty = true;
        }
        if (self->peers_dirty) {
          self->peers_retry =
              self->loop.after(result ? std::chrono::seconds(0) : kPeersRetry, [weak = self->weak_from_this()] {
                if (auto again = weak.lock()) again->connect_peers();
              });
        }
      });
}

void PodNet::set_peers(std::vector<Peer> peers) {
  if (peers == impl_->peers && !impl_->peers_dirty && impl_->peers_told) return;
  impl_->peers_told = true;
  impl_->peers = std::move(peers);
  impl_->peers_dirty = true;
  impl_->connect_peers();
}

// ---- the interface -------------------------------------------------------------------

PodNet::PodNet(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
PodNet::~PodNet() = default;

host::Result<std::unique_ptr<PodNet>> PodNet::create(host::Loop& loop, Settings settings) {
  const auto refuse = [](host::Error error) { return std::unexpected(std::move(error).within("pod network")); };
  if (auto checked = check(settings); !checked) return refuse(std::move(checked.error()));
  auto boot_id = host::boot_id();
  if (!boot_id) return refuse(std::move(boot_id.error()));
  auto impl = std::make_shared<Impl>(loop, std::move(settings), std::move(*boot_id));
  if (auto prepared = impl->prepare(); !prepared) return refuse(std::move(prepared.error()));
  impl->look_out();
  return std::unique_ptr<PodNet>(new PodNet(std::move(impl)));
}

void PodNet::attach(const std::string& uid, const api::Sandbox& sandbox, api::Callback<api::PodAddresses> done) {
  const auto refuse = [&](host::Error error) {
    impl_->loop.post([done = std::move(done), error = std::move(error).within("pod network")]() mutable {
      done(std::unexpected(std::move(error)));
    });
  };
  if (impl_->closed) return refuse({.code = host::Error::Code::unavailable, .message = "the node is drained"});
  if (!usable_uid(uid))
    return refuse({.code = host::Error::Code::invalid, .message = fmt::format("\"{}\" is no pod's uid", uid)});
  if (!sandbox.network_namespace || !sandbox.netlink)
    return refuse({.code = host::Error::Code::invalid, .message = "the sandbox has no network namespace of its own"});
  const bool fresh = !impl_->allocations.contains(uid);
  auto allocation = impl_->allocate(uid);
  if (!allocation) return refuse(std::move(allocation.error()));

  // The file first: a link without a file is a stray, but a file without a link is only
  // an address that retain() frees.
  PodLink link{.uid = uid, .name = impl_->names.link(uid), .ips = allocation->ips, .mtu = impl_->mtu};
  auto work = [files = impl_->files, allocation = *allocation, link, fresh, netlink = sandbox.netlink.get(),
               network_namespace = sandbox.network_namespace.get()]() -> host::Status {
    auto result = files.save(allocation);
    if (result) result = connect_pod(link, netlink, network_namespace);
    if (!result && fresh)
      if (auto removed = files.remove(allocation.uid); !removed)
        host::log_warning("network: {}, ignoring", removed.error().message);
    return result;
  };
  auto finish = [impl = impl_, allocation = std::move(*allocation), fresh,
                 done = std::move(done)](host::Status result) mutable {
    const auto held = impl->allocations.find(allocation.uid);
    const bool still_ours = held != impl->allocations.end() && held->second.ips == allocation.ips;
    if (result && still_ours) {
      impl->attached.insert(allocation.uid);
      return done(addresses_of(allocation));
    }
    if (!result && still_ours && fresh) {
      impl->free(allocation);
      impl->allocations.erase(held);
    }
    auto error = result ? host::Error{.code = host::Error::Code::unavailable, .message = "detached meanwhile"}
                        : std::move(result.error());
    done(std::unexpected(std::move(error).within("pod network")));
  };
  impl_->offload(link.name, std::move(work), std::move(finish));
}

void PodNet::detach(const std::string& uid, api::StatusCallback done) {
  impl_->attached.erase(uid);
  // From here on the pod holds nothing; but only when its link has gone may another have
  // the addresses.
  std::optional<Allocation> held;
  if (const auto found = impl_->allocations.find(uid); found != impl_->allocations.end()) {
    held = std::move(found->second);
    impl_->allocations.erase(found);
  }
  const auto link = impl_->names.link(uid);
  auto work = [files = impl_->files, uid, link]() -> host::Status {
    if (auto gone = disconnect_pod(link); !gone) return gone;
    if (!usable_uid(uid)) return {};
    return files.remove(uid);
  };
  auto finish = [impl = impl_, held = std::move(held), done = std::move(done)](host::Status result) mutable {
    if (result) {
      if (held) impl->free(*held);
      return done({});
    }
    // A later detach shall find it; with an attach in between, the addresses stay taken.
    if (held) impl->allocations.try_emplace(held->uid, *held);
    done(std::unexpected(std::move(result.error()).within("pod network")));
  };
  impl_->offload(link, std::move(work), std::move(finish));
}

void PodNet::retain(const std::vector<std::string>& uids) {
  const std::set<std::string> kept(uids.begin(), uids.end());
  std::vector<std::string> gone;
  for (const auto& [uid, allocation] : impl_->allocations)
    if (!kept.contains(uid)) gone.push_back(uid);
  for (const auto& uid : gone)
    detach(uid, [uid](host::Status result) {
      if (!result) host::log_warning("network: pod {}: {}, ignoring", uid, result.error().message);
    });

  // Links of ours whose pods nobody knows, their files being gone. Listed here and now, so
  // that no link that an attach makes in the meantime is among them.
  std::set<std::string> known;
  for (const auto& uid : uids) known.insert(impl_->names.link(uid));
  for (const auto& uid : gone) known.insert(impl_->names.link(uid));
  auto socket = host::RouteSocket::open();
  auto links = socket ? socket->links() : host::Result<std::vector<host::Link>>(std::unexpected(socket.error()));
  if (!links) return host::log_warning("network: stray links: {}, ignoring", links.error().message);
  for (const auto& link : our_links({.links = std::move(*links), .addresses = {}, .routes = {}}, impl_->names)) {
    if (known.contains(link)) continue;
    impl_->offload(
        link, [link] { return disconnect_pod(link); },
        [link](host::Status result) {
          if (!result) host::log_warning("network: stray link {}: {}, ignoring", link, result.error().message);
        });
  }
}

host::Result<api::PodAddresses> PodNet::addresses(const std::string& uid) {
  const auto held = impl_->allocations.find(uid);
  if (held == impl_->allocations.end() || !impl_->attached.contains(uid))
    return host::fail(host::Error::Code::not_found, fmt::format("pod network: pod {} has no address", uid));
  return addresses_of(held->second);
}

void PodNet::teardown(api::StatusCallback done) {
  impl_->closed = true;
  impl_->findings.clear();
  auto begin = [impl = impl_, done = std::move(done)]() mutable {
    auto work = [impl] { return impl->remove_all(); };
    impl->offload("", std::move(work), [impl, done = std::move(done)](host::Status result) mutable {
      impl->allocations.clear();
      impl->attached.clear();
      if (!result) return done(std::unexpected(std::move(result.error()).within("pod network")));
      done({});
    });
  };
  if (impl_->jobs == 0) return begin();
  impl_->when_idle = std::move(begin);
}

const std::vector<Finding>& PodNet::findings() const { return impl_->findings; }

std::string PodNet::interface_of(const std::string& uid) const { return impl_->names.link(uid); }
std::string PodNet::interface_prefix() const { return impl_->names.link_prefix; }

}  // namespace keelson::network
