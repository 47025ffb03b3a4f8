// Containers: what they run, mount, publish and how they are watched.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>

#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr int64_t kDefaultGraceSeconds = 30;

void validate_ports(const std::vector<ContainerPort>& ports, bool host_network, const std::string& path,
                    Findings& findings) {
  std::set<std::string> names;
  for (size_t i = 0; i < ports.size(); ++i) {
    const ContainerPort& port = ports[i];
    const std::string here = item(path, i);
    if (!port.name.empty()) {
      const auto complaints = syntax::port_name(port.name);
      findings.invalid(here + ".name", port.name, complaints);
      if (complaints.empty() && !names.insert(port.name).second) findings.duplicate(here + ".name", port.name);
    }
    if (port.container_port == 0) {
      findings.required(here + ".containerPort");
    } else {
      for (const auto& complaint : syntax::port_number(port.container_port)) {
        findings.invalid(here + ".containerPort", port.container_port, complaint);
      }
    }
    const int32_t host_port = port.host_port.value_or(0);
    if (host_port != 0) {
      for (const auto& complaint : syntax::port_number(host_port))
        findings.invalid(here + ".hostPort", host_port, complaint);
    }
    if (host_network && host_port != port.container_port) {
      findings.invalid(here + ".containerPort", port.container_port,
                       "must match `hostPort` when `hostNetwork` is true");
    }
    if (port.protocol.empty()) findings.required(here + ".protocol");
    validate_choice(port.protocol, {"SCTP", "TCP", "UDP"}, here + ".protocol", findings);
    if (!port.host_ip.empty()) findings.invalid(here + ".hostIP", port.host_ip, syntax::ip_address(port.host_ip));
  }
}

void validate_key_ref(const std::string& name, const std::string& key, const std::string& path, Findings& findings) {
  if (name.empty()) findings.required(path + ".name");
  if (key.empty()) {
    findings.required(path + ".key");
  } else {
    findings.invalid(path + ".key", key, syntax::config_key(key));
  }
}

void validate_value_from(const EnvVar& variable, const std::string& path, Findings& findings) {
  const EnvVarSource& source = *variable.value_from;
  int sources = 0;
  if (source.field_ref) {
    ++sources;
    validate_field_ref(*source.field_ref,
                       {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
                        "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"},
                       path + ".fieldRef", findings);
  }
  if (source.resource_field_ref) {
    ++sources;
    validate_resource_field_ref(*source.resource_field_ref, false, path + ".resourceFieldRef", findings);
  }
  if (const auto& reference = source.config_map_key_ref) {
    ++sources;
    validate_key_ref(reference->ref.name, reference->key, path + ".configMapKeyRef", findings);
  }
  if (const auto& reference = source.secret_key_ref) {
    ++sources;
    validate_key_ref(reference->ref.name, reference->key, path + ".secretKeyRef", findings);
  }
  if (const auto& reference = source.file_key_ref) {
    ++sources;
    const std::string here = path + ".fileKeyRef";
    if (reference->volume_name.empty()) findings.required(here + ".volumeName");
    if (reference->key.empty()) findings.required(here + ".key");
    if (reference->path.empty()) {
      findings.required(here + ".path");
    } else {
      findings.invalid(here + ".path", reference->path, syntax::file_below(reference->path));
    }
  }
  if (sources == 0) {
    findings.invalid(path, "",
                     "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
  } else if (!variable.value.empty()) {
    findings.invalid(path, "", "may not be specified when `value` is not empty");
  } else if (sources > 1) {
    findings.invalid(path, "", "may not have more than one field specified at a time");
  }
}

void validate_env(const std::vector<EnvVar>& env, const std::string& path, Findings& findings) {
  for (size_t i = 0; i < env.size(); ++i) {
    const std::string here = item(path, i);
    if (env[i].name.empty()) {
      findings.required(here + ".name");
    } else {
      findings.invalid(here + ".name", env[i].name, syntax::env_name(env[i].name));
    }
    if (env[i].value_from) validate_value_from(env[i], here + ".valueFrom", findings);
  }
}

void validate_env_from(const std::vector<EnvFromSource>& sources, const std::string& path, Findings& findings) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const EnvFromSource& source = sources[i];
    const std::string here = item(path, i);
    if (!source.prefix.empty()) {
      findings.invalid(here + ".prefix", source.prefix, syntax::env_name(source.prefix));
    }
    if (source.config_map_ref && source.config_map_ref->ref.name.empty())
      findings.required(here + ".configMapRef.name");
    if (source.secret_ref && source.secret_ref->ref.name.empty()) findings.required(here + ".secretRef.name");
    if (!source.config_map_ref && !source.secret_ref) {
      findings.invalid(here, "", "must specify one of: `configMapRef` or `secretRef`");
    } else if (source.config_map_ref && source.secret_ref) {
      findings.invalid(here, "", "may not have more than one field specified at a time");
    }
  }
}

