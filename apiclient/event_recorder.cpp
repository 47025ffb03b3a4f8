#include "apiclient/event_recorder.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

#include "host/log.h"

namespace keelson::apiclient {

namespace {

constexpr size_t kLongestMessage = 1024;  // Kubernetes'
constexpr size_t kLongestName = 253;
constexpr int kBurst = 50;
constexpr auto kLongestPause = std::chrono::seconds(1);

api::Time now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::seconds>(since).count()};
}

}  // namespace

struct EventRecorder::Impl {
  // One Event that was sent, by what it says.
  struct Remembered {
    std::string key;
    std::string namespace_, name;
    int count = 0;
  };

  Client& client;
  RecorderOptions options;
  std::deque<api::Event> waiting;
  std::list<Remembered> remembered;  // the latest first
  std::unordered_map<std::string, std::list<Remembered>::iterator> by_key;
  std::unordered_map<uint64_t, Call> under_way;
  uint64_t next = 0;
  size_t dropped = 0;
  double tokens = kBurst;
  host::TimePoint filled = host::Clock::now();
  host::Timer refill;
  std::optional<host::TimePoint> paused;  // since when

  static std::string key_of(const api::Event& event) {
    const api::ObjectReference& object = event.involved_object;
    return fmt::format("{}\n{}\n{}\n{}\n{}", object.kind, object.namespace_, object.uid, event.reason, event.message);
  }

  // Whether one may be sent now; otherwise send_some() comes again when one may.
  bool take_token() {
    const auto now = host::Clock::now();
    tokens += std::chrono::duration<double>(now - filled).count() * options.per_second;
    tokens = std::min(tokens, static_cast<double>(kBurst));
    filled = now;
    if (tokens < 1) {
      if (!refill.armed()) refill = client.loop().after(std::chrono::milliseconds(20), [this] { send_some(); });
      return false;
    }
    tokens -= 1;
    return true;
  }

  void send_some() {
    if (paused) {
      const auto left = *paused + kLongestPause - host::Clock::now();
      if (left > host::Duration::zero()) {
        refill = client.loop().after(left, [this] { send_some(); });
        return;
      }
    }
    while (under_way.size() < options.at_a_time && !waiting.empty() && take_token()) {
      api::Event event = std::move(waiting.front());
      waiting.pop_front();
      send(std::move(event));
    }
  }

  void send(api::Event event) {
    const std::string key = key_of(event);
    if (const auto found = by_key.find(key); found != by_key.end()) {
      remembered.splice(remembered.begin(), remembered, found->second);
      return repeat(*found->second, std::move(event));
    }
    const uint64_t id = ++next;
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
    const std::string suffix = fmt::format(".{:x}{:02x}", nanoseconds, id & 0xff);
    event.metadata.name = event.involved_object.name.substr(0, kLongestName - suffix.size()) + suffix;
    remember(key, event);
    // The answer is not read: it says what we know.
    ApiRequest request{.method = "POST",
                       .path = path_of(api::resource_of<api::Event>(), event.metadata.namespace_),
                       .body = api::encode_json(event)};
    under_way[id] = client.request(std::move(request), [this, id, key](Outcome<std::string> outcome) {
      if (!outcome) {
        forget(key);
        host::log_debug("event: {}, ignoring", outcome.error().message);
      }
      finish(id);
    });
  }

  void repeat(Remembered& known, api::Event event) {
    const uint64_t id = ++next;
    const std::string body =
        fmt::format(R"({{"count":{},"lastTimestamp":"{}"}})", ++known.count, api::to_string(*event.last_timestamp));
    const std::string key = known.key;
    under_way[id] =
        client.patch<api::Event>(known.namespace_, known.name, PatchType::merge, body, {},
                                 [this, id, key, event = std::move(event)](Outcome<api::Event> outcome) mutable {
                                   if (!outcome) forget(key);
                                   // It has expired: as if it had not been said before.
                                   if (!outcome && outcome.error().not_found()) waiting.push_front(std::move(event));
                                   finish(id);
                                 });
  }

  void remember(const std::string& key, const api::Event& event) {
    remembered.push_front({key, event.metadata.namespace_, event.metadata.name, 1});
    by_key[key] = remembered.begin();
    if (remembered.size() <= options.most_remembered) return;
    by_key.erase(remembered.back().key);
    remembered.pop_back();
  }

  void forget(const std::string& key) {
    const auto found = by_key.find(key);
    if (found == by_key.end()) return;
    remembered.erase(found->second);
    by_key.erase(found);
  }

  void finish(uint64_t id) {
    under_way.erase(id);
    send_some();
  }
};

EventRecorder::EventRecorder(Client& client, RecorderOptions options)
    : impl_(std::make_unique<Impl>(Impl{.client = client, .options = std::move(options)})) {}

EventRecorder::~EventRecorder() = default;

void EventRecorder::pause() {
  if (!impl_->paused) impl_->paused = host::Clock::now();
}

void EventRecorder::resume() {
  if (!impl_->paused) return;
  impl_->paused.reset();
  impl_->send_some();
}

size_t EventRecorder::dropped() const { return impl_->dropped; }

void EventRecorder::record(api::ObjectReference object, const char* type, std::string reason, std::string message,
                           std::string action) {
  if (impl_->waiting.size() >= impl_->options.most_waiting) {
    ++impl_->dropped;
    return;
  }
  if (message.size() > kLongestMessage) message.resize(kLongestMessage);
  api::Event event;
  event.metadata.namespace_ = object.namespace_.empty() ? "default" : object.namespace_;
  event.involved_object = std::move(object);
  event.reason = std::move(reason);
  event.message = std::move(message);
  event.type = type;
  event.action = std::move(action);
  event.source = {impl_->options.component, impl_->options.host};
  event.first_timestamp = event.last_timestamp = now();
  event.count = 1;
  event.reporting_component = impl_->options.component;
  event.reporting_instance = impl_->options.host;
  impl_->waiting.push_back(std::move(event));
  impl_->send_some();
}

}  // namespace keelson::apiclient
