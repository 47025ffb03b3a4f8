#pragma once
// How long tests wait at most. A machine on which everything takes several times longer
// (test/vm: no KVM) sets KEELSON_TEST_SLOWNESS, and every deadline of a test is that many
// times later: what is tested there is not speed. What Kubernetes or a flag fixes (grace
// periods, back-off, a check's period) is never stretched.

#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

namespace keelson::test {

inline int slowness() {
  static const int factor = [] {
    const char* given = std::getenv("KEELSON_TEST_SLOWNESS");
    const int number = given == nullptr ? 1 : std::atoi(given);
    return number < 1 ? 1 : number;
  }();
  return factor;
}

// A duration, or a number of milliseconds.
template <typename Limit>
Limit patient(Limit limit) {
  return limit * slowness();
}

// Looks every few milliseconds, and once more when the time is up.
inline bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit = std::chrono::seconds(30)) {
  const auto until = std::chrono::steady_clock::now() + patient(limit);
  while (std::chrono::steady_clock::now() < until) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return holds();
}

}  // namespace keelson::test
