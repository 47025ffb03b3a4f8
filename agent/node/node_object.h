#pragma once
// The Node object that stands for this machine, and the patches that bring an existing one
// up to it. Pure.

#include <map>
#include <string>
#include <vector>

#include "agent/node/conditions.h"
#include "agent/node/facts.h"
#include "api/cri.h"
#include "api/ip.h"
#include "api/node.h"

namespace keelson::node {

struct Identity {
  std::string name;
  std::vector<api::IpAddress> addresses;  // primary first
  std::map<std::string, std::string> labels;
  int32_t port = 0;  // of the agent's HTTP API; 0: not to be reached from elsewhere
  int64_t max_pods = 110;
  std::string version;  // "0.1.0"
};

// The version of Kubernetes that this stands for, as semver: "v1.33.0-keelson.0.1.0".
std::string kubernetes_version(const std::string& version);

// What Pods may have of it; the rest keeps the machine alive. As kubelet's defaults.
int64_t allocatable_memory(const Facts& facts);

// With its status but for the conditions.
api::Node make_node(const Identity& identity, const Facts& facts);

// For nodes/<name>: our labels, externalID and providerID onto a Node that is there
// already; what others have put there stays. "" when nothing is to be done. The pod CIDR is
// never ours to write: a node that chose it could draw another's traffic.
std::string adoption_patch(const api::Node& wanted, const api::Node& found);

// For nodes/<name>/status: all of it that is ours (strategic: conditions of others stay).
std::string status_patch(const api::NodeStatus& status);

// Whether something but the heartbeat times differs.
bool differs(const api::NodeStatus& a, const api::NodeStatus& b);

// Whether the API has our conditions as we have said them.
bool tells(const api::NodeStatus& known, const api::NodeStatus& said);

// The largest fifty, each by at most five names, as kubelet tells them.
std::vector<api::ContainerImage> told_images(const std::vector<api::ImageInfo>& images);

}  // namespace keelson::node
