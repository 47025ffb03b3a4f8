#include "agent/node/node_object.h"

#include <fmt/core.h>

#include <algorithm>

#include "api/resource.h"
#include "api/tree.h"

namespace keelson::node {
namespace {

constexpr const char* kKubernetes = "1.33.0";
constexpr size_t kImagesTold = 50, kNamesTold = 5;

api::Quantity kibibytes(int64_t bytes) { return {fmt::format("{}Ki", bytes / 1024)}; }

// {"a":1,"b":2} from its members.
class JsonObject {
 public:
  void add(std::string_view key, std::string_view value) {
    text_ += text_.empty() ? "{" : ",";
    text_ += api::json_string(key) + ":";
    text_ += value;
  }
  bool empty() const { return text_.empty(); }
  std::string text() const { return empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

}  // namespace

std::string kubernetes_version(const std::string& version) {
  return fmt::format("v{}-keelson.{}", kKubernetes, version);
}

int64_t allocatable_memory(const Facts& facts) { return std::max<int64_t>(0, facts.memory_bytes - kMemoryNeeded); }

api::Node make_node(const Identity& identity, const Facts& facts) {
  api::Node node;
  node.metadata.name = identity.name;
  auto& labels = node.metadata.labels;
  labels = identity.labels;
  labels["kubernetes.io/hostname"] = identity.name;
  for (const auto* prefix : {"kubernetes.io/", "beta.kubernetes.io/"}) {
    labels[fmt::format("{}os", prefix)] = facts.info.operating_system;
    labels[fmt::format("{}arch", prefix)] = facts.info.architecture;
  }
  node.spec.external_id = identity.name;
  node.spec.provider_id = fmt::format("keelson://{}", identity.name);

  auto& status = node.status;
  status.node_info = facts.info;
  status.node_info.container_runtime_version = fmt::format("keelson://{}", identity.version);
  status.node_info.kubelet_version = status.node_info.kube_proxy_version = kubernetes_version(identity.version);
  for (const auto& address : identity.addresses) status.addresses.push_back({"InternalIP", address.to_string()});
  status.addresses.push_back({"Hostname", identity.name});
  status.daemon_endpoints.kubelet_endpoint.port = identity.port;

  auto& capacity = status.capacity;
  capacity["cpu"] = {fmt::format("{}", facts.cpus)};
  capacity["memory"] = kibibytes(facts.memory_bytes);
  capacity["ephemeral-storage"] = kibibytes(facts.disk_bytes);
  capacity["pods"] = {fmt::format("{}", identity.max_pods)};
  int64_t huge = 0;
  for (const auto& [name, bytes] : facts.hugepages) {
    capacity[name] = bytes == 0 ? api::Quantity{"0"} : kibibytes(bytes);
    huge += bytes;
  }
  status.allocatable = capacity;
  // What hugepages have taken is nobody else's.
  status.allocatable["memory"] = kibibytes(std::max<int64_t>(0, allocatable_memory(facts) - huge));
  status.allocatable["ephemeral-storage"] = {fmt::format("{}", facts.disk_bytes / 100 * (100 - kDiskPercentNeeded))};
  return node;
}

std::string adoption_patch(const api::Node& wanted, const api::Node& found) {
  JsonObject labels, spec, patch;
  for (const auto& [key, value] : wanted.metadata.labels) {
    const auto there = found.metadata.labels.find(key);
    if (there == found.metadata.labels.end() || there->second != value) labels.add(key, api::json_string(value));
  }
  if (found.spec.external_id.empty()) spec.add("externalID", api::json_string(wanted.spec.external_id));
  if (found.spec.provider_id.empty()) spec.add("providerID", api::json_string(wanted.spec.provider_id));
  if (!labels.empty()) patch.add("metadata", fmt::format("{{\"labels\":{}}}", labels.text()));
  if (!spec.empty()) patch.add("spec", spec.text());
  return patch.empty() ? std::string() : patch.text();
}

std::string status_patch(const api::NodeStatus& status) {
  // Merged by "type", two InternalIPs would be one: the list is given whole.
  auto rest = status;
  rest.addresses.clear();
  std::string addresses = R"([{"$patch":"replace"})";
  for (const auto& address : status.addresses)
    addresses += fmt::format(R"(,{{"type":{},"address":{}}})", api::json_string(address.type),
                             api::json_string(address.address));
  addresses += "]";
  std::string text = "{";
  api::append_json_fields(text, api::type_of<api::NodeStatus>(), &rest);
  if (text.size() > 1) text += ",";
  return fmt::format("{{\"status\":{}\"addresses\":{}{}}}}}", text, addresses,
                     status.images.empty() ? ",\"images\":null" : "");
}

bool differs(const api::NodeStatus& a, const api::NodeStatus& b) {
  const auto timeless = [](api::NodeStatus status) {
    for (auto& condition : status.conditions) condition.last_heartbeat_time.reset();
    return status;
  };
  return timeless(a) != timeless(b);
}

bool tells(const api::NodeStatus& known, const api::NodeStatus& said) {
  return std::ranges::all_of(said.conditions, [&](const api::NodeCondition& condition) {
    const auto there = std::ranges::find(known.conditions, condition.type, &api::NodeCondition::type);
    return there != known.conditions.end() && there->status == condition.status;
  });
}

std::vector<api::ContainerImage> told_images(const std::vector<api::ImageInfo>& images) {
  std::vector<const api::ImageInfo*> by_size;
  for (const auto& image : images) by_size.push_back(&image);
  std::ranges::stable_sort(by_size, [](const auto* a, const auto* b) { return a->size > b->size; });
  if (by_size.size() > kImagesTold) by_size.resize(kImagesTold);
  std::vector<api::ContainerImage> told;
  for (const auto* image : by_size) {
    api::ContainerImage one;
    for (const auto* names : {&image->digests, &image->tags}) {
      for (const auto& name : *names) {
        if (one.names.size() < kNamesTold) one.names.push_back(name);
      }
    }
    if (one.names.empty()) continue;
    one.size_bytes = static_cast<int64_t>(image->size);
    told.push_back(std::move(one));
  }
  return told;
}

}  // namespace keelson::node
