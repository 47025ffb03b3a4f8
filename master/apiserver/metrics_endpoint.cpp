#include "master/apiserver/metrics_endpoint.h"

namespace keelson::apiserver {

bool MetricsEndpoint::serves(const http::Request& head, const Attributes& attributes) const {
  return (head.method == "GET" || head.method == "HEAD") && attributes.path == "/metrics";
}

void MetricsEndpoint::handle(CallPtr call) {
  call->answer({.status = 200,
                .content_type = "text/plain; version=0.0.4; charset=utf-8",
                .body = metrics_.render(),
                .headers = {}});
}

}  // namespace keelson::apiserver
