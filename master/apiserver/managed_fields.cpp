#include "master/apiserver/managed_fields.h"

namespace keelson::apiserver {

namespace {

// Nothing of what we encode ourselves fails to be read.
const api::Value* tree_of(const std::string& json, api::Tree& tree) {
  size_t used = 0;
  const auto root = api::read_json(json, tree, 1, used);
  return root ? *root : nullptr;
}

}  // namespace

void track_fields(api::AnyObject& next, const api::AnyObject* before, const api::Manager& manager) {
  std::vector<api::ManagedFieldsEntry>& fields = next.metadata().managed_fields;
  fields.clear();
  const std::string after_json = api::encode_json(next);
  const std::string before_json = before == nullptr ? "" : api::encode_json(*before);
  api::Tree tree;
  const api::Value* after = tree_of(after_json, tree);
  const api::Value* old = before == nullptr ? nullptr : tree_of(before_json, tree);
  if (before != nullptr) fields = before->metadata().managed_fields;
  if (after == nullptr || (before != nullptr && old == nullptr)) return;
  fields = api::track_update(next.resource().type(), old, *after, std::vector(fields), manager);
}

}  // namespace keelson::apiserver
