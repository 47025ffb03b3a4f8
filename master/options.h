#pragma once
// The master's flags, which are also the names in /etc/keelson/master.yaml. Order of
// precedence: command line, file, default.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"

namespace keelson::master {

struct Options {
  std::string components = "apiserver,scheduler,controllers";
  std::string data_dir = "/var/lib/keelson-master";  // etcd/, pki/, admin.kubeconfig

  // The API server
  std::string listen = "0.0.0.0:6443";
  std::string advertise_address;                    // "" means the default route's source
  std::vector<std::string> tls_sans;                // further names and addresses of its certificate
  std::string tls_cert_file, tls_private_key_file;  // "" means a certificate of the cluster's own authority
  std::string client_ca_file;                       // an authority beside the cluster's own
  std::string token_auth_file;
  std::string service_cluster_ip_range = "10.96.0.0/16";
  std::string service_node_port_range = "30000-32767";
  std::chrono::milliseconds event_ttl = std::chrono::hours(1);

  // Its store
  std::vector<std::string> etcd_servers;  // empty: a child of our own
  std::string etcd_cafile, etcd_certfile, etcd_keyfile;
  std::string etcd_program = "/usr/bin/etcd";
  std::string etcd_quota = "8Gi";

  // Scheduler and controllers
  std::string kubeconfig;  // how to reach an API server that is not in this process
  std::string cluster_cidr = "10.244.0.0/16";
  int node_cidr_mask_size_ipv4 = 24, node_cidr_mask_size_ipv6 = 64;
  std::chrono::milliseconds node_monitor_grace_period = std::chrono::seconds(40);
  std::optional<std::chrono::milliseconds> pod_eviction_timeout;  // nothing: as the Pods tolerate it
  int terminated_pod_gc_threshold = 12'500;
  bool leader_elect = true;

  std::string config = "/etc/keelson/master.yaml";
  std::string log_level = "info";

  bool runs(std::string_view component) const;
};

// `keelson-master kubeconfig`: what it prints, and for whom.
struct KubeconfigCommand {
  std::string node;                 // --node NAME: system:node:NAME, of system:nodes
  std::string user;                 // --user NAME
  std::vector<std::string> groups;  // --group, of a user
  std::string server;               // "" means what this host is reached by
  std::chrono::hours lifetime{24 * 365};
};

// What the command line asks for: a run with these options, the subcommand, or an exit with
// this code (0 after --help and --version, 2 after a usage error; the text was printed).
struct CommandLine {
  Options options;
  std::optional<KubeconfigCommand> kubeconfig;
  std::optional<int> exit_code;
};

// Reads the command line, then the configuration file for whatever the command line
// left open. A missing file is an error only when --config named it.
CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace keelson::master
