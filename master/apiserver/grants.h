#pragma once
// What each user and group of the cluster may do, as a table: system:masters everything, the
// components what they need, everybody discovery and the question what they may do.
// What a node may do to which of its things is not a matter of tables: node_authorizer.h.
//
// Constant data; any thread. Source: Kubernetes' bootstrap policy
// (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), for what there is here.

#include <span>
#include <string_view>
#include <vector>

#include "api/account.h"
#include "master/apiserver/attributes.h"

namespace keelson::apiserver {

using Words = std::span<const std::string_view>;

// "*" stands for all of a kind; in resources also "*/status".
struct ResourceGrant {
  Words verbs, groups, resources;    // "pods", "pods/status"
  Words names = {};                  // empty: all
  std::string_view namespace_ = {};  // empty: all
};
// A path that ends with "*" is a prefix.
struct PathGrant {
  Words verbs, paths;
};

struct Grant {
  std::string_view subject;  // a user or a group
  bool is_group = false;
  std::span<const ResourceGrant> resources;
  std::span<const PathGrant> paths;
};
std::span<const Grant> grants();

bool granted(const User& user, const Attributes& attributes);
// The same as rules, for SelfSubjectRulesReview: those that hold in the namespace.
void append_rules(const User& user, std::string_view namespace_, api::SubjectRulesReviewStatus& into);

}  // namespace keelson::apiserver