template <typename T>
void validate_mounts(const T& container, const std::set<std::string>& volumes, const std::string& path,
                     Findings& findings) {
  std::set<std::string> mount_paths;
  const bool privileged = container.security_context && container.security_context->privileged.value_or(false);
  for (size_t i = 0; i < container.volume_mounts.size(); ++i) {
    const VolumeMount& mount = container.volume_mounts[i];
    const std::string here = item(path + ".volumeMounts", i);
    if (mount.name.empty()) {
      findings.required(here + ".name");
    } else if (!volumes.contains(mount.name)) {
      findings.not_found(here + ".name", mount.name);
    }
    if (mount.mount_path.empty()) {
      findings.required(here + ".mountPath");
    } else if (!mount_paths.insert(mount.mount_path).second) {
      findings.invalid(here + ".mountPath", mount.mount_path, "must be unique");
    }
    if (!mount.sub_path.empty()) {
      findings.invalid(here + ".subPath", mount.sub_path, syntax::path_below(mount.sub_path));
    }
    if (!mount.sub_path_expr.empty()) {
      if (!mount.sub_path.empty()) {
        findings.invalid(here + ".subPathExpr", mount.sub_path_expr, "subPathExpr and subPath are mutually exclusive");
      }
      findings.invalid(here + ".subPathExpr", mount.sub_path_expr, syntax::path_below(mount.sub_path_expr));
    }
    validate_choice(mount.mount_propagation, {"Bidirectional", "HostToContainer", "None"}, here + ".mountPropagation",
                    findings);
    if (mount.mount_propagation == "Bidirectional" && !privileged) {
      findings.forbidden(here + ".mountPropagation",
                         "Bidirectional mount propagation is available only to privileged containers");
    }
    validate_choice(mount.recursive_read_only, {"Disabled", "Enabled", "IfPossible"}, here + ".recursiveReadOnly",
                    findings);
    if (!mount.recursive_read_only.empty() && mount.recursive_read_only != "Disabled" &&
        !mount.read_only.value_or(false)) {
      findings.forbidden(here + ".recursiveReadOnly", "may only be specified when readOnly is true");
    }
  }
  for (size_t i = 0; i < container.volume_devices.size(); ++i) {
    const VolumeDevice& device = container.volume_devices[i];
    const std::string here = item(path + ".volumeDevices", i);
    if (device.name.empty()) {
      findings.required(here + ".name");
    } else if (!volumes.contains(device.name)) {
      findings.not_found(here + ".name", device.name);
    }
    if (device.device_path.empty()) {
      findings.required(here + ".devicePath");
    } else if (mount_paths.contains(device.device_path)) {
      findings.invalid(here + ".devicePath", device.device_path, "must not already exist as a path in volumeMounts");
    }
  }
}

void validate_exec(const ExecAction& exec, const std::string& path, Findings& findings) {
  if (exec.command.empty()) findings.required(path + ".command");
}

void validate_http_get(const HTTPGetAction& action, const std::string& path, Findings& findings) {
  if (action.path.empty()) findings.required(path + ".path");
  validate_port(action.port, path + ".port", findings);
  validate_choice(action.scheme, {"HTTP", "HTTPS"}, path + ".scheme", findings);
  for (size_t i = 0; i < action.http_headers.size(); ++i) {
    const HTTPHeader& header = action.http_headers[i];
    const std::string here = item(path + ".httpHeaders", i);
    findings.invalid(here + ".name", header.name, syntax::http_header_name(header.name));
    if (header.value.find_first_of("\r\n") != std::string::npos) {
      findings.invalid(here + ".value", header.value, "must not contain line breaks");
    }
  }
}

void validate_handler_count(int handlers, const std::string& path, Findings& findings) {
  if (handlers == 0) findings.required(path, "must specify a handler type");
  if (handlers > 1) findings.forbidden(path, "may not specify more than 1 handler type");
}

void validate_not_negative(const std::optional<int32_t>& value, const std::string& path, Findings& findings) {
  if (value.value_or(0) < 0) findings.invalid(path, *value, "must be greater than or equal to 0");
}

