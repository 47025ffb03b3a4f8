#include "agent/pods/environment.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "agent/pods/fields.h"

namespace keelson::pods {
namespace {

using host::Error;
using host::fail;

// IsEnvVarName, relaxed: printable ASCII without '='.
bool is_variable_name(const std::string& name) {
  return !name.empty() && std::ranges::all_of(name, [](unsigned char c) { return c >= 0x20 && c < 0x7f && c != '='; });
}

std::string upper_name(const std::string& name) {
  std::string upper = name;
  for (auto& c : upper) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper;
}

host::Result<void> add_from(const api::Pod& pod, const api::EnvFromSource& source, const Objects& objects,
                            Environment& variables) {
  const auto& namespace_ = pod.metadata.namespace_;
  auto add = [&](const std::string& key, const std::string& value) {
    auto name = source.prefix + key;
    if (is_variable_name(name)) variables[name] = value;
  };
  if (source.config_map_ref) {
    const auto& ref = *source.config_map_ref;
    const auto* map = objects.config_map(namespace_, ref.ref.name);
    if (map != nullptr) {
      for (const auto& [key, value] : map->data) add(key, value);
    } else if (!ref.optional.value_or(false)) {
      return fail(Error::Code::not_found, fmt::format("configmap \"{}\" not found", ref.ref.name));
    }
  }
  if (source.secret_ref) {
    const auto& ref = *source.secret_ref;
    const auto* secret = objects.secret(namespace_, ref.ref.name);
    if (secret != nullptr) {
      for (const auto& [key, value] : secret->data) add(key, value.data);
      for (const auto& [key, value] : secret->string_data) add(key, value);
    } else if (!ref.optional.value_or(false)) {
      return fail(Error::Code::not_found, fmt::format("secret \"{}\" not found", ref.ref.name));
    }
  }
  return {};
}

host::Status add_config_map_key(const api::Pod& pod, const api::EnvVar& variable, const Objects& objects,
                                Environment& variables) {
  const auto& ref = *variable.value_from->config_map_key_ref;
  bool optional = ref.optional.value_or(false);
  const auto* map = objects.config_map(pod.metadata.namespace_, ref.ref.name);
  if (map == nullptr) {
    if (optional) return {};
    return fail(Error::Code::not_found, fmt::format("configmap \"{}\" not found", ref.ref.name));
  }
  auto found = map->data.find(ref.key);
  if (found != map->data.end()) {
    variables[variable.name] = found->second;
  } else if (!optional) {
    return fail(Error::Code::not_found,
                fmt::format("couldn't find key {} in ConfigMap {}/{}", ref.key, pod.metadata.namespace_, ref.ref.name));
  }
  return {};
}

host::Status add_secret_key(const api::Pod& pod, const api::EnvVar& variable, const Objects& objects,
                            Environment& variables) {
  const auto& ref = *variable.value_from->secret_key_ref;
  bool optional = ref.optional.value_or(false);
  const auto* secret = objects.secret(pod.metadata.namespace_, ref.ref.name);
  if (secret == nullptr) {
    if (optional) return {};
    return fail(Error::Code::not_found, fmt::format("secret \"{}\" not found", ref.ref.name));
  }
  auto text = secret->string_data.find(ref.key);
  auto data = secret->data.find(ref.key);
  if (text != secret->string_data.end()) {
    variables[variable.name] = text->second;
  } else if (data != secret->data.end()) {
    variables[variable.name] = data->second.data;
  } else if (!optional) {
    return fail(Error::Code::not_found,
                fmt::format("couldn't find key {} in Secret {}/{}", ref.key, pod.metadata.namespace_, ref.ref.name));
  }
  return {};
}

Environment service_environment(const api::Pod& pod, const Objects& objects) {
  Environment variables;
  bool links = pod.spec.enable_service_links.value_or(true);
  auto in_default = objects.services.find("default");
  if (in_default != objects.services.end()) {
    for (const auto& service : in_default->second) {
      if (service.metadata.name == "kubernetes") add_service_variables(service, variables);
    }
  }
  auto own = objects.services.find(pod.metadata.namespace_);
  if (links && own != objects.services.end()) {
    for (const auto& service : own->second) add_service_variables(service, variables);
  }
  return variables;
}

}  // namespace

std::string expand(const std::string& text, const Environment& variables, const Environment* fallback) {
  auto value_of = [&](const std::string& name) {
    if (auto found = variables.find(name); found != variables.end()) return found->second;
    if (fallback != nullptr) {
      if (auto found = fallback->find(name); found != fallback->end()) return found->second;
    }
    return "$(" + name + ")";
  };
  std::string expanded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      expanded += text[i];
      continue;
    }
    char next = text[i + 1];
    if (next == '$') {
      expanded += '$';
      ++i;
    } else if (auto close = text.find(')', i + 2); next == '(' && close != std::string::npos) {
      expanded += value_of(text.substr(i + 2, close - i - 2));
      i = close;
    } else {
      expanded += '$';
      expanded += next;
      ++i;
    }
  }
  return expanded;
}

