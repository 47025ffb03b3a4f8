#include "agent/proxy/proxy.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>

#include "agent/proxy/clients.h"
#include "agent/proxy/kernel.h"
#include "agent/proxy/packet_path.h"
#include "host/log.h"
#include "host/netlink.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace keelson::proxy {

using host::Error;
using host::IpAddress;
using host::Result;
using host::Status;
using namespace std::chrono_literals;

namespace {

constexpr size_t kFlowsKept = 1024;
constexpr auto kRetry = 1s;
constexpr auto kFlowRest = 100ms;  // between two looks, so that a busy node is not woken for each flow

constexpr std::array<const char*, 13> kReasons = {
    "not_ours",     "forwarded",    "continued",   "no_endpoint",  "unknown_port", "foreign_netns", "stale_slot",
    "bind_refused", "storage_full", "events_lost", "packet_short", "fragment",     "source_refused"};

const char* reason_name(uint32_t reason) { return reason < kReasons.size() ? kReasons[reason] : "unknown"; }

// The cookie of this thread's network namespace.
Result<uint64_t> own_netns_cookie() {
  const host::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return host::sys_fail("socket");
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0)
    return host::sys_fail("SO_NETNS_COOKIE (kernel 5.14 or later)");
  return cookie;
}

// One name for the nft tables of one instance.
std::string table_name(const Settings& settings) {
  auto name = settings.bpffs.filename().string() + "-services";
  std::ranges::replace_if(name, [](unsigned char c) { return !std::isalnum(c) && c != '-' && c != '_'; }, '-');
  return name;
}

std::string address_and_port(const IpAddress& address, uint16_t port) {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                         : fmt::format("[{}]:{}", address.to_string(), port);
}

std::string display(const Vip& vip) {
  if (vip.node && vip.address.is_unspecified()) return fmt::format("*:{}/{}", vip.port, to_string(vip.protocol));
  return to_string(vip);
}

void put_addresses(abi::netns& value, const std::vector<IpAddress>& addresses) {
  for (const auto& address : addresses) {
    auto& place = address.is_v4() ? value.address4 : value.address6;
    if (from_abi(place).is_unspecified()) place = to_abi(address);
  }
}

const char* name_of(Target::State state) {
  switch (state) {
    case Target::State::ready:
      return "ready";
    case Target::State::terminating:
      return "terminating";
    case Target::State::draining:
      return "draining";
  }
  return "";
}

}  // namespace

Proxy::Proxy(host::Loop& loop, Settings settings)
    : loop_(loop),
      settings_(std::move(settings)),
      allocations_({.service_cidrs = settings_.service_cidrs,
                    .first_node_port = settings_.first_node_port,
                    .last_node_port = settings_.last_node_port}),
      table_({.name = settings_.node_name, .addresses = settings_.node_addresses, .pod_cidrs = settings_.pod_cidrs}) {}

Proxy::~Proxy() = default;

