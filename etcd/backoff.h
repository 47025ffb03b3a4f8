#pragma once
// How long to wait before the next attempt: 50 ms, doubled up to 2 s, less a random
// quarter, so that a cluster that comes back is not met by everyone at once.

#include <algorithm>
#include <chrono>
#include <random>

namespace keelson::etcd {

class Backoff {
 public:
  std::chrono::milliseconds next() {
    const auto wait = wait_;
    wait_ = std::min(wait_ * 2, kMost);
    return wait - std::chrono::milliseconds(
                      std::uniform_int_distribution<std::chrono::milliseconds::rep>(0, wait.count() / 4)(random_));
  }
  void reset() { wait_ = kFirst; }

  static constexpr std::chrono::milliseconds kFirst{50};
  static constexpr std::chrono::milliseconds kMost{2000};

 private:
  std::chrono::milliseconds wait_ = kFirst;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace keelson::etcd
