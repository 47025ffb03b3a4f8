#pragma once
// Pods, controllers and Services for the controllers' tests.

#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>

#include "api/resource.h"
#include "master/controllers/replicas.h"

namespace keelson::controllers {

inline api::Pod pod(const std::string& name) {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = name;
  pod.metadata.uid = "uid-" + name;
  pod.metadata.labels = {{"app", "web"}};
  pod.metadata.creation_timestamp = api::Time{1000};
  pod.spec.node_name = "n1";
  pod.status.phase = "Running";
  pod.spec.containers.emplace_back().name = "main";
  return pod;
}

inline api::Pod ready(api::Pod pod, int64_t since = 1000) {
  pod.status.conditions.push_back({.type = "Ready", .status = "True", .last_transition_time = api::Time{since}});
  return pod;
}

inline PodPtr ptr(api::Pod pod) { return std::make_shared<const api::Pod>(std::move(pod)); }

inline api::ReplicationController controller(int replicas) {
  api::ReplicationController made;
  made.metadata.namespace_ = "default";
  made.metadata.name = "web";
  made.metadata.uid = "uid-rc";
  made.metadata.generation = 3;
  made.spec.replicas = replicas;
  made.spec.selector = {{"app", "web"}};
  made.spec.template_.emplace();
  made.spec.template_->metadata.labels = {{"app", "web"}, {"tier", "front"}};
  return made;
}

inline api::Pod owned(api::Pod pod, const std::string& uid = "uid-rc") {
  pod.metadata.owner_references.push_back({.api_version = "v1",
                                           .kind = "ReplicationController",
                                           .name = "web",
                                           .uid = uid,
                                           .controller = true,
                                           .block_owner_deletion = true});
  return pod;
}

}  // namespace keelson::controllers
