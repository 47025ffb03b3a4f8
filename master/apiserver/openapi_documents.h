#pragma once
// /openapi/v2 and /openapi/v3: the schemas that kubectl validates, explains and merges by.
// Made from the tables when first asked for, and kept. Loop's thread.

#include <map>
#include <optional>
#include <string>

#include "master/apiserver/document.h"
#include "master/apiserver/extension.h"

namespace keelson::apiserver {

class OpenApiDocuments : public Extension {
 public:
  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  http::Answer answer(const Attributes& attributes, const http::Request& request);

  std::optional<Document> v2_json_, v2_protobuf_, v3_index_;
  std::map<std::string, std::optional<Document>, std::less<>> v3_;  // by "api/v1"; nothing: not served
};

}  // namespace keelson::apiserver
