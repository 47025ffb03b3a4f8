#pragma once
// Kinds that are not served, but that `kubectl describe namespace` lists and does not do
// without: there are none of them. Loop's thread.

#include "master/apiserver/extension.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

class EmptyKinds : public Extension {
 public:
  explicit EmptyKinds(const Store& store) : store_(store) {}

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(const User& user, const Attributes& attributes, http::Request request, http::Exchange exchange) override;

 private:
  const Store& store_;
};

}  // namespace keelson::apiserver
