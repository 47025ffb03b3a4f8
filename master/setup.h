#pragma once
// What the master's flags say in words and leave to be found out: addresses, ranges, names.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/file.h"
#include "host/ip.h"
#include "master/options.h"

namespace keelson::master {

struct Setup {
  std::string listen_host;
  uint16_t listen_port = 0;
  // Where others reach us; nothing on a host that has but loopback.
  std::optional<host::IpAddress> address;
  std::vector<host::IpAddress> own_addresses;  // all that the certificate shall name
  host::Cidr service_cidr;
  std::vector<host::Cidr> cluster_cidrs;
  host::IpAddress service_ip;  // of default/kubernetes
  uint16_t first_node_port = 0, last_node_port = 0;
  int64_t etcd_quota = 0;
  host::Path data_dir;

  host::Path pki_dir() const { return data_dir / "pki"; }
  host::Path etcd_dir() const { return data_dir / "etcd"; }
  host::Path admin_kubeconfig() const { return data_dir / "admin.kubeconfig"; }
  // https://ADDRESS:PORT for others, and for this process itself.
  std::string server_url() const;
  std::string loopback_url() const;
};
// Invalid: a flag that makes no sense. Asks the kernel for this host's addresses.
host::Result<Setup> set_up(const Options& options);

}  // namespace keelson::master
