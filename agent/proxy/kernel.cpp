#include "agent/proxy/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "bpf/node_port.skel.h"
#include "bpf/sock_lb.skel.h"
#pragma GCC diagnostic pop

namespace keelson::proxy {

using host::BpfLink;
using host::BpfMap;
using host::BpfMessages;
using host::Error;
using host::fail;
using host::Path;
using host::Result;
using host::Status;

namespace {

constexpr uint32_t kAffinityEntries = 16384;
constexpr uint32_t kUdpReverseEntries = 16384;
constexpr uint32_t kUdpFlowEntries = 16384;
constexpr uint32_t kTcPriority = 19301;  // of the filter, where tcx is missing: behind everybody's
constexpr std::string_view kTcxPin = "tcx:", kClsactMark = "tc:", kOwnClsactMark = "clsact:";

Path map_directory(const Path& bpffs) { return bpffs / fmt::format("v{}", KEELSON_SCHEMA); }
Path link_directory(const Path& bpffs) { return bpffs / "links"; }

// Under names from maps.h: the size that each gets when it is new.
std::map<std::string, uint32_t> sizes(const Limits& limits) {
  return {{"vip", limits.vips},
          {"service", limits.services},
          {"slot", limits.slots},
          {"backend", limits.backends},
          {"service_stat", limits.services},
          {"backend_stat", limits.backends},
          {"affinity", kAffinityEntries},
          {"udp_reverse", kUdpReverseEntries},
          {"udp_flow", kUdpFlowEntries},
          {"sock_peer", limits.connections}};
}

// An interface's name as the name of a pin: bpffs wants no dots.
std::string escaped(std::string name) {
  for (size_t at = 0; (at = name.find('.', at)) != std::string::npos;) name.replace(at, 1, "%2e");
  return name;
}
std::string unescaped(std::string name) {
  for (size_t at = 0; (at = name.find("%2e", at)) != std::string::npos;) name.replace(at, 3, ".");
  return name;
}

// Every map of the object shall be the pinned one of its name, and be made (and
// pinned) where there is none. A pinned map keeps its size: nothing in it is lost
// because a setting changed.
Status use_pinned_maps(bpf_object* object, const Path& directory, const Limits& limits) {
  const auto wanted = sizes(limits);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;
    const std::string name = bpf_map__name(map);
    const auto pin = directory / name;
    uint32_t entries = bpf_map__max_entries(map);
    if (const auto size = wanted.find(name); size != wanted.end()) entries = size->second;
    if (auto pinned = host::pinned_map_info(pin)) {
      entries = pinned->max_entries;
    } else if (pinned.error().code != Error::Code::not_found) {
      return std::unexpected(pinned.error());
    }
    if (bpf_map__type(map) != BPF_MAP_TYPE_SK_STORAGE) bpf_map__set_max_entries(map, entries);
    if (const int error = bpf_map__set_pin_path(map, pin.c_str()); error != 0)
      return host::sys_fail("pin path " + pin.string(), -error);
  }
  return {};
}

// The network and its mask as the programs' settings have them.
void write_prefix(uint32_t (&network)[4], uint32_t (&mask)[4], const host::Cidr& cidr) {
  std::memcpy(network, cidr.address().mapped().data(), sizeof(network));
  std::array<uint8_t, 16> bits{};
  const int length = cidr.prefix() + (cidr.is_v4() ? 96 : 0);
  for (int i = 0; i < length; ++i) bits[i / 8] |= static_cast<uint8_t>(0x80 >> (i % 8));
  std::memcpy(mask, bits.data(), sizeof(mask));
}

template <typename T>
T* at(const host::BpfMemory& memory, uint32_t index) {
  return reinterpret_cast<T*>(memory.element(index));
}

}  // namespace

// Both objects have the settings of lb.h in their .rodata.
template <typename Skeleton>
Status write_settings(Skeleton* skeleton, const KernelSettings& settings) {
  if (settings.service_cidrs.size() > std::size(skeleton->rodata->service_network))
    return fail(Error::Code::invalid, "more than two service CIDRs");
  for (size_t i = 0; i < settings.service_cidrs.size(); ++i)
    write_prefix(skeleton->rodata->service_network[i], skeleton->rodata->service_mask[i], settings.service_cidrs[i]);
  return {};
}

