#include "agent/sources/policy.h"

#include <fmt/core.h>

namespace keelson::sources {

SourcePolicy::SourcePolicy()
    : levels_{{"file", api::SecurityLevel::privileged},
              {"etcd", api::SecurityLevel::privileged},
              {"apiserver", api::SecurityLevel::privileged},
              {"url", api::SecurityLevel::baseline},
              {"push", api::SecurityLevel::baseline}} {}

host::Result<SourcePolicy> SourcePolicy::parse(std::string_view text) {
  SourcePolicy policy;
  std::map<std::string, bool, std::less<>> named;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view entry = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    const auto equals = entry.find('=');
    if (equals == std::string_view::npos) {
      return host::fail(
          host::Error::Code::invalid,
          fmt::format("source policy \"{}\": not of the form source=level, as in {}", entry, kDefaultSourcePolicy));
    }
    const std::string_view source = entry.substr(0, equals);
    const auto known = policy.levels_.find(source);
    if (known == policy.levels_.end()) {
      return host::fail(host::Error::Code::invalid,
                        fmt::format("source policy \"{}\": the sources are file, url, push, etcd, apiserver", entry));
    }
    if (!named.emplace(source, true).second) {
      return host::fail(host::Error::Code::invalid, fmt::format("source policy: {} is named twice", source));
    }
    auto level = api::parse_security_level(entry.substr(equals + 1));
    if (!level) return std::unexpected(std::move(level.error()).within(fmt::format("source policy \"{}\"", entry)));
    known->second = *level;
  }
  return policy;
}

api::SecurityLevel SourcePolicy::level(std::string_view source) const {
  const auto found = levels_.find(source);
  return found == levels_.end() ? api::SecurityLevel::restricted : found->second;
}

}  // namespace keelson::sources
