#pragma once
// Scheduler and controllers of this process: each acts while it leads, or all the time
// where --leader-elect=false. They meet the API server by HTTP, whoever runs it.
// Loop's thread.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apiclient/kubeconfig.h"
#include "host/error.h"
#include "host/loop.h"
#include "host/metrics.h"
#include "master/options.h"
#include "master/setup.h"

namespace keelson::master {

class Components {
 public:
  // How to reach the API server as this user ("system:kube-scheduler").
  using Access = std::function<host::Result<apiclient::Config>(const std::string& user)>;
  // Starts those that --components names.
  static host::Result<std::unique_ptr<Components>> create(host::Loop& loop, const Options& options, const Setup& setup,
                                                          const Access& access, host::Metrics& metrics);
  ~Components();

  // They act no more, and whoever waits for their leadership need not wait longer: `done` runs
  // once, later, after 2 s at the latest.
  void release(std::function<void()> done);

 private:
  struct Component;
  Components();
  std::vector<std::unique_ptr<Component>> all_;
  size_t releasing_ = 0;
  std::function<void()> released_;
};

}  // namespace keelson::master
