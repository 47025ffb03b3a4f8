#include "agent/sources/merge.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <tuple>
#include <utility>

namespace keelson::sources {

namespace {

// Highest first. Sources of other names (tests) come after these, by name.
constexpr std::array<std::string_view, 5> kPrecedence = {"file", "etcd", "apiserver", "url", "push"};

// More changes than this at once rebuild the state instead of patching it: each
// insertion into its vectors moves what is behind.
constexpr size_t kPatchAtMost = 16;

bool same_content(const DocumentPtr& a, const DocumentPtr& b) {
  return a == b || (a && b && a->text == b->text && a->failure == b->failure);
}

// The pod as accepted before has the same hash: it was first seen then.
void set_seen(Accepted& accepted, const AcceptedPtr& before, api::MicroTime now) {
  auto* pod = std::get_if<api::Pod>(&accepted.object);
  if (pod == nullptr) return;
  const std::string hash_name(kConfigHash), seen_name(kConfigSeen);
  auto& annotations = pod->metadata.annotations;
  annotations[seen_name] = api::to_string(now);
  if (!before) return;
  const auto& old = api::metadata_of(before->object).annotations;
  const auto hash = old.find(hash_name);
  const auto seen = old.find(seen_name);
  if (hash != old.end() && seen != old.end() && hash->second == annotations[hash_name]) {
    annotations[seen_name] = seen->second;
  }
}

template <typename T>
bool before(const api::Desired<T>& desired, const api::ObjectKey& key) {
  const auto& metadata = desired.object.metadata;
  return std::tie(metadata.namespace_, metadata.name) < std::tie(key.namespace_, key.name);
}

template <typename T>
void patch_one(std::vector<api::Desired<T>>& objects, const api::ObjectKey& key, const Accepted* winner) {
  const auto at = std::lower_bound(objects.begin(), objects.end(), key, before<T>);
  const bool there =
      at != objects.end() && at->object.metadata.name == key.name && at->object.metadata.namespace_ == key.namespace_;
  if (winner == nullptr) {
    if (there) objects.erase(at);
    return;
  }
  api::Desired<T> desired{.object = std::get<T>(winner->object), .origin = winner->origin};
  if (there) {
    *at = std::move(desired);
  } else {
    objects.insert(at, std::move(desired));
  }
}

template <typename T>
void append(std::vector<api::Desired<T>>& objects, const Accepted& winner) {
  objects.push_back({.object = std::get<T>(winner.object), .origin = winner.origin});
}

}  // namespace

const Ledger::Source* Ledger::find(const std::string& source) const {
  const auto found = sources_.find(source);
  return found == sources_.end() ? nullptr : &found->second;
}

// What a source wants of a key: the first of its documents that has an acceptable one.
AcceptedPtr Ledger::good(const Source& source, const api::ObjectKey& key) {
  const auto holders = source.holders.find(key);
  if (holders == source.holders.end()) return nullptr;
  for (const auto& document : holders->second) {
    if (auto item = source.documents.at(document).items.at(key)) return item;
  }
  return nullptr;
}

void Ledger::put(Source& source, const std::string& document, const api::ObjectKey& key, AcceptedPtr item,
                 Touched& touched) {
  auto& slot = source.documents[document].items[key];
  // Equal content keeps the old object, so that nobody sees a change.
  if (slot && item && *slot == *item) return;
  if (slot != item) touched.insert(key);
  slot = std::move(item);
  if (source.holders[key].insert(document).second) touched.insert(key);
}

void Ledger::take_out(Source& source, const std::string& document, const api::ObjectKey& key, Touched& touched) {
  source.documents[document].items.erase(key);
  const auto holders = source.holders.find(key);
  holders->second.erase(document);
  if (holders->second.empty()) source.holders.erase(holders);
  touched.insert(key);
}

void Ledger::restore(const std::string& source, const std::vector<Accepted>& objects) {
  Touched touched;
  auto& state = sources_[source];
  for (const auto& object : objects) {
    put(state, object.origin.document, api::key_of(object.object), std::make_shared<const Accepted>(object), touched);
  }
  Outcome outcome;
  settle(std::move(touched), outcome);
}

std::vector<DocumentPtr> Ledger::news(const std::string& source, const DocumentSet& set) const {
  std::vector<DocumentPtr> result;
  const Source* known = find(source);
  for (const auto& [name, document] : set) {
    if (known != nullptr) {
      const auto state = known->documents.find(name);
      if (state != known->documents.end() && same_content(state->second.document, document)) continue;
    }
    result.push_back(document);
  }
  return result;
}

void Ledger::replace(Source& source, Prepared prepared, api::MicroTime now, Touched& touched, Outcome& outcome) {
  const std::string name = prepared.document->name;
  std::set<api::ObjectKey> gone;
  for (const auto& [key, item] : source.documents[name].items) gone.insert(key);

  bool refused_some = false;
  for (auto& object : prepared.objects) {
    gone.erase(object.key);
    AcceptedPtr last_good = good(source, object.key);
    if (!object.allowed) {
      put(source, name, object.key, std::move(last_good), touched);
      continue;
    }
    if (!source.holders.contains(object.key) && source.holders.size() >= rules_.limits.source_objects) {
      if (!refused_some) {
        prepared.problems.push_back(
            {.origin = object.accepted.origin,
             .object = api::to_string(object.key),
             .message = fmt::format("the source holds {} objects already, the most it may: this and what follows is "
                                    "not taken",
                                    rules_.limits.source_objects)});
        refused_some = true;
      }
      continue;
    }
    set_seen(object.accepted, last_good, now);
    set_created(object.accepted.object, last_good, {now.microseconds / 1'000'000});
    put(source, name, object.key, std::make_shared<const Accepted>(std::move(object.accepted)), touched);
  }
  if (prepared.whole) {
    for (const auto& key : gone) take_out(source, name, key, touched);
  }
  auto& document = source.documents[name];
  std::ranges::copy_if(prepared.problems, std::back_inserter(outcome.problems), [&](const auto& problem) {
    return std::ranges::find(document.problems, problem) == document.problems.end();
  });
  document.document = std::move(prepared.document);
  document.problems = std::move(prepared.problems);
}

Ledger::Outcome Ledger::speak(const std::string& source, const DocumentSet& set, std::vector<Prepared> prepared,
                              api::MicroTime now) {
  Outcome outcome;
  Touched touched;
  auto& state = sources_[source];
  // What changed comes before what went: an object that moved to another document, and
  // became invalid on the way, still finds its last good version.
  for (auto& one : prepared) replace(state, std::move(one), now, touched, outcome);
  for (auto it = state.documents.begin(); it != state.documents.end();) {
    if (set.contains(it->first)) {
      ++it;
      continue;
    }
    std::vector<api::ObjectKey> keys;
    for (const auto& [key, item] : it->second.items) keys.push_back(key);
    for (const auto& key : keys) take_out(state, it->first, key, touched);
    it = state.documents.erase(it);
  }
  outcome.source_changed = !touched.empty();
  settle(std::move(touched), outcome);
  return outcome;
}

AcceptedPtr Ledger::choose(const api::ObjectKey& key, std::vector<api::Problem>& conflicts) const {
  AcceptedPtr winner;
  auto consider = [&](const Source& source) {
    const auto holders = source.holders.find(key);
    if (holders == source.holders.end()) return;
    for (const auto& document : holders->second) {
      const auto& item = source.documents.at(document).items.at(key);
      if (!item) continue;
      if (!winner) {
        winner = item;
      } else if (item->origin.document != winner->origin.document || item->origin.source != winner->origin.source) {
        conflicts.push_back({.origin = item->origin,
                             .object = api::to_string(key),
                             .field = "metadata.name",
                             .message = fmt::format("Duplicate value: {} has it too, and wins; remove one of them",
                                                    api::to_string(winner->origin))});
      }
    }
  };
  for (const auto name : kPrecedence) {
    if (const auto* source = find(std::string(name))) consider(*source);
  }
  for (const auto& [name, source] : sources_) {
    if (std::ranges::find(kPrecedence, name) == kPrecedence.end()) consider(source);
  }
  return winner;
}

bool Ledger::claim_uid(const api::ObjectKey& key, const Accepted& accepted, std::vector<api::Problem>& conflicts) {
  const auto* pod = std::get_if<api::Pod>(&accepted.object);
  if (pod == nullptr) return true;
  const auto [holder, ours] = uids_.emplace(pod->metadata.uid, key);
  if (ours || holder->second == key) return true;
  waiting_for_uid_.insert(key);
  conflicts.push_back({.origin = accepted.origin,
                       .object = api::to_string(key),
                       .field = "metadata.uid",
                       .message = fmt::format("Duplicate value: {} has this uid; not started while that stays",
                                              api::to_string(holder->second))});
  return false;
}

void Ledger::settle(Touched touched, Outcome& outcome) {
  if (touched.empty()) return;
  touched.merge(std::exchange(waiting_for_uid_, {}));
  // Uids are given back before anyone claims them: two pods may have swapped theirs.
  for (const auto& key : touched) {
    const auto old = winners_.find(key);
    if (old == winners_.end()) continue;
    if (const auto* pod = std::get_if<api::Pod>(&old->second->object)) uids_.erase(pod->metadata.uid);
  }
  std::vector<std::pair<api::ObjectKey, AcceptedPtr>> changes;
  // Who was there keeps its uid: present winners claim before newcomers.
  std::vector<api::ObjectKey> order(touched.begin(), touched.end());
  std::ranges::stable_partition(order, [&](const auto& key) { return winners_.contains(key); });
  for (const auto& key : order) {
    std::vector<api::Problem> conflicts;
    AcceptedPtr winner = choose(key, conflicts);
    if (winner && !claim_uid(key, *winner, conflicts)) winner = nullptr;

    const auto old = winners_.find(key);
    if ((old == winners_.end() ? nullptr : old->second) != winner) {
      changes.emplace_back(key, winner);
      if (winner) {
        winners_[key] = winner;
      } else {
        winners_.erase(key);
      }
    }
    const auto known = conflicts_.find(key);
    if (conflicts.empty()) {
      if (known != conflicts_.end()) conflicts_.erase(known);
    } else if (known == conflicts_.end() || known->second != conflicts) {
      outcome.problems.insert(outcome.problems.end(), conflicts.begin(), conflicts.end());
      conflicts_[key] = std::move(conflicts);
    }
  }
  outcome.changed = !changes.empty();
  if (changes.size() > kPatchAtMost) {
    rebuild();
  } else {
    for (const auto& [key, winner] : changes) patch(key, winner);
  }
}

void Ledger::patch(const api::ObjectKey& key, const AcceptedPtr& winner) {
  if (key.kind == api::Pod::kKind) patch_one(state_.pods, key, winner.get());
  if (key.kind == api::Service::kKind) patch_one(state_.services, key, winner.get());
  if (key.kind == api::Endpoints::kKind) patch_one(state_.endpoints, key, winner.get());
  if (key.kind == api::ConfigMap::kKind) patch_one(state_.config_maps, key, winner.get());
  if (key.kind == api::Secret::kKind) patch_one(state_.secrets, key, winner.get());
}

void Ledger::rebuild() {
  state_ = {};
  for (const auto& [key, winner] : winners_) {
    if (key.kind == api::Pod::kKind) append(state_.pods, *winner);
    if (key.kind == api::Service::kKind) append(state_.services, *winner);
    if (key.kind == api::Endpoints::kKind) append(state_.endpoints, *winner);
    if (key.kind == api::ConfigMap::kKind) append(state_.config_maps, *winner);
    if (key.kind == api::Secret::kKind) append(state_.secrets, *winner);
  }
}

std::vector<api::Problem> Ledger::problems() const {
  std::vector<api::Problem> result;
  for (const auto& [name, source] : sources_) {
    for (const auto& [document, state] : source.documents) {
      result.insert(result.end(), state.problems.begin(), state.problems.end());
    }
  }
  for (const auto& [key, conflicts] : conflicts_) result.insert(result.end(), conflicts.begin(), conflicts.end());
  return result;
}

Ledger::Counts Ledger::counts(const std::string& source) const {
  Counts counts;
  const Source* known = find(source);
  if (known == nullptr) return counts;
  auto count = [&](const api::Problem& problem) {
    ++(problem.severity == api::Problem::Severity::error ? counts.errors : counts.warnings);
  };
  counts.documents = known->documents.size();
  for (const auto& [key, holders] : known->holders) {
    if (good(*known, key)) ++counts.objects;
  }
  for (const auto& [name, document] : known->documents) std::ranges::for_each(document.problems, count);
  for (const auto& [key, conflicts] : conflicts_) {
    for (const auto& problem : conflicts) {
      if (problem.origin.source == source) count(problem);
    }
  }
  return counts;
}

std::vector<AcceptedPtr> Ledger::accepted(const std::string& source) const {
  std::vector<AcceptedPtr> result;
  if (const Source* known = find(source)) {
    for (const auto& [key, holders] : known->holders) {
      if (auto item = good(*known, key)) result.push_back(std::move(item));
    }
  }
  return result;
}

AcceptedPtr Ledger::winner(const api::ObjectKey& key) const {
  const auto found = winners_.find(key);
  return found == winners_.end() ? nullptr : found->second;
}

}  // namespace keelson::sources
