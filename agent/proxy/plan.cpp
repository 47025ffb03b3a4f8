#include "agent/proxy/plan.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>
#include <optional>

#include "agent/proxy/maglev.h"

namespace keelson::proxy {

namespace {

using std::chrono::milliseconds;

// Longer than any program that read the number runs, and than a datagram socket
// takes to look again.
constexpr auto kQuarantine = milliseconds(1500);
constexpr uint32_t kMostSlots = 65535;  // abi::publication::count

abi::backend_state abi_state(Target::State state) {
  switch (state) {
    case Target::State::ready:
      return abi::BACKEND_READY;
    case Target::State::terminating:
      return abi::BACKEND_TERMINATING;
    case Target::State::draining:
      return abi::BACKEND_DRAINING;
  }
  return abi::BACKEND_FREE;
}

std::pair<PortKey, bool> port_of(const EntryKey& key) { return {key.port, key.traffic == Traffic::host_port}; }
size_t place_of(const EntryKey& key) { return key.traffic == Traffic::external ? 1 : 0; }

Target::State state_of(abi::backend_state state) {
  if (state == abi::BACKEND_READY) return Target::State::ready;
  return state == abi::BACKEND_TERMINATING ? Target::State::terminating : Target::State::draining;
}

}  // namespace

abi::address to_abi(const host::IpAddress& address) {
  abi::address out{};
  std::memcpy(out.byte, address.mapped().data(), sizeof(out.byte));
  return out;
}

host::IpAddress from_abi(const abi::address& address) { return host::IpAddress::from_wire(address.byte); }

abi::vip_key to_abi(const Vip& vip) {
  return {.address = to_abi(vip.address),
          .port = vip.port,
          .protocol = static_cast<abi::protocol>(vip.protocol),
          .scope = vip.node ? abi::SCOPE_NODE : abi::SCOPE_CLUSTER};
}

Vip from_abi(const abi::vip_key& key) {
  return {from_abi(key.address), key.port, static_cast<Protocol>(key.protocol), key.scope == abi::SCOPE_NODE};
}

bool Plan::empty() const {
  return backends.empty() && slots.empty() && services.empty() && vip_adds.empty() && vip_deletes.empty() &&
         states.empty() && retired.empty();
}

// ---- numbers ------------------------------------------------------------------------

SlotSpace::SlotSpace(uint32_t size) {
  if (size > 0) give_back(0, size);
}

std::optional<uint32_t> SlotSpace::take(uint32_t count) {
  if (count == 0) return 0;
  const auto it = by_size_.lower_bound({count, 0});
  if (it == by_size_.end()) return std::nullopt;
  const auto [size, base] = *it;
  by_size_.erase(it);
  by_base_.erase(base);
  free_ -= size;
  if (size > count) give_back(base + count, size - count);
  return base;
}

bool SlotSpace::take_at(uint32_t base, uint32_t count) {
  if (count == 0) return true;
  auto it = by_base_.upper_bound(base);
  if (it == by_base_.begin()) return false;
  --it;
  const auto [start, size] = *it;
  if (uint64_t{base} + count > uint64_t{start} + size) return false;
  by_size_.erase({size, start});
  by_base_.erase(it);
  free_ -= size;
  if (base > start) give_back(start, base - start);
  if (start + size > base + count) give_back(base + count, start + size - base - count);
  return true;
}

void SlotSpace::give_back(uint32_t base, uint32_t count) {
  if (count == 0) return;
  free_ += count;
  auto next = by_base_.lower_bound(base);
  if (next != by_base_.end() && next->first == base + count) {
    count += next->second;
    by_size_.erase({next->second, next->first});
    next = by_base_.erase(next);
  }
  if (next != by_base_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == base) {
      base = previous->first;
      count += previous->second;
      by_size_.erase({previous->second, previous->first});
      by_base_.erase(previous);
    }
  }
  by_base_[base] = count;
  by_size_.insert({count, base});
}

std::optional<uint32_t> Planner::Ids::take() {
  if (!free_.empty()) return free_.extract(free_.begin()).value();
  if (next_ >= size_) return std::nullopt;
  return next_++;
}

void Planner::Ids::mark(uint32_t id) {
  while (next_ <= id) free_.insert(next_++);
  free_.erase(id);
}

// ---- what was there before ------------------------------------------------------------

Planner::Planner(Limits limits)
    : limits_(limits),
      service_ids_(limits.services),
      backend_ids_(limits.backends),
      slot_space_(limits.slots),
      generations_(limits.backends),
      publications_(limits.services) {}

