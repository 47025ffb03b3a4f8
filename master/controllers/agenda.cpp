#include "master/controllers/agenda.h"

#include <algorithm>
#include <chrono>

namespace keelson::controllers {

namespace {

constexpr int kPerTurn = 100;
constexpr std::chrono::milliseconds kFirst{50}, kMost{30'000};

}  // namespace

Agenda::Agenda(host::Loop& loop, std::function<void(const std::string& key)> look)
    : loop_(loop), look_(std::move(look)), self_(std::make_shared<Agenda*>(this)) {}

Agenda::~Agenda() { *self_ = nullptr; }

void Agenda::soon(const std::string& key) {
  later_.erase(key);
  if (!queued_.insert(key).second) return;
  queue_.push_back(key);
  if (turn_posted_) return;
  turn_posted_ = true;
  loop_.post([self = self_] {
    if (*self != nullptr) (*self)->turn();
  });
}

void Agenda::at(const std::string& key, host::TimePoint when) {
  if (queued_.contains(key)) return;
  const auto found = later_.find(key);
  if (found != later_.end() && found->second.when <= when) return;
  const auto delay = std::max(host::Duration::zero(), when - host::Clock::now());
  later_[key] = {loop_.after(delay, [this, key = key] { soon(key); }), when};
}

host::TimePoint Agenda::after_failure(const std::string& key) {
  const int doublings = std::min(failures_[key]++, 12);
  const host::TimePoint when = host::Clock::now() + std::min(kFirst * (1 << doublings), kMost);
  at(key, when);
  return when;
}

void Agenda::succeeded(const std::string& key) { failures_.erase(key); }

void Agenda::drop(const std::string& key) {
  later_.erase(key);
  failures_.erase(key);
  if (queued_.erase(key) != 0) std::erase(queue_, key);
}

void Agenda::turn() {
  turn_posted_ = false;
  const auto self = self_;
  for (int count = 0; count < kPerTurn && !queue_.empty(); ++count) {
    const std::string key = std::move(queue_.front());
    queue_.pop_front();
    queued_.erase(key);
    look_(key);
    if (*self == nullptr) return;
  }
  if (queue_.empty() || turn_posted_) return;
  turn_posted_ = true;
  loop_.post([self = self_] {
    if (*self != nullptr) (*self)->turn();
  });
}

}  // namespace keelson::controllers
