#pragma once
// GET /metrics, in Prometheus' text format. Loop's thread.

#include "host/metrics.h"
#include "master/apiserver/extension.h"

namespace keelson::apiserver {

class MetricsEndpoint : public Extension {
 public:
  explicit MetricsEndpoint(host::Metrics& metrics) : metrics_(metrics) {}

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  host::Metrics& metrics_;
};

}  // namespace keelson::apiserver