void Planner::adopt(const KernelState& state) {
  for (size_t id = 0; id < state.backends.size() && id < limits_.backends; ++id)
    generations_[id] = state.backends[id].generation;
  for (size_t id = 0; id < state.services.size() && id < limits_.services; ++id)
    publications_[id] = state.services[id].published.generation;
  adopted_backends_ = state.backends;
  adopted_backends_.resize(limits_.backends);
  for (const auto& [vip, id] : state.vips) {
    installed_[vip] = id;
    if (id >= state.services.size() || id >= limits_.services) continue;
    auto it = adopted_.find(id);
    if (it == adopted_.end()) {
      Adopted adopted{.value = state.services[id]};
      const auto [base, count, generation] = adopted.value.published;
      const bool in_range = uint64_t{base} + count <= state.slots.size() &&
                            std::all_of(state.slots.begin() + base, state.slots.begin() + base + count,
                                        [&](uint32_t backend) { return backend < limits_.backends; });
      // What does not hold together is written anew; the address stays known.
      if (!in_range || !slot_space_.take_at(base, count)) continue;
      adopted.slots.assign(state.slots.begin() + base, state.slots.begin() + base + count);
      service_ids_.mark(id);
      adopted.backends.insert(adopted.slots.begin(), adopted.slots.end());
      for (const auto backend : adopted.backends) backend_ids_.mark(backend);
      it = adopted_.emplace(id, std::move(adopted)).first;
    }
    it->second.vips.push_back(vip);
  }
  for (uint32_t id = 0; id < adopted_backends_.size(); ++id) {
    const auto& backend = adopted_backends_[id];
    if (backend.state == abi::BACKEND_FREE) continue;
    const auto owner = adopted_.find(backend.service);
    if (owner == adopted_.end()) continue;
    backend_ids_.mark(id);
    owner->second.backends.insert(id);  // draining ones are in no slot
  }
}

bool Planner::is_adopted(const Entry& entry) const {
  return std::ranges::any_of(entry.vips, [&](const Vip& vip) {
    const auto it = installed_.find(vip);
    return it != installed_.end() && adopted_.contains(it->second);
  });
}

Planner::Programmed* Planner::take_over(const EntryKey& key, const Entry& entry) {
  for (const auto& vip : entry.vips) {
    const auto known = installed_.find(vip);
    if (known == installed_.end()) continue;
    const auto it = adopted_.find(known->second);
    if (it == adopted_.end()) continue;
    auto adopted = std::move(it->second);
    const auto id = it->first;
    adopted_.erase(it);
    Programmed programmed{.id = id,
                          .published = adopted.value.published,
                          .flags = adopted.value.flags,
                          .affinity_seconds = adopted.value.affinity_seconds,
                          .slots = adopted.slots,
                          .vips = adopted.vips};
    auto& port = ports_[port_of(key)];
    for (const auto backend : adopted.backends) {
      const auto& value = adopted_backends_[backend];
      const auto address = from_abi(value.address);
      port.backends.emplace(std::pair{address, value.port}, backend);
      auto& tracked = backends_[backend];
      tracked.port = &port;
      tracked.address = address;
      tracked.target_port = value.port;
      tracked.protocol = key.port.protocol;
      tracked.state = value.state;
      ++tracked.users;
      programmed.backends[backend] = {
          .address = address, .port = value.port, .state = state_of(value.state), .local = false, .pod = ""};
    }
    claim(key, programmed.vips);
    const auto [kept, inserted] = programmed_.emplace(key, std::move(programmed));
    service_owner_[id] = &kept->first;
    port.entries[place_of(key)] = &kept->second;
    return &kept->second;
  }
  return nullptr;
}

// ---- planning -------------------------------------------------------------------------

Plan Planner::plan(const std::vector<EntryChange>& changes, host::TimePoint now) {
  Plan plan;
  for (const auto& change : changes) {
    if (!change.entry) plan_removal(change.key, now, plan);
  }
  // What had no room may have it now.
  for (auto& [key, waiting] : std::exchange(no_room_, {})) {
    if (std::ranges::none_of(changes, [&](const EntryChange& change) { return change.key == key; }))
      plan_entry(key, waiting.first, now, plan);
  }
  for (const auto& change : changes) {
    if (change.entry) plan_entry(change.key, *change.entry, now, plan);
  }
  settle_vips(plan);
  return plan;
}

