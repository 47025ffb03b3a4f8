#pragma once
// Carries out what plan_mirrors() says: creates mirror Pods, and has those that nobody
// wants deleted. One that somebody has deleted comes back a second later: `kubectl delete`
// looks whether it has gone, and would take the new one for the old. What fails (an unknown
// namespace, an API server that is away) is tried again, ever later. Loop's thread.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/cluster/mirrors.h"
#include "agent/cluster/pod_writer.h"
#include "agent/cluster/retry.h"
#include "apiclient/client.h"

namespace keelson::cluster {

class MirrorWriter {
 public:
  // Both must outlive it.
  MirrorWriter(apiclient::Client& client, PodWriter& writer) : client_(client), writer_(writer) {}

  // Acts with the next look().
  void want(std::vector<api::Pod> pods, bool complete, Owner node);
  // The mirror Pods that the API has of this node; again whenever they differ.
  void look(const std::vector<PodPtr>& present);

 private:
  struct Creation {
    apiclient::Call call;
    bool busy = false;
    Retry retry{std::chrono::seconds(1), std::chrono::seconds(60)};
    host::Timer timer;
    std::string failure;  // as it was logged last
  };
  using Name = std::pair<std::string, std::string>;  // namespace, name
  void create(const api::Pod& mirror);
  void create_later(const Name& name, host::Duration delay);

  apiclient::Client& client_;
  PodWriter& writer_;
  std::vector<api::Pod> pods_;
  bool complete_ = false;
  Owner node_;
  std::map<Name, Creation> creations_;  // under way, or waiting for the next try
  std::map<Name, api::Pod> missing_;
  std::set<Name> present_;  // at the last look
};

}  // namespace keelson::cluster
