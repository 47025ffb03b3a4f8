#include "master/apiserver/empty_kinds.h"

#include <fmt/core.h>

#include <algorithm>

namespace keelson::apiserver {

namespace {

constexpr EmptyKind kEmptyKinds[] = {
    {"", "v1", "limitranges", "limitrange", "limits", "LimitRange"},
    {"", "v1", "resourcequotas", "resourcequota", "quota", "ResourceQuota"},
    {"policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "pdb", "PodDisruptionBudget"},
};

const EmptyKind* asked_for(const Attributes& attributes) {
  const auto found = std::ranges::find_if(kEmptyKinds, [&attributes](const EmptyKind& kind) {
    return kind.group == attributes.group && kind.version == attributes.version && kind.plural == attributes.resource;
  });
  return attributes.is_resource && found != std::end(kEmptyKinds) ? found : nullptr;
}

}  // namespace

std::span<const EmptyKind> empty_kinds() { return kEmptyKinds; }

bool EmptyKinds::serves(const http::Request&, const Attributes& attributes) const {
  return attributes.verb == "list" && attributes.subresource.empty() && asked_for(attributes) != nullptr;
}

void EmptyKinds::handle(CallPtr call) {
  const EmptyKind& kind = *asked_for(call->attributes);
  call->answer({.status = 200,
                .content_type = "application/json",
                .body = fmt::format(
                    R"({{"kind":"{}List","apiVersion":"{}{}{}","metadata":{{"resourceVersion":"{}"}},"items":[]}})",
                    kind.kind, kind.group, kind.group.empty() ? "" : "/", kind.version, store_.revision()),
                .headers = {}});
}

}  // namespace keelson::apiserver
