#pragma once
// OpenAPI documents of everything that resources() describes, made from the tables.
//
// Pure and costly (a few hundred KiB of text): make them once, when first asked for.
// Sources: OpenAPI 2.0 and 3.0; openapi_v2.proto of gnostic, whose Document kubectl
// up to 1.28 asks for; the x-kubernetes extensions that kubectl reads.

#include <string>
#include <string_view>

namespace keelson::api {

std::string openapi_v2_json();
std::string openapi_v2_protobuf();  // a gnostic Document

// {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=…"}}}
std::string openapi_v3_index();
// Of "api/v1" or "apis/GROUP/VERSION"; "" when nothing is served there.
std::string openapi_v3_json(std::string_view path);

}  // namespace keelson::api
