#pragma once
// ServiceAccount and its tokens; who am I, and what may I do (authentication.k8s.io, authorization.k8s.io).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct ServiceAccount {
  static constexpr std::string_view kKind = "ServiceAccount";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  std::vector<ObjectReference> secrets;
  std::vector<LocalObjectReference> image_pull_secrets;
  std::optional<bool> automount_service_account_token;
  bool operator==(const ServiceAccount&) const = default;
};

struct BoundObjectReference {
  std::string kind;
  std::string api_version;
  std::string name;
  std::string uid;
  bool operator==(const BoundObjectReference&) const = default;
};

struct TokenRequestSpec {
  std::vector<std::string> audiences;
  std::optional<int64_t> expiration_seconds;
  Box<BoundObjectReference> bound_object_ref;
  bool operator==(const TokenRequestSpec&) const = default;
};

struct TokenRequestStatus {
  std::string token;
  std::optional<Time> expiration_timestamp;
  bool operator==(const TokenRequestStatus&) const = default;
};

struct TokenRequest {
  static constexpr std::string_view kKind = "TokenRequest";
  static constexpr std::string_view kApiVersion = "authentication.k8s.io/v1";
  ObjectMeta metadata;
  TokenRequestSpec spec;
  TokenRequestStatus status;
  bool operator==(const TokenRequest&) const = default;
};

struct UserInfo {
  std::string username;
  std::string uid;
  std::vector<std::string> groups;
  bool operator==(const UserInfo&) const = default;
};

struct SelfSubjectReviewStatus {
  UserInfo user_info;
  bool operator==(const SelfSubjectReviewStatus&) const = default;
};

struct SelfSubjectReview {
  static constexpr std::string_view kKind = "SelfSubjectReview";
  static constexpr std::string_view kApiVersion = "authentication.k8s.io/v1";
  ObjectMeta metadata;
  SelfSubjectReviewStatus status;
  bool operator==(const SelfSubjectReview&) const = default;
};

struct FieldSelectorRequirement {
  std::string key;
  std::string operator_;
  std::vector<std::string> values;
  bool operator==(const FieldSelectorRequirement&) const = default;
};

struct FieldSelectorAttributes {
  std::string raw_selector;
  std::vector<FieldSelectorRequirement> requirements;
  bool operator==(const FieldSelectorAttributes&) const = default;
};

struct LabelSelectorAttributes {
  std::string raw_selector;
  std::vector<LabelSelectorRequirement> requirements;
  bool operator==(const LabelSelectorAttributes&) const = default;
};

struct ResourceAttributes {
  std::string namespace_;
  std::string verb;
  std::string group;
  std::string version;
  std::string resource;
  std::string subresource;
  std::string name;
  Box<FieldSelectorAttributes> field_selector;
  Box<LabelSelectorAttributes> label_selector;
  bool operator==(const ResourceAttributes&) const = default;
};

struct NonResourceAttributes {
  std::string path;
  std::string verb;
  bool operator==(const NonResourceAttributes&) const = default;
};

struct SelfSubjectAccessReviewSpec {
  Box<ResourceAttributes> resource_attributes;
  Box<NonResourceAttributes> non_resource_attributes;
  bool operator==(const SelfSubjectAccessReviewSpec&) const = default;
};

struct SubjectAccessReviewStatus {
  bool allowed = false;
  std::optional<bool> denied;
  std::string reason;
  std::string evaluation_error;
  bool operator==(const SubjectAccessReviewStatus&) const = default;
};

struct SelfSubjectAccessReview {
  static constexpr std::string_view kKind = "SelfSubjectAccessReview";
  static constexpr std::string_view kApiVersion = "authorization.k8s.io/v1";
  ObjectMeta metadata;
  SelfSubjectAccessReviewSpec spec;
  SubjectAccessReviewStatus status;
  bool operator==(const SelfSubjectAccessReview&) const = default;
};

struct ResourceRule {
  std::vector<std::string> verbs;
  std::vector<std::string> api_groups;
  std::vector<std::string> resources;
  std::vector<std::string> resource_names;
  bool operator==(const ResourceRule&) const = default;
};

struct NonResourceRule {
  std::vector<std::string> verbs;
  std::vector<std::string> non_resource_urls;
  bool operator==(const NonResourceRule&) const = default;
};

struct SelfSubjectRulesReviewSpec {
  std::string namespace_;
  bool operator==(const SelfSubjectRulesReviewSpec&) const = default;
};

struct SubjectRulesReviewStatus {
  std::vector<ResourceRule> resource_rules;
  std::vector<NonResourceRule> non_resource_rules;
  bool incomplete = false;
  std::string evaluation_error;
  bool operator==(const SubjectRulesReviewStatus&) const = default;
};

struct SelfSubjectRulesReview {
  static constexpr std::string_view kKind = "SelfSubjectRulesReview";
  static constexpr std::string_view kApiVersion = "authorization.k8s.io/v1";
  ObjectMeta metadata;
  SelfSubjectRulesReviewSpec spec;
  SubjectRulesReviewStatus status;
  bool operator==(const SelfSubjectRulesReview&) const = default;
};

}  // namespace keelson::api
