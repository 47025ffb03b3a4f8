#pragma once
// What one write will do, worked out against the cache: the room's own, behind registry.h.
// Loop's thread.

#include <expected>
#include <optional>
#include <string>
#include <utility>

#include "master/apiserver/registry.h"
#include "master/apiserver/service_allocation.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

struct Plan {
  Commit commit;
  Written written;       // what to answer when it holds; without a version: the commit's
  bool nothing = false;  // there is nothing to write: answer as it is
};
using Planned = std::expected<Plan, api::Status>;

// Who owns the fields of a change afterwards.
enum class Ownership : uint8_t {
  track,  // what changed belongs to the request's manager
  given,  // the object carries its managedFields already
};

class Planner {
 public:
  Planner(Store& store, const RegistryOptions& options, Admission* admission)
      : store_(store), options_(options), admission_(admission) {}

  // The kind that is stored for it: Event for both of its views.
  static const api::Resource& stored(const api::Resource& resource);
  VersionPtr current(const WriteRequest& request) const;
  api::Status missing(const WriteRequest& request) const;

  Planned create(const WriteRequest& request, api::AnyObject object, Ownership ownership, int64_t lease) const;
  // `next` is `current` changed, or what was sent in its place.
  Planned change(const WriteRequest& request, const VersionPtr& current, api::AnyObject next, Ownership ownership,
                 int64_t lease) const;
  Planned remove(const WriteRequest& request, const VersionPtr& current, const api::DeleteOptions& options) const;
  Planned bind(const WriteRequest& request, const api::Binding& binding) const;

 private:
  std::optional<api::Status> admit(const WriteRequest& request, const api::AnyObject* object,
                                   const api::AnyObject* old) const;
  std::optional<api::Status> check_namespace(const api::Resource& resource, const api::ObjectMeta& metadata,
                                             Commit& commit) const;
  // The put of `next` in the place of `current`, with the copies for its node. `value` is its
  // JSON without resourceVersion, when that is at hand.
  Plan put(const VersionPtr& current, api::AnyObject next, std::string value, int64_t lease, Plan plan,
           bool dry_run) const;
  Plan erase(const VersionPtr& current, Plan plan, bool dry_run) const;

  Store& store_;
  const RegistryOptions& options_;
  Admission* admission_;
};

}  // namespace keelson::apiserver
