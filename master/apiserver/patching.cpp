#include "master/apiserver/patching.h"

#include <fmt/core.h>

#include "api/tree.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

// As the API server says that what the patch would make is no object of the kind.
api::Status invalid_patch(const Patch& patch, std::string_view why) {
  const std::string shown = api::json_string(std::string_view(patch.body).substr(0, 1024));
  api::Status status =
      failure(422, "Invalid", fmt::format(" \"\" is invalid: patch: Invalid value: {}: {}", shown, why));
  status.details.emplace().causes.push_back(
      {.reason = "FieldValueInvalid", .message = fmt::format("Invalid value: {}: {}", shown, why), .field = "patch"});
  return status;
}

api::Status failure_of(const api::PatchFailure& failed) {
  switch (failed.code) {
    case 409: {
      api::Status status = failure(409, "Conflict", failed.message);
      status.details.emplace().causes = failed.causes;
      return status;
    }
    case 413:
      return too_large(failed.message);
    case 422: {
      api::Status status = failure(422, "Invalid", failed.message);
      status.details.emplace();
      return status;
    }
    default:
      return bad_request(failed.message);
  }
}

std::expected<const api::Value*, api::Status> read_body(const Patch& patch, api::Tree& tree) {
  if (patch.type == PatchType::apply) {
    if (!api::is_utf8(patch.body)) return refuse(bad_request("error decoding YAML: not UTF-8"));
    std::vector<const api::Value*> documents;
    if (auto read = api::read_yaml(patch.body, tree, 1, documents); !read) {
      return refuse(
          bad_request(fmt::format("error decoding YAML: yaml: line {}: {}", read.error().line, read.error().message)));
    }
    if (documents.size() != 1) return refuse(bad_request("error decoding YAML: one document is wanted"));
    return documents.front();
  }
  size_t used = 0;
  auto read = api::read_json(patch.body, tree, 1, used);
  if (!read) return refuse(bad_request(fmt::format("error decoding patch: {}", read.error().message)));
  if (patch.body.find_first_not_of(" \t\r\n", used) != std::string::npos) {
    return refuse(bad_request("error decoding patch: more text behind it"));
  }
  const auto kind = (*read)->kind;
  if (patch.type == PatchType::json && kind != api::Value::Kind::list) {
    return refuse(
        bad_request("error decoding patch: json: cannot unmarshal object into Go value of type []jsonpatch.Operation"));
  }
  if (patch.type != PatchType::json && kind != api::Value::Kind::object) {
    return refuse(bad_request("error decoding patch: a JSON object is wanted"));
  }
  return *read;
}

}  // namespace

std::expected<PatchResult, api::Status> apply_patch(const api::Resource& resource, const api::AnyObject* current,
                                                    const Patch& patch, const api::Manager& manager) {
  api::Tree tree;
  auto body = read_body(patch, tree);
  if (!body) return refuse(std::move(body.error()));
  const std::string text = current == nullptr ? "" : api::encode_json(*current);
  const api::Value* live = nullptr;
  if (current != nullptr) {
    size_t used = 0;
    auto read = api::read_json(text, tree, 1, used);
    if (!read) return refuse(internal_error(read.error().message));
    live = *read;
  }
  const api::Value* patched = nullptr;
  std::vector<api::ManagedFieldsEntry> owners;
  if (patch.type == PatchType::apply) {
    const api::TypeMeta said = api::type_meta_of(**body);
    if (said.kind != resource.kind || said.api_version != resource.api_version) {
      return refuse(bad_request(fmt::format("Invalid value: \"{}, Kind={}\": must be {}, Kind={}", said.api_version,
                                            said.kind, resource.api_version, resource.kind)));
    }
    static const std::vector<api::ManagedFieldsEntry> kNone;
    auto applied = api::server_side_apply(resource.type(), live, **body,
                                          current == nullptr ? kNone : current->metadata().managed_fields, manager,
                                          patch.force, tree);
    if (!applied) return refuse(failure_of(applied.error()));
    patched = applied->object;
    owners = std::move(applied->managed_fields);
  } else {
    auto changed = patch.type == PatchType::json    ? api::json_patch(*live, **body, tree)
                   : patch.type == PatchType::merge ? api::merge_patch(*live, **body, tree)
                                                    : api::strategic_merge_patch(resource.type(), *live, **body, tree);
    if (!changed) return refuse(failure_of(changed.error()));
    patched = *changed;
    const api::TypeMeta said = api::type_meta_of(*patched);
    if (said.kind != resource.kind || said.api_version != resource.api_version) {
      return refuse(invalid_patch(patch, "apiVersion and kind may not be changed"));
    }
  }
  auto read = api::read_object(resource, *patched);
  if (!read) return refuse(invalid_patch(patch, read.error().message));
  PatchResult result{.object = std::move(read->object), .owned = patch.type == PatchType::apply, .warnings = {}};
  if (result.owned) result.object.metadata().managed_fields = std::move(owners);
  if (!read->strict.empty() && patch.strictness == Strictness::strict) {
    std::string all;
    for (const std::string& one : read->strict) all += (all.empty() ? "" : ", ") + one;
    return refuse(invalid_patch(patch, fmt::format("strict decoding error: {}", all)));
  }
  if (patch.strictness == Strictness::warn) result.warnings = std::move(read->strict);
  return result;
}

}  // namespace keelson::apiserver
