// The pod as a whole: its identity, network, users and lifetime.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr int64_t kLongestDeadline = 2'147'483'647;  // seconds
constexpr size_t kMostNameservers = 3;
constexpr size_t kMostSearches = 32;
constexpr size_t kMostSearchBytes = 2048;

// [a-z0-9]([-_a-z0-9]*[a-z0-9])? parts, separated by dots or slashes
bool is_sysctl_name(std::string_view name) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > 253) return false;
  for (;;) {
    const size_t end = std::min(name.find_first_of("./"), name.size());
    const std::string_view part = name.substr(0, end);
    if (part.empty() || !alnum(part.front()) || !alnum(part.back())) return false;
    if (!std::all_of(part.begin(), part.end(), [&](char c) { return alnum(c) || c == '-' || c == '_'; })) return false;
    if (end == name.size()) return true;
    name.remove_prefix(end + 1);
  }
}

void validate_sysctls(const PodSpec& spec, const std::string& path, Findings& findings) {
  std::set<std::string> seen;
  const auto& sysctls = spec.security_context->sysctls;
  for (size_t i = 0; i < sysctls.size(); ++i) {
    const std::string here = item(path, i);
    std::string name = sysctls[i].name;
    if (name.empty()) {
      findings.required(here + ".name");
      continue;
    }
    if (!is_sysctl_name(name)) {
      findings.invalid(here + ".name", name,
                       "must have at most 253 characters and match regex "
                       "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    }
    std::replace(name.begin(), name.end(), '/', '.');
    if (!seen.insert(name).second) findings.duplicate(here + ".name", sysctls[i].name);
    if (spec.host_network.value_or(false) && name.starts_with("net.")) {
      findings.invalid(here + ".name", name, "may not be set when `hostNetwork` is true: it would change the host's");
    }
    const bool ipc = name.starts_with("kernel.shm") || name.starts_with("kernel.msg") || name == "kernel.sem" ||
                     name.starts_with("fs.mqueue.");
    if (spec.host_ipc.value_or(false) && ipc) {
      findings.invalid(here + ".name", name, "may not be set when `hostIPC` is true: it would change the host's");
    }
  }
}

void validate_security_context(const PodSpec& spec, Findings& findings) {
  const std::string path = "spec.securityContext";
  const bool host_pid = spec.host_pid.value_or(false);
  if (host_pid && spec.share_process_namespace.value_or(false)) {
    findings.invalid("spec.shareProcessNamespace", "true", "ShareProcessNamespace and HostPID cannot both be enabled");
  }
  if (!spec.host_users.value_or(true)) {
    constexpr std::string_view kOwnUsers = "when `hostUsers` is false";
    if (spec.host_network.value_or(false)) findings.forbidden("spec.hostNetwork", kOwnUsers);
    if (host_pid) findings.forbidden("spec.hostPID", kOwnUsers);
    if (spec.host_ipc.value_or(false)) findings.forbidden("spec.hostIPC", kOwnUsers);
  }
  if (!spec.security_context) return;
  const PodSecurityContext& context = *spec.security_context;
  validate_id(context.run_as_user, path + ".runAsUser", findings);
  validate_id(context.run_as_group, path + ".runAsGroup", findings);
  validate_id(context.fs_group, path + ".fsGroup", findings);
  for (size_t i = 0; i < context.supplemental_groups.size(); ++i) {
    validate_id(context.supplemental_groups[i], item(path + ".supplementalGroups", i), findings);
  }
  validate_choice(context.supplemental_groups_policy, {"Merge", "Strict"}, path + ".supplementalGroupsPolicy",
                  findings);
  validate_choice(context.fs_group_change_policy, {"Always", "OnRootMismatch"}, path + ".fsGroupChangePolicy",
                  findings);
  validate_choice(context.se_linux_change_policy, {"MountOption", "Recursive"}, path + ".seLinuxChangePolicy",
                  findings);
  validate_seccomp(context.seccomp_profile, path + ".seccompProfile", findings);
  validate_apparmor(context.app_armor_profile, path + ".appArmorProfile", findings);
  validate_sysctls(spec, path + ".sysctls", findings);
}

void validate_dns(const PodSpec& spec, Findings& findings) {
  if (spec.dns_policy.empty()) findings.required("spec.dnsPolicy");
  validate_choice(spec.dns_policy, {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}, "spec.dnsPolicy",
                  findings);
  const std::string path = "spec.dnsConfig";
  if (spec.dns_policy == "None") {
    if (!spec.dns_config) {
      return findings.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
    }
    if (spec.dns_config->nameservers.empty()) {
      findings.required(path + ".nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
  }
  if (!spec.dns_config) return;
  const PodDNSConfig& config = *spec.dns_config;
  if (config.nameservers.size() > kMostNameservers) {
    findings.invalid(path + ".nameservers", static_cast<int64_t>(config.nameservers.size()),
                     fmt::format("must not have more than {} nameservers", kMostNameservers));
  }
  for (size_t i = 0; i < config.nameservers.size(); ++i) {
    findings.invalid(item(path + ".nameservers", i), config.nameservers[i], syntax::ip_address(config.nameservers[i]));
  }
  if (config.searches.size() > kMostSearches) {
    findings.invalid(path + ".searches", static_cast<int64_t>(config.searches.size()),
                     fmt::format("must not have more than {} search paths", kMostSearches));
  }
  size_t bytes = 0;
  for (size_t i = 0; i < config.searches.size(); ++i) {
    std::string_view search = config.searches[i];
    bytes += search.size() + 1;
    // "." alone asks for no search; parts may start with an underscore (RFC 2782).
    if (search == ".") continue;
    if (search.ends_with('.')) search.remove_suffix(1);
    std::string plain(search);
    std::replace(plain.begin(), plain.end(), '_', 'a');
    findings.invalid(item(path + ".searches", i), config.searches[i], syntax::dns1123_subdomain(plain));
  }
  if (bytes > kMostSearchBytes + 1) {
    findings.invalid(
        path + ".searches", static_cast<int64_t>(bytes - 1),
        fmt::format("must not have more than {} characters (including spaces) in the search list", kMostSearchBytes));
  }
  for (size_t i = 0; i < config.options.size(); ++i) {
    if (config.options[i].name.empty()) findings.required(item(path + ".options", i) + ".name");
  }
}

void validate_names(const PodSpec& spec, Findings& findings) {
  const auto label = [&](const std::string& value, const char* path) {
    if (!value.empty()) findings.invalid(path, value, syntax::dns1123_label(value));
  };
  const auto subdomain = [&](const std::string& value, const char* path) {
    if (!value.empty()) findings.invalid(path, value, syntax::dns1123_subdomain(value));
  };
  label(spec.hostname, "spec.hostname");
  label(spec.subdomain, "spec.subdomain");
  subdomain(spec.node_name, "spec.nodeName");
  subdomain(spec.service_account_name, "spec.serviceAccountName");
  subdomain(spec.priority_class_name, "spec.priorityClassName");
  subdomain(spec.runtime_class_name, "spec.runtimeClassName");
  if (!spec.hostname_override.empty()) {
    constexpr size_t kLongestHostname = 64;  // sethostname(2)
    subdomain(spec.hostname_override, "spec.hostnameOverride");
    if (spec.hostname_override.size() > kLongestHostname) findings.too_long("spec.hostnameOverride", kLongestHostname);
    if (spec.host_network.value_or(false)) {
      findings.forbidden("spec.hostnameOverride", "may not be set when `hostNetwork` is true");
    }
  }
  for (size_t i = 0; i < spec.image_pull_secrets.size(); ++i) {
    if (spec.image_pull_secrets[i].name.empty()) findings.required(item("spec.imagePullSecrets", i) + ".name");
  }
  for (size_t i = 0; i < spec.host_aliases.size(); ++i) {
    const HostAlias& alias = spec.host_aliases[i];
    const std::string here = item("spec.hostAliases", i);
    findings.invalid(here + ".ip", alias.ip, syntax::ip_address(alias.ip));
    for (size_t n = 0; n < alias.hostnames.size(); ++n) {
      findings.invalid(item(here + ".hostnames", n), alias.hostnames[n], syntax::dns1123_subdomain(alias.hostnames[n]));
    }
  }
}

void validate_toleration(const Toleration& toleration, const std::string& path, Findings& findings) {
  if (!toleration.key.empty()) findings.invalid(path + ".key", toleration.key, syntax::qualified_name(toleration.key));
  if (toleration.key.empty() && toleration.operator_ != "Exists") {
    findings.invalid(path + ".operator", toleration.operator_,
                     "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
  }
  validate_choice(toleration.operator_, {"Equal", "Exists", "Gt", "Lt"}, path + ".operator", findings);
  if (toleration.operator_ == "Exists" && !toleration.value.empty()) {
    findings.invalid(path + ".operator", toleration.value, "value must be empty when `operator` is 'Exists'");
  }
  validate_choice(toleration.effect, {"NoExecute", "NoSchedule", "PreferNoSchedule"}, path + ".effect", findings);
  if (toleration.toleration_seconds && toleration.effect != "NoExecute") {
    findings.invalid(path + ".effect", toleration.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
  }
}

// What only a scheduler acts on.
void validate_placement(const PodSpec& spec, Findings& findings) {
  validate_labels(spec.node_selector, "spec.nodeSelector", findings);
  for (size_t i = 0; i < spec.tolerations.size(); ++i) {
    validate_toleration(spec.tolerations[i], item("spec.tolerations", i), findings);
  }
  for (size_t i = 0; i < spec.readiness_gates.size(); ++i) {
    const std::string& type = spec.readiness_gates[i].condition_type;
    findings.invalid(item("spec.readinessGates", i) + ".conditionType", type, syntax::qualified_name(type));
  }
  for (size_t i = 0; i < spec.topology_spread_constraints.size(); ++i) {
    const TopologySpreadConstraint& constraint = spec.topology_spread_constraints[i];
    const std::string here = item("spec.topologySpreadConstraints", i);
    if (constraint.max_skew <= 0) findings.invalid(here + ".maxSkew", constraint.max_skew, "must be greater than zero");
    if (constraint.topology_key.empty()) findings.required(here + ".topologyKey", "can not be empty");
    if (constraint.when_unsatisfiable.empty()) findings.required(here + ".whenUnsatisfiable");
    validate_choice(constraint.when_unsatisfiable, {"DoNotSchedule", "ScheduleAnyway"}, here + ".whenUnsatisfiable",
                    findings);
    if (constraint.label_selector) {
      validate_label_selector(*constraint.label_selector, here + ".labelSelector", findings);
    }
  }
  validate_choice(spec.preemption_policy, {"Never", "PreemptLowerPriority"}, "spec.preemptionPolicy", findings);
}

}  // namespace

void validate_seccomp(const Box<SeccompProfile>& profile, const std::string& path, Findings& findings) {
  if (!profile) return;
  if (profile->type.empty()) findings.required(path + ".type");
  validate_choice(profile->type, {"Localhost", "RuntimeDefault", "Unconfined"}, path + ".type", findings);
  if (profile->type == "Localhost") {
    if (profile->localhost_profile.empty()) {
      findings.required(path + ".localhostProfile", "must be set when seccomp type is Localhost");
    }
    findings.invalid(path + ".localhostProfile", profile->localhost_profile,
                     syntax::path_below(profile->localhost_profile));
  } else if (!profile->localhost_profile.empty()) {
    findings.invalid(path + ".localhostProfile", profile->localhost_profile,
                     "can only be set when seccomp type is Localhost");
  }
}

void validate_apparmor(const Box<AppArmorProfile>& profile, const std::string& path, Findings& findings) {
  if (!profile) return;
  if (profile->type.empty()) findings.required(path + ".type");
  validate_choice(profile->type, {"Localhost", "RuntimeDefault", "Unconfined"}, path + ".type", findings);
  if (profile->type == "Localhost" && profile->localhost_profile.empty()) {
    findings.required(path + ".localhostProfile", "must be set when AppArmor type is Localhost");
  } else if (profile->type != "Localhost" && !profile->localhost_profile.empty()) {
    findings.invalid(path + ".localhostProfile", profile->localhost_profile,
                     "can only be set when AppArmor type is Localhost");
  }
}

void validate_pod_spec(const PodSpec& spec, Findings& findings) {
  validate_volumes(spec.volumes, findings);
  validate_containers(spec, findings);
  if (spec.restart_policy.empty()) findings.required("spec.restartPolicy");
  validate_choice(spec.restart_policy, {"Always", "Never", "OnFailure"}, "spec.restartPolicy", findings);
  if (const auto grace = spec.termination_grace_period_seconds; grace && *grace < 0) {
    findings.invalid("spec.terminationGracePeriodSeconds", *grace, "must be greater than or equal to 0");
  }
  if (const auto deadline = spec.active_deadline_seconds; deadline && (*deadline < 1 || *deadline > kLongestDeadline)) {
    findings.invalid("spec.activeDeadlineSeconds", *deadline,
                     fmt::format("must be between 1 and {}, inclusive", kLongestDeadline));
  }
  if (spec.os) {
    if (spec.os->name.empty()) findings.required("spec.os.name");
    validate_choice(spec.os->name, {"linux", "windows"}, "spec.os.name", findings);
  }
  validate_resources(spec.resources, "spec.resources", findings);
  validate_names(spec, findings);
  validate_dns(spec, findings);
  validate_security_context(spec, findings);
  validate_placement(spec, findings);
}

}  // namespace keelson::api
