#include "master/apiserver/managed_fields.h"

#include <optional>

namespace keelson::apiserver {

namespace {

// The text with the metadata's last field added.
std::optional<std::string> with_managed_fields(const std::string& json, const api::AnyObject& object) {
  const size_t begin = type_meta_length(object.resource()) + std::string_view("\"metadata\":").size();
  const size_t end = object_end(json, begin);
  if (end == 0 || object.metadata().managed_fields.empty()) return std::nullopt;
  std::string out;
  out.reserve(json.size() + 1024);
  out.append(json, 0, end - 1);
  out += ",\"managedFields\":[";
  for (const api::ManagedFieldsEntry& entry : object.metadata().managed_fields) {
    out += out.back() == '[' ? "{" : ",{";
    api::append_json_fields(out, api::type_of<api::ManagedFieldsEntry>(), &entry);
    out += '}';
  }
  out += ']';
  return out.append(json, end - 1);
}

}  // namespace

std::string track_fields(api::AnyObject& next, const Version* before, const api::Manager& manager) {
  std::vector<api::ManagedFieldsEntry>& fields = next.metadata().managed_fields;
  fields.clear();
  const std::string json = api::encode_json(next);
  static const std::vector<api::ManagedFieldsEntry> kNobody;
  fields = api::track_update(next.resource().type(), before == nullptr ? nullptr : before->object.data(), next.data(),
                             before == nullptr ? kNobody : before->object.metadata().managed_fields, manager);
  auto value = with_managed_fields(json, next);
  return value ? std::move(*value) : api::encode_json(next);
}

}  // namespace keelson::apiserver
