#include "apiclient/list_reader.h"

#include <fmt/format.h>

#include <cstring>

#include "api/codec.h"
#include "api/decode.h"

namespace keelson::apiclient {

namespace {

constexpr size_t kMostEnvelope = 1u << 20;
constexpr size_t kMostWord = 64;
constexpr size_t kMostLine = api::kMaxText + 1024;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::unexpected<host::Error> invalid(std::string what) {
  return host::fail(host::Error::Code::invalid, std::move(what));
}

}  // namespace

host::Status ListReader::feed(std::string_view part, const std::function<void(api::AnyObject)>& item) {
  for (size_t at = 0; at < part.size();) {
    const char c = part[at];
    if (place_ == Place::around) {
      if (auto read = around(c); !read) return read;
      ++at;
      continue;
    }
    if (place_ == Place::between) {
      ++at;
      if (is_space(c) || c == ',') continue;
      if (c == ']') {
        place_ = Place::around;
        envelope_ += c;
        --depth_;
      } else if (c == '{') {
        place_ = Place::item;
        depth_ = 1;
        text_ = c;
      } else {
        return invalid("the list holds something that is no object");
      }
      continue;
    }
    // An item: to its last brace, in as few steps as there are quotes and braces.
    const size_t begin = at;
    for (; at < part.size() && depth_ > 0; ++at) {
      const char inner = part[at];
      if (in_string_) {
        if (escaped_) {
          escaped_ = false;
        } else if (inner == '\\') {
          escaped_ = true;
        } else if (inner == '"') {
          in_string_ = false;
        }
      } else if (inner == '"') {
        in_string_ = true;
      } else if (inner == '{' || inner == '[') {
        ++depth_;
      } else if (inner == '}' || inner == ']') {
        --depth_;
      }
    }
    text_.append(part, begin, at - begin);
    if (text_.size() > api::kMaxText) return invalid("an object of the list is too large");
    if (depth_ == 0) {
      if (auto taken = take_item(item); !taken) return taken;
    }
  }
  return {};
}

host::Status ListReader::take_item(const std::function<void(api::AnyObject)>& item) {
  api::Tree tree;
  size_t used = 0;
  const auto root = api::read_json(text_, tree, 1, used);
  if (!root) return invalid(fmt::format("an object of the list: {}", root.error().message));
  if (const auto kind = (*root)->string("kind"); !kind.empty() && kind != resource_.kind) {
    return invalid(fmt::format("the list holds a {}, not a {}", kind, resource_.kind));
  }
  auto read = api::read_object(resource_, **root);
  if (!read) {
    const auto* metadata = (*root)->find("metadata");
    return invalid(
        fmt::format("{} {}: {}", resource_.kind, metadata ? metadata->string("name") : "", read.error().message));
  }
  place_ = Place::between;
  depth_ = 2;
  item(std::move(read->object));
  return {};
}

host::Status ListReader::around(char c) {
  envelope_ += c;
  if (envelope_.size() > kMostEnvelope) return invalid("what surrounds the list's items is too large");
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      return {};
    }
    if (depth_ == 1 && word_.size() < kMostWord) word_ += c;
    return {};
  }
  if (is_space(c)) return {};
  if (c == '"') {
    in_string_ = true;
    if (depth_ == 1 && !after_colon_) word_.clear();
  } else if (c == '{' || c == '[') {
    if (depth_ == 0 && c == '[') return invalid("not an object");
    ++depth_;
    if (c == '[' && depth_ == 2 && after_colon_ && word_ == "items") {
      if (std::exchange(seen_items_, true)) return invalid("items twice");
      place_ = Place::between;
    }
  } else if (c == '}' || c == ']') {
    --depth_;
  } else if (depth_ == 0) {
    return invalid("not JSON");
  }
  if (depth_ <= 1) after_colon_ = c == ':';
  return {};
}

host::Result<api::ListMeta> ListReader::finish() {
  if (place_ != Place::around || depth_ != 0) return invalid("the list is not whole");
  api::Tree tree;
  size_t used = 0;
  const auto root = api::read_json(envelope_, tree, 1, used);
  if (!root) return invalid(root.error().message);
  const auto kind = (*root)->string("kind");
  if (kind != fmt::format("{}List", resource_.kind)) {
    return invalid(fmt::format("a {}List is expected, not \"{}\"", resource_.kind, kind));
  }
  const auto* items = (*root)->find("items");
  // Ours were taken out; "\u0069tems" is nobody's way to write it.
  if (items != nullptr && items->kind != api::Value::Kind::null &&
      (items->kind != api::Value::Kind::list || !items->members.empty())) {
    return invalid("items is no list");
  }
  api::ListMeta metadata;
  if (const auto* found = (*root)->find("metadata")) {
    api::Remarks remarks;
    api::decode(api::type_of<api::ListMeta>(), *found, &metadata, remarks);
    if (!remarks.errors.empty()) {
      return invalid(fmt::format("metadata.{}: {}", remarks.errors[0].field, remarks.errors[0].message));
    }
  }
  if (metadata.resource_version.empty()) return invalid("the list has no metadata.resourceVersion");
  return metadata;
}

host::Status LineReader::feed(std::string_view part, const std::function<bool(std::string_view line)>& line) {
  while (!part.empty()) {
    const auto end = part.find('\n');
    if (end == std::string_view::npos) {
      rest_ += part;
      if (rest_.size() > kMostLine) return invalid("an event is too large");
      return {};
    }
    const auto piece = part.substr(0, end);
    part.remove_prefix(end + 1);
    if (rest_.empty()) {
      if (!piece.empty() && !line(piece)) return {};
      continue;
    }
    auto whole = std::exchange(rest_, {});
    whole += piece;
    if (whole.size() > kMostLine) return invalid("an event is too large");
    if (!line(whole)) return {};
  }
  return {};
}

}  // namespace keelson::apiclient
