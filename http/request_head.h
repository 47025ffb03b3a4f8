#pragma once
// The header of a request, parsed strictly: the one place that decides where a message
// ends, so that nobody in front of us can be made to think otherwise (RFC 9112). Pure.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace keelson::http {

struct RequestHead {
  std::string method;
  std::string target;
  std::vector<std::string> segments;  // decoded; see Request
  Query query;
  Headers headers;
  bool http_1_1 = true;  // else 1.0
  bool keep_alive = true;
  bool chunked = false;
  std::optional<uint64_t> content_length;
  bool expects_continue = false;
  bool wants_upgrade = false;  // to WebSocket

  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

// Why a request is refused; the connection cannot be used further.
struct HeadRefusal {
  int status = 400;
  std::string message;
};

// `text` ends with the empty line.
std::expected<RequestHead, HeadRefusal> parse_request_head(std::string_view text);

}  // namespace keelson::http
