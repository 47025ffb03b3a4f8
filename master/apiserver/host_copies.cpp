#include "master/apiserver/host_copies.h"

#include <fmt/core.h>

namespace keelson::apiserver {

namespace {

std::string copy_key(const api::Pod& pod) {
  return fmt::format("/registry/hosts/{}/pods/{}/{}", pod.spec.node_name, pod.metadata.namespace_, pod.metadata.name);
}

bool same_manifest(const api::Pod& next, const api::Pod& current) {
  const api::ObjectMeta &a = next.metadata, &b = current.metadata;
  return a.uid == b.uid && a.deletion_timestamp == b.deletion_timestamp &&
         a.deletion_grace_period_seconds == b.deletion_grace_period_seconds && a.labels == b.labels &&
         a.annotations == b.annotations && a.owner_references == b.owner_references && a.finalizers == b.finalizers &&
         next.spec == current.spec;
}

}  // namespace

void copy_to_host(const api::Pod* next, const api::Pod* current, std::vector<etcd::Operation>& operations) {
  const bool had = current != nullptr && !current->spec.node_name.empty();
  const bool has = next != nullptr && !next->spec.node_name.empty();
  if (!has) {
    if (had) operations.emplace_back(etcd::Delete{.key = copy_key(*current)});
    return;
  }
  if (had && same_manifest(*next, *current)) return;
  api::Pod manifest;
  manifest.metadata = next->metadata;
  manifest.metadata.resource_version.clear();
  manifest.metadata.managed_fields.clear();
  manifest.spec = next->spec;
  operations.emplace_back(etcd::Put{.key = copy_key(*next), .value = api::encode_json(manifest)});
}

}  // namespace keelson::apiserver
