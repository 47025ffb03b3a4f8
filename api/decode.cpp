#include "api/decode.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace keelson::api {

namespace {

std::string_view word_for(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::null:
      return "null";
    case Value::Kind::boolean:
      return "bool";
    case Value::Kind::integer:
    case Value::Kind::real:
      return "number";
    case Value::Kind::string:
      return "string";
    case Value::Kind::list:
      return "array";
    case Value::Kind::object:
      return "object";
  }
  return "value";
}

std::string_view word_for(Kind kind) {
  switch (kind) {
    case Kind::string:
      return "string";
    case Kind::boolean:
      return "bool";
    case Kind::int32:
      return "int32";
    case Kind::int64:
      return "int64";
    case Kind::bytes:
      return "[]byte (base64)";
    case Kind::quantity:
      return "Quantity";
    case Kind::time:
    case Kind::micro_time:
      return "Time";
    case Kind::int_or_string:
      return "IntOrString";
    case Kind::raw_json:
      return "JSON";
    case Kind::structure:
      return "struct";
  }
  return "value";
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  static constexpr auto kDigits = [] {
    std::array<int8_t, 256> digits{};
    digits.fill(-1);
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < kAlphabet.size(); ++i) {
      digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
    }
    return digits;
  }();
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t group = 0;
  size_t count = 0;
  size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    const int8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (c == '=') {
      if (count % 4 < 2) return std::nullopt;
      ++padding;
    } else if (digit < 0 || padding > 0) {
      return std::nullopt;
    }
    group = group << 6 | (c == '=' ? 0 : static_cast<uint32_t>(digit));
    if (++count % 4 != 0) continue;
    for (size_t byte = 0; byte + padding < 3; ++byte) out += static_cast<char>(group >> (16 - 8 * byte) & 0xFF);
    group = 0;
    if (padding > 0 && padding > 2) return std::nullopt;
  }
  if (count % 4 != 0) return std::nullopt;
  return out;
}

namespace {

template <typename T>
bool to_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

class Decoder {
 public:
  explicit Decoder(Remarks& remarks) : remarks_(remarks) {}

  void structure(const Type& type, const Value& node, void* object) {
    if (node.kind == Value::Kind::null) return;
    if (node.kind != Value::Kind::object) {
      error(node.line, fmt::format("cannot unmarshal {} into Go value of type {}", word_for(node.kind), type.name));
      return;
    }
    std::vector<const Field*> seen;
    seen.reserve(std::min(node.members.size(), type.fields.size()));
    const bool whole = path_.empty() || type.has_type_meta;
    for (const Value::Member& member : node.members) {
      if (whole && (member.key == "kind" || member.key == "apiVersion")) continue;  // who called has read them
      void* holder = object;
      const Field* field = find_field(type, member.key, holder);
      const Scope scope(*this, member.key, member.line);
      if (field == nullptr) {
        unknown(member.line);
      } else if (std::find(seen.begin(), seen.end(), field) != seen.end()) {
        if (remarks_.last_duplicate_wins) {
          duplicate(member.line);
          if (field->access->reset != nullptr) field->access->reset(field->at(holder));
          owner_ = &type;
          this->member(*field, *member.value, field->at(holder));
          continue;
        }
        error(member.line, fmt::format("key \"{}\" already set in map", member.key));
      } else {
        seen.push_back(field);
        owner_ = &type;
        this->member(*field, *member.value, field->at(holder));
      }
      if (exhausted()) return;
    }
  }

 private:
  // One step down the path, for as long as it lives.
  class Scope {
   public:
    Scope(Decoder& decoder, std::string_view name, int line) : decoder_(decoder), length_(decoder.path_.size()) {
      if (length_ != 0) decoder.path_ += '.';
      decoder.path_ += name;
      decoder.note_line(line);
    }
    Scope(Decoder& decoder, size_t index, int line) : decoder_(decoder), length_(decoder.path_.size()) {
      decoder.path_ += fmt::format("[{}]", index);
      decoder.note_line(line);
    }
    struct Key {
      std::string_view text;
    };
    Scope(Decoder& decoder, Key key, int line) : decoder_(decoder), length_(decoder.path_.size()) {
      decoder.path_ += fmt::format("[{}]", key.text);
      decoder.note_line(line);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { decoder_.path_.resize(length_); }

   private:
    Decoder& decoder_;
    size_t length_;
  };

  void member(const Field& field, const Value& node, void* member) {
    const Access& access = *field.access;
    if (node.kind == Value::Kind::null) return;
    switch (access.shape) {
      case Shape::one:
      case Shape::optional:
        value(access, field, node, access.make(member));
        return;
      case Shape::list: {
        if (node.kind != Value::Kind::list) {
          mismatch(node, field,
                   fmt::format("[]{}", access.type != nullptr ? access.type().name : word_for(access.kind)));
          return;
        }
        for (size_t i = 0; i < node.members.size() && !exhausted(); ++i) {
          const Scope scope(*this, i, node.members[i].line);
          value(access, field, *node.members[i].value, access.append(member));
        }
        return;
      }
      case Shape::map: {
        if (node.kind != Value::Kind::object) {
          mismatch(node, field, fmt::format("map[string]{}", word_for(access.kind)));
          return;
        }
        for (const Value::Member& entry : node.members) {
          if (exhausted()) return;
          const Scope scope(*this, Scope::Key{entry.key}, entry.line);
          const size_t before = access.size(member);
          void* target = access.entry(member, std::string(entry.key));
          if (access.size(member) == before) {
            if (remarks_.last_duplicate_wins) {
              duplicate(entry.line);
              value(access, field, *entry.value, target);
              continue;
            }
            error(entry.line, fmt::format("key \"{}\" already set in map", entry.key));
            continue;
          }
          value(access, field, *entry.value, target);
        }
        return;
      }
    }
  }

