#include "agent/network/names.h"

#include <fmt/core.h>

namespace keelson::network {
namespace {

// FNV-1a, 64 bits: stable over versions and machines, which std::hash is not.
uint64_t hash(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return value ^ value >> 32;  // the low bits take from the high ones
}

}  // namespace

std::string instance_of(const std::string& run_dir) {
  if (run_dir == "/run/keelson") return {};
  return fmt::format("{:08x}", static_cast<uint32_t>(hash(run_dir)));
}

Names Names::of(std::string_view instance) {
  const auto tag = static_cast<uint32_t>(hash(instance) & 0xfff);
  return {instance.empty() ? "keelson" : fmt::format("keelson-{}", instance), fmt::format("kl{:03x}", tag),
          0x6b000 + tag};
}

std::string Names::link(std::string_view uid) const {
  return fmt::format("{}{:010x}", link_prefix, hash(uid) & 0xff'ffff'ffff);
}

host::MacAddress pod_mac(std::string_view uid) {
  const uint64_t value = hash(uid);
  host::MacAddress mac{{0x0a, 0x6b}};  // locally administered, unicast
  for (int i = 2; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(value >> (8 * (i - 2)));
  return mac;
}

}  // namespace keelson::network
