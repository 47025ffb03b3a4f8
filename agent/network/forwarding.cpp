#include "agent/network/forwarding.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

namespace keelson::network {
namespace {

// Relative to /proc/sys/net, in the order in which they are written back: the switches
// that change others come first.
using Values = std::vector<std::pair<std::string, std::string>>;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

// One "name value" a line, behind a line that names the boot.
Values values_of(std::string_view text, std::string_view boot_id) {
  Values values;
  bool first = true;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto blank = line.find(' ');
    if (blank == line.npos) continue;
    if (std::exchange(first, false)) {
      if (line != fmt::format("boot {}", boot_id)) return {};
      continue;
    }
    // Nothing but what we write ourselves, and nothing outside /proc/sys/net.
    if (line.find("..") != line.npos || line.front() == '/') continue;
    values.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  return values;
}

bool has(const Values& values, std::string_view name) {
  return std::ranges::find(values, name, &Values::value_type::first) != values.end();
}

}  // namespace

Forwarding::Forwarding(host::Path saved, std::string boot_id, host::Path proc_sys_net)
    : saved_(std::move(saved)), boot_id_(std::move(boot_id)), net_(std::move(proc_sys_net)) {}

host::Status Forwarding::enable(bool v4, bool v6) {
  Values old_values;
  if (auto text = host::read_file(saved_); text)
    old_values = values_of(*text, boot_id_);
  else if (text.error().code != host::Error::Code::not_found)
    return std::unexpected(std::move(text.error()));

  Values changes;
  host::Status problem;
  const auto value_of = [&](const std::string& name) -> std::string {
    auto text = host::read_file(net_ / name);
    if (text) return std::string(trimmed(*text));
    if (text.error().code != host::Error::Code::not_found && problem) problem = std::unexpected(text.error());
    return "";
  };
  const auto save = [&](const std::string& name) {
    if (auto value = value_of(name); !value.empty() && !has(old_values, name)) old_values.emplace_back(name, value);
  };
  const auto save_of_each_interface = [&](const std::string& conf, const std::string& name) {
    auto interfaces = host::list_directory(net_ / conf);
    if (!interfaces) {
      if (problem) problem = std::unexpected(std::move(interfaces.error()));
      return;
    }
    for (const auto& interface : *interfaces)
      if (interface != "all") save(fmt::format("{}/{}/{}", conf, interface, name));
  };

  if (v4 && value_of("ipv4/ip_forward") != "1") {
    save("ipv4/ip_forward");
    save("ipv4/conf/all/accept_redirects");
    save_of_each_interface("ipv4/conf", "forwarding");
    changes.emplace_back("ipv4/ip_forward", "1");
  }
  if (v6) {
    if (value_of("ipv6/conf/all/forwarding").empty())
      return host::fail(host::Error::Code::unsupported,
                        "this kernel has no IPv6 (ipv6.disable=1?), but --pod-cidr asks for it");
    for (const char* scope : {"all", "default"})
      if (value_of(fmt::format("ipv6/conf/{}/disable_ipv6", scope)) == "1")
        return host::fail(host::Error::Code::unsupported,
                          fmt::format("IPv6 is switched off on this host, but --pod-cidr asks for it: "
                                      "sysctl net.ipv6.conf.{}.disable_ipv6=0",
                                      scope));
    if (value_of("ipv6/conf/all/forwarding") != "1") {
      save("ipv6/conf/all/forwarding");
      save_of_each_interface("ipv6/conf", "forwarding");
      auto interfaces = host::list_directory(net_ / "ipv6/conf");
      if (!interfaces) return std::unexpected(std::move(interfaces.error()));
      for (const auto& interface : *interfaces) {
        // Not "default": later interfaces, the pods' among them, shall not believe
        // advertisements.
        const auto name = fmt::format("ipv6/conf/{}/accept_ra", interface);
        if (interface == "all" || interface == "default" || interface == "lo" || value_of(name) != "1") continue;
        save(name);
        changes.emplace_back(name, "2");
      }
      changes.emplace_back("ipv6/conf/all/forwarding", "1");
    }
  }
  if (!problem) return problem;
  if (changes.empty()) return {};

  std::string text = fmt::format("boot {}\n", boot_id_);
  for (const auto& [name, value] : old_values) text += fmt::format("{} {}\n", name, value);
  if (auto saved = host::write_file_atomically(saved_, text, 0600); !saved) return saved;
  for (const auto& [name, value] : changes) {
    auto written = host::write_control(net_ / name, value);
    if (!written && written.error().code != host::Error::Code::not_found) return written;
  }
  return {};
}

host::Status Forwarding::restore() {
  auto text = host::read_file(saved_);
  if (!text) {
    if (text.error().code == host::Error::Code::not_found) return {};
    return std::unexpected(std::move(text.error()));
  }
  for (const auto& [name, value] : values_of(*text, boot_id_)) {
    auto now = host::read_file(net_ / name);
    if (now && trimmed(*now) == value) continue;
    if (now) {
      if (auto written = host::write_control(net_ / name, value); !written) return written;
    } else if (now.error().code != host::Error::Code::not_found) {
      return std::unexpected(std::move(now.error()));
    }
  }
  if (unlink(saved_.c_str()) != 0 && errno != ENOENT) return host::sys_fail("remove " + saved_.native());
  return {};
}

}  // namespace keelson::network
