// The tables of Pod.
#include "api/pod.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<ContainerPort>() {
  static constexpr Field kFields[] = {
      field<&ContainerPort::name>(1, "name"),
      field<&ContainerPort::host_port>(2, "hostPort").plain(),
      field<&ContainerPort::container_port>(3, "containerPort").needed(),
      field<&ContainerPort::protocol>(4, "protocol"),
      field<&ContainerPort::host_ip>(5, "hostIP"),
  };
  static constexpr Type kType{"ContainerPort", kFields};
  return kType;
}

template <>
const Type& type_of<ConfigMapEnvSource>() {
  static constexpr Field kFields[] = {
      field<&ConfigMapEnvSource::ref>(1, "localObjectReference").inline_struct(),
      field<&ConfigMapEnvSource::optional>(2, "optional"),
  };
  static constexpr Type kType{"ConfigMapEnvSource", kFields};
  return kType;
}

template <>
const Type& type_of<SecretEnvSource>() {
  static constexpr Field kFields[] = {
      field<&SecretEnvSource::ref>(1, "localObjectReference").inline_struct(),
      field<&SecretEnvSource::optional>(2, "optional"),
  };
  static constexpr Type kType{"SecretEnvSource", kFields};
  return kType;
}

template <>
const Type& type_of<EnvFromSource>() {
  static constexpr Field kFields[] = {
      field<&EnvFromSource::prefix>(1, "prefix"),
      field<&EnvFromSource::config_map_ref>(2, "configMapRef"),
      field<&EnvFromSource::secret_ref>(3, "secretRef"),
  };
  static constexpr Type kType{"EnvFromSource", kFields};
  return kType;
}

template <>
const Type& type_of<ConfigMapKeySelector>() {
  static constexpr Field kFields[] = {
      field<&ConfigMapKeySelector::ref>(1, "localObjectReference").inline_struct(),
      field<&ConfigMapKeySelector::key>(2, "key").needed(),
      field<&ConfigMapKeySelector::optional>(3, "optional"),
  };
  static constexpr Type kType{"ConfigMapKeySelector", kFields};
  return kType;
}

template <>
const Type& type_of<SecretKeySelector>() {
  static constexpr Field kFields[] = {
      field<&SecretKeySelector::ref>(1, "localObjectReference").inline_struct(),
      field<&SecretKeySelector::key>(2, "key").needed(),
      field<&SecretKeySelector::optional>(3, "optional"),
  };
  static constexpr Type kType{"SecretKeySelector", kFields};
  return kType;
}

template <>
const Type& type_of<FileKeySelector>() {
  static constexpr Field kFields[] = {
      field<&FileKeySelector::volume_name>(1, "volumeName").needed(),
      field<&FileKeySelector::path>(2, "path").needed(),
      field<&FileKeySelector::key>(3, "key").needed(),
      field<&FileKeySelector::optional>(4, "optional"),
  };
  static constexpr Type kType{"FileKeySelector", kFields};
  return kType;
}

template <>
const Type& type_of<EnvVarSource>() {
  static constexpr Field kFields[] = {
      field<&EnvVarSource::field_ref>(1, "fieldRef"),
      field<&EnvVarSource::resource_field_ref>(2, "resourceFieldRef"),
      field<&EnvVarSource::config_map_key_ref>(3, "configMapKeyRef"),
      field<&EnvVarSource::secret_key_ref>(4, "secretKeyRef"),
      field<&EnvVarSource::file_key_ref>(5, "fileKeyRef"),
  };
  static constexpr Type kType{"EnvVarSource", kFields};
  return kType;
}

template <>
const Type& type_of<EnvVar>() {
  static constexpr Field kFields[] = {
      field<&EnvVar::name>(1, "name").needed(),
      field<&EnvVar::value>(2, "value"),
      field<&EnvVar::value_from>(3, "valueFrom"),
  };
  static constexpr Type kType{"EnvVar", kFields};
  return kType;
}

template <>
const Type& type_of<ResourceClaim>() {
  static constexpr Field kFields[] = {
      field<&ResourceClaim::name>(1, "name").needed(),
      field<&ResourceClaim::request>(2, "request"),
  };
  static constexpr Type kType{"ResourceClaim", kFields};
  return kType;
}

