#include "master/controllers/pod_index.h"

#include "api/validate.h"

namespace keelson::controllers {

namespace {

std::string label_key(const std::string& namespace_, const std::string& name, const std::string& value) {
  return namespace_ + '\n' + name + '\n' + value;
}

}  // namespace

std::vector<PodPtr> PodIndex::values(const Index& index, const std::string& key) {
  std::vector<PodPtr> pods;
  const auto found = index.find(key);
  if (found == index.end()) return pods;
  pods.reserve(found->second.size());
  for (const auto& [name, pod] : found->second) pods.push_back(pod);
  return pods;
}

void PodIndex::put(Index& index, const std::string& key, const PodPtr& pod, bool in) {
  const std::string name = pod->metadata.namespace_ + "/" + pod->metadata.name;
  if (in) {
    index[key][name] = pod;
    return;
  }
  const auto found = index.find(key);
  if (found == index.end()) return;
  found->second.erase(name);
  if (found->second.empty()) index.erase(found);
}

void PodIndex::change(const PodPtr& pod, bool in) {
  const std::string& namespace_ = pod->metadata.namespace_;
  put(in_namespace_, namespace_, pod, in);
  if (const api::OwnerReference* owner = controller_of(pod->metadata)) {
    put(owned_, owner->uid, pod, in);
  } else {
    put(orphans_, namespace_, pod, in);
  }
  if (!pod->spec.node_name.empty()) put(on_node_, pod->spec.node_name, pod, in);
  for (const auto& [name, value] : pod->metadata.labels) put(labelled_, label_key(namespace_, name, value), pod, in);
}

void PodIndex::set(const PodPtr& old, const PodPtr& now) {
  if (old) change(old, false);
  if (now) change(now, true);
}

std::vector<PodPtr> PodIndex::selected(const std::string& namespace_,
                                       const std::map<std::string, std::string>& selector) const {
  std::vector<PodPtr> pods;
  // The rarest of the labels leads.
  const Names* fewest = nullptr;
  for (const auto& [name, value] : selector) {
    const auto found = labelled_.find(label_key(namespace_, name, value));
    if (found == labelled_.end()) return pods;
    if (fewest == nullptr || found->second.size() < fewest->size()) fewest = &found->second;
  }
  if (fewest == nullptr) return pods;
  for (const auto& [name, pod] : *fewest) {
    if (api::matches(selector, pod->metadata.labels)) pods.push_back(pod);
  }
  return pods;
}

}  // namespace keelson::controllers
