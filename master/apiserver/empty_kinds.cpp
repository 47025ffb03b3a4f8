#include "master/apiserver/empty_kinds.h"

#include <fmt/core.h>

namespace keelson::apiserver {

namespace {

std::string_view list_kind(const Attributes& attributes) {
  if (!attributes.is_resource || !attributes.group.empty() || attributes.version != "v1") return {};
  if (attributes.resource == "resourcequotas") return "ResourceQuotaList";
  if (attributes.resource == "limitranges") return "LimitRangeList";
  return {};
}

}  // namespace

bool EmptyKinds::serves(const http::Request&, const Attributes& attributes) const {
  return attributes.verb == "list" && attributes.subresource.empty() && !list_kind(attributes).empty();
}

void EmptyKinds::handle(const User&, const Attributes& attributes, http::Request, http::Exchange exchange) {
  exchange.answer(
      {.status = 200,
       .content_type = "application/json",
       .body = fmt::format(R"({{"kind":"{}","apiVersion":"v1","metadata":{{"resourceVersion":"{}"}},"items":[]}})",
                           list_kind(attributes), store_.revision()),
       .headers = {}});
}

}  // namespace keelson::apiserver