Result<std::unique_ptr<Proxy>> Proxy::create(host::Loop& loop, Settings settings) {
  std::unique_ptr<Proxy> proxy(new Proxy(loop, std::move(settings)));
  const auto& set = proxy->settings_;

  if (auto text = host::read_file(set.allocations_file); text) {
    if (auto loaded = proxy->allocations_.load(*text); !loaded)
      host::log_warning("service proxy: {}: {}: allocating anew, ignoring", set.allocations_file.string(),
                        loaded.error().message);
  } else if (text.error().code != Error::Code::not_found) {
    return std::unexpected(text.error());
  }
  auto cookie = own_netns_cookie();
  if (!cookie) return std::unexpected(cookie.error());
  proxy->node_cookie_ = *cookie;

  auto kernel = Kernel::open(
      {.bpffs = set.bpffs, .cgroup_root = set.cgroup_root, .service_cidrs = set.service_cidrs, .limits = set.limits});
  if (!kernel) return std::unexpected(kernel.error());
  proxy->kernel_ = std::move(*kernel);
  auto connections = proxy->kernel_->connections();
  if (!connections) return std::unexpected(connections.error());
  proxy->clients_ = std::make_unique<Clients>(loop, std::move(*connections), *cookie);
  if (set.packet_path) {
    auto packets = PacketPath::create(loop, table_name(set), set.node_addresses,
                                      [raw = proxy.get()](const std::vector<uint32_t>& backends) {
                                        if (raw->kernel_) raw->kernel_->introduce_to_packets(backends);
                                      });
    if (!packets) return std::unexpected(packets.error());
    proxy->packets_ = std::move(*packets);
  }
  if (auto started = proxy->start_over(); !started) return std::unexpected(started.error());

  // The news first, so that nothing falls between them and the look.
  auto monitor = host::LinkMonitor::open();
  if (!monitor) return std::unexpected(monitor.error());
  proxy->monitor_ = std::move(*monitor);
  abi::netns node{.flags = abi::NETNS_NODE};
  put_addresses(node, set.node_addresses);
  if (auto written = proxy->kernel_->set_netns(*cookie, node); !written) return std::unexpected(written.error());
  if (auto attached = proxy->kernel_->attach(); !attached) return std::unexpected(attached.error());
  if (auto looked = proxy->look_at_interfaces(); !looked) return std::unexpected(looked.error());

  auto* raw = proxy.get();
  auto watch = loop.on_readable(raw->monitor_->fd(), [raw] { raw->interfaces_changed(raw->monitor_->changed()); });
  if (!watch) return std::unexpected(watch.error());
  raw->monitor_watch_ = std::move(*watch);
  raw->watch_flows();
  return proxy;
}

// ---- inputs ---------------------------------------------------------------------------

void Proxy::touch() {
  if (kernel_ && !flush_timer_.armed()) {
    flush_timer_ = loop_.after(0s, [this] {
      if (auto done = flush(); !done)
        host::log_warning("service proxy: {}: trying again, ignoring", done.error().message);
    });
  }
}

void Proxy::set_services(std::vector<api::Service> services) {
  auto outcome = allocations_.assign(std::move(services), synced_);
  if (outcome.changed) save_allocations();
  allocation_problems_ = std::move(outcome.problems);
  std::set<ServiceName> gone;
  for (const auto& [name, known] : table_.services()) gone.insert(name);
  for (auto& service : outcome.services) {
    gone.erase({service.metadata.namespace_, service.metadata.name});
    table_.set_service(std::move(service));
  }
  for (const auto& name : gone) table_.remove_service(name);
  touch();
}

void Proxy::set_endpoints(std::vector<api::Endpoints> endpoints) {
  std::set<ServiceName> gone;
  for (const auto& [name, known] : table_.endpoints()) gone.insert(name);
  for (auto& object : endpoints) {
    const ServiceName name{object.metadata.namespace_, object.metadata.name};
    gone.erase(name);
    if (const auto known = table_.endpoints().find(name); known != table_.endpoints().end() && known->second != object)
      end_flows_to_missing(known->second, &object);
    table_.set_endpoints(std::move(object));
  }
  for (const auto& name : gone) {
    if (table_.services().contains(name)) end_flows_to_missing(table_.endpoints().at(name), nullptr);
    table_.remove_endpoints(name);
  }
  touch();
}

// The places that an Endpoints object names no more, be it as ready or as not ready.
void Proxy::end_flows_to_missing(const api::Endpoints& before, const api::Endpoints* now) {
  const auto places_of = [](const api::Endpoints& endpoints) {
    std::set<std::tuple<IpAddress, uint16_t, bool>> places;
    for (const auto& subset : endpoints.subsets) {
      for (const auto* list : {&subset.addresses, &subset.not_ready_addresses}) {
        for (const auto& given : *list) {
          const auto address = IpAddress::parse(given.ip);
          if (!address) continue;
          for (const auto& port : subset.ports)
            places.emplace(*address, static_cast<uint16_t>(port.port), port.protocol == "UDP");
        }
      }
    }
    return places;
  };
  auto missing = places_of(before);
  if (now != nullptr) {
    for (const auto& place : places_of(*now)) missing.erase(place);
  }
  for (const auto& [address, port, udp] : missing) end_flows_to(address, port, udp ? Protocol::udp : Protocol::tcp);
}

