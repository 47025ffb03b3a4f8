#pragma once
// The validators of this room, one per noun; validate.cpp calls them.

#include <set>
#include <string>
#include <string_view>

#include "api/findings.h"
#include "api/resource.h"

namespace keelson::api {

void validate_pod_spec(const PodSpec& spec, Findings& findings);
void validate_volumes(const std::vector<Volume>& volumes, Findings& findings);
// Containers, init and ephemeral ones: names unique together, ports per list.
void validate_containers(const PodSpec& spec, Findings& findings);
void validate_service(const Service& service, Findings& findings);
void validate_endpoints(const Endpoints& endpoints, Findings& findings);
void validate_config_map(const ConfigMap& config_map, Findings& findings);
void validate_secret(const Secret& secret, Findings& findings);

void validate_replication_controller(const ReplicationController& controller, Findings& findings);
void validate_node(const Node& node, Findings& findings);
void validate_event(const Event& event, Findings& findings);
void validate_endpoint_slice(const EndpointSlice& slice, Findings& findings);
void validate_lease(const Lease& lease, Findings& findings);
void validate_binding(const Binding& binding, Findings& findings);

// Parts that several of them share.
void validate_labels(const std::map<std::string, std::string>& labels, const std::string& path, Findings& findings);
void validate_label_selector(const LabelSelector& selector, const std::string& path, Findings& findings);
void validate_resources(const ResourceRequirements& resources, const std::string& path, Findings& findings);
void validate_port(const IntOrString& port, const std::string& path, Findings& findings);
void validate_file_mode(const std::optional<int32_t>& mode, const std::string& path, Findings& findings);
void validate_seccomp(const Box<SeccompProfile>& profile, const std::string& path, Findings& findings);
void validate_apparmor(const Box<AppArmorProfile>& profile, const std::string& path, Findings& findings);
// A uid or gid.
void validate_id(const std::optional<int64_t>& id, const std::string& path, Findings& findings);
// One of `supported`, when it is set.
void validate_choice(std::string_view value, std::initializer_list<std::string_view> supported, const std::string& path,
                     Findings& findings);
// Downward API: where a value may come from differs between variables and files.
void validate_field_ref(const ObjectFieldSelector& reference, std::initializer_list<std::string_view> supported,
                        const std::string& path, Findings& findings);
void validate_resource_field_ref(const ResourceFieldSelector& reference, bool needs_container, const std::string& path,
                                 Findings& findings);

}  // namespace keelson::api
