#include "master/apiserver/pod_references.h"

#include <algorithm>

namespace keelson::apiserver {

namespace {

// Of a Container, or what an ephemeral one has in common with it.
template <typename C>
void add_environment(const C& container, PodReferences& into) {
  for (const auto& from : container.env_from) {
    if (from.config_map_ref) into.config_maps.push_back(from.config_map_ref->ref.name);
    if (from.secret_ref) into.secrets.push_back(from.secret_ref->ref.name);
  }
  for (const auto& variable : container.env) {
    if (!variable.value_from) continue;
    const auto& from = *variable.value_from;
    if (from.config_map_key_ref) into.config_maps.push_back(from.config_map_key_ref->ref.name);
    if (from.secret_key_ref) into.secrets.push_back(from.secret_key_ref->ref.name);
  }
}

void make_set(std::vector<std::string>& names) {
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::erase(names, std::string());
}

}  // namespace

PodReferences references_of(const api::PodSpec& spec) {
  PodReferences found;
  for (const auto& container : spec.init_containers) add_environment(container, found);
  for (const auto& container : spec.containers) add_environment(container, found);
  for (const auto& container : spec.ephemeral_containers) add_environment(container.common, found);
  for (const auto& volume : spec.volumes) {
    const api::VolumeSource& source = volume.source;
    if (source.config_map) found.config_maps.push_back(source.config_map->ref.name);
    if (source.secret) found.secrets.push_back(source.secret->secret_name);
    if (!source.projected) continue;
    for (const auto& projection : source.projected->sources) {
      if (projection.config_map) found.config_maps.push_back(projection.config_map->ref.name);
      if (projection.secret) found.secrets.push_back(projection.secret->ref.name);
    }
  }
  for (const auto& secret : spec.image_pull_secrets) found.secrets.push_back(secret.name);
  make_set(found.config_maps);
  make_set(found.secrets);
  return found;
}

}  // namespace keelson::apiserver
