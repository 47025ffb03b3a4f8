#pragma once
// Linux capabilities as sets of bits, from the names that manifests use.

#include <cstdint>
#include <string>
#include <vector>

#include "host/error.h"

namespace keelson::runtime {

using CapabilitySet = uint64_t;  // bit n: capability n of linux/capability.h

// What containerd gives a container that asks for nothing.
CapabilitySet default_capabilities();
// What this process may hand on: its bounding set and permitted set.
host::Result<CapabilitySet> own_capabilities();

// The set of a container: the default (privileged: everything), `add`, `drop`, in
// Kubernetes' order of precedence ("ALL" first, then single names; drop wins over
// add), cut to what `available` allows. Names with or without CAP_; an unknown one is an error.
host::Result<CapabilitySet> container_capabilities(const std::vector<std::string>& add,
                                                   const std::vector<std::string>& drop, bool privileged,
                                                   CapabilitySet available);

}  // namespace keelson::runtime
