#pragma once
// Addresses and CIDRs as the agent's rooms use them; what they are is in host/ip.h,
// where the kernel's side needs them too.

#include "host/ip.h"

namespace keelson::api {

using host::Cidr;
using host::IpAddress;
using host::parse_cidrs;

}  // namespace keelson::api
