// The manifest readers, and all that is done with what they read.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/codec.h"
#include "api/validate.h"

using namespace keelson::api;

namespace {

template <typename T>
void must_round_trip(const T& object) {
  // Defaults are idempotent, and what is written is read back as the same object.
  Object defaulted = object;
  set_defaults(defaulted);
  Object twice = defaulted;
  set_defaults(twice);
  if (!(twice == defaulted)) std::abort();
  const auto again = decode_json<T>(encode_json(std::get<T>(defaulted)));
  if (!again || encode_json(*again) != encode_json(std::get<T>(defaulted))) std::abort();
  const auto wire = decode_protobuf<T>(encode_protobuf(std::get<T>(defaulted)));
  if (!wire || encode_json(*wire) != encode_json(std::get<T>(defaulted))) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Manifest manifest = decode_manifest(text);
  for (const Decoded& decoded : manifest.objects) {
    Object object = decoded.object;
    set_defaults(object);
    for (const FieldError& error : validate(object)) (void)decoded.line_of(error.field);
    (void)not_acted_on(object);
    if (const auto* pod = std::get_if<Pod>(&object)) {
      (void)violations(*pod, SecurityLevel::restricted);
      (void)qos_class(*pod);
    }
    std::visit([](const auto& typed) { must_round_trip(typed); }, decoded.object);
  }
  (void)json_to_yaml(text);
  (void)decode_protobuf<Pod>(text);
  (void)decode_protobuf<Secret>(text);
  return 0;
}
