#pragma once
// Reading JSON that strangers wrote: bounded in size and depth, no exceptions,
// members looked up with their types. RapidJSON's documents, our checks. Pure.

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"

namespace keelson::images {

// Text of more than `limit` bytes or nested deeper than 32 is refused; so is anything
// but an object. `what` names it in errors.
host::Result<rapidjson::Document> parse_json_object(std::string_view text, std::string_view what,
                                                    size_t limit = 4u << 20);

// The member, or an empty value when it is missing or has another type.
std::string string_member(const rapidjson::Value& object, const char* name);
uint64_t number_member(const rapidjson::Value& object, const char* name);
std::vector<std::string> strings_member(const rapidjson::Value& object, const char* name);
// The member of that type; nullptr otherwise.
const rapidjson::Value* object_member(const rapidjson::Value& object, const char* name);
const rapidjson::Value* array_member(const rapidjson::Value& object, const char* name);

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;
void write_member(JsonWriter& writer, const char* name, std::string_view value);
void write_member(JsonWriter& writer, const char* name, uint64_t value);
void write_member(JsonWriter& writer, const char* name, const std::vector<std::string>& values);

}  // namespace keelson::images
