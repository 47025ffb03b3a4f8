// Updates, patches, bindings: an object that exists becomes another.
#include <fmt/core.h>

#include <algorithm>

#include "master/apiserver/identity.h"
#include "master/apiserver/managed_fields.h"
#include "master/apiserver/plan.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kModified =
    "the object has been modified; please apply your changes to the latest version and try again";

std::optional<api::Status> check_preconditions(const api::AnyObject& next, const api::AnyObject& current) {
  const api::ObjectMeta& wanted = next.metadata();
  const api::ObjectMeta& have = current.metadata();
  const Subject subject = subject_of(current.resource(), have.name);
  if (!wanted.uid.empty() && wanted.uid != have.uid) {
    return conflict(subject, fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}",
                                         wanted.uid, have.uid));
  }
  if (!wanted.resource_version.empty() && wanted.resource_version != have.resource_version) {
    return conflict(subject, kModified);
  }
  return std::nullopt;
}

// The last finalizer has gone from an object that is being deleted.
bool is_finished(const api::AnyObject& object) {
  const api::ObjectMeta& metadata = object.metadata();
  if (!metadata.deletion_timestamp || !metadata.finalizers.empty()) return false;
  if (const auto* space = object.get_if<api::Namespace>()) return space->spec.finalizers.empty();
  return metadata.deletion_grace_period_seconds.value_or(0) == 0;
}

bool equal_but_for_owners(api::AnyObject& next, const api::AnyObject& current) {
  auto& fields = next.metadata().managed_fields;
  auto own = std::exchange(fields, current.metadata().managed_fields);
  const bool equal = next == current;
  fields = std::move(own);
  return equal;
}

}  // namespace

Planned Planner::change(const WriteRequest& request, const VersionPtr& current, api::AnyObject next,
                        Ownership ownership, int64_t lease) const {
  const api::Resource& resource = current->object.resource();
  const std::string& subresource = request.attributes.subresource;
  api::ObjectMeta& metadata = next.metadata();
  const api::ObjectMeta& old = current->object.metadata();
  if (metadata.name.empty()) metadata.name = old.name;
  if (metadata.name != old.name) {
    return std::unexpected(bad_request(
        fmt::format("the name of the object ({}) does not match the name on the URL ({})", metadata.name, old.name)));
  }
  if (metadata.namespace_.empty()) metadata.namespace_ = old.namespace_;
  if (metadata.namespace_ != old.namespace_) {
    return std::unexpected(
        bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  }
  if (auto refusal = check_preconditions(next, current->object)) return std::unexpected(std::move(*refusal));

  api::set_defaults(next);
  if (subresource == "status") {
    api::prepare_status_update(next, current->object);
  } else if (subresource == "finalize") {
    auto finalizers = std::move(next.get_if<api::Namespace>()->spec.finalizers);
    next = current->object;
    next.get_if<api::Namespace>()->spec.finalizers = std::move(finalizers);
  } else {
    if (auto* service = next.get_if<api::Service>()) {
      drop_what_the_type_had(service->spec, current->object.get_if<api::Service>()->spec);
    }
    api::prepare_update(next, current->object);
  }
  next.metadata().resource_version = old.resource_version;
  Plan plan;
  if (auto refusal = admit(request, &next, &current->object)) return std::unexpected(std::move(*refusal));
  if (subresource != "finalize") {
    auto errors = subresource == "status" ? api::validate_status_update(next, current->object)
                                          : api::validate_update(next, current->object);
    if (!errors.empty()) return std::unexpected(api::invalid_status(resource, old.name, errors));
  }
  if (auto* service = next.get_if<api::Service>()) {
    const auto* before = current->object.get_if<api::Service>();
    if (auto errors = allocate(store_, options_, service, before, plan.commit); !errors.empty()) {
      return std::unexpected(api::invalid_status(resource, old.name, errors));
    }
  }
  const bool owners_differ = ownership == Ownership::given && next.metadata().managed_fields != old.managed_fields;
  if (!owners_differ && equal_but_for_owners(next, current->object)) {
    plan.nothing = true;
    plan.written.version = current;
    return plan;
  }
  std::string value;
  if (ownership == Ownership::track) {
    next.metadata().resource_version.clear();
    value = track_fields(next, current.get(),
                         {.name = request.field_manager,
                          .api_version = std::string(request.attributes.kind->api_version),
                          .subresource = subresource,
                          .now = now()});
  }
  if (is_finished(next)) {
    // What it was allocated goes with it: the operations planned for the change do not.
    plan.commit = {};
    plan = erase(current, std::move(plan), request.dry_run);
    plan.written.deleted = true;
    return plan;
  }
  return put(current, std::move(next), std::move(value), lease, std::move(plan), request.dry_run);
}

Planned Planner::bind(const WriteRequest& request, const api::Binding& binding) const {
  const VersionPtr current = this->current(request);
  if (!current) return std::unexpected(missing(request));
  const api::Pod& pod = *current->object.get_if<api::Pod>();
  const std::string& name = pod.metadata.name;
  const auto refuse = [&](std::string_view why) { return std::unexpected(conflict({"", "pods/binding", name}, why)); };
  const auto invalid = [&](std::string field, std::string message) {
    return std::unexpected(
        api::invalid_status(api::resource_of<api::Binding>(), name, {{std::move(field), std::move(message)}}));
  };
  if (!binding.target.kind.empty() && binding.target.kind != "Node") {
    return invalid("target.kind", fmt::format("Unsupported value: \"{}\": supported values: \"Node\", \"<empty>\"",
                                              binding.target.kind));
  }
  if (binding.target.name.empty()) return invalid("target.name", "Required value");
  if (!binding.metadata.uid.empty() && binding.metadata.uid != pod.metadata.uid) {
    return refuse(fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}",
                              binding.metadata.uid, pod.metadata.uid));
  }
  if (pod.metadata.deletion_timestamp) {
    return refuse(fmt::format("pod {} is being deleted, cannot be assigned to a host", name));
  }
  if (!pod.spec.node_name.empty()) {
    return refuse(fmt::format("pod {} is already assigned to node \"{}\"", name, pod.spec.node_name));
  }
  api::AnyObject next = current->object;
  api::Pod& bound = *next.get_if<api::Pod>();
  bound.spec.node_name = binding.target.name;
  for (const auto& [key, value] : binding.metadata.annotations) bound.metadata.annotations[key] = value;
  auto& conditions = bound.status.conditions;
  auto scheduled = std::ranges::find(conditions, "PodScheduled", &api::PodCondition::type);
  if (scheduled == conditions.end()) scheduled = conditions.emplace(conditions.end());
  if (scheduled->status != "True") scheduled->last_transition_time = now();
  scheduled->type = "PodScheduled";
  scheduled->status = "True";
  scheduled->reason.clear();
  scheduled->message.clear();
  if (auto refusal = admit(request, &next, &current->object)) return std::unexpected(std::move(*refusal));
  return put(current, std::move(next), {}, 0, {}, request.dry_run);
}

}  // namespace keelson::apiserver
