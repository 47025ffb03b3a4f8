#include "apiclient/trim.h"

namespace keelson::apiclient {

namespace {

// Stay: name, ports, what it asks for, whether it is a sidecar.
void trim(std::vector<api::Container>& containers) {
  for (api::Container& container : containers) {
    api::Container kept;
    kept.name = std::move(container.name);
    kept.ports = std::move(container.ports);
    kept.resources.requests = std::move(container.resources.requests);
    kept.restart_policy = std::move(container.restart_policy);
    container = std::move(kept);
  }
  containers.shrink_to_fit();
}

void trim(std::vector<api::ContainerStatus>& statuses) {
  for (api::ContainerStatus& status : statuses) {
    api::ContainerStatus kept;
    kept.name = std::move(status.name);
    kept.restart_count = status.restart_count;
    status = std::move(kept);
  }
  statuses.shrink_to_fit();
}

void trim(api::Pod& pod) {
  trim(pod.spec.containers);
  trim(pod.spec.init_containers);
  pod.spec.ephemeral_containers = {};
  pod.spec.volumes = {};
  pod.spec.security_context.reset();
  pod.spec.image_pull_secrets = {};
  pod.spec.host_aliases = {};
  pod.spec.dns_config.reset();
  trim(pod.status.container_statuses);
  trim(pod.status.init_container_statuses);
  pod.status.ephemeral_container_statuses = {};
}

}  // namespace

void trim_for_control_plane(api::AnyObject& object) {
  object.metadata().managed_fields = {};
  if (auto* pod = object.get_if<api::Pod>()) trim(*pod);
  if (auto* map = object.get_if<api::ConfigMap>()) {
    map->data = {};
    map->binary_data = {};
  }
  if (auto* secret = object.get_if<api::Secret>()) secret->data = {};
}

}  // namespace keelson::apiclient
