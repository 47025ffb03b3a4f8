#include "api/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr size_t kMostAnnotationBytes = 256 * 1024;
constexpr int64_t kLargestId = 2'147'483'647;

void validate_metadata(const ObjectMeta& metadata, syntax::Complaints (*name_syntax)(std::string_view),
                       Findings& findings) {
  if (metadata.name.empty()) {
    findings.required("metadata.name",
                      metadata.generate_name.empty() ? "" : "generateName needs an API server that makes up the rest");
  } else {
    findings.invalid("metadata.name", metadata.name, name_syntax(metadata.name));
  }
  if (metadata.namespace_.empty()) {
    findings.required("metadata.namespace");
  } else {
    findings.invalid("metadata.namespace", metadata.namespace_, syntax::dns1123_label(metadata.namespace_));
  }
  validate_labels(metadata.labels, "metadata.labels", findings);
  size_t bytes = 0;
  for (const auto& [key, value] : metadata.annotations) {
    std::string lower = key;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    findings.invalid("metadata.annotations", key, syntax::qualified_name(lower));
    bytes += key.size() + value.size();
  }
  if (bytes > kMostAnnotationBytes) findings.too_long("metadata.annotations", kMostAnnotationBytes);
}

void validate(const Pod& pod, Findings& findings) {
  validate_metadata(pod.metadata, syntax::dns1123_subdomain, findings);
  validate_pod_spec(pod.spec, findings);
}
void validate(const Service& service, Findings& findings) {
  validate_metadata(service.metadata, syntax::dns1035_label, findings);
  validate_service(service, findings);
}
void validate(const Endpoints& endpoints, Findings& findings) {
  validate_metadata(endpoints.metadata, syntax::dns1123_subdomain, findings);
  validate_endpoints(endpoints, findings);
}
void validate(const ConfigMap& config_map, Findings& findings) {
  validate_metadata(config_map.metadata, syntax::dns1123_subdomain, findings);
  validate_config_map(config_map, findings);
}
void validate(const Secret& secret, Findings& findings) {
  validate_metadata(secret.metadata, syntax::dns1123_subdomain, findings);
  validate_secret(secret, findings);
}

}  // namespace

std::vector<FieldError> validate(const Object& object) {
  Findings findings;
  std::visit([&](const auto& typed) { validate(typed, findings); }, object);
  return findings.take();
}

void validate_labels(const std::map<std::string, std::string>& labels, const std::string& path, Findings& findings) {
  for (const auto& [key, value] : labels) {
    findings.invalid(path, key, syntax::qualified_name(key));
    findings.invalid(path, value, syntax::label_value(value));
  }
}

void validate_label_selector(const LabelSelector& selector, const std::string& path, Findings& findings) {
  validate_labels(selector.match_labels, path + ".matchLabels", findings);
  for (size_t i = 0; i < selector.match_expressions.size(); ++i) {
    const LabelSelectorRequirement& requirement = selector.match_expressions[i];
    const std::string here = item(path + ".matchExpressions", i);
    const bool lists = requirement.operator_ == "In" || requirement.operator_ == "NotIn";
    const bool asks = requirement.operator_ == "Exists" || requirement.operator_ == "DoesNotExist";
    if (lists && requirement.values.empty()) {
      findings.required(here + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (asks && !requirement.values.empty()) {
      findings.forbidden(here + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (!lists && !asks) {
      findings.invalid(here + ".operator", requirement.operator_, "not a valid selector operator");
    }
    findings.invalid(here + ".key", requirement.key, syntax::qualified_name(requirement.key));
    for (size_t v = 0; v < requirement.values.size(); ++v) {
      findings.invalid(item(here + ".values", v), requirement.values[v], syntax::label_value(requirement.values[v]));
    }
  }
}

void validate_port(const IntOrString& port, const std::string& path, Findings& findings) {
  if (port.is_string) {
    findings.invalid(path, port.text, syntax::port_name(port.text));
  } else {
    for (const std::string& complaint : syntax::port_number(port.number))
      findings.invalid(path, port.number, complaint);
  }
}

void validate_file_mode(const std::optional<int32_t>& mode, const std::string& path, Findings& findings) {
  if (mode && (*mode < 0 || *mode > 0777)) {
    findings.invalid(path, *mode, "must be a number between 0 and 0777 (octal), both inclusive");
  }
}

void validate_id(const std::optional<int64_t>& id, const std::string& path, Findings& findings) {
  if (id && (*id < 0 || *id > kLargestId)) {
    findings.invalid(path, *id, "must be between 0 and 2147483647, inclusive");
  }
}

void validate_choice(std::string_view value, std::initializer_list<std::string_view> supported, const std::string& path,
                     Findings& findings) {
  if (value.empty() || std::find(supported.begin(), supported.end(), value) != supported.end()) return;
  findings.unsupported(path, value, supported);
}

}  // namespace keelson::api