void validate_probe(const Probe& probe, const std::string& path, Findings& findings) {
  const ProbeHandler& handler = probe.handler;
  const int handlers = int{handler.exec.has_value()} + int{handler.http_get.has_value()} +
                       int{handler.tcp_socket.has_value()} + int{handler.grpc.has_value()};
  validate_handler_count(handlers, path, findings);
  if (handler.exec) validate_exec(*handler.exec, path + ".exec", findings);
  if (handler.http_get) validate_http_get(*handler.http_get, path + ".httpGet", findings);
  if (handler.tcp_socket) validate_port(handler.tcp_socket->port, path + ".tcpSocket.port", findings);
  if (handler.grpc) {
    for (const auto& complaint : syntax::port_number(handler.grpc->port)) {
      findings.invalid(path + ".grpc.port", handler.grpc->port, complaint);
    }
  }
  validate_not_negative(probe.initial_delay_seconds, path + ".initialDelaySeconds", findings);
  validate_not_negative(probe.timeout_seconds, path + ".timeoutSeconds", findings);
  validate_not_negative(probe.period_seconds, path + ".periodSeconds", findings);
  validate_not_negative(probe.success_threshold, path + ".successThreshold", findings);
  validate_not_negative(probe.failure_threshold, path + ".failureThreshold", findings);
  if (probe.termination_grace_period_seconds && *probe.termination_grace_period_seconds <= 0) {
    findings.invalid(path + ".terminationGracePeriodSeconds", *probe.termination_grace_period_seconds,
                     "must be greater than 0");
  }
}

template <typename T>
void validate_probes(const T& container, const std::string& path, Findings& findings) {
  const auto succeeds_once = [&](const Box<Probe>& probe, const std::string& here) {
    if (!probe) return;
    validate_probe(*probe, here, findings);
    if (probe->success_threshold.value_or(1) != 1) {
      findings.invalid(here + ".successThreshold", *probe->success_threshold, "must be 1");
    }
  };
  succeeds_once(container.liveness_probe, path + ".livenessProbe");
  succeeds_once(container.startup_probe, path + ".startupProbe");
  if (const auto& probe = container.readiness_probe) {
    validate_probe(*probe, path + ".readinessProbe", findings);
    if (probe->termination_grace_period_seconds) {
      findings.invalid(path + ".readinessProbe.terminationGracePeriodSeconds", *probe->termination_grace_period_seconds,
                       "must not be set for readinessProbes");
    }
  }
}

void validate_hook(const Box<LifecycleHandler>& hook, int64_t grace_seconds, const std::string& path,
                   Findings& findings) {
  if (!hook) return;
  const int handlers = int{hook->exec.has_value()} + int{hook->http_get.has_value()} +
                       int{hook->tcp_socket.has_value()} + int{hook->sleep.has_value()};
  validate_handler_count(handlers, path, findings);
  if (hook->exec) validate_exec(*hook->exec, path + ".exec", findings);
  if (hook->http_get) validate_http_get(*hook->http_get, path + ".httpGet", findings);
  if (hook->tcp_socket) validate_port(hook->tcp_socket->port, path + ".tcpSocket.port", findings);
  if (hook->sleep && (hook->sleep->seconds < 0 || hook->sleep->seconds > grace_seconds)) {
    findings.invalid(
        path + ".sleep", hook->sleep->seconds,
        fmt::format("must be non-negative and less than terminationGracePeriodSeconds ({})", grace_seconds));
  }
}

