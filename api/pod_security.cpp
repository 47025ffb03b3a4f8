// The Pod Security Standards: baseline and restricted, as Kubernetes' own admission
// plugin checks them (kubernetes.io/docs/concepts/security/pod-security-standards).
#include <fmt/core.h>

#include <algorithm>

#include "api/findings.h"
#include "api/schema.h"

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

constexpr std::string_view kBaselineCapabilities[] = {"AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE",     "FOWNER",  "FSETID",
                                                      "KILL",        "MKNOD",  "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                                                      "SETPCAP",     "SETUID", "SYS_CHROOT"};
constexpr std::string_view kSafeSysctls[] = {"kernel.shm_rmid_forced",           "net.ipv4.ip_local_port_range",
                                             "net.ipv4.ip_local_reserved_ports", "net.ipv4.ip_unprivileged_port_start",
                                             "net.ipv4.ping_group_range",        "net.ipv4.tcp_fin_timeout",
                                             "net.ipv4.tcp_keepalive_intvl",     "net.ipv4.tcp_keepalive_probes",
                                             "net.ipv4.tcp_keepalive_time",      "net.ipv4.tcp_syncookies"};
constexpr std::string_view kSelinuxTypes[] = {"", "container_engine_t", "container_init_t", "container_kvm_t",
                                              "container_t"};
constexpr std::string_view kRestrictedVolumes[] = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"};
constexpr std::string_view kAppArmorAnnotation = "container.apparmor.security.beta.kubernetes.io/";

template <size_t n>
bool among(const std::string_view (&words)[n], std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

// Calls visit(path, container) for each container of all three kinds.
template <typename F>
void each_container(const PodSpec& spec, F visit) {
  for (size_t i = 0; i < spec.init_containers.size(); ++i)
    visit(item("spec.initContainers", i), spec.init_containers[i]);
  for (size_t i = 0; i < spec.containers.size(); ++i) visit(item("spec.containers", i), spec.containers[i]);
  for (size_t i = 0; i < spec.ephemeral_containers.size(); ++i) {
    visit(item("spec.ephemeralContainers", i), spec.ephemeral_containers[i].common);
  }
}

bool is_windows(const PodSpec& spec) { return spec.os && spec.os->name == "windows"; }

class Baseline {
 public:
  Baseline(const Pod& pod, Findings& findings) : pod_(pod), spec_(pod.spec), findings_(findings) {}

  void check() {
    host_namespaces();
    host_path_volumes();
    sysctls();
    apparmor_annotations();
    if (spec_.security_context) pod_context(*spec_.security_context, "spec.securityContext");
    each_container(spec_, [&](const std::string& path, const auto& container) {
      host_ports(container, path);
      probe_hosts(container, path);
      if (container.security_context) container_context(*container.security_context, path + ".securityContext");
    });
  }

 private:
  void forbid(std::string field, std::string_view what) {
    findings_.forbidden(std::move(field), fmt::format("the level \"baseline\" does not allow {}", what));
  }

  void host_namespaces() {
    if (spec_.host_network.value_or(false)) forbid("spec.hostNetwork", "host namespaces (hostNetwork=true)");
    if (spec_.host_pid.value_or(false)) forbid("spec.hostPID", "host namespaces (hostPID=true)");
    if (spec_.host_ipc.value_or(false)) forbid("spec.hostIPC", "host namespaces (hostIPC=true)");
  }

  void host_path_volumes() {
    for (size_t i = 0; i < spec_.volumes.size(); ++i) {
      if (spec_.volumes[i].source.host_path) forbid(item("spec.volumes", i) + ".hostPath", "hostPath volumes");
    }
  }

  void sysctls() {
    if (!spec_.security_context) return;
    const auto& sysctls = spec_.security_context->sysctls;
    for (size_t i = 0; i < sysctls.size(); ++i) {
      if (among(kSafeSysctls, sysctls[i].name)) continue;
      forbid(item("spec.securityContext.sysctls", i) + ".name", fmt::format("the sysctl {}", sysctls[i].name));
    }
  }

  void apparmor_annotations() {
    for (const auto& [key, value] : pod_.metadata.annotations) {
      if (!key.starts_with(kAppArmorAnnotation)) continue;
      if (value.empty() || value == "runtime/default" || value.starts_with("localhost/")) continue;
      forbid(entry("metadata.annotations", key), fmt::format("the AppArmor profile \"{}\"", value));
    }
  }

  template <typename T>
  void host_ports(const T& container, const std::string& path) {
    for (size_t i = 0; i < container.ports.size(); ++i) {
      const int32_t port = container.ports[i].host_port.value_or(0);
      if (port != 0) forbid(item(path + ".ports", i) + ".hostPort", fmt::format("host ports (hostPort={})", port));
    }
  }

  // A probe's host would let the agent knock at any address of its network.
  template <typename T>
  void probe_hosts(const T& container, const std::string& path) {
    const auto action = [&](const auto& box, const std::string& here) {
      if (box && !box->host.empty()) forbid(here + ".host", fmt::format("a host to probe ({})", box->host));
    };
    const auto probe = [&](const Box<Probe>& box, const std::string& here) {
      if (!box) return;
      action(box->handler.http_get, here + ".httpGet");
      action(box->handler.tcp_socket, here + ".tcpSocket");
    };
    const auto hook = [&](const Box<LifecycleHandler>& box, const std::string& here) {
      if (!box) return;
      action(box->http_get, here + ".httpGet");
      action(box->tcp_socket, here + ".tcpSocket");
    };
    probe(container.liveness_probe, path + ".livenessProbe");
    probe(container.readiness_probe, path + ".readinessProbe");
    probe(container.startup_probe, path + ".startupProbe");
    if (!container.lifecycle) return;
    hook(container.lifecycle->post_start, path + ".lifecycle.postStart");
    hook(container.lifecycle->pre_stop, path + ".lifecycle.preStop");
  }

  void container_context(const SecurityContext& context, const std::string& path) {
    if (context.privileged.value_or(false)) forbid(path + ".privileged", "privileged containers");
    if (context.capabilities) {
      const auto& add = context.capabilities->add;
      for (size_t i = 0; i < add.size(); ++i) {
        if (among(kBaselineCapabilities, add[i])) continue;
        forbid(item(path + ".capabilities.add", i), fmt::format("adding the capability {}", add[i]));
      }
    }
    if (!context.proc_mount.empty() && context.proc_mount != "Default") {
      forbid(path + ".procMount", fmt::format("procMount {}", context.proc_mount));
    }
    pod_context(context, path);
  }

  // What the contexts of pods and containers have in common.
  template <typename T>
  void pod_context(const T& context, const std::string& path) {
    if (context.windows_options && context.windows_options->host_process.value_or(false)) {
      forbid(path + ".windowsOptions.hostProcess", "host processes");
    }
    if (context.app_armor_profile && context.app_armor_profile->type == "Unconfined") {
      forbid(path + ".appArmorProfile.type", "the AppArmor profile Unconfined");
    }
    if (context.seccomp_profile && context.seccomp_profile->type == "Unconfined") {
      forbid(path + ".seccompProfile.type", "the seccomp profile Unconfined");
    }
    if (!context.se_linux_options) return;
    const SELinuxOptions& options = *context.se_linux_options;
    const std::string here = path + ".seLinuxOptions";
    if (!among(kSelinuxTypes, options.type)) forbid(here + ".type", fmt::format("the SELinux type {}", options.type));
    if (!options.user.empty()) forbid(here + ".user", "an SELinux user");
    if (!options.role.empty()) forbid(here + ".role", "an SELinux role");
  }

  const Pod& pod_;
  const PodSpec& spec_;
  Findings& findings_;
};

class Restricted {
 public:
  Restricted(const PodSpec& spec, Findings& findings) : spec_(spec), findings_(findings) {
    if (spec.security_context) {
      pod_non_root_ = spec.security_context->run_as_non_root;
      pod_seccomp_ = spec.security_context->seccomp_profile.has_value();
    }
  }

  void check() {
    volumes();
    if (spec_.security_context) {
      const PodSecurityContext& context = *spec_.security_context;
      if (context.run_as_non_root && !*context.run_as_non_root) {
        forbid("spec.securityContext.runAsNonRoot", "it must be true");
      }
      if (context.run_as_user == 0) forbid("spec.securityContext.runAsUser", "it must not be 0");
    }
    each_container(spec_, [&](const std::string& path, const auto& container) {
      static const SecurityContext kNone;
      this->container(container.security_context ? *container.security_context : kNone, path + ".securityContext");
    });
  }

 private:
  void forbid(std::string field, std::string_view what) {
    findings_.forbidden(std::move(field), fmt::format("the level \"restricted\" does not allow it: {}", what));
  }

  void volumes() {
    for (size_t i = 0; i < spec_.volumes.size(); ++i) {
      const VolumeSource& source = spec_.volumes[i].source;
      for (const Field& field : type_of<VolumeSource>().fields) {
        if (field.access->get(field.look(&source)) == nullptr || among(kRestrictedVolumes, field.name)) continue;
        forbid(fmt::format("spec.volumes[{}].{}", i, field.name), "not one of the volume types that need no privilege");
      }
    }
  }

  void container(const SecurityContext& context, const std::string& path) {
    if (context.run_as_non_root ? !*context.run_as_non_root : !pod_non_root_.value_or(false)) {
      forbid(path + ".runAsNonRoot", "it must be true, here or for the pod");
    }
    if (context.run_as_user == 0) forbid(path + ".runAsUser", "it must not be 0");
    // These are Linux's own: a Windows pod has no use for them.
    if (is_windows(spec_)) return;
    if (context.allow_privilege_escalation.value_or(true)) {
      forbid(path + ".allowPrivilegeEscalation", "it must be false");
    }
    if (!context.seccomp_profile && !pod_seccomp_) {
      forbid(path + ".seccompProfile.type", "it must be RuntimeDefault or Localhost, here or for the pod");
    }
    const Capabilities& capabilities = context.capabilities ? *context.capabilities : none_;
    if (std::find(capabilities.drop.begin(), capabilities.drop.end(), "ALL") == capabilities.drop.end()) {
      forbid(path + ".capabilities.drop", "it must include \"ALL\"");
    }
    for (size_t i = 0; i < capabilities.add.size(); ++i) {
      if (capabilities.add[i] == "NET_BIND_SERVICE") continue;
      forbid(item(path + ".capabilities.add", i), fmt::format("{} is more than NET_BIND_SERVICE", capabilities.add[i]));
    }
  }

  const PodSpec& spec_;
  Findings& findings_;
  std::optional<bool> pod_non_root_;
  bool pod_seccomp_ = false;
  const Capabilities none_;
};

}  // namespace

Result<SecurityLevel> parse_security_level(std::string_view text) {
  if (text == "privileged") return SecurityLevel::privileged;
  if (text == "baseline") return SecurityLevel::baseline;
  if (text == "restricted") return SecurityLevel::restricted;
  return fail(Error::Code::invalid, fmt::format("no security level \"{}\": privileged, baseline or restricted", text));
}

std::vector<FieldError> violations(const Pod& pod, SecurityLevel level) {
  Findings findings;
  if (level != SecurityLevel::privileged) Baseline(pod, findings).check();
  if (level == SecurityLevel::restricted) Restricted(pod.spec, findings).check();
  return findings.take();
}

}  // namespace keelson::api
