#pragma once
// How much of each resource: what a Pod asks for, what a node has to give.
//
// Plain values. Sums saturate, so that a Pod that asks for 2^63 bytes fits nowhere
// instead of everywhere.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "api/pod.h"

namespace keelson::scheduler {

struct Amounts {
  int64_t cpu = 0;  // thousandths
  int64_t memory = 0;
  int64_t ephemeral_storage = 0;
  std::map<std::string, int64_t> others;  // hugepages-*, extended resources

  void add(const Amounts& more);
  void subtract(const Amounts& less);
  void raise_to(const Amounts& other);  // the greater of both, each by itself
  bool operator==(const Amounts&) const = default;
};

Amounts amounts_of(const std::map<std::string, api::Quantity>& quantities);

// What a Pod needs at once, as Kubernetes computes it: its containers and its
// sidecars together, or the greediest moment of its initialisation if that is more;
// what the Pod says as a whole in place of its containers; and the overhead.
Amounts requests_of(const api::Pod& pod);

// cpu and memory of a Pod for the scores: a container that asks for nothing is
// taken to use 100m and 200 MB, so that such Pods spread as well.
struct ScoredUse {
  int64_t cpu = 0;
  int64_t memory = 0;
  bool operator==(const ScoredUse&) const = default;
};
ScoredUse scored_use_of(const api::Pod& pod);

}  // namespace keelson::scheduler
