#include "master/controllers/patches.h"

#include <fmt/core.h>

#include "api/tree.h"

namespace keelson::controllers {

namespace {

// {"name":value,…}; absent and empty ones are left out.
class JsonObject {
 public:
  void text(std::string_view name, std::string_view value) {
    if (!value.empty()) raw(name, api::json_string(value));
  }
  void time(std::string_view name, const std::optional<api::Time>& value) {
    if (value) raw(name, api::json_string(api::to_string(*value)));
  }
  void raw(std::string_view name, std::string_view value) {
    out_ += fmt::format("{}{}:{}", out_.size() > 1 ? "," : "", api::json_string(name), value);
  }
  std::string take() { return std::move(out_) + "}"; }

 private:
  std::string out_ = "{";
};

std::string list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) out += (out.size() > 1 ? "," : "") + item;
  return out + "]";
}

std::string versioned(const api::ObjectMeta& metadata, std::string_view rest) {
  return fmt::format(R"({{"metadata":{{"uid":{},"resourceVersion":{}}},{}}})", api::json_string(metadata.uid),
                     api::json_string(metadata.resource_version), rest);
}

}  // namespace

std::string node_conditions_patch(const api::Node& node, const std::vector<api::NodeCondition>& conditions) {
  std::vector<std::string> items;
  for (const api::NodeCondition& condition : conditions) {
    JsonObject object;
    object.text("type", condition.type);
    object.text("status", condition.status);
    object.time("lastHeartbeatTime", condition.last_heartbeat_time);
    object.time("lastTransitionTime", condition.last_transition_time);
    object.text("reason", condition.reason);
    object.text("message", condition.message);
    items.push_back(object.take());
  }
  return versioned(node.metadata, fmt::format(R"("status":{{"conditions":{}}})", list(items)));
}

std::string node_taints_patch(const api::Node& node, const std::vector<api::Taint>& taints) {
  std::vector<std::string> items;
  for (const api::Taint& taint : taints) {
    JsonObject object;
    object.text("key", taint.key);
    object.text("value", taint.value);
    object.text("effect", taint.effect);
    object.time("timeAdded", taint.time_added);
    items.push_back(object.take());
  }
  return versioned(node.metadata, fmt::format(R"("spec":{{"taints":{}}})", items.empty() ? "null" : list(items)));
}

std::string node_cidrs_patch(const std::vector<std::string>& cidrs) {
  std::vector<std::string> items;
  for (const std::string& cidr : cidrs) items.push_back(api::json_string(cidr));
  return fmt::format(R"({{"spec":{{"podCIDR":{},"podCIDRs":{}}}}})", api::json_string(cidrs.front()), list(items));
}

std::string finalizers_patch(const api::ObjectMeta& metadata, std::string_view without) {
  std::vector<std::string> items;
  for (const std::string& finalizer : metadata.finalizers) {
    if (finalizer != without) items.push_back(api::json_string(finalizer));
  }
  return fmt::format(R"({{"metadata":{{"uid":{},"resourceVersion":{},"finalizers":{}}}}})",
                     api::json_string(metadata.uid), api::json_string(metadata.resource_version),
                     items.empty() ? "null" : list(items));
}

namespace {

// A member of each of these owners' references.
std::string owners_patch(std::string_view uid, const std::vector<std::string>& owners, std::string_view member) {
  std::vector<std::string> items;
  for (const std::string& owner : owners) {
    items.push_back(fmt::format(R"({{{},"uid":{}}})", member, api::json_string(owner)));
  }
  return fmt::format(R"({{"metadata":{{"uid":{},"ownerReferences":{}}}}})", api::json_string(uid), list(items));
}

}  // namespace

std::string drop_owners_patch(std::string_view uid, const std::vector<std::string>& owners) {
  return owners_patch(uid, owners, R"("$patch":"delete")");
}

std::string unblock_owners_patch(std::string_view uid, const std::vector<std::string>& owners) {
  return owners_patch(uid, owners, R"("blockOwnerDeletion":false)");
}

}  // namespace keelson::controllers
