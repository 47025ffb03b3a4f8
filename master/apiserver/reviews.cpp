#include "master/apiserver/reviews.h"

#include <fmt/core.h>

#include <algorithm>
#include <expected>

#include "api/resource.h"
#include "master/apiserver/status.h"
#include "master/apiserver/view.h"

namespace keelson::apiserver {

namespace {

// kubectl 1.27's `auth whoami` knows only these two of selfsubjectreviews, which are v1's to the letter.
constexpr std::string_view kOlder[] = {"v1beta1", "v1alpha1"};

const api::Resource* review_of(const Attributes& attributes) {
  if (attributes.group == "authentication.k8s.io" && attributes.resource == "selfsubjectreviews" &&
      std::ranges::find(kOlder, attributes.version) != std::end(kOlder)) {
    return &api::resource_of<api::SelfSubjectReview>();
  }
  const api::Resource* kind = attributes.kind;
  const bool ours = kind == &api::resource_of<api::SelfSubjectReview>() ||
                    kind == &api::resource_of<api::SelfSubjectAccessReview>() ||
                    kind == &api::resource_of<api::SelfSubjectRulesReview>();
  return ours ? kind : nullptr;
}

std::expected<api::AnyObject, api::Status> read(const api::Resource& resource, const http::Request& request) {
  std::string_view type = request.headers.get("Content-Type");
  type = type.substr(0, type.find(';'));
  auto object = type == "application/vnd.kubernetes.protobuf" ? api::read_protobuf_object(resource, request.body)
                : type == "application/yaml"                  ? api::read_yaml_object(resource, request.body)
                                                              : api::read_json_object(resource, request.body);
  if (!object) return std::unexpected(bad_request(std::move(object.error().message)));
  return std::move(object->object);
}

Attributes attributes_of(const api::ResourceAttributes& asked) {
  Attributes attributes;
  attributes.is_resource = true;
  attributes.verb = asked.verb;
  attributes.group = asked.group;
  attributes.version = asked.version;
  attributes.resource = asked.resource;
  attributes.subresource = asked.subresource;
  attributes.namespace_ = asked.namespace_;
  attributes.name = asked.name;
  if (asked.field_selector) {
    attributes.field_selector = asked.field_selector->raw_selector;
    for (const auto& requirement : asked.field_selector->requirements) {
      if (requirement.operator_ != "In" || requirement.values.size() != 1) continue;
      attributes.field_selector += fmt::format("{}{}={}", attributes.field_selector.empty() ? "" : ",", requirement.key,
                                               requirement.values.front());
    }
  }
  return attributes;
}

}  // namespace

bool Reviews::serves(const http::Request&, const Attributes& attributes) const {
  return attributes.is_resource && review_of(attributes) != nullptr;
}

void Reviews::handle(CallPtr call) { call->answer(answer(call->user, call->attributes, call->request)); }

http::Answer Reviews::answer(const User& user, const Attributes& attributes, const http::Request& request) {
  if (request.method != "POST" || !attributes.name.empty()) return answer_of(method_not_allowed());
  const auto view = View::negotiate(*review_of(attributes), request);
  if (!view) return answer_of(view.error());
  // Nothing that is kept: there are no columns and no metadata to show of it.
  if (view->form == View::Form::table || view->form == View::Form::metadata) return answer_of(not_acceptable());
  auto read_object = read(*review_of(attributes), request);
  if (!read_object) return answer_of(read_object.error());
  api::AnyObject& object = *read_object;
  if (auto* review = object.get_if<api::SelfSubjectReview>()) {
    review->status.user_info = {.username = user.name, .uid = {}, .groups = user.groups};
  } else if (auto* access = object.get_if<api::SelfSubjectAccessReview>()) {
    const auto& spec = access->spec;
    if (spec.resource_attributes.has_value() == spec.non_resource_attributes.has_value()) {
      return answer_of(api::invalid_status(
          object.resource(), "",
          {{"spec.resourceAttributes",
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"}}));
    }
    Attributes asked;
    if (spec.resource_attributes) {
      asked = attributes_of(*spec.resource_attributes);
    } else {
      asked.path = spec.non_resource_attributes->path;
      asked.verb = spec.non_resource_attributes->verb;
    }
    Decision decision = authorizer_.authorize(user, asked);
    access->status = {};
    access->status.allowed = decision.allowed;
    access->status.reason = std::move(decision.reason);
  } else if (auto* rules = object.get_if<api::SelfSubjectRulesReview>()) {
    if (rules->spec.namespace_.empty()) return answer_of(bad_request("no namespace on request"));
    rules->status = authorizer_.rules_of(user, rules->spec.namespace_);
  }
  http::Answer answer{.status = 201,
                      .content_type = std::string(view->content_type()),
                      .body = api::encode_json(object),
                      .headers = {}};
  if (attributes.version != object.resource().version) {
    // In the words in which it was asked.
    const std::string own = fmt::format(R"("apiVersion":"{}")", object.resource().api_version);
    const size_t at = answer.body.find(own);
    answer.body.replace(at, own.size(), fmt::format(R"("apiVersion":"{}/{}")", attributes.group, attributes.version));
  }
  answer.body = view->finish(std::move(answer.body));
  return answer;
}

}  // namespace keelson::apiserver
