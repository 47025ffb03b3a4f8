// Objects on their way into the API server: metadata, the object itself, and what an
// update may not change.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr size_t kMostAnnotations = 256 * 1024;  // bytes
constexpr std::string_view kImmutable = "field is immutable";

using NameSyntax = syntax::Complaints (*)(std::string_view);

NameSyntax name_syntax(const AnyObject& object) {
  if (object.get_if<Service>() != nullptr) return syntax::dns1035_label;
  if (object.get_if<Namespace>() != nullptr) return syntax::dns1123_label;
  return syntax::dns1123_subdomain;
}

void validate_name(const AnyObject& object, Findings& findings) {
  const ObjectMeta& metadata = object.metadata();
  const NameSyntax check = name_syntax(object);
  if (!metadata.generate_name.empty()) {
    std::string_view prefix = metadata.generate_name;
    while (prefix.ends_with('-')) prefix.remove_suffix(1);
    findings.invalid("metadata.generateName", metadata.generate_name, check(prefix.empty() ? "-" : prefix));
  }
  if (metadata.name.empty()) {
    findings.required("metadata.name", "name or generateName is required");
  } else {
    findings.invalid("metadata.name", metadata.name, check(metadata.name));
  }
  if (!object.resource().namespaced) {
    if (!metadata.namespace_.empty()) findings.forbidden("metadata.namespace", "not allowed on this type");
  } else if (metadata.namespace_.empty()) {
    findings.required("metadata.namespace");
  } else {
    findings.invalid("metadata.namespace", metadata.namespace_, syntax::dns1123_label(metadata.namespace_));
  }
}

void validate_annotations(const std::map<std::string, std::string>& annotations, Findings& findings) {
  size_t bytes = 0;
  for (const auto& [key, value] : annotations) {
    std::string lower = key;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    findings.invalid("metadata.annotations", key, syntax::qualified_name(lower));
    bytes += key.size() + value.size();
  }
  if (bytes > kMostAnnotations) findings.too_long("metadata.annotations", kMostAnnotations);
}

void validate_owners(const std::vector<OwnerReference>& owners, Findings& findings) {
  const OwnerReference* controller = nullptr;
  for (size_t i = 0; i < owners.size(); ++i) {
    const OwnerReference& owner = owners[i];
    const std::string path = item("metadata.ownerReferences", i);
    if (owner.api_version.empty()) findings.invalid(path + ".apiVersion", "", "version must not be empty");
    if (owner.kind.empty()) findings.invalid(path + ".kind", "", "must not be empty");
    if (owner.name.empty()) findings.invalid(path + ".name", "", "must not be empty");
    if (owner.uid.empty()) findings.invalid(path + ".uid", "", "must not be empty");
    if (owner.kind == "Event" && owner.api_version == "v1") {
      findings.invalid(path, "v1, Kind=Event", "/v1, Kind=Event is disallowed from being an owner");
    }
    if (!owner.controller.value_or(false)) continue;
    if (controller != nullptr) {
      findings.invalid("metadata.ownerReferences", owner.name,
                       fmt::format("Only one reference can have Controller set to true. Found \"true\" in references "
                                   "for {}/{} and {}/{}",
                                   controller->kind, controller->name, owner.kind, owner.name));
    }
    controller = &owner;
  }
}

void validate_finalizers(const std::vector<std::string>& finalizers, Findings& findings) {
  bool orphan = false;
  bool foreground = false;
  for (size_t i = 0; i < finalizers.size(); ++i) {
    const std::string& finalizer = finalizers[i];
    const std::string path = item("metadata.finalizers", i);
    orphan |= finalizer == "orphan";
    foreground |= finalizer == "foregroundDeletion";
    findings.invalid(path, finalizer, syntax::qualified_name(finalizer));
    const bool standard = finalizer == "orphan" || finalizer == "foregroundDeletion" || finalizer == "kubernetes";
    if (!standard && finalizer.find('/') == std::string::npos && syntax::qualified_name(finalizer).empty()) {
      findings.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
    }
  }
  if (orphan && foreground) {
    findings.invalid("metadata.finalizers", "orphan", "finalizer orphan and foregroundDeletion cannot be both set");
  }
}

