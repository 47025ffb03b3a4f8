#pragma once
// Event, as core/v1 writes it and as events.k8s.io/v1 does: one object, two views.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/meta.h"

namespace keelson::api {

struct EventSource {
  std::string component;
  std::string host;
  bool operator==(const EventSource&) const = default;
};

struct EventSeries {
  std::optional<int32_t> count;
  std::optional<MicroTime> last_observed_time;
  bool operator==(const EventSeries&) const = default;
};

struct Event {
  static constexpr std::string_view kKind = "Event";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  ObjectReference involved_object;
  std::string reason;
  std::string message;
  EventSource source;
  std::optional<Time> first_timestamp;
  std::optional<Time> last_timestamp;
  std::optional<int32_t> count;
  std::string type;
  std::optional<MicroTime> event_time;
  Box<EventSeries> series;
  std::string action;
  Box<ObjectReference> related;
  std::string reporting_component;
  std::string reporting_instance;
  bool operator==(const Event&) const = default;
};

struct EventsEventSeries {
  int32_t count = 0;
  MicroTime last_observed_time;
  bool operator==(const EventsEventSeries&) const = default;
};

struct EventsEvent {
  static constexpr std::string_view kKind = "Event";
  static constexpr std::string_view kApiVersion = "events.k8s.io/v1";
  ObjectMeta metadata;
  MicroTime event_time;
  Box<EventsEventSeries> series;
  std::string reporting_controller;
  std::string reporting_instance;
  std::string action;
  std::string reason;
  ObjectReference regarding;
  Box<ObjectReference> related;
  std::string note;
  std::string type;
  EventSource deprecated_source;
  std::optional<Time> deprecated_first_timestamp;
  std::optional<Time> deprecated_last_timestamp;
  std::optional<int32_t> deprecated_count;
  bool operator==(const EventsEvent&) const = default;
};

}  // namespace keelson::api
