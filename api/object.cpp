#include "api/object.h"

#include <fmt/core.h>

namespace keelson::api {

ObjectKey key_of(const Object& object) {
  return std::visit(
      [](const auto& typed) {
        const ObjectMeta& meta = typed.metadata;
        return ObjectKey{std::string(typed.kKind), meta.namespace_.empty() ? "default" : meta.namespace_, meta.name};
      },
      object);
}

std::string to_string(const ObjectKey& key) { return fmt::format("{} {}/{}", key.kind, key.namespace_, key.name); }

ObjectMeta& metadata_of(Object& object) {
  return std::visit([](auto& typed) -> ObjectMeta& { return typed.metadata; }, object);
}

const ObjectMeta& metadata_of(const Object& object) {
  return std::visit([](const auto& typed) -> const ObjectMeta& { return typed.metadata; }, object);
}

std::string to_string(const Origin& origin) {
  std::string text = origin.source;
  if (!origin.document.empty()) {
    if (!text.empty()) text += ' ';
    text += origin.document;
  }
  if (origin.line > 0) text += fmt::format(":{}", origin.line);
  return text;
}

}  // namespace keelson::api
