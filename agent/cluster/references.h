#pragma once
// Which ConfigMaps and Secrets a Pod names: all that a node may read of them. Pure.

#include <compare>
#include <set>
#include <string>

#include "api/pod.h"

namespace keelson::cluster {

struct ConfigRef {
  bool secret = false;
  std::string namespace_, name;
  auto operator<=>(const ConfigRef&) const = default;
};

void add_references(const api::Pod& pod, std::set<ConfigRef>& references);

}  // namespace keelson::cluster
