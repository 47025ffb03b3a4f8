#include "master/scheduler/neighbours.h"

#include <algorithm>
#include <limits>

#include "api/validate.h"

namespace keelson::scheduler {

namespace {

const std::string* label(const NodeInfo& node, const std::string& key) {
  const auto found = node.labels.find(key);
  return found == node.labels.end() ? nullptr : &found->second;
}

// An absent selector matches nothing, an empty one everything.
bool matches_labels(const api::Box<api::LabelSelector>& selector, const PodInfo& pod) {
  return selector && api::matches(*selector, pod.labels);
}

// `owner_of_term` has said which namespaces it means when it was read (pod_info.cpp).
bool reaches(const Cluster& cluster, const api::PodAffinityTerm& term, const std::string& name) {
  if (std::find(term.namespaces.begin(), term.namespaces.end(), name) != term.namespaces.end()) return true;
  if (!term.namespace_selector) return false;
  static const std::map<std::string, std::string> kNone;
  const auto* labels = cluster.namespace_labels(name);
  return api::matches(*term.namespace_selector, labels == nullptr ? kNone : *labels);
}

int64_t at(const std::map<std::string, int64_t, std::less<>>& counts, const std::string* domain) {
  if (domain == nullptr) return 0;
  const auto found = counts.find(*domain);
  return found == counts.end() ? 0 : found->second;
}

}  // namespace

bool Neighbours::matches(const api::PodAffinityTerm& term, const PodInfo& other) const {
  return matches_labels(term.label_selector, other) && reaches(cluster_, term, other.namespace_);
}

Neighbours::Neighbours(const Cluster& cluster, const PodInfo& pod) : cluster_(cluster), pod_(pod) {
  for (const auto& [key, other] : cluster.keeping_away()) {
    const NodeInfo* node = cluster.node(other->node);
    if (node == nullptr) continue;
    for (const api::PodAffinityTerm& term : other->far) {
      const std::string* domain = label(*node, term.topology_key);
      if (domain != nullptr && matches(term, pod)) kept_away_.emplace(term.topology_key, *domain);
    }
  }
  const Wishes& wishes = pod.wishes;
  if (!wishes.near.empty() || !pod.far.empty() || !wishes.rather_near.empty() || !wishes.rather_far.empty()) {
    count_terms();
  }
  if (!wishes.spread.empty()) count_spread();
}

void Neighbours::count_terms() {
  const Wishes& wishes = pod_.wishes;
  near_.resize(wishes.near.size());
  far_.resize(pod_.far.size());
  rather_near_.resize(wishes.rather_near.size());
  rather_far_.resize(wishes.rather_far.size());
  near_itself_ = std::all_of(wishes.near.begin(), wishes.near.end(), [&](const auto& t) { return matches(t, pod_); });
  for (const NodeInfo* node : cluster_.nodes()) {
    for (const auto& [key, other] : node->pods) {
      const auto count = [&, &other = other](const api::PodAffinityTerm& term, Counts& counts) {
        const std::string* domain = label(*node, term.topology_key);
        if (domain != nullptr && matches(term, *other)) ++counts[*domain];
      };
      // Only a Pod that satisfies all required terms is company.
      if (!wishes.near.empty() && std::all_of(wishes.near.begin(), wishes.near.end(),
                                              [&, &other = other](const auto& t) { return matches(t, *other); })) {
        nobody_near_ = false;
        for (size_t i = 0; i < near_.size(); ++i) count(wishes.near[i], near_[i]);
      }
      for (size_t i = 0; i < far_.size(); ++i) count(pod_.far[i], far_[i]);
      for (size_t i = 0; i < rather_near_.size(); ++i) {
        count(wishes.rather_near[i].pod_affinity_term, rather_near_[i]);
      }
      for (size_t i = 0; i < rather_far_.size(); ++i) count(wishes.rather_far[i].pod_affinity_term, rather_far_[i]);
    }
  }
}

void Neighbours::count_spread() {
  for (const api::TopologySpreadConstraint& constraint : pod_.wishes.spread) {
    Spread& spread = spread_.emplace_back();
    spread.constraint = &constraint;
    spread.self = matches_labels(constraint.label_selector, pod_);
  }
  for (const NodeInfo* node : cluster_.nodes()) {
    // A node counts when it has the labels of all constraints.
    const bool has_all = std::all_of(spread_.begin(), spread_.end(), [&](const Spread& spread) {
      return label(*node, spread.constraint->topology_key) != nullptr;
    });
    if (!has_all) continue;
    for (Spread& spread : spread_) {
      if (spread.constraint->node_affinity_policy != "Ignore" && !selects(pod_, *node)) continue;
      if (spread.constraint->node_taints_policy == "Honor" && untolerated(pod_, *node) != nullptr) continue;
      int64_t& count = spread.counts[*label(*node, spread.constraint->topology_key)];
      for (const auto& [key, other] : node->pods) {
        if (other->namespace_ == pod_.namespace_ && !other->deleting &&
            matches_labels(spread.constraint->label_selector, *other)) {
          ++count;
        }
      }
    }
  }
  for (Spread& spread : spread_) {
    spread.minimum = std::numeric_limits<int64_t>::max();
    for (const auto& [domain, count] : spread.counts) spread.minimum = std::min(spread.minimum, count);
    const auto domains = static_cast<int64_t>(spread.counts.size());
    if (spread.counts.empty() || domains < spread.constraint->min_domains.value_or(1)) spread.minimum = 0;
  }
}

std::optional<Refusal> Neighbours::refusal(const NodeInfo& node) const {
  for (const Spread& spread : spread_) {
    if (spread.constraint->when_unsatisfiable != "DoNotSchedule") continue;
    const std::string* domain = label(node, spread.constraint->topology_key);
    if (domain == nullptr) {
      return Refusal{{"node(s) didn't match pod topology spread constraints (missing required label)"}, false};
    }
    if (at(spread.counts, domain) + (spread.self ? 1 : 0) - spread.minimum > spread.constraint->max_skew) {
      return Refusal{{"node(s) didn't match pod topology spread constraints"}, true};
    }
  }
  const std::vector<api::PodAffinityTerm>& near = pod_.wishes.near;
  bool all_labels = true, company = true;
  for (size_t i = 0; i < near.size(); ++i) {
    const std::string* domain = label(node, near[i].topology_key);
    all_labels = all_labels && domain != nullptr;
    company = company && at(near_[i], domain) > 0;
  }
  // The first of Pods that want to be near each other has nobody to be near to.
  const bool first = all_labels && nobody_near_ && near_itself_;
  if (!near.empty() && !(all_labels && (company || first))) {
    return Refusal{{"node(s) didn't match pod affinity rules"}, false};
  }
  for (size_t i = 0; i < pod_.far.size(); ++i) {
    if (at(far_[i], label(node, pod_.far[i].topology_key)) > 0) {
      return Refusal{{"node(s) didn't match pod anti-affinity rules"}, true};
    }
  }
  for (const auto& [key, value] : kept_away_) {
    const std::string* domain = label(node, key);
    if (domain != nullptr && *domain == value) {
      return Refusal{{"node(s) didn't satisfy existing pods anti-affinity rules"}, true};
    }
  }
  return std::nullopt;
}

int64_t Neighbours::score(const NodeInfo& node) const {
  const Wishes& wishes = pod_.wishes;
  int64_t score = 0;
  for (size_t i = 0; i < rather_near_.size(); ++i) {
    const api::WeightedPodAffinityTerm& term = wishes.rather_near[i];
    score += term.weight * at(rather_near_[i], label(node, term.pod_affinity_term.topology_key));
  }
  for (size_t i = 0; i < rather_far_.size(); ++i) {
    const api::WeightedPodAffinityTerm& term = wishes.rather_far[i];
    score -= term.weight * at(rather_far_[i], label(node, term.pod_affinity_term.topology_key));
  }
  constexpr int64_t kSpread = 100;  // as much as the strongest preference
  for (const Spread& spread : spread_) {
    score -= kSpread * at(spread.counts, label(node, spread.constraint->topology_key));
  }
  return score;
}

}  // namespace keelson::scheduler