void validate_security_context(const SecurityContext& context, bool own_users, const std::string& path,
                               Findings& findings) {
  validate_id(context.run_as_user, path + ".runAsUser", findings);
  validate_id(context.run_as_group, path + ".runAsGroup", findings);
  validate_choice(context.proc_mount, {"Default", "Unmasked"}, path + ".procMount", findings);
  if (context.proc_mount == "Unmasked" && !own_users) {
    findings.invalid(path + ".procMount", context.proc_mount, "`hostUsers` must be false to use `Unmasked`");
  }
  validate_seccomp(context.seccomp_profile, path + ".seccompProfile", findings);
  validate_apparmor(context.app_armor_profile, path + ".appArmorProfile", findings);
  if (context.allow_privilege_escalation.value_or(true)) return;
  if (context.privileged.value_or(false)) {
    findings.invalid(path, "", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  }
  if (!context.capabilities) return;
  const auto& add = context.capabilities->add;
  if (std::any_of(add.begin(), add.end(), [](const auto& c) { return c == "CAP_SYS_ADMIN" || c == "SYS_ADMIN"; })) {
    findings.invalid(path, "", "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
  }
}

// What a container may be within its pod.
struct Surroundings {
  std::set<std::string> volumes;
  std::set<std::string> names;       // of the containers seen so far
  std::set<std::string> host_ports;  // of one list of containers
  bool host_network = false;
  bool own_users = false;  // hostUsers: false
  bool has_os = false;
  int64_t grace_seconds = kDefaultGraceSeconds;
};

template <typename T>
void validate_container(const T& container, Surroundings& around, const std::string& path, Findings& findings) {
  if (container.name.empty()) {
    findings.required(path + ".name");
  } else {
    findings.invalid(path + ".name", container.name, syntax::dns1123_label(container.name));
    if (!around.names.insert(container.name).second) findings.duplicate(path + ".name", container.name);
  }
  if (container.image.empty()) {
    findings.required(path + ".image");
  } else if (container.image.find_first_of(" \t\r\n") == 0 ||
             container.image.find_last_of(" \t\r\n") == container.image.size() - 1) {
    findings.invalid(path + ".image", container.image, "must not have leading or trailing whitespace");
  }
  validate_ports(container.ports, around.host_network, path + ".ports", findings);
  validate_env(container.env, path + ".env", findings);
  validate_env_from(container.env_from, path + ".envFrom", findings);
  validate_mounts(container, around.volumes, path, findings);
  validate_resources(container.resources, path + ".resources", findings);
  validate_probes(container, path, findings);
  if (container.lifecycle) {
    validate_hook(container.lifecycle->post_start, around.grace_seconds, path + ".lifecycle.postStart", findings);
    validate_hook(container.lifecycle->pre_stop, around.grace_seconds, path + ".lifecycle.preStop", findings);
    if (!container.lifecycle->stop_signal.empty() && !around.has_os) {
      findings.forbidden(path + ".lifecycle.stopSignal", "may not be set for containers with empty `spec.os.name`");
    }
  }
  validate_choice(container.image_pull_policy, {"Always", "IfNotPresent", "Never"}, path + ".imagePullPolicy",
                  findings);
  validate_choice(container.termination_message_policy, {"FallbackToLogsOnError", "File"},
                  path + ".terminationMessagePolicy", findings);
  if (container.security_context) {
    validate_security_context(*container.security_context, around.own_users, path + ".securityContext", findings);
  }
}

void validate_host_ports(const std::vector<ContainerPort>& ports, Surroundings& around, const std::string& path,
                         Findings& findings) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const ContainerPort& port = ports[i];
    if (port.host_port.value_or(0) == 0) continue;
    const std::string address = fmt::format("{}/{}/{}", port.protocol, port.host_ip, *port.host_port);
    if (!around.host_ports.insert(address).second) findings.duplicate(item(path, i) + ".hostPort", address);
  }
}

void validate_init_container(const Container& container, const std::string& path, Findings& findings) {
  const bool sidecar = container.restart_policy == "Always";
  validate_choice(container.restart_policy, {"Always", "Never", "OnFailure"}, path + ".restartPolicy", findings);
  if (sidecar) return;
  constexpr std::string_view kOnlySidecars = "may not be set for init containers without restartPolicy=Always";
  if (container.lifecycle) findings.forbidden(path + ".lifecycle", kOnlySidecars);
  if (container.liveness_probe) findings.forbidden(path + ".livenessProbe", kOnlySidecars);
  if (container.readiness_probe) findings.forbidden(path + ".readinessProbe", kOnlySidecars);
  if (container.startup_probe) findings.forbidden(path + ".startupProbe", kOnlySidecars);
}

}  // namespace

void validate_containers(const PodSpec& spec, Findings& findings) {
  Surroundings around;
  for (const Volume& volume : spec.volumes) around.volumes.insert(volume.name);
  around.host_network = spec.host_network.value_or(false);
  around.own_users = !spec.host_users.value_or(true);
  around.has_os = spec.os && !spec.os->name.empty();
  around.grace_seconds = spec.termination_grace_period_seconds.value_or(kDefaultGraceSeconds);

  if (spec.containers.empty()) findings.required("spec.containers");
  for (size_t i = 0; i < spec.containers.size(); ++i) {
    const std::string path = item("spec.containers", i);
    validate_container(spec.containers[i], around, path, findings);
    validate_host_ports(spec.containers[i].ports, around, path + ".ports", findings);
    validate_choice(spec.containers[i].restart_policy, {"Always", "Never", "OnFailure"}, path + ".restartPolicy",
                    findings);
  }
  // Init containers run before: those that end may use the same host ports.
  for (size_t i = 0; i < spec.init_containers.size(); ++i) {
    const Container& container = spec.init_containers[i];
    const std::string path = item("spec.initContainers", i);
    validate_container(container, around, path, findings);
    if (container.restart_policy == "Always") validate_host_ports(container.ports, around, path + ".ports", findings);
    validate_init_container(container, path, findings);
  }
  if (!spec.ephemeral_containers.empty()) {
    findings.forbidden("spec.ephemeralContainers", "cannot be set on create");
  }
}

}  // namespace keelson::api
