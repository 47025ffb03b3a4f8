#pragma once
// Pod: spec and status.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"
#include "api/volume.h"

namespace keelson::api {

struct ContainerPort {
  std::string name;
  std::optional<int32_t> host_port;
  int32_t container_port = 0;
  std::string protocol;
  std::string host_ip;
  bool operator==(const ContainerPort&) const = default;
};

struct ConfigMapEnvSource {
  LocalObjectReference ref;
  std::optional<bool> optional;
  bool operator==(const ConfigMapEnvSource&) const = default;
};

struct SecretEnvSource {
  LocalObjectReference ref;
  std::optional<bool> optional;
  bool operator==(const SecretEnvSource&) const = default;
};

struct EnvFromSource {
  std::string prefix;
  Box<ConfigMapEnvSource> config_map_ref;
  Box<SecretEnvSource> secret_ref;
  bool operator==(const EnvFromSource&) const = default;
};

struct ConfigMapKeySelector {
  LocalObjectReference ref;
  std::string key;
  std::optional<bool> optional;
  bool operator==(const ConfigMapKeySelector&) const = default;
};

struct SecretKeySelector {
  LocalObjectReference ref;
  std::string key;
  std::optional<bool> optional;
  bool operator==(const SecretKeySelector&) const = default;
};

struct FileKeySelector {
  std::string volume_name;
  std::string path;
  std::string key;
  std::optional<bool> optional;
  bool operator==(const FileKeySelector&) const = default;
};

struct EnvVarSource {
  Box<ObjectFieldSelector> field_ref;
  Box<ResourceFieldSelector> resource_field_ref;
  Box<ConfigMapKeySelector> config_map_key_ref;
  Box<SecretKeySelector> secret_key_ref;
  Box<FileKeySelector> file_key_ref;
  bool operator==(const EnvVarSource&) const = default;
};

struct EnvVar {
  std::string name;
  std::string value;
  Box<EnvVarSource> value_from;
  bool operator==(const EnvVar&) const = default;
};

struct ResourceClaim {
  std::string name;
  std::string request;
  bool operator==(const ResourceClaim&) const = default;
};

struct ResourceRequirements {
  std::map<std::string, Quantity> limits;
  std::map<std::string, Quantity> requests;
  std::vector<ResourceClaim> claims;
  bool operator==(const ResourceRequirements&) const = default;
};

struct ContainerResizePolicy {
  std::string resource_name;
  std::string restart_policy;
  bool operator==(const ContainerResizePolicy&) const = default;
};

struct ContainerRestartRuleOnExitCodes {
  std::string operator_;
  std::vector<int32_t> values;
  bool operator==(const ContainerRestartRuleOnExitCodes&) const = default;
};

struct ContainerRestartRule {
  std::string action;
  Box<ContainerRestartRuleOnExitCodes> exit_codes;
  bool operator==(const ContainerRestartRule&) const = default;
};

struct VolumeMount {
  std::string name;
  std::optional<bool> read_only;
  std::string recursive_read_only;
  std::string mount_path;
  std::string sub_path;
  std::string mount_propagation;
  std::string sub_path_expr;
  std::vector<std::string> bind_mount_options;
  bool operator==(const VolumeMount&) const = default;
};

struct VolumeDevice {
  std::string name;
  std::string device_path;
  bool operator==(const VolumeDevice&) const = default;
};

struct ExecAction {
  std::vector<std::string> command;
  bool operator==(const ExecAction&) const = default;
};

struct HTTPHeader {
  std::string name;
  std::string value;
  bool operator==(const HTTPHeader&) const = default;
};

struct HTTPGetAction {
  std::string path;
  IntOrString port;
  std::string host;
  std::string scheme;
  std::vector<HTTPHeader> http_headers;
  std::string protocol;
  bool operator==(const HTTPGetAction&) const = default;
};

struct TCPSocketAction {
  IntOrString port;
  std::string host;
  bool operator==(const TCPSocketAction&) const = default;
};

struct GRPCAction {
  int32_t port = 0;
  std::string service;
  std::string mode;
  bool operator==(const GRPCAction&) const = default;
};

struct ProbeHandler {
  Box<ExecAction> exec;
  Box<HTTPGetAction> http_get;
  Box<TCPSocketAction> tcp_socket;
  Box<GRPCAction> grpc;
  bool operator==(const ProbeHandler&) const = default;
};

struct Probe {
  ProbeHandler handler;
  std::optional<int32_t> initial_delay_seconds;
  std::optional<int32_t> timeout_seconds;
  std::optional<int32_t> period_seconds;
  std::optional<int32_t> success_threshold;
  std::optional<int32_t> failure_threshold;
  std::optional<int64_t> termination_grace_period_seconds;
  bool operator==(const Probe&) const = default;
};

struct SleepAction {
  int64_t seconds = 0;
  bool operator==(const SleepAction&) const = default;
};

struct LifecycleHandler {
  Box<ExecAction> exec;
  Box<HTTPGetAction> http_get;
  Box<TCPSocketAction> tcp_socket;
  Box<SleepAction> sleep;
  bool operator==(const LifecycleHandler&) const = default;
};

struct Lifecycle {
  Box<LifecycleHandler> post_start;
  Box<LifecycleHandler> pre_stop;
  std::string stop_signal;
  bool operator==(const Lifecycle&) const = default;
};

struct Capabilities {
  std::vector<std::string> add;
  std::vector<std::string> drop;
  bool operator==(const Capabilities&) const = default;
};

struct SELinuxOptions {
  std::string user;
  std::string role;
  std::string type;
  std::string level;
  bool operator==(const SELinuxOptions&) const = default;
};

struct WindowsSecurityContextOptions {
  std::string gmsa_credential_spec_name;
  std::string gmsa_credential_spec;
  std::string run_as_user_name;
  std::optional<bool> host_process;
  bool operator==(const WindowsSecurityContextOptions&) const = default;
};

struct SeccompProfile {
  std::string type;
  std::string localhost_profile;
  bool operator==(const SeccompProfile&) const = default;
};

struct AppArmorProfile {
  std::string type;
  std::string localhost_profile;
  bool operator==(const AppArmorProfile&) const = default;
};

struct SecurityContext {
  Box<Capabilities> capabilities;
  std::optional<bool> privileged;
  Box<SELinuxOptions> se_linux_options;
  Box<WindowsSecurityContextOptions> windows_options;
  std::optional<int64_t> run_as_user;
  std::optional<int64_t> run_as_group;
  std::optional<bool> run_as_non_root;
  std::optional<bool> read_only_root_filesystem;
  std::optional<bool> allow_privilege_escalation;
  std::string proc_mount;
  Box<SeccompProfile> seccomp_profile;
  Box<AppArmorProfile> app_armor_profile;
  bool operator==(const SecurityContext&) const = default;
};

struct Container {
  std::string name;
  std::string image;
  std::vector<std::string> command;
  std::vector<std::string> args;
  std::string working_dir;
  std::vector<ContainerPort> ports;
  std::vector<EnvFromSource> env_from;
  std::vector<EnvVar> env;
  ResourceRequirements resources;
  std::vector<ContainerResizePolicy> resize_policy;
  std::string restart_policy;
  std::vector<ContainerRestartRule> restart_policy_rules;
  std::vector<VolumeMount> volume_mounts;
  std::vector<VolumeDevice> volume_devices;
  Box<Probe> liveness_probe;
  Box<Probe> readiness_probe;
  Box<Probe> startup_probe;
  Box<Lifecycle> lifecycle;
  std::string termination_message_path;
  std::string termination_message_policy;
  std::string image_pull_policy;
  Box<SecurityContext> security_context;
  std::optional<bool> stdin;
  std::optional<bool> stdin_once;
  std::optional<bool> tty;
  bool operator==(const Container&) const = default;
};

struct EphemeralContainerCommon {
  std::string name;
  std::string image;
  std::vector<std::string> command;
  std::vector<std::string> args;
  std::string working_dir;
  std::vector<ContainerPort> ports;
  std::vector<EnvFromSource> env_from;
  std::vector<EnvVar> env;
  ResourceRequirements resources;
  std::vector<ContainerResizePolicy> resize_policy;
  std::string restart_policy;
  std::vector<ContainerRestartRule> restart_policy_rules;
  std::vector<VolumeMount> volume_mounts;
  std::vector<VolumeDevice> volume_devices;
  Box<Probe> liveness_probe;
  Box<Probe> readiness_probe;
  Box<Probe> startup_probe;
  Box<Lifecycle> lifecycle;
  std::string termination_message_path;
  std::string termination_message_policy;
  std::string image_pull_policy;
  Box<SecurityContext> security_context;
  std::optional<bool> stdin;
  std::optional<bool> stdin_once;
  std::optional<bool> tty;
  bool operator==(const EphemeralContainerCommon&) const = default;
};

struct EphemeralContainer {
  EphemeralContainerCommon common;
  std::string target_container_name;
  bool operator==(const EphemeralContainer&) const = default;
};

struct Sysctl {
  std::string name;
  std::string value;
  bool operator==(const Sysctl&) const = default;
};

struct PodSecurityContext {
  Box<SELinuxOptions> se_linux_options;
  Box<WindowsSecurityContextOptions> windows_options;
  std::optional<int64_t> run_as_user;
  std::optional<int64_t> run_as_group;
  std::optional<bool> run_as_non_root;
  std::vector<int64_t> supplemental_groups;
  std::string supplemental_groups_policy;
  std::optional<int64_t> fs_group;
  std::vector<Sysctl> sysctls;
  std::string fs_group_change_policy;
  Box<SeccompProfile> seccomp_profile;
  Box<AppArmorProfile> app_armor_profile;
  std::string se_linux_change_policy;
  bool operator==(const PodSecurityContext&) const = default;
};

struct NodeSelectorRequirement {
  std::string key;
  std::string operator_;
  std::vector<std::string> values;
  bool operator==(const NodeSelectorRequirement&) const = default;
};

struct NodeSelectorTerm {
  std::vector<NodeSelectorRequirement> match_expressions;
  std::vector<NodeSelectorRequirement> match_fields;
  bool operator==(const NodeSelectorTerm&) const = default;
};

struct NodeSelector {
  std::vector<NodeSelectorTerm> node_selector_terms;
  bool operator==(const NodeSelector&) const = default;
};

struct PreferredSchedulingTerm {
  int32_t weight = 0;
  NodeSelectorTerm preference;
  bool operator==(const PreferredSchedulingTerm&) const = default;
};

struct NodeAffinity {
  Box<NodeSelector> required_during_scheduling_ignored_during_execution;
  std::vector<PreferredSchedulingTerm> preferred_during_scheduling_ignored_during_execution;
  bool operator==(const NodeAffinity&) const = default;
};

struct PodAffinityTerm {
  Box<LabelSelector> label_selector;
  std::vector<std::string> namespaces;
  std::string topology_key;
  Box<LabelSelector> namespace_selector;
  std::vector<std::string> match_label_keys;
  std::vector<std::string> mismatch_label_keys;
  bool operator==(const PodAffinityTerm&) const = default;
};

struct WeightedPodAffinityTerm {
  int32_t weight = 0;
  PodAffinityTerm pod_affinity_term;
  bool operator==(const WeightedPodAffinityTerm&) const = default;
};

struct PodAffinity {
  std::vector<PodAffinityTerm> required_during_scheduling_ignored_during_execution;
  std::vector<WeightedPodAffinityTerm> preferred_during_scheduling_ignored_during_execution;
  bool operator==(const PodAffinity&) const = default;
};

struct PodAntiAffinity {
  std::vector<PodAffinityTerm> required_during_scheduling_ignored_during_execution;
  std::vector<WeightedPodAffinityTerm> preferred_during_scheduling_ignored_during_execution;
  bool operator==(const PodAntiAffinity&) const = default;
};

struct Affinity {
  Box<NodeAffinity> node_affinity;
  Box<PodAffinity> pod_affinity;
  Box<PodAntiAffinity> pod_anti_affinity;
  bool operator==(const Affinity&) const = default;
};

struct Toleration {
  std::string key;
  std::string operator_;
  std::string value;
  std::string effect;
  std::optional<int64_t> toleration_seconds;
  bool operator==(const Toleration&) const = default;
};

struct HostAlias {
  std::string ip;
  std::vector<std::string> hostnames;
  bool operator==(const HostAlias&) const = default;
};

struct PodDNSConfigOption {
  std::string name;
  std::string value;
  bool operator==(const PodDNSConfigOption&) const = default;
};

struct PodDNSConfig {
  std::vector<std::string> nameservers;
  std::vector<std::string> searches;
  std::vector<PodDNSConfigOption> options;
  bool operator==(const PodDNSConfig&) const = default;
};

struct PodReadinessGate {
  std::string condition_type;
  bool operator==(const PodReadinessGate&) const = default;
};

struct TopologySpreadConstraint {
  int32_t max_skew = 0;
  std::string topology_key;
  std::string when_unsatisfiable;
  Box<LabelSelector> label_selector;
  std::optional<int32_t> min_domains;
  std::string node_affinity_policy;
  std::string node_taints_policy;
  std::vector<std::string> match_label_keys;
  bool operator==(const TopologySpreadConstraint&) const = default;
};

struct PodOS {
  std::string name;
  bool operator==(const PodOS&) const = default;
};

struct PodSchedulingGate {
  std::string name;
  bool operator==(const PodSchedulingGate&) const = default;
};

struct PodResourceClaim {
  std::string name;
  std::string resource_claim_name;
  std::string resource_claim_template_name;
  bool operator==(const PodResourceClaim&) const = default;
};

struct PodSchedulingGroup {
  std::string pod_group_name;
  bool operator==(const PodSchedulingGroup&) const = default;
};

struct EvictionResponder {
  std::string name;
  int32_t priority = 0;
  bool operator==(const EvictionResponder&) const = default;
};

struct PodSpec {
  std::vector<Volume> volumes;
  std::vector<Container> init_containers;
  std::vector<Container> containers;
  std::vector<EphemeralContainer> ephemeral_containers;
  std::string restart_policy;
  std::optional<int64_t> termination_grace_period_seconds;
  std::optional<int64_t> active_deadline_seconds;
  std::string dns_policy;
  std::map<std::string, std::string> node_selector;
  std::string service_account_name;
  std::string service_account;
  std::optional<bool> automount_service_account_token;
  std::string node_name;
  std::optional<bool> host_network;
  std::optional<bool> host_pid;
  std::optional<bool> host_ipc;
  std::optional<bool> share_process_namespace;
  Box<PodSecurityContext> security_context;
  std::vector<LocalObjectReference> image_pull_secrets;
  std::string hostname;
  std::string subdomain;
  Box<Affinity> affinity;
  std::string scheduler_name;
  std::vector<Toleration> tolerations;
  std::vector<HostAlias> host_aliases;
  std::string priority_class_name;
  std::optional<int32_t> priority;
  Box<PodDNSConfig> dns_config;
  std::vector<PodReadinessGate> readiness_gates;
  std::string runtime_class_name;
  std::optional<bool> enable_service_links;
  std::string preemption_policy;
  std::map<std::string, Quantity> overhead;
  std::vector<TopologySpreadConstraint> topology_spread_constraints;
  std::optional<bool> set_hostname_as_fqdn;
  Box<PodOS> os;
  std::optional<bool> host_users;
  std::vector<PodSchedulingGate> scheduling_gates;
  std::vector<PodResourceClaim> resource_claims;
  ResourceRequirements resources;
  std::string hostname_override;
  Box<PodSchedulingGroup> scheduling_group;
  std::vector<EvictionResponder> eviction_responders;
  bool operator==(const PodSpec&) const = default;
};

struct PodCondition {
  std::string type;
  std::optional<int64_t> observed_generation;
  std::string status;
  std::optional<Time> last_probe_time;
  std::optional<Time> last_transition_time;
  std::string reason;
  std::string message;
  bool operator==(const PodCondition&) const = default;
};

struct HostIP {
  std::string ip;
  bool operator==(const HostIP&) const = default;
};

struct PodIP {
  std::string ip;
  bool operator==(const PodIP&) const = default;
};

struct ContainerStateWaiting {
  std::string reason;
  std::string message;
  bool operator==(const ContainerStateWaiting&) const = default;
};

struct ContainerStateRunning {
  std::optional<Time> started_at;
  bool operator==(const ContainerStateRunning&) const = default;
};

struct ContainerStateTerminated {
  int32_t exit_code = 0;
  std::optional<int32_t> signal;
  std::string reason;
  std::string message;
  std::optional<Time> started_at;
  std::optional<Time> finished_at;
  std::string container_id;
  bool operator==(const ContainerStateTerminated&) const = default;
};

struct ContainerState {
  Box<ContainerStateWaiting> waiting;
  Box<ContainerStateRunning> running;
  Box<ContainerStateTerminated> terminated;
  bool operator==(const ContainerState&) const = default;
};

struct ImageVolumeStatus {
  std::string image_ref;
  bool operator==(const ImageVolumeStatus&) const = default;
};

struct VolumeStatus {
  Box<ImageVolumeStatus> image;
  bool operator==(const VolumeStatus&) const = default;
};

struct VolumeMountStatus {
  std::string name;
  std::string mount_path;
  std::optional<bool> read_only;
  std::string recursive_read_only;
  Box<VolumeStatus> volume_status;
  bool operator==(const VolumeMountStatus&) const = default;
};

struct LinuxContainerUser {
  int64_t uid = 0;
  int64_t gid = 0;
  std::vector<int64_t> supplemental_groups;
  bool operator==(const LinuxContainerUser&) const = default;
};

struct ContainerUser {
  Box<LinuxContainerUser> linux;
  bool operator==(const ContainerUser&) const = default;
};

struct ResourceHealth {
  std::string resource_id;
  std::string health;
  std::string message;
  bool operator==(const ResourceHealth&) const = default;
};

struct ResourceStatus {
  std::string name;
  std::vector<ResourceHealth> resources;
  bool operator==(const ResourceStatus&) const = default;
};

struct ContainerStatus {
  std::string name;
  ContainerState state;
  ContainerState last_state;
  bool ready = false;
  int32_t restart_count = 0;
  std::string image;
  std::string image_id;
  std::string container_id;
  std::optional<bool> started;
  std::map<std::string, Quantity> allocated_resources;
  ResourceRequirements resources;
  std::vector<VolumeMountStatus> volume_mounts;
  Box<ContainerUser> user;
  std::vector<ResourceStatus> allocated_resources_status;
  std::string stop_signal;
  bool operator==(const ContainerStatus&) const = default;
};

struct PodResourceClaimStatus {
  std::string name;
  std::string resource_claim_name;
  bool operator==(const PodResourceClaimStatus&) const = default;
};

struct ContainerExtendedResourceRequest {
  std::string container_name;
  std::string resource_name;
  std::string request_name;
  bool operator==(const ContainerExtendedResourceRequest&) const = default;
};

struct PodExtendedResourceClaimStatus {
  std::vector<ContainerExtendedResourceRequest> request_mappings;
  std::string resource_claim_name;
  bool operator==(const PodExtendedResourceClaimStatus&) const = default;
};

struct NodeAllocatableMappedResources {
  std::string name;
  Quantity quantity;
  bool operator==(const NodeAllocatableMappedResources&) const = default;
};

struct NodeAllocatableOverheadResources {
  std::string name;
  std::optional<Quantity> per_pod;
  std::optional<Quantity> per_container;
  bool operator==(const NodeAllocatableOverheadResources&) const = default;
};

struct NodeAllocatableResourceClaimStatus {
  std::string resource_claim_name;
  std::vector<std::string> containers;
  std::vector<NodeAllocatableMappedResources> mapping;
  std::vector<NodeAllocatableOverheadResources> overhead;
  bool operator==(const NodeAllocatableResourceClaimStatus&) const = default;
};

struct VolumeHealthCondition {
  std::string status;
  std::string reason;
  std::string message;
  bool operator==(const VolumeHealthCondition&) const = default;
};

struct PodVolumeHealth {
  std::string name;
  std::vector<VolumeHealthCondition> health_conditions;
  std::optional<Time> last_transition_time;
  bool operator==(const PodVolumeHealth&) const = default;
};

struct PodStatus {
  std::optional<int64_t> observed_generation;
  std::string phase;
  std::vector<PodCondition> conditions;
  std::string message;
  std::string reason;
  std::string nominated_node_name;
  std::string host_ip;
  std::vector<HostIP> host_ips;
  std::string pod_ip;
  std::vector<PodIP> pod_ips;
  std::optional<Time> start_time;
  std::vector<ContainerStatus> init_container_statuses;
  std::vector<ContainerStatus> container_statuses;
  std::string qos_class;
  std::vector<ContainerStatus> ephemeral_container_statuses;
  std::string resize;
  std::vector<PodResourceClaimStatus> resource_claim_statuses;
  Box<PodExtendedResourceClaimStatus> extended_resource_claim_status;
  std::map<std::string, Quantity> allocated_resources;
  ResourceRequirements resources;
  std::vector<NodeAllocatableResourceClaimStatus> node_allocatable_resource_claim_statuses;
  std::vector<PodVolumeHealth> volume_health;
  bool operator==(const PodStatus&) const = default;
};

struct Pod {
  static constexpr std::string_view kKind = "Pod";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  PodSpec spec;
  PodStatus status;
  bool operator==(const Pod&) const = default;
};

}  // namespace keelson::api
