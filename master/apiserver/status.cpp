#include "master/apiserver/status.h"

#include <fmt/core.h>

#include "api/codec.h"

namespace keelson::apiserver {

namespace {

// `pods "web"`, `leases.coordination.k8s.io "n1"`.
std::string qualified(const Subject& subject) {
  std::string text(subject.plural);
  if (!subject.group.empty()) text += fmt::format(".{}", subject.group);
  return text;
}
std::string named(const Subject& subject) {
  return subject.name.empty() ? qualified(subject) : fmt::format("{} \"{}\"", qualified(subject), subject.name);
}

api::Status about(const Subject& subject, int code, std::string_view reason, std::string message) {
  api::Status status = failure(code, reason, std::move(message));
  api::StatusDetails& details = status.details.emplace();
  details.name = subject.name;
  details.group = subject.group;
  details.kind = subject.plural;
  return status;
}

}  // namespace

Subject subject_of(const api::Resource& resource, std::string_view name) {
  return {resource.group, resource.plural, name};
}

api::Status failure(int code, std::string_view reason, std::string message) {
  api::Status status;
  status.status = "Failure";
  status.message = std::move(message);
  status.reason = reason;
  status.code = code;
  return status;
}

api::Status bad_request(std::string message) { return failure(400, "BadRequest", std::move(message)); }
api::Status unauthorized() { return failure(401, "Unauthorized", "Unauthorized"); }

api::Status forbidden(const Subject& subject, std::string_view why) {
  return about(subject, 403, "Forbidden", fmt::format("{} is forbidden: {}", named(subject), why));
}

api::Status not_found(const Subject& subject) {
  return about(subject, 404, "NotFound", fmt::format("{} not found", named(subject)));
}

api::Status no_such_path() {
  api::Status status = failure(404, "NotFound", "the server could not find the requested resource");
  status.details.emplace();
  return status;
}

api::Status method_not_allowed() {
  api::Status status =
      failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
  status.details.emplace();
  return status;
}

api::Status not_acceptable() {
  return failure(406, "NotAcceptable",
                 "only the following media types are accepted: application/json, application/yaml, "
                 "application/vnd.kubernetes.protobuf");
}

api::Status already_exists(const Subject& subject) {
  return about(subject, 409, "AlreadyExists", fmt::format("{} already exists", named(subject)));
}

api::Status conflict(const Subject& subject, std::string_view why) {
  return about(subject, 409, "Conflict", fmt::format("Operation cannot be fulfilled on {}: {}", named(subject), why));
}

api::Status expired(std::string message) { return failure(410, "Expired", std::move(message)); }
api::Status too_large(std::string message) { return failure(413, "RequestEntityTooLarge", std::move(message)); }

api::Status unsupported_media_type(std::string_view accepted) {
  return failure(
      415, "UnsupportedMediaType",
      fmt::format("the body of the request was in an unknown format - accepted media types include: {}", accepted));
}

api::Status too_many_requests() {
  api::Status status = failure(429, "TooManyRequests", "too many requests, please try again later.");
  status.details.emplace().retry_after_seconds = 1;
  return status;
}

api::Status internal_error(std::string_view why) {
  api::Status status = failure(500, "InternalError", fmt::format("Internal error occurred: {}", why));
  status.details.emplace().causes.push_back({.reason = {}, .message = std::string(why), .field = {}});
  return status;
}

api::Status unavailable(std::string_view why) {
  api::Status status = failure(503, "ServiceUnavailable", std::string(why));
  status.details.emplace().retry_after_seconds = 1;
  return status;
}

api::Status too_large_resource_version(int64_t asked, int64_t current) {
  api::Status status =
      failure(504, "Timeout", fmt::format("Timeout: Too large resource version: {}, current: {}", asked, current));
  api::StatusDetails& details = status.details.emplace();
  details.retry_after_seconds = 1;
  details.causes.push_back({.reason = "ResourceVersionTooLarge", .message = "Too large resource version", .field = {}});
  return status;
}

api::Status timed_out(std::string_view why) {
  api::Status status = failure(504, "Timeout", fmt::format("Timeout: {}", why));
  status.details.emplace();
  return status;
}

api::Status success() {
  api::Status status;
  status.status = "Success";
  return status;
}

http::Answer answer_of(const api::Status& status) {
  http::Answer answer{.status = status.code.value_or(200), .body = api::encode_json(status)};
  if (status.details && status.details->retry_after_seconds) {
    answer.headers.add("Retry-After", std::to_string(*status.details->retry_after_seconds));
  }
  return answer;
}

}  // namespace keelson::apiserver