void Proxy::end_flows_to(const IpAddress& address, uint16_t port, Protocol protocol) {
  // A pod of this node says itself when it goes.
  if (std::ranges::any_of(pod_addresses_,
                          [&](const auto& pod) { return std::ranges::find(pod.second, address) != pod.second.end(); }))
    return;
  clients_->end({.address = address, .port = port, .protocol = protocol});
  if (packets_)
    packets_->end_flows({.protocol = static_cast<uint8_t>(protocol),
                         .backend = address,
                         .backend_port = port,
                         .only_translated = true});
}

void Proxy::set_slice(const api::EndpointSlice& slice) {
  table_.set_slice(slice);
  touch();
}

void Proxy::remove_slice(const std::string& namespace_, const std::string& name) {
  table_.remove_slice({namespace_, name});
  touch();
}

void Proxy::set_pod(const api::Pod& pod) {
  const ServiceName name{pod.metadata.namespace_, pod.metadata.name};
  table_.set_pod(pod);
  touch();

  const auto& uid = pod.metadata.uid;
  if (const auto old = pod_uids_.find(name); old != pod_uids_.end() && old->second != uid) {
    end_flows_to_pod(old->second);
    pod_addresses_.erase(old->second);
  }
  pod_uids_[name] = uid;
  std::vector<IpAddress> addresses;
  for (const auto& ip : pod.status.pod_ips) {
    if (const auto address = IpAddress::parse(ip.ip)) addresses.push_back(*address);
  }
  auto& known = pod_addresses_[uid];
  if (known == addresses) return;
  if (!known.empty()) end_flows_to_pod(uid);  // it was made anew
  known = std::move(addresses);
  if (!netns_.contains(uid)) return;
  if (auto written = write_netns(uid); !written)
    host::log_warning("service proxy: pod {}: {}, ignoring", to_string(name), written.error().message);
}

void Proxy::remove_pod(const std::string& namespace_, const std::string& name) {
  const ServiceName key{namespace_, name};
  table_.remove_pod(key);
  if (const auto uid = pod_uids_.find(key); uid != pod_uids_.end()) {
    end_flows_to_pod(uid->second);
    pod_addresses_.erase(uid->second);
    pod_uids_.erase(uid);
  }
  touch();
}

// The clients of a pod whose network is no more. The sockets of one with hostNetwork are
// the node's, which tells their clients itself.
void Proxy::end_flows_to_pod(const std::string& uid) {
  const auto known = pod_addresses_.find(uid);
  if (known == pod_addresses_.end() || !kernel_) return;
  for (const auto& address : known->second) {
    if (std::ranges::find(local_addresses_, address) != local_addresses_.end()) continue;
    clients_->end({.address = address});
    if (packets_) packets_->end_flows({.backend = address, .only_translated = true});
  }
}

Status Proxy::write_netns(const std::string& uid) {
  abi::netns value{.flags = abi::NETNS_POD};
  if (const auto known = pod_addresses_.find(uid); known != pod_addresses_.end()) put_addresses(value, known->second);
  return kernel_->set_netns(netns_.at(uid).cookie, value);
}

Status Proxy::register_netns(const std::string& uid, uint64_t cookie, const std::string& veth, host::Fd netns) {
  if (!kernel_) return {};                // torn down
  if (cookie == node_cookie_) return {};  // hostNetwork: the node's own, registered already
  const auto old = netns_.find(uid);
  if (old != netns_.end() && old->second.cookie != cookie) unregister_netns(uid);
  netns_[uid] = {cookie, veth};
  if (auto written = write_netns(uid); !written) {
    netns_.erase(uid);
    return std::unexpected(std::move(written.error()).within("service proxy: register pod " + uid));
  }
  clients_->add_netns(cookie, std::move(netns));
  if (veth.empty() || !packets_) return {};
  if (auto attached = kernel_->attach_interface(veth, Kernel::Side::pod); !attached)
    return std::unexpected(std::move(attached.error()).within("service proxy: packets of pod " + uid));
  return {};
}

