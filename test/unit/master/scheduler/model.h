#pragma once
// Nodes and Pods for the scheduler's tests, as short as they can be said.

#include <boost/test/unit_test.hpp>
#include <string>

#include "api/resource.h"
#include "master/scheduler/cluster.h"

namespace keelson::scheduler {

inline api::Node node(const std::string& name, const std::string& cpu = "4", const std::string& pods = "110") {
  api::Node node;
  node.metadata.name = name;
  node.metadata.labels["kubernetes.io/hostname"] = name;
  node.status.allocatable = {{"cpu", {cpu}}, {"memory", {"8Gi"}}, {"ephemeral-storage", {"10Gi"}}, {"pods", {pods}}};
  node.status.conditions.push_back({.type = "Ready", .status = "True"});
  return node;
}

inline api::Pod pod(const std::string& name, const std::string& cpu = "100m") {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = name;
  pod.metadata.uid = "uid-" + name;
  pod.spec.scheduler_name = "default-scheduler";
  pod.spec.preemption_policy = "PreemptLowerPriority";
  api::Container container;
  container.name = "main";
  container.resources.requests = {{"cpu", {cpu}}, {"memory", {"64Mi"}}};
  pod.spec.containers.push_back(container);
  return pod;
}

// A Pod from YAML, for what is too long to be said otherwise.
inline api::Pod pod_of(const std::string& yaml) {
  auto read = api::read_yaml_object(api::resource_of<api::Pod>(), yaml);
  BOOST_REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
  BOOST_REQUIRE(read->strict.empty());
  api::set_defaults(read->object);
  api::Pod pod = *read->object.get_if<api::Pod>();
  pod.metadata.namespace_ = "default";
  pod.metadata.uid = "uid-" + pod.metadata.name;
  return pod;
}

inline api::Pod on(api::Pod pod, const std::string& node) {
  pod.spec.node_name = node;
  return pod;
}

}  // namespace keelson::scheduler
