#pragma once
// The agent's flags, which are also the names in /etc/keelson/agent.yaml. Order of
// precedence: command line, file, default.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flags/flags.h"
#include "host/error.h"

namespace keelson::agent {

inline constexpr const char* kDefaultPodCidr = "10.244.0.0/24";

struct Options {
  // Sources
  std::string pod_manifest_path = "/etc/keelson/manifests";
  std::chrono::milliseconds file_check_frequency{20000};
  std::string manifest_url;
  std::vector<std::string> manifest_url_headers;  // "Name: value"
  std::chrono::milliseconds http_check_frequency{20000};
  std::vector<std::string> etcd_servers;
  std::string etcd_prefix;  // "" means /registry/hosts/<node name>/
  std::string etcd_cafile, etcd_certfile, etcd_keyfile;
  std::string source_policy = "file=privileged,etcd=privileged,apiserver=privileged,url=baseline,push=baseline";

  // The cluster; none without a kubeconfig or a master
  std::string kubeconfig;
  std::string master;                                                                // URL; wins over the kubeconfig's
  std::string master_ca_file, master_cert_file, master_key_file, master_token_file;  // likewise
  std::string node_labels;                                                           // "rack=7,disk=ssd"
  bool register_node = true;
  std::chrono::milliseconds node_status_update_frequency{10000};
  std::chrono::milliseconds node_lease_duration{40000};  // renewed each quarter of it
  int max_pods = 110;

  // Images
  std::vector<std::string> insecure_registries;  // host[:port]
  std::string registry_ca_file;

  // The agent's own HTTP API
  std::string listen = "127.0.0.1:10250";
  std::string tls_cert_file, tls_private_key_file, client_ca_file;

  // The node
  std::string hostname_override;
  std::string node_ip;   // one address, or IPv4,IPv6; "" means the default route's source
  std::string pod_cidr;  // "" means kDefaultPodCidr, or in a cluster what the Node's spec says
  std::string service_cidr = "10.96.0.0/16";
  std::string service_node_port_range = "30000-32767";
  std::string root_dir = "/var/lib/keelson";
  std::string run_dir = "/run/keelson";
  std::string bpffs = "/sys/fs/bpf/keelson";
  std::string cgroup_root;  // "" means the root of the v2 hierarchy
  std::string pod_cgroup;   // "" means <cgroup-root>/keelson

  std::string config = "/etc/keelson/agent.yaml";
  std::string log_level = "info";
};

// What the command line asks for: a run with these options, or an exit with this
// code (0 after --help and --version, 2 after a usage error; the text was printed).
struct CommandLine {
  Options options;
  std::optional<int> exit_code;
};

// Reads the command line, then the configuration file for whatever the command line
// left open. A missing file is an error only when --config named it.
CommandLine parse_command_line(int argc, const char* const* argv);

// What the configuration file alone says, defaults for the rest: keelsonctl finds its agent
// by that. not_found: there is no such file; invalid: it names the file and mostly the line.
host::Result<Options> read_options(const std::string& config);

// Of these options, those by which keelsonctl finds the agent and judges its host, as a
// configuration file. The agent leaves it in its run directory: flags may have said otherwise
// than /etc, and /etc may have changed since.
std::string configuration_in_force(const Options& options);

using flags::parse_duration;
using flags::split_list;

}  // namespace keelson::agent
