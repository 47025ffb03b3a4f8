#pragma once
// Why a request to the API server did not do what it was to do: the server's own
// Status, or the connection's trouble. Plain data.

#include <expected>
#include <optional>
#include <string>

#include "api/meta.h"
#include "host/error.h"

namespace keelson::apiclient {

struct Failure {
  int code = 0;         // HTTP; 0: no answer, and whether the server acted is not known
  std::string reason;   // Kubernetes' word ("NotFound", "AlreadyExists", "Conflict"); empty when it has none
  std::string message;  // with the request in front
  std::optional<int> retry_after_s;
  api::Status status;                                  // as sent; empty when the server sent none
  host::Error::Code kind = host::Error::Code::failed;  // as host::Error's callers know it

  bool unanswered() const { return code == 0; }
  bool not_found() const { return code == 404; }
  bool already_exists() const { return code == 409 && reason == "AlreadyExists"; }
  bool conflict() const { return code == 409 && reason == "Conflict"; }
  bool expired() const { return code == 410; }  // the history or the page asked for is gone
  bool denied() const { return code == 401 || code == 403; }
  // Worth the same request again, later: no answer, 429, 5xx.
  bool transient() const { return code == 0 || code == 429 || code >= 500; }

  host::Error error() const { return {.code = kind, .message = message}; }
};

template <typename T>
using Outcome = std::expected<T, Failure>;

// Of an answer outside 2xx. `request` ("GET /api/v1/pods") goes in front.
Failure failure_of(int code, std::string_view body, std::string_view request);
Failure failure_of(api::Status status, std::string_view request);
// Of no answer at all.
Failure failure_of(const host::Error& error);

}  // namespace keelson::apiclient
