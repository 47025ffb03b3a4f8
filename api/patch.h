#pragma once
// The four ways to change an object by a patch, as pure functions over trees.
//
// What they return lives in the Tree handed in and points into the trees they read,
// which are left alone: all of them must outlive it. Hostile input is bounded: depth (64), values (200,000),
// operations (10,000), work. Not thread-safe for one Tree.
// Sources: RFC 7386, RFC 6902; "Strategic Merge Patch" (sig-api-machinery) and its
// directives; server-side apply and structured-merge-diff for FieldsV1.

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"
#include "api/schema.h"
#include "api/tree.h"

namespace keelson::api {

// What the API server answers: 400 BadRequest, 409 Conflict, 422 Invalid.
struct PatchFailure {
  int code = 400;
  std::string message;
  std::vector<StatusCause> causes;  // of a conflict
};
using Patched = std::expected<const Value*, PatchFailure>;

Patched merge_patch(const Value& target, const Value& patch, Tree& tree);
// `patch` is the list of operations.
Patched json_patch(const Value& target, const Value& patch, Tree& tree);
// Driven by the type's patch strategies and merge keys; knows $patch, $retainKeys,
// $setElementOrder/x and $deleteFromPrimitiveList/x.
Patched strategic_merge_patch(const Type& type, const Value& target, const Value& patch, Tree& tree);

// --- Who owns which field ---

struct Manager {
  std::string name;
  std::string api_version;  // of the request
  std::string subresource;  // "" for the object itself, "status", "scale"
  Time now;
};

struct Applied {
  const Value* object = nullptr;  // without managedFields
  std::vector<ManagedFieldsEntry> managed_fields;
};

// Server-side apply of `configuration` onto `live` (null when the object is to be
// created). `managed_fields` are those of the live object.
std::expected<Applied, PatchFailure> server_side_apply(const Type& type, const Value* live, const Value& configuration,
                                                       const std::vector<ManagedFieldsEntry>& managed_fields,
                                                       const Manager& manager, bool force, Tree& tree);

// The managedFields after any other write (create: `before` is null): what it
// changed now belongs to its manager, alone. Both are structs of the type.
std::vector<ManagedFieldsEntry> track_update(const Type& type, const void* before, const void* after,
                                             const std::vector<ManagedFieldsEntry>& managed_fields,
                                             const Manager& manager);

}  // namespace keelson::api