template <>
const Type& type_of<ResourceRequirements>() {
  static constexpr Field kFields[] = {
      field<&ResourceRequirements::limits>(1, "limits"),
      field<&ResourceRequirements::requests>(2, "requests"),
      field<&ResourceRequirements::claims>(3, "claims").keyed_by("name"),
  };
  static constexpr Type kType{"ResourceRequirements", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerResizePolicy>() {
  static constexpr Field kFields[] = {
      field<&ContainerResizePolicy::resource_name>(1, "resourceName").needed(),
      field<&ContainerResizePolicy::restart_policy>(2, "restartPolicy").needed(),
  };
  static constexpr Type kType{"ContainerResizePolicy", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerRestartRuleOnExitCodes>() {
  static constexpr Field kFields[] = {
      field<&ContainerRestartRuleOnExitCodes::operator_>(1, "operator").needed(),
      field<&ContainerRestartRuleOnExitCodes::values>(2, "values").set(),
  };
  static constexpr Type kType{"ContainerRestartRuleOnExitCodes", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerRestartRule>() {
  static constexpr Field kFields[] = {
      field<&ContainerRestartRule::action>(1, "action").needed(),
      field<&ContainerRestartRule::exit_codes>(2, "exitCodes"),
  };
  static constexpr Type kType{"ContainerRestartRule", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeMount>() {
  static constexpr Field kFields[] = {
      field<&VolumeMount::name>(1, "name").needed(),
      field<&VolumeMount::read_only>(2, "readOnly").plain(),
      field<&VolumeMount::recursive_read_only>(7, "recursiveReadOnly"),
      field<&VolumeMount::mount_path>(3, "mountPath").needed(),
      field<&VolumeMount::sub_path>(4, "subPath"),
      field<&VolumeMount::mount_propagation>(5, "mountPropagation"),
      field<&VolumeMount::sub_path_expr>(6, "subPathExpr"),
      field<&VolumeMount::bind_mount_options>(8, "bindMountOptions").set(),
  };
  static constexpr Type kType{"VolumeMount", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeDevice>() {
  static constexpr Field kFields[] = {
      field<&VolumeDevice::name>(1, "name").needed(),
      field<&VolumeDevice::device_path>(2, "devicePath").needed(),
  };
  static constexpr Type kType{"VolumeDevice", kFields};
  return kType;
}

template <>
const Type& type_of<ExecAction>() {
  static constexpr Field kFields[] = {
      field<&ExecAction::command>(1, "command").atomic(),
  };
  static constexpr Type kType{"ExecAction", kFields};
  return kType;
}

template <>
const Type& type_of<HTTPHeader>() {
  static constexpr Field kFields[] = {
      field<&HTTPHeader::name>(1, "name").needed(),
      field<&HTTPHeader::value>(2, "value").needed(),
  };
  static constexpr Type kType{"HTTPHeader", kFields};
  return kType;
}

template <>
const Type& type_of<HTTPGetAction>() {
  static constexpr Field kFields[] = {
      field<&HTTPGetAction::path>(1, "path"),
      field<&HTTPGetAction::port>(2, "port").needed(),
      field<&HTTPGetAction::host>(3, "host"),
      field<&HTTPGetAction::scheme>(4, "scheme"),
      field<&HTTPGetAction::http_headers>(5, "httpHeaders").atomic(),
      field<&HTTPGetAction::protocol>(6, "protocol"),
  };
  static constexpr Type kType{"HTTPGetAction", kFields};
  return kType;
}

template <>
const Type& type_of<TCPSocketAction>() {
  static constexpr Field kFields[] = {
      field<&TCPSocketAction::port>(1, "port").needed(),
      field<&TCPSocketAction::host>(2, "host"),
  };
  static constexpr Type kType{"TCPSocketAction", kFields};
  return kType;
}

template <>
const Type& type_of<GRPCAction>() {
  static constexpr Field kFields[] = {
      field<&GRPCAction::port>(1, "port").needed(),
      field<&GRPCAction::service>(2, "service"),
      field<&GRPCAction::mode>(3, "mode"),
  };
  static constexpr Type kType{"GRPCAction", kFields};
  return kType;
}

template <>
const Type& type_of<ProbeHandler>() {
  static constexpr Field kFields[] = {
      field<&ProbeHandler::exec>(1, "exec"),
      field<&ProbeHandler::http_get>(2, "httpGet"),
      field<&ProbeHandler::tcp_socket>(3, "tcpSocket"),
      field<&ProbeHandler::grpc>(4, "grpc"),
  };
  static constexpr Type kType{"ProbeHandler", kFields};
  return kType;
}

template <>
const Type& type_of<Probe>() {
  static constexpr Field kFields[] = {
      field<&Probe::handler>(1, "handler").inline_struct(),
      field<&Probe::initial_delay_seconds>(2, "initialDelaySeconds").plain(),
      field<&Probe::timeout_seconds>(3, "timeoutSeconds").plain(),
      field<&Probe::period_seconds>(4, "periodSeconds").plain(),
      field<&Probe::success_threshold>(5, "successThreshold").plain(),
      field<&Probe::failure_threshold>(6, "failureThreshold").plain(),
      field<&Probe::termination_grace_period_seconds>(7, "terminationGracePeriodSeconds"),
  };
  static constexpr Type kType{"Probe", kFields};
  return kType;
}

template <>
const Type& type_of<SleepAction>() {
  static constexpr Field kFields[] = {
      field<&SleepAction::seconds>(1, "seconds").needed(),
  };
  static constexpr Type kType{"SleepAction", kFields};
  return kType;
}

template <>
const Type& type_of<LifecycleHandler>() {
  static constexpr Field kFields[] = {
      field<&LifecycleHandler::exec>(1, "exec"),
      field<&LifecycleHandler::http_get>(2, "httpGet"),
      field<&LifecycleHandler::tcp_socket>(3, "tcpSocket"),
      field<&LifecycleHandler::sleep>(4, "sleep"),
  };
  static constexpr Type kType{"LifecycleHandler", kFields};
  return kType;
}

template <>
const Type& type_of<Lifecycle>() {
  static constexpr Field kFields[] = {
      field<&Lifecycle::post_start>(1, "postStart"),
      field<&Lifecycle::pre_stop>(2, "preStop"),
      field<&Lifecycle::stop_signal>(3, "stopSignal"),
  };
  static constexpr Type kType{"Lifecycle", kFields};
  return kType;
}

template <>
const Type& type_of<Capabilities>() {
  static constexpr Field kFields[] = {
      field<&Capabilities::add>(1, "add").atomic(),
      field<&Capabilities::drop>(2, "drop").atomic(),
  };
  static constexpr Type kType{"Capabilities", kFields};
  return kType;
}

template <>
const Type& type_of<SELinuxOptions>() {
  static constexpr Field kFields[] = {
      field<&SELinuxOptions::user>(1, "user"),
      field<&SELinuxOptions::role>(2, "role"),
      field<&SELinuxOptions::type>(3, "type"),
      field<&SELinuxOptions::level>(4, "level"),
  };
  static constexpr Type kType{"SELinuxOptions", kFields};
  return kType;
}

template <>
const Type& type_of<WindowsSecurityContextOptions>() {
  static constexpr Field kFields[] = {
      field<&WindowsSecurityContextOptions::gmsa_credential_spec_name>(1, "gmsaCredentialSpecName"),
      field<&WindowsSecurityContextOptions::gmsa_credential_spec>(2, "gmsaCredentialSpec"),
      field<&WindowsSecurityContextOptions::run_as_user_name>(3, "runAsUserName"),
      field<&WindowsSecurityContextOptions::host_process>(4, "hostProcess"),
  };
  static constexpr Type kType{"WindowsSecurityContextOptions", kFields};
  return kType;
}

template <>
const Type& type_of<SeccompProfile>() {
  static constexpr Field kFields[] = {
      field<&SeccompProfile::type>(1, "type").needed(),
      field<&SeccompProfile::localhost_profile>(2, "localhostProfile"),
  };
  static constexpr Type kType{"SeccompProfile", kFields};
  return kType;
}

template <>
const Type& type_of<AppArmorProfile>() {
  static constexpr Field kFields[] = {
      field<&AppArmorProfile::type>(1, "type").needed(),
      field<&AppArmorProfile::localhost_profile>(2, "localhostProfile"),
  };
  static constexpr Type kType{"AppArmorProfile", kFields};
  return kType;
}

template <>
const Type& type_of<SecurityContext>() {
  static constexpr Field kFields[] = {
      field<&SecurityContext::capabilities>(1, "capabilities"),
      field<&SecurityContext::privileged>(2, "privileged"),
      field<&SecurityContext::se_linux_options>(3, "seLinuxOptions"),
      field<&SecurityContext::windows_options>(10, "windowsOptions"),
      field<&SecurityContext::run_as_user>(4, "runAsUser"),
      field<&SecurityContext::run_as_group>(8, "runAsGroup"),
      field<&SecurityContext::run_as_non_root>(5, "runAsNonRoot"),
      field<&SecurityContext::read_only_root_filesystem>(6, "readOnlyRootFilesystem"),
      field<&SecurityContext::allow_privilege_escalation>(7, "allowPrivilegeEscalation"),
      field<&SecurityContext::proc_mount>(9, "procMount"),
      field<&SecurityContext::seccomp_profile>(11, "seccompProfile"),
      field<&SecurityContext::app_armor_profile>(12, "appArmorProfile"),
  };
  static constexpr Type kType{"SecurityContext", kFields};
  return kType;
}

template <>
const Type& type_of<Container>() {
  static constexpr Field kFields[] = {
      field<&Container::name>(1, "name").needed(),
      field<&Container::image>(2, "image"),
      field<&Container::command>(3, "command").atomic(),
      field<&Container::args>(4, "args").atomic(),
      field<&Container::working_dir>(5, "workingDir"),
      field<&Container::ports>(6, "ports").keyed_by("containerPort,protocol").merged_by("containerPort"),
      field<&Container::env_from>(19, "envFrom").atomic(),
      field<&Container::env>(7, "env").keyed_by("name").merged_by("name"),
      field<&Container::resources>(8, "resources"),
      field<&Container::resize_policy>(23, "resizePolicy").atomic(),
      field<&Container::restart_policy>(24, "restartPolicy"),
      field<&Container::restart_policy_rules>(25, "restartPolicyRules").atomic(),
      field<&Container::volume_mounts>(9, "volumeMounts").keyed_by("mountPath").merged_by("mountPath"),
      field<&Container::volume_devices>(21, "volumeDevices").keyed_by("devicePath").merged_by("devicePath"),
      field<&Container::liveness_probe>(10, "livenessProbe"),
      field<&Container::readiness_probe>(11, "readinessProbe"),
      field<&Container::startup_probe>(22, "startupProbe"),
      field<&Container::lifecycle>(12, "lifecycle"),
      field<&Container::termination_message_path>(13, "terminationMessagePath"),
      field<&Container::termination_message_policy>(20, "terminationMessagePolicy"),
      field<&Container::image_pull_policy>(14, "imagePullPolicy"),
      field<&Container::security_context>(15, "securityContext"),
      field<&Container::stdin>(16, "stdin").plain(),
      field<&Container::stdin_once>(17, "stdinOnce").plain(),
      field<&Container::tty>(18, "tty").plain(),
  };
  static constexpr Type kType{"Container", kFields};
  return kType;
}

template <>
const Type& type_of<EphemeralContainerCommon>() {
  static constexpr Field kFields[] = {
      field<&EphemeralContainerCommon::name>(1, "name").needed(),
      field<&EphemeralContainerCommon::image>(2, "image"),
      field<&EphemeralContainerCommon::command>(3, "command").atomic(),
      field<&EphemeralContainerCommon::args>(4, "args").atomic(),
      field<&EphemeralContainerCommon::working_dir>(5, "workingDir"),
      field<&EphemeralContainerCommon::ports>(6, "ports").keyed_by("containerPort,protocol").merged_by("containerPort"),
      field<&EphemeralContainerCommon::env_from>(19, "envFrom").atomic(),
      field<&EphemeralContainerCommon::env>(7, "env").keyed_by("name").merged_by("name"),
      field<&EphemeralContainerCommon::resources>(8, "resources"),
      field<&EphemeralContainerCommon::resize_policy>(23, "resizePolicy").atomic(),
      field<&EphemeralContainerCommon::restart_policy>(24, "restartPolicy"),
      field<&EphemeralContainerCommon::restart_policy_rules>(25, "restartPolicyRules").atomic(),
      field<&EphemeralContainerCommon::volume_mounts>(9, "volumeMounts").keyed_by("mountPath").merged_by("mountPath"),
      field<&EphemeralContainerCommon::volume_devices>(21, "volumeDevices")
          .keyed_by("devicePath")
          .merged_by("devicePath"),
      field<&EphemeralContainerCommon::liveness_probe>(10, "livenessProbe"),
      field<&EphemeralContainerCommon::readiness_probe>(11, "readinessProbe"),
      field<&EphemeralContainerCommon::startup_probe>(22, "startupProbe"),
      field<&EphemeralContainerCommon::lifecycle>(12, "lifecycle"),
      field<&EphemeralContainerCommon::termination_message_path>(13, "terminationMessagePath"),
      field<&EphemeralContainerCommon::termination_message_policy>(20, "terminationMessagePolicy"),
      field<&EphemeralContainerCommon::image_pull_policy>(14, "imagePullPolicy"),
      field<&EphemeralContainerCommon::security_context>(15, "securityContext"),
      field<&EphemeralContainerCommon::stdin>(16, "stdin").plain(),
      field<&EphemeralContainerCommon::stdin_once>(17, "stdinOnce").plain(),
      field<&EphemeralContainerCommon::tty>(18, "tty").plain(),
  };
  static constexpr Type kType{"EphemeralContainerCommon", kFields};
  return kType;
}

template <>
const Type& type_of<EphemeralContainer>() {
  static constexpr Field kFields[] = {
      field<&EphemeralContainer::common>(1, "ephemeralContainerCommon").inline_struct(),
      field<&EphemeralContainer::target_container_name>(2, "targetContainerName"),
  };
  static constexpr Type kType{"EphemeralContainer", kFields};
  return kType;
}

template <>
const Type& type_of<Sysctl>() {
  static constexpr Field kFields[] = {
      field<&Sysctl::name>(1, "name").needed(),
      field<&Sysctl::value>(2, "value").needed(),
  };
  static constexpr Type kType{"Sysctl", kFields};
  return kType;
}

template <>
const Type& type_of<PodSecurityContext>() {
  static constexpr Field kFields[] = {
      field<&PodSecurityContext::se_linux_options>(1, "seLinuxOptions"),
      field<&PodSecurityContext::windows_options>(8, "windowsOptions"),
      field<&PodSecurityContext::run_as_user>(2, "runAsUser"),
      field<&PodSecurityContext::run_as_group>(6, "runAsGroup"),
      field<&PodSecurityContext::run_as_non_root>(3, "runAsNonRoot"),
      field<&PodSecurityContext::supplemental_groups>(4, "supplementalGroups").atomic(),
      field<&PodSecurityContext::supplemental_groups_policy>(12, "supplementalGroupsPolicy"),
      field<&PodSecurityContext::fs_group>(5, "fsGroup"),
      field<&PodSecurityContext::sysctls>(7, "sysctls").atomic(),
      field<&PodSecurityContext::fs_group_change_policy>(9, "fsGroupChangePolicy"),
      field<&PodSecurityContext::seccomp_profile>(10, "seccompProfile"),
      field<&PodSecurityContext::app_armor_profile>(11, "appArmorProfile"),
      field<&PodSecurityContext::se_linux_change_policy>(13, "seLinuxChangePolicy"),
  };
  static constexpr Type kType{"PodSecurityContext", kFields};
  return kType;
}

template <>
const Type& type_of<NodeSelectorRequirement>() {
  static constexpr Field kFields[] = {
      field<&NodeSelectorRequirement::key>(1, "key").needed(),
      field<&NodeSelectorRequirement::operator_>(2, "operator").needed(),
      field<&NodeSelectorRequirement::values>(3, "values").atomic(),
  };
  static constexpr Type kType{"NodeSelectorRequirement", kFields};
  return kType;
}

template <>
const Type& type_of<NodeSelectorTerm>() {
  static constexpr Field kFields[] = {
      field<&NodeSelectorTerm::match_expressions>(1, "matchExpressions").atomic(),
      field<&NodeSelectorTerm::match_fields>(2, "matchFields").atomic(),
  };
  static constexpr Type kType{"NodeSelectorTerm", kFields};
  return kType;
}

template <>
const Type& type_of<NodeSelector>() {
  static constexpr Field kFields[] = {
      field<&NodeSelector::node_selector_terms>(1, "nodeSelectorTerms").needed().atomic(),
  };
  static constexpr Type kType{"NodeSelector", kFields};
  return kType;
}

template <>
const Type& type_of<PreferredSchedulingTerm>() {
  static constexpr Field kFields[] = {
      field<&PreferredSchedulingTerm::weight>(1, "weight").needed(),
      field<&PreferredSchedulingTerm::preference>(2, "preference").needed(),
  };
  static constexpr Type kType{"PreferredSchedulingTerm", kFields};
  return kType;
}

template <>
const Type& type_of<NodeAffinity>() {
  static constexpr Field kFields[] = {
      field<&NodeAffinity::required_during_scheduling_ignored_during_execution>(
          1, "requiredDuringSchedulingIgnoredDuringExecution"),
      field<&NodeAffinity::preferred_during_scheduling_ignored_during_execution>(
          2, "preferredDuringSchedulingIgnoredDuringExecution")
          .atomic(),
  };
  static constexpr Type kType{"NodeAffinity", kFields};
  return kType;
}

template <>
const Type& type_of<PodAffinityTerm>() {
  static constexpr Field kFields[] = {
      field<&PodAffinityTerm::label_selector>(1, "labelSelector"),
      field<&PodAffinityTerm::namespaces>(2, "namespaces").atomic(),
      field<&PodAffinityTerm::topology_key>(3, "topologyKey").needed(),
      field<&PodAffinityTerm::namespace_selector>(4, "namespaceSelector"),
      field<&PodAffinityTerm::match_label_keys>(5, "matchLabelKeys").atomic(),
      field<&PodAffinityTerm::mismatch_label_keys>(6, "mismatchLabelKeys").atomic(),
  };
  static constexpr Type kType{"PodAffinityTerm", kFields};
  return kType;
}

template <>
const Type& type_of<WeightedPodAffinityTerm>() {
  static constexpr Field kFields[] = {
      field<&WeightedPodAffinityTerm::weight>(1, "weight").needed(),
      field<&WeightedPodAffinityTerm::pod_affinity_term>(2, "podAffinityTerm").needed(),
  };
  static constexpr Type kType{"WeightedPodAffinityTerm", kFields};
  return kType;
}

template <>
const Type& type_of<PodAffinity>() {
  static constexpr Field kFields[] = {
      field<&PodAffinity::required_during_scheduling_ignored_during_execution>(
          1, "requiredDuringSchedulingIgnoredDuringExecution")
          .atomic(),
      field<&PodAffinity::preferred_during_scheduling_ignored_during_execution>(
          2, "preferredDuringSchedulingIgnoredDuringExecution")
          .atomic(),
  };
  static constexpr Type kType{"PodAffinity", kFields};
  return kType;
}

template <>
const Type& type_of<PodAntiAffinity>() {
  static constexpr Field kFields[] = {
      field<&PodAntiAffinity::required_during_scheduling_ignored_during_execution>(
          1, "requiredDuringSchedulingIgnoredDuringExecution")
          .atomic(),
      field<&PodAntiAffinity::preferred_during_scheduling_ignored_during_execution>(
          2, "preferredDuringSchedulingIgnoredDuringExecution")
          .atomic(),
  };
  static constexpr Type kType{"PodAntiAffinity", kFields};
  return kType;
}

template <>
const Type& type_of<Affinity>() {
  static constexpr Field kFields[] = {
      field<&Affinity::node_affinity>(1, "nodeAffinity"),
      field<&Affinity::pod_affinity>(2, "podAffinity"),
      field<&Affinity::pod_anti_affinity>(3, "podAntiAffinity"),
  };
  static constexpr Type kType{"Affinity", kFields};
  return kType;
}

template <>
const Type& type_of<Toleration>() {
  static constexpr Field kFields[] = {
      field<&Toleration::key>(1, "key"),
      field<&Toleration::operator_>(2, "operator"),
      field<&Toleration::value>(3, "value"),
      field<&Toleration::effect>(4, "effect"),
      field<&Toleration::toleration_seconds>(5, "tolerationSeconds"),
  };
  static constexpr Type kType{"Toleration", kFields};
  return kType;
}

template <>
const Type& type_of<HostAlias>() {
  static constexpr Field kFields[] = {
      field<&HostAlias::ip>(1, "ip").needed(),
      field<&HostAlias::hostnames>(2, "hostnames").atomic(),
  };
  static constexpr Type kType{"HostAlias", kFields};
  return kType;
}

template <>
const Type& type_of<PodDNSConfigOption>() {
  static constexpr Field kFields[] = {
      field<&PodDNSConfigOption::name>(1, "name"),
      field<&PodDNSConfigOption::value>(2, "value"),
  };
  static constexpr Type kType{"PodDNSConfigOption", kFields};
  return kType;
}

template <>
const Type& type_of<PodDNSConfig>() {
  static constexpr Field kFields[] = {
      field<&PodDNSConfig::nameservers>(1, "nameservers").atomic(),
      field<&PodDNSConfig::searches>(2, "searches").atomic(),
      field<&PodDNSConfig::options>(3, "options").atomic(),
  };
  static constexpr Type kType{"PodDNSConfig", kFields};
  return kType;
}

template <>
const Type& type_of<PodReadinessGate>() {
  static constexpr Field kFields[] = {
      field<&PodReadinessGate::condition_type>(1, "conditionType").needed(),
  };
  static constexpr Type kType{"PodReadinessGate", kFields};
  return kType;
}

template <>
const Type& type_of<TopologySpreadConstraint>() {
  static constexpr Field kFields[] = {
      field<&TopologySpreadConstraint::max_skew>(1, "maxSkew").needed(),
      field<&TopologySpreadConstraint::topology_key>(2, "topologyKey").needed(),
      field<&TopologySpreadConstraint::when_unsatisfiable>(3, "whenUnsatisfiable").needed(),
      field<&TopologySpreadConstraint::label_selector>(4, "labelSelector"),
      field<&TopologySpreadConstraint::min_domains>(5, "minDomains"),
      field<&TopologySpreadConstraint::node_affinity_policy>(6, "nodeAffinityPolicy"),
      field<&TopologySpreadConstraint::node_taints_policy>(7, "nodeTaintsPolicy"),
      field<&TopologySpreadConstraint::match_label_keys>(8, "matchLabelKeys").atomic(),
  };
  static constexpr Type kType{"TopologySpreadConstraint", kFields};
  return kType;
}

template <>
const Type& type_of<PodOS>() {
  static constexpr Field kFields[] = {
      field<&PodOS::name>(1, "name").needed(),
  };
  static constexpr Type kType{"PodOS", kFields};
  return kType;
}

template <>
const Type& type_of<PodSchedulingGate>() {
  static constexpr Field kFields[] = {
      field<&PodSchedulingGate::name>(1, "name").needed(),
  };
  static constexpr Type kType{"PodSchedulingGate", kFields};
  return kType;
}

template <>
const Type& type_of<PodResourceClaim>() {
  static constexpr Field kFields[] = {
      field<&PodResourceClaim::name>(1, "name").needed(),
      field<&PodResourceClaim::resource_claim_name>(3, "resourceClaimName"),
      field<&PodResourceClaim::resource_claim_template_name>(4, "resourceClaimTemplateName"),
  };
  static constexpr Type kType{"PodResourceClaim", kFields};
  return kType;
}

template <>
const Type& type_of<PodSchedulingGroup>() {
  static constexpr Field kFields[] = {
      field<&PodSchedulingGroup::pod_group_name>(1, "podGroupName"),
  };
  static constexpr Type kType{"PodSchedulingGroup", kFields};
  return kType;
}

template <>
const Type& type_of<EvictionResponder>() {
  static constexpr Field kFields[] = {
      field<&EvictionResponder::name>(1, "name").needed(),
      field<&EvictionResponder::priority>(2, "priority").needed(),
  };
  static constexpr Type kType{"EvictionResponder", kFields};
  return kType;
}

template <>
const Type& type_of<PodSpec>() {
  static constexpr Field kFields[] = {
      field<&PodSpec::volumes>(1, "volumes").keyed_by("name").merged_by("name").retaining_keys(),
      field<&PodSpec::init_containers>(20, "initContainers").keyed_by("name").merged_by("name"),
      field<&PodSpec::containers>(2, "containers").needed().keyed_by("name").merged_by("name"),
      field<&PodSpec::ephemeral_containers>(34, "ephemeralContainers").keyed_by("name").merged_by("name"),
      field<&PodSpec::restart_policy>(3, "restartPolicy"),
      field<&PodSpec::termination_grace_period_seconds>(4, "terminationGracePeriodSeconds"),
      field<&PodSpec::active_deadline_seconds>(5, "activeDeadlineSeconds"),
      field<&PodSpec::dns_policy>(6, "dnsPolicy"),
      field<&PodSpec::node_selector>(7, "nodeSelector").atomic(),
      field<&PodSpec::service_account_name>(8, "serviceAccountName"),
      field<&PodSpec::service_account>(9, "serviceAccount"),
      field<&PodSpec::automount_service_account_token>(21, "automountServiceAccountToken"),
      field<&PodSpec::node_name>(10, "nodeName"),
      field<&PodSpec::host_network>(11, "hostNetwork").plain(),
      field<&PodSpec::host_pid>(12, "hostPID").plain(),
      field<&PodSpec::host_ipc>(13, "hostIPC").plain(),
      field<&PodSpec::share_process_namespace>(27, "shareProcessNamespace"),
      field<&PodSpec::security_context>(14, "securityContext"),
      field<&PodSpec::image_pull_secrets>(15, "imagePullSecrets").keyed_by("name").merged_by("name"),
      field<&PodSpec::hostname>(16, "hostname"),
      field<&PodSpec::subdomain>(17, "subdomain"),
      field<&PodSpec::affinity>(18, "affinity"),
      field<&PodSpec::scheduler_name>(19, "schedulerName"),
      field<&PodSpec::tolerations>(22, "tolerations").atomic(),
      field<&PodSpec::host_aliases>(23, "hostAliases").keyed_by("ip").merged_by("ip"),
      field<&PodSpec::priority_class_name>(24, "priorityClassName"),
      field<&PodSpec::priority>(25, "priority"),
      field<&PodSpec::dns_config>(26, "dnsConfig"),
      field<&PodSpec::readiness_gates>(28, "readinessGates").atomic(),
      field<&PodSpec::runtime_class_name>(29, "runtimeClassName"),
      field<&PodSpec::enable_service_links>(30, "enableServiceLinks"),
      field<&PodSpec::preemption_policy>(31, "preemptionPolicy"),
      field<&PodSpec::overhead>(32, "overhead"),
      field<&PodSpec::topology_spread_constraints>(33, "topologySpreadConstraints")
          .keyed_by("topologyKey,whenUnsatisfiable")
          .merged_by("topologyKey"),
      field<&PodSpec::set_hostname_as_fqdn>(35, "setHostnameAsFQDN"),
      field<&PodSpec::os>(36, "os"),
      field<&PodSpec::host_users>(37, "hostUsers"),
      field<&PodSpec::scheduling_gates>(38, "schedulingGates").keyed_by("name").merged_by("name"),
      field<&PodSpec::resource_claims>(39, "resourceClaims").keyed_by("name").merged_by("name").retaining_keys(),
      field<&PodSpec::resources>(40, "resources").pointer(),
      field<&PodSpec::hostname_override>(41, "hostnameOverride"),
      field<&PodSpec::scheduling_group>(43, "schedulingGroup"),
      field<&PodSpec::eviction_responders>(44, "evictionResponders").keyed_by("name").merged_by("name"),
  };
  static constexpr Type kType{"PodSpec", kFields};
  return kType;
}

template <>
const Type& type_of<PodCondition>() {
  static constexpr Field kFields[] = {
      field<&PodCondition::type>(1, "type").needed(),
      field<&PodCondition::observed_generation>(7, "observedGeneration").plain(),
      field<&PodCondition::status>(2, "status").needed(),
      field<&PodCondition::last_probe_time>(3, "lastProbeTime").null_if_absent(),
      field<&PodCondition::last_transition_time>(4, "lastTransitionTime").null_if_absent(),
      field<&PodCondition::reason>(5, "reason"),
      field<&PodCondition::message>(6, "message"),
  };
  static constexpr Type kType{"PodCondition", kFields};
  return kType;
}

template <>
const Type& type_of<HostIP>() {
  static constexpr Field kFields[] = {
      field<&HostIP::ip>(1, "ip").needed(),
  };
  static constexpr Type kType{"HostIP", kFields};
  return kType;
}

template <>
const Type& type_of<PodIP>() {
  static constexpr Field kFields[] = {
      field<&PodIP::ip>(1, "ip").needed(),
  };
  static constexpr Type kType{"PodIP", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerStateWaiting>() {
  static constexpr Field kFields[] = {
      field<&ContainerStateWaiting::reason>(1, "reason"),
      field<&ContainerStateWaiting::message>(2, "message"),
  };
  static constexpr Type kType{"ContainerStateWaiting", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerStateRunning>() {
  static constexpr Field kFields[] = {
      field<&ContainerStateRunning::started_at>(1, "startedAt").null_if_absent(),
  };
  static constexpr Type kType{"ContainerStateRunning", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerStateTerminated>() {
  static constexpr Field kFields[] = {
      field<&ContainerStateTerminated::exit_code>(1, "exitCode").needed(),
      field<&ContainerStateTerminated::signal>(2, "signal").plain(),
      field<&ContainerStateTerminated::reason>(3, "reason"),
      field<&ContainerStateTerminated::message>(4, "message"),
      field<&ContainerStateTerminated::started_at>(5, "startedAt").null_if_absent(),
      field<&ContainerStateTerminated::finished_at>(6, "finishedAt").null_if_absent(),
      field<&ContainerStateTerminated::container_id>(7, "containerID"),
  };
  static constexpr Type kType{"ContainerStateTerminated", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerState>() {
  static constexpr Field kFields[] = {
      field<&ContainerState::waiting>(1, "waiting"),
      field<&ContainerState::running>(2, "running"),
      field<&ContainerState::terminated>(3, "terminated"),
  };
  static constexpr Type kType{"ContainerState", kFields};
  return kType;
}

template <>
const Type& type_of<ImageVolumeStatus>() {
  static constexpr Field kFields[] = {
      field<&ImageVolumeStatus::image_ref>(1, "imageRef").needed(),
  };
  static constexpr Type kType{"ImageVolumeStatus", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeStatus>() {
  static constexpr Field kFields[] = {
      field<&VolumeStatus::image>(1, "image"),
  };
  static constexpr Type kType{"VolumeStatus", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeMountStatus>() {
  static constexpr Field kFields[] = {
      field<&VolumeMountStatus::name>(1, "name").needed(),
      field<&VolumeMountStatus::mount_path>(2, "mountPath").needed(),
      field<&VolumeMountStatus::read_only>(3, "readOnly").plain(),
      field<&VolumeMountStatus::recursive_read_only>(4, "recursiveReadOnly"),
      field<&VolumeMountStatus::volume_status>(5, "volumeStatus"),
  };
  static constexpr Type kType{"VolumeMountStatus", kFields};
  return kType;
}

template <>
const Type& type_of<LinuxContainerUser>() {
  static constexpr Field kFields[] = {
      field<&LinuxContainerUser::uid>(1, "uid").needed(),
      field<&LinuxContainerUser::gid>(2, "gid").needed(),
      field<&LinuxContainerUser::supplemental_groups>(3, "supplementalGroups").atomic(),
  };
  static constexpr Type kType{"LinuxContainerUser", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerUser>() {
  static constexpr Field kFields[] = {
      field<&ContainerUser::linux>(1, "linux"),
  };
  static constexpr Type kType{"ContainerUser", kFields};
  return kType;
}

template <>
const Type& type_of<ResourceHealth>() {
  static constexpr Field kFields[] = {
      field<&ResourceHealth::resource_id>(1, "resourceID").needed(),
      field<&ResourceHealth::health>(2, "health"),
      field<&ResourceHealth::message>(6, "message"),
  };
  static constexpr Type kType{"ResourceHealth", kFields};
  return kType;
}

template <>
const Type& type_of<ResourceStatus>() {
  static constexpr Field kFields[] = {
      field<&ResourceStatus::name>(1, "name").needed(),
      field<&ResourceStatus::resources>(2, "resources").keyed_by("resourceID"),
  };
  static constexpr Type kType{"ResourceStatus", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerStatus>() {
  static constexpr Field kFields[] = {
      field<&ContainerStatus::name>(1, "name").needed(),
      field<&ContainerStatus::state>(2, "state"),
      field<&ContainerStatus::last_state>(3, "lastState"),
      field<&ContainerStatus::ready>(4, "ready").needed(),
      field<&ContainerStatus::restart_count>(5, "restartCount").needed(),
      field<&ContainerStatus::image>(6, "image").needed(),
      field<&ContainerStatus::image_id>(7, "imageID").needed(),
      field<&ContainerStatus::container_id>(8, "containerID"),
      field<&ContainerStatus::started>(9, "started"),
      field<&ContainerStatus::allocated_resources>(10, "allocatedResources"),
      field<&ContainerStatus::resources>(11, "resources").pointer(),
      field<&ContainerStatus::volume_mounts>(12, "volumeMounts").keyed_by("mountPath").merged_by("mountPath"),
      field<&ContainerStatus::user>(13, "user"),
      field<&ContainerStatus::allocated_resources_status>(14, "allocatedResourcesStatus")
          .keyed_by("name")
          .merged_by("name"),
      field<&ContainerStatus::stop_signal>(15, "stopSignal"),
  };
  static constexpr Type kType{"ContainerStatus", kFields};
  return kType;
}

template <>
const Type& type_of<PodResourceClaimStatus>() {
  static constexpr Field kFields[] = {
      field<&PodResourceClaimStatus::name>(1, "name").needed(),
      field<&PodResourceClaimStatus::resource_claim_name>(2, "resourceClaimName"),
  };
  static constexpr Type kType{"PodResourceClaimStatus", kFields};
  return kType;
}

template <>
const Type& type_of<ContainerExtendedResourceRequest>() {
  static constexpr Field kFields[] = {
      field<&ContainerExtendedResourceRequest::container_name>(1, "containerName").needed(),
      field<&ContainerExtendedResourceRequest::resource_name>(2, "resourceName").needed(),
      field<&ContainerExtendedResourceRequest::request_name>(3, "requestName").needed(),
  };
  static constexpr Type kType{"ContainerExtendedResourceRequest", kFields};
  return kType;
}

template <>
const Type& type_of<PodExtendedResourceClaimStatus>() {
  static constexpr Field kFields[] = {
      field<&PodExtendedResourceClaimStatus::request_mappings>(1, "requestMappings").needed().atomic(),
      field<&PodExtendedResourceClaimStatus::resource_claim_name>(2, "resourceClaimName").needed(),
  };
  static constexpr Type kType{"PodExtendedResourceClaimStatus", kFields};
  return kType;
}

template <>
const Type& type_of<NodeAllocatableMappedResources>() {
  static constexpr Field kFields[] = {
      field<&NodeAllocatableMappedResources::name>(1, "name").needed(),
      field<&NodeAllocatableMappedResources::quantity>(2, "quantity").needed(),
  };
  static constexpr Type kType{"NodeAllocatableMappedResources", kFields};
  return kType;
}

template <>
const Type& type_of<NodeAllocatableOverheadResources>() {
  static constexpr Field kFields[] = {
      field<&NodeAllocatableOverheadResources::name>(1, "name").needed(),
      field<&NodeAllocatableOverheadResources::per_pod>(2, "perPod"),
      field<&NodeAllocatableOverheadResources::per_container>(3, "perContainer"),
  };
  static constexpr Type kType{"NodeAllocatableOverheadResources", kFields};
  return kType;
}

template <>
const Type& type_of<NodeAllocatableResourceClaimStatus>() {
  static constexpr Field kFields[] = {
      field<&NodeAllocatableResourceClaimStatus::resource_claim_name>(1, "resourceClaimName").needed(),
      field<&NodeAllocatableResourceClaimStatus::containers>(2, "containers").set(),
      field<&NodeAllocatableResourceClaimStatus::mapping>(4, "mapping").keyed_by("name").merged_by("name"),
      field<&NodeAllocatableResourceClaimStatus::overhead>(5, "overhead").keyed_by("name").merged_by("name"),
  };
  static constexpr Type kType{"NodeAllocatableResourceClaimStatus", kFields};
  return kType;
}

template <>
const Type& type_of<VolumeHealthCondition>() {
  static constexpr Field kFields[] = {
      field<&VolumeHealthCondition::status>(1, "status").needed(),
      field<&VolumeHealthCondition::reason>(2, "reason").needed(),
      field<&VolumeHealthCondition::message>(3, "message"),
  };
  static constexpr Type kType{"VolumeHealthCondition", kFields};
  return kType;
}

template <>
const Type& type_of<PodVolumeHealth>() {
  static constexpr Field kFields[] = {
      field<&PodVolumeHealth::name>(1, "name").needed(),
      field<&PodVolumeHealth::health_conditions>(2, "healthConditions").keyed_by("status,reason").merged_by("status"),
      field<&PodVolumeHealth::last_transition_time>(3, "lastTransitionTime"),
  };
  static constexpr Type kType{"PodVolumeHealth", kFields};
  return kType;
}

template <>
const Type& type_of<PodStatus>() {
  static constexpr Field kFields[] = {
      field<&PodStatus::observed_generation>(17, "observedGeneration").plain(),
      field<&PodStatus::phase>(1, "phase"),
      field<&PodStatus::conditions>(2, "conditions").keyed_by("type").merged_by("type"),
      field<&PodStatus::message>(3, "message"),
      field<&PodStatus::reason>(4, "reason"),
      field<&PodStatus::nominated_node_name>(11, "nominatedNodeName"),
      field<&PodStatus::host_ip>(5, "hostIP"),
      field<&PodStatus::host_ips>(16, "hostIPs").atomic().merged_by("ip"),
      field<&PodStatus::pod_ip>(6, "podIP"),
      field<&PodStatus::pod_ips>(12, "podIPs").keyed_by("ip").merged_by("ip"),
      field<&PodStatus::start_time>(7, "startTime"),
      field<&PodStatus::init_container_statuses>(10, "initContainerStatuses").atomic(),
      field<&PodStatus::container_statuses>(8, "containerStatuses").atomic(),
      field<&PodStatus::qos_class>(9, "qosClass"),
      field<&PodStatus::ephemeral_container_statuses>(13, "ephemeralContainerStatuses").atomic(),
      field<&PodStatus::resize>(14, "resize"),
      field<&PodStatus::resource_claim_statuses>(15, "resourceClaimStatuses")
          .keyed_by("name")
          .merged_by("name")
          .retaining_keys(),
      field<&PodStatus::extended_resource_claim_status>(18, "extendedResourceClaimStatus"),
      field<&PodStatus::allocated_resources>(19, "allocatedResources"),
      field<&PodStatus::resources>(20, "resources").pointer(),
      field<&PodStatus::node_allocatable_resource_claim_statuses>(21, "nodeAllocatableResourceClaimStatuses")
          .keyed_by("resourceClaimName")
          .merged_by("resourceClaimName"),
      field<&PodStatus::volume_health>(22, "volumeHealth").keyed_by("name"),
  };
  static constexpr Type kType{"PodStatus", kFields};
  return kType;
}

template <>
const Type& type_of<Pod>() {
  static constexpr Field kFields[] = {
      field<&Pod::metadata>(1, "metadata"),
      field<&Pod::spec>(2, "spec"),
      field<&Pod::status>(3, "status"),
  };
  static constexpr Type kType{.name = "Pod", .fields = kFields, .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
