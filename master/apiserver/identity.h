#pragma once
// What the server gives an object that is new: uid, name, time.

#include <string>
#include <string_view>

#include "api/value.h"

namespace keelson::apiserver {

std::string new_uid();                              // a random UUID (RFC 9562, version 4)
std::string generated_name(std::string_view base);  // base, cut to 58 characters, and five of Kubernetes' alphabet
api::Time now();

}  // namespace keelson::apiserver
