// Objects to JSON, driven by their Type; empty fields as Go's json package treats them.
#include <fmt/core.h>

#include <algorithm>

#include "api/codec.h"
#include "api/resource.h"
#include "api/schema.h"
#include "api/tree.h"

namespace keelson::api {

namespace {

std::string encode_base64(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i) out += i <= count ? kAlphabet[group >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

void write_struct(const Type& type, const void* object, std::string& out);

void write_value(const Access& access, const void* value, std::string& out) {
  switch (access.kind) {
    case Kind::string:
      append_json_string(out, *static_cast<const std::string*>(value));
      return;
    case Kind::boolean:
      out += *static_cast<const bool*>(value) ? "true" : "false";
      return;
    case Kind::int32:
      out += std::to_string(*static_cast<const int32_t*>(value));
      return;
    case Kind::int64:
      out += std::to_string(*static_cast<const int64_t*>(value));
      return;
    case Kind::bytes:
      append_json_string(out, encode_base64(static_cast<const Bytes*>(value)->data));
      return;
    case Kind::quantity: {
      const std::string& text = static_cast<const Quantity*>(value)->text;
      append_json_string(out, text.empty() ? "0" : text);
      return;
    }
    case Kind::time: {
      const Time time = *static_cast<const Time*>(value);
      if (time == Time{}) {
        out += "null";
      } else {
        append_json_string(out, to_string(time));
      }
      return;
    }
    case Kind::micro_time: {
      const MicroTime time = *static_cast<const MicroTime*>(value);
      if (time == MicroTime{}) {
        out += "null";
      } else {
        append_json_string(out, to_string(time));
      }
      return;
    }
    case Kind::int_or_string: {
      const auto& port = *static_cast<const IntOrString*>(value);
      if (port.is_string) {
        append_json_string(out, port.text);
      } else {
        out += std::to_string(port.number);
      }
      return;
    }
    case Kind::raw_json: {
      const std::string& text = static_cast<const RawJson*>(value)->text;
      out += text.empty() ? "null" : text;
      return;
    }
    case Kind::structure:
      out += '{';
      write_struct(access.type(), value, out);
      out += '}';
      return;
  }
}

void write_zero(const Access& access, std::string& out) {
  switch (access.kind) {
    case Kind::quantity:
      out += "\"0\"";
      return;
    case Kind::int_or_string:
    case Kind::int32:
    case Kind::int64:
      out += '0';
      return;
    case Kind::boolean:
      out += "false";
      return;
    case Kind::string:
      out += "\"\"";
      return;
    default:
      out += "null";
      return;
  }
}

void write_list(const Access& access, const void* member, std::string& out) {
  out += '[';
  for (size_t i = 0; i < access.size(member); ++i) {
    if (i != 0) out += ',';
    write_value(access, access.item(member, i), out);
  }
  out += ']';
}

void write_map(const Access& access, const void* member, std::string& out) {
  struct Context {
    const Access& access;
    std::string& out;
    bool first = true;
  } context{access, out};
  out += '{';
  access.each(member, &context, [](void* opaque, const std::string& key, const void* value) {
    auto& into = *static_cast<Context*>(opaque);
    if (!into.first) into.out += ',';
    into.first = false;
    append_json_string(into.out, key);
    into.out += ':';
    write_value(into.access, value, into.out);
  });
  out += '}';
}

// Whether omitempty leaves this value out.
bool is_left_out(const Field& field, const Access& access, const void* value) {
  if (field.empty == Empty::printed || field.empty == Empty::null) return false;
  switch (access.kind) {
    case Kind::string:
      return static_cast<const std::string*>(value)->empty();
    case Kind::structure:
      return access.shape == Shape::one && is_empty(access.type(), value);
    case Kind::boolean:
      return field.empty == Empty::plain && !*static_cast<const bool*>(value);
    case Kind::int32:
      return field.empty == Empty::plain && *static_cast<const int32_t*>(value) == 0;
    case Kind::int64:
      return field.empty == Empty::plain && *static_cast<const int64_t*>(value) == 0;
    default:
      return false;
  }
}

void write_key(const Field& field, std::string& out) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += field.name;
  out += "\":";
}

void write_field(const Field& field, const void* member, std::string& out) {
  const Access& access = *field.access;
  const bool many = access.shape == Shape::list || access.shape == Shape::map;
  const void* value = many ? nullptr : access.get(member);
  const bool absent = many ? access.size(member) == 0 : value == nullptr;
  if (absent) {
    if (field.empty != Empty::printed && field.empty != Empty::null) return;
    write_key(field, out);
    if (many) {
      out += "null";
    } else if (field.empty == Empty::null) {
      out += "null";
    } else {
      write_zero(access, out);
    }
    return;
  }
  if (!many && is_left_out(field, access, value)) return;
  write_key(field, out);
  if (access.shape == Shape::list) {
    write_list(access, member, out);
  } else if (access.shape == Shape::map) {
    write_map(access, member, out);
  } else {
    write_value(access, value, out);
  }
}

void write_struct(const Type& type, const void* object, std::string& out) {
  for (const Field& field : type.fields) {
    const void* member = field.look(object);
    if (field.inlined) {
      write_struct(field.access->type(), member, out);
    } else {
      write_field(field, member, out);
    }
  }
}

}  // namespace

void append_json_fields(std::string& out, const Type& type, const void* object) { write_struct(type, object, out); }

template <typename T>
std::string encode_json(const T& object) {
  std::string out = "{";
  if constexpr (!T::kKind.empty()) out = fmt::format(R"({{"kind":"{}","apiVersion":"{}")", T::kKind, T::kApiVersion);
  write_struct(type_of<T>(), &object, out);
  out += '}';
  return out;
}

std::string encode_json(const Object& object) {
  return std::visit([](const auto& typed) { return encode_json(typed); }, object);
}

template <typename T>
std::string encode_json_list(const std::vector<T>& objects) {
  std::string out =
      fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{{}},"items":[)", T::kKind, T::kApiVersion);
  for (const T& object : objects) {
    if (out.back() != '[') out += ',';
    out += '{';
    write_struct(type_of<T>(), &object, out);
    out += '}';
  }
  out += "]}";
  return out;
}

template std::string encode_json(const Pod&);
template std::string encode_json(const Service&);
template std::string encode_json(const Endpoints&);
template std::string encode_json(const ConfigMap&);
template std::string encode_json(const Secret&);
template std::string encode_json(const Status&);
template std::string encode_json(const Node&);
template std::string encode_json(const ReplicationController&);
template std::string encode_json(const Scale&);
template std::string encode_json(const Namespace&);
template std::string encode_json(const Event&);
template std::string encode_json(const EventsEvent&);
template std::string encode_json(const EndpointSlice&);
template std::string encode_json(const Lease&);
template std::string encode_json(const DeleteOptions&);
template std::string encode_json(const Binding&);
template std::string encode_json(const Eviction&);
template std::string encode_json(const WatchEvent&);
template std::string encode_json(const ServiceAccount&);
template std::string encode_json(const TokenRequest&);
template std::string encode_json(const SelfSubjectReview&);
template std::string encode_json(const SelfSubjectAccessReview&);
template std::string encode_json(const SelfSubjectRulesReview&);
template std::string encode_json_list(const std::vector<Pod>&);
template std::string encode_json_list(const std::vector<Service>&);
template std::string encode_json_list(const std::vector<Endpoints>&);
template std::string encode_json_list(const std::vector<ConfigMap>&);
template std::string encode_json_list(const std::vector<Secret>&);

}  // namespace keelson::api
