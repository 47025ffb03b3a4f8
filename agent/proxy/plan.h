#pragma once
// From what the kernel holds to what it shall hold: an ordered plan. Pure: the
// kernel's maps are shadowed here, kernel.h carries a plan out.
//
// The order is what makes a change safe while packets flow: new backends first, then
// a fresh block of slots, then the one store that publishes it, then the virtual
// addresses; what has left is only marked, and its number is not used again for at
// least a second. Work is in proportion to the changes.

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/proxy/entry.h"
#include "agent/proxy/service_table.h"
#include "bpf/abi.h"
#include "host/loop.h"

namespace keelson::proxy {

struct Limits {
  uint32_t vips = 32768, services = 32768, backends = 65536, slots = 262144;
  uint32_t connections = 131072;  // sockets of clients; those beyond cost a little more, and outlive their backend
};

struct Plan {
  struct BackendWrite {
    uint32_t id = 0;
    abi::backend value{};
    bool fresh = false;  // a new use of the number: its counter starts at zero
  };
  struct SlotWrite {
    uint32_t base = 0;
    std::vector<uint32_t> backends;
  };
  struct ServiceWrite {
    uint32_t id = 0;
    abi::service value{};
    bool fresh = false;
  };
  struct StateWrite {
    uint32_t id = 0;
    abi::backend_state state = abi::BACKEND_FREE;
  };
  struct Retired {
    uint32_t id = 0;
    host::IpAddress address;
    uint16_t port = 0;
    Protocol protocol = Protocol::tcp;
  };
  // In the order in which they must be carried out.
  std::vector<BackendWrite> backends;
  std::vector<SlotWrite> slots;
  std::vector<ServiceWrite> services;
  std::vector<std::pair<Vip, uint32_t>> vip_adds;
  std::vector<Vip> vip_deletes;
  std::vector<StateWrite> states;
  std::vector<Retired> retired;  // their flows are to be ended; `states` has marked them

  bool empty() const;
};

// What pinned maps held when the agent started.
struct KernelState {
  std::vector<std::pair<Vip, uint32_t>> vips;
  std::vector<abi::service> services;  // by id
  std::vector<uint32_t> slots;         // by index
  std::vector<abi::backend> backends;  // by id
};

// Ranges of slots: best fit, neighbours grow together again.
class SlotSpace {
 public:
  explicit SlotSpace(uint32_t size);
  std::optional<uint32_t> take(uint32_t count);
  bool take_at(uint32_t base, uint32_t count);  // false when part of it is taken
  void give_back(uint32_t base, uint32_t count);
  uint32_t free() const { return free_; }

 private:
  std::map<uint32_t, uint32_t> by_base_;
  std::set<std::pair<uint32_t, uint32_t>> by_size_;  // {count, base}
  uint32_t free_ = 0;
};

class Planner {
 public:
  explicit Planner(Limits limits);

  // Once, before anything else: services are taken over by the virtual addresses
  // that they have in common with entries to come.
  void adopt(const KernelState& state);

  // True when the kernel has this entry from before a restart and nobody has spoken
  // for it yet.
  bool is_adopted(const Entry& entry) const;

  // An entry for which there is no room is left as it is (absent, when new) and
  // reported by degraded(); it is tried again with every plan.
  Plan plan(const std::vector<EntryChange>& changes, host::TimePoint now);
  // Removes what was adopted and nobody has spoken for.
  Plan collect_garbage(host::TimePoint now);
  // Numbers whose quarantine has ended are free again. The next time that one ends.
  std::optional<host::TimePoint> release(host::TimePoint now);

  struct Programmed {
    uint32_t id = 0;
    abi::publication published{};
    uint32_t flags = 0, affinity_seconds = 0;
    std::vector<uint32_t> slots;
    std::vector<Vip> vips;
    std::map<uint32_t, Target> backends;  // by id
  };
  const std::map<EntryKey, Programmed>& programmed() const { return programmed_; }
  const EntryKey* owner_of_service(uint32_t id) const;

  // Entries that have no room, or want a virtual address that another one has.
  std::map<EntryKey, std::string> degraded() const;

  struct Usage {
    uint32_t vips = 0, services = 0, backends = 0, slots = 0;
  };
  Usage usage() const;
  const Limits& limits() const { return limits_; }

 private:
  // Numbers from 0 (services, backends), lowest first.
  class Ids {
   public:
    explicit Ids(uint32_t size) : size_(size) {}
    std::optional<uint32_t> take();
    void mark(uint32_t id);  // taken from outside, while adopting
    void give_back(uint32_t id) { free_.insert(id); }
    uint32_t left() const { return size_ - next_ + static_cast<uint32_t>(free_.size()); }

   private:
    uint32_t size_, next_ = 0;
    std::set<uint32_t> free_;
  };
  // One service port in one family (or one hostPort): its backends by place, and the
  // entries that share them: internal or hostPort first, external second.
  struct PortState {
    std::map<std::pair<host::IpAddress, uint16_t>, uint32_t> backends;
    std::array<Programmed*, 2> entries{};
  };
  using PortStateKey = std::pair<PortKey, bool>;  // true: a hostPort
  struct Backend {
    PortState* port = nullptr;
    host::IpAddress address;
    uint16_t target_port = 0;
    Protocol protocol = Protocol::tcp;
    abi::backend_state state = abi::BACKEND_FREE;
    uint32_t users = 0;
  };
  struct Quarantined {
    host::TimePoint until;
    enum class Kind { service, backend, slots } kind;
    uint32_t id = 0, count = 0;
  };
  struct Adopted {
    abi::service value{};
    std::vector<uint32_t> slots;
    std::vector<Vip> vips;
    std::set<uint32_t> backends;
  };

  void plan_entry(const EntryKey& key, const Entry& entry, host::TimePoint now, Plan& plan);
  void plan_removal(const EntryKey& key, host::TimePoint now, Plan& plan);
  Programmed* take_over(const EntryKey& key, const Entry& entry);
  void claim(const EntryKey& key, const std::vector<Vip>& vips);
  void unclaim(const EntryKey& key, const std::vector<Vip>& vips);
  void settle_vips(Plan& plan);
  void settle_state(uint32_t backend, Plan& plan, bool raise_only);
  void leave_backend(uint32_t id, host::TimePoint now, Plan& plan);
  std::vector<uint32_t> slots_of(const std::vector<Target>& active, const std::vector<uint32_t>& ids,
                                 bool consistent) const;

  Limits limits_;
  Ids service_ids_, backend_ids_;
  SlotSpace slot_space_;
  std::deque<Quarantined> quarantine_;

  std::map<EntryKey, Programmed> programmed_;
  std::unordered_map<uint32_t, const EntryKey*> service_owner_;  // keys of programmed_
  std::map<PortStateKey, PortState> ports_;
  std::unordered_map<uint32_t, Backend> backends_;
  std::vector<uint32_t> generations_;   // of backends, by id
  std::vector<uint16_t> publications_;  // the last generation of services, by id
  std::map<uint32_t, Adopted> adopted_;
  std::vector<abi::backend> adopted_backends_;

  std::map<Vip, std::set<EntryKey>> claims_;
  std::map<Vip, uint32_t> installed_;
  std::set<Vip> touched_vips_;
  std::map<EntryKey, std::pair<Entry, std::string>> no_room_;
};

abi::vip_key to_abi(const Vip& vip);
Vip from_abi(const abi::vip_key& key);
abi::address to_abi(const host::IpAddress& address);
host::IpAddress from_abi(const abi::address& address);

}  // namespace keelson::proxy
