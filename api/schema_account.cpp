// The tables of account.h.
#include "api/account.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<ServiceAccount>() {
  static constexpr Field kFields[] = {
      field<&ServiceAccount::metadata>(1, "metadata"),
      field<&ServiceAccount::secrets>(2, "secrets").keyed_by("name").merged_by("name"),
      field<&ServiceAccount::image_pull_secrets>(3, "imagePullSecrets").atomic(),
      field<&ServiceAccount::automount_service_account_token>(4, "automountServiceAccountToken"),
  };
  static constexpr Type kType{.name = "ServiceAccount", .fields = kFields, .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<BoundObjectReference>() {
  static constexpr Field kFields[] = {
      field<&BoundObjectReference::kind>(1, "kind"),
      field<&BoundObjectReference::api_version>(2, "apiVersion"),
      field<&BoundObjectReference::name>(3, "name"),
      field<&BoundObjectReference::uid>(4, "uid"),
  };
  static constexpr Type kType{.name = "BoundObjectReference", .fields = kFields, .package = "authentication.v1"};
  return kType;
}

template <>
const Type& type_of<TokenRequestSpec>() {
  static constexpr Field kFields[] = {
      field<&TokenRequestSpec::audiences>(1, "audiences").printed().atomic(),
      field<&TokenRequestSpec::expiration_seconds>(4, "expirationSeconds"),
      field<&TokenRequestSpec::bound_object_ref>(3, "boundObjectRef").null_if_absent(),
  };
  static constexpr Type kType{.name = "TokenRequestSpec", .fields = kFields, .package = "authentication.v1"};
  return kType;
}

template <>
const Type& type_of<TokenRequestStatus>() {
  static constexpr Field kFields[] = {
      field<&TokenRequestStatus::token>(1, "token"),
      field<&TokenRequestStatus::expiration_timestamp>(2, "expirationTimestamp").null_if_absent(),
  };
  static constexpr Type kType{.name = "TokenRequestStatus", .fields = kFields, .package = "authentication.v1"};
  return kType;
}

template <>
const Type& type_of<TokenRequest>() {
  static constexpr Field kFields[] = {
      field<&TokenRequest::metadata>(1, "metadata"),
      field<&TokenRequest::spec>(2, "spec"),
      field<&TokenRequest::status>(3, "status"),
  };
  static constexpr Type kType{
      .name = "TokenRequest", .fields = kFields, .package = "authentication.v1", .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<UserInfo>() {
  static constexpr Field kFields[] = {
      field<&UserInfo::username>(1, "username"),
      field<&UserInfo::uid>(2, "uid"),
      field<&UserInfo::groups>(3, "groups").atomic(),
  };
  static constexpr Type kType{.name = "UserInfo", .fields = kFields, .package = "authentication.v1"};
  return kType;
}

template <>
const Type& type_of<SelfSubjectReviewStatus>() {
  static constexpr Field kFields[] = {
      field<&SelfSubjectReviewStatus::user_info>(1, "userInfo"),
  };
  static constexpr Type kType{.name = "SelfSubjectReviewStatus", .fields = kFields, .package = "authentication.v1"};
  return kType;
}

template <>
const Type& type_of<SelfSubjectReview>() {
  static constexpr Field kFields[] = {
      field<&SelfSubjectReview::metadata>(1, "metadata"),
      field<&SelfSubjectReview::status>(2, "status"),
  };
  static constexpr Type kType{
      .name = "SelfSubjectReview", .fields = kFields, .package = "authentication.v1", .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<FieldSelectorRequirement>() {
  static constexpr Field kFields[] = {
      field<&FieldSelectorRequirement::key>(1, "key").needed(),
      field<&FieldSelectorRequirement::operator_>(2, "operator").needed(),
      field<&FieldSelectorRequirement::values>(3, "values").atomic(),
  };
  static constexpr Type kType{.name = "FieldSelectorRequirement", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<FieldSelectorAttributes>() {
  static constexpr Field kFields[] = {
      field<&FieldSelectorAttributes::raw_selector>(1, "rawSelector"),
      field<&FieldSelectorAttributes::requirements>(2, "requirements").atomic(),
  };
  static constexpr Type kType{.name = "FieldSelectorAttributes", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<LabelSelectorAttributes>() {
  static constexpr Field kFields[] = {
      field<&LabelSelectorAttributes::raw_selector>(1, "rawSelector"),
      field<&LabelSelectorAttributes::requirements>(2, "requirements").atomic(),
  };
  static constexpr Type kType{.name = "LabelSelectorAttributes", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<ResourceAttributes>() {
  static constexpr Field kFields[] = {
      field<&ResourceAttributes::namespace_>(1, "namespace"),
      field<&ResourceAttributes::verb>(2, "verb"),
      field<&ResourceAttributes::group>(3, "group"),
      field<&ResourceAttributes::version>(4, "version"),
      field<&ResourceAttributes::resource>(5, "resource"),
      field<&ResourceAttributes::subresource>(6, "subresource"),
      field<&ResourceAttributes::name>(7, "name"),
      field<&ResourceAttributes::field_selector>(8, "fieldSelector"),
      field<&ResourceAttributes::label_selector>(9, "labelSelector"),
  };
  static constexpr Type kType{.name = "ResourceAttributes", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<NonResourceAttributes>() {
  static constexpr Field kFields[] = {
      field<&NonResourceAttributes::path>(1, "path"),
      field<&NonResourceAttributes::verb>(2, "verb"),
  };
  static constexpr Type kType{.name = "NonResourceAttributes", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<SelfSubjectAccessReviewSpec>() {
  static constexpr Field kFields[] = {
      field<&SelfSubjectAccessReviewSpec::resource_attributes>(1, "resourceAttributes"),
      field<&SelfSubjectAccessReviewSpec::non_resource_attributes>(2, "nonResourceAttributes"),
  };
  static constexpr Type kType{.name = "SelfSubjectAccessReviewSpec", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<SubjectAccessReviewStatus>() {
  static constexpr Field kFields[] = {
      field<&SubjectAccessReviewStatus::allowed>(1, "allowed").needed(),
      field<&SubjectAccessReviewStatus::denied>(4, "denied").plain(),
      field<&SubjectAccessReviewStatus::reason>(2, "reason"),
      field<&SubjectAccessReviewStatus::evaluation_error>(3, "evaluationError"),
  };
  static constexpr Type kType{.name = "SubjectAccessReviewStatus", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<SelfSubjectAccessReview>() {
  static constexpr Field kFields[] = {
      field<&SelfSubjectAccessReview::metadata>(1, "metadata"),
      field<&SelfSubjectAccessReview::spec>(2, "spec").needed(),
      field<&SelfSubjectAccessReview::status>(3, "status"),
  };
  static constexpr Type kType{
      .name = "SelfSubjectAccessReview", .fields = kFields, .package = "authorization.v1", .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<ResourceRule>() {
  static constexpr Field kFields[] = {
      field<&ResourceRule::verbs>(1, "verbs").needed().atomic(),
      field<&ResourceRule::api_groups>(2, "apiGroups").atomic(),
      field<&ResourceRule::resources>(3, "resources").atomic(),
      field<&ResourceRule::resource_names>(4, "resourceNames").atomic(),
  };
  static constexpr Type kType{.name = "ResourceRule", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<NonResourceRule>() {
  static constexpr Field kFields[] = {
      field<&NonResourceRule::verbs>(1, "verbs").needed().atomic(),
      field<&NonResourceRule::non_resource_urls>(2, "nonResourceURLs").atomic(),
  };
  static constexpr Type kType{.name = "NonResourceRule", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<SelfSubjectRulesReviewSpec>() {
  static constexpr Field kFields[] = {
      field<&SelfSubjectRulesReviewSpec::namespace_>(1, "namespace"),
  };
  static constexpr Type kType{.name = "SelfSubjectRulesReviewSpec", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<SubjectRulesReviewStatus>() {
  static constexpr Field kFields[] = {
      field<&SubjectRulesReviewStatus::resource_rules>(1, "resourceRules").needed().atomic(),
      field<&SubjectRulesReviewStatus::non_resource_rules>(2, "nonResourceRules").needed().atomic(),
      field<&SubjectRulesReviewStatus::incomplete>(3, "incomplete").needed(),
      field<&SubjectRulesReviewStatus::evaluation_error>(4, "evaluationError"),
  };
  static constexpr Type kType{.name = "SubjectRulesReviewStatus", .fields = kFields, .package = "authorization.v1"};
  return kType;
}

template <>
const Type& type_of<SelfSubjectRulesReview>() {
  static constexpr Field kFields[] = {
      field<&SelfSubjectRulesReview::metadata>(1, "metadata"),
      field<&SelfSubjectRulesReview::spec>(2, "spec").needed(),
      field<&SelfSubjectRulesReview::status>(3, "status"),
  };
  static constexpr Type kType{
      .name = "SelfSubjectRulesReview", .fields = kFields, .package = "authorization.v1", .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
