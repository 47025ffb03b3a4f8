#pragma once
// The Kubernetes API over HTTP: authenticates, authorizes, and hands each request to the
// extension that serves it or to the verbs of its kind; counts and logs all of them.
//
//   auto store = Store::create(loop, etcd, metrics, {});
//   ApiServer api(loop, *store, metrics, {.authenticator = auth, .authorizer = rules}, {});
//   api.add(discovery);
//   auto server = http::Server::listen(loop, {…}, api);
//
// Loop's thread. The audit log is a line for each write and each refusal, reads at debug.

#include <memory>

#include "host/loop.h"
#include "host/metrics.h"
#include "http/server.h"
#include "master/apiserver/access.h"
#include "master/apiserver/extension.h"
#include "master/apiserver/registry.h"
#include "master/apiserver/store.h"
#include "master/apiserver/watch_hub.h"

namespace keelson::apiserver {

struct ApiServerOptions {
  RegistryOptions registry;
  WatchLimits watch;
  size_t max_watches = 20'000;          // more get 429
  size_t max_writes = 2'000;            // under way at once; more get 429
  size_t body_limit = size_t{3} << 20;  // Kubernetes' own
};

// Borrowed; they outlive the server. Admission may be null.
struct Access {
  Authenticator& authenticator;
  Authorizer& authorizer;
  Admission* admission = nullptr;
};

class ApiServer : public http::Handler {
 public:
  struct Impl;
  // All are borrowed and must outlive it.
  ApiServer(host::Loop& loop, Store& store, host::Metrics& metrics, Access access, ApiServerOptions options);
  ~ApiServer() override;

  void add(Extension& extension);
  // For who writes within the process: namespaces and the kubernetes Service at start.
  Registry& registry();

  std::expected<size_t, http::Answer> admit(const http::Request& head) override;
  void handle(http::Request request, http::Exchange exchange) override;
  http::Answer refusal(int status, const std::string& message) override;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::apiserver