void Proxy::unregister_netns(const std::string& uid) {
  const auto it = netns_.find(uid);
  if (it == netns_.end() || !kernel_) return;
  if (!it->second.veth.empty() && packets_) {
    if (auto detached = kernel_->detach_interface(it->second.veth); !detached)
      host::log_warning("service proxy: pod {}: {}, ignoring", uid, detached.error().message);
  }
  if (auto removed = kernel_->remove_netns(it->second.cookie); !removed)
    host::log_warning("service proxy: pod {}: {}, ignoring", uid, removed.error().message);
  clients_->remove_netns(it->second.cookie);
  netns_.erase(it);
  end_flows_to_pod(uid);
  touch();
}

void Proxy::synced() {
  if (synced_) return;
  synced_ = garbage_ = true;
  std::vector<api::Service> services;
  for (const auto& [name, service] : table_.services()) services.push_back(service);
  if (allocations_.assign(std::move(services), true).changed) save_allocations();
  touch();
}

// ---- carrying out ---------------------------------------------------------------------

// The shadow from the kernel: at the start, and after a plan that failed half way.
Status Proxy::start_over() {
  auto state = kernel_->read();
  if (!state) return std::unexpected(state.error());
  planner_ = std::make_unique<Planner>(kernel_->limits());
  planner_->adopt(*state);
  if (!packets_) return {};
  packets_->clear();
  for (uint32_t id = 0; id < state->backends.size(); ++id) {
    const auto& backend = state->backends[id];
    if (backend.state != abi::BACKEND_FREE) packets_->set(id, {from_abi(backend.address), backend.port});
  }
  packets_->sync();
  return {};
}

Status Proxy::apply(const Plan& plan) {
  if (auto applied = kernel_->apply(plan); !applied) return applied;
  for (const auto& retired : plan.retired) {
    if (packets_) packets_->remove(retired.id);
    // A TCP connection goes on as long as its pod does; datagrams shall move on now.
    if (retired.protocol != Protocol::udp) continue;
    clients_->end({.address = retired.address, .port = retired.port, .protocol = Protocol::udp, .backend = retired.id});
    if (packets_)
      packets_->end_flows(
          {.protocol = IPPROTO_UDP, .backend = retired.address, .backend_port = retired.port, .only_translated = true});
  }
  if (!packets_) return {};
  // Datagrams that came before their Service did were the node's own, and conntrack would
  // keep them so. (To an address of the service CIDR they are refused, and leave no trace.)
  for (const auto& [vip, id] : plan.vip_adds) {
    if (vip.protocol != Protocol::udp) continue;
    const host::FlowFilter flows{.protocol = IPPROTO_UDP, .service = vip.address, .service_port = vip.port};
    if (!vip.address.is_unspecified()) {
      if (std::ranges::none_of(settings_.service_cidrs, [&](const auto& cidr) { return cidr.contains(vip.address); }))
        packets_->end_flows(flows);
      continue;
    }
    for (const auto& address : local_addresses_) {
      if (address.is_v4() != vip.address.is_v4()) continue;
      auto here = flows;
      here.service = address;
      packets_->end_flows(here);
    }
  }
  for (const auto& write : plan.backends) {
    if (write.fresh) packets_->set(write.id, {from_abi(write.value.address), write.value.port});
  }
  packets_->sync();
  return {};
}

// Namespaces and interfaces of before the restart that nobody has spoken for.
Status Proxy::forget_strangers() {
  auto registered = kernel_->netns();
  if (!registered) return std::unexpected(registered.error());
  std::set<std::string> interfaces;
  for (const auto& [name, index] : uplinks_) interfaces.insert(name);
  for (const auto& [uid, netns] : netns_) {
    registered->erase(netns.cookie);
    interfaces.insert(netns.veth);
  }
  registered->erase(node_cookie_);
  for (const auto& [cookie, value] : *registered) {
    if (auto removed = kernel_->remove_netns(cookie); !removed) return removed;
  }
  for (const auto& name : kernel_->attached_interfaces()) {
    if (interfaces.contains(name) && packets_) continue;
    if (auto detached = kernel_->detach_interface(name); !detached) return detached;
  }
  return {};
}

