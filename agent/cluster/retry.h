#pragma once
// How long to wait before the next try: it doubles, up to a limit, with jitter so that
// the nodes of a cluster do not come back all at once. Pure but for the chance.

#include <algorithm>
#include <chrono>
#include <random>

namespace keelson::cluster {

class Retry {
 public:
  explicit Retry(std::chrono::milliseconds first = std::chrono::milliseconds(200),
                 std::chrono::milliseconds most = std::chrono::seconds(10))
      : first_(first), most_(most), next_(first) {}

  std::chrono::milliseconds failed() {
    const auto base = next_;
    next_ = std::min(next_ * 2, most_);
    return base + std::chrono::milliseconds(std::uniform_int_distribution<int64_t>(0, base.count() / 2)(chance_));
  }
  void succeeded() { next_ = first_; }

 private:
  std::chrono::milliseconds first_, most_, next_;
  std::minstd_rand chance_{std::random_device()()};
};

}  // namespace keelson::cluster
