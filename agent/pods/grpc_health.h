#pragma once
// grpc.health.v1.Health/Check as a probe asks it. Loop's thread. Source: the gRPC health
// checking protocol, gRPC over HTTP2.

#include <functional>
#include <string>

#include "agent/pods/checks.h"
#include "http/h2_channel.h"

namespace keelson::pods {

// `done` runs once, later, and may destroy the channel; it does not when that goes first.
void ask_grpc_health(http::H2Channel& channel, const std::string& authority, const std::string& service,
                     std::function<void(CheckResult)> done);

}  // namespace keelson::pods
