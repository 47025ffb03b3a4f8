#pragma once
// What is there in every cluster without anybody having made it: the namespaces, and the
// default/kubernetes Service with the endpoints of this server and of all others on the same
// etcd. It is looked after for as long as this lives: what somebody deletes comes back.
//
// Each server announces its address in etcd, under a lease that it takes anew for as long as it
// lives; the endpoints of one that has gone are taken away within a minute. All are thought to
// listen on the same port, and to be reached by the same family, as the Service has but one.
//
// Loop's thread. Source: Kubernetes' pkg/controlplane/controller (systemnamespaces,
// kubernetesservice) and reconcilers (lease).

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "host/ip.h"
#include "host/loop.h"
#include "master/apiserver/registry.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

struct BootstrapOptions {
  host::IpAddress service_ip;  // of default/kubernetes: the first of the Services' range
  // Where this server is reached from Pods. Nothing on a host that has but loopback: the
  // Service then has no endpoints.
  std::optional<host::IpAddress> address;
  uint16_t port = 6443;
  host::Duration period = std::chrono::seconds(10);  // of looking again
};

class Bootstrap : private Observer {
 public:
  Bootstrap(host::Loop& loop, Store& store, Registry& registry, BootstrapOptions options);
  ~Bootstrap() override;

  bool done() const { return done_; }  // all of it has been seen to be there

 private:
  void look();
  void make(api::AnyObject object);
  void make_namespaces();
  void make_service();
  void make_endpoints();
  void announce();
  std::set<std::string> addresses() const;  // of all servers

  void changed(const Change& change) override;
  void reset() override { soon(); }
  void soon();

  host::Loop& loop_;
  Store& store_;
  Registry& registry_;
  BootstrapOptions options_;
  std::set<std::string> under_way_;  // what is being written: "Kind/namespace/name"
  int64_t announced_with_ = 0;       // the lease of our address
  bool announcing_ = false;          // it is being written
  bool missing_ = false;             // something was, at the last look
  bool done_ = false;
  host::Timer timer_, soon_;
};

}  // namespace keelson::apiserver
