#pragma once
// The controllers: what keeps the cluster as its objects say it should be. They watch and
// act through the API server alone; the caller sees to it that only one process does so at
// a time (master/election).
//
// Loop's thread. Destroying them cancels what is under way; what the server has read
// already still happens, and the next ones see it.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "apiclient/client.h"
#include "host/ip.h"
#include "host/loop.h"
#include "host/metrics.h"

namespace keelson::controllers {

struct ControllersOptions {
  size_t connections = 32;  // to the API server
  // --node-monitor-grace-period: how long a node may be silent.
  host::Duration node_monitor_grace_period = std::chrono::seconds(40);
  // --pod-eviction-timeout: how long Pods stay on a node that is not ready or silent, when
  // they do not say themselves (those that have admission's toleration of 300 s).
  std::optional<std::chrono::seconds> pod_eviction_timeout;
  // --cluster-cidr, cut into --node-cidr-mask-size-ipv4 and -ipv6 for the nodes. Empty: nodes get none from us.
  std::vector<host::Cidr> cluster_cidrs;
  int node_mask_v4 = 24, node_mask_v6 = 64;
  // --terminated-pod-gc-threshold: so many finished Pods may stay, the oldest go first. 0: all may.
  size_t terminated_pods = 12'500;
};

// Whether the cluster's CIDRs can be cut as asked.
host::Status validate(const ControllersOptions& options);

class Controllers {
 public:
  // Begins at once. Invalid: the configuration.
  static host::Result<std::unique_ptr<Controllers>> create(host::Loop& loop, apiclient::Config api,
                                                           ControllersOptions options, host::Metrics& metrics);
  ~Controllers();

  // Everything has been listed: they act.
  bool running() const;

 private:
  struct Impl;
  explicit Controllers(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::controllers
