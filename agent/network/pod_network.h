#pragma once
// The pod network of a node: who has which address, and the cables. Implements
// api::PodNetwork; main owns it.
//
// Loop's thread. What blocks in the kernel runs on a worker, in order for each pod. State
// outside the process: links, routes and one nft table in the kernel (names.h), and in
// <run-dir>/network an allocation file for each pod and `host-state` with the sysctls'
// old values. All of it outlives the agent, and is found again by the next create().

#include <memory>
#include <string>
#include <vector>

#include "agent/network/peers.h"
#include "api/cri.h"
#include "api/ip.h"
#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::network {

struct Finding;

struct Settings {
  std::vector<api::Cidr> pod_cidrs;      // at most one of each family; the first is the primary
  std::vector<api::Cidr> service_cidrs;  // only kept unreachable and out of address translation
  host::Path run_dir = "/run/keelson";
  // Tells two agents on one host apart; "" for the ordinary one. Must stay the same over
  // restarts. Letters, digits and '-', 32 at most.
  std::string instance;
};

class PodNet : public api::PodNetwork {
 public:
  // Prepares the host, blocking (some ms): refuses networks that overlap the host's
  // (invalid), then adds unreachable routes, forwarding, the nft table, and reads who
  // holds what. Safe to repeat. After a failure what was done so far stays; teardown or a
  // later create() deals with it.
  static host::Result<std::unique_ptr<PodNet>> create(host::Loop& loop, Settings settings);
  ~PodNet() override;  // leaves all as it is

  void attach(const std::string& uid, const api::Sandbox& sandbox, api::Callback<api::PodAddresses> done) override;
  void detach(const std::string& uid, api::StatusCallback done) override;
  void retain(const std::vector<std::string>& uids) override;
  host::Result<api::PodAddresses> addresses(const std::string& uid) override;

  // All other nodes of the cluster, whenever that differs: routes to their pods come and
  // go with them, on a worker, and what goes there keeps its source address. A failure is
  // logged and tried again. Before the first call the routes that an earlier agent made
  // stand.
  void set_peers(std::vector<Peer> peers);

  // For drain, when the pods are gone: takes every link, route, nft table, sysctl change
  // and file away, and then looks: an error names what is left. attach() is refused from
  // here on.
  void teardown(api::StatusCallback done);

  // What keeps pods from their network, by others' doing (doctor.h: examine_running_host), as of
  // the last look: one at the start, then one every 20 s. Each is logged when it appears.
  const std::vector<Finding>& findings() const;

  // The host's end of a pod's cable, whether or not it exists; and what all of them begin
  // with, for programs that are attached to them.
  std::string interface_of(const std::string& uid) const;
  std::string interface_prefix() const;

 private:
  struct Impl;
  explicit PodNet(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with jobs on their way back from a worker
};

}  // namespace keelson::network
