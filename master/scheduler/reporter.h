#pragma once
// Tells why Pods wait: the condition PodScheduled and the Event FailedScheduling. Written
// behind the bindings, a few at a time, and of each Pod only the latest word: a cluster
// that is full of waiting Pods costs one write for each change of its story, not for each try.

#include <deque>
#include <map>
#include <string>

#include "apiclient/client.h"
#include "apiclient/event_recorder.h"
#include "master/scheduler/pod_info.h"

namespace keelson::scheduler {

class Reporter {
 public:
  // Both must outlive it.
  Reporter(apiclient::Client& client, apiclient::EventRecorder& events) : client_(client), events_(events) {}

  // reason: "Unschedulable" or "SchedulingGated". Says nothing when the Pod says so already.
  void waits(const PodPtr& pod, const std::string& reason, const std::string& message);
  void bound(const PodPtr& pod, const std::string& node);
  void bind_failed(const PodPtr& pod, const std::string& why);
  // It is gone, or has its node.
  void forget(const std::string& key) { told_.erase(key); }

 private:
  struct Told {
    PodPtr pod;
    std::string reason, message;
    bool queued = false;
  };
  void send_some();
  void send(const std::string& key, const Told& told);

  apiclient::Client& client_;
  apiclient::EventRecorder& events_;
  std::map<std::string, Told> told_;
  std::deque<std::string> queue_;
  std::map<std::string, apiclient::Call> under_way_;
};

// The patch of the Pod's status; the transition's time stays when the status does.
std::string condition_patch(const PodInfo& pod, const std::string& reason, const std::string& message, int64_t now);

}  // namespace keelson::scheduler
