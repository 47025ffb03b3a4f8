#pragma once
// The Pods that wait for a node: those to be tried, in the order of their priority, then
// of their age; those that fit nowhere until something changes; those whose binding
// failed and that are to be tried again after a while. Pure; times are handed in.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "host/loop.h"
#include "master/scheduler/pod_info.h"

namespace keelson::scheduler {

class Queue {
 public:
  // New, or changed: to be tried. A Pod that is parked or held back stays so when
  // nothing that matters to its placement has changed.
  void set(PodPtr pod);
  void remove(const std::string& key);
  bool contains(const std::string& key) const { return waiting_.contains(key); }

  // The next to be tried; it stays known (remove(), park() or hold() says what became of it).
  PodPtr pop();
  bool has_active() const { return !active_.empty(); }

  // It fits nowhere. `sociable`: arrivals of other Pods may change that.
  void park(const std::string& key, bool sociable);
  // Everything parked is to be tried again; or only the sociable.
  void release(bool only_sociable);
  // Its binding failed: not before 1 s, then 2 s, up to 10 s.
  void hold(const std::string& key, host::TimePoint now);
  void release_held(host::TimePoint now);
  std::optional<host::TimePoint> next_release() const;

  size_t size() const { return waiting_.size(); }
  size_t parked() const { return parked_.size() + sociable_.size(); }

 private:
  using Rank = std::tuple<int64_t, int64_t, uint64_t, std::string>;  // -priority, creation, arrival, key
  struct Waiting {
    PodPtr pod;
    uint64_t arrival = 0;
    int failures = 0;
    host::TimePoint held_until{};
  };
  Rank rank_of(const Waiting& waiting) const;
  void withdraw(const std::string& key, const Waiting& waiting);

  std::unordered_map<std::string, Waiting> waiting_;
  std::set<Rank> active_;
  std::set<std::string> parked_, sociable_;
  std::set<std::pair<host::TimePoint, std::string>> held_;
  uint64_t arrivals_ = 0;
};

}  // namespace keelson::scheduler
