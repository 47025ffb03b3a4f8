#pragma once
// The errors of the API in Kubernetes' own words: api::Status objects as kubectl and
// client-go expect them (apimachinery's pkg/api/errors), and the answers that carry them.
//
// Pure; safe on every thread.

#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "api/resource.h"
#include "http/server.h"

namespace keelson::apiserver {

// What a Status is about: plural and group in details ("pods", ""), the name when there is one.
struct Subject {
  std::string_view group;
  std::string_view plural;
  std::string_view name;
};
Subject subject_of(const api::Resource& resource, std::string_view name);

api::Status failure(int code, std::string_view reason, std::string message);

api::Status bad_request(std::string message);                            // 400
api::Status unauthorized();                                              // 401
api::Status forbidden(const Subject& subject, std::string_view why);     // 403 `pods "web" is forbidden: …`
api::Status not_found(const Subject& subject);                           // 404 `pods "web" not found`
api::Status no_such_path();                                              // 404 of a path that nothing serves
api::Status method_not_allowed();                                        // 405
api::Status not_acceptable();                                            // 406
api::Status already_exists(const Subject& subject);                      // 409
api::Status conflict(const Subject& subject, std::string_view why);      // 409 `Operation cannot be fulfilled on …`
api::Status expired(std::string message);                                // 410
api::Status too_large(std::string message);                              // 413
api::Status unsupported_media_type(std::string_view accepted);           // 415
api::Status too_many_requests();                                         // 429
api::Status internal_error(std::string_view why);                        // 500
api::Status unavailable(std::string_view why);                           // 503
api::Status too_large_resource_version(int64_t asked, int64_t current);  // 504
api::Status timed_out(std::string_view why);                             // 504

// Success without an object, as deletions and bindings answer.
api::Status success();

// `return refuse(bad_request(…));` in what returns an expected.
inline std::unexpected<api::Status> refuse(api::Status status) { return std::unexpected(std::move(status)); }

http::Answer answer_of(const api::Status& status);

}  // namespace keelson::apiserver
