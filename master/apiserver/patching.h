#pragma once
// A patch of any of the four kinds, applied to an object: from the request's body to the
// object that is to be stored. Pure; safe on every thread.

#include <expected>
#include <string>
#include <vector>

#include "api/patch.h"
#include "api/resource.h"
#include "master/apiserver/registry.h"

namespace keelson::apiserver {

struct PatchResult {
  api::AnyObject object;
  bool owned = false;  // the object carries its managedFields: server-side apply
  std::vector<std::string> warnings;
};

// `current` is null where there is no object (which only an apply may make).
std::expected<PatchResult, api::Status> apply_patch(const api::Resource& resource, const api::AnyObject* current,
                                                    const Patch& patch, const api::Manager& manager);

}  // namespace keelson::apiserver
