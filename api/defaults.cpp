// What Kubernetes' API server fills in (its SetDefaults_ functions of core/v1).
#include <algorithm>
#include <utility>

#include "api/resource.h"
#include "api/validate.h"

namespace keelson::api {

namespace {

constexpr int32_t kFileMode = 0644;

void set_if_empty(std::string& field, std::string_view value) {
  if (field.empty()) field = value;
}
template <typename T>
void set_if_absent(std::optional<T>& field, T value) {
  if (!field) field = value;
}
// Of a number that Go keeps by value: 0 is absent too.
void set_if_zero(std::optional<int32_t>& field, int32_t value) {
  if (field.value_or(0) == 0) field = value;
}

// "Always" for the tag latest, written or implied.
std::string_view pull_policy(std::string_view image) {
  const size_t digest = image.find('@');
  const std::string_view name = image.substr(0, digest);
  const size_t colon = name.rfind(':');
  const bool tagged = colon != std::string_view::npos && name.find('/', colon) == std::string_view::npos;
  if (!tagged) return digest == std::string_view::npos ? "Always" : "IfNotPresent";
  return name.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

void default_http_get(HTTPGetAction& action) {
  set_if_empty(action.path, "/");
  set_if_empty(action.scheme, "HTTP");
}

void default_probe(Box<Probe>& box) {
  if (!box) return;
  Probe& probe = *box;
  set_if_zero(probe.timeout_seconds, 1);
  set_if_zero(probe.period_seconds, 10);
  set_if_zero(probe.success_threshold, 1);
  set_if_zero(probe.failure_threshold, 3);
  if (probe.handler.http_get) default_http_get(*probe.handler.http_get);
}

void default_hook(Box<LifecycleHandler>& hook) {
  if (hook && hook->http_get) default_http_get(*hook->http_get);
}

void default_requests(ResourceRequirements& resources) {
  for (const auto& [name, limit] : resources.limits) resources.requests.try_emplace(name, limit);
}

void default_field_ref(Box<ObjectFieldSelector>& reference) {
  if (reference) set_if_empty(reference->api_version, "v1");
}

// Containers and ephemeral containers, which have the same fields.
template <typename T>
void default_container(T& container, bool host_network) {
  set_if_empty(container.image_pull_policy, pull_policy(container.image));
  set_if_empty(container.termination_message_path, "/dev/termination-log");
  set_if_empty(container.termination_message_policy, "File");
  for (ContainerPort& port : container.ports) {
    set_if_empty(port.protocol, "TCP");
    if (host_network) set_if_zero(port.host_port, port.container_port);
  }
  for (EnvVar& variable : container.env) {
    if (variable.value_from) default_field_ref(variable.value_from->field_ref);
  }
  default_requests(container.resources);
  default_probe(container.liveness_probe);
  default_probe(container.readiness_probe);
  default_probe(container.startup_probe);
  if (container.lifecycle) {
    default_hook(container.lifecycle->post_start);
    default_hook(container.lifecycle->pre_stop);
  }
}

void default_files(std::vector<DownwardAPIVolumeFile>& files) {
  for (DownwardAPIVolumeFile& file : files) default_field_ref(file.field_ref);
}

void default_projected(ProjectedVolumeSource& volume) {
  set_if_absent(volume.default_mode, kFileMode);
  for (VolumeProjection& projection : volume.sources) {
    if (projection.downward_api) default_files(projection.downward_api->items);
    if (projection.service_account_token) {
      set_if_absent(projection.service_account_token->expiration_seconds, int64_t{3600});
    }
  }
}

// The sources that this node does not act on, for what is written back.
void default_network_volume(VolumeSource& source) {
  if (source.iscsi) set_if_empty(source.iscsi->iscsi_interface, "default");
  if (source.rbd) {
    set_if_empty(source.rbd->pool, "rbd");
    set_if_empty(source.rbd->user, "admin");
    set_if_empty(source.rbd->keyring, "/etc/ceph/keyring");
  }
  if (source.azure_disk) {
    set_if_empty(source.azure_disk->caching_mode, "ReadWrite");
    set_if_empty(source.azure_disk->kind, "Shared");
    set_if_empty(source.azure_disk->fs_type, "ext4");
    set_if_absent(source.azure_disk->read_only, false);
  }
  if (source.scale_io) {
    set_if_empty(source.scale_io->storage_mode, "ThinProvisioned");
    set_if_empty(source.scale_io->fs_type, "xfs");
  }
  if (source.ephemeral && source.ephemeral->volume_claim_template) {
    set_if_empty(source.ephemeral->volume_claim_template->spec.volume_mode, "Filesystem");
  }
}

void default_volume(Volume& volume) {
  VolumeSource& source = volume.source;
  if (source == VolumeSource{}) source.empty_dir.emplace();
  if (source.secret) set_if_absent(source.secret->default_mode, kFileMode);
  if (source.config_map) set_if_absent(source.config_map->default_mode, kFileMode);
  if (source.downward_api) {
    set_if_absent(source.downward_api->default_mode, kFileMode);
    default_files(source.downward_api->items);
  }
  if (source.projected) default_projected(*source.projected);
  if (source.image) set_if_empty(source.image->pull_policy, pull_policy(source.image->reference));
  default_network_volume(source);
}

void set_defaults(Pod& pod) {
  PodSpec& spec = pod.spec;
  set_if_empty(spec.restart_policy, "Always");
  set_if_empty(spec.dns_policy, "ClusterFirst");
  set_if_empty(spec.scheduler_name, "default-scheduler");
  set_if_absent(spec.termination_grace_period_seconds, int64_t{30});
  set_if_absent(spec.enable_service_links, true);
  if (!spec.security_context) spec.security_context.emplace();
  set_if_empty(spec.service_account_name, spec.service_account);
  set_if_empty(spec.service_account, spec.service_account_name);
  default_requests(spec.resources);
  for (Volume& volume : spec.volumes) default_volume(volume);
  const bool host_network = spec.host_network.value_or(false);
  for (Container& container : spec.init_containers) default_container(container, host_network);
  for (Container& container : spec.containers) default_container(container, host_network);
  for (EphemeralContainer& container : spec.ephemeral_containers) default_container(container.common, host_network);
}

bool is_unset(const IntOrString& port) { return port.is_string ? port.text.empty() : port.number == 0; }

void set_defaults(Service& service) {
  ServiceSpec& spec = service.spec;
  set_if_empty(spec.session_affinity, "None");
  if (spec.session_affinity == "None") spec.session_affinity_config.reset();
  if (spec.session_affinity == "ClientIP") {
    if (!spec.session_affinity_config) spec.session_affinity_config.emplace();
    if (!spec.session_affinity_config->client_ip) spec.session_affinity_config->client_ip.emplace();
    set_if_absent(spec.session_affinity_config->client_ip->timeout_seconds, int32_t{10'800});
  }
  set_if_empty(spec.type, "ClusterIP");
  for (ServicePort& port : spec.ports) {
    set_if_empty(port.protocol, "TCP");
    if (!port.target_port || is_unset(*port.target_port)) {
      port.target_port = IntOrString{.is_string = false, .number = port.port, .text = {}};
    }
  }
  const bool balanced = spec.type == "NodePort" || spec.type == "LoadBalancer";
  if (balanced || (spec.type == "ClusterIP" && !spec.external_ips.empty())) {
    set_if_empty(spec.external_traffic_policy, "Cluster");
  }
  if (balanced || spec.type == "ClusterIP") set_if_empty(spec.internal_traffic_policy, "Cluster");
  if (spec.type == "LoadBalancer") set_if_absent(spec.allocate_load_balancer_node_ports, true);
  if (!spec.cluster_ip.empty() && spec.cluster_ips.empty()) spec.cluster_ips = {spec.cluster_ip};
}

void set_defaults(Endpoints& endpoints) {
  for (EndpointSubset& subset : endpoints.subsets) {
    for (EndpointPort& port : subset.ports) set_if_empty(port.protocol, "TCP");
  }
}

void set_defaults(ConfigMap&) {}

void set_defaults(Secret& secret) {
  set_if_empty(secret.type, "Opaque");
  for (auto& [key, text] : secret.string_data) secret.data[key] = Bytes{std::move(text)};
  secret.string_data.clear();
}

void set_defaults(ReplicationController& controller) {
  ReplicationControllerSpec& spec = controller.spec;
  set_if_absent(spec.replicas, int32_t{1});
  if (!spec.template_) return;
  // A template is defaulted as the Pod that it will be.
  Pod pod;
  pod.spec = std::move(spec.template_->spec);
  set_defaults(pod);
  spec.template_->spec = std::move(pod.spec);
  const auto& labels = spec.template_->metadata.labels;
  if (labels.empty()) return;
  if (spec.selector.empty()) spec.selector = labels;
  if (controller.metadata.labels.empty()) controller.metadata.labels = labels;
}

void set_defaults(Node& node) {
  if (node.status.allocatable.empty()) node.status.allocatable = node.status.capacity;
}

void set_defaults(Namespace& space) {
  set_if_empty(space.status.phase, "Active");
  if (!space.metadata.name.empty()) {
    space.metadata.labels.try_emplace("kubernetes.io/metadata.name", space.metadata.name);
  }
}

void set_defaults(EndpointSlice& slice) {
  for (EndpointSlicePort& port : slice.ports) set_if_empty(port.protocol, "TCP");
}

}  // namespace

void set_defaults(AnyObject& object) {
  const auto as = [&]<typename T>(T* typed) {
    if (typed != nullptr) set_defaults(*typed);
    return typed != nullptr;
  };
  as(object.get_if<Pod>()) || as(object.get_if<Service>()) || as(object.get_if<Endpoints>()) ||
      as(object.get_if<Secret>()) || as(object.get_if<ReplicationController>()) || as(object.get_if<Node>()) ||
      as(object.get_if<Namespace>()) || as(object.get_if<EndpointSlice>());
}

void set_defaults(Object& object) {
  set_if_empty(metadata_of(object).namespace_, "default");
  std::visit([](auto& typed) { set_defaults(typed); }, object);
}

}  // namespace keelson::api
