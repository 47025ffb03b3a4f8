#pragma once
// Kinds of which there are none, and that cannot be made, but that kubectl asks for: `describe
// namespace` lists quotas and limits, and `drain` evicts only where there is a group "policy",
// for whose sake there are disruption budgets. They can be listed. Loop's thread.

#include <span>
#include <string_view>

#include "master/apiserver/extension.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

struct EmptyKind {
  std::string_view group, version, plural, singular, short_name, kind;  // all of them are namespaced
};
std::span<const EmptyKind> empty_kinds();

class EmptyKinds : public Extension {
 public:
  explicit EmptyKinds(const Store& store) : store_(store) {}

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  const Store& store_;
};

}  // namespace keelson::apiserver
