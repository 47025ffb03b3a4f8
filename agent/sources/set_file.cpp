#include "agent/sources/set_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "agent/sources/digest.h"
#include "api/codec.h"

namespace keelson::sources {

// The first line: "keelson-set 1 <source> <objects> <sha256 of the rest>". Then a line
// per object: kind, line, document, JSON, separated by tabs.
namespace {

constexpr std::string_view kMagic = "keelson-set 1";

// File names may hold anything; the separators are escaped.
std::string escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '\\':
        result += "\\\\";
        break;
      case '\t':
        result += "\\t";
        break;
      case '\n':
        result += "\\n";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string unescape(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    const char next = text[++i];
    result += next == 't' ? '\t' : next == 'n' ? '\n' : next;
  }
  return result;
}

// Cuts the text up to the separator off its front.
std::string_view cut(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const auto part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::string header(const std::string& source, size_t count, std::string_view body) {
  return fmt::format("{} {} {} {}", kMagic, source, count, sha256_hex(body));
}

template <typename T>
host::Result<api::Object> decode(std::string_view json) {
  auto object = api::decode_json<T>(json);
  if (!object) return std::unexpected(std::move(object.error()));
  return api::Object(std::move(*object));
}

host::Result<api::Object> decode(std::string_view kind, std::string_view json) {
  if (kind == api::Pod::kKind) return decode<api::Pod>(json);
  if (kind == api::Service::kKind) return decode<api::Service>(json);
  if (kind == api::Endpoints::kKind) return decode<api::Endpoints>(json);
  if (kind == api::ConfigMap::kKind) return decode<api::ConfigMap>(json);
  if (kind == api::Secret::kKind) return decode<api::Secret>(json);
  return host::fail(host::Error::Code::invalid, fmt::format("unknown kind \"{}\"", kind));
}

}  // namespace

host::Status write_set(const host::Path& path, const std::string& source, const std::vector<AcceptedPtr>& objects) {
  std::string body;
  for (const auto& one : objects) {
    body += fmt::format("{}\t{}\t{}\t", api::key_of(one->object).kind, one->origin.line, escape(one->origin.document));
    body += api::encode_json(one->object);
    body += '\n';
  }
  if (auto made = host::make_directories(path.parent_path(), 0700); !made) return made;
  return host::write_file_atomically(path, header(source, objects.size(), body) + '\n' + body, 0600);
}

host::Result<std::vector<Accepted>> read_set(const host::Path& path, const std::string& source, size_t limit) {
  auto content = host::read_file(path, limit);
  if (!content) return std::unexpected(std::move(content.error()));
  std::string_view body = *content;
  const std::string_view first = cut(body, '\n');

  auto damaged = [&](std::string_view why) {
    return host::fail(host::Error::Code::invalid, fmt::format("{}: damaged: {}", path.string(), why));
  };
  // Nothing is decoded that is not sealed.
  const auto count = static_cast<size_t>(std::ranges::count(body, '\n'));
  if (first != header(source, count, body)) return damaged("its seal does not fit");
  std::vector<Accepted> objects;
  for (std::string_view rest = body; !rest.empty();) {
    std::string_view line = cut(rest, '\n');
    const std::string_view kind = cut(line, '\t');
    const std::string_view number = cut(line, '\t');
    const std::string_view document = cut(line, '\t');
    Accepted accepted;
    accepted.origin = {.source = source, .document = unescape(document)};
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), accepted.origin.line);
    if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size()) return damaged("no line number");
    auto object = decode(kind, line);
    if (!object) return damaged(object.error().message);
    accepted.object = std::move(*object);
    objects.push_back(std::move(accepted));
  }
  return objects;
}

}  // namespace keelson::sources
