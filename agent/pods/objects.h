#pragma once
// What pods refer to: ConfigMaps, Secrets and Services of this node, by name, and
// the facts about the node itself. Plain data on the loop's thread.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "api/config.h"
#include "api/service.h"

namespace keelson::pods {

using NamespacedName = std::pair<std::string, std::string>;

struct Objects {
  std::map<NamespacedName, api::ConfigMap> config_maps;
  std::map<NamespacedName, api::Secret> secrets;
  std::map<std::string, std::vector<api::Service>> services;  // by namespace, with their cluster IPs

  const api::ConfigMap* config_map(const std::string& namespace_, const std::string& name) const {
    auto found = config_maps.find({namespace_, name});
    return found == config_maps.end() ? nullptr : &found->second;
  }
  const api::Secret* secret(const std::string& namespace_, const std::string& name) const {
    auto found = secrets.find({namespace_, name});
    return found == secrets.end() ? nullptr : &found->second;
  }
};

struct NodeFacts {
  std::string name;
  std::vector<std::string> ips;  // primary first
  int64_t cpu_milli = 0;         // what pods may have; 0: not limited
  int64_t memory_bytes = 0;
  int64_t pods = 0;
};

}  // namespace keelson::pods
