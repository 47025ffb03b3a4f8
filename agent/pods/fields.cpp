#include "agent/pods/fields.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace keelson::pods {
namespace {

// strconv.Quote, for the values of labels and annotations.
std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (unsigned char c : text) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\t':
        quoted += "\\t";
        break;
      case '\r':
        quoted += "\\r";
        break;
      default:
        if (c < 0x20 || c == 0x7f) {
          quoted += fmt::format("\\x{:02x}", c);
        } else {
          quoted += static_cast<char>(c);
        }
    }
  }
  return quoted + '"';
}

std::string format_map(const std::map<std::string, std::string>& map) {
  std::string text;
  for (const auto& [key, value] : map) {
    if (!text.empty()) text += '\n';
    text += key + '=' + quote(value);
  }
  return text;
}

// The key of "metadata.labels['key']" when `path` is one of `field`.
std::optional<std::string> subscript(const std::string& path, const std::string& field) {
  auto prefix = field + "['";
  if (!path.starts_with(prefix) || !path.ends_with("']") || path.size() < prefix.size() + 2) return std::nullopt;
  return path.substr(prefix.size(), path.size() - prefix.size() - 2);
}

std::string value_or_empty(const std::map<std::string, std::string>& map, const std::string& key) {
  auto found = map.find(key);
  return found == map.end() ? "" : found->second;
}

}  // namespace

const api::Container* find_container(const api::Pod& pod, const std::string& name) {
  for (const auto* list : {&pod.spec.containers, &pod.spec.init_containers}) {
    for (const auto& container : *list) {
      if (container.name == name) return &container;
    }
  }
  return nullptr;
}

host::Result<std::string> field_value(const api::Pod& pod, const std::string& path, const NodeFacts& node,
                                      const std::vector<std::string>& pod_ips) {
  const auto& metadata = pod.metadata;
  if (path == "metadata.name") return metadata.name;
  if (path == "metadata.namespace") return metadata.namespace_;
  if (path == "metadata.uid") return metadata.uid;
  if (path == "metadata.labels") return format_map(metadata.labels);
  if (path == "metadata.annotations") return format_map(metadata.annotations);
  if (auto key = subscript(path, "metadata.labels")) return value_or_empty(metadata.labels, *key);
  if (auto key = subscript(path, "metadata.annotations")) return value_or_empty(metadata.annotations, *key);
  if (path == "spec.nodeName") return pod.spec.node_name.empty() ? node.name : pod.spec.node_name;
  if (path == "spec.serviceAccountName") return pod.spec.service_account_name;
  if (path == "status.hostIP") return node.ips.empty() ? "" : node.ips.front();
  if (path == "status.hostIPs") return fmt::format("{}", fmt::join(node.ips, ","));
  if (path == "status.podIP") return pod_ips.empty() ? "" : pod_ips.front();
  if (path == "status.podIPs") return fmt::format("{}", fmt::join(pod_ips, ","));
  return host::fail(host::Error::Code::invalid, fmt::format("unsupported fieldPath: {}", path));
}

host::Result<std::string> resource_value(const api::Pod& pod, const api::Container* container,
                                         const api::ResourceFieldSelector& selector, const NodeFacts& node) {
  if (!selector.container_name.empty()) {
    container = find_container(pod, selector.container_name);
    if (container == nullptr) {
      return host::fail(host::Error::Code::not_found, fmt::format("container {} not found", selector.container_name));
    }
  }
  if (container == nullptr) return host::fail(host::Error::Code::invalid, "resourceFieldRef names no container");
  auto dot = selector.resource.find('.');
  auto kind = selector.resource.substr(0, dot);
  auto name = dot == std::string::npos ? "" : selector.resource.substr(dot + 1);
  if ((kind != "limits" && kind != "requests") || name.empty()) {
    return host::fail(host::Error::Code::invalid, fmt::format("unsupported container resource: {}", selector.resource));
  }
  const auto& quantities = kind == "limits" ? container->resources.limits : container->resources.requests;
  auto found = quantities.find(name);
  bool given = found != quantities.end();
  bool cpu = name == "cpu";
  int64_t amount = 0;  // thousandths of cores, or units
  if (given) {
    amount = cpu ? found->second.milli_value() : found->second.value();
  } else if (kind == "limits") {
    amount = cpu ? node.cpu_milli : name == "memory" ? node.memory_bytes : 0;
  }
  bool divided = selector.divisor && !selector.divisor->text.empty() && selector.divisor->text != "0";
  int64_t divisor = cpu ? 1000 : 1;
  if (divided) divisor = cpu ? selector.divisor->milli_value() : selector.divisor->value();
  divisor = std::max<int64_t>(divisor, 1);
  return std::to_string(amount / divisor + (amount % divisor != 0 ? 1 : 0));
}

}  // namespace keelson::pods
