#include "agent/pods/stop_signal.h"

#include <charconv>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>

namespace keelson::pods {
namespace {

std::optional<int> parse_number(std::string_view text) {
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<int> parse_signal(std::string_view text) {
  if (auto number = parse_number(text)) return *number > 0 && *number <= 64 ? number : std::nullopt;
  if (text.starts_with("SIG")) text.remove_prefix(3);
  // The kernel's real-time signals, not libc's, which keeps two for itself.
  constexpr int kRealTimeMinimum = 34, kRealTimeMaximum = 64;
  if (text == "RTMIN") return kRealTimeMinimum;
  if (text == "RTMAX") return kRealTimeMaximum;
  if (text.starts_with("RTMIN+")) {
    auto more = parse_number(text.substr(6));
    return more && *more >= 0 && *more <= 30 ? std::optional(kRealTimeMinimum + *more) : std::nullopt;
  }
  if (text.starts_with("RTMAX-")) {
    auto less = parse_number(text.substr(6));
    return less && *less >= 0 && *less <= 30 ? std::optional(kRealTimeMaximum - *less) : std::nullopt;
  }
  for (int number = 1; number < 32; ++number) {
    const char* name = sigabbrev_np(number);
    if (name != nullptr && text == name) return number;
  }
  return std::nullopt;
}

}  // namespace

int stop_signal_of(const api::Container& container, const std::string& image_signal) {
  if (container.lifecycle) {
    if (auto own = parse_signal(container.lifecycle->stop_signal)) return *own;
  }
  return parse_signal(image_signal).value_or(SIGTERM);
}

}  // namespace keelson::pods
