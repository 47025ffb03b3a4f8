#include "agent/pods/container_spec.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

#include "api/validate.h"

namespace keelson::pods {
namespace {

using host::Error;
using host::fail;

constexpr auto kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

int64_t quantity(const std::map<std::string, api::Quantity>& map, const char* name, bool milli) {
  auto found = map.find(name);
  if (found == map.end()) return 0;
  return milli ? found->second.milli_value() : found->second.value();
}

api::ResourceLimits limits_of(const api::ResourceRequirements& resources) {
  api::ResourceLimits limits;
  limits.cpu_limit_milli = quantity(resources.limits, "cpu", true);
  limits.memory_limit_bytes = quantity(resources.limits, "memory", false);
  bool cpu_given = resources.requests.contains("cpu"), memory_given = resources.requests.contains("memory");
  limits.cpu_request_milli = cpu_given ? quantity(resources.requests, "cpu", true) : limits.cpu_limit_milli;
  limits.memory_request_bytes =
      memory_given ? quantity(resources.requests, "memory", false) : limits.memory_limit_bytes;
  return limits;
}

// For each resource: the containers and sidecars together, or an init container
// with the sidecars before it, whichever is more. `unlimited` when one of the
// containers has no limit: then the pod has none.
api::ResourceLimits sum_limits(const api::Pod& pod) {
  auto total = [&](int64_t api::ResourceLimits::* field, bool limit) {
    int64_t sidecars = 0, peak = 0, sum = 0;
    bool unlimited = false;
    for (const auto& container : pod.spec.init_containers) {
      auto value = limits_of(container.resources).*field;
      unlimited = unlimited || (limit && value == 0);
      if (container.restart_policy == "Always") {
        sidecars += value;
        peak = std::max(peak, sidecars);
      } else {
        peak = std::max(peak, sidecars + value);
      }
    }
    for (const auto& container : pod.spec.containers) {
      auto value = limits_of(container.resources).*field;
      unlimited = unlimited || (limit && value == 0);
      sum += value;
    }
    return unlimited ? 0 : std::max(sum + sidecars, peak);
  };
  api::ResourceLimits limits;
  limits.cpu_request_milli = total(&api::ResourceLimits::cpu_request_milli, false);
  limits.cpu_limit_milli = total(&api::ResourceLimits::cpu_limit_milli, true);
  limits.memory_limit_bytes = total(&api::ResourceLimits::memory_limit_bytes, true);
  limits.memory_request_bytes = total(&api::ResourceLimits::memory_request_bytes, false);
  return limits;
}

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

// kubelet verifyRunAsNonRoot.
host::Status check_non_root(const api::Pod& pod, const api::Container& container, const std::optional<int64_t>& user,
                            const std::string& image_user) {
  auto pod_text = fmt::format("pod: \"{}_{}({})\", container: {}", pod.metadata.name, pod.metadata.namespace_,
                              pod.metadata.uid, container.name);
  if (user) {
    if (*user != 0) return {};
    return fail(Error::Code::denied, fmt::format("container's runAsUser breaks non-root policy ({})", pod_text));
  }
  auto name = image_user.substr(0, image_user.find(':'));
  if (name.empty() || (is_number(name) && std::ranges::all_of(name, [](char c) { return c == '0'; }))) {
    return fail(Error::Code::denied,
                fmt::format("container has runAsNonRoot and image will run as root ({})", pod_text));
  }
  if (!is_number(name)) {
    return fail(Error::Code::denied,
                fmt::format("container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is "
                            "non-root ({})",
                            name, pod_text));
  }
  return {};
}

std::string seccomp_profile(const api::Box<api::SeccompProfile>& own, const api::Box<api::SeccompProfile>& pods,
                            bool privileged, const std::string& root) {
  if (privileged) return "Unconfined";
  const auto& profile = own ? own : pods;
  if (!profile || profile->type.empty()) return "RuntimeDefault";
  if (profile->type == "Localhost") return "Localhost:" + root + "/" + profile->localhost_profile;
  return profile->type;
}

host::Status apply_security(const ContainerInputs& inputs, api::ContainerSpec& spec) {
  auto pod_context = inputs.pod.spec.security_context;
  auto own_context = inputs.container.security_context;
  const auto& pod = pod_context ? *pod_context : pod_context.emplace();
  const auto& own = own_context ? *own_context : own_context.emplace();
  auto user = own.run_as_user ? own.run_as_user : pod.run_as_user;
  auto group = own.run_as_group ? own.run_as_group : pod.run_as_group;
  spec.user = user ? std::to_string(*user) : inputs.image.user;
  spec.run_as_group = group;
  spec.must_run_as_non_root = own.run_as_non_root.value_or(pod.run_as_non_root.value_or(false));
  for (auto id : pod.supplemental_groups) spec.supplemental_groups.push_back(static_cast<gid_t>(id));
  if (pod.fs_group) spec.supplemental_groups.push_back(static_cast<gid_t>(*pod.fs_group));
  spec.privileged = own.privileged.value_or(false);
  spec.no_new_privileges = !own.allow_privilege_escalation.value_or(true) && !spec.privileged;
  spec.read_only_root = own.read_only_root_filesystem.value_or(false);
  spec.default_proc_mount = own.proc_mount != "Unmasked" && !spec.privileged;
  spec.seccomp_profile =
      seccomp_profile(own.seccomp_profile, pod.seccomp_profile, spec.privileged, inputs.seccomp_root);
  if (own.capabilities) {
    spec.add_capabilities = own.capabilities->add;
    spec.drop_capabilities = own.capabilities->drop;
  }
  if (!spec.must_run_as_non_root) return {};
  return check_non_root(inputs.pod, inputs.container, user, inputs.image.user);
}

}  // namespace

api::ResourceLimits pod_limits(const api::Pod& pod) { return sum_limits(pod); }
api::ResourceLimits pod_requests(const api::Pod& pod) { return sum_limits(pod); }

int oom_score_adj(const api::Pod& pod, const api::Container& container, int64_t memory_capacity) {
  constexpr int32_t kSystemCritical = 2'000'000'000;
  if (pod.spec.priority_class_name == "system-node-critical" || pod.spec.priority.value_or(0) > kSystemCritical)
    return -997;
  auto qos = pod.status.qos_class.empty() ? api::qos_class(pod) : pod.status.qos_class;
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort" || memory_capacity <= 0) return 1000;
  auto request = limits_of(container.resources).memory_request_bytes;
  auto adjust =
      1000 - static_cast<int64_t>(1000.0 * static_cast<double>(request) / static_cast<double>(memory_capacity));
  return static_cast<int>(std::clamp<int64_t>(adjust, 2, 999));
}

std::string pod_hostname(const api::Pod& pod, const NodeFacts& node, const std::string& cluster_domain) {
  constexpr size_t kMaximum = 63;  // of a label, and of what the kernel takes
  const auto& spec = pod.spec;
  if (!spec.hostname_override.empty()) return spec.hostname_override.substr(0, 64);
  if (spec.host_network.value_or(false)) return node.name.substr(0, 64);
  auto name = spec.hostname.empty() ? pod.metadata.name.substr(0, kMaximum) : spec.hostname;
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  if (spec.set_hostname_as_fqdn.value_or(false) && !spec.subdomain.empty() && !cluster_domain.empty()) {
    auto full = fmt::format("{}.{}.{}.svc.{}", name, spec.subdomain, pod.metadata.namespace_, cluster_domain);
    if (full.size() <= 64) return full;
  }
  return name;
}

host::Result<api::ContainerSpec> make_container_spec(const ContainerInputs& inputs) {
  const auto& container = inputs.container;
  api::ContainerSpec spec;
  spec.id = {inputs.pod.metadata.uid, container.name, inputs.attempt};
  spec.layers = inputs.image.layers;
  if (auto applied = apply_security(inputs, spec); !applied) return std::unexpected(applied.error());

  // `command` replaces the entrypoint and the image's arguments with it.
  auto expand_all = [&](const std::vector<std::string>& words) {
    for (const auto& word : words) spec.argv.push_back(expand(word, inputs.environment));
  };
  if (!container.command.empty()) {
    expand_all(container.command);
    expand_all(container.args);
  } else {
    spec.argv = inputs.image.entrypoint;
    if (!container.args.empty()) {
      expand_all(container.args);
    } else {
      spec.argv.insert(spec.argv.end(), inputs.image.command.begin(), inputs.image.command.end());
    }
  }
  if (spec.argv.empty()) return fail(Error::Code::invalid, "no command specified");

  Environment variables;
  variables["PATH"] = kDefaultPath;
  variables["HOSTNAME"] = inputs.hostname;
  if (container.tty.value_or(false)) variables["TERM"] = "xterm";
  for (const auto& entry : inputs.image.environment) {
    auto equals = entry.find('=');
    if (equals != std::string::npos) variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  for (const auto& [name, value] : inputs.environment) variables[name] = value;
  for (const auto& [name, value] : variables) spec.environment.push_back(name + "=" + value);

  spec.working_directory = container.working_dir.empty() ? inputs.image.working_directory : container.working_dir;
  spec.mounts = inputs.mounts;
  spec.limits = limits_of(container.resources);
  spec.limits.pids_limit = inputs.pids_limit;
  spec.oom_score_adj = oom_score_adj(inputs.pod, container, inputs.node.memory_bytes);
  spec.log_path = inputs.log_path;
  spec.termination_message_path =
      container.termination_message_path.empty() ? "/dev/termination-log" : container.termination_message_path;
  spec.tty = container.tty.value_or(false);
  spec.stdin_open = container.stdin.value_or(false);
  bool own_signal = container.lifecycle && !container.lifecycle->stop_signal.empty();
  spec.stop_signal = own_signal ? container.lifecycle->stop_signal : inputs.image.stop_signal;
  return spec;
}

}  // namespace keelson::pods