std::vector<uint32_t> Planner::slots_of(const std::vector<Target>& active, const std::vector<uint32_t>& ids,
                                        bool consistent) const {
  if (!consistent || active.empty()) return ids;
  auto slots = maglev_table(active);
  for (auto& slot : slots) slot = ids[slot];
  return slots;
}

void Planner::plan_entry(const EntryKey& key, const Entry& entry, host::TimePoint now, Plan& plan) {
  auto it = programmed_.find(key);
  Programmed* known = it != programmed_.end() ? &it->second : take_over(key, entry);
  const auto known_port = ports_.find(port_of(key));
  const auto backend_at = [&](const Target& target) -> std::optional<uint32_t> {
    if (known_port == ports_.end()) return std::nullopt;
    const auto found = known_port->second.backends.find({target.address, target.port});
    return found == known_port->second.backends.end() ? std::nullopt : std::optional(found->second);
  };

  // Room for all of it, or nothing is done.
  std::vector<Target> active;
  std::vector<uint32_t> known_ids;
  uint32_t new_backends = 0;
  bool new_active = false;
  for (const auto& target : entry.targets) {
    const auto backend = backend_at(target);
    const bool is_new = !backend;
    new_backends += is_new ? 1 : 0;
    if (target.state == Target::State::draining) continue;
    active.push_back(target);
    new_active |= is_new;
    known_ids.push_back(backend.value_or(UINT32_MAX));
  }
  if (active.size() > kMostSlots) active.resize(kMostSlots), known_ids.resize(kMostSlots);
  const auto refuse = [&](std::string why) { no_room_[key] = {entry, std::move(why)}; };
  if (new_backends > backend_ids_.left()) return refuse("the map of backends is full");
  if (known == nullptr && service_ids_.left() == 0) return refuse("the map of services is full");
  const auto new_vips = std::ranges::count_if(
      entry.vips, [&](const Vip& vip) { return !installed_.contains(vip) && !claims_.contains(vip); });
  if (installed_.size() + plan.vip_adds.size() + static_cast<size_t>(new_vips) + touched_vips_.size() > limits_.vips)
    return refuse("the map of virtual addresses is full");
  bool consistent = entry.consistent;
  bool publish = known == nullptr || new_active || slots_of(active, known_ids, consistent) != known->slots;
  uint32_t base = 0, count = 0;
  if (publish) {
    count = consistent && !active.empty() ? maglev_size(active.size()) : static_cast<uint32_t>(active.size());
    auto block = slot_space_.take(count);
    if (!block && consistent) {
      // A plain list is less even over several nodes, but it serves.
      consistent = false;
      count = static_cast<uint32_t>(active.size());
      publish = known == nullptr || new_active || known_ids != known->slots;
      if (publish) block = slot_space_.take(count);
    }
    if (publish && !block) return refuse("the map of slots is full");
    if (publish) base = *block;
  }

  const bool is_new_service = known == nullptr;
  auto& port = ports_[port_of(key)];
  if (known == nullptr) {
    const auto made = programmed_.try_emplace(key).first;
    known = &made->second;
    known->id = *service_ids_.take();
    service_owner_[known->id] = &made->first;
    port.entries[place_of(key)] = known;
  }
  auto& programmed = *known;

  std::map<uint32_t, Target> backends;
  std::vector<uint32_t> active_ids;
  for (const auto& target : entry.targets) {
    auto found = port.backends.find({target.address, target.port});
    uint32_t id = 0;
    if (found == port.backends.end()) {
      id = *backend_ids_.take();
      port.backends.emplace(std::pair{target.address, target.port}, id);
      ++generations_[id];
      auto& backend = backends_[id];
      backend = {.port = &port,
                 .address = target.address,
                 .target_port = target.port,
                 .protocol = key.port.protocol,
                 .state = abi_state(target.state),
                 .users = 0};
      plan.backends.push_back({id,
                               {.address = to_abi(target.address),
                                .port = target.port,
                                .protocol = static_cast<abi::protocol>(key.port.protocol),
                                .state = backend.state,
                                .service = programmed.id,
                                .generation = generations_[id],
                                .flags = target.local ? uint32_t{abi::BACKEND_LOCAL} : 0u},
                               true});
    } else {
      id = found->second;
    }
    if (!programmed.backends.contains(id)) ++backends_[id].users;
    backends[id] = target;
    if (target.state != Target::State::draining && active_ids.size() < kMostSlots) active_ids.push_back(id);
  }
  auto gone = std::exchange(programmed.backends, std::move(backends));
  for (const auto& [id, target] : programmed.backends) {
    gone.erase(id);
    settle_state(id, plan, true);
  }

  const uint32_t flags = entry.guards_port ? uint32_t{abi::SERVICE_NODE_PORT} : 0u;
  if (publish || programmed.flags != flags || programmed.affinity_seconds != entry.affinity_seconds) {
    if (publish) {
      if (!is_new_service && programmed.published.count > 0)
        quarantine_.push_back(
            {now + kQuarantine, Quarantined::Kind::slots, programmed.published.base, programmed.published.count});
      programmed.slots = slots_of(active, active_ids, consistent);
      assert(programmed.slots.size() == count);
      programmed.published = {
          .base = base, .count = static_cast<uint16_t>(count), .generation = ++publications_[programmed.id]};
      if (count > 0) plan.slots.push_back({base, programmed.slots});
    }
    programmed.flags = flags;
    programmed.affinity_seconds = entry.affinity_seconds;
    plan.services.push_back(
        {programmed.id,
         {.published = programmed.published, .flags = flags, .affinity_seconds = entry.affinity_seconds},
         is_new_service});
  }

  for (const auto& [id, target] : programmed.backends) settle_state(id, plan, false);
  for (const auto& [id, target] : gone) leave_backend(id, now, plan);

  if (programmed.vips != entry.vips || is_new_service) {
    std::vector<Vip> left;
    std::ranges::set_difference(programmed.vips, entry.vips, std::back_inserter(left));
    programmed.vips = entry.vips;
    unclaim(key, left);
    claim(key, entry.vips);
  }
}

