// ConfigMaps and Secrets.
#include <fmt/core.h>

#include "api/syntax.h"
#include "api/tree.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr size_t kMostBytes = size_t{1} << 20;  // of all values together

void require_key(const Secret& secret, const std::string& key, Findings& findings) {
  if (!secret.data.contains(key)) findings.required(entry("data", key));
}

// Registry credentials: never shown in a message.
void require_json(const Secret& secret, const std::string& key, Findings& findings) {
  const auto found = secret.data.find(key);
  if (found == secret.data.end()) {
    findings.required(entry("data", key));
    return;
  }
  Tree tree;
  size_t used = 0;
  const std::string_view text = found->second.data;
  if (auto root = read_json(text, tree, 1, used); !root) {
    findings.invalid(entry("data", key), "<secret contents redacted>", "invalid JSON: " + root.error().message);
  } else if (text.find_first_not_of(" \t\r\n", used) != std::string_view::npos) {
    findings.invalid(entry("data", key), "<secret contents redacted>", "more text behind the JSON value");
  }
}

}  // namespace

void validate_config_map(const ConfigMap& config_map, Findings& findings) {
  size_t bytes = 0;
  for (const auto& [key, value] : config_map.data) {
    findings.invalid(entry("data", key), key, syntax::config_key(key));
    if (config_map.binary_data.contains(key)) {
      findings.invalid(entry("data", key), key, "duplicate of key present in binaryData");
    }
    bytes += value.size();
  }
  for (const auto& [key, value] : config_map.binary_data) {
    findings.invalid(entry("binaryData", key), key, syntax::config_key(key));
    bytes += value.data.size();
  }
  if (bytes > kMostBytes) findings.too_long("data", kMostBytes);
}

void validate_secret(const Secret& secret, Findings& findings) {
  size_t bytes = 0;
  for (const auto& [key, value] : secret.data) {
    findings.invalid(entry("data", key), key, syntax::config_key(key));
    bytes += value.data.size();
  }
  if (bytes > kMostBytes) findings.too_long("data", kMostBytes);
  if (secret.type == "kubernetes.io/service-account-token") {
    static const std::string kName = "kubernetes.io/service-account.name";
    const auto name = secret.metadata.annotations.find(kName);
    if (name == secret.metadata.annotations.end() || name->second.empty()) {
      findings.required(entry("metadata.annotations", kName));
    }
  } else if (secret.type == "kubernetes.io/dockercfg") {
    require_json(secret, ".dockercfg", findings);
  } else if (secret.type == "kubernetes.io/dockerconfigjson") {
    require_json(secret, ".dockerconfigjson", findings);
  } else if (secret.type == "kubernetes.io/basic-auth") {
    if (!secret.data.contains("username") && !secret.data.contains("password")) {
      findings.required(entry("data", "username"));
      findings.required(entry("data", "password"));
    }
  } else if (secret.type == "kubernetes.io/ssh-auth") {
    require_key(secret, "ssh-privatekey", findings);
  } else if (secret.type == "kubernetes.io/tls") {
    require_key(secret, "tls.crt", findings);
    require_key(secret, "tls.key", findings);
  }
}

}  // namespace keelson::api