struct Kernel::Programs {
  sock_lb_bpf* sockets = nullptr;
  node_port_bpf* packets = nullptr;
  ~Programs() {
    sock_lb_bpf__destroy(sockets);
    node_port_bpf__destroy(packets);
  }
};

Kernel::Kernel() : programs_(std::make_unique<Programs>()) {}
Kernel::~Kernel() = default;

Result<std::unique_ptr<Kernel>> Kernel::open(const KernelSettings& settings) {
  const auto maps = map_directory(settings.bpffs);
  for (const auto& directory : {maps, link_directory(settings.bpffs)}) {
    if (auto prepared = host::prepare_bpffs(directory); !prepared) return std::unexpected(prepared.error());
  }

  std::unique_ptr<Kernel> kernel(new Kernel());
  kernel->settings_ = settings;
  const BpfMessages messages;
  auto*& sockets = kernel->programs_->sockets;
  sockets = sock_lb_bpf__open();
  if (sockets == nullptr) return messages.fail("read the socket programs", errno);
  if (auto pinned = use_pinned_maps(sockets->obj, maps, settings.limits); !pinned)
    return std::unexpected(pinned.error());
  if (auto written = write_settings(sockets, settings); !written) return std::unexpected(written.error());
  if (const int error = sock_lb_bpf__load(sockets); error != 0)
    return messages.fail("load the socket programs", -error);

  // The same pins, so the same maps.
  auto*& packets = kernel->programs_->packets;
  packets = node_port_bpf__open();
  if (packets == nullptr) return messages.fail("read the packet programs", errno);
  if (auto pinned = use_pinned_maps(packets->obj, maps, settings.limits); !pinned)
    return std::unexpected(pinned.error());
  if (auto written = write_settings(packets, settings); !written) return std::unexpected(written.error());
  if (const int error = node_port_bpf__load(packets); error != 0)
    return messages.fail("load the packet programs", -error);

  const auto take = [](BpfMap& to, bpf_map* map) -> Status {
    auto duplicate = BpfMap::duplicate(bpf_map__fd(map));
    if (!duplicate) return std::unexpected(duplicate.error());
    to = std::move(*duplicate);
    return {};
  };
  auto& from = sockets->maps;
  for (const auto& [to, map] :
       std::initializer_list<std::pair<BpfMap*, bpf_map*>>{{&kernel->vip_, from.vip},
                                                           {&kernel->service_, from.service},
                                                           {&kernel->slot_, from.slot},
                                                           {&kernel->backend_, from.backend},
                                                           {&kernel->netns_, from.netns},
                                                           {&kernel->peer_, from.sock_peer},
                                                           {&kernel->node_address_, from.node_address},
                                                           {&kernel->counter_, from.counter},
                                                           {&kernel->service_stat_, from.service_stat},
                                                           {&kernel->backend_stat_, from.backend_stat}}) {
    if (auto taken = take(*to, map); !taken) return std::unexpected(taken.error());
  }
  for (const auto& [to, map] : std::initializer_list<std::pair<host::BpfMemory*, BpfMap*>>{
           {&kernel->service_memory_, &kernel->service_},
           {&kernel->slot_memory_, &kernel->slot_},
           {&kernel->backend_memory_, &kernel->backend_},
           {&kernel->service_stat_memory_, &kernel->service_stat_},
           {&kernel->backend_stat_memory_, &kernel->backend_stat_}}) {
    auto memory = map->map_memory();
    if (!memory) return std::unexpected(memory.error());
    *to = std::move(*memory);
  }
  kernel->limits_ = {.vips = kernel->vip_.info().max_entries,
                     .services = kernel->service_.info().max_entries,
                     .backends = kernel->backend_.info().max_entries,
                     .slots = kernel->slot_.info().max_entries,
                     .connections = kernel->peer_.info().max_entries};
  auto ring = host::BpfRing::open(bpf_map__fd(from.flow), [raw = kernel.get()](std::span<const std::byte> bytes) {
    abi::flow_event event{};
    if (bytes.size() < sizeof(event)) return;
    std::memcpy(&event, bytes.data(), sizeof(event));
    if (raw->flow_visitor_) raw->flow_visitor_(event);
  });
  if (!ring) return std::unexpected(ring.error());
  kernel->flows_ = std::move(*ring);
  return kernel;
}

