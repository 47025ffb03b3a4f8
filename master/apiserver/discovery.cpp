#include "master/apiserver/discovery.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <vector>

#include "api/resource.h"
#include "master/apiserver/empty_kinds.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kJson = "application/json";

struct Subresource {
  std::string_view resource, name;
  std::string_view group, version, kind;  // of what is sent and answered
  std::string_view verbs;                 // comma-separated
};
constexpr Subresource kSubresources[] = {
    {"namespaces", "finalize", "", "v1", "Namespace", "update"},
    {"pods", "binding", "", "v1", "Binding", "create"},
    {"pods", "eviction", "policy", "v1", "Eviction", "create"},
    {"pods", "log", "", "v1", "Pod", "get"},
    {"replicationcontrollers", "scale", "autoscaling", "v1", "Scale", "get,patch,update"},
};
constexpr std::string_view kAllVerbs = "create,delete,deletecollection,get,list,patch,update,watch";
constexpr std::string_view kStatusVerbs = "get,patch,update";

bool is_view_of_stored(const api::Resource& resource) { return resource.group == "events.k8s.io"; }

std::string_view verbs_of(const api::Resource& resource) {
  return resource.stored || is_view_of_stored(resource) ? kAllVerbs : "create";
}

template <typename Items>
std::string string_list(const Items& items) {
  std::string out = "[";
  for (const auto& item : items) out += fmt::format("{}\"{}\"", out.size() == 1 ? "" : ",", item);
  return out + "]";
}

std::string verb_list(std::string_view verbs) {
  std::vector<std::string_view> list;
  for (size_t at = 0; at <= verbs.size();) {
    const size_t comma = std::min(verbs.find(',', at), verbs.size());
    list.push_back(verbs.substr(at, comma - at));
    at = comma + 1;
  }
  return string_list(list);
}

// The kinds of one group and version, by name as Kubernetes lists them.
struct GroupVersion {
  std::string_view group, version;
  std::vector<const api::Resource*> resources;
  std::vector<const EmptyKind*> empty;

  std::string name() const { return group.empty() ? std::string(version) : fmt::format("{}/{}", group, version); }
  std::string path() const { return group.empty() ? "/api/v1" : fmt::format("/apis/{}", name()); }
};

std::vector<GroupVersion> group_versions() {
  std::vector<GroupVersion> found;
  const auto group_of = [&found](const auto& kind) -> GroupVersion& {
    const auto at = std::ranges::find_if(
        found, [&kind](const GroupVersion& g) { return g.group == kind.group && g.version == kind.version; });
    return at != found.end() ? *at : found.emplace_back(GroupVersion{kind.group, kind.version, {}, {}});
  };
  for (const api::Resource& resource : api::resources()) {
    if (!resource.plural.empty()) group_of(resource).resources.push_back(&resource);
  }
  for (const EmptyKind& kind : empty_kinds()) group_of(kind).empty.push_back(&kind);
  for (auto& group : found) {
    std::ranges::sort(group.resources, {}, [](const api::Resource* r) { return r->plural; });
  }
  return found;
}

// APIResourceList.
std::string resource_list(const GroupVersion& group) {
  std::string items;
  const auto add = [&items](std::string text) { items += (items.empty() ? "{" : ",{") + std::move(text) + "}"; };
  for (const api::Resource* r : group.resources) {
    std::string text = fmt::format(R"("name":"{}","singularName":"{}","namespaced":{},"kind":"{}","verbs":{})",
                                   r->plural, r->singular, r->namespaced, r->kind, verb_list(verbs_of(*r)));
    if (!r->short_names.empty()) text += R"(,"shortNames":)" + string_list(r->short_names);
    if (!r->categories.empty()) text += R"(,"categories":)" + string_list(r->categories);
    add(std::move(text));
    for (const Subresource& s : kSubresources) {
      if (!r->group.empty() || s.resource != r->plural) continue;
      const std::string other =
          s.group.empty() ? std::string() : fmt::format(R"("group":"{}","version":"{}",)", s.group, s.version);
      add(fmt::format(R"("name":"{}/{}","singularName":"","namespaced":{},{}"kind":"{}","verbs":{})", r->plural, s.name,
                      r->namespaced, other, s.kind, verb_list(s.verbs)));
    }
    if (r->has_status) {
      add(fmt::format(R"("name":"{}/status","singularName":"","namespaced":{},"kind":"{}","verbs":{})", r->plural,
                      r->namespaced, r->kind, verb_list(kStatusVerbs)));
    }
  }
  for (const EmptyKind* kind : group.empty) {
    add(fmt::format(
        R"("name":"{}","singularName":"{}","namespaced":true,"kind":"{}","verbs":["list"],"shortNames":["{}"])",
        kind->plural, kind->singular, kind->kind, kind->short_name));
  }
  return fmt::format(R"({{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"{}","resources":[{}]}})",
                     group.name(), items);
}

std::string response_kind(std::string_view group, std::string_view version, std::string_view kind) {
  return fmt::format(R"("responseKind":{{"group":"{}","version":"{}","kind":"{}"}})", group, version, kind);
}

