#include "flags/flags.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <charconv>
#include <set>

#include "host/file.h"

namespace keelson::flags {

host::Status apply_file(CLI::App& app, const std::string& file, bool was_named) {
  if (file.empty()) return {};
  auto text = host::read_file(file, 1U << 20);
  if (!text) {
    if (text.error().code == host::Error::Code::not_found && !was_named) return {};
    return std::unexpected(text.error());
  }
  try {
    const YAML::Node root = YAML::Load(*text);
    if (root.IsNull()) return {};
    if (!root.IsMap()) {
      return host::fail(host::Error::Code::invalid, file + ": expected a map of flag names to values");
    }
    std::set<std::string> seen;
    for (const auto& entry : root) {
      const auto name = entry.first.as<std::string>();
      const auto where = fmt::format("{}:{}", file, entry.first.Mark().line + 1);
      CLI::Option* option = app.get_option_no_throw("--" + name);
      if (option == nullptr || name == "config" || name == "help" || name == "version") {
        return host::fail(host::Error::Code::invalid, fmt::format("{}: unknown setting \"{}\"", where, name));
      }
      if (!seen.insert(name).second) {
        return host::fail(host::Error::Code::invalid, fmt::format("{}: {} stands here twice", where, name));
      }
      std::vector<std::string> values;
      if (entry.second.IsSequence()) {
        if (option->get_items_expected_max() == 1) {
          return host::fail(host::Error::Code::invalid, fmt::format("{}: {} takes one value, not a list", where, name));
        }
        for (const auto& item : entry.second) values.push_back(item.as<std::string>());
      } else if (entry.second.IsScalar()) {
        values.push_back(entry.second.as<std::string>());
      } else {
        return host::fail(host::Error::Code::invalid, fmt::format("{}: {} must be a value or a list", where, name));
      }
      if (values.empty() || option->count() > 0) continue;  // the command line wins
      option->add_result(values);
      option->run_callback();
    }
  } catch (const YAML::Exception& error) {
    return host::fail(host::Error::Code::invalid, fmt::format("{}: {}", file, error.what()));
  } catch (const CLI::Error& error) {
    return host::fail(host::Error::Code::invalid, fmt::format("{}: {}", file, error.what()));
  }
  return {};
}

host::Result<std::chrono::milliseconds> parse_duration(const std::string& text) {
  const auto bad = [&text] {
    return host::fail(host::Error::Code::invalid, fmt::format("\"{}\" is not a duration like 20s or 1m30s", text));
  };
  std::string_view rest = text;
  std::chrono::milliseconds total{0};
  if (rest.empty()) return bad();
  while (!rest.empty()) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc() || number < 0 || number > 1'000'000'000) return bad();
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    size_t unit_size = 0;
    while (unit_size < rest.size() && std::isalpha(static_cast<unsigned char>(rest[unit_size])) != 0) ++unit_size;
    const std::string_view unit = rest.substr(0, unit_size);
    if (unit == "ms") {
      total += std::chrono::milliseconds(number);
    } else if (unit == "s") {
      total += std::chrono::seconds(number);
    } else if (unit == "m") {
      total += std::chrono::minutes(number);
    } else if (unit == "h") {
      total += std::chrono::hours(number);
    } else {
      return bad();
    }
    rest.remove_prefix(unit_size);
  }
  if (total.count() <= 0) return bad();
  return total;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = text.find(',', begin);
    if (end == std::string::npos) end = text.size();
    size_t from = begin;
    size_t to = end;
    while (from < to && std::isspace(static_cast<unsigned char>(text[from])) != 0) ++from;
    while (to > from && std::isspace(static_cast<unsigned char>(text[to - 1])) != 0) --to;
    if (to > from) parts.push_back(text.substr(from, to - from));
    begin = end + 1;
  }
  return parts;
}

}  // namespace keelson::flags
