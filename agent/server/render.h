#pragma once
// What the API answers with, as JSON text. Pure.

#include <string>
#include <string_view>
#include <vector>

#include "agent/server/views.h"
#include "http/server.h"

namespace keelson::server {

// Kubernetes' Status object for a failure, with its HTTP status.
http::Answer failure(int status, std::string_view message);
http::Answer failure(const host::Error& error);
// 422 with a cause for each problem (400 and so on, as the error says, when there is none).
http::Answer failure(const PushRefusal& refusal);
// {"kind":"Status","status":"Success",…}
http::Answer success(std::string_view message, const std::vector<api::Problem>& warnings = {});

std::string render_backends(const std::vector<Backend>& backends);
std::string render_images(const std::vector<api::ImageInfo>& images);
std::string render_status(const NodeStatus& status, std::string_view version);
std::string render_flow(const Flow& flow);  // one line, with its end

// What exec's channel 3 ends with: the exit code of a wait status, or the failure.
std::string render_exit(int wait_status);
std::string render_exec_failure(const host::Error& error);

}  // namespace keelson::server
