#pragma once
// Mirror Pods: what stands in the API for the Pods that this node has from manifests, so
// that `kubectl get pods` shows them and the scheduler counts them. Pure.
// Source: pkg/kubelet/pod/mirror_client.go, config/common.go.

#include <memory>
#include <string>
#include <vector>

#include "api/pod.h"

namespace keelson::cluster {

struct Owner {  // this node
  std::string name, uid;
};

// "web-node1": names of static Pods are unique on a node only.
std::string mirror_name(const std::string& name, const std::string& node);
// "web" of "web-node1"; "" when it does not end so.
std::string mirrored_name(const std::string& mirror, const std::string& node);

api::Pod make_mirror(const api::Pod& pod, const Owner& node);

using PodPtr = std::shared_ptr<const api::Pod>;  // shared with the reflector that has it

struct MirrorPlan {
  std::vector<api::Pod> create;
  std::vector<PodPtr> remove;  // at once: nothing runs behind them
};
// `present` are the mirror Pods that the API has of this node. While `complete` is false (a
// source has not spoken yet) none is removed for want of its Pod. What is removed because
// it has changed is created when it has gone.
MirrorPlan plan_mirrors(const std::vector<api::Pod>& pods, const std::vector<PodPtr>& present, bool complete,
                        const Owner& node);

}  // namespace keelson::cluster
