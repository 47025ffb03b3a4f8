#pragma once
// What schedulers and controllers never ask of an object, for ReflectorOptions::trim.

#include "api/resource.h"

namespace keelson::apiclient {

// managedFields; of a Pod all that only its agent acts on (volumes, environments, commands,
// probes, what its containers do); the content of ConfigMaps and Secrets.
void trim_for_control_plane(api::AnyObject& object);

}  // namespace keelson::apiclient
