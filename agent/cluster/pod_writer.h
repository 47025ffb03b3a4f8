#pragma once
// What this node writes of its Pods: their status, and that they are gone. Of each Pod at
// most one request is under way; what changed meanwhile goes with the next, the latest
// only. Bounded in requests at a time, and in how often one Pod is written; tried again
// without end while the API server is away. Loop's thread.

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "agent/cluster/retry.h"
#include "apiclient/client.h"

namespace keelson::cluster {

struct PodName {
  std::string namespace_, name, uid;  // another uid is another Pod
  auto operator<=>(const PodName&) const = default;
};

class PodWriter {
 public:
  // The client must outlive it.
  explicit PodWriter(apiclient::Client& client) : client_(client) {}

  // `patch` is status_patch(). What the API has acknowledged already is not sent again.
  void set_status(const PodName& pod, std::string patch);
  // Somebody has written over it (the master does, of a node that it has lost): once more.
  void say_again(const PodName& pod);
  // When its last status has been written: deleted with no grace, if it still is that Pod.
  // Again and again is as good as once, until forget().
  void remove(const PodName& pod);
  // The API has it no more: nothing is left to write.
  void forget(const PodName& pod);

  bool removing(const PodName& pod) const;
  size_t busy() const { return in_flight_; }

 private:
  struct Entry {
    std::string wanted, sent;  // patches; equal when there is nothing to say
    bool remove = false, removed = false;
    bool in_flight = false, queued = false;
    double tokens = 0;
    host::TimePoint counted;
    Retry retry;
    host::Timer timer;
    apiclient::Call call;
  };
  void enqueue(const PodName& pod, Entry& entry);
  void pump();
  void start(const PodName& pod, Entry& entry);
  void finished(const PodName& pod, Entry& entry, const apiclient::Failure* failure);

  apiclient::Client& client_;
  std::map<PodName, Entry> entries_;
  std::deque<PodName> queue_;
  size_t in_flight_ = 0;
};

}  // namespace keelson::cluster
