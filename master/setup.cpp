#include "master/setup.h"

#include <fmt/core.h>

#include <charconv>
#include <tuple>

#include "api/value.h"
#include "host/netlink.h"

namespace keelson::master {

using host::Error;
using host::fail;
using host::Result;

namespace {

Result<std::pair<std::string, uint16_t>> parse_listen(const std::string& text) {
  const auto bad = [&] {
    return fail(Error::Code::invalid,
                fmt::format("--listen {}: address:port is expected, as in 0.0.0.0:6443 or [::]:6443", text));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad();
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return bad();
  }
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stopped != end || port == 0 || !host::IpAddress::parse(host)) return bad();
  return std::pair(host, port);
}

host::Status parse_port_range(const std::string& text, uint16_t& first, uint16_t& last) {
  const size_t dash = text.find('-');
  const auto number = [](std::string_view part, uint16_t& into) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), into);
    return error == std::errc() && end == part.data() + part.size() && into != 0;
  };
  if (dash == std::string::npos || !number(std::string_view(text).substr(0, dash), first) ||
      !number(std::string_view(text).substr(dash + 1), last) || first > last) {
    return fail(Error::Code::invalid, fmt::format("--service-node-port-range: \"{}\" is not FIRST-LAST", text));
  }
  return {};
}

std::string url(const std::string& host, uint16_t port) {
  return host.find(':') == std::string::npos ? fmt::format("https://{}:{}", host, port)
                                             : fmt::format("https://[{}]:{}", host, port);
}

bool is_loopback(const host::IpAddress& address) {
  return address == host::IpAddress::parse("::1").value() || host::Cidr::parse("127.0.0.0/8").value().contains(address);
}

// --advertise-address, the address that is listened on, or the default route's source.
host::Status find_addresses(const Options& options, Setup& setup) {
  const auto listened = host::IpAddress::parse(setup.listen_host).value();
  if (!options.advertise_address.empty()) {
    auto address = host::IpAddress::parse(options.advertise_address);
    if (!address) return std::unexpected(std::move(address.error()).within("--advertise-address"));
    setup.address = *address;
  } else if (!listened.is_unspecified()) {
    if (!is_loopback(listened)) setup.address = listened;
  } else if (auto detected = host::detect_node_addresses(); detected) {
    for (const auto& address : {detected->v4, detected->v6}) {
      if (!address) continue;
      setup.own_addresses.push_back(*address);
      if (!setup.address) setup.address = *address;
    }
  }
  if (setup.address) setup.own_addresses.push_back(*setup.address);
  if (!listened.is_unspecified()) setup.own_addresses.push_back(listened);
  return {};
}

}  // namespace

std::string Setup::server_url() const { return address ? url(address->to_string(), listen_port) : loopback_url(); }

std::string Setup::loopback_url() const {
  const auto listened = host::IpAddress::parse(listen_host).value();
  if (!listened.is_unspecified()) return url(listen_host, listen_port);
  return url(listened.is_v4() ? "127.0.0.1" : "::1", listen_port);
}

Result<Setup> set_up(const Options& options) {
  Setup setup;
  auto listen = parse_listen(options.listen);
  if (!listen) return std::unexpected(listen.error());
  std::tie(setup.listen_host, setup.listen_port) = *listen;
  if (auto found = find_addresses(options, setup); !found) return std::unexpected(found.error());
  auto ranges = host::parse_cidrs(options.service_cluster_ip_range);
  if (!ranges) return std::unexpected(std::move(ranges.error()).within("--service-cluster-ip-range"));
  if (ranges->empty()) return fail(Error::Code::invalid, "--service-cluster-ip-range: there is none");
  // Services get addresses of the first family only; a second one is what agents may know beside.
  const host::Cidr* const range = &ranges->front();
  // The network's own address and the last one are nobody's.
  if (range->size() < 4) {
    return fail(Error::Code::invalid, fmt::format("--service-cluster-ip-range: {} is too small", range->to_string()));
  }
  setup.service_cidr = *range;
  setup.service_ip = *range->at(1);
  auto cluster = host::parse_cidrs(options.cluster_cidr);
  if (!cluster) return std::unexpected(std::move(cluster.error()).within("--cluster-cidr"));
  setup.cluster_cidrs = *cluster;
  for (const host::Cidr& pods : setup.cluster_cidrs) {
    for (const host::Cidr& services : *ranges) {
      if (!pods.overlaps(services)) continue;
      return fail(Error::Code::invalid,
                  fmt::format("--cluster-cidr {} and --service-cluster-ip-range {} have addresses in common",
                              pods.to_string(), services.to_string()));
    }
  }
  if (auto ports = parse_port_range(options.service_node_port_range, setup.first_node_port, setup.last_node_port);
      !ports) {
    return std::unexpected(ports.error());
  }
  auto quota = api::parse_quantity(options.etcd_quota);
  if (!quota) return std::unexpected(std::move(quota.error()).within("--etcd-quota"));
  setup.etcd_quota = quota->value();
  if (setup.etcd_quota < (int64_t{16} << 20)) {
    return fail(Error::Code::invalid, fmt::format("--etcd-quota: {} is less than 16Mi", options.etcd_quota));
  }
  std::error_code error;
  setup.data_dir = std::filesystem::absolute(options.data_dir, error);
  return setup;
}

}  // namespace keelson::master
