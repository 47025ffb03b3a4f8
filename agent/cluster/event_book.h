#pragma once
// What of all that happens becomes an Event, and which Events are one: client-go's rules
// (tools/record/events_cache.go). Pure: the clock is a parameter; memory is bounded.
//
// - The same again is a higher count on the same Event.
// - More than ten messages of one reason about one object within ten minutes are told as
//   one: "(combined from similar events): …".
// - One object may be told about 25 times at once and then every five minutes.

#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "api/event.h"

namespace keelson::cluster {

struct Happening {
  api::ObjectReference object;
  bool warning = false;
  std::string reason, message;
};

class EventBook {
 public:
  // `host` is the node's name: it speaks as its kubelet.
  explicit EventBook(std::string host) : host_(std::move(host)) {}

  // The Event as it now is, to be created (count 1) or written over the one of its name;
  // nothing when there have been too many.
  std::optional<api::Event> take(const Happening& what, int64_t now_us);

  size_t size() const { return order_.size(); }

 private:
  struct Entry {
    std::string key;
    std::optional<api::Event> event;  // of an exact key
    // Of an object's or a reason's key:
    double tokens = 0;
    int64_t since_us = 0;
    std::set<std::string> messages;
  };
  Entry& entry(const std::string& key, bool& fresh);
  bool allowed(const Happening& what, int64_t now_us);

  std::string host_;
  uint64_t made_ = 0;
  std::list<Entry> order_;  // the latest used first
  std::unordered_map<std::string, std::list<Entry>::iterator> entries_;
};

}  // namespace keelson::cluster