void Planner::plan_removal(const EntryKey& key, host::TimePoint now, Plan& plan) {
  no_room_.erase(key);
  const auto it = programmed_.find(key);
  if (it == programmed_.end()) return;
  auto programmed = std::move(it->second);
  const auto port = ports_.find(port_of(key));
  port->second.entries[place_of(key)] = nullptr;
  programmed_.erase(it);
  service_owner_.erase(programmed.id);
  unclaim(key, programmed.vips);
  for (const auto& [id, target] : programmed.backends) leave_backend(id, now, plan);
  if (port->second.backends.empty() && std::ranges::count(port->second.entries, nullptr) == 2) ports_.erase(port);
  if (programmed.published.count > 0)
    quarantine_.push_back(
        {now + kQuarantine, Quarantined::Kind::slots, programmed.published.base, programmed.published.count});
  quarantine_.push_back({now + kQuarantine, Quarantined::Kind::service, programmed.id, 0});
}

Plan Planner::collect_garbage(host::TimePoint now) {
  Plan plan;
  for (auto& [id, adopted] : std::exchange(adopted_, {})) {
    for (const auto backend : adopted.backends) {
      // Two entries of a service share their backends; the other one may be in use.
      if (backends_.contains(backend) || adopted_backends_[backend].state == abi::BACKEND_FREE) continue;
      auto& value = adopted_backends_[backend];
      value.state = abi::BACKEND_FREE;
      plan.states.push_back({backend, abi::BACKEND_FREE});
      plan.retired.push_back({backend, from_abi(value.address), value.port, static_cast<Protocol>(value.protocol)});
      quarantine_.push_back({now + kQuarantine, Quarantined::Kind::backend, backend, 0});
    }
    if (adopted.value.published.count > 0)
      quarantine_.push_back(
          {now + kQuarantine, Quarantined::Kind::slots, adopted.value.published.base, adopted.value.published.count});
    quarantine_.push_back({now + kQuarantine, Quarantined::Kind::service, id, 0});
  }
  for (const auto& [vip, id] : installed_) {
    if (!claims_.contains(vip)) touched_vips_.insert(vip);
  }
  settle_vips(plan);
  adopted_backends_.clear();
  adopted_backends_.shrink_to_fit();
  return plan;
}

std::optional<host::TimePoint> Planner::release(host::TimePoint now) {
  while (!quarantine_.empty() && quarantine_.front().until <= now) {
    const auto& oldest = quarantine_.front();
    switch (oldest.kind) {
      case Quarantined::Kind::service:
        service_ids_.give_back(oldest.id);
        break;
      case Quarantined::Kind::backend:
        backend_ids_.give_back(oldest.id);
        break;
      case Quarantined::Kind::slots:
        slot_space_.give_back(oldest.id, oldest.count);
        break;
    }
    quarantine_.pop_front();
  }
  if (quarantine_.empty()) return std::nullopt;
  return quarantine_.front().until;
}

