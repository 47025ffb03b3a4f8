// New objects.
#include <fmt/core.h>

#include "master/apiserver/host_copies.h"
#include "master/apiserver/identity.h"
#include "master/apiserver/managed_fields.h"
#include "master/apiserver/plan.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

const api::Resource& Planner::stored(const api::Resource& resource) {
  return &resource == &api::resource_of<api::EventsEvent>() ? api::resource_of<api::Event>() : resource;
}

VersionPtr Planner::current(const WriteRequest& request) const {
  const Attributes& attributes = request.attributes;
  return store_.find(stored(*attributes.kind), attributes.namespace_, attributes.name);
}

api::Status Planner::missing(const WriteRequest& request) const {
  return not_found(subject_of(*request.attributes.kind, request.attributes.name));
}

std::optional<api::Status> Planner::admit(const WriteRequest& request, const api::AnyObject* object,
                                          const api::AnyObject* old) const {
  if (admission_ == nullptr) return std::nullopt;
  return admission_->admit(request.user, request.attributes, object, old);
}

// Nothing new comes into a namespace that does not exist or is going: the commit holds only
// while the namespace is as it was looked at.
std::optional<api::Status> Planner::check_namespace(const api::Resource& resource, const api::ObjectMeta& metadata,
                                                    Commit& commit) const {
  if (!resource.namespaced) return std::nullopt;
  const VersionPtr space = store_.find<api::Namespace>("", metadata.namespace_);
  if (!space) return not_found({"", "namespaces", metadata.namespace_});
  const auto& object = *space->object.get_if<api::Namespace>();
  if (object.metadata.deletion_timestamp || object.status.phase == "Terminating") {
    api::Status refusal =
        forbidden(subject_of(resource, metadata.name),
                  fmt::format("unable to create new content in namespace {} because it is being terminated",
                              metadata.namespace_));
    refusal.details->causes.push_back({.reason = "NamespaceTerminating",
                                       .message = fmt::format("namespace {} is being terminated", metadata.namespace_),
                                       .field = "metadata.namespace"});
    return refusal;
  }
  commit.compares.push_back(
      {.key = store_.key_of(space->object.resource(), "", metadata.namespace_), .value = space->revision});
  return std::nullopt;
}

Planned Planner::create(const WriteRequest& request, api::AnyObject object, Ownership ownership, int64_t lease) const {
  const api::Resource& resource = object.resource();
  api::ObjectMeta& metadata = object.metadata();
  if (!resource.namespaced) {
    metadata.namespace_.clear();
  } else if (metadata.namespace_.empty()) {
    metadata.namespace_ = request.attributes.namespace_;
  } else if (metadata.namespace_ != request.attributes.namespace_) {
    return std::unexpected(
        bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  }
  if (!metadata.resource_version.empty()) {
    return std::unexpected(failure(500, "", "resourceVersion should not be set on objects to be created"));
  }
  Plan plan;
  if (auto refusal = check_namespace(resource, metadata, plan.commit)) return std::unexpected(std::move(*refusal));
  if (metadata.name.empty() && !metadata.generate_name.empty()) {
    metadata.name = generated_name(metadata.generate_name);
    while (store_.find(resource, metadata.namespace_, metadata.name)) {
      metadata.name = generated_name(metadata.generate_name);
    }
  }
  metadata.uid = new_uid();
  metadata.creation_timestamp = now();
  if (ownership == Ownership::track) metadata.managed_fields.clear();
  api::set_defaults(object);
  api::prepare_create(object);
  if (auto refusal = admit(request, &object, nullptr)) return std::unexpected(std::move(*refusal));
  if (auto errors = api::validate_create(object); !errors.empty()) {
    return std::unexpected(api::invalid_status(resource, metadata.name, errors));
  }
  if (auto* service = object.get_if<api::Service>()) {
    if (auto errors = allocate(store_, options_, service, nullptr, plan.commit); !errors.empty()) {
      return std::unexpected(api::invalid_status(resource, metadata.name, errors));
    }
  }
  if (store_.find(resource, metadata.namespace_, metadata.name)) {
    return std::unexpected(already_exists(subject_of(resource, metadata.name)));
  }
  std::string value;
  if (ownership == Ownership::track) {
    value = track_fields(object, nullptr,
                         {.name = request.field_manager,
                          .api_version = std::string(request.attributes.kind->api_version),
                          .subresource = {},
                          .now = now()});
  }
  plan.written.created = true;
  return put(nullptr, std::move(object), std::move(value), lease, std::move(plan), request.dry_run);
}

Plan Planner::put(const VersionPtr& current, api::AnyObject next, std::string value, int64_t lease, Plan plan,
                  bool dry_run) const {
  const api::Resource& resource = next.resource();
  api::ObjectMeta& metadata = next.metadata();
  metadata.resource_version.clear();
  if (value.empty()) value = api::encode_json(next);
  auto object = std::make_shared<Prepared>(Prepared{
      .key = store_.key_of(resource, metadata.namespace_, metadata.name),
      .value = std::move(value),
      .object = std::move(next),
      .lease = lease,
      .version = nullptr,
  });
  if (dry_run) {
    plan.nothing = true;
    if (current) {
      plan.written.version = make_version(std::move(object->object), object->value, current->revision, lease);
    } else {
      plan.written.version =
          std::make_shared<Version>(Version{std::move(object->object), 0, lease, std::move(object->value), 0});
    }
    return plan;
  }
  plan.commit.compares.push_back({.key = object->key, .value = current ? current->revision : 0});
  if (const auto* pod = object->object.get_if<api::Pod>()) {
    copy_to_host(pod, current ? current->object.get_if<api::Pod>() : nullptr, plan.commit.operations);
  }
  plan.commit.object = std::move(object);
  return plan;
}

}  // namespace keelson::apiserver
