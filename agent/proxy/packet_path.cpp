#include "agent/proxy/packet_path.h"

#include <fmt/core.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "bpf/abi.h"
#include "host/log.h"

namespace keelson::proxy {

using host::Result;
using host::Status;
namespace nft = host::nft;
using namespace std::chrono_literals;

namespace {

constexpr const char* kSet = "backend";
// Ours come just before those of others at the same hook.
constexpr int kDnatPriority = nft::kPriorityDstNat - 10;
constexpr int kSnatPriority = nft::kPrioritySrcNat - 10;
// Behind conntrack, which says whether a flow is new, and ahead of all translation.
constexpr int kRefusePriority = nft::kPriorityMangle;
constexpr uint16_t kFirstSnatPort = 32768, kLastSnatPort = 65535;  // no NodePort among them

std::array<nft::Family, 2> families() { return {nft::Family::ip, nft::Family::ip6}; }

nft::Element element_of(uint32_t id, const PacketPath::Backend& backend) {
  return {.key = nft::Data().mark(id), .data = nft::Data().address(backend.address).port(backend.port)};
}

nft::Table describe(nft::Family family, const std::string& name, const std::vector<host::IpAddress>& node_addresses,
                    std::vector<nft::Element> elements) {
  const bool v4 = family == nft::Family::ip;
  nft::Table table{.family = family, .name = name, .sets = {}, .chains = {}};
  table.sets.push_back({.name = kSet,
                        .key = {nft::Type::mark},
                        .data = {v4 ? nft::Type::ipv4 : nft::Type::ipv6, nft::Type::port},
                        .elements = std::move(elements)});

  nft::Chain refuse{.name = "refuse",
                    .base = nft::BaseChain{nft::ChainType::filter, nft::Hook::prerouting, kRefusePriority},
                    .rules = {}};
  nft::Chain translate{.name = "translate",
                       .base = nft::BaseChain{nft::ChainType::nat, nft::Hook::prerouting, kDnatPriority},
                       .rules = {}};
  nft::Chain come_back{.name = "come-back",
                       .base = nft::BaseChain{nft::ChainType::nat, nft::Hook::postrouting, kSnatPriority},
                       .rules = {}};
  for (const uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    // Established flows go on: only who would begin one is refused.
    refuse.rules.push_back(
        {.match = {nft::mark_is(abi::MARK_REFUSE, abi::MARK_REFUSE), nft::MatchProtocol{protocol},
                   nft::MatchConnectionState{nft::MatchConnectionState::kNew}},
         .action = nft::Reject{protocol == IPPROTO_TCP ? nft::Reject::tcp_reset : nft::Reject::port_unreachable},
         .counter = true,
         .comment = "no endpoint, or no such port"});
    translate.rules.push_back(
        {.match = {nft::mark_is(abi::MARK_CHOSEN, abi::MARK_CHOSEN), nft::MatchProtocol{protocol}},
         .action = nft::DnatByMap{{nft::Field::mark, abi::MARK_BACKEND}, kSet},
         .counter = true,
         .comment = "to the backend that bpf chose"});
    for (const auto& address : node_addresses) {
      if (address.is_v4() != v4) continue;
      come_back.rules.push_back({.match = {nft::mark_is(abi::MARK_SNAT, abi::MARK_SNAT), nft::MatchProtocol{protocol}},
                                 .action = nft::Snat{address, kFirstSnatPort, kLastSnatPort},
                                 .counter = true,
                                 .comment = "replies must pass here"});
      break;
    }
  }
  table.chains = {std::move(refuse), std::move(translate), std::move(come_back)};
  return table;
}

// What an element of an earlier agent says; nothing when it has another shape.
std::optional<std::pair<uint32_t, PacketPath::Backend>> read_element(const nft::Element& element, bool v4) {
  const auto& key = element.key.bytes();
  const auto& data = element.data.bytes();
  const size_t address_length = v4 ? 4 : 16;
  if (key.size() != 4 || data.size() < address_length + 2) return std::nullopt;
  uint32_t id = 0;
  std::memcpy(&id, key.data(), sizeof(id));
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  return std::pair{id,
                   PacketPath::Backend{host::IpAddress::from_wire({bytes, address_length}),
                                       static_cast<uint16_t>(bytes[address_length] << 8 | bytes[address_length + 1])}};
}

// The elements of both families; those that cannot be read count as absent.
std::map<uint32_t, PacketPath::Backend> installed_in(nft::Nft& nft, const std::string& table) {
  std::map<uint32_t, PacketPath::Backend> backends;
  for (const auto family : families()) {
    const auto elements = nft.elements(family, table, kSet);
    if (!elements) continue;
    for (const auto& element : *elements) {
      if (const auto read = read_element(element, family == nft::Family::ip)) backends.insert(*read);
    }
  }
  return backends;
}

}  // namespace

PacketPath::PacketPath(host::Loop& loop, nft::Nft nft, std::string table)
    : loop_(loop),
      nft_(std::make_shared<nft::Nft>(std::move(nft))),
      alive_(std::make_shared<bool>(true)),
      table_(std::move(table)) {}

PacketPath::~PacketPath() { *alive_ = false; }

Result<std::unique_ptr<PacketPath>> PacketPath::create(host::Loop& loop, std::string table,
                                                       const std::vector<host::IpAddress>& node_addresses,
                                                       std::function<void(const std::vector<uint32_t>&)> introduced) {
  auto nft = nft::Nft::open();
  if (!nft) return std::unexpected(nft.error());
  std::unique_ptr<PacketPath> path(new PacketPath(loop, std::move(*nft), std::move(table)));
  path->introduced_ = std::move(introduced);
  if (auto conntrack = host::Conntrack::open()) {
    path->conntrack_ = std::make_shared<host::Conntrack>(std::move(*conntrack));
  } else {
    host::log_warning("service proxy: {}: flows to backends that leave run into their timeouts, ignoring",
                      conntrack.error().message);
  }
  auto there = path->nft_->tables();
  if (!there) return std::unexpected(there.error());
  // A table of this name with another shape has nothing that we can read: it is replaced whole.
  if (std::ranges::any_of(*there, [&](const nft::TableName& one) { return one.name == path->table_; }))
    path->installed_ = installed_in(*path->nft_, path->table_);
  std::vector<nft::Table> tables;
  for (const auto family : families()) {
    std::vector<nft::Element> kept;
    for (const auto& [id, backend] : path->installed_) {
      if (backend.address.is_v4() == (family == nft::Family::ip)) kept.push_back(element_of(id, backend));
    }
    tables.push_back(describe(family, path->table_, node_addresses, std::move(kept)));
  }
  if (auto replaced = path->nft_->replace(tables); !replaced) return std::unexpected(replaced.error());
  path->wanted_ = path->installed_;
  return path;
}

void PacketPath::sync() {
  if (!conntrack_) ending_.clear();
  if (busy_ || (ending_.empty() && wanted_ == installed_)) return;
  struct Changes {
    std::vector<nft::Element> gone, added;
  };
  std::array<Changes, 2> changes;
  const auto of = [&](const Backend& backend) -> Changes& { return changes[backend.address.is_v4() ? 0 : 1]; };
  std::vector<uint32_t> added;
  for (const auto& [id, backend] : installed_) {
    const auto now = wanted_.find(id);
    if (now == wanted_.end() || now->second != backend) of(backend).gone.push_back(element_of(id, backend));
  }
  for (const auto& [id, backend] : wanted_) {
    const auto before = installed_.find(id);
    if (before != installed_.end() && before->second == backend) continue;
    of(backend).added.push_back(element_of(id, backend));
    added.push_back(id);
  }

  struct Outcome {
    Status status;
    Backends installed;  // after a failure: what is there now
  };
  busy_ = true;
  loop_.offload(
      [nft = nft_, conntrack = conntrack_, table = table_, changes = std::move(changes),
       ending = std::exchange(ending_, {})]() -> Outcome {
        for (size_t i = 0; i < changes.size(); ++i) {
          if (changes[i].gone.empty() && changes[i].added.empty()) continue;
          auto changed = nft->change_elements(families()[i], table, kSet, changes[i].gone, changes[i].added);
          if (!changed) return {changed, installed_in(*nft, table)};
        }
        if (!ending.empty()) {
          if (auto ended = conntrack->remove(ending); !ended)
            host::log_warning("service proxy: {}: flows run into their timeouts, ignoring", ended.error().message);
        }
        return {};
      },
      [this, alive = alive_, target = wanted_, added = std::move(added)](Outcome outcome) mutable {
        if (!*alive) return;
        busy_ = false;
        if (!outcome.status) {
          host::log_warning("service proxy: nftables: {}: trying again, ignoring", outcome.status.error().message);
          installed_ = std::move(outcome.installed);
          retry_ = loop_.after(1s, [this] { sync(); });
          return;
        }
        installed_ = std::move(target);
        std::erase_if(added, [this](uint32_t id) {
          const auto now = wanted_.find(id);
          return now == wanted_.end() || now->second != installed_.at(id);
        });
        introduced_(added);
        sync();
      },
      reinterpret_cast<uint64_t>(this));
}

Status PacketPath::remove_tables(const std::string& table) {
  auto nft = nft::Nft::open();
  if (!nft) return std::unexpected(nft.error());
  for (const auto family : families()) {
    if (auto removed = nft->remove(family, table); !removed) return removed;
  }
  return {};
}

}  // namespace keelson::proxy
