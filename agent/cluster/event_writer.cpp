#include "agent/cluster/event_writer.h"

#include <fmt/core.h>

#include <chrono>

#include "api/tree.h"
#include "host/log.h"

namespace keelson::cluster {
namespace {

constexpr size_t kWaitingAtMost = 1000;

int64_t now_us() {
  using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::system_clock;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

std::string again_patch(const api::Event& event) {
  return fmt::format(R"({{"count":{},"lastTimestamp":"{}","message":{}}})", event.count.value_or(1),
                     api::to_string(event.last_timestamp.value_or(api::Time{})), api::json_string(event.message));
}

}  // namespace

EventWriter::EventWriter(apiclient::Client& client, std::string node_name)
    : client_(client), book_(std::move(node_name)) {}

void EventWriter::tell(const Happening& what) {
  auto event = book_.take(what, now_us());
  if (!event) return;
  const Name name{event->metadata.namespace_, event->metadata.name};
  const bool created = event->count.value_or(1) > 1;
  if (const auto known = waiting_.find(name); known != waiting_.end()) {
    known->second.event = std::move(*event);  // created or not is as it was
  } else {
    waiting_.emplace(name, Waiting{std::move(*event), created});
    order_.push_back(name);
    if (order_.size() > kWaitingAtMost) {
      // The first may be on its way; the one behind it has waited longest.
      const auto oldest = order_.begin() + (busy_ ? 1 : 0);
      waiting_.erase(*oldest);
      order_.erase(oldest);
    }
  }
  next();
}

void EventWriter::next() {
  if (busy_ || timer_.armed() || order_.empty()) return;
  busy_ = true;
  send(order_.front(), waiting_.at(order_.front()));
}

void EventWriter::send(const Name& name, const Waiting& waiting) {
  auto done = [this, name, created = waiting.created](apiclient::Outcome<api::Event> outcome) {
    answered(name, created, outcome);
  };
  if (waiting.created) {
    call_ = client_.patch<api::Event>(name.first, name.second, apiclient::PatchType::merge, again_patch(waiting.event),
                                      {}, std::move(done));
  } else {
    call_ = client_.create<api::Event>(waiting.event, {}, std::move(done));
  }
}

void EventWriter::answered(const Name& name, bool created, const apiclient::Outcome<api::Event>& outcome) {
  busy_ = false;
  auto& waiting = waiting_.at(name);
  if (!outcome && outcome.error().transient()) {
    timer_ = client_.loop().after(retry_.failed(), [this] { next(); });
    return;
  }
  retry_.succeeded();
  if (!outcome && created && outcome.error().not_found()) {
    waiting.created = false;  // it has expired: told anew
    return next();
  }
  if (!outcome && !outcome.error().already_exists())
    host::log_warning("event {} of {}: {}, ignoring", waiting.event.reason, name.second, outcome.error().message);
  waiting_.erase(name);
  order_.pop_front();
  next();
}

}  // namespace keelson::cluster