  void value(const Access& access, const Field& field, const Value& node, void* target) {
    if (exhausted()) return;
    --remarks_.budget;
    if (node.kind == Value::Kind::null) return;
    const auto wrong_type = [&] { mismatch(node, field, word_for(access.kind)); };
    switch (access.kind) {
      case Kind::structure: {
        const Type* owner = owner_;
        structure(access.type(), node, target);
        owner_ = owner;
        return;
      }
      case Kind::string:
        if (node.kind != Value::Kind::string) return wrong_type();
        if (access.shape != Shape::map && node.text.find('\0') != std::string_view::npos) {
          return error(node.line, "must not contain a NUL character");
        }
        *static_cast<std::string*>(target) = node.text;
        return;
      case Kind::boolean:
        if (node.kind != Value::Kind::boolean) return wrong_type();
        *static_cast<bool*>(target) = node.flag;
        return;
      case Kind::int32:
        if (node.kind != Value::Kind::integer) return wrong_type();
        if (!to_number(node.text, *static_cast<int32_t*>(target))) out_of_range(node, field, access.kind);
        return;
      case Kind::int64:
        if (node.kind != Value::Kind::integer) return wrong_type();
        if (!to_number(node.text, *static_cast<int64_t*>(target))) out_of_range(node, field, access.kind);
        return;
      case Kind::bytes: {
        if (node.kind != Value::Kind::string) return wrong_type();
        auto bytes = decode_base64(node.text);
        if (!bytes) return error(node.line, "illegal base64 data");
        static_cast<Bytes*>(target)->data = std::move(*bytes);
        return;
      }
      case Kind::quantity: {
        if (node.kind == Value::Kind::boolean || node.kind == Value::Kind::list || node.kind == Value::Kind::object) {
          return wrong_type();
        }
        auto quantity = parse_quantity(node.text);
        if (!quantity)
          return error(node.line, fmt::format("Invalid value: \"{}\": {}", node.text, quantity.error().message));
        *static_cast<Quantity*>(target) = std::move(*quantity);
        return;
      }
      case Kind::time: {
        if (node.kind != Value::Kind::string) return wrong_type();
        auto time = parse_time(node.text);
        if (!time) return error(node.line, time.error().message);
        *static_cast<Time*>(target) = *time;
        return;
      }
      case Kind::micro_time: {
        if (node.kind != Value::Kind::string) return wrong_type();
        auto time = parse_micro_time(node.text);
        if (!time) return error(node.line, time.error().message);
        *static_cast<MicroTime*>(target) = *time;
        return;
      }
      case Kind::int_or_string: {
        auto& port = *static_cast<IntOrString*>(target);
        port.is_string = node.kind == Value::Kind::string;
        if (port.is_string) {
          port.text = node.text;
        } else if (node.kind != Value::Kind::integer) {
          wrong_type();
        } else if (!to_number(node.text, port.number)) {
          out_of_range(node, field, Kind::int32);
        }
        return;
      }
      case Kind::raw_json:
        write_json(node, static_cast<RawJson*>(target)->text, remarks_.budget);
        return;
    }
  }

  void note_line(int line) {
    if (remarks_.want_lines) remarks_.lines.emplace_back(path_, line);
  }

  void error(int line, std::string message) {
    if (remarks_.errors.size() < Remarks::kMost) remarks_.errors.push_back({path_, line, std::move(message)});
  }

  void unknown(int line) {
    if (remarks_.unknown.size() < Remarks::kMost) {
      remarks_.unknown.push_back({path_, line, fmt::format("unknown field \"{}\"", path_)});
    }
  }

  void duplicate(int line) {
    if (remarks_.unknown.size() < Remarks::kMost) {
      remarks_.unknown.push_back({path_, line, fmt::format("duplicate field \"{}\"", path_)});
    }
  }

  void mismatch(const Value& node, const Field& field, std::string_view wanted) {
    const bool quote = wanted == "string" && node.kind != Value::Kind::list && node.kind != Value::Kind::object;
    error(node.line, fmt::format("cannot unmarshal {} into Go struct field {}.{} of type {}{}", word_for(node.kind),
                                 owner_->name, field.name, wanted, quote ? ": write it in quotes" : ""));
  }

  void out_of_range(const Value& node, const Field& field, Kind kind) {
    error(node.line, fmt::format("cannot unmarshal number {} into Go struct field {}.{} of type {}", node.text,
                                 owner_->name, field.name, word_for(kind)));
  }

  // Aliases may multiply a small text; whoever reaches the limit has said enough.
  bool exhausted() {
    if (remarks_.budget > 0) return false;
    if (!told_exhausted_) error(0, fmt::format("more than {} values after alias expansion", kMaxValues));
    told_exhausted_ = true;
    return true;
  }

  Remarks& remarks_;
  std::string path_;
  const Type* owner_ = nullptr;
  bool told_exhausted_ = false;
};

}  // namespace

void decode(const Type& type, const Value& node, void* object, Remarks& remarks) {
  Decoder(remarks).structure(type, node, object);
}

}  // namespace keelson::api
