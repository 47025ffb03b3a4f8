#pragma once
// /healthz, /livez and /readyz with their checks (/readyz/etcd, ?verbose, ?exclude=), and
// /version. Loop's thread. Source: Kubernetes API health endpoints.

#include <functional>
#include <string>
#include <vector>

#include "host/error.h"
#include "master/apiserver/extension.h"

namespace keelson::apiserver {

class Health : public Extension {
 public:
  struct Check {
    std::string name;                     // "etcd"
    bool matters_to_livez = false;        // a restart would help
    std::function<host::Status()> check;  // quick
  };
  explicit Health(std::vector<Check> checks) : checks_(std::move(checks)) {}

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  std::vector<Check> checks_;
};

class VersionEndpoint : public Extension {
 public:
  explicit VersionEndpoint(std::string keelson_version);

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  std::string body_;
};

}  // namespace keelson::apiserver
