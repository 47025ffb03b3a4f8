#include "agent/cluster/event_book.h"

#include <fmt/core.h>

#include <algorithm>

namespace keelson::cluster {
namespace {

constexpr size_t kRemembered = 4096;
constexpr double kObjectBurst = 25;
constexpr double kObjectPerSecond = 1.0 / 300;
constexpr size_t kSimilar = 10;
constexpr int64_t kSimilarWithinUs = 600'000'000;
constexpr size_t kLongestMessage = 1024;  // the API's limit

std::string object_key(const Happening& what) {
  const auto& o = what.object;
  return fmt::format("{}\n{}\n{}\n{}\n{}", o.kind, o.namespace_, o.name, o.uid, o.api_version);
}

// At most that many bytes, without half a character at the end.
std::string shortened(std::string text) {
  if (text.size() <= kLongestMessage) return text;
  text.resize(kLongestMessage);
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
  if (!text.empty() && (static_cast<unsigned char>(text.back()) & 0x80) != 0) text.pop_back();
  return text;
}

}  // namespace

EventBook::Entry& EventBook::entry(const std::string& key, bool& fresh) {
  const auto found = entries_.find(key);
  fresh = found == entries_.end();
  if (!fresh) {
    order_.splice(order_.begin(), order_, found->second);
    return order_.front();
  }
  if (order_.size() >= kRemembered) {
    entries_.erase(order_.back().key);
    order_.pop_back();
  }
  order_.push_front({.key = key, .event = {}, .messages = {}});
  entries_[key] = order_.begin();
  return order_.front();
}

bool EventBook::allowed(const Happening& what, int64_t now_us) {
  bool fresh = false;
  auto& bucket = entry("object\n" + object_key(what), fresh);
  if (fresh) {
    bucket.tokens = kObjectBurst;
    bucket.since_us = now_us;
  }
  const auto passed = static_cast<double>(std::max<int64_t>(0, now_us - bucket.since_us)) / 1e6;
  bucket.tokens = std::min(kObjectBurst, bucket.tokens + passed * kObjectPerSecond);
  bucket.since_us = now_us;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

std::optional<api::Event> EventBook::take(const Happening& what, int64_t now_us) {
  auto message = shortened(what.message);
  const auto subject = fmt::format("{}\n{}\n{}", object_key(what), what.warning, what.reason);
  bool fresh = false;
  auto& similar = entry("similar\n" + subject, fresh);
  if (fresh || now_us - similar.since_us > kSimilarWithinUs) similar.messages.clear();
  similar.since_us = now_us;
  if (similar.messages.size() <= kSimilar) similar.messages.insert(message);
  auto key = fmt::format("{}\n{}\n{}", subject, what.object.field_path, message);
  if (similar.messages.size() > kSimilar) {
    key = subject;
    message = shortened("(combined from similar events): " + message);
  }
  if (!allowed(what, now_us)) return std::nullopt;

  auto& known = entry("event\n" + key, fresh);
  const api::Time now{now_us / 1'000'000};
  if (known.event) {
    known.event->count = known.event->count.value_or(1) + 1;
    known.event->last_timestamp = now;
    known.event->message = std::move(message);
    return known.event;
  }
  api::Event event;
  event.metadata.namespace_ = what.object.namespace_.empty() ? "default" : what.object.namespace_;
  // Unique for this object: the time, and a number for two within a microsecond.
  event.metadata.name = fmt::format("{}.{:x}", what.object.name, static_cast<uint64_t>(now_us) * 1000 + made_++ % 1000);
  event.involved_object = what.object;
  event.reason = what.reason;
  event.message = std::move(message);
  event.source = {.component = "kubelet", .host = host_};
  event.first_timestamp = event.last_timestamp = now;
  event.count = 1;
  event.type = what.warning ? "Warning" : "Normal";
  event.reporting_component = "kubelet";
  event.reporting_instance = host_;
  known.event = event;
  return event;
}

}  // namespace keelson::cluster
