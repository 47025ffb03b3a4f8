#pragma once
// The node as its flags describe it, with what they leave to be found out.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/options.h"
#include "agent/sources/policy.h"
#include "apiclient/kubeconfig.h"
#include "host/file.h"
#include "host/ip.h"

namespace keelson::agent {

struct DescribedNode {
  std::string name;
  std::vector<std::string> ips;  // primary first
  std::vector<host::IpAddress> addresses;
  std::vector<host::Cidr> pod_cidrs;  // empty: in a cluster, the master's to say
  std::vector<host::Cidr> service_cidrs;
  uint16_t first_node_port = 0, last_node_port = 0;
  host::Path cgroup_root, pod_cgroup;
  sources::SourcePolicy policy;
  std::map<std::string, std::string> labels;
};

host::Result<DescribedNode> describe_node(const Options& options);

// Whether the flags name an API server, and how it is reached.
bool in_cluster(const Options& options);
host::Result<apiclient::Config> describe_api_server(const Options& options);

}  // namespace keelson::agent
