#pragma once
// This node's conversation with the API server about Pods and Services: which Pods are
// bound here and what they name, what becomes of them, and what is balanced. The Node
// object itself is agent/node's.
//
// Owner: main. Loop's thread. While the API server is away everything stands as it was
// last heard, what there is to write waits (the latest of each thing), and nothing is
// concluded from silence: a Pod goes only when a complete list is without it.
//
// - A Pod that the API has marked as deleted is acknowledged (deleted with no grace) when
//   nothing of it is left here, and at once when nothing ever was.
// - Each static Pod has a mirror Pod (mirrors.h), whose status is the static Pod's.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/cluster/mirrors.h"
#include "api/endpoint_slice.h"
#include "api/pod.h"
#include "api/service.h"
#include "apiclient/client.h"

namespace keelson::cluster {

struct Settings {
  std::string node_name;
  // Pods come from here; false: another source (etcd) has them, and only what they name,
  // their status, mirrors and acknowledgements are ours.
  bool pods = true;
};

// One manifest of the API's, by a name that says what it is: "pods/default/web".
using Manifests = std::map<std::string, std::shared_ptr<const std::string>>;  // shared with who reads them

// Called on the loop's thread, never from within a call into Cluster.
class ClusterListener {
 public:
  virtual ~ClusterListener() = default;
  // All Pods that are bound to this node (without mirrors), and the ConfigMaps and Secrets
  // that they name; whenever that differs.
  virtual void manifests(Manifests manifests) = 0;
  // Services differ, or have been heard for the first time.
  virtual void services_changed() = 0;
  virtual void slice_changed(const api::EndpointSlice& slice) = 0;
  virtual void slice_removed(const std::string& namespace_, const std::string& name) = 0;
  // The API server is away or refuses: once for each attempt.
  virtual void unreachable(const host::Error& error) = 0;
};

class Cluster {
 public:
  // Begins at once. The client and the listener must outlive it.
  static std::unique_ptr<Cluster> create(apiclient::Client& client, Settings settings, ClusterListener& listener);
  ~Cluster();

  // --- what happens here
  void pod_changed(const api::Pod& pod);
  void pod_removed(const std::string& namespace_, const std::string& name);
  // `field_path` is "spec.containers{web}" or "".
  void pod_noted(const api::Pod& pod, const std::string& field_path, bool warning, const std::string& reason,
                 const std::string& message);
  void node_noted(bool warning, const std::string& reason, const std::string& message);

  // --- what is wanted here. The static Pods of all sources, whether all sources have
  // spoken, and the Node's uid ("" while it is not registered: mirrors wait for it).
  void set_static_pods(std::vector<api::Pod> pods, bool complete, const std::string& node_uid);
  // From now on pod_changed() has told of every Pod that runs here: what is not among them
  // and deleted in the API can be acknowledged.
  void recovered();

  // --- what is known
  bool synced() const;  // Services and EndpointSlices have been heard
  std::vector<api::Service> services() const;
  // "Succeeded" or "Failed" when that is what the API has of this Pod; "" otherwise.
  std::string final_phase(const api::Pod& pod) const;
  // Of the Pod that the API names so, what it is called here; "" when it is no mirror's.
  std::string static_name(const std::string& name) const;

 private:
  struct Impl;
  explicit Cluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::cluster