void Proxy::interfaces_changed(const std::set<std::string>& names) {
  // The cables come and go with the pods, and are no business of ours.
  const bool ours = std::ranges::any_of(
      names, [&](const auto& name) { return !settings_.cable_prefix || !name.starts_with(*settings_.cable_prefix); });
  if (!ours || !kernel_) return;
  if (auto looked = look_at_interfaces(); !looked)
    host::log_warning("service proxy: the node's interfaces: {}, ignoring", looked.error().message);
}

// Every address that the node answers to, loopback excepted, and the interfaces by which
// clients outside the node come in.
Status Proxy::look_at_interfaces() {
  auto socket = host::RouteSocket::open();
  if (!socket) return std::unexpected(socket.error());
  auto all = socket->addresses();
  if (!all) return std::unexpected(all.error());
  std::vector<IpAddress> addresses;
  std::set<int> addressed;
  for (const auto& one : *all) {
    if (one.address.is_loopback() || one.address.is_unspecified()) continue;
    addresses.push_back(one.address);
    if (!one.address.is_link_local()) addressed.insert(one.link);
  }
  std::ranges::sort(addresses);
  addresses.erase(std::ranges::unique(addresses).begin(), addresses.end());
  if (addresses != local_addresses_) {
    if (auto written = kernel_->set_node_addresses(addresses); !written) return written;
    local_addresses_ = std::move(addresses);
  }

  if (!packets_ || !settings_.cable_prefix) return {};
  auto links = socket->links();
  if (!links) return std::unexpected(links.error());
  std::map<std::string, int> uplinks;
  for (const auto& link : *links) {
    if (link.name == "lo" || link.name.starts_with(*settings_.cable_prefix) || !addressed.contains(link.index))
      continue;
    uplinks[link.name] = link.index;
    if (const auto known = uplinks_.find(link.name); known != uplinks_.end() && known->second == link.index) continue;
    if (auto attached = kernel_->attach_interface(link.name, Kernel::Side::uplink); !attached) {
      host::log_warning("service proxy: {}: no services for clients behind it, ignoring", attached.error().message);
      uplinks.erase(link.name);
    }
  }
  for (const auto& [name, index] : uplinks_) {
    if (uplinks.contains(name)) continue;
    if (auto detached = kernel_->detach_interface(name); !detached)
      host::log_warning("service proxy: {}, ignoring", detached.error().message);
  }
  uplinks_ = std::move(uplinks);
  return {};
}

Status Proxy::carry_out(const std::vector<EntryChange>& changes, host::TimePoint now) {
  const auto plan = planner_->plan(changes, now);
  if (plan.empty()) return {};
  return apply(plan);
}

Status Proxy::flush() {
  flush_timer_.cancel();
  if (!kernel_) return {};
  const auto now = host::Clock::now();
  auto changes = table_.take_changes();
  for (const auto& place : table_.take_departed()) {
    if (table_.services().contains(place.service)) end_flows_to(place.address, place.port, place.protocol);
  }
  const auto everything = [&] {
    changes.clear();
    for (const auto& [key, entry] : table_.entries()) changes.push_back({key, entry});
    for (const auto& [key, programmed] : planner_->programmed()) {
      if (!table_.entries().contains(key)) changes.push_back({key, std::nullopt});
    }
  };
  if (failed_) {
    if (auto restarted = start_over(); !restarted) {
      retry_timer_ = loop_.after(kRetry, [this] { touch(); });
      return restarted;
    }
    everything();
    garbage_ = synced_;
  } else if (garbage_) {
    everything();
  }
  if (!synced_) {
    // What the kernel has from before the restart stays as it is until all has been heard.
    std::erase_if(changes, [&](const EntryChange& change) {
      return !change.entry || (!planner_->programmed().contains(change.key) && planner_->is_adopted(*change.entry));
    });
  }
  auto done = carry_out(changes, now);
  if (done && garbage_) {
    done = apply(planner_->collect_garbage(now));
    if (done) done = forget_strangers();
    garbage_ = !done;
  }
  if (done && packets_) packets_->sync();
  if (done) clients_->sync();
  failed_ = !done;
  last_failure_ = done ? "" : done.error().message;
  if (failed_) retry_timer_ = loop_.after(kRetry, [this] { touch(); });
  release_later(now);
  return done;
}

