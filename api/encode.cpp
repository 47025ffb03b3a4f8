// Objects to JSON, driven by their Type; empty fields as Go's json package treats them.
#include <fmt/compile.h>

#include <algorithm>
#include <iterator>

#include "api/codec.h"
#include "api/draft.h"
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

// What the walk below writes to: the text, or the tree that the text would be read as.
class TextSink {
 public:
  explicit TextSink(std::string& out) : out_(out) {}

  void open_object() { out_ += '{'; }
  void close_object() { out_ += '}'; }
  void open_list() { out_ += '['; }
  void close_list() { out_ += ']'; }
  void item() {
    if (out_.back() != '[') out_ += ',';
  }
  // A field's name, which needs no escapes, or a map's key.
  void name(std::string_view name) {
    if (out_.back() != '{') out_ += ',';
    out_ += '"';
    out_ += name;
    out_ += "\":";
  }
  void key(std::string_view key) {
    if (out_.back() != '{') out_ += ',';
    append_json_string(out_, key);
    out_ += ':';
  }
  void null() { out_ += "null"; }
  void boolean(bool value) { out_ += value ? "true" : "false"; }
  void number(int64_t value) { fmt::format_to(std::back_inserter(out_), FMT_COMPILE("{}"), value); }
  void string(std::string_view text) { append_json_string(out_, text); }
  void made(const std::string& text) { append_json_string(out_, text); }
  void raw(const std::string& json) { out_ += json; }

 private:
  std::string& out_;
};

class DraftSink {
 public:
  DraftSink(Drafts& drafts, Draft* root) : drafts_(drafts), open_{root} {}

  void open_object() { open(Draft::Kind::object); }
  void close_object() { open_.pop_back(); }
  void open_list() { open(Draft::Kind::list); }
  void close_list() { open_.pop_back(); }
  void item() { key_ = {}; }
  void name(std::string_view name) { key_ = name; }
  void key(std::string_view key) { key_ = key; }
  void null() { add(Draft::Kind::null); }
  void boolean(bool value) { add(Draft::Kind::boolean)->flag = value; }
  void number(int64_t value) { add(Draft::Kind::integer)->text = drafts_.keep(std::to_string(value)); }
  void string(std::string_view text) { add(Draft::Kind::string)->text = text; }
  void made(std::string text) { add(Draft::Kind::string)->text = drafts_.keep(std::move(text)); }
  void raw(std::string_view json) { add(Draft::Kind::real)->text = json; }

 private:
  Draft* add(Draft::Kind kind) {
    Draft* draft = drafts_.make(kind);
    open_.back()->members.emplace_back(key_, draft);
    return draft;
  }
  void open(Draft::Kind kind) { open_.push_back(add(kind)); }

  Drafts& drafts_;
  std::vector<Draft*> open_;
  std::string_view key_;
};

template <typename Sink>
void write_struct(const Type& type, const void* object, Sink& out);

template <typename Sink>
void write_value(const Access& access, const void* value, Sink& out) {
  switch (access.kind) {
    case Kind::string:
      return out.string(*static_cast<const std::string*>(value));
    case Kind::boolean:
      return out.boolean(*static_cast<const bool*>(value));
    case Kind::int32:
      return out.number(*static_cast<const int32_t*>(value));
    case Kind::int64:
      return out.number(*static_cast<const int64_t*>(value));
    case Kind::bytes:
      return out.made(encode_base64(static_cast<const Bytes*>(value)->data));
    case Kind::quantity: {
      const std::string& text = static_cast<const Quantity*>(value)->text;
      return out.string(text.empty() ? std::string_view("0") : text);
    }
    case Kind::time: {
      const Time time = *static_cast<const Time*>(value);
      return time == Time{} ? out.null() : out.made(to_string(time));
    }
    case Kind::micro_time: {
      const MicroTime time = *static_cast<const MicroTime*>(value);
      return time == MicroTime{} ? out.null() : out.made(to_string(time));
    }
    case Kind::int_or_string: {
      const auto& port = *static_cast<const IntOrString*>(value);
      return port.is_string ? out.string(port.text) : out.number(port.number);
    }
    case Kind::raw_json: {
      const std::string& text = static_cast<const RawJson*>(value)->text;
      return text.empty() ? out.null() : out.raw(text);
    }
    case Kind::structure:
      out.open_object();
      write_struct(access.type(), value, out);
      return out.close_object();
  }
}

template <typename Sink>
void write_zero(const Access& access, Sink& out) {
  switch (access.kind) {
    case Kind::quantity:
      return out.string("0");
    case Kind::int_or_string:
    case Kind::int32:
    case Kind::int64:
      return out.number(0);
    case Kind::boolean:
      return out.boolean(false);
    case Kind::string:
      return out.string("");
    default:
      return out.null();
  }
}

template <typename Sink>
void write_list(const Access& access, const void* member, Sink& out) {
  out.open_list();
  for (size_t i = 0; i < access.size(member); ++i) {
    out.item();
    write_value(access, access.item(member, i), out);
  }
  out.close_list();
}

template <typename Sink>
void write_map(const Access& access, const void* member, Sink& out) {
  struct Context {
    const Access& access;
    Sink& out;
  } context{access, out};
  out.open_object();
  access.each(member, &context, [](void* opaque, const std::string& key, const void* value) {
    auto& into = *static_cast<Context*>(opaque);
    into.out.key(key);
    write_value(into.access, value, into.out);
  });
  out.close_object();
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

template <typename Sink>
void write_field(const Field& field, const void* member, Sink& out) {
  const Access& access = *field.access;
  const bool many = access.shape == Shape::list || access.shape == Shape::map;
  const void* value = many ? nullptr : access.get(member);
  const bool absent = many ? access.size(member) == 0 : value == nullptr;
  if (absent) {
    if (field.empty != Empty::printed && field.empty != Empty::null) return;
    out.name(field.name);
    return many || field.empty == Empty::null ? out.null() : write_zero(access, out);
  }
  if (!many && is_left_out(field, access, value)) return;
  out.name(field.name);
  if (access.shape == Shape::list) {
    write_list(access, member, out);
  } else if (access.shape == Shape::map) {
    write_map(access, member, out);
  } else {
    write_value(access, value, out);
  }
}

template <typename Sink>
void write_struct(const Type& type, const void* object, Sink& out) {
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

void append_json_fields(std::string& out, const Type& type, const void* object) {
  TextSink sink(out);
  write_struct(type, object, sink);
}

Draft* draft_of(Drafts& drafts, const Type& type, const void* object) {
  Draft* root = drafts.make(Draft::Kind::object);
  DraftSink sink(drafts, root);
  write_struct(type, object, sink);
  return root;
}

template <typename T>
std::string encode_json(const T& object) {
  std::string out = "{";
  if constexpr (!T::kKind.empty()) out = fmt::format(R"({{"kind":"{}","apiVersion":"{}")", T::kKind, T::kApiVersion);
  append_json_fields(out, type_of<T>(), &object);
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
    append_json_fields(out, type_of<T>(), &object);
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