Status Kernel::attach() {
  const host::Fd cgroup(::open(settings_.cgroup_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return host::sys_fail("open the cgroup " + settings_.cgroup_root.string());
  const auto cgroup_id = host::cgroup_id_of(settings_.cgroup_root);
  if (!cgroup_id) return std::unexpected(cgroup_id.error());

  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, programs_->sockets->obj) {
    const auto pin = link_directory(settings_.bpffs) / bpf_program__name(program);
    const int program_fd = bpf_program__fd(program);
    if (auto pinned = BpfLink::open_pinned(pin)) {
      const auto where = pinned->cgroup_id();
      if (where && *where == *cgroup_id) {
        if (auto updated = pinned->update(program_fd); !updated) return updated;
        continue;
      }
      // --cgroup-root is another one than last time, or was made anew.
      if (unlink(pin.c_str()) != 0) return host::sys_fail("remove " + pin.string());
    } else if (pinned.error().code != Error::Code::not_found) {
      return std::unexpected(pinned.error());
    }
    auto link = BpfLink::attach_cgroup(program_fd, cgroup.get(), bpf_program__expected_attach_type(program));
    if (!link)
      return std::unexpected(
          std::move(link.error())
              .within(fmt::format("{} at {}", bpf_program__name(program), settings_.cgroup_root.string())));
    if (auto pinned = link->pin(pin); !pinned) return pinned;
  }
  return {};
}

Status Kernel::attach_interface(const std::string& name, Side side) {
  const auto index = static_cast<int>(if_nametoindex(name.c_str()));
  if (index == 0) return host::sys_fail("interface " + name);
  const auto* program =
      side == Side::uplink ? programs_->packets->progs.from_uplink : programs_->packets->progs.from_pod;
  const int program_fd = bpf_program__fd(program);
  const auto links = link_directory(settings_.bpffs);
  const auto pin = links / fmt::format("{}{}", kTcxPin, escaped(name));

  if (auto pinned = BpfLink::open_pinned(pin)) {
    const auto where = pinned->interface_index();
    if (where && *where == static_cast<uint32_t>(index)) return pinned->update(program_fd);
    if (unlink(pin.c_str()) != 0) return host::sys_fail("remove " + pin.string());
  } else if (pinned.error().code != Error::Code::not_found) {
    return std::unexpected(pinned.error());
  }
  // To make a tcx link, the kernel waits for an RCU grace period with the rtnl lock held (17 ms on 6.18). That is
  // for uplinks, which we share with others; a Pod's cable is ours alone, and clsact is there at once.
  if (side == Side::uplink) {
    auto link = BpfLink::attach_tcx_ingress(program_fd, index);
    if (link) return link->pin(pin);
    if (link.error().code != Error::Code::unsupported) return std::unexpected(link.error());
  }

  auto made = host::attach_tc_ingress(program_fd, index, kTcPriority);
  if (!made) return std::unexpected(made.error());
  // Directories as notes of what is there to take away.
  for (const auto& [mark, wanted] : {std::pair{kClsactMark, true}, {kOwnClsactMark, *made}}) {
    const auto note = links / fmt::format("{}{}", mark, escaped(name));
    if (wanted && mkdir(note.c_str(), 0700) != 0 && errno != EEXIST) return host::sys_fail("mkdir " + note.string());
  }
  return {};
}

namespace {

Status detach(const Path& links, const std::string& name) {
  const auto tcx = links / fmt::format("{}{}", kTcxPin, escaped(name));
  if (unlink(tcx.c_str()) != 0 && errno != ENOENT) return host::sys_fail("remove " + tcx.string());
  const auto filter = links / fmt::format("{}{}", kClsactMark, escaped(name));
  const auto clsact = links / fmt::format("{}{}", kOwnClsactMark, escaped(name));
  if (access(filter.c_str(), F_OK) == 0) {
    const bool own = access(clsact.c_str(), F_OK) == 0;
    if (const auto index = static_cast<int>(if_nametoindex(name.c_str())); index != 0) {
      if (auto detached = host::detach_tc_ingress(index, kTcPriority, own); !detached) return detached;
    }
  }
  for (const auto& note : {clsact, filter}) {
    if (rmdir(note.c_str()) != 0 && errno != ENOENT) return host::sys_fail("remove " + note.string());
  }
  return {};
}

std::vector<std::string> interfaces_in(const Path& links) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(links, error)) {
    const std::string file = entry.path().filename();
    for (const auto prefix : {kTcxPin, kClsactMark}) {
      if (file.starts_with(prefix)) names.push_back(unescaped(file.substr(prefix.size())));
    }
  }
  return names;
}

}  // namespace

