#include "master/apiserver/grants.h"

#include <algorithm>

#include "master/apiserver/credentials.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kAny[] = {"*"};
constexpr std::string_view kCore[] = {""};
constexpr std::string_view kCreate[] = {"create"};
constexpr std::string_view kGet[] = {"get"};
constexpr std::string_view kGetHead[] = {"get", "head"};
constexpr std::string_view kRead[] = {"get", "list", "watch"};
constexpr std::string_view kReadDelete[] = {"get", "list", "watch", "delete"};
constexpr std::string_view kChange[] = {"update", "patch"};
constexpr std::string_view kRecord[] = {"create", "update", "patch"};
constexpr std::string_view kHold[] = {"get", "list", "watch", "create", "update", "patch", "delete"};

constexpr std::string_view kEventGroups[] = {"", "events.k8s.io"};
constexpr std::string_view kEvents[] = {"events"};
constexpr std::string_view kCoordination[] = {"coordination.k8s.io"};
constexpr std::string_view kLeases[] = {"leases"};
constexpr std::string_view kPolicy[] = {"", "policy"};

// --- everybody

constexpr std::string_view kAuthentication[] = {"authentication.k8s.io"};
constexpr std::string_view kAuthorization[] = {"authorization.k8s.io"};
constexpr std::string_view kWhoAmI[] = {"selfsubjectreviews"};
constexpr std::string_view kWhatMayI[] = {"selfsubjectaccessreviews", "selfsubjectrulesreviews"};
constexpr ResourceGrant kEverybody[] = {{kCreate, kAuthentication, kWhoAmI}, {kCreate, kAuthorization, kWhatMayI}};

constexpr std::string_view kDiscovery[] = {"/api",       "/api/*",    "/apis",    "/apis/*",  "/healthz",
                                           "/healthz/*", "/livez",    "/livez/*", "/openapi", "/openapi/*",
                                           "/readyz",    "/readyz/*", "/version", "/version/"};
constexpr PathGrant kEverybodysPaths[] = {{kGetHead, kDiscovery}};
constexpr std::string_view kProbes[] = {"/healthz", "/healthz/*", "/livez",   "/livez/*",
                                        "/readyz",  "/readyz/*",  "/version", "/version/"};
constexpr PathGrant kAnonymousPaths[] = {{kGetHead, kProbes}};

// --- system:masters

constexpr ResourceGrant kAll[] = {{kAny, kAny, kAny}};
constexpr PathGrant kAllPaths[] = {{kAny, kAny}};

// --- the scheduler

constexpr std::string_view kSees[] = {
    "nodes", "namespaces", "services", "replicationcontrollers", "persistentvolumes", "persistentvolumeclaims"};
constexpr std::string_view kPods[] = {"pods"};
constexpr std::string_view kBinds[] = {"bindings", "pods/binding"};
constexpr std::string_view kPodStatus[] = {"pods/status"};
constexpr ResourceGrant kScheduler[] = {
    {kRead, kCore, kSees},
    {kReadDelete, kCore, kPods},
    {kCreate, kCore, kBinds},
    {kChange, kCore, kPodStatus},
    {kRecord, kEventGroups, kEvents},
    // One lease to lead by; others of the namespace are not its own.
    {.verbs = kHold, .groups = kCoordination, .resources = kLeases, .namespace_ = "kube-system"},
};

// --- the controllers. Garbage collection and the end of a namespace reach every kind.

constexpr std::string_view kSweep[] = {"get", "list", "watch", "update", "patch", "delete", "deletecollection"};
constexpr std::string_view kMakes[] = {"pods", "endpoints", "serviceaccounts"};
constexpr std::string_view kDiscoveryGroup[] = {"discovery.k8s.io"};
constexpr std::string_view kSlices[] = {"endpointslices"};
constexpr std::string_view kStatuses[] = {"*/status", "*/scale", "*/finalizers", "namespaces/finalize"};
constexpr std::string_view kEviction[] = {"pods/eviction"};
constexpr ResourceGrant kControllers[] = {
    {kSweep, kAny, kAny},
    {kCreate, kCore, kMakes},
    {kCreate, kDiscoveryGroup, kSlices},
    {kChange, kAny, kStatuses},
    {kGet, kAny, kStatuses},
    {kCreate, kPolicy, kEviction},
    {kRecord, kEventGroups, kEvents},
    {kHold, kCoordination, kLeases},
};

constexpr Grant kGrants[] = {
    {.subject = kMasters, .is_group = true, .resources = kAll, .paths = kAllPaths},
    {.subject = "system:kube-scheduler", .resources = kScheduler, .paths = {}},
    {.subject = "system:kube-controller-manager", .resources = kControllers, .paths = {}},
    {.subject = kAuthenticated, .is_group = true, .resources = kEverybody, .paths = kEverybodysPaths},
    {.subject = kUnauthenticated, .is_group = true, .resources = {}, .paths = kAnonymousPaths},
};

bool names(Words words, std::string_view word) {
  return std::ranges::any_of(words, [word](std::string_view w) { return w == "*" || w == word; });
}

bool names_resource(Words words, const Attributes& attributes) {
  return std::ranges::any_of(words, [&attributes](std::string_view word) {
    if (word == "*") return true;
    const size_t slash = word.find('/');
    const std::string_view resource = word.substr(0, slash);
    const std::string_view subresource = slash == std::string_view::npos ? "" : word.substr(slash + 1);
    return (resource == "*" || resource == attributes.resource) && subresource == attributes.subresource;
  });
}

bool covers(const ResourceGrant& grant, const Attributes& attributes) {
  return names(grant.verbs, attributes.verb) && names(grant.groups, attributes.group) &&
         names_resource(grant.resources, attributes) && (grant.names.empty() || names(grant.names, attributes.name)) &&
         (grant.namespace_.empty() || grant.namespace_ == attributes.namespace_);
}

bool covers(const PathGrant& grant, const Attributes& attributes) {
  return names(grant.verbs, attributes.verb) && std::ranges::any_of(grant.paths, [&](std::string_view path) {
           if (path.ends_with('*')) return attributes.path.starts_with(path.substr(0, path.size() - 1));
           return attributes.path == path;
         });
}

bool is_for(const Grant& grant, const User& user) {
  return grant.is_group ? user.in_group(grant.subject) : user.name == grant.subject;
}

std::vector<std::string> strings(Words words) { return {words.begin(), words.end()}; }

}  // namespace

std::span<const Grant> grants() { return kGrants; }

bool granted(const User& user, const Attributes& attributes) {
  return std::ranges::any_of(kGrants, [&](const Grant& grant) {
    if (!is_for(grant, user)) return false;
    if (attributes.is_resource) {
      return std::ranges::any_of(grant.resources, [&](const auto& g) { return covers(g, attributes); });
    }
    return std::ranges::any_of(grant.paths, [&](const auto& g) { return covers(g, attributes); });
  });
}

void append_rules(const User& user, std::string_view namespace_, api::SubjectRulesReviewStatus& into) {
  for (const Grant& grant : kGrants) {
    if (!is_for(grant, user)) continue;
    for (const ResourceGrant& g : grant.resources) {
      if (!g.namespace_.empty() && g.namespace_ != namespace_) continue;
      into.resource_rules.push_back({.verbs = strings(g.verbs),
                                     .api_groups = strings(g.groups),
                                     .resources = strings(g.resources),
                                     .resource_names = strings(g.names)});
    }
    for (const PathGrant& g : grant.paths) {
      into.non_resource_rules.push_back({.verbs = strings(g.verbs), .non_resource_urls = strings(g.paths)});
    }
  }
}

}  // namespace keelson::apiserver
