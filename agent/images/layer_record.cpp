#include "agent/images/layer_record.h"

#include "agent/images/json.h"

namespace keelson::images {

std::string encode(const LayerRecord& record) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  write_member(writer, "bytes", record.bytes);
  write_member(writer, "inodes", record.inodes);
  write_member(writer, "opaque", record.opaque);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

host::Result<LayerRecord> decode_layer_record(std::string_view text) {
  auto document = parse_json_object(text, "layer.json", kMaxLayerRecord);
  if (!document) return std::unexpected(std::move(document.error()));
  return LayerRecord{number_member(*document, "bytes"), number_member(*document, "inodes"),
                     strings_member(*document, "opaque")};
}

}  // namespace keelson::images
