// The tables of event.h.
#include "api/event.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<EventSource>() {
  static constexpr Field kFields[] = {
      field<&EventSource::component>(1, "component"),
      field<&EventSource::host>(2, "host"),
  };
  static constexpr Type kType{.name = "EventSource", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<EventSeries>() {
  static constexpr Field kFields[] = {
      field<&EventSeries::count>(1, "count").plain(),
      field<&EventSeries::last_observed_time>(2, "lastObservedTime").null_if_absent(),
  };
  static constexpr Type kType{.name = "EventSeries", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<Event>() {
  static constexpr Field kFields[] = {
      field<&Event::metadata>(1, "metadata").needed(),
      field<&Event::involved_object>(2, "involvedObject").needed(),
      field<&Event::reason>(3, "reason"),
      field<&Event::message>(4, "message"),
      field<&Event::source>(5, "source"),
      field<&Event::first_timestamp>(6, "firstTimestamp").null_if_absent(),
      field<&Event::last_timestamp>(7, "lastTimestamp").null_if_absent(),
      field<&Event::count>(8, "count").plain(),
      field<&Event::type>(9, "type"),
      field<&Event::event_time>(10, "eventTime").null_if_absent(),
      field<&Event::series>(11, "series"),
      field<&Event::action>(12, "action"),
      field<&Event::related>(13, "related"),
      field<&Event::reporting_component>(14, "reportingComponent").printed(),
      field<&Event::reporting_instance>(15, "reportingInstance").printed(),
  };
  static constexpr Type kType{.name = "Event", .fields = kFields, .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<EventsEventSeries>() {
  static constexpr Field kFields[] = {
      field<&EventsEventSeries::count>(1, "count").needed(),
      field<&EventsEventSeries::last_observed_time>(2, "lastObservedTime").needed(),
  };
  static constexpr Type kType{.name = "EventSeries", .fields = kFields, .package = "events.v1"};
  return kType;
}

template <>
const Type& type_of<EventsEvent>() {
  static constexpr Field kFields[] = {
      field<&EventsEvent::metadata>(1, "metadata"),
      field<&EventsEvent::event_time>(2, "eventTime").needed(),
      field<&EventsEvent::series>(3, "series"),
      field<&EventsEvent::reporting_controller>(4, "reportingController"),
      field<&EventsEvent::reporting_instance>(5, "reportingInstance"),
      field<&EventsEvent::action>(6, "action"),
      field<&EventsEvent::reason>(7, "reason"),
      field<&EventsEvent::regarding>(8, "regarding"),
      field<&EventsEvent::related>(9, "related"),
      field<&EventsEvent::note>(10, "note"),
      field<&EventsEvent::type>(11, "type"),
      field<&EventsEvent::deprecated_source>(12, "deprecatedSource"),
      field<&EventsEvent::deprecated_first_timestamp>(13, "deprecatedFirstTimestamp").null_if_absent(),
      field<&EventsEvent::deprecated_last_timestamp>(14, "deprecatedLastTimestamp").null_if_absent(),
      field<&EventsEvent::deprecated_count>(15, "deprecatedCount").plain(),
  };
  static constexpr Type kType{.name = "Event", .fields = kFields, .package = "events.v1", .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