void Proxy::release_later(host::TimePoint now) {
  const auto next = planner_->release(now);
  if (!next) return;
  release_timer_ = loop_.after(*next - now, [this] {
    release_later(host::Clock::now());
    touch();  // what had no room may have it now
  });
}

void Proxy::save_allocations() {
  loop_.offload(
      [path = settings_.allocations_file, text = allocations_.text()] {
        if (auto made = host::make_directories(path.parent_path()); !made) return made;
        return host::write_file_atomically(path, text);
      },
      [path = settings_.allocations_file](Status written) {
        if (!written) host::log_warning("service proxy: {}: {}, ignoring", path.string(), written.error().message);
      },
      reinterpret_cast<uint64_t>(this));
}

Status Proxy::teardown() {
  flush_timer_.cancel();
  release_timer_.cancel();
  retry_timer_.cancel();
  flow_timer_.cancel();
  monitor_watch_ = {};
  flow_watch_ = {};
  clients_.reset();
  kernel_.reset();
  if (packets_) {
    packets_.reset();
    if (auto removed = PacketPath::remove_tables(table_name(settings_)); !removed)
      return std::unexpected(std::move(removed.error()).within("service proxy"));
  }
  if (auto removed = Kernel::remove_pins(settings_.bpffs); !removed)
    return std::unexpected(std::move(removed.error()).within("service proxy"));
  return {};
}

// ---- looking inside -------------------------------------------------------------------

namespace {

// The tables are in the order of names (ServiceName); people look by namespaces first.
template <typename View>
void sort_by_namespace(std::vector<View>& views) {
  std::ranges::stable_sort(views, {},
                           [](const View& view) { return std::string_view(view.key.port.service.namespace_); });
}

}  // namespace

std::vector<api::Service> Proxy::services_with_allocations() const {
  std::vector<api::Service> services;
  services.reserve(table_.services().size());
  for (const auto& [name, service] : table_.services()) services.push_back(service);
  std::ranges::stable_sort(services, {},
                           [](const auto& service) { return std::string_view(service.metadata.namespace_); });
  return services;
}

std::vector<api::Problem> Proxy::problems() const {
  auto problems = allocation_problems_;
  for (auto& problem : table_.problems()) problems.push_back(std::move(problem));
  for (const auto& [key, why] : planner_->degraded())
    problems.push_back({.object = "Service " + to_string(key.port.service), .message = to_string(key) + ": " + why});
  if (!last_failure_.empty()) problems.push_back({.message = "service proxy: " + last_failure_});
  return problems;
}

std::vector<ServiceView> Proxy::services() const {
  std::vector<ServiceView> views;
  if (!kernel_) return views;
  auto degraded = planner_->degraded();
  for (const auto& [key, programmed] : planner_->programmed()) {
    ServiceView view{.key = key, .id = programmed.id, .affinity_seconds = programmed.affinity_seconds};
    for (const auto& vip : programmed.vips) view.vips.push_back(display(vip));
    for (const auto& [id, target] : programmed.backends) {
      view.ready += target.state == Target::State::ready;
      view.terminating += target.state == Target::State::terminating;
      view.draining += target.state == Target::State::draining;
    }
    const auto stat = kernel_->service_stat(programmed.id);
    view.forwarded = stat.forwarded;
    view.refused = stat.refused;
    if (const auto why = degraded.find(key); why != degraded.end()) {
      view.degraded = why->second;
      degraded.erase(why);
    }
    views.push_back(std::move(view));
  }
  for (auto& [key, why] : degraded) views.push_back({.key = key, .degraded = std::move(why)});
  sort_by_namespace(views);
  return views;
}

