#pragma once
// The downward API: fields and resources of a pod as text, for env and volumes.
// Pure. Source: pkg/fieldpath, pkg/api/v1/resource (ExtractContainerResourceValue).

#include <string>
#include <vector>

#include "agent/pods/objects.h"
#include "api/pod.h"
#include "host/error.h"

namespace keelson::pods {

// "metadata.labels['app']", "spec.nodeName", "status.podIP" … invalid when there
// is no such field. A missing label reads as "".
host::Result<std::string> field_value(const api::Pod& pod, const std::string& path, const NodeFacts& node,
                                      const std::vector<std::string>& pod_ips);

// limits.* and requests.* in units of the divisor, rounded up. `container` is the
// one whose env it is; a limit that is not set is the node's.
host::Result<std::string> resource_value(const api::Pod& pod, const api::Container* container,
                                         const api::ResourceFieldSelector& selector, const NodeFacts& node);

const api::Container* find_container(const api::Pod& pod, const std::string& name);

}  // namespace keelson::pods