void validate_metadata_of(const AnyObject& object, Findings& findings) {
  const ObjectMeta& metadata = object.metadata();
  validate_name(object, findings);
  validate_labels(metadata.labels, "metadata.labels", findings);
  validate_annotations(metadata.annotations, findings);
  validate_owners(metadata.owner_references, findings);
  validate_finalizers(metadata.finalizers, findings);
}

void validate_content(const AnyObject& object, Findings& findings) {
  if (const auto* pod = object.get_if<Pod>()) return validate_pod_spec(pod->spec, findings);
  if (const auto* service = object.get_if<Service>()) return validate_service(*service, findings);
  if (const auto* endpoints = object.get_if<Endpoints>()) return validate_endpoints(*endpoints, findings);
  if (const auto* config_map = object.get_if<ConfigMap>()) return validate_config_map(*config_map, findings);
  if (const auto* secret = object.get_if<Secret>()) return validate_secret(*secret, findings);
  if (const auto* node = object.get_if<Node>()) return validate_node(*node, findings);
  if (const auto* event = object.get_if<Event>()) return validate_event(*event, findings);
  if (const auto* slice = object.get_if<EndpointSlice>()) return validate_endpoint_slice(*slice, findings);
  if (const auto* lease = object.get_if<Lease>()) return validate_lease(*lease, findings);
  if (const auto* binding = object.get_if<Binding>()) return validate_binding(*binding, findings);
  if (const auto* controller = object.get_if<ReplicationController>()) {
    return validate_replication_controller(*controller, findings);
  }
}

// --- Updates ---

template <typename T>
void immutable(const std::string& path, const T& next, const T& current, std::string_view shown, Findings& findings) {
  if (!(next == current)) findings.invalid(path, shown, kImmutable);
}

std::string text_of(const std::optional<Time>& time) { return time ? to_string(*time) : "null"; }

void validate_metadata_update(const ObjectMeta& next, const ObjectMeta& current, Findings& findings) {
  if (current.deletion_timestamp) {
    for (const std::string& finalizer : next.finalizers) {
      if (std::find(current.finalizers.begin(), current.finalizers.end(), finalizer) != current.finalizers.end())
        continue;
      findings.forbidden("metadata.finalizers",
                         fmt::format("no new finalizers can be added if the object is being deleted, found new "
                                     "finalizers []string{{\"{}\"}}",
                                     finalizer));
    }
  }
  immutable("metadata.name", next.name, current.name, next.name, findings);
  immutable("metadata.namespace", next.namespace_, current.namespace_, next.namespace_, findings);
  immutable("metadata.uid", next.uid, current.uid, next.uid, findings);
  immutable("metadata.creationTimestamp", next.creation_timestamp, current.creation_timestamp,
            text_of(next.creation_timestamp), findings);
  immutable("metadata.deletionTimestamp", next.deletion_timestamp, current.deletion_timestamp,
            text_of(next.deletion_timestamp), findings);
  if (next.deletion_grace_period_seconds != current.deletion_grace_period_seconds) {
    findings.invalid("metadata.deletionGracePeriodSeconds", next.deletion_grace_period_seconds.value_or(0), kImmutable);
  }
}

// Existing tolerations stay, but for their seconds; new ones may come.
void validate_toleration_update(const PodSpec& next, const PodSpec& current, Findings& findings) {
  for (const Toleration& old : current.tolerations) {
    const bool kept = std::any_of(next.tolerations.begin(), next.tolerations.end(), [&](Toleration toleration) {
      toleration.toleration_seconds = old.toleration_seconds;
      return toleration == old;
    });
    if (kept) continue;
    findings.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
    return;
  }
}

