#pragma once
// What a ReplicationController wants of its Pods: which are its own, how many are to be
// made, which are to go, what its status says. Pure functions.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/replication.h"

namespace keelson::controllers {

using PodPtr = std::shared_ptr<const api::Pod>;  // shared with the reflector that keeps it

// The reference to the owner that manages the object; null when there is none.
const api::OwnerReference* controller_of(const api::ObjectMeta& metadata);

bool is_active(const api::Pod& pod);  // not finished, not on its way out
bool is_ready(const api::Pod& pod);
// Ready since so many seconds at least.
bool is_available(const api::Pod& pod, int64_t min_ready_seconds, int64_t now);
const api::PodCondition* condition_of(const api::Pod& pod, std::string_view type);

struct Claims {
  std::vector<PodPtr> own;      // active ones
  std::vector<PodPtr> adopt;    // match, and have nobody
  std::vector<PodPtr> release;  // its own, and do not match any more
};
// `pods` are those that it controls, and those of its namespace that nobody does.
Claims claim(const api::ReplicationController& controller, const std::vector<PodPtr>& pods);

// The first `count` in the order in which Kubernetes takes Pods away: those without a
// node, that do not run, are not ready, are cheap to delete, share a node with many of
// the others, have been ready for less time, have restarted more, are younger.
std::vector<PodPtr> victims(std::vector<PodPtr> pods, size_t count, int64_t now);

// As the template has it, with an owner; the name is the caller's to give.
api::Pod pod_from(const api::ReplicationController& controller);
// "web-x7k2p": up to 58 characters of the name, and five that `random` chooses.
std::string generated_name(std::string_view base, uint64_t random);

struct ReplicaStatus {
  api::ReplicationControllerStatus status;
  // When a Pod will have been ready for long enough, if any is waiting for that.
  std::optional<int64_t> next_available;
};
// `failure`: reason and message of the condition ReplicaFailure, when there is one to report.
struct ReplicaFailure {
  std::string reason;  // FailedCreate, FailedDelete
  std::string message;
};
ReplicaStatus status_of(const api::ReplicationController& controller, const std::vector<PodPtr>& own,
                        const std::optional<ReplicaFailure>& failure, int64_t now);
// All of it, as a merge patch.
std::string status_patch(const api::ReplicationControllerStatus& status);

}  // namespace keelson::controllers
