#pragma once
// An answer that is the same for everybody until the process ends: discovery, OpenAPI. It is
// told apart by an ETag, so that who has it already is told only that (RFC 9110 13.1.2).
// Pure; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace keelson::apiserver {

struct Document {
  std::string content_type;
  std::string body;
  std::string etag;  // with its quotation marks: "\"0123ABCD\""
};
Document make_document(std::string content_type, std::string body);

// 200 with the body, or 304 without, as the request's If-None-Match says. `vary`: what the
// choice of this document hung on ("Accept"), for caches.
http::Answer answer_with(const Document& document, const http::Request& request, std::string_view vary = {});

// The media types that a request accepts, best first: without blanks, in lower case, with
// their parameters but q (RFC 9110 12.5.1). An absent or empty Accept is "*/*".
std::vector<std::string> accepted_types(const http::Request& request);

}  // namespace keelson::apiserver
