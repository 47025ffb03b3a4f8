#include "master/apiserver/node_authorizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "api/query.h"
#include "api/static_pod.h"
#include "master/apiserver/grants.h"
#include "master/apiserver/pod_references.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kNodePrefix = "system:node:";
constexpr std::string_view kNodes = "system:nodes";
constexpr std::string_view kNodeLeases = "kube-node-lease";
// Labels that say what may be scheduled where in the administrator's eyes, not the node's.
constexpr std::string_view kRestricted = "node-restriction.kubernetes.io/";

template <size_t n>
bool one_of(std::string_view text, const std::string_view (&words)[n]) {
  return std::ranges::find(words, text) != std::end(words);
}

// `pods "web" is forbidden: …` is made of it by who refuses.
Decision no(std::string reason) { return {.allowed = false, .reason = std::move(reason)}; }
constexpr auto yes = [] { return Decision{.allowed = true, .reason = {}}; };

const api::Pod* as_pod(const api::AnyObject* object) {
  return object == nullptr ? nullptr : object->get_if<api::Pod>();
}

// Only the Pods of the node: "spec.nodeName=NAME", perhaps with more.
bool selects_node(const Attributes& attributes, std::string_view node) {
  const auto query = api::parse_field_query(api::resource_of<api::Pod>(), attributes.field_selector);
  if (!query) return true;  // its own 400 says it better
  const std::string* value = query->value_of("spec.nodeName");
  return value != nullptr && *value == node;
}

std::map<std::string, std::string> restricted_labels(const api::Node* node) {
  std::map<std::string, std::string> found;
  if (node == nullptr) return found;
  for (const auto& [key, value] : node->metadata.labels) {
    const auto slash = key.find('/');
    if (slash == std::string::npos) continue;
    const std::string_view prefix = std::string_view(key).substr(0, slash + 1);
    if (prefix == kRestricted || prefix.ends_with(fmt::format(".{}", kRestricted))) found.emplace(key, value);
  }
  return found;
}

}  // namespace

std::string_view node_of(const User& user) {
  if (!user.name.starts_with(kNodePrefix) || !user.in_group(kNodes)) return {};
  return std::string_view(user.name).substr(kNodePrefix.size());
}

Decision NodeAuthorizer::authorize(const User& user, const Attributes& attributes) {
  if (granted(user, attributes)) return yes();
  const std::string_view node = node_of(user);
  if (node.empty() || !attributes.is_resource) return no({});
  return authorize_node(node, attributes);
}

// Whether a Pod bound to the node names this ConfigMap or Secret.
bool NodeAuthorizer::needs(std::string_view node, const Attributes& attributes) const {
  const Objects* pods = pods_.on_node(node);
  return pods != nullptr && std::ranges::any_of(*pods, [&attributes](const auto& entry) {
           const auto* pod = entry.second->object.template get_if<api::Pod>();
           if (pod == nullptr || pod->metadata.namespace_ != attributes.namespace_) return false;
           // A node makes mirrors itself: what they name opens nothing.
           if (api::is_mirror(*pod)) return false;
           if (attributes.resource == "serviceaccounts") return pod->spec.service_account_name == attributes.name;
           const PodReferences references = references_of(pod->spec);
           const auto& names = attributes.resource == "secrets" ? references.secrets : references.config_maps;
           return std::ranges::binary_search(names, attributes.name);
         });
}

Decision NodeAuthorizer::authorize_node(std::string_view node, const Attributes& a) const {
  const bool core = a.group.empty();
  const std::string_view resource = a.resource;
  if (core && resource == "nodes" && (a.subresource.empty() || a.subresource == "status")) {
    // All Nodes are read: their Pod CIDRs are where routes go.
    if (a.read_only() && a.subresource.empty()) return yes();
    if (!one_of(a.verb, {"create", "get", "update", "patch"})) return no({});
    if (a.verb == "create" || a.name == node) return yes();  // of a creation admission reads the name
    return no(fmt::format("node \"{}\" is not allowed to modify node \"{}\"", node, a.name));
  }
  if (core && resource == "pods") {
    if (a.subresource.empty() && (a.verb == "list" || a.verb == "watch")) {
      if (selects_node(a, node)) return yes();
      return no(fmt::format("can only list/watch pods with spec.nodeName field selector \"{}\"", node));
    }
    const bool known = (a.subresource.empty() && one_of(a.verb, {"get", "create", "delete"})) ||
                       (a.subresource == "status" && one_of(a.verb, {"get", "update", "patch"})) ||
                       (a.subresource == "eviction" && a.verb == "create");
    if (!known) return no({});
    if (a.verb == "create" && a.subresource.empty()) return yes();  // admission: mirror Pods of its own
    const VersionPtr version = pods_.find(fmt::format("{}/{}", a.namespace_, a.name));
    const auto* pod = version ? as_pod(&version->object) : nullptr;
    // What is gone is 404 to its node, which may have been the last to know.
    if (pod == nullptr || pod->spec.node_name == node) return yes();
    return no(fmt::format("no relationship found between node '{}' and this object", node));
  }
  if (core && one_of(resource, {"configmaps", "secrets", "serviceaccounts"}) && a.subresource.empty()) {
    // A list or watch of the one object of that name is a read of it.
    if (!a.read_only() || a.name.empty() || a.namespace_.empty()) {
      return no(fmt::format("can only read {} by name", resource));
    }
    if (needs(node, a)) return yes();
    return no(fmt::format("no relationship found between node '{}' and this object", node));
  }
  if (a.subresource.empty() && a.read_only() &&
      ((core && one_of(resource, {"services", "endpoints", "namespaces"})) ||
       (a.group == "discovery.k8s.io" && resource == "endpointslices"))) {
    return yes();
  }
  if (a.group == "coordination.k8s.io" && resource == "leases" && a.namespace_ == kNodeLeases) {
    if (!one_of(a.verb, {"get", "create", "update", "patch", "delete"})) return no({});
    if (a.verb == "create" || a.name == node) return yes();
    return no(fmt::format("can only access node lease with the same name as the requesting node"));
  }
  if ((core || a.group == "events.k8s.io") && resource == "events" && one_of(a.verb, {"create", "update", "patch"})) {
    return yes();
  }
  return no({});
}

