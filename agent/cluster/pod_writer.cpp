#include "agent/cluster/pod_writer.h"

#include <fmt/core.h>

#include "host/log.h"

namespace keelson::cluster {
namespace {

using namespace std::chrono_literals;

constexpr size_t kAtOnce = 16;
// Of one Pod: a start and an end have a handful of states; one that flaps has no end of them.
constexpr double kBurst = 10, kPerSecond = 2;

}  // namespace

void PodWriter::set_status(const PodName& pod, std::string patch) {
  const auto [at, fresh] = entries_.try_emplace(pod);
  auto& entry = at->second;
  if (fresh) {
    entry.tokens = kBurst;
    entry.counted = host::Clock::now();
  }
  entry.wanted = std::move(patch);
  enqueue(pod, entry);
}

void PodWriter::say_again(const PodName& pod) {
  const auto found = entries_.find(pod);
  if (found == entries_.end() || found->second.in_flight || found->second.wanted != found->second.sent) return;
  found->second.sent.clear();
  enqueue(pod, found->second);
}

void PodWriter::remove(const PodName& pod) {
  const auto [at, fresh] = entries_.try_emplace(pod);
  auto& entry = at->second;
  if (fresh) {
    entry.tokens = kBurst;
    entry.counted = host::Clock::now();
  }
  if (std::exchange(entry.remove, true)) return;
  enqueue(pod, entry);
}

void PodWriter::forget(const PodName& pod) {
  const auto found = entries_.find(pod);
  if (found == entries_.end()) return;
  if (found->second.in_flight) --in_flight_;
  entries_.erase(found);
  pump();
}

bool PodWriter::removing(const PodName& pod) const {
  const auto found = entries_.find(pod);
  return found != entries_.end() && found->second.remove;
}

void PodWriter::enqueue(const PodName& pod, Entry& entry) {
  const bool nothing = entry.wanted == entry.sent && !(entry.remove && !entry.removed);
  if (nothing || entry.in_flight || entry.queued || entry.timer.armed()) return;
  const auto now = host::Clock::now();
  entry.tokens =
      std::min(kBurst, entry.tokens + std::chrono::duration<double>(now - entry.counted).count() * kPerSecond);
  entry.counted = now;
  if (entry.tokens < 1) {
    const auto wait = std::chrono::duration<double>((1 - entry.tokens) / kPerSecond);
    entry.timer = client_.loop().after(std::chrono::duration_cast<host::Duration>(wait) + 1ms, [this, pod] {
      if (const auto found = entries_.find(pod); found != entries_.end()) enqueue(pod, found->second);
    });
    return;
  }
  entry.tokens -= 1;
  entry.queued = true;
  queue_.push_back(pod);
  pump();
}

void PodWriter::pump() {
  while (in_flight_ < kAtOnce && !queue_.empty()) {
    const auto pod = std::move(queue_.front());
    queue_.pop_front();
    const auto found = entries_.find(pod);
    if (found == entries_.end() || !found->second.queued) continue;
    found->second.queued = false;
    start(pod, found->second);
  }
}

void PodWriter::start(const PodName& pod, Entry& entry) {
  entry.in_flight = true;
  ++in_flight_;
  if (entry.wanted != entry.sent) {
    entry.call = client_.patch<api::Pod>(pod.namespace_, pod.name, apiclient::PatchType::strategic, entry.wanted,
                                         {.subresource = "status"},
                                         [this, pod, patch = entry.wanted](apiclient::Outcome<api::Pod> outcome) {
                                           const auto found = entries_.find(pod);
                                           if (found == entries_.end()) return;
                                           if (outcome) found->second.sent = patch;
                                           finished(pod, found->second, outcome ? nullptr : &outcome.error());
                                         });
    return;
  }
  entry.call = client_.remove<api::Pod>(pod.namespace_, pod.name, {.grace_period_seconds = 0, .uid = pod.uid},
                                        [this, pod](apiclient::Outcome<void> outcome) {
                                          const auto found = entries_.find(pod);
                                          if (found == entries_.end()) return;
                                          if (outcome) found->second.removed = true;
                                          finished(pod, found->second, outcome ? nullptr : &outcome.error());
                                        });
}

void PodWriter::finished(const PodName& pod, Entry& entry, const apiclient::Failure* failure) {
  entry.in_flight = false;
  --in_flight_;
  if (failure == nullptr) {
    entry.retry.succeeded();
    enqueue(pod, entry);  // one that is removed stays until forget(): it is not asked for again
  } else if (failure->transient() || failure->denied()) {
    if (failure->denied()) host::log_warning("pod {}/{}: {}, trying again", pod.namespace_, pod.name, failure->message);
    entry.timer = client_.loop().after(entry.retry.failed(), [this, pod] {
      if (const auto found = entries_.find(pod); found != entries_.end()) enqueue(pod, found->second);
    });
  } else {
    // It is gone, or another has its name; or what we said of it is refused, and saying it
    // again would change nothing.
    const bool gone = failure->not_found() || failure->code == 409;
    if (!gone) host::log_warning("pod {}/{}: {}, ignoring", pod.namespace_, pod.name, failure->message);
    if (gone) {
      entries_.erase(pod);
    } else {
      if (entry.remove) entry.removed = entry.wanted == entry.sent;
      entry.sent = entry.wanted;
      enqueue(pod, entry);
    }
  }
  pump();
}

}  // namespace keelson::cluster
