#pragma once
// GET …/pods/NAME/log: the container's log as its node's agent tells it, passed on as it
// comes. The agent is found by the Pod's Node and must show a certificate of the cluster's
// authority for the node's name; we show it ours. A client that reads slowly slows down the
// agent, not us; one that goes takes the request to the agent with it.
//
// Loop's thread. Source: Kubernetes' pkg/registry/core/pod/strategy.go (LogLocation) and
// kubelet's /containerLogs.

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "host/loop.h"
#include "http/client.h"
#include "master/apiserver/extension.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

struct AgentAccess {
  http::ClientTls tls;     // the cluster's authority; our certificate
  size_t max_logs = 1000;  // at a time; more get 429
};

class PodLog : public Extension {
 public:
  PodLog(host::Loop& loop, Store& store, AgentAccess access);
  ~PodLog() override;

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  class Session;
  host::Loop& loop_;
  Store& store_;
  AgentAccess access_;
  std::list<std::unique_ptr<Session>> sessions_;
};

}  // namespace keelson::apiserver
