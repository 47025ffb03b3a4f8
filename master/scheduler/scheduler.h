#pragma once
// Gives each Pod that has no node one: watches Pods and Nodes, decides (placement.h), and
// binds, many Pods at a time. What fits nowhere gets the condition PodScheduled=False and
// an Event that says why, and is tried again as soon as something changes that may help;
// nothing is polled. A Pod whose binding is under way already counts as being on its node.
//
// Loop's thread. Talks to nobody but the API server. Destroying it cancels what is under
// way; a binding that the server has read meanwhile still holds, and is seen by whoever
// comes next.

#include <memory>
#include <string>

#include "apiclient/client.h"
#include "host/loop.h"
#include "host/metrics.h"

namespace keelson::scheduler {

struct SchedulerOptions {
  std::string name = "default-scheduler";  // the spec.schedulerName that it answers to
  size_t connections = 32;                 // to the API server
  size_t binds = 128;                      // under way at once
};

class Scheduler {
 public:
  // Begins at once. Invalid: the configuration.
  static host::Result<std::unique_ptr<Scheduler>> create(host::Loop& loop, apiclient::Config api,
                                                         SchedulerOptions options, host::Metrics& metrics);
  ~Scheduler();

  // Pods and Nodes have been listed: it places Pods.
  bool running() const;

 private:
  struct Impl;
  explicit Scheduler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::scheduler
