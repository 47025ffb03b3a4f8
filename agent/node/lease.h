#pragma once
// The Lease in kube-node-lease by which the master knows that this node lives: renewed
// every few seconds, made when it is not there. Loop's thread.

#include <chrono>
#include <string>

#include "apiclient/client.h"
#include "host/loop.h"

namespace keelson::node {

class Heartbeat {
 public:
  // The client must outlive it.
  Heartbeat(apiclient::Client& client, std::string node_name, host::Duration renew, std::chrono::seconds duration)
      : client_(client), name_(std::move(node_name)), renew_(renew), duration_(duration) {}

  void start() { beat(); }
  // The Node's uid: the Lease goes with it.
  void set_owner(std::string uid) { owner_uid_ = std::move(uid); }

 private:
  void beat();
  void create();
  void next(const apiclient::Failure* failure);

  apiclient::Client& client_;
  const std::string name_;
  const host::Duration renew_;
  const std::chrono::seconds duration_;
  std::string owner_uid_;
  apiclient::Call call_;
  host::Timer timer_;
  bool failing_ = false;
};

}  // namespace keelson::node
