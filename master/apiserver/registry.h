#pragma once
// What can be done to objects, without HTTP: Kubernetes' rules for create, update, patch,
// delete and the subresources, each as one transaction on the store. The endpoints use it,
// and so does whoever bootstraps objects within the process.
//
// Loop's thread. `done` runs once, on the loop's thread, perhaps within the call. A write
// whose fate is unknown (etcd went away) ends 500 or 503; nothing else has side effects
// when it fails.

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/patch.h"
#include "api/resource.h"
#include "host/ip.h"
#include "host/loop.h"
#include "master/apiserver/access.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

struct RegistryOptions {
  host::Cidr service_cluster_ips;                              // --service-cluster-ip-range
  uint16_t node_port_first = 30'000, node_port_last = 32'767;  // --service-node-port-range
  std::chrono::seconds event_ttl = std::chrono::hours(1);
};

// One write as it was asked for.
struct WriteRequest {
  User user;
  Attributes attributes;
  std::string field_manager;  // of managedFields; "" is "unknown"
  bool dry_run = false;
};

struct DeleteRequest {
  WriteRequest write;
  api::DeleteOptions options;
};

enum class PatchType : uint8_t { json, merge, strategic, apply };

struct PatchRequest {
  WriteRequest write;
  PatchType type = PatchType::merge;
  std::string body;    // JSON, or YAML of apply
  bool force = false;  // of apply
  enum class Strictness : uint8_t { ignore, warn, strict } strictness = Strictness::warn;
};

struct Written {
  VersionPtr version;                 // as stored; of a deletion at once: the last state
  bool created = false;               // 201
  bool deleted = false;               // gone, not only marked
  std::vector<std::string> warnings;  // of Warning: 299 headers
};
using Outcome = std::expected<Written, api::Status>;
using Done = std::move_only_function<void(Outcome)>;

class Registry {
 public:
  struct Impl;
  // Store and admission are borrowed; the latter may be null.
  Registry(host::Loop& loop, Store& store, RegistryOptions options, Admission* admission);
  ~Registry();

  // `object` as it was read, without defaults; attributes give namespace and name.
  void create(WriteRequest request, api::AnyObject object, Done done);
  // PUT. attributes.subresource "status", "finalize" (Namespace) or "".
  void update(WriteRequest request, api::AnyObject object, Done done);
  void patch(PatchRequest request, Done done);
  void remove(DeleteRequest request, Done done);
  // POST to pods/x/binding and pods/x/eviction.
  void bind(WriteRequest request, api::Binding binding, Done done);

  // A change that retries until it holds: `change` gets the object as it is stored and makes it
  // what it should be, or says why not. The main resource's rules (attributes.subresource) apply.
  using Mutation = std::function<std::expected<void, api::Status>(api::AnyObject& object, const Version& current)>;
  void modify(WriteRequest request, Mutation change, Done done);

 private:
  std::shared_ptr<Impl> impl_;  // shared with answers under way, which may come after we are gone
};

}  // namespace keelson::apiserver
