#pragma once
// What a node can still take: host ports, CPU, memory and the number of pods; and, in a
// cluster, whom its labels and taints let in. As kubelet's predicates, with its reasons. A
// static pod that was refused is tried again when another pod has gone (kubelet would leave
// it Failed; but a pod from a manifest has no controller that would make it anew).

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/pods/objects.h"
#include "api/node.h"
#include "api/pod.h"

namespace keelson::pods {

struct Rejection {
  std::string reason;  // "NodePorts", "OutOfcpu", "OutOfmemory", "OutOfpods", "NodeAffinity", "TaintToleration"
  std::string message;
};

class Admission {
 public:
  explicit Admission(const NodeFacts& node) : node_(node) {}

  // Takes what the pod asks for, or says why it cannot have it. `forced` for pods
  // that run already. Safe to repeat.
  std::optional<Rejection> admit(const api::Pod& pod, bool forced = false);
  void release(const std::string& uid);
  // Until this is called the node has no labels and taints that a pod would be held to.
  void set_node(std::map<std::string, std::string> labels, std::vector<api::Taint> taints);

 private:
  struct Port {
    std::string ip, protocol;
    int32_t number;
  };
  struct Claim {
    std::string pod;  // namespace/name, for the message
    std::vector<Port> ports;
    int64_t cpu_milli, memory_bytes;
  };
  static bool conflicts(const Port& a, const Port& b);
  std::optional<Rejection> out_of_place(const api::Pod& pod) const;

  const NodeFacts& node_;                            // of Pods' settings
  std::map<std::string, Claim> claims_;              // by uid
  std::multimap<int32_t, std::string> port_claims_;  // port number → uid
  int64_t cpu_milli_ = 0, memory_bytes_ = 0;
  std::optional<std::map<std::string, std::string>> labels_;
  std::vector<api::Taint> taints_;
};

}  // namespace keelson::pods
