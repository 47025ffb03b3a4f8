#pragma once
// What the benchmarks measure, and how it is printed.

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace keelson::test {

struct Figures {
  std::vector<double> ms;
  double at(double part) {
    std::ranges::sort(ms);
    return ms.empty() ? 0 : ms[std::min(ms.size() - 1, static_cast<size_t>(part * static_cast<double>(ms.size())))];
  }
};

// A line of `tools/bench api`.
inline void row(const std::string& what, const std::string& kubernetes, const std::string& goal,
                const std::string& ours) {
  fmt::print("{:<44} {:>26} {:>18}   {}\n", what, kubernetes, goal, ours);
  std::fflush(stdout);
}

}  // namespace keelson::test
