#pragma once
// Events: what happened to an object, told to whoever reads `kubectl describe`. Sent behind
// everything else: few at a time, and dropped when the API server cannot keep up, since
// nothing may wait for an Event. The same thing said again of the same object raises the
// count of the Event that is there. Loop's thread only.

#include <cstddef>
#include <memory>
#include <string>

#include "api/event.h"
#include "apiclient/client.h"

namespace keelson::apiclient {

struct RecorderOptions {
  std::string component;          // "default-scheduler"
  std::string host;               // of a node's agent: the node
  size_t at_a_time = 2;           // requests under way
  int per_second = 300;           // on average, after a burst of 50
  size_t most_waiting = 10'000;   // further ones are dropped
  size_t most_remembered = 4096;  // to count repetitions by
};

class EventRecorder {
 public:
  // The client must outlive it.
  EventRecorder(Client& client, RecorderOptions options);
  ~EventRecorder();

  // type: "Normal" or "Warning". The Event goes to the object's namespace, or to "default".
  void record(api::ObjectReference object, const char* type, std::string reason, std::string message,
              std::string action = {});
  // Whoever records has something more urgent to ask of the server: nothing is sent before
  // resume(), but for no longer than a second.
  void pause();
  void resume();
  size_t dropped() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What an Event is about: kind, apiVersion, namespace, name, uid, resourceVersion.
template <typename T>
api::ObjectReference reference_to(const T& object) {
  return {.kind = std::string(T::kKind),
          .namespace_ = object.metadata.namespace_,
          .name = object.metadata.name,
          .uid = object.metadata.uid,
          .api_version = std::string(T::kApiVersion),
          .resource_version = object.metadata.resource_version,
          .field_path = {}};
}

}  // namespace keelson::apiclient
