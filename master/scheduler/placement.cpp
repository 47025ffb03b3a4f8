#include "master/scheduler/placement.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <vector>

#include "master/scheduler/fit.h"
#include "master/scheduler/neighbours.h"

namespace keelson::scheduler {

namespace {

struct Candidate {
  const NodeInfo* node = nullptr;
  Score score;
  int64_t neighbours = 0;
};

// How many nodes that will do are enough to choose from: all of a small cluster, half of
// one of a few hundred, down to a twentieth.
size_t enough(size_t nodes) {
  constexpr size_t kFew = 100;
  if (nodes <= kFew) return nodes;
  const size_t percent = std::max<size_t>(5, nodes >= 5625 ? 5 : 50 - nodes / 125);
  return std::max(kFew, nodes * percent / 100);
}

std::string histogram(const std::map<std::string, int>& reasons) {
  std::vector<std::string> parts;
  parts.reserve(reasons.size());
  for (const auto& [reason, count] : reasons) parts.push_back(fmt::format("{} {}", count, reason));
  std::sort(parts.begin(), parts.end());
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string why_nowhere(const PodInfo& pod, size_t nodes, const std::map<std::string, int>& reasons, int crowded) {
  std::string text = fmt::format("0/{} nodes are available: {}.", nodes, histogram(reasons));
  if (!pod.wishes.may_preempt) return text + " preemption: not eligible due to preemptionPolicy=Never.";
  std::map<std::string, int> preemption;
  if (crowded > 0) preemption["No preemption victims found for incoming pod"] = crowded;
  const int hopeless = static_cast<int>(nodes) - crowded;
  if (hopeless > 0) preemption["Preemption is not helpful for scheduling"] = hopeless;
  return text + fmt::format(" preemption: 0/{} nodes are available: {}.", nodes, histogram(preemption));
}

// 0..100 between the least and the most of all candidates.
int64_t scaled(int64_t value, int64_t least, int64_t most) {
  return most == least ? 0 : (value - least) * 100 / (most - least);
}

const Candidate& best_of(const std::vector<Candidate>& candidates) {
  struct Range {
    int64_t least = 0, most = 0;
    bool any = false;
    void add(int64_t value) {
      least = any ? std::min(least, value) : value;
      most = any ? std::max(most, value) : value;
      any = true;
    }
  };
  Range affinity, dislikes, replicas, neighbours;
  for (const Candidate& candidate : candidates) {
    affinity.add(candidate.score.affinity);
    dislikes.add(candidate.score.dislikes);
    replicas.add(candidate.score.replicas);
    neighbours.add(candidate.neighbours);
  }
  const Candidate* best = nullptr;
  int64_t highest = 0;
  for (const Candidate& candidate : candidates) {
    const Score& score = candidate.score;
    // Kubernetes' weights.
    const int64_t total = score.room + score.balance + 2 * scaled(score.affinity, 0, affinity.most) +
                          3 * (100 - scaled(score.dislikes, 0, dislikes.most)) +
                          2 * (100 - scaled(score.replicas, replicas.least, replicas.most)) +
                          2 * scaled(candidate.neighbours, neighbours.least, neighbours.most);
    if (best != nullptr && total <= highest) continue;
    best = &candidate;
    highest = total;
  }
  return *best;
}

}  // namespace

Placement place(const Cluster& cluster, const PodInfo& pod, size_t& start) {
  const auto& nodes = cluster.nodes();
  if (nodes.empty()) return {.node = {}, .why = "no nodes available to schedule pods"};
  const Neighbours neighbours(cluster, pod);
  const size_t wanted = enough(nodes.size());
  std::vector<Candidate> candidates;
  std::map<std::string, int> reasons;
  int crowded = 0;
  size_t looked = 0;
  for (; looked < nodes.size() && candidates.size() < wanted; ++looked) {
    const NodeInfo& node = *nodes[(start + looked) % nodes.size()];
    auto against = refusal(pod, node);
    if (!against) against = neighbours.refusal(node);
    if (!against) {
      candidates.push_back({&node, score(pod, node), neighbours.score(node)});
      continue;
    }
    for (const std::string& reason : against->reasons) ++reasons[reason];
    if (against->crowded) ++crowded;
  }
  if (candidates.empty()) return {.node = {}, .why = why_nowhere(pod, nodes.size(), reasons, crowded)};
  // Of a cluster that was gone through whole, the next Pod begins one further on.
  start = (start + (looked == nodes.size() ? 1 : looked)) % nodes.size();
  return {.node = best_of(candidates).node->name, .why = {}};
}

}  // namespace keelson::scheduler
