#include "agent/pods/pod_files.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "host/run_file.h"

namespace keelson::pods {
namespace {

constexpr size_t kHostFileLimit = 1u << 20;

struct Resolver {
  std::vector<std::string> servers, searches, options;
};

Resolver parse_resolv_conf(const std::string& content) {
  Resolver resolver;
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find_first_of("#;")));
    std::string key, word;
    if (!(words >> key)) continue;
    if (key == "nameserver" && words >> word) resolver.servers.push_back(word);
    if (key == "search" || key == "domain") {  // the last one wins
      resolver.searches.clear();
      while (words >> word) resolver.searches.push_back(word);
    }
    if (key == "options") {
      while (words >> word) resolver.options.push_back(word);
    }
  }
  return resolver;
}

void append_unique(std::vector<std::string>& list, const std::string& value) {
  if (!value.empty() && std::ranges::find(list, value) == list.end()) list.push_back(value);
}

// An option given again replaces the one of the same name.
void set_option(std::vector<std::string>& options, const std::string& name, const std::string& value) {
  auto same = [&](const std::string& option) { return option.substr(0, option.find(':')) == name; };
  std::erase_if(options, same);
  options.push_back(value.empty() ? name : name + ":" + value);
}

// Behind systemd-resolved's stub (127.0.0.53, which no pod can reach) lies the real list.
std::string read_host_resolv_conf(const host::Path& path) {
  auto content = host::read_file(path, kHostFileLimit);
  if (!content) return "";
  auto servers = parse_resolv_conf(*content).servers;
  bool stub = !servers.empty() && std::ranges::all_of(servers, [](const auto& s) { return s.starts_with("127."); });
  if (!stub) return *content;
  auto real = host::read_file("/run/systemd/resolve/resolv.conf", kHostFileLimit);
  return real ? *real : *content;
}

bool wants_cluster_dns(const api::PodSpec& spec) {
  if (spec.dns_policy == "ClusterFirstWithHostNet") return true;
  return (spec.dns_policy == "ClusterFirst" || spec.dns_policy.empty()) && !spec.host_network.value_or(false);
}

}  // namespace

std::string hosts_content(const api::Pod& pod, const std::vector<std::string>& pod_ips, const std::string& hostname,
                          const std::string& domain, const std::string& host_content) {
  std::string content;
  if (pod.spec.host_network.value_or(false)) {
    content = "# Kubernetes-managed hosts file (host network).\n" + host_content;
    if (!content.ends_with('\n')) content += '\n';
  } else {
    content =
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n";
    for (const auto& ip : pod_ips) {
      if (pod.spec.subdomain.empty()) {
        content += fmt::format("{}\t{}\n", ip, hostname);
      } else {
        content += fmt::format("{}\t{}.{}.{}.svc.{}\t{}\n", ip, hostname, pod.spec.subdomain, pod.metadata.namespace_,
                               domain, hostname);
      }
    }
  }
  if (!pod.spec.host_aliases.empty()) {
    content += "\n# Entries added by HostAliases.\n";
    for (const auto& alias : pod.spec.host_aliases)
      content += fmt::format("{}\t{}\n", alias.ip, fmt::join(alias.hostnames, "\t"));
  }
  return content;
}

std::string resolv_conf_content(const api::Pod& pod, const DnsSettings& dns, const std::string& host_content) {
  Resolver resolver;
  if (pod.spec.dns_policy != "None") {
    resolver = parse_resolv_conf(host_content);
    if (wants_cluster_dns(pod.spec) && !dns.servers.empty()) {
      auto host_searches = std::exchange(resolver.searches, {});
      resolver.servers = dns.servers;
      append_unique(resolver.searches, fmt::format("{}.svc.{}", pod.metadata.namespace_, dns.domain));
      append_unique(resolver.searches, "svc." + dns.domain);
      append_unique(resolver.searches, dns.domain);
      for (const auto& search : host_searches) append_unique(resolver.searches, search);
      resolver.options = {"ndots:5"};
    }
  }
  if (pod.spec.dns_config) {
    for (const auto& server : pod.spec.dns_config->nameservers) append_unique(resolver.servers, server);
    for (const auto& search : pod.spec.dns_config->searches) append_unique(resolver.searches, search);
    for (const auto& option : pod.spec.dns_config->options) set_option(resolver.options, option.name, option.value);
  }
  std::string content;
  if (!resolver.searches.empty()) content += fmt::format("search {}\n", fmt::join(resolver.searches, " "));
  for (const auto& server : resolver.servers) content += fmt::format("nameserver {}\n", server);
  if (!resolver.options.empty()) content += fmt::format("options {}\n", fmt::join(resolver.options, " "));
  return content;
}

host::Status write_pod_files(const host::Path& directory, const api::Pod& pod, const std::vector<std::string>& pod_ips,
                             const std::string& hostname, const DnsSettings& dns) {
  if (auto made = host::make_directories(directory); !made) return made;
  std::string host_hosts;
  if (pod.spec.host_network.value_or(false)) host_hosts = host::read_file(dns.host_hosts, kHostFileLimit).value_or("");
  const std::pair<const char*, std::string> files[] = {
      {"hosts", hosts_content(pod, pod_ips, hostname, dns.domain, host_hosts)},
      {"hostname", hostname + "\n"},
      {"resolv.conf", resolv_conf_content(pod, dns, read_host_resolv_conf(dns.host_resolv_conf))},
  };
  for (const auto& [name, content] : files) {
    // Running containers have these bound: one that is right stays the same file.
    auto current = host::read_file(directory / name, kHostFileLimit);
    if (current && *current == content) continue;
    if (auto written = host::write_run_file(directory / name, content); !written) return written;
  }
  return {};
}

std::vector<api::Mount> pod_file_mounts(const host::Path& directory, const api::Container& container) {
  bool read_only = container.security_context && container.security_context->read_only_root_filesystem.value_or(false);
  std::vector<api::Mount> mounts;
  for (const auto* name : {"hosts", "hostname", "resolv.conf"}) {
    auto target = std::string("/etc/") + name;
    if (std::ranges::any_of(container.volume_mounts, [&](const auto& mount) { return mount.mount_path == target; }))
      continue;
    api::Mount mount;
    mount.source = (directory / name).string();
    mount.target = target;
    mount.read_only = read_only;
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

}  // namespace keelson::pods
