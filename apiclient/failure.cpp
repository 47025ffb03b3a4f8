#include "apiclient/failure.h"

#include <fmt/format.h>

#include "api/codec.h"
#include "api/resource.h"
#include "http/message.h"

namespace keelson::apiclient {

namespace {

constexpr size_t kMostText = 300;  // of an answer that is no Status

host::Error::Code kind_of(int code) {
  using Code = host::Error::Code;
  switch (code) {
    case 400:
    case 406:
    case 413:
    case 415:
    case 422:
      return Code::invalid;
    case 401:
    case 403:
      return Code::denied;
    case 404:
      return Code::not_found;
    case 409:
      return Code::exists;
    case 0:
    case 429:
      return Code::unavailable;
    default:
      return code >= 500 ? Code::unavailable : Code::failed;
  }
}

}  // namespace

Failure failure_of(api::Status status, std::string_view request) {
  Failure failure;
  failure.code = status.code.value_or(500);
  failure.reason = status.reason.empty() ? api::status_reason(failure.code) : status.reason;
  failure.message =
      fmt::format("{}: {}", request, status.message.empty() ? http::reason_phrase(failure.code) : status.message);
  if (status.details && status.details->retry_after_seconds)
    failure.retry_after_s = *status.details->retry_after_seconds;
  failure.kind = kind_of(failure.code);
  failure.status = std::move(status);
  return failure;
}

Failure failure_of(int code, std::string_view body, std::string_view request) {
  api::Tree tree;
  size_t used = 0;
  if (const auto root = api::read_json(body, tree, 1, used); root && (*root)->string("kind") == api::Status::kKind) {
    if (auto status = api::decode_json<api::Status>(body)) {
      status->code = code;  // what HTTP says is what has happened
      return failure_of(std::move(*status), request);
    }
  }
  Failure failure;
  failure.code = code;
  failure.reason = api::status_reason(code);
  failure.kind = kind_of(code);
  auto text = std::string(body.substr(0, kMostText));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty() || !api::is_utf8(text)) text = http::reason_phrase(code);
  failure.message = fmt::format("{}: {} {}", request, code, text);
  return failure;
}

Failure failure_of(const host::Error& error) {
  Failure failure;
  failure.message = error.message;
  failure.kind = error.code;
  return failure;
}

}  // namespace keelson::apiclient
