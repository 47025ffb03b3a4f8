#pragma once
// layer.json, beside an unpacked layer: the puller writes it, the store reads it. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"

namespace keelson::images {

struct LayerRecord {
  uint64_t bytes = 0, inodes = 0;
  std::vector<std::string> opaque;
};
std::string encode(const LayerRecord& record);
host::Result<LayerRecord> decode_layer_record(std::string_view text);
inline constexpr size_t kMaxLayerRecord = 16u << 20;

}  // namespace keelson::images
