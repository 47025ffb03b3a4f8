#include "agent/cluster/references.h"

namespace keelson::cluster {

void add_references(const api::Pod& pod, std::set<ConfigRef>& references) {
  const auto add = [&](bool secret, const std::string& name) {
    if (!name.empty()) references.insert({secret, pod.metadata.namespace_, name});
  };
  for (const auto& volume : pod.spec.volumes) {
    const auto& source = volume.source;
    if (source.config_map) add(false, source.config_map->ref.name);
    if (source.secret) add(true, source.secret->secret_name);
    if (!source.projected) continue;
    for (const auto& projection : source.projected->sources) {
      if (projection.config_map) add(false, projection.config_map->ref.name);
      if (projection.secret) add(true, projection.secret->ref.name);
    }
  }
  for (const auto* containers : {&pod.spec.init_containers, &pod.spec.containers}) {
    for (const auto& container : *containers) {
      for (const auto& from : container.env_from) {
        if (from.config_map_ref) add(false, from.config_map_ref->ref.name);
        if (from.secret_ref) add(true, from.secret_ref->ref.name);
      }
      for (const auto& variable : container.env) {
        if (!variable.value_from) continue;
        if (variable.value_from->config_map_key_ref) add(false, variable.value_from->config_map_key_ref->ref.name);
        if (variable.value_from->secret_key_ref) add(true, variable.value_from->secret_key_ref->ref.name);
      }
    }
  }
  for (const auto& pull : pod.spec.image_pull_secrets) add(true, pull.name);
}

}  // namespace keelson::cluster
