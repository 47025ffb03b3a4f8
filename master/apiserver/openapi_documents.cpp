#include "master/apiserver/openapi_documents.h"

#include <fmt/core.h>

#include <algorithm>

#include "api/openapi.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kV2 = "/openapi/v2";
constexpr std::string_view kV3 = "/openapi/v3";
constexpr std::string_view kJsonType = "application/json";
// As kubectl asks for it; and as it is told, since Go cannot parse the other.
constexpr std::string_view kProtobufAsked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
constexpr std::string_view kProtobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

const Document& made(std::optional<Document>& document, std::string_view type, std::string (*make)()) {
  if (!document) document = make_document(std::string(type), make());
  return *document;
}

bool is_json(std::string_view type) { return type == kJsonType || type == "*/*" || type == "application/*"; }

}  // namespace

bool OpenApiDocuments::serves(const http::Request& head, const Attributes& attributes) const {
  return (head.method == "GET" || head.method == "HEAD") &&
         (attributes.path == kV2 || attributes.path == kV3 || attributes.path.starts_with("/openapi/v3/"));
}

void OpenApiDocuments::handle(CallPtr call) { call->answer(answer(call->attributes, call->request)); }

http::Answer OpenApiDocuments::answer(const Attributes& attributes, const http::Request& request) {
  const auto types = accepted_types(request);
  if (attributes.path == kV2) {
    for (const std::string& type : types) {
      if (type == kProtobufAsked || type == kProtobuf) {
        return answer_with(made(v2_protobuf_, kProtobuf, api::openapi_v2_protobuf), request, "Accept");
      }
      if (is_json(type)) return answer_with(made(v2_json_, kJsonType, api::openapi_v2_json), request, "Accept");
    }
    return answer_of(not_acceptable());
  }
  if (std::ranges::none_of(types, is_json)) return answer_of(not_acceptable());
  if (attributes.path == kV3) return answer_with(made(v3_index_, kJsonType, api::openapi_v3_index), request);
  const std::string path = attributes.path.substr(kV3.size() + 1);
  auto at = v3_.find(path);
  if (at == v3_.end()) {
    std::string body = api::openapi_v3_json(path);
    if (body.empty()) return answer_of(no_such_path());  // and nothing to remember: paths are endless
    at = v3_.emplace(path, make_document(std::string(kJsonType), std::move(body))).first;
  }
  http::Answer answer = answer_with(*at->second, request);
  // The index tells the hash of what stands here: under that name it will never be another.
  const std::string asked = fmt::format("/openapi/v3/{}?hash={}\"", path, request.query.get("hash").value_or(""));
  if (made(v3_index_, kJsonType, api::openapi_v3_index).body.find(asked) != std::string::npos) {
    answer.headers.add("Cache-Control", "public, max-age=31536000, immutable");
  }
  return answer;
}

}  // namespace keelson::apiserver
