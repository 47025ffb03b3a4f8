// Protobuf as Kubernetes speaks it, driven by the same tables as JSON: "k8s\0", then
// runtime.Unknown {typeMeta=1 {apiVersion=1, kind=2}, raw=2}. Wire format: proto2
// (protobuf.dev/programming-guides/encoding), scalars unpacked, maps as entries of
// key=1 and value=2. Empty fields are left out, as JSON's omitempty does.
#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "api/codec.h"
#include "api/resource.h"
#include "api/schema.h"
#include "api/tree.h"

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

constexpr std::string_view kMagic("k8s\0", 4);

enum class Wire : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// --- Writing ---

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_tag(std::string& out, uint32_t number, Wire wire) {
  put_varint(out, number << 3 | static_cast<uint8_t>(wire));
}
void put_integer(std::string& out, uint32_t number, int64_t value) {
  put_tag(out, number, Wire::varint);
  put_varint(out, static_cast<uint64_t>(value));
}
void put_bytes(std::string& out, uint32_t number, std::string_view bytes) {
  put_tag(out, number, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string timestamp(int64_t seconds, int64_t nanos) {
  std::string message;
  put_integer(message, 1, seconds);
  put_integer(message, 2, nanos);
  return message;
}

std::string message_of(const Type& type, const void* object);

void put_value(std::string& out, uint32_t number, const Access& access, const void* value) {
  switch (access.kind) {
    case Kind::string:
      return put_bytes(out, number, *static_cast<const std::string*>(value));
    case Kind::boolean:
      return put_integer(out, number, *static_cast<const bool*>(value) ? 1 : 0);
    case Kind::int32:
      return put_integer(out, number, *static_cast<const int32_t*>(value));
    case Kind::int64:
      return put_integer(out, number, *static_cast<const int64_t*>(value));
    case Kind::bytes:
      return put_bytes(out, number, static_cast<const Bytes*>(value)->data);
    case Kind::quantity: {
      std::string message;
      put_bytes(message, 1, static_cast<const Quantity*>(value)->text);
      return put_bytes(out, number, message);
    }
    case Kind::time: {
      const Time time = *static_cast<const Time*>(value);
      return put_bytes(out, number, time == Time{} ? std::string() : timestamp(time.seconds, 0));
    }
    case Kind::micro_time: {
      const int64_t micros = static_cast<const MicroTime*>(value)->microseconds;
      const int64_t seconds = micros / 1'000'000 - (micros % 1'000'000 < 0 ? 1 : 0);
      return put_bytes(out, number, timestamp(seconds, (micros - seconds * 1'000'000) * 1'000));
    }
    case Kind::int_or_string: {
      const auto& port = *static_cast<const IntOrString*>(value);
      std::string message;
      put_integer(message, 1, port.is_string ? 1 : 0);
      put_integer(message, 2, port.number);
      put_bytes(message, 3, port.text);
      return put_bytes(out, number, message);
    }
    case Kind::raw_json: {
      std::string message;
      put_bytes(message, 1, static_cast<const RawJson*>(value)->text);
      return put_bytes(out, number, message);
    }
    case Kind::structure:
      return put_bytes(out, number, message_of(access.type(), value));
  }
}

void put_map(std::string& out, uint32_t number, const Access& access, const void* member) {
  struct Context {
    std::string& out;
    uint32_t number;
    const Access& access;
  } context{out, number, access};
  access.each(member, &context, [](void* opaque, const std::string& key, const void* value) {
    auto& into = *static_cast<Context*>(opaque);
    std::string message;
    put_bytes(message, 1, key);
    put_value(message, 2, into.access, value);
    put_bytes(into.out, into.number, message);
  });
}

// Whether a value that is always there says nothing.
bool is_silent(const Field& field, const void* value) {
  const Access& access = *field.access;
  if (access.shape != Shape::one) return false;
  if (access.kind == Kind::structure) return is_empty(access.type(), value);
  return access.kind == Kind::string && !field.required && static_cast<const std::string*>(value)->empty();
}

void put_field(std::string& out, const Field& field, const void* member) {
  const Access& access = *field.access;
  switch (access.shape) {
    case Shape::list:
      for (size_t i = 0; i < access.size(member); ++i) put_value(out, field.number, access, access.item(member, i));
      return;
    case Shape::map:
      return put_map(out, field.number, access, member);
    case Shape::one:
    case Shape::optional:
      const void* value = access.get(member);
      if (value != nullptr && !is_silent(field, value)) put_value(out, field.number, access, value);
      return;
  }
}

std::string message_of(const Type& type, const void* object) {
  std::vector<const Field*> fields;
  for (const Field& field : type.fields) fields.push_back(&field);
  std::sort(fields.begin(), fields.end(), [](const Field* a, const Field* b) { return a->number < b->number; });
  std::string out;
  for (const Field* field : fields) put_field(out, *field, field->look(object));
  return out;
}

// --- Reading ---

struct Item {
  uint32_t number = 0;
  Wire wire = Wire::varint;
  uint64_t integer = 0;    // of a varint
  std::string_view bytes;  // of bytes
};

// Reads one message; stops at the first thing that is no protobuf.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  // False at the end, or when broken.
  bool next(Item& item) {
    if (broken_ || rest_.empty()) return false;
    uint64_t tag = 0;
    if (!take_varint(tag) || tag >> 3 == 0 || tag >> 3 > 536'870'911) return fail();
    item.number = static_cast<uint32_t>(tag >> 3);
    item.wire = static_cast<Wire>(tag & 7);
    switch (item.wire) {
      case Wire::varint:
        return take_varint(item.integer) || fail();
      case Wire::fixed64:
        return skip(8) || fail();
      case Wire::fixed32:
        return skip(4) || fail();
      case Wire::bytes: {
        uint64_t length = 0;
        if (!take_varint(length) || length > rest_.size()) return fail();
        item.bytes = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return true;
      }
    }
    return fail();  // groups, which Kubernetes does not use
  }

  bool broken() const { return broken_; }
  bool at_end() const { return rest_.empty(); }

  bool take_varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

 private:
  bool skip(size_t count) {
    if (rest_.size() < count) return false;
    rest_.remove_prefix(count);
    return true;
  }
  bool fail() {
    broken_ = true;
    return false;
  }

  std::string_view rest_;
  bool broken_ = false;
};

class ProtobufDecoder {
 public:
  bool message(const Type& type, std::string_view bytes, void* object) {
    Reader reader(bytes);
    Item item;
    while (reader.next(item)) {
      const auto* field = std::find_if(type.fields.data(), type.fields.data() + type.fields.size(),
                                       [&](const Field& f) { return f.number == item.number; });
      if (field == type.fields.data() + type.fields.size()) continue;
      if (--budget_ == 0) return reject(type, *field, fmt::format("more than {} values", kMaxValues));
      if (!member(type, *field, item, field->at(object))) return false;
    }
    return !reader.broken() || reject_message(fmt::format("{}: not protobuf", type.name));
  }

  const std::string& error() const { return error_; }

 private:
  bool reject_message(std::string message) {
    if (error_.empty()) error_ = std::move(message);
    return false;
  }
  bool reject(const Type& type, const Field& field, std::string_view what) {
    return reject_message(fmt::format("{}.{}: {}", type.name, field.name, what));
  }

  bool member(const Type& type, const Field& field, const Item& item, void* member) {
    const Access& access = *field.access;
    switch (access.shape) {
      case Shape::one:
      case Shape::optional:
        return value(type, field, item, access.make(member));
      case Shape::list:
        if (is_number(access.kind) && item.wire == Wire::bytes) return packed(type, field, item.bytes, member);
        return value(type, field, item, access.append(member));
      case Shape::map:
        return entry(type, field, item, member);
    }
    return false;
  }

  static bool is_number(Kind kind) { return kind == Kind::boolean || kind == Kind::int32 || kind == Kind::int64; }

  bool packed(const Type& type, const Field& field, std::string_view bytes, void* member) {
    Reader reader(bytes);
    Item item;
    while (!reader.at_end()) {
      if (!reader.take_varint(item.integer)) return reject(type, field, "not protobuf");
      if (--budget_ == 0) return reject(type, field, fmt::format("more than {} values", kMaxValues));
      if (!value(type, field, item, field.access->append(member))) return false;
    }
    return true;
  }

  bool entry(const Type& type, const Field& field, const Item& item, void* member) {
    if (item.wire != Wire::bytes) return reject(type, field, "wrong wire type");
    Reader reader(item.bytes);
    Item part;
    std::string_view key;
    std::optional<Item> found;
    while (reader.next(part)) {
      if (part.number == 1 && part.wire == Wire::bytes) key = part.bytes;
      if (part.number == 2) found = part;
    }
    if (reader.broken() || !is_utf8(key)) return reject(type, field, "a broken map entry");
    void* target = field.access->entry(member, std::string(key));
    return !found || value(type, field, *found, target);
  }

  bool value(const Type& type, const Field& field, const Item& item, void* target) {
    const Kind kind = field.access->kind;
    if (is_number(kind) != (item.wire == Wire::varint) || (!is_number(kind) && item.wire != Wire::bytes)) {
      return reject(type, field, "wrong wire type");
    }
    switch (kind) {
      case Kind::boolean:
        *static_cast<bool*>(target) = item.integer != 0;
        return true;
      case Kind::int32:
        *static_cast<int32_t*>(target) = static_cast<int32_t>(item.integer);
        return true;
      case Kind::int64:
        *static_cast<int64_t*>(target) = static_cast<int64_t>(item.integer);
        return true;
      case Kind::string:
        if (!is_utf8(item.bytes)) return reject(type, field, "not UTF-8");
        if (field.access->shape != Shape::map && item.bytes.find('\0') != std::string_view::npos) {
          return reject(type, field, "must not contain a NUL character");
        }
        *static_cast<std::string*>(target) = item.bytes;
        return true;
      case Kind::bytes:
        static_cast<Bytes*>(target)->data = item.bytes;
        return true;
      case Kind::structure:
        return message(field.access->type(), item.bytes, target);
      default:
        return known_message(type, field, item.bytes, target);
    }
  }

  // The messages that are scalars here.
  bool known_message(const Type& type, const Field& field, std::string_view bytes, void* target) {
    Reader reader(bytes);
    Item item;
    std::string_view first_bytes;
    std::string_view third_bytes;
    int64_t first = 0;
    int64_t second = 0;
    while (reader.next(item)) {
      if (item.number == 1 && item.wire == Wire::bytes) first_bytes = item.bytes;
      if (item.number == 3 && item.wire == Wire::bytes) third_bytes = item.bytes;
      if (item.number == 1 && item.wire == Wire::varint) first = static_cast<int64_t>(item.integer);
      if (item.number == 2 && item.wire == Wire::varint) second = static_cast<int64_t>(item.integer);
    }
    if (reader.broken()) return reject(type, field, "not protobuf");
    switch (field.access->kind) {
      case Kind::quantity: {
        auto quantity = parse_quantity(first_bytes.empty() ? "0" : first_bytes);
        if (!quantity) return reject(type, field, quantity.error().message);
        *static_cast<Quantity*>(target) = std::move(*quantity);
        return true;
      }
      case Kind::time:
        static_cast<Time*>(target)->seconds = first;
        return true;
      case Kind::micro_time: {
        constexpr int64_t kMost = int64_t{1} << 40;  // seconds: beyond any date that can be written
        static_cast<MicroTime*>(target)->microseconds =
            std::clamp(first, -kMost, kMost) * 1'000'000 + std::clamp<int64_t>(second, 0, 999'999'999) / 1'000;
        return true;
      }
      case Kind::int_or_string: {
        if (!is_utf8(third_bytes)) return reject(type, field, "not UTF-8");
        *static_cast<IntOrString*>(target) = {
            .is_string = first == 1, .number = static_cast<int32_t>(second), .text = std::string(third_bytes)};
        return true;
      }
      case Kind::raw_json: {
        Tree tree;
        size_t used = 0;
        if (auto root = read_json(first_bytes, tree, 1, used); !root) return reject(type, field, root.error().message);
        static_cast<RawJson*>(target)->text = first_bytes.substr(0, used);
        return true;
      }
      default:
        return false;
    }
  }

  size_t budget_ = kMaxValues;
  std::string error_;
};

struct Unknown {
  std::string_view api_version;
  std::string_view kind;
  std::string_view raw;
};

std::optional<Unknown> read_envelope(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return std::nullopt;
  Unknown unknown;
  Reader reader(bytes.substr(kMagic.size()));
  Item item;
  while (reader.next(item)) {
    if (item.wire != Wire::bytes) continue;
    if (item.number == 2) unknown.raw = item.bytes;
    if (item.number != 1) continue;
    Reader meta(item.bytes);
    while (meta.next(item)) {
      if (item.number == 1 && item.wire == Wire::bytes) unknown.api_version = item.bytes;
      if (item.number == 2 && item.wire == Wire::bytes) unknown.kind = item.bytes;
    }
    if (meta.broken()) return std::nullopt;
  }
  if (reader.broken()) return std::nullopt;
  return unknown;
}

}  // namespace

Result<void> decode_protobuf(const Type& type, std::string_view kind, std::string_view api_version,
                             std::string_view bytes, void* object) {
  const auto invalid = [&](std::string_view what) {
    return fail(Error::Code::invalid, fmt::format("invalid {}: {}", kind, what));
  };
  if (bytes.size() > kMaxText) return invalid(fmt::format("larger than {} bytes", kMaxText));
  const auto unknown = read_envelope(bytes);
  if (!unknown) return invalid("not in Kubernetes' protobuf envelope");
  if (unknown->kind != kind || unknown->api_version != api_version) {
    return invalid(fmt::format("it is {} {}", unknown->api_version, unknown->kind));
  }
  ProtobufDecoder decoder;
  if (!decoder.message(type, unknown->raw, object)) return invalid(decoder.error());
  return {};
}

std::string encode_protobuf(const Type& type, std::string_view kind, std::string_view api_version, const void* object) {
  std::string meta;
  put_bytes(meta, 1, api_version);
  put_bytes(meta, 2, kind);
  std::string out(kMagic);
  put_bytes(out, 1, meta);
  put_bytes(out, 2, message_of(type, object));
  put_bytes(out, 3, "");  // contentEncoding
  put_bytes(out, 4, "");  // contentType
  return out;
}

std::optional<TypeMeta> type_meta_of_protobuf(std::string_view bytes) {
  const auto unknown = read_envelope(bytes);
  if (!unknown) return std::nullopt;
  return TypeMeta{std::string(unknown->api_version), std::string(unknown->kind)};
}

template <typename T>
Result<T> decode_protobuf(std::string_view bytes) {
  T object;
  auto decoded = decode_protobuf(type_of<T>(), T::kKind, T::kApiVersion, bytes, &object);
  if (!decoded) return std::unexpected(std::move(decoded.error()));
  return object;
}

template <typename T>
std::string encode_protobuf(const T& object) {
  return encode_protobuf(type_of<T>(), T::kKind, T::kApiVersion, &object);
}

template Result<Pod> decode_protobuf(std::string_view);
template Result<Service> decode_protobuf(std::string_view);
template Result<Endpoints> decode_protobuf(std::string_view);
template Result<ConfigMap> decode_protobuf(std::string_view);
template Result<Secret> decode_protobuf(std::string_view);
template Result<Status> decode_protobuf(std::string_view);
template Result<Node> decode_protobuf(std::string_view);
template Result<ReplicationController> decode_protobuf(std::string_view);
template Result<Scale> decode_protobuf(std::string_view);
template Result<Namespace> decode_protobuf(std::string_view);
template Result<Event> decode_protobuf(std::string_view);
template Result<EventsEvent> decode_protobuf(std::string_view);
template Result<EndpointSlice> decode_protobuf(std::string_view);
template Result<Lease> decode_protobuf(std::string_view);
template Result<DeleteOptions> decode_protobuf(std::string_view);
template Result<Binding> decode_protobuf(std::string_view);
template Result<Eviction> decode_protobuf(std::string_view);
template Result<ServiceAccount> decode_protobuf(std::string_view);
template Result<TokenRequest> decode_protobuf(std::string_view);
template Result<SelfSubjectReview> decode_protobuf(std::string_view);
template Result<SelfSubjectAccessReview> decode_protobuf(std::string_view);
template Result<SelfSubjectRulesReview> decode_protobuf(std::string_view);
template std::string encode_protobuf(const Pod&);
template std::string encode_protobuf(const Service&);
template std::string encode_protobuf(const Endpoints&);
template std::string encode_protobuf(const ConfigMap&);
template std::string encode_protobuf(const Secret&);
template std::string encode_protobuf(const Status&);
template std::string encode_protobuf(const Node&);
template std::string encode_protobuf(const ReplicationController&);
template std::string encode_protobuf(const Scale&);
template std::string encode_protobuf(const Namespace&);
template std::string encode_protobuf(const Event&);
template std::string encode_protobuf(const EventsEvent&);
template std::string encode_protobuf(const EndpointSlice&);
template std::string encode_protobuf(const Lease&);
template std::string encode_protobuf(const DeleteOptions&);
template std::string encode_protobuf(const Binding&);
template std::string encode_protobuf(const Eviction&);
template std::string encode_protobuf(const ServiceAccount&);
template std::string encode_protobuf(const TokenRequest&);
template std::string encode_protobuf(const SelfSubjectReview&);
template std::string encode_protobuf(const SelfSubjectAccessReview&);
template std::string encode_protobuf(const SelfSubjectRulesReview&);

}  // namespace keelson::api
