#pragma once
// "Who am I?" and "What may I do?": SelfSubjectReview, SelfSubjectAccessReview and
// SelfSubjectRulesReview, which are answered and never stored. Loop's thread.

#include "master/apiserver/access.h"
#include "master/apiserver/extension.h"
#include "master/apiserver/node_authorizer.h"

namespace keelson::apiserver {

class Reviews : public Extension {
 public:
  explicit Reviews(NodeAuthorizer& authorizer) : authorizer_(authorizer) {}

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 64u << 10; }
  void handle(CallPtr call) override;

 private:
  http::Answer answer(const User& user, const Attributes& attributes, const http::Request& request);

  NodeAuthorizer& authorizer_;
};

}  // namespace keelson::apiserver
