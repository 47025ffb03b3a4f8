#pragma once
// The daemon's log: one line per event on stderr, for journald or a file.
//
//   log_info("pod {}: started {} in {} ms", name, container, ms);
//
// A message says what happened to which object; a failure that is survived ends
// ", ignoring". Log or return an error, never both. Thread-safe. Values from
// outside are escaped: a manifest cannot forge a line.

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

#include "host/error.h"

namespace keelson::host {

enum class LogLevel { debug, info, warning, error };

// "debug", "info", "warning", "error".
Result<LogLevel> parse_log_level(std::string_view text);
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
// One line; control characters are escaped.
void log_line(LogLevel level, std::string_view message);

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::debug)) log_line(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::info)) log_line(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::warning)) log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace keelson::host