// The two entries of a port may see one backend in different lights (a Local policy):
// the kernel's copy has the most permissive one.
void Planner::settle_state(uint32_t id, Plan& plan, bool raise_only) {
  auto& backend = backends_.at(id);
  auto best = abi::BACKEND_DRAINING;
  uint32_t service = 0;
  for (const auto* entry : backend.port->entries) {
    if (entry == nullptr) continue;
    const auto target = entry->backends.find(id);
    if (target == entry->backends.end()) continue;
    best = std::min(best, abi_state(target->second.state));
    service = entry->id;
  }
  if (best == backend.state || (raise_only && best > backend.state)) return;
  backend.state = best;
  if (!raise_only) {
    plan.states.push_back({id, best});
    return;
  }
  plan.backends.push_back({id,
                           {.address = to_abi(backend.address),
                            .port = backend.target_port,
                            .protocol = static_cast<abi::protocol>(backend.protocol),
                            .state = best,
                            .service = service,
                            .generation = generations_[id],
                            .flags = 0},
                           false});
}

void Planner::leave_backend(uint32_t id, host::TimePoint now, Plan& plan) {
  const auto it = backends_.find(id);
  assert(it != backends_.end() && it->second.users > 0);
  if (--it->second.users > 0) {
    settle_state(id, plan, false);
    return;
  }
  const auto gone = it->second;
  backends_.erase(it);
  const auto place = gone.port->backends.find({gone.address, gone.target_port});
  if (place != gone.port->backends.end() && place->second == id) gone.port->backends.erase(place);
  plan.states.push_back({id, abi::BACKEND_FREE});
  plan.retired.push_back({id, gone.address, gone.target_port, gone.protocol});
  quarantine_.push_back({now + kQuarantine, Quarantined::Kind::backend, id, 0});
}

void Planner::claim(const EntryKey& key, const std::vector<Vip>& vips) {
  for (const auto& vip : vips) {
    claims_[vip].insert(key);
    touched_vips_.insert(vip);
  }
}

void Planner::unclaim(const EntryKey& key, const std::vector<Vip>& vips) {
  for (const auto& vip : vips) {
    const auto it = claims_.find(vip);
    if (it == claims_.end()) continue;
    it->second.erase(key);
    if (it->second.empty()) claims_.erase(it);
    touched_vips_.insert(vip);
  }
}

void Planner::settle_vips(Plan& plan) {
  for (const auto& vip : std::exchange(touched_vips_, {})) {
    const auto claimants = claims_.find(vip);
    const auto installed = installed_.find(vip);
    if (claimants == claims_.end()) {
      if (installed == installed_.end()) continue;
      plan.vip_deletes.push_back(vip);
      installed_.erase(installed);
      continue;
    }
    if (installed != installed_.end()) {
      const auto* owner = owner_of_service(installed->second);
      if (owner != nullptr && claimants->second.contains(*owner)) continue;  // first come, first served
    }
    const auto id = programmed_.at(*claimants->second.begin()).id;
    plan.vip_adds.emplace_back(vip, id);
    installed_[vip] = id;
  }
}

const EntryKey* Planner::owner_of_service(uint32_t id) const {
  const auto it = service_owner_.find(id);
  return it == service_owner_.end() ? nullptr : it->second;
}

std::map<EntryKey, std::string> Planner::degraded() const {
  std::map<EntryKey, std::string> all;
  for (const auto& [key, waiting] : no_room_) all[key] = waiting.second;
  for (const auto& [vip, claimants] : claims_) {
    if (claimants.size() < 2) continue;
    const auto installed = installed_.find(vip);
    const auto* owner = installed == installed_.end() ? nullptr : owner_of_service(installed->second);
    for (const auto& key : claimants) {
      if (owner != nullptr && key != *owner) all[key] = to_string(vip) + " belongs to " + to_string(*owner);
    }
  }
  return all;
}

Planner::Usage Planner::usage() const {
  return {.vips = static_cast<uint32_t>(installed_.size()),
          .services = limits_.services - service_ids_.left(),
          .backends = limits_.backends - backend_ids_.left(),
          .slots = limits_.slots - slot_space_.free()};
}

}  // namespace keelson::proxy
