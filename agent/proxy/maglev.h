#pragma once
// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4): a table in
// which each target has an almost equal share, every node computes the same table
// from the same targets, and a target that comes or goes moves few of the others'
// slots. Pure.

#include <cstdint>
#include <vector>

#include "agent/proxy/entry.h"

namespace keelson::proxy {

// The table's size for so many targets: 1 for one, else a prime of about 64 slots
// each, so that shares differ by less than 2 %; never above 65521.
uint32_t maglev_size(size_t targets);

// Which target (by index) each slot has. `targets` not empty; every one has a slot
// as long as there are fewer of them than slots.
std::vector<uint32_t> maglev_table(const std::vector<Target>& targets);

}  // namespace keelson::proxy