void validate_pod_update(const Pod& next, const Pod& current, Findings& findings) {
  PodSpec allowed = current.spec;  // with all that may change taken from `next`
  for (const auto& [list, to, from] :
       {std::tuple("spec.containers", &allowed.containers, &next.spec.containers),
        std::tuple("spec.initContainers", &allowed.init_containers, &next.spec.init_containers)}) {
    if (to->size() != from->size()) {
      findings.forbidden(list, "pod updates may not add or remove containers");
      return;
    }
    for (size_t i = 0; i < to->size(); ++i) (*to)[i].image = (*from)[i].image;
  }
  const auto old_deadline = current.spec.active_deadline_seconds;
  if (const auto deadline = next.spec.active_deadline_seconds; deadline) {
    if (old_deadline && *old_deadline < *deadline) {
      findings.invalid("spec.activeDeadlineSeconds", *deadline, "must be less than or equal to previous value");
      return;
    }
  } else if (old_deadline) {
    findings.invalid("spec.activeDeadlineSeconds", "null", "must not update from a positive integer to nil value");
    return;
  }
  allowed.active_deadline_seconds = next.spec.active_deadline_seconds;
  if (!current.spec.scheduling_gates.empty() &&
      next.spec.scheduling_gates.size() < current.spec.scheduling_gates.size()) {
    allowed.scheduling_gates = next.spec.scheduling_gates;
  }
  if (current.spec.termination_grace_period_seconds.value_or(0) < 0 &&
      next.spec.termination_grace_period_seconds == int64_t{1}) {
    allowed.termination_grace_period_seconds = 1;
  }
  allowed.tolerations = next.spec.tolerations;
  validate_toleration_update(next.spec, current.spec, findings);
  if (allowed == next.spec) return;
  findings.forbidden("spec",
                     "pod updates may not change fields other than "
                     "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
                     "`spec.tolerations` (only additions to existing tolerations),"
                     "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
}

std::string go_list(const std::vector<std::string>& items) {
  std::string out = "[]string{";
  for (const std::string& text : items) out += fmt::format("{}\"{}\"", out.ends_with('{') ? "" : ", ", text);
  return out + "}";
}

void validate_service_update(const Service& next, const Service& current, Findings& findings) {
  if (next.spec.type == "ExternalName" || current.spec.type == "ExternalName") return;
  const auto& addresses = next.spec.cluster_ips;
  const auto& old = current.spec.cluster_ips;
  if (old.empty()) return;
  if (addresses.empty()) {
    findings.invalid_raw("spec.clusterIPs[0]", go_list(addresses), "primary clusterIP can not be unset");
  } else if (addresses[0] != old[0]) {
    findings.invalid_raw("spec.clusterIPs[0]", go_list(addresses), "may not change once set");
  } else if (old.size() > 1 && addresses.size() > 1 && addresses[1] != old[1]) {
    findings.invalid_raw("spec.clusterIPs[1]", go_list(addresses), "may not change once set");
  }
  if (!old.empty() && !next.spec.ip_families.empty() && !current.spec.ip_families.empty() &&
      next.spec.ip_families[0] != current.spec.ip_families[0]) {
    findings.invalid_raw("spec.ipFamilies[0]", go_list(next.spec.ip_families), "may not change once set");
  }
}

void validate_frozen(bool was_frozen, bool is_frozen, Findings& findings) {
  if (was_frozen && !is_frozen) {
    findings.forbidden("immutable", "field is immutable when `immutable` is set");
  }
}

void validate_config_map_update(const ConfigMap& next, const ConfigMap& current, Findings& findings) {
  if (!current.immutable.value_or(false)) return;
  validate_frozen(true, next.immutable.value_or(false), findings);
  constexpr std::string_view kFrozen = "field is immutable when `immutable` is set";
  if (next.data != current.data) findings.forbidden("data", kFrozen);
  if (next.binary_data != current.binary_data) findings.forbidden("binaryData", kFrozen);
}

void validate_secret_update(const Secret& next, const Secret& current, Findings& findings) {
  immutable("type", next.type, current.type, next.type, findings);
  if (!current.immutable.value_or(false)) return;
  validate_frozen(true, next.immutable.value_or(false), findings);
  if (next.data != current.data) findings.forbidden("data", "field is immutable when `immutable` is set");
}

void validate_node_update(const Node& next, const Node& current, Findings& findings) {
  if (!current.spec.pod_cidrs.empty() && next.spec.pod_cidrs != current.spec.pod_cidrs) {
    findings.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
  }
  if (!current.spec.provider_id.empty() && next.spec.provider_id != current.spec.provider_id) {
    findings.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
  }
}

void validate_lease_update(const Lease& next, const Lease& current, Findings& findings) {
  const auto count = next.spec.lease_transitions;
  if (count && current.spec.lease_transitions && *count < *current.spec.lease_transitions) {
    findings.invalid("spec.leaseTransitions", *count, "must be greater than or equal to the previous value");
  }
}

void validate_content_update(const AnyObject& next, const AnyObject& current, Findings& findings) {
  if (const auto* pod = next.get_if<Pod>()) return validate_pod_update(*pod, *current.get_if<Pod>(), findings);
  if (const auto* service = next.get_if<Service>()) {
    return validate_service_update(*service, *current.get_if<Service>(), findings);
  }
  if (const auto* config_map = next.get_if<ConfigMap>()) {
    return validate_config_map_update(*config_map, *current.get_if<ConfigMap>(), findings);
  }
  if (const auto* secret = next.get_if<Secret>()) {
    return validate_secret_update(*secret, *current.get_if<Secret>(), findings);
  }
  if (const auto* node = next.get_if<Node>()) return validate_node_update(*node, *current.get_if<Node>(), findings);
  if (const auto* lease = next.get_if<Lease>())
    return validate_lease_update(*lease, *current.get_if<Lease>(), findings);
  if (const auto* slice = next.get_if<EndpointSlice>()) {
    immutable("addressType", slice->address_type, current.get_if<EndpointSlice>()->address_type, slice->address_type,
              findings);
  }
}

// The word that begins a message, as StatusCause names it.
std::string_view cause_of(std::string_view message) {
  static constexpr std::pair<std::string_view, std::string_view> kCauses[] = {
      {"Required value", "FieldValueRequired"},
      {"Invalid value", "FieldValueInvalid"},
      {"Unsupported value", "FieldValueNotSupported"},
      {"Duplicate value", "FieldValueDuplicate"},
      {"Not found", "FieldValueNotFound"},
      {"Forbidden", "FieldValueForbidden"},
      {"Too long", "FieldValueTooLong"},
      {"Too many", "FieldValueTooMany"}};
  for (const auto& [start, reason] : kCauses) {
    if (message.starts_with(start)) return reason;
  }
  return "FieldValueInvalid";
}

}  // namespace