Status Kernel::detach_interface(const std::string& name) { return detach(link_directory(settings_.bpffs), name); }

std::vector<std::string> Kernel::attached_interfaces() const { return interfaces_in(link_directory(settings_.bpffs)); }

void Kernel::introduce_to_packets(const std::vector<uint32_t>& backends) {
  for (const auto id : backends)
    __atomic_fetch_or(&at<abi::backend>(backend_memory_, id)->flags, uint32_t{abi::BACKEND_PACKETS}, __ATOMIC_RELEASE);
}

Result<KernelState> Kernel::read() const {
  KernelState state;
  auto walked = vip_.for_each([&](const void* key, const void* value) {
    abi::vip_key vip{};
    uint32_t id = 0;
    std::memcpy(&vip, key, sizeof(vip));
    std::memcpy(&id, value, sizeof(id));
    state.vips.emplace_back(from_abi(vip), id);
  });
  if (!walked) return std::unexpected(std::move(walked.error()).within("read the map of virtual addresses"));
  // Mappings of their own, which end with this: all of each map is looked at, once.
  const auto services = service_.map_memory(), slots = slot_.map_memory(), backends = backend_.map_memory();
  for (const auto* memory : {&services, &slots, &backends}) {
    if (!*memory) return std::unexpected(memory->error());
  }
  state.services.resize(limits_.services);
  for (uint32_t i = 0; i < limits_.services; ++i) state.services[i] = *at<abi::service>(*services, i);
  state.slots.resize(limits_.slots);
  for (uint32_t i = 0; i < limits_.slots; ++i) state.slots[i] = *at<uint32_t>(*slots, i);
  state.backends.resize(limits_.backends);
  for (uint32_t i = 0; i < limits_.backends; ++i) state.backends[i] = *at<abi::backend>(*backends, i);
  return state;
}

Status Kernel::apply(const Plan& plan) {
  for (const auto& write : plan.backends) {
    auto* backend = at<abi::backend>(backend_memory_, write.id);
    backend->address = write.value.address;
    backend->port = write.value.port;
    backend->protocol = write.value.protocol;
    backend->service = write.value.service;
    backend->generation = write.value.generation;
    if (write.fresh) {
      backend->flags = write.value.flags;
      *at<uint64_t>(backend_stat_memory_, write.id) = 0;
    }
    __atomic_store_n(reinterpret_cast<uint8_t*>(&backend->state), static_cast<uint8_t>(write.value.state),
                     __ATOMIC_RELEASE);
  }
  for (const auto& write : plan.slots) {
    for (uint32_t i = 0; i < write.backends.size(); ++i)
      *at<uint32_t>(slot_memory_, write.base + i) = write.backends[i];
  }
  for (const auto& write : plan.services) {
    auto* service = at<abi::service>(service_memory_, write.id);
    if (write.fresh) *at<abi::service_stat>(service_stat_memory_, write.id) = {};
    service->flags = write.value.flags;
    service->affinity_seconds = write.value.affinity_seconds;
    uint64_t word = 0;
    std::memcpy(&word, &write.value.published, sizeof(word));
    // Everything above is visible before this is.
    __atomic_store_n(reinterpret_cast<uint64_t*>(&service->published), word, __ATOMIC_RELEASE);
  }
  if (!plan.vip_adds.empty()) {
    std::vector<abi::vip_key> keys;
    std::vector<uint32_t> ids;
    keys.reserve(plan.vip_adds.size());
    ids.reserve(plan.vip_adds.size());
    for (const auto& [vip, id] : plan.vip_adds) {
      keys.push_back(to_abi(vip));
      ids.push_back(id);
    }
    if (auto added = vip_.update_batch(keys.data(), ids.data(), static_cast<uint32_t>(keys.size())); !added)
      return std::unexpected(std::move(added.error()).within("add virtual addresses"));
  }
  for (const auto& vip : plan.vip_deletes) {
    const auto key = to_abi(vip);
    if (auto erased = vip_.erase(&key); !erased)
      return std::unexpected(std::move(erased.error()).within("remove the virtual address " + to_string(vip)));
  }
  for (const auto& write : plan.states) {
    __atomic_store_n(reinterpret_cast<uint8_t*>(&at<abi::backend>(backend_memory_, write.id)->state),
                     static_cast<uint8_t>(write.state), __ATOMIC_RELEASE);
  }
  return {};
}

