#pragma once
// Who owns which field after a write: metadata.managedFields of the object that is about to
// be stored. Pure; safe on every thread.

#include <string>

#include "api/patch.h"
#include "api/resource.h"
#include "master/apiserver/kind_cache.h"

namespace keelson::apiserver {

// Sets next's managedFields to those of `before` (null: a new object), with what changed
// given to the manager. The JSON of next, as encode_json() writes it: it was needed anyway,
// and encoding is what a write costs most.
std::string track_fields(api::AnyObject& next, const Version* before, const api::Manager& manager);

}  // namespace keelson::apiserver
