#include "agent/described_node.h"

#include <fmt/core.h>
#include <netdb.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "api/syntax.h"
#include "host/cgroup.h"
#include "host/netlink.h"

namespace keelson::agent {
namespace {

using host::Path;

host::Result<std::string> find_node_name(const Options& options) {
  if (!options.hostname_override.empty()) return options.hostname_override;
  std::array<char, 256> short_name{};
  if (::gethostname(short_name.data(), short_name.size() - 1) != 0) return host::sys_fail("gethostname");
  // What `hostname -f` prints; without a resolver's answer the short name must do.
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  addrinfo* found = nullptr;
  std::string name = short_name.data();
  if (::getaddrinfo(short_name.data(), nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) name = found->ai_canonname;
    ::freeaddrinfo(found);
  }
  return name;
}

host::Result<std::vector<std::string>> find_node_ips(const Options& options) {
  if (!options.node_ip.empty()) return split_list(options.node_ip);
  auto detected = host::detect_node_addresses();
  if (!detected) return std::unexpected(std::move(detected.error()).within("--node-ip"));
  std::vector<std::string> result;
  for (const auto& address : {detected->v4, detected->v6}) {
    if (address) result.push_back(address->to_string());
  }
  if (result.empty()) return host::fail("this host has no default route: say --node-ip");
  return result;
}

// "rack=7,example.com/disk=ssd", with Kubernetes' rules for both sides.
host::Result<std::map<std::string, std::string>> parse_labels(const std::string& text) {
  std::map<std::string, std::string> labels;
  for (const auto& one : split_list(text)) {
    const auto equals = one.find('=');
    const auto key = one.substr(0, equals), value = equals == std::string::npos ? "" : one.substr(equals + 1);
    if (equals == std::string::npos)
      return host::fail(host::Error::Code::invalid, fmt::format("\"{}\" is not KEY=VALUE", one));
    if (const auto wrong = api::syntax::qualified_name(key); !wrong.empty())
      return host::fail(host::Error::Code::invalid, fmt::format("\"{}\": {}", key, wrong.front()));
    if (const auto wrong = api::syntax::label_value(value); !wrong.empty())
      return host::fail(host::Error::Code::invalid, fmt::format("\"{}\": {}", value, wrong.front()));
    labels[key] = value;
  }
  return labels;
}

}  // namespace

bool in_cluster(const Options& options) { return !options.kubeconfig.empty() || !options.master.empty(); }

host::Result<DescribedNode> describe_node(const Options& options) {
  DescribedNode node;
  auto name = find_node_name(options);
  if (!name) return std::unexpected(name.error());
  node.name = *name;
  auto ips = find_node_ips(options);
  if (!ips) return std::unexpected(ips.error());
  node.ips = *ips;
  for (const auto& ip : node.ips) {
    auto address = host::IpAddress::parse(ip);
    if (!address) return std::unexpected(std::move(address.error()).within("--node-ip"));
    node.addresses.push_back(*address);
  }
  const bool given = !options.pod_cidr.empty() || in_cluster(options);
  auto pod_cidrs = host::parse_cidrs(given ? options.pod_cidr : kDefaultPodCidr);
  if (!pod_cidrs) return std::unexpected(std::move(pod_cidrs.error()).within("--pod-cidr"));
  node.pod_cidrs = *pod_cidrs;
  auto service_cidrs = host::parse_cidrs(options.service_cidr);
  if (!service_cidrs) return std::unexpected(std::move(service_cidrs.error()).within("--service-cidr"));
  node.service_cidrs = *service_cidrs;
  auto policy = sources::SourcePolicy::parse(options.source_policy);
  if (!policy) return std::unexpected(std::move(policy.error()).within("--source-policy"));
  node.policy = *policy;

  auto labels = parse_labels(options.node_labels);
  if (!labels) return std::unexpected(std::move(labels.error()).within("--node-labels"));
  node.labels = std::move(*labels);

  const std::string& range = options.service_node_port_range;
  const size_t dash = range.find('-');
  const auto number = [](std::string_view text, uint16_t& into) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
    return error == std::errc() && end == text.data() + text.size() && into != 0;
  };
  if (dash == std::string::npos || !number(std::string_view(range).substr(0, dash), node.first_node_port) ||
      !number(std::string_view(range).substr(dash + 1), node.last_node_port) ||
      node.first_node_port > node.last_node_port) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("--service-node-port-range: \"{}\" is not FIRST-LAST", range));
  }

  node.cgroup_root = options.cgroup_root;
  if (node.cgroup_root.empty()) {
    auto mountinfo = host::read_file("/proc/self/mountinfo");
    if (!mountinfo) return std::unexpected(mountinfo.error());
    auto mounts = host::CgroupMounts::parse(*mountinfo);
    if (!mounts) return std::unexpected(std::move(mounts.error()).within("--cgroup-root"));
    node.cgroup_root = mounts->unified;
  }
  node.pod_cgroup = options.pod_cgroup.empty() ? node.cgroup_root / "keelson" : Path(options.pod_cgroup);
  return node;
}

host::Result<apiclient::Config> describe_api_server(const Options& options) {
  apiclient::Config config;
  if (!options.kubeconfig.empty()) {
    auto loaded = apiclient::load_kubeconfig(options.kubeconfig);
    if (!loaded) return std::unexpected(std::move(loaded.error()).within("--kubeconfig"));
    config = std::move(*loaded);
  }
  if (!options.master.empty()) config.server = options.master;
  const auto use = [](const std::string& given, std::string& file, std::string& data) {
    if (given.empty()) return;
    file = given;
    data.clear();
  };
  use(options.master_ca_file, config.tls.ca_file, config.tls.ca_data);
  use(options.master_cert_file, config.tls.cert_file, config.tls.cert_data);
  use(options.master_key_file, config.tls.key_file, config.tls.key_data);
  use(options.master_token_file, config.token_file, config.token);
  config.user_agent = "keelson-agent";
  return config;
}

}  // namespace keelson::agent
