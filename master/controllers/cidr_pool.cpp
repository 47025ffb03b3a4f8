#include "master/controllers/cidr_pool.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace keelson::controllers {

namespace {

constexpr int kMostBits = 16;

// Of two addresses of one family: the bits of `address` from `from` up to `to`, as a number.
uint64_t bits_between(const host::IpAddress& address, int from, int to) {
  const auto wire = address.wire();
  uint64_t value = 0;
  for (int bit = from; bit < to; ++bit) value = value << 1 | (wire[bit / 8] >> (7 - bit % 8) & 1);
  return value;
}

}  // namespace

host::Result<CidrPool> CidrPool::create(std::vector<host::Cidr> cluster, int v4_mask, int v6_mask) {
  std::vector<Range> ranges;
  for (const host::Cidr& cidr : cluster) {
    const int mask = cidr.is_v4() ? v4_mask : v6_mask;
    const bool twice =
        std::any_of(ranges.begin(), ranges.end(), [&](const Range& r) { return r.cluster.is_v4() == cidr.is_v4(); });
    if (twice) {
      return host::fail(host::Error::Code::invalid, fmt::format("two CIDRs of {}", cidr.is_v4() ? "IPv4" : "IPv6"));
    }
    if (mask < cidr.prefix() || mask - cidr.prefix() > kMostBits || mask > (cidr.is_v4() ? 32 : 128)) {
      return host::fail(host::Error::Code::invalid,
                        fmt::format("{} cannot be cut into networks of /{}: say a mask from /{} to /{}",
                                    cidr.to_string(), mask, cidr.prefix(), cidr.prefix() + kMostBits));
    }
    ranges.push_back({.cluster = cidr, .mask = mask});
  }
  return CidrPool(std::move(ranges));
}

host::Cidr CidrPool::nth(const Range& range, uint64_t number) {
  std::array<uint8_t, 16> bytes{};
  const auto wire = range.cluster.address().wire();
  std::copy(wire.begin(), wire.end(), bytes.begin());
  for (int bit = range.mask - 1; bit >= range.cluster.prefix(); --bit, number >>= 1) {
    if (number & 1) bytes[bit / 8] |= 1 << (7 - bit % 8);
  }
  return host::Cidr::around(host::IpAddress::from_wire(std::span(bytes).first(wire.size())), range.mask);
}

bool CidrPool::numbers(const Range& range, const host::Cidr& cidr, uint64_t& first, uint64_t& last) {
  if (!range.cluster.overlaps(cidr)) return false;
  if (cidr.contains(range.cluster)) {
    first = 0;
    last = size_of(range) - 1;
    return true;
  }
  first = bits_between(cidr.address(), range.cluster.prefix(), range.mask);
  last = bits_between(cidr.last(), range.cluster.prefix(), range.mask);
  return true;
}

host::Status CidrPool::occupy(const std::string& node, const std::vector<host::Cidr>& cidrs) {
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) {
    if (known->second == cidrs) return {};
    release(node);
  }
  for (const auto& [other, theirs] : nodes_) {
    for (const host::Cidr& a : theirs) {
      for (const host::Cidr& b : cidrs) {
        if (!a.overlaps(b)) continue;
        return host::fail(host::Error::Code::exists,
                          fmt::format("pod CIDR {} overlaps {} of node {}", b.to_string(), a.to_string(), other));
      }
    }
  }
  for (Range& range : ranges_) {
    for (const host::Cidr& cidr : cidrs) {
      uint64_t first = 0, last = 0;
      if (!numbers(range, cidr, first, last)) continue;
      for (uint64_t number = first; number <= last; ++number) range.taken.insert(number);
    }
  }
  nodes_[node] = cidrs;
  return {};
}

host::Result<std::vector<host::Cidr>> CidrPool::allocate(const std::string& node) {
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) return known->second;
  std::vector<host::Cidr> cidrs;
  std::vector<uint64_t> chosen;
  for (const Range& range : ranges_) {
    const uint64_t size = size_of(range);
    uint64_t number = range.next;
    for (uint64_t tried = 0; tried < size && range.taken.contains(number); ++tried) number = (number + 1) % size;
    if (range.taken.contains(number)) {
      return host::fail(host::Error::Code::unavailable,
                        fmt::format("no /{} is left in {}", range.mask, range.cluster.to_string()));
    }
    chosen.push_back(number);
    cidrs.push_back(nth(range, number));
  }
  for (size_t i = 0; i < ranges_.size(); ++i) {
    ranges_[i].taken.insert(chosen[i]);
    ranges_[i].next = (chosen[i] + 1) % size_of(ranges_[i]);
  }
  nodes_[node] = cidrs;
  return cidrs;
}

void CidrPool::release(const std::string& node) {
  const auto known = nodes_.find(node);
  if (known == nodes_.end()) return;
  for (Range& range : ranges_) {
    for (const host::Cidr& cidr : known->second) {
      uint64_t first = 0, last = 0;
      if (!numbers(range, cidr, first, last)) continue;
      for (uint64_t number = first; number <= last; ++number) range.taken.erase(number);
    }
  }
  nodes_.erase(known);
}

}  // namespace keelson::controllers
