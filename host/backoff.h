#pragma once
// How long to wait before the next attempt: 50 ms, doubled up to 2 s (or what the caller
// says), less a random quarter, so that a peer that comes back is not met by everyone at once.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
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
  std::minstd_rand random_{seed()};

  // Each its own; the processor is asked once only: RDSEED takes microseconds in a virtual machine.
  static uint32_t seed() {
    static std::atomic<uint32_t> last{std::random_device{}()};
    return last.fetch_add(0x9e3779b9);
  }
};

}  // namespace keelson::host
