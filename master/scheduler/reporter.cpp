#include "master/scheduler/reporter.h"

#include <fmt/core.h>

#include <chrono>

#include "api/tree.h"
#include "host/log.h"

namespace keelson::scheduler {

namespace {

constexpr size_t kAtATime = 8;

api::ObjectReference reference_to(const PodInfo& pod) {
  return {.kind = "Pod",
          .namespace_ = pod.namespace_,
          .name = pod.name,
          .uid = pod.uid,
          .api_version = "v1",
          .resource_version = {},
          .field_path = {}};
}

int64_t now_seconds() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(since).count();
}

}  // namespace

std::string condition_patch(const PodInfo& pod, const std::string& reason, const std::string& message, int64_t now) {
  const bool turned = pod.condition_status != "False" || pod.condition_since == 0;
  return fmt::format(
      R"({{"metadata":{{"uid":{}}},"status":{{"conditions":[{{"type":"PodScheduled","status":"False","reason":{},)"
      R"("message":{},"lastProbeTime":null,"lastTransitionTime":"{}"}}]}}}})",
      api::json_string(pod.uid), api::json_string(reason), api::json_string(message),
      api::to_string(api::Time{turned ? now : pod.condition_since}));
}

void Reporter::waits(const PodPtr& pod, const std::string& reason, const std::string& message) {
  const std::string key = pod->key();
  const auto [found, is_new] = told_.try_emplace(key);
  Told& told = found->second;
  if (!is_new && told.pod->uid == pod->uid && told.reason == reason && told.message == message) return;
  const bool said = pod->condition_status == "False" && pod->condition_reason == reason &&
                    pod->condition_message == message && is_new;
  told.pod = pod;
  told.reason = reason;
  told.message = message;
  if (said || told.queued) return;
  told.queued = true;
  queue_.push_back(key);
  send_some();
}

void Reporter::send_some() {
  for (size_t turns = queue_.size(); turns > 0 && under_way_.size() < kAtATime; --turns) {
    const std::string key = std::move(queue_.front());
    queue_.pop_front();
    const auto told = told_.find(key);
    if (told == told_.end()) continue;
    // One after the other for one Pod; its answer sends the next.
    if (under_way_.contains(key)) {
      queue_.push_back(key);
      continue;
    }
    told->second.queued = false;
    send(key, told->second);
  }
}

void Reporter::send(const std::string& key, const Told& told) {
  const PodInfo& pod = *told.pod;
  if (told.reason == "Unschedulable") {
    events_.record(reference_to(pod), "Warning", "FailedScheduling", told.message, "Scheduling");
  }
  under_way_[key] = client_.patch<api::Pod>(
      pod.namespace_, pod.name, apiclient::PatchType::strategic,
      condition_patch(pod, told.reason, told.message, now_seconds()), {.subresource = "status"},
      [this, key](apiclient::Outcome<api::Pod> outcome) {
        // Gone or replaced meanwhile is no news.
        if (!outcome && outcome.error().code != 404 && outcome.error().code != 409 && outcome.error().code != 422) {
          host::log_warning("scheduler: condition of Pod {}: {}, ignoring", key, outcome.error().message);
        }
        under_way_.erase(key);
        send_some();
      });
}

void Reporter::bound(const PodPtr& pod, const std::string& node) {
  forget(pod->key());
  events_.record(reference_to(*pod), "Normal", "Scheduled",
                 fmt::format("Successfully assigned {} to {}", pod->key(), node), "Binding");
}

void Reporter::bind_failed(const PodPtr& pod, const std::string& why) {
  events_.record(reference_to(*pod), "Warning", "FailedScheduling", "binding rejected: " + why, "Scheduling");
}

}  // namespace keelson::scheduler
