#include "agent/network/address_pool.h"

#include <fmt/core.h>

#include <algorithm>

namespace keelson::network {
namespace {
constexpr uint64_t kMostAddresses = 1 << 20;
}

AddressPool::AddressPool(const api::Cidr& network, uint64_t first, uint64_t end)
    : network_(network), first_(first), end_(end), next_(first), fresh_left_(end - first) {}

host::Result<AddressPool> AddressPool::create(const api::Cidr& network) {
  const uint64_t size = network.size();
  if (network.address().is_loopback() || network.address().is_multicast() || network.address().is_link_local() ||
      (network.address().is_unspecified() && network.prefix() == 0))
    return host::fail(host::Error::Code::invalid,
                      fmt::format("{} cannot be a pod network: choose a private one", network.to_string()));
  if (size <= 2) return AddressPool(network, 0, size);
  const uint64_t end = network.is_v4() ? size - 1 : size;  // the last IPv4 address is the broadcast's
  return AddressPool(network, 2, std::min(end, kMostAddresses));
}

host::Result<api::IpAddress> AddressPool::allocate() {
  while (fresh_left_ > 0) {
    const uint64_t index = next_;
    next_ = next_ + 1 < end_ ? next_ + 1 : first_;
    --fresh_left_;
    if (known_.contains(index)) continue;
    known_[index] = State::taken;
    ++used_;
    return *network_.at(index);
  }
  while (!freed_.empty()) {
    const uint64_t index = freed_.front();
    freed_.pop_front();
    auto& state = known_[index];
    if (state != State::freed) continue;
    state = State::taken;
    ++used_;
    return *network_.at(index);
  }
  return host::fail(host::Error::Code::unavailable,
                    fmt::format("no address is left in the pod CIDR {} ({} in use): stop pods or give the agent a "
                                "larger --pod-cidr",
                                network_.to_string(), used_));
}

bool AddressPool::reserve(const api::IpAddress& address) {
  const auto index = network_.index_of(address);
  if (!index || !inside(*index)) return false;
  const auto [known, added] = known_.try_emplace(*index, State::taken);
  if (!added && known->second == State::taken) return false;
  if (!added) std::erase(freed_, *index);
  known->second = State::taken;
  ++used_;
  return true;
}

void AddressPool::release(const api::IpAddress& address) {
  const auto index = network_.index_of(address);
  if (!index) return;
  const auto known = known_.find(*index);
  if (known == known_.end() || known->second != State::taken) return;
  known->second = State::freed;
  freed_.push_back(*index);
  --used_;
}

void AddressPool::continue_after(const api::IpAddress& address) {
  const auto index = network_.index_of(address);
  if (!index || !inside(*index)) return;
  next_ = *index + 1 < end_ ? *index + 1 : first_;
}

}  // namespace keelson::network
