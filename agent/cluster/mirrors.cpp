#include "agent/cluster/mirrors.h"

#include <algorithm>
#include <map>
#include <utility>

#include "api/static_pod.h"

namespace keelson::cluster {

std::string mirror_name(const std::string& name, const std::string& node) { return name + "-" + node; }

std::string mirrored_name(const std::string& mirror, const std::string& node) {
  const auto suffix = "-" + node;
  if (!mirror.ends_with(suffix)) return {};
  return mirror.substr(0, mirror.size() - suffix.size());
}

api::Pod make_mirror(const api::Pod& pod, const Owner& node) {
  api::Pod mirror;
  mirror.metadata.name = mirror_name(pod.metadata.name, node.name);
  mirror.metadata.namespace_ = pod.metadata.namespace_;
  mirror.metadata.labels = pod.metadata.labels;
  mirror.metadata.annotations = pod.metadata.annotations;
  mirror.metadata.annotations[std::string(api::kConfigMirror)] = api::annotation(pod, api::kConfigHash);
  mirror.metadata.owner_references.push_back(
      {.api_version = "v1", .kind = "Node", .name = node.name, .uid = node.uid, .controller = true});
  mirror.spec = pod.spec;
  mirror.spec.node_name = node.name;
  // Whatever becomes of the node, its manifest is still there.
  mirror.spec.tolerations.push_back({.operator_ = "Exists", .effect = "NoExecute"});
  return mirror;
}

MirrorPlan plan_mirrors(const std::vector<api::Pod>& pods, const std::vector<PodPtr>& present, bool complete,
                        const Owner& node) {
  MirrorPlan plan;
  std::map<std::pair<std::string, std::string>, const api::Pod*> wanted;
  for (const auto& pod : pods) wanted[{pod.metadata.namespace_, mirror_name(pod.metadata.name, node.name)}] = &pod;
  for (const auto& mirror : present) {
    const auto pod = wanted.find({mirror->metadata.namespace_, mirror->metadata.name});
    if (pod == wanted.end()) {
      if (complete || mirror->metadata.deletion_timestamp) plan.remove.push_back(mirror);
      continue;
    }
    const bool fits = api::annotation(*mirror, api::kConfigMirror) == api::annotation(*pod->second, api::kConfigHash) &&
                      !mirror->metadata.deletion_timestamp;
    if (!fits) plan.remove.push_back(mirror);
    wanted.erase(pod);
  }
  for (const auto& [name, pod] : wanted) plan.create.push_back(make_mirror(*pod, node));
  return plan;
}

}  // namespace keelson::cluster
