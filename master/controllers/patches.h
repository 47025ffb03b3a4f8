#pragma once
// Patches as text: what the controllers change of objects that others write as well. Those
// of a Node carry its version, so that a newer one is not overwritten by lists.

#include <string>
#include <string_view>
#include <vector>

#include "api/node.h"

namespace keelson::controllers {

std::string node_conditions_patch(const api::Node& node, const std::vector<api::NodeCondition>& conditions);
std::string node_taints_patch(const api::Node& node, const std::vector<api::Taint>& taints);
std::string node_cidrs_patch(const std::vector<std::string>& cidrs);
// Without one of its finalizers.
std::string finalizers_patch(const api::ObjectMeta& metadata, std::string_view without);
// Strategic: without these owners.
std::string drop_owners_patch(std::string_view uid, const std::vector<std::string>& owners);
// Strategic: these owners no longer wait for it.
std::string unblock_owners_patch(std::string_view uid, const std::vector<std::string>& owners);

}  // namespace keelson::controllers
