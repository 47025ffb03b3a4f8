#pragma once
// How long to wait before the next attempt: 50 ms, doubled up to 2 s (or what the caller
// says), less a random quarter, so that a peer that comes back is not met by everyone at once.

#include <algorithm>
#include <chrono>
#include <random>

namespace keelson::host {

class Backoff {
 public:
  using Milliseconds = std::chrono::milliseconds;

  Backoff() = default;
  Backoff(Milliseconds first, Milliseconds most) : first_(first), most_(most), wait_(first) {}

  Milliseconds next() {
    const auto wait = wait_;
    wait_ = std::min(wait_ * 2, most_);
    return wait - Milliseconds(std::uniform_int_distribution<Milliseconds::rep>(0, wait.count() / 4)(random_));
  }
  void reset() { wait_ = first_; }

 private:
  Milliseconds first_{50};
  Milliseconds most_{2000};
  Milliseconds wait_ = first_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace keelson::host
