#pragma once
// Cluster IPs and node ports of Services. Each is a key under /registry/ranges/ that is made
// (it must not exist) and removed in the same transaction as the Service that has it: two
// Services never share one, whatever races, and nothing leaks.
//
// Loop's thread.

#include <vector>

#include "api/resource.h"
#include "api/validate.h"
#include "master/apiserver/registry.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

// Who changes the type and sends the rest as it was means: without what only the old type has.
// Before the validator, which would refuse it.
void drop_what_the_type_had(api::ServiceSpec& next, const api::ServiceSpec& current);

// Fills in what `next` asks for, and adds to the commit what takes and releases it. `current`
// is null of a new Service; `next` null of one that goes. On errors (422) neither has changed
// in a way that matters: the write is off.
std::vector<api::FieldError> allocate(const Store& store, const RegistryOptions& options, api::Service* next,
                                      const api::Service* current, Commit& commit);

}  // namespace keelson::apiserver