// APIVersionDiscovery of aggregated discovery.
std::string aggregated_version(const GroupVersion& group) {
  std::string items;
  const auto add_item = [&items](std::string text) { items += (items.empty() ? "{" : ",{") + std::move(text) + "}"; };
  for (const api::Resource* r : group.resources) {
    std::string subresources;
    const auto add = [&subresources](std::string text) {
      subresources += (subresources.empty() ? "{" : ",{") + std::move(text) + "}";
    };
    for (const Subresource& s : kSubresources) {
      if (!r->group.empty() || s.resource != r->plural) continue;
      add(fmt::format(R"("subresource":"{}",{},"verbs":{})", s.name, response_kind(s.group, s.version, s.kind),
                      verb_list(s.verbs)));
    }
    if (r->has_status) {
      add(fmt::format(R"("subresource":"status",{},"verbs":{})", response_kind(r->group, r->version, r->kind),
                      verb_list(kStatusVerbs)));
    }
    std::string text = fmt::format(R"("resource":"{}",{},"scope":"{}","singularResource":"{}","verbs":{})", r->plural,
                                   response_kind(r->group, r->version, r->kind),
                                   r->namespaced ? "Namespaced" : "Cluster", r->singular, verb_list(verbs_of(*r)));
    if (!r->short_names.empty()) text += R"(,"shortNames":)" + string_list(r->short_names);
    if (!r->categories.empty()) text += R"(,"categories":)" + string_list(r->categories);
    if (!subresources.empty()) text += R"(,"subresources":[)" + subresources + "]";
    add_item(std::move(text));
  }
  for (const EmptyKind* kind : group.empty) {
    add_item(fmt::format(
        R"("resource":"{}",{},"scope":"Namespaced","singularResource":"{}","verbs":["list"],"shortNames":["{}"])",
        kind->plural, response_kind(kind->group, kind->version, kind->kind), kind->singular, kind->short_name));
  }
  return fmt::format(R"({{"version":"{}","resources":[{}],"freshness":"Current"}})", group.version, items);
}

std::string aggregated(std::string_view version, const std::vector<GroupVersion>& groups, bool core) {
  std::string items;
  for (const GroupVersion& group : groups) {
    if (group.group.empty() != core) continue;
    const std::string metadata = core ? R"({"creationTimestamp":null})"
                                      : fmt::format(R"({{"name":"{}","creationTimestamp":null}})", group.group);
    items += fmt::format(R"({}{{"metadata":{},"versions":[{}]}})", items.empty() ? "" : ",", metadata,
                         aggregated_version(group));
  }
  return fmt::format(
      R"({{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/{}","metadata":{{}},"items":[{}]}})",
      version, items);
}

// {"name":…,"versions":[…],"preferredVersion":…} of APIGroup; each group has one version.
std::string group_fields(const GroupVersion& group) {
  const std::string version = fmt::format(R"({{"groupVersion":"{}","version":"{}"}})", group.name(), group.version);
  return fmt::format(R"("name":"{}","versions":[{}],"preferredVersion":{})", group.group, version, version);
}

constexpr std::array<std::string_view, 2> kAggregatedVersions = {"v2", "v2beta1"};

std::string aggregated_type(std::string_view version) {
  return fmt::format("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", version);
}

// The path without slashes at its end, which clients write or not.
std::string_view plain_path(const Attributes& attributes) {
  std::string_view path = attributes.path;
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

Discovery::Discovery(const std::string& server_address) {
  const auto groups = group_versions();
  const auto add = [this](std::string path, std::string body) {
    documents_.emplace(std::move(path), make_document(std::string(kJson), std::move(body)));
  };
  add("/api", fmt::format(R"({{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":)"
                          R"([{{"clientCIDR":"0.0.0.0/0","serverAddress":"{}"}}]}})",
                          server_address));
  std::string named;
  for (const GroupVersion& group : groups) {
    add(group.path(), resource_list(group));
    if (group.group.empty()) continue;
    add(fmt::format("/apis/{}", group.group),
        fmt::format(R"({{"kind":"APIGroup","apiVersion":"v1",{}}})", group_fields(group)));
    named += fmt::format("{}{{{}}}", named.empty() ? "" : ",", group_fields(group));
  }
  add("/apis", fmt::format(R"({{"kind":"APIGroupList","apiVersion":"v1","groups":[{}]}})", named));
  for (size_t i = 0; i < kAggregatedVersions.size(); ++i) {
    const std::string type = aggregated_type(kAggregatedVersions[i]);
    for (const bool core : {true, false}) {
      aggregated_[i].emplace(core ? "/api" : "/apis",
                             make_document(type, aggregated(kAggregatedVersions[i], groups, core)));
    }
  }
}

bool Discovery::serves(const http::Request& head, const Attributes& attributes) const {
  return (head.method == "GET" || head.method == "HEAD") && documents_.contains(plain_path(attributes));
}

void Discovery::handle(CallPtr call) {
  const http::Request& request = call->request;
  const std::string_view path = plain_path(call->attributes);
  for (const std::string& type : accepted_types(request)) {
    if (type == kJson || type == "*/*" || type == "application/*") {
      return call->answer(answer_with(documents_.find(path)->second, request, "Accept"));
    }
    if (!aggregated_[0].contains(path) || !type.ends_with(";as=apigroupdiscoverylist")) continue;
    for (size_t i = 0; i < kAggregatedVersions.size(); ++i) {
      const std::string parameter = fmt::format(";v={};", kAggregatedVersions[i]);
      if (!type.starts_with("application/json;g=apidiscovery.k8s.io;") || type.find(parameter) == std::string::npos) {
        continue;
      }
      return call->answer(answer_with(aggregated_[i].find(path)->second, request, "Accept"));
    }
  }
  call->fail(not_acceptable());
}

}  // namespace keelson::apiserver
