#pragma once
// What can be done to objects, without HTTP: Kubernetes' rules for create, update, patch,
// delete and the subresources, each as one transaction on the store. The endpoints use it,
// and so does whoever bootstraps objects within the process.
//
// A write is planned against the cache and made conditional on what it was planned on. When
// etcd says that something changed, it is planned again on what there is now; and no write is
// refused, or found to change nothing, but on a cache that is up to date.
//
// Loop's thread. `done` runs once, on the loop's thread, perhaps within the call, never after
// the registry has been destroyed. A write whose fate is unknown (etcd went away) ends 504.

#include <chrono>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

// A write as it was asked for. The attributes say the namespace, the name ("" in a create:
// the object says it) and the subresource.
struct WriteRequest {
  User user;
  Attributes attributes;
  std::string field_manager;  // who then owns the fields
  bool dry_run = false;
};

enum class PatchType : uint8_t { json, merge, strategic, apply };
enum class Strictness : uint8_t { ignore, warn, strict };  // fieldValidation

struct Patch {
  PatchType type = PatchType::merge;
  std::string body;    // JSON; of apply YAML
  bool force = false;  // of apply
  Strictness strictness = Strictness::warn;
};

struct Written {
  VersionPtr version;                 // as stored now; of what is gone: its last state
  bool created = false;               // 201
  bool deleted = false;               // gone, not only marked
  std::vector<std::string> warnings;  // for the user: unknown fields
};
using Outcome = std::expected<Written, api::Status>;

class Registry {
 public:
  struct Impl;
  using Done = std::move_only_function<void(Outcome)>;
  // Makes an object what it should be, or says why not. May be called several times.
  using Mutation = std::function<std::expected<void, api::Status>(api::AnyObject& object)>;

  // Store and admission are borrowed; the latter may be null.
  Registry(host::Loop& loop, Store& store, RegistryOptions options, Admission* admission);
  ~Registry();

  // `object` as it was read, without defaults.
  void create(WriteRequest request, api::AnyObject object, Done done);
  // PUT, of the object, its status, or a Namespace's finalize.
  void update(WriteRequest request, api::AnyObject object, Done done);
  void patch(WriteRequest request, Patch patch, Done done);
  // Reads, changes and writes, until it holds; by the rules of an update.
  void modify(WriteRequest request, Mutation change, Done done);
  void remove(WriteRequest request, api::DeleteOptions options, Done done);
  // Binds the Pod to a node: pods/x/binding.
  void bind(WriteRequest request, api::Binding binding, Done done);

 private:
  std::shared_ptr<Impl> impl_;  // shared with answers under way, which may come after we are gone
};

}  // namespace keelson::apiserver
