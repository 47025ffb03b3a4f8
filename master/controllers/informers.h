#pragma once
// What the controllers know of the cluster: one reflector for each kind, shared by all of
// them. Nobody is told anything before all kinds have been listed; then each listener gets
// every object as new, and from there on the changes. Loop's thread.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/resource.h"
#include "apiclient/client.h"
#include "apiclient/complaints.h"
#include "apiclient/reflector.h"
#include "master/controllers/pod_index.h"

namespace keelson::controllers {

template <typename T>
class Informer {
 public:
  using Ptr = typename apiclient::Reflector<T>::Ptr;
  using Listener = std::function<void(const Ptr& old, const Ptr& now)>;  // old: null when new; now: null when gone

  // Before Informers::begin().
  void listen(Listener listener) { listeners_.push_back(std::move(listener)); }
  Ptr find(const std::string& namespace_, const std::string& name) const { return reflector_->find(namespace_, name); }
  template <typename Visit>
  void each(Visit visit) const {
    reflector_->each(visit);
  }
  bool connected() const { return reflector_->connected(); }
  // As a number: how far everything has been told.
  int64_t revision() const;

 private:
  friend class Informers;
  void tell(const Ptr& old, const Ptr& now) {
    for (const Listener& listener : listeners_) listener(old, now);
  }
  std::vector<Listener> listeners_;
  std::unique_ptr<apiclient::Reflector<T>> reflector_;
};

class Informers {
 public:
  Informer<api::Pod> pods;
  PodIndex pod_index;  // of these; up to date before a listener is told
  Informer<api::Node> nodes;
  Informer<api::Lease> leases;
  Informer<api::ReplicationController> replication_controllers;
  Informer<api::Service> services;
  Informer<api::Endpoints> endpoints;
  Informer<api::EndpointSlice> slices;
  Informer<api::Namespace> namespaces;
  Informer<api::ServiceAccount> service_accounts;
  Informer<api::ConfigMap> config_maps;
  Informer<api::Secret> secrets;

  // `synced` once, when all have been listed, before the listeners are told.
  void begin(apiclient::Client& client, std::function<void()> synced);
  bool synced() const { return waiting_for_ == 0; }
  // For who listens for heartbeats: Nodes or Leases could not be had just now.
  std::function<void()> deaf;

 private:
  template <typename T>
  void start(Informer<T>& informer, apiclient::Client& client);
  template <typename T>
  void replay(Informer<T>& informer);
  template <typename Visit>
  void each_informer(Visit visit);
  void one_synced();

  int waiting_for_ = -1;  // not begun
  std::function<void()> synced_;
  apiclient::Complaints complaints_{"controllers"};
};

int64_t revision_of(const std::string& resource_version);

template <typename T>
int64_t Informer<T>::revision() const {
  return revision_of(reflector_->version());
}

// "namespace/name", or "name".
template <typename T>
std::string key_of(const T& object) {
  return object.metadata.namespace_.empty() ? object.metadata.name
                                            : object.metadata.namespace_ + "/" + object.metadata.name;
}
// Its two halves; the namespace is empty when there is no slash.
std::pair<std::string, std::string> split_key(const std::string& key);

int64_t wall_seconds();
int64_t wall_microseconds();

}  // namespace keelson::controllers
