#pragma once
// What the command lines of both daemons have in common: a configuration file with the
// flags' own names, durations and lists. Any thread; blocking (the file).

#include <chrono>
#include <string>
#include <vector>

#include "host/error.h"

namespace CLI {
class App;
}

namespace keelson::flags {

// The YAML file's values go to the options that the command line left open, as text, so
// that the same checks apply to both. A missing file is an error only when it `was_named`.
// Errors name file and line.
host::Status apply_file(CLI::App& app, const std::string& file, bool was_named);

// "20s", "1m30s", "500ms": Go's durations, as Kubernetes' flags take them.
host::Result<std::chrono::milliseconds> parse_duration(const std::string& text);

// "a, b,c" in parts, without the white space around them; no empty parts.
std::vector<std::string> split_list(const std::string& text);

}  // namespace keelson::flags
