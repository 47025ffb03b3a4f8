#pragma once
// ConfigMap and Secret.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct ConfigMap {
  static constexpr std::string_view kKind = "ConfigMap";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  std::optional<bool> immutable;
  std::map<std::string, std::string> data;
  std::map<std::string, Bytes> binary_data;
  bool operator==(const ConfigMap&) const = default;
};

struct Secret {
  static constexpr std::string_view kKind = "Secret";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  std::optional<bool> immutable;
  std::map<std::string, Bytes> data;
  std::map<std::string, std::string> string_data;
  std::string type;
  bool operator==(const Secret&) const = default;
};

}  // namespace keelson::api