Status Kernel::set_netns(uint64_t cookie, const abi::netns& value) { return netns_.update(&cookie, &value); }

Status Kernel::remove_netns(uint64_t cookie) { return netns_.erase(&cookie); }

Result<std::map<uint64_t, abi::netns>> Kernel::netns() const {
  std::map<uint64_t, abi::netns> all;
  auto walked = netns_.for_each([&](const void* key, const void* value) {
    uint64_t cookie = 0;
    std::memcpy(&cookie, key, sizeof(cookie));
    std::memcpy(&all[cookie], value, sizeof(abi::netns));
  });
  if (!walked) return std::unexpected(walked.error());
  return all;
}

Result<host::BpfMap> Kernel::connections() const { return BpfMap::duplicate(peer_.fd()); }

Status Kernel::set_node_addresses(const std::vector<host::IpAddress>& addresses) {
  std::vector<abi::address> gone;
  auto walked = node_address_.for_each([&](const void* key, const void*) {
    abi::address known{};
    std::memcpy(&known, key, sizeof(known));
    if (std::ranges::find(addresses, from_abi(known)) == addresses.end()) gone.push_back(known);
  });
  if (!walked) return walked;
  for (const auto& address : addresses) {
    const auto key = to_abi(address);
    const uint32_t present = 1;
    if (auto updated = node_address_.update(&key, &present); !updated) return updated;
  }
  for (const auto& address : gone) {
    if (auto erased = node_address_.erase(&address); !erased) return erased;
  }
  return {};
}

Result<std::vector<uint64_t>> Kernel::counters() const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 1) return host::sys_fail("count the CPUs", -cpus);
  std::vector<uint64_t> sums(abi::REASON_COUNT), values(static_cast<size_t>(cpus));
  for (uint32_t reason = 0; reason < abi::REASON_COUNT; ++reason) {
    if (auto found = counter_.lookup(&reason, values.data()); !found) return std::unexpected(found.error());
    for (const auto value : values) sums[reason] += value;
  }
  return sums;
}

abi::service_stat Kernel::service_stat(uint32_t id) const {
  const auto* stat = at<abi::service_stat>(service_stat_memory_, id);
  return {__atomic_load_n(&stat->forwarded, __ATOMIC_RELAXED), __atomic_load_n(&stat->refused, __ATOMIC_RELAXED)};
}

uint64_t Kernel::backend_stat(uint32_t id) const {
  return __atomic_load_n(at<uint64_t>(backend_stat_memory_, id), __ATOMIC_RELAXED);
}

void Kernel::drain_flows(const std::function<void(const abi::flow_event&)>& visit) {
  flow_visitor_ = visit;
  flows_->drain();
  flow_visitor_ = nullptr;
}

Status Kernel::remove_pins(const Path& bpffs) {
  for (const auto& name : interfaces_in(link_directory(bpffs))) {
    if (auto detached = detach(link_directory(bpffs), name); !detached) return detached;
  }
  // Links first: no program may run into maps that are half gone.
  for (const auto& directory : {link_directory(bpffs), map_directory(bpffs), bpffs}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
      if (entry.is_directory(error)) continue;
      if (unlink(entry.path().c_str()) != 0 && errno != ENOENT)
        return host::sys_fail("remove " + entry.path().string());
    }
    if (rmdir(directory.c_str()) != 0 && errno != ENOENT) return host::sys_fail("remove " + directory.string());
  }
  return {};
}

}  // namespace keelson::proxy
