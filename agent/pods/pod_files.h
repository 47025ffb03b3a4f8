#pragma once
// The files that Kubernetes manages in every container: /etc/hosts, /etc/hostname,
// /etc/resolv.conf. Content is pure; source: pkg/kubelet/kubelet_pods.go,
// pkg/kubelet/network/dns.

#include <string>
#include <vector>

#include "api/cri.h"
#include "api/pod.h"
#include "host/file.h"

namespace keelson::pods {

struct DnsSettings {
  std::vector<std::string> servers;  // of the cluster; none: ClusterFirst reads as Default
  std::string domain = "cluster.local";
  host::Path host_resolv_conf = "/etc/resolv.conf";
  host::Path host_hosts = "/etc/hosts";
};

std::string hosts_content(const api::Pod& pod, const std::vector<std::string>& pod_ips, const std::string& hostname,
                          const std::string& domain, const std::string& host_content);
std::string resolv_conf_content(const api::Pod& pod, const DnsSettings& dns, const std::string& host_content);

// Writes the three into `directory`. Blocking.
host::Status write_pod_files(const host::Path& directory, const api::Pod& pod, const std::vector<std::string>& pod_ips,
                             const std::string& hostname, const DnsSettings& dns);
// How a container sees them; one that mounts a volume there keeps its volume.
std::vector<api::Mount> pod_file_mounts(const host::Path& directory, const api::Container& container);

}  // namespace keelson::pods
