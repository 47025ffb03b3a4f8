#include <algorithm>
#include <array>
#include <limits>

#include "api/validate.h"

namespace keelson::api {

namespace {

using Quantities = std::map<std::string, Quantity>;
constexpr std::array<std::string_view, 2> kCounted = {"cpu", "memory"};

// In thousandths, or bytes of memory; 0 when absent.
int64_t amount(const Quantities& quantities, std::string_view name) {
  const auto found = quantities.find(std::string(name));
  if (found == quantities.end()) return 0;
  return name == "cpu" ? found->second.milli_value() : found->second.value();
}

// Amounts saturate, and so must their sum.
int64_t sum(int64_t a, int64_t b) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  return a > kMax - b ? kMax : a + b;
}

// What the containers ask for together, one entry per counted resource.
struct Sums {
  std::array<int64_t, kCounted.size()> requests{};
  std::array<int64_t, kCounted.size()> limits{};
  bool all_limited = true;

  void add(const ResourceRequirements& resources) {
    for (size_t i = 0; i < kCounted.size(); ++i) {
      const int64_t limit = amount(resources.limits, kCounted[i]);
      requests[i] = sum(requests[i], std::max<int64_t>(0, amount(resources.requests, kCounted[i])));
      limits[i] = sum(limits[i], std::max<int64_t>(0, limit));
      if (limit <= 0) all_limited = false;
    }
  }
};

}  // namespace

// As ComputePodQOS in Kubernetes: only cpu and memory count, and only above zero.
std::string qos_class(const Pod& pod) {
  Sums sums;
  if (!pod.spec.resources.requests.empty() || !pod.spec.resources.limits.empty()) {
    sums.add(pod.spec.resources);
  } else {
    for (const Container& container : pod.spec.containers) sums.add(container.resources);
    for (const Container& container : pod.spec.init_containers) sums.add(container.resources);
  }
  const auto is_zero = [](int64_t value) { return value == 0; };
  if (std::all_of(sums.requests.begin(), sums.requests.end(), is_zero) &&
      std::all_of(sums.limits.begin(), sums.limits.end(), is_zero)) {
    return "BestEffort";
  }
  return sums.all_limited && sums.requests == sums.limits ? "Guaranteed" : "Burstable";
}

}  // namespace keelson::api
