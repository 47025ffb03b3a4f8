#include "agent/images/json.h"

#include <fmt/format.h>
#include <rapidjson/error/en.h>

namespace keelson::images {
namespace {

using host::Error;
using host::fail;

constexpr int kMaxNesting = 32;

// Depth by brackets outside strings: before the parser builds anything.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxNesting) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

host::Result<rapidjson::Document> parse_json_object(std::string_view text, std::string_view what, size_t limit) {
  if (text.size() > limit) {
    return fail(Error::Code::invalid, fmt::format("{} has {} bytes, {} are allowed", what, text.size(), limit));
  }
  if (too_deep(text)) {
    return fail(Error::Code::invalid, fmt::format("{} is nested deeper than {} levels", what, kMaxNesting));
  }
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(text.data(), text.size());
  if (document.HasParseError()) {
    return fail(Error::Code::invalid,
                fmt::format("{} is no JSON: {} at byte {}", what, rapidjson::GetParseError_En(document.GetParseError()),
                            document.GetErrorOffset()));
  }
  if (!document.IsObject()) return fail(Error::Code::invalid, fmt::format("{} is no JSON object", what));
  return document;
}

std::string string_member(const rapidjson::Value& object, const char* name) {
  auto member = object.FindMember(name);
  if (member == object.MemberEnd() || !member->value.IsString()) return {};
  return {member->value.GetString(), member->value.GetStringLength()};
}

uint64_t number_member(const rapidjson::Value& object, const char* name) {
  auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsUint64() ? member->value.GetUint64() : 0;
}

std::vector<std::string> strings_member(const rapidjson::Value& object, const char* name) {
  std::vector<std::string> values;
  if (const auto* array = array_member(object, name)) {
    for (const auto& value : array->GetArray()) {
      if (value.IsString()) values.emplace_back(value.GetString(), value.GetStringLength());
    }
  }
  return values;
}

const rapidjson::Value* object_member(const rapidjson::Value& object, const char* name) {
  auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsObject() ? &member->value : nullptr;
}

const rapidjson::Value* array_member(const rapidjson::Value& object, const char* name) {
  auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsArray() ? &member->value : nullptr;
}

void write_member(JsonWriter& writer, const char* name, std::string_view value) {
  writer.Key(name);
  writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void write_member(JsonWriter& writer, const char* name, uint64_t value) {
  writer.Key(name);
  writer.Uint64(value);
}

void write_member(JsonWriter& writer, const char* name, const std::vector<std::string>& values) {
  writer.Key(name);
  writer.StartArray();
  for (const auto& value : values) writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  writer.EndArray();
}

}  // namespace keelson::images
