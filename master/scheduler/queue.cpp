#include "master/scheduler/queue.h"

#include <algorithm>
#include <chrono>

namespace keelson::scheduler {

Queue::Rank Queue::rank_of(const Waiting& waiting) const {
  return {-static_cast<int64_t>(waiting.pod->priority), waiting.pod->created, waiting.arrival, waiting.pod->key()};
}

void Queue::withdraw(const std::string& key, const Waiting& waiting) {
  active_.erase(rank_of(waiting));
  parked_.erase(key);
  sociable_.erase(key);
  held_.erase({waiting.held_until, key});
}

void Queue::set(PodPtr pod) {
  const std::string key = pod->key();
  const auto [found, is_new] = waiting_.try_emplace(key);
  Waiting& waiting = found->second;
  if (!is_new && waiting.pod->uid == pod->uid && waiting.pod->kind == pod->kind &&
      waiting.pod->priority == pod->priority && waiting.pod->gated == pod->gated) {
    waiting.pod = std::move(pod);  // its status was written, likely by ourselves
    return;
  }
  if (is_new) {
    waiting.arrival = ++arrivals_;
  } else {
    withdraw(key, waiting);
    if (waiting.pod->uid != pod->uid) waiting = Waiting{.pod = {}, .arrival = ++arrivals_};
  }
  waiting.pod = std::move(pod);
  active_.insert(rank_of(waiting));
}

void Queue::remove(const std::string& key) {
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return;
  withdraw(key, found->second);
  waiting_.erase(found);
}

PodPtr Queue::pop() {
  if (active_.empty()) return nullptr;
  const auto first = active_.begin();
  PodPtr pod = waiting_.at(std::get<3>(*first)).pod;
  active_.erase(first);
  return pod;
}

void Queue::park(const std::string& key, bool sociable) {
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return;
  withdraw(key, found->second);
  (sociable ? sociable_ : parked_).insert(key);
}

void Queue::release(bool only_sociable) {
  for (const std::string& key : sociable_) active_.insert(rank_of(waiting_.at(key)));
  sociable_.clear();
  if (only_sociable) return;
  for (const std::string& key : parked_) active_.insert(rank_of(waiting_.at(key)));
  parked_.clear();
}

void Queue::hold(const std::string& key, host::TimePoint now) {
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return;
  Waiting& waiting = found->second;
  withdraw(key, waiting);
  constexpr int kMostDoublings = 4;
  const auto delay = std::chrono::seconds(std::min(10, 1 << std::min(waiting.failures, kMostDoublings)));
  ++waiting.failures;
  waiting.held_until = now + delay;
  held_.emplace(waiting.held_until, key);
}

void Queue::release_held(host::TimePoint now) {
  while (!held_.empty() && held_.begin()->first <= now) {
    active_.insert(rank_of(waiting_.at(held_.begin()->second)));
    held_.erase(held_.begin());
  }
}

std::optional<host::TimePoint> Queue::next_release() const {
  if (held_.empty()) return std::nullopt;
  return held_.begin()->first;
}

}  // namespace keelson::scheduler