std::optional<api::Status> NodeAuthorizer::admit(const User& user, const Attributes& attributes,
                                                 const api::AnyObject* object, const api::AnyObject* old) {
  const std::string_view node = node_of(user);
  if (node.empty() || granted(user, attributes)) return std::nullopt;
  const std::string name = !attributes.name.empty() || object == nullptr ? attributes.name : object->metadata().name;
  const auto refuse = [&](std::string_view why) {
    return forbidden({.group = attributes.group, .plural = attributes.resource, .name = name}, why);
  };
  if (attributes.resource == "pods") {
    const api::Pod* next = as_pod(object);
    const api::Pod* current = as_pod(old);
    if (attributes.verb == "create" && attributes.subresource.empty() && next != nullptr) {
      if (!api::is_mirror(*next)) {
        return refuse(fmt::format("pod does not have \"{}\" annotation, node \"{}\" can only create mirror pods",
                                  api::kConfigMirror, node));
      }
      if (next->spec.node_name != node) {
        return refuse(fmt::format("node \"{}\" can only create pods with spec.nodeName set to itself", node));
      }
      const bool owns = std::ranges::all_of(next->metadata.owner_references, [&](const auto& owner) {
        return owner.kind == "Node" && owner.name == node;
      });
      if (!owns) return refuse("node can only create pods with an owner reference set to itself");
      return std::nullopt;
    }
    if (current != nullptr && current->spec.node_name != node) {
      return refuse(fmt::format("node \"{}\" can only change pods with spec.nodeName set to itself", node));
    }
    if (attributes.subresource == "status" && next != nullptr && current != nullptr &&
        next->metadata.labels != current->metadata.labels) {
      return refuse("node cannot update labels through pod status");
    }
    return std::nullopt;
  }
  if (attributes.resource == "nodes") {
    if (name != node) return refuse(fmt::format("node \"{}\" is not allowed to modify node \"{}\"", node, name));
    const auto* next = object == nullptr ? nullptr : object->get_if<api::Node>();
    const auto* current = old == nullptr ? nullptr : old->get_if<api::Node>();
    if (next == nullptr) return std::nullopt;
    if (restricted_labels(next) != restricted_labels(current)) {
      return refuse(fmt::format("is not allowed to modify labels with the prefix {}", kRestricted));
    }
    if (current != nullptr && next->spec.taints != current->spec.taints) {
      return refuse(fmt::format("node \"{}\" is not allowed to modify taints", node));
    }
    // Whose addresses they are is the controllers' to say: another node's would draw its traffic here.
    const bool claims = current == nullptr ? !next->spec.pod_cidr.empty() || !next->spec.pod_cidrs.empty()
                                           : next->spec.pod_cidr != current->spec.pod_cidr ||
                                                 next->spec.pod_cidrs != current->spec.pod_cidrs;
    if (claims) return refuse(fmt::format("node \"{}\" is not allowed to set its pod CIDRs", node));
    return std::nullopt;
  }
  if (attributes.resource == "leases" && name != node) {
    return refuse("can only access node lease with the same name as the requesting node");
  }
  return std::nullopt;
}

api::SubjectRulesReviewStatus NodeAuthorizer::rules_of(const User& user, std::string_view namespace_) const {
  api::SubjectRulesReviewStatus status;
  append_rules(user, namespace_, status);
  if (!node_of(user).empty()) {
    status.incomplete = true;
    status.evaluation_error = "node authorizer does not support user rule resolution";  // Kubernetes' words
  }
  return status;
}

}  // namespace keelson::apiserver
