#include "agent/proxy/entry.h"

#include <fmt/core.h>

namespace keelson::proxy {

std::string to_string(Protocol protocol) { return protocol == Protocol::tcp ? "TCP" : "UDP"; }

std::string to_string(const ServiceName& name) { return name.namespace_ + "/" + name.name; }

std::string to_string(const Vip& vip) {
  const auto address = vip.address.to_string();
  return vip.address.is_v4() ? fmt::format("{}:{}/{}", address, vip.port, to_string(vip.protocol))
                             : fmt::format("[{}]:{}/{}", address, vip.port, to_string(vip.protocol));
}

std::string to_string(const EntryKey& key) {
  const char* traffic = key.traffic == Traffic::internal   ? "internal"
                        : key.traffic == Traffic::external ? "external"
                                                           : "hostPort";
  return fmt::format("{} {}/{} {} {}", to_string(key.port.service), key.port.port, to_string(key.port.protocol),
                     key.port.v6 ? "IPv6" : "IPv4", traffic);
}

}  // namespace keelson::proxy
