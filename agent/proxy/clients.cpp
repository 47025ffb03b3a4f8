#include "agent/proxy/clients.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "agent/proxy/plan.h"
#include "bpf/abi.h"
#include "host/log.h"
#include "host/socket_diag.h"

namespace keelson::proxy {

using host::Result;
using host::SocketDiag;
using host::Status;

namespace {

bool matches(const Clients::Gone& gone, const abi::sock_flow& flow) {
  return gone.address == from_abi(flow.backend) && gone.port.value_or(flow.backend_port) == flow.backend_port &&
         (!gone.protocol || static_cast<uint32_t>(*gone.protocol) == flow.protocol) &&
         gone.backend.value_or(flow.backend_id) == flow.backend_id;
}

// By namespace and protocol.
using Doomed = std::map<std::pair<uint64_t, uint8_t>, std::unordered_set<uint64_t>>;

Result<Doomed> find(const host::BpfMap& connections, const std::vector<Clients::Gone>& gone) {
  std::multimap<host::IpAddress, const Clients::Gone*> by_address;
  for (const auto& one : gone) by_address.emplace(one.address, &one);
  Doomed doomed;
  auto walked = connections.for_each([&](const void* key, const void* value) {
    uint64_t cookie = 0;
    abi::sock_flow flow{};
    std::memcpy(&cookie, key, sizeof(cookie));
    std::memcpy(&flow, value, sizeof(flow));
    const auto [first, last] = by_address.equal_range(from_abi(flow.backend));
    if (std::any_of(first, last, [&](const auto& candidate) { return matches(*candidate.second, flow); }))
      doomed[{flow.netns_cookie, static_cast<uint8_t>(flow.protocol)}].insert(cookie);
  });
  if (!walked) return std::unexpected(std::move(walked.error()));
  return doomed;
}

}  // namespace

Clients::Clients(host::Loop& loop, host::BpfMap connections, uint64_t own_netns)
    : loop_(loop),
      connections_(std::make_shared<host::BpfMap>(std::move(connections))),
      alive_(std::make_shared<bool>(true)),
      own_netns_(own_netns) {}

Clients::~Clients() { *alive_ = false; }

void Clients::add_netns(uint64_t cookie, host::Fd netns) {
  if (netns) netns_[cookie] = std::make_shared<host::Fd>(std::move(netns));
}

void Clients::remove_netns(uint64_t cookie) { netns_.erase(cookie); }

void Clients::sync() {
  if (busy_ || gone_.empty()) return;
  busy_ = true;
  loop_.offload(
      [connections = connections_, own = own_netns_, namespaces = netns_, gone = std::exchange(gone_, {})]() -> Status {
        auto doomed = find(*connections, gone);
        if (!doomed) return std::unexpected(std::move(doomed.error()));
        Status result;
        for (const auto& [place, cookies] : *doomed) {
          const auto& [netns, protocol] = place;
          const auto known = namespaces.find(netns);
          if (netns != own && known == namespaces.end()) continue;
          auto diag = netns == own ? SocketDiag::open() : SocketDiag::open_in(known->second->get());
          if (!diag) {
            result = std::unexpected(std::move(diag.error()));
          } else if (auto ended = diag->destroy(protocol, cookies); !ended) {
            result = std::unexpected(std::move(ended.error()));
          }
        }
        return result;
      },
      [this, alive = alive_](Status status) {
        if (!status)
          host::log_warning("service proxy: clients of backends that are gone: {}, ignoring", status.error().message);
        if (!*alive) return;
        busy_ = false;
        sync();
      });
}

}  // namespace keelson::proxy
