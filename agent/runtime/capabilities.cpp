#include "agent/runtime/capabilities.h"

#include <fmt/core.h>
#include <sys/capability.h>

#include <algorithm>

#include "host/file.h"

namespace keelson::runtime {

namespace {

constexpr CapabilitySet bit(int capability) { return CapabilitySet{1} << capability; }

host::Result<CapabilitySet> parse(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (name == "all" || name == "cap_all") return ~CapabilitySet{0};
  if (!name.starts_with("cap_")) name = "cap_" + name;
  cap_value_t value = 0;
  if (cap_from_name(name.c_str(), &value) != 0 || value >= 64) {
    return host::fail(host::Error::Code::invalid, fmt::format("unknown capability \"{}\"", name));
  }
  return bit(value);
}

}  // namespace

CapabilitySet default_capabilities() {
  CapabilitySet set = 0;
  for (const int capability :
       {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER, CAP_MKNOD, CAP_NET_RAW, CAP_SETGID, CAP_SETUID,
        CAP_SETFCAP, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL, CAP_AUDIT_WRITE}) {
    set |= bit(capability);
  }
  return set;
}

host::Result<CapabilitySet> own_capabilities() {
  auto status = host::read_file("/proc/self/status", 1u << 16);
  if (!status) return std::unexpected(status.error());
  const auto field = [&](std::string_view name) -> CapabilitySet {
    const size_t at = status->find(name);
    return at == std::string::npos ? 0 : std::stoull(status->substr(at + name.size(), 20), nullptr, 16);
  };
  return field("CapPrm:") & field("CapBnd:");
}

host::Result<CapabilitySet> container_capabilities(const std::vector<std::string>& add,
                                                   const std::vector<std::string>& drop, bool privileged,
                                                   CapabilitySet available) {
  if (privileged) return available;
  constexpr CapabilitySet kAll = ~CapabilitySet{0};
  CapabilitySet set = default_capabilities();
  std::vector<CapabilitySet> added;
  std::vector<CapabilitySet> dropped;
  for (const auto& [names, sets] : {std::pair(&add, &added), std::pair(&drop, &dropped)}) {
    for (const auto& name : *names) {
      auto parsed = parse(name);
      if (!parsed) return parsed;
      sets->push_back(*parsed);
    }
  }
  if (std::ranges::find(added, kAll) != added.end()) set = kAll;
  if (std::ranges::find(dropped, kAll) != dropped.end()) set = 0;
  for (const auto one : added) {
    if (one != kAll) set |= one;
  }
  for (const auto one : dropped) {
    if (one != kAll) set &= ~one;
  }
  return set & available;
}

}  // namespace keelson::runtime
