#pragma once
// The verbs that write, over HTTP: bodies and options in, objects and Statuses out. Loop's
// thread.

#include "master/apiserver/call.h"
#include "master/apiserver/reading.h"
#include "master/apiserver/registry.h"

namespace keelson::apiserver {

class Writing {
 public:
  // Borrowed; they outlive what waits for them.
  Writing(Registry& registry, Reading& reading, Store& store) : registry_(registry), reading_(reading), store_(store) {}

  void create(CallPtr call);
  void update(CallPtr call);  // the object, its status, a Namespace's finalize
  void patch(CallPtr call);
  void remove(CallPtr call);
  void remove_collection(CallPtr call);
  void bind(CallPtr call);   // POST pods/x/binding, POST bindings
  void evict(CallPtr call);  // POST pods/x/eviction
  // scale of a ReplicationController.
  void get_scale(CallPtr call);
  void update_scale(CallPtr call);
  void patch_scale(CallPtr call);

 private:
  struct Collection;
  void next_of(const std::shared_ptr<Collection>& collection);

  Registry& registry_;
  Reading& reading_;
  Store& store_;
};

}  // namespace keelson::apiserver