std::vector<FieldError> validate_create(const AnyObject& object) {
  Findings findings;
  validate_metadata_of(object, findings);
  validate_content(object, findings);
  return findings.take();
}

std::vector<FieldError> validate_update(const AnyObject& next, const AnyObject& current) {
  Findings findings;
  validate_metadata_update(next.metadata(), current.metadata(), findings);
  validate_metadata_of(next, findings);
  validate_content_update(next, current, findings);
  validate_content(next, findings);
  return findings.take();
}

std::vector<FieldError> validate_status_update(const AnyObject& next, const AnyObject& current) {
  Findings findings;
  validate_metadata_update(next.metadata(), current.metadata(), findings);
  validate_metadata_of(next, findings);
  if (const auto* node = next.get_if<Node>()) validate_node(*node, findings);
  return findings.take();
}

Status invalid_status(const Resource& resource, std::string_view name, const std::vector<FieldError>& errors) {
  Status status;
  status.status = "Failure";
  status.reason = "Invalid";
  status.code = 422;
  status.details = StatusDetails{.name = std::string(name),
                                 .group = std::string(resource.group),
                                 .kind = std::string(resource.kind),
                                 .uid = {},
                                 .causes = {},
                                 .retry_after_seconds = {}};
  std::string list;
  for (const FieldError& error : errors) {
    if (!list.empty()) list += ", ";
    list += fmt::format("{}: {}", error.field, error.message);
    status.details->causes.push_back({std::string(cause_of(error.message)), error.message, error.field});
  }
  if (errors.size() > 1) list = "[" + list + "]";
  const std::string kind =
      resource.group.empty() ? std::string(resource.kind) : fmt::format("{}.{}", resource.kind, resource.group);
  status.message = fmt::format("{} \"{}\" is invalid: {}", kind, name, list);
  return status;
}

}  // namespace keelson::api
