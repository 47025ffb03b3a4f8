// Deletions: marked first when somebody has to finish something, or gone at once.
#include <fmt/core.h>

#include <algorithm>

#include "master/apiserver/host_copies.h"
#include "master/apiserver/identity.h"
#include "master/apiserver/plan.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kOrphan = "orphan";
constexpr std::string_view kForeground = "foregroundDeletion";

std::optional<api::Status> check_preconditions(const api::AnyObject& object, const api::DeleteOptions& options) {
  if (!options.preconditions) return std::nullopt;
  const api::ObjectMeta& metadata = object.metadata();
  const Subject subject = subject_of(object.resource(), metadata.name);
  const auto& [uid, resource_version] = *options.preconditions;
  if (!uid.empty() && uid != metadata.uid) {
    return conflict(subject, fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid,
                                         metadata.uid));
  }
  if (!resource_version.empty() && resource_version != metadata.resource_version) {
    return conflict(subject,
                    fmt::format("Precondition failed: ResourceVersion in precondition: {}, ResourceVersion in object "
                                "meta: {}",
                                resource_version, metadata.resource_version));
  }
  return std::nullopt;
}

// Which of the two finalizers of garbage collection the deletion asks for; "" for neither.
std::string_view collection_finalizer(const api::AnyObject& object, const api::DeleteOptions& options) {
  if (object.get_if<api::Event>() != nullptr) return {};  // owns nothing
  if (options.orphan_dependents) return *options.orphan_dependents ? kOrphan : std::string_view();
  if (options.propagation_policy == "Orphan") return kOrphan;
  if (options.propagation_policy == "Foreground") return kForeground;
  if (options.propagation_policy == "Background") return {};
  for (const std::string_view name : {kOrphan, kForeground}) {
    if (std::ranges::find(object.metadata().finalizers, name) != object.metadata().finalizers.end()) return name;
  }
  // As v1 has always done with its controllers.
  return object.get_if<api::ReplicationController>() != nullptr ? kOrphan : std::string_view();
}

// Seconds that the object is given to end by itself; nothing for a kind that is not.
std::optional<int64_t> grace_of(const api::AnyObject& object, const api::DeleteOptions& options) {
  const auto* pod = object.get_if<api::Pod>();
  if (pod == nullptr) return std::nullopt;
  if (pod->spec.node_name.empty() || pod->status.phase == "Succeeded" || pod->status.phase == "Failed") return 0;
  const int64_t grace = options.grace_period_seconds.value_or(pod->spec.termination_grace_period_seconds.value_or(30));
  return grace < 0 ? 1 : grace;
}

void mark(api::ObjectMeta& metadata, api::Time when, int64_t grace) {
  metadata.deletion_timestamp = when;
  metadata.deletion_grace_period_seconds = grace;
  if (metadata.generation.value_or(0) > 0) ++*metadata.generation;
}

}  // namespace

Planned Planner::remove(const WriteRequest& request, const VersionPtr& current,
                        const api::DeleteOptions& options) const {
  if (auto refusal = check_preconditions(current->object, options)) return std::unexpected(std::move(*refusal));
  if (auto refusal = admit(request, nullptr, &current->object)) return std::unexpected(std::move(*refusal));
  api::AnyObject next = current->object;
  api::ObjectMeta& metadata = next.metadata();
  const auto* pod = next.get_if<api::Pod>();
  const std::optional<int64_t> grace = grace_of(next, options);
  Plan plan;
  bool marked = false;
  if (metadata.deletion_timestamp) {
    const int64_t left = metadata.deletion_grace_period_seconds.value_or(0);
    // A deletion under way can only be hurried.
    const bool shorter = pod != nullptr && options.grace_period_seconds && *grace < left;
    if (!shorter) {
      plan.nothing = true;
      plan.written.version = current;
      return plan;
    }
    metadata.deletion_timestamp->seconds += *grace - left;
    metadata.deletion_grace_period_seconds = *grace;
    marked = true;
  } else if (grace && *grace > 0) {
    mark(metadata, {now().seconds + *grace}, *grace);
    marked = true;
  }
  const std::string_view wanted = collection_finalizer(next, options);
  std::erase_if(metadata.finalizers,
                [&](const std::string& f) { return (f == kOrphan || f == kForeground) && f != wanted; });
  if (!wanted.empty() && std::ranges::find(metadata.finalizers, wanted) == metadata.finalizers.end()) {
    metadata.finalizers.emplace_back(wanted);
  }
  bool waits = !metadata.finalizers.empty() || (grace && metadata.deletion_grace_period_seconds.value_or(0) > 0);
  if (auto* space = next.get_if<api::Namespace>()) {
    waits = waits || !space->spec.finalizers.empty();
    space->status.phase = "Terminating";
  }
  if (!waits) {
    plan = erase(current, std::move(plan), request.dry_run);
    plan.written.deleted = true;
    return plan;
  }
  if (!marked && !metadata.deletion_timestamp) mark(metadata, now(), 0);
  return put(current, std::move(next), {}, current->lease, std::move(plan), request.dry_run);
}

Plan Planner::erase(const VersionPtr& current, Plan plan, bool dry_run) const {
  plan.written.version = current;
  if (dry_run) {
    plan.nothing = true;
    return plan;
  }
  const api::AnyObject& object = current->object;
  const std::string key = store_.key_of(object.resource(), object.metadata().namespace_, object.metadata().name);
  plan.commit.compares.push_back({.key = key, .value = current->revision});
  plan.commit.operations.emplace_back(etcd::Delete{.key = key});
  if (const auto* pod = object.get_if<api::Pod>()) copy_to_host(nullptr, pod, plan.commit.operations);
  if (const auto* service = object.get_if<api::Service>()) {
    allocate(store_, options_, nullptr, service, plan.commit);
  }
  return plan;
}

}  // namespace keelson::apiserver
