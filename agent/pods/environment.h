#pragma once
// A container's environment, as Kubernetes makes it: envFrom, env with $(VAR),
// the variables of Services. Pure. Source: kubelet makeEnvironmentVariables,
// third_party/forked/golang/expansion, pkg/kubelet/envvars.

#include <map>
#include <string>
#include <vector>

#include "agent/pods/objects.h"
#include "api/pod.h"
#include "host/error.h"

namespace keelson::pods {

using Environment = std::map<std::string, std::string>;

// $(NAME) with the variable's value, from `fallback` when `variables` lacks it; an
// unknown one stays as it is; $$ is a $.
std::string expand(const std::string& text, const Environment& variables, const Environment* fallback = nullptr);

// FOO_SERVICE_HOST, FOO_SERVICE_PORT, FOO_PORT_80_TCP_ADDR … of one Service.
void add_service_variables(const api::Service& service, Environment& variables);

// not_found, with Kubernetes' text, when a ConfigMap, Secret or key that is not
// optional is missing.
host::Result<Environment> make_environment(const api::Pod& pod, const api::Container& container, const Objects& objects,
                                           const NodeFacts& node, const std::vector<std::string>& pod_ips);

}  // namespace keelson::pods