void add_service_variables(const api::Service& service, Environment& variables) {
  const auto& ip = service.spec.cluster_ip;
  if (ip.empty() || ip == "None" || service.spec.ports.empty()) return;
  auto name = upper_name(service.metadata.name);
  auto joined = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  const auto& ports = service.spec.ports;
  variables[name + "_SERVICE_HOST"] = ip;
  variables[name + "_SERVICE_PORT"] = std::to_string(ports.front().port);
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto& port = ports[i];
    auto number = std::to_string(port.port);
    if (!port.name.empty()) variables[name + "_SERVICE_PORT_" + upper_name(port.name)] = number;
    auto protocol = port.protocol.empty() ? std::string("TCP") : port.protocol;
    auto lower = protocol;
    for (auto& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto url = fmt::format("{}://{}:{}", lower, joined, number);
    if (i == 0) variables[name + "_PORT"] = url;
    auto prefix = fmt::format("{}_PORT_{}_{}", name, number, upper_name(protocol));
    variables[prefix] = url;
    variables[prefix + "_PROTO"] = lower;
    variables[prefix + "_PORT"] = number;
    variables[prefix + "_ADDR"] = ip;
  }
}

host::Result<Environment> make_environment(const api::Pod& pod, const api::Container& container, const Objects& objects,
                                           const NodeFacts& node, const std::vector<std::string>& pod_ips) {
  Environment variables;
  for (const auto& source : container.env_from) {
    if (auto added = add_from(pod, source, objects, variables); !added) return std::unexpected(added.error());
  }
  auto services = service_environment(pod, objects);
  for (const auto& variable : container.env) {
    if (!variable.value_from) {
      variables[variable.name] = expand(variable.value, variables, &services);
      continue;
    }
    const auto& from = *variable.value_from;
    if (from.field_ref) {
      auto value = field_value(pod, from.field_ref->field_path, node, pod_ips);
      if (!value) return std::unexpected(value.error());
      variables[variable.name] = std::move(*value);
    } else if (from.resource_field_ref) {
      auto value = resource_value(pod, &container, *from.resource_field_ref, node);
      if (!value) return std::unexpected(value.error());
      variables[variable.name] = std::move(*value);
    } else if (from.config_map_key_ref) {
      if (auto added = add_config_map_key(pod, variable, objects, variables); !added)
        return std::unexpected(added.error());
    } else if (from.secret_key_ref) {
      if (auto added = add_secret_key(pod, variable, objects, variables); !added) return std::unexpected(added.error());
    } else {
      return fail(Error::Code::unsupported,
                  fmt::format("env {}: this source of a value is not supported", variable.name));
    }
  }
  variables.insert(services.begin(), services.end());  // those not given keep out of the way
  return variables;
}

}  // namespace keelson::pods
