#pragma once
// Who owns which field after a write: metadata.managedFields of the object that is about to
// be stored. Pure; safe on every thread.

#include "api/patch.h"
#include "api/resource.h"

namespace keelson::apiserver {

// Sets next's managedFields to those of `before` (null: a new object), with what changed
// given to the manager.
void track_fields(api::AnyObject& next, const api::AnyObject* before, const api::Manager& manager);

}  // namespace keelson::apiserver
