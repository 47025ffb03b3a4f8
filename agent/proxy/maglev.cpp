#include "agent/proxy/maglev.h"

#include <algorithm>
#include <limits>

namespace keelson::proxy {

namespace {

constexpr uint32_t kSlotsPerTarget = 64;
constexpr uint32_t kLargest = 65521;  // the largest prime that a publication's 16-bit count holds

bool is_prime(uint32_t n) {
  for (uint32_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return n > 1;
}

// FNV-1a with a finishing mix: the same on every node.
uint64_t hash_of(const Target& target, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325 ^ seed;
  const auto add = [&](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const auto byte : target.address.mapped()) add(byte);
  add(static_cast<uint8_t>(target.port >> 8));
  add(static_cast<uint8_t>(target.port));
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  return hash ^ (hash >> 33);
}

}  // namespace

uint32_t maglev_size(size_t targets) {
  if (targets <= 1) return 1;
  if (targets >= kLargest / kSlotsPerTarget) return kLargest;
  auto size = static_cast<uint32_t>(targets) * kSlotsPerTarget;
  while (!is_prime(size)) ++size;
  return size;
}

std::vector<uint32_t> maglev_table(const std::vector<Target>& targets) {
  constexpr auto kEmpty = std::numeric_limits<uint32_t>::max();
  const uint32_t size = maglev_size(targets.size());
  std::vector<uint32_t> table(size, kEmpty);
  if (size == 1) return {0};
  struct Permutation {
    uint32_t next, skip;
  };
  std::vector<Permutation> permutations;
  permutations.reserve(targets.size());
  for (const auto& target : targets)
    permutations.push_back({static_cast<uint32_t>(hash_of(target, 0x9e3779b97f4a7c15) % size),
                            static_cast<uint32_t>(hash_of(target, 0xd1b54a32d192ed03) % (size - 1) + 1)});
  for (uint32_t filled = 0; filled < size;) {
    for (uint32_t i = 0; i < targets.size() && filled < size; ++i) {
      auto& permutation = permutations[i];
      while (table[permutation.next] != kEmpty) permutation.next = (permutation.next + permutation.skip) % size;
      table[permutation.next] = i;
      ++filled;
    }
  }
  return table;
}

}  // namespace keelson::proxy