std::vector<BackendView> Proxy::backends() const {
  std::vector<BackendView> views;
  if (!kernel_) return views;
  std::set<uint32_t> seen;
  for (const auto& [key, programmed] : planner_->programmed()) {
    for (const auto& [id, target] : programmed.backends) {
      if (!seen.insert(id).second) continue;
      views.push_back({.id = id,
                       .key = key,
                       .address = address_and_port(target.address, target.port),
                       .pod = target.pod,
                       .state = name_of(target.state),
                       .flows = kernel_->backend_stat(id)});
    }
  }
  sort_by_namespace(views);
  return views;
}

void Proxy::watch_flows() {
  auto watch = loop_.on_readable(kernel_->flows_fd(), [this] { gather_flows(); });
  if (watch) {
    flow_watch_ = std::move(*watch);
  } else {
    host::log_warning("flows: {}; they are read only when asked for, ignoring", watch.error().message);
  }
}

void Proxy::gather_flows() {
  const auto seen_before = flows_seen_;
  const auto wall = std::chrono::system_clock::now();
  const auto monotonic = std::chrono::steady_clock::now();
  kernel_->drain_flows([&](const abi::flow_event& event) {
    const auto age = monotonic.time_since_epoch() - std::chrono::nanoseconds(event.time_ns);
    FlowView view{.number = ++flows_seen_};
    view.time_us = std::chrono::duration_cast<std::chrono::microseconds>(wall.time_since_epoch() - age).count();
    view.path = event.hook == abi::HOOK_SOCKET ? "socket" : "packet";
    const auto client = from_abi(event.client), vip = from_abi(event.vip), backend = from_abi(event.backend);
    if (!client.is_unspecified()) {
      view.client = address_and_port(client, event.client_port);
    } else if (event.netns_cookie == node_cookie_) {
      view.client = "node";
    } else {
      for (const auto& [name, uid] : pod_uids_) {
        const auto netns = netns_.find(uid);
        if (netns != netns_.end() && netns->second.cookie == event.netns_cookie) view.client = to_string(name);
      }
    }
    view.vip = address_and_port(vip, event.vip_port);
    if (!backend.is_unspecified()) view.backend = address_and_port(backend, event.backend_port);
    view.protocol = to_string(static_cast<Protocol>(event.protocol));
    if (event.reason != abi::REASON_UNKNOWN_PORT) {
      if (const auto* owner = planner_->owner_of_service(event.service)) view.service = to_string(owner->port.service);
    }
    view.verdict = reason_name(event.reason);
    if (flows_.size() == kFlowsKept) flows_.pop_front();
    flows_.push_back(std::move(view));
  });
  if (flows_seen_ == seen_before || flow_timer_.armed()) return;
  flow_watch_ = {};
  flow_timer_ = loop_.after(kFlowRest, [this] {
    watch_flows();
    if (flow_listener_) flow_listener_();
  });
}

bool Proxy::settled() const { return (!packets_ || packets_->settled()) && (!clients_ || clients_->settled()); }

std::vector<FlowView> Proxy::flows(uint64_t after) {
  if (kernel_) gather_flows();
  const auto first = std::ranges::upper_bound(flows_, after, {}, &FlowView::number);
  return {first, flows_.end()};
}

void Proxy::on_flows(std::function<void()> listener) { flow_listener_ = std::move(listener); }

std::vector<CounterView> Proxy::counters() const {
  std::vector<CounterView> views;
  if (!kernel_) return views;
  const auto sums = kernel_->counters();
  if (!sums) return views;
  for (uint32_t reason = 0; reason < kReasons.size(); ++reason) views.push_back({kReasons[reason], (*sums)[reason]});
  return views;
}

Planner::Usage Proxy::usage() const { return planner_->usage(); }

const Limits& Proxy::limits() const { return planner_->limits(); }

}  // namespace keelson::proxy
