// The tables of ConfigMap and Secret.
#include "api/config.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<ConfigMap>() {
  static constexpr Field kFields[] = {
      field<&ConfigMap::metadata>(1, "metadata"),
      field<&ConfigMap::immutable>(4, "immutable"),
      field<&ConfigMap::data>(2, "data"),
      field<&ConfigMap::binary_data>(3, "binaryData"),
  };
  static constexpr Type kType{.name = "ConfigMap", .fields = kFields, .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<Secret>() {
  static constexpr Field kFields[] = {
      field<&Secret::metadata>(1, "metadata"), field<&Secret::immutable>(5, "immutable"),
      field<&Secret::data>(2, "data"),         field<&Secret::string_data>(4, "stringData"),
      field<&Secret::type>(3, "type"),
  };
  static constexpr Type kType{.name = "Secret", .fields = kFields, .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
