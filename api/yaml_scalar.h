#pragma once
// What a plain YAML scalar means, as in go-yaml v2, which Kubernetes reads manifests
// with (YAML 1.1: yes, on and 0644 are no strings). Tried against kubectl 1.32.

#include <string>
#include <string_view>

#include "api/tree.h"

namespace keelson::api {

struct ResolvedScalar {
  Value::Kind kind = Value::Kind::string;
  bool flag = false;
  std::string text;  // as JSON would write it
};

ResolvedScalar resolve_plain(std::string_view text);
// .inf and .nan in their spellings.
bool is_not_finite(std::string_view text);

}  // namespace keelson::api
