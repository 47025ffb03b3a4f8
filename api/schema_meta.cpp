// The tables of metadata, references, selectors and Status.
#include "api/meta.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<OwnerReference>() {
  static constexpr Field kFields[] = {
      field<&OwnerReference::api_version>(5, "apiVersion").needed(),
      field<&OwnerReference::kind>(1, "kind").needed(),
      field<&OwnerReference::name>(3, "name").needed(),
      field<&OwnerReference::uid>(4, "uid").needed(),
      field<&OwnerReference::controller>(6, "controller"),
      field<&OwnerReference::block_owner_deletion>(7, "blockOwnerDeletion"),
  };
  static constexpr Type kType{.name = "OwnerReference", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<ManagedFieldsEntry>() {
  static constexpr Field kFields[] = {
      field<&ManagedFieldsEntry::manager>(1, "manager"),         field<&ManagedFieldsEntry::operation>(2, "operation"),
      field<&ManagedFieldsEntry::api_version>(3, "apiVersion"),  field<&ManagedFieldsEntry::time>(4, "time"),
      field<&ManagedFieldsEntry::fields_type>(6, "fieldsType"),  field<&ManagedFieldsEntry::fields_v1>(7, "fieldsV1"),
      field<&ManagedFieldsEntry::subresource>(8, "subresource"),
  };
  static constexpr Type kType{.name = "ManagedFieldsEntry", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<ObjectMeta>() {
  static constexpr Field kFields[] = {
      field<&ObjectMeta::name>(1, "name"),
      field<&ObjectMeta::generate_name>(2, "generateName"),
      field<&ObjectMeta::namespace_>(3, "namespace"),
      field<&ObjectMeta::self_link>(4, "selfLink"),
      field<&ObjectMeta::uid>(5, "uid"),
      field<&ObjectMeta::resource_version>(6, "resourceVersion"),
      field<&ObjectMeta::generation>(7, "generation").plain(),
      field<&ObjectMeta::creation_timestamp>(8, "creationTimestamp").null_if_absent(),
      field<&ObjectMeta::deletion_timestamp>(9, "deletionTimestamp"),
      field<&ObjectMeta::deletion_grace_period_seconds>(10, "deletionGracePeriodSeconds"),
      field<&ObjectMeta::labels>(11, "labels"),
      field<&ObjectMeta::annotations>(12, "annotations"),
      field<&ObjectMeta::owner_references>(13, "ownerReferences").keyed_by("uid").merged_by("uid"),
      field<&ObjectMeta::finalizers>(14, "finalizers").set().merged(),
      field<&ObjectMeta::managed_fields>(17, "managedFields").atomic(),
  };
  static constexpr Type kType{.name = "ObjectMeta", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<ShardInfo>() {
  static constexpr Field kFields[] = {
      field<&ShardInfo::selector>(1, "selector").needed(),
  };
  static constexpr Type kType{.name = "ShardInfo", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<ListMeta>() {
  static constexpr Field kFields[] = {
      field<&ListMeta::self_link>(1, "selfLink"),   field<&ListMeta::resource_version>(2, "resourceVersion"),
      field<&ListMeta::continue_>(3, "continue"),   field<&ListMeta::remaining_item_count>(4, "remainingItemCount"),
      field<&ListMeta::shard_info>(5, "shardInfo"),
  };
  static constexpr Type kType{.name = "ListMeta", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<StatusCause>() {
  static constexpr Field kFields[] = {
      field<&StatusCause::reason>(1, "reason"),
      field<&StatusCause::message>(2, "message"),
      field<&StatusCause::field>(3, "field"),
  };
  static constexpr Type kType{.name = "StatusCause", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<StatusDetails>() {
  static constexpr Field kFields[] = {
      field<&StatusDetails::name>(1, "name"),
      field<&StatusDetails::group>(2, "group"),
      field<&StatusDetails::kind>(3, "kind"),
      field<&StatusDetails::uid>(6, "uid"),
      field<&StatusDetails::causes>(4, "causes").atomic(),
      field<&StatusDetails::retry_after_seconds>(5, "retryAfterSeconds").plain(),
  };
  static constexpr Type kType{.name = "StatusDetails", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<Status>() {
  static constexpr Field kFields[] = {
      field<&Status::metadata>(1, "metadata"), field<&Status::status>(2, "status"),
      field<&Status::message>(3, "message"),   field<&Status::reason>(4, "reason"),
      field<&Status::details>(5, "details"),   field<&Status::code>(6, "code").plain(),
  };
  static constexpr Type kType{.name = "Status", .fields = kFields, .package = "apis.meta.v1", .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<LabelSelectorRequirement>() {
  static constexpr Field kFields[] = {
      field<&LabelSelectorRequirement::key>(1, "key").needed(),
      field<&LabelSelectorRequirement::operator_>(2, "operator").needed(),
      field<&LabelSelectorRequirement::values>(3, "values").atomic(),
  };
  static constexpr Type kType{.name = "LabelSelectorRequirement", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<LabelSelector>() {
  static constexpr Field kFields[] = {
      field<&LabelSelector::match_labels>(1, "matchLabels"),
      field<&LabelSelector::match_expressions>(2, "matchExpressions").atomic(),
  };
  static constexpr Type kType{.name = "LabelSelector", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<LocalObjectReference>() {
  static constexpr Field kFields[] = {
      field<&LocalObjectReference::name>(1, "name"),
  };
  static constexpr Type kType{"LocalObjectReference", kFields};
  return kType;
}

template <>
const Type& type_of<ObjectReference>() {
  static constexpr Field kFields[] = {
      field<&ObjectReference::kind>(1, "kind"),
      field<&ObjectReference::namespace_>(2, "namespace"),
      field<&ObjectReference::name>(3, "name"),
      field<&ObjectReference::uid>(4, "uid"),
      field<&ObjectReference::api_version>(5, "apiVersion"),
      field<&ObjectReference::resource_version>(6, "resourceVersion"),
      field<&ObjectReference::field_path>(7, "fieldPath"),
  };
  static constexpr Type kType{"ObjectReference", kFields};
  return kType;
}

}  // namespace keelson::api
