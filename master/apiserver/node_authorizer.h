#pragma once
// May it? The table of grants for everybody, and for agents what they may do to their own
// node's things only: their Node and Lease, the Pods bound to them, the ConfigMaps and
// Secrets that those Pods name (but for mirrors, which a node makes itself); and what a node
// may write into them.
//
// Loop's thread. Source: Kubernetes' "Node authorization" (plugin/pkg/auth/authorizer/node)
// and the NodeRestriction admission plug-in.

#include <string>
#include <string_view>

#include "api/account.h"
#include "master/apiserver/access.h"
#include "master/apiserver/kind_cache.h"

namespace keelson::apiserver {

// The node that this user is the agent of (system:node:NAME in system:nodes); "" of others.
std::string_view node_of(const User& user);

class NodeAuthorizer : public Authorizer, public Admission {
 public:
  // `pods` are all Pods, borrowed.
  explicit NodeAuthorizer(const KindCache& pods) : pods_(pods) {}

  Decision authorize(const User& user, const Attributes& attributes) override;
  std::optional<api::Status> admit(const User& user, const Attributes& attributes, const api::AnyObject* object,
                                   const api::AnyObject* old) override;

  // What `user` may do in the namespace, as far as rules can say it.
  api::SubjectRulesReviewStatus rules_of(const User& user, std::string_view namespace_) const;

 private:
  Decision authorize_node(std::string_view node, const Attributes& attributes) const;
  bool needs(std::string_view node, const Attributes& attributes) const;

  const KindCache& pods_;
};

}  // namespace keelson::apiserver
