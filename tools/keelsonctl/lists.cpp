#include "tools/keelsonctl/lists.h"

#include <fmt/format.h>
#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <algorithm>

#include "api/codec.h"
#include "tools/keelsonctl/table.h"

namespace keelson::ctl {

namespace {

constexpr size_t kDepth = 64;

host::Result<rapidjson::Document> parse(std::string_view json) {
  // An answer nests no deeper than what the agent makes; the parser's recursion is bounded all the same.
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepth) return host::fail(host::Error::Code::invalid, "the agent's answer nests too deeply");
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  rapidjson::Document document;
  document.Parse(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) {
    return host::fail(host::Error::Code::invalid, "the agent's answer is no JSON object; is --agent a keelson-agent?");
  }
  return document;
}

std::string text(const rapidjson::Value& object, const char* name) {
  const auto member = object.FindMember(name);
  if (member == object.MemberEnd()) return {};
  if (member->value.IsString()) return {member->value.GetString(), member->value.GetStringLength()};
  if (member->value.IsInt64()) return std::to_string(member->value.GetInt64());
  if (member->value.IsBool()) return member->value.GetBool() ? "true" : "false";
  return {};
}

// The objects of an array member; none when it is absent.
std::vector<const rapidjson::Value*> objects(const rapidjson::Value& object, const char* name) {
  std::vector<const rapidjson::Value*> found;
  const auto member = object.FindMember(name);
  if (member == object.MemberEnd() || !member->value.IsArray()) return found;
  for (const auto& item : member->value.GetArray()) {
    if (item.IsObject()) found.push_back(&item);
  }
  return found;
}

std::vector<std::string> texts(const rapidjson::Value& object, const char* name) {
  std::vector<std::string> found;
  const auto member = object.FindMember(name);
  if (member == object.MemberEnd() || !member->value.IsArray()) return found;
  for (const auto& item : member->value.GetArray()) {
    if (item.IsString()) found.emplace_back(item.GetString(), item.GetStringLength());
  }
  return found;
}

std::string one_line(std::string_view value) {
  std::string out(value);
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

std::string compact(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

template <typename T>
host::Result<std::vector<T>> decode_items(std::string_view json) {
  auto document = parse(json);
  if (!document) return std::unexpected(std::move(document.error()));
  std::vector<T> decoded;
  for (const auto* item : objects(*document, "items")) {
    auto object = api::decode_json<T>(compact(*item));
    if (!object) return std::unexpected(std::move(object.error()));
    decoded.push_back(std::move(*object));
  }
  return decoded;
}

constexpr size_t kFlowWidths[] = {15, 5, 22, 22, 22, 24};
std::string flow_line(const std::vector<std::string>& cells) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    line += cells[i];
    if (i + 1 == cells.size()) break;
    const size_t width = kFlowWidths[i];
    line.append(cells[i].size() < width ? width - cells[i].size() : 0, ' ');
    line += "   ";
  }
  return line + "\n";
}

}  // namespace

host::Result<Format> parse_format(std::string_view name) {
  if (name.empty()) return Format::table;
  if (name == "wide") return Format::wide;
  if (name == "json") return Format::json;
  if (name == "yaml") return Format::yaml;
  return host::fail(host::Error::Code::invalid, fmt::format("-o {}: json, yaml or wide is expected", name));
}

host::Result<std::string> render(std::string_view json, Format format) {
  if (format == Format::yaml) return api::json_to_yaml(json);
  auto document = parse(json);
  if (!document) return std::unexpected(std::move(document.error()));
  rapidjson::StringBuffer buffer;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(buffer);
  writer.SetIndent(' ', 4);
  document->Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

host::Result<std::vector<api::Pod>> decode_pods(std::string_view json) { return decode_items<api::Pod>(json); }
host::Result<std::vector<api::Service>> decode_services(std::string_view json) {
  return decode_items<api::Service>(json);
}

host::Result<std::string> keep_services_of(std::string_view namespace_, std::string_view json) {
  auto document = parse(json);
  if (!document) return std::unexpected(std::move(document.error()));
  const auto items = document->FindMember("items");
  if (items == document->MemberEnd() || !items->value.IsArray()) return std::string(json);
  for (auto item = items->value.Begin(); item != items->value.End();) {
    const bool kept = item->IsObject() && text(*item, "service").starts_with(std::string(namespace_) + "/");
    item = kept ? item + 1 : items->value.Erase(item);
  }
  return compact(*document);
}

host::Result<std::string> backend_table(std::string_view json, bool wide) {
  auto document = parse(json);
  if (!document) return std::unexpected(std::move(document.error()));
  std::vector<std::string> headings = {"SERVICE", "PORT", "PROTOCOL", "BACKEND", "POD", "STATE"};
  if (wide) headings.emplace_back("FRONTENDS");
  Table table(headings);
  for (const auto* item : objects(*document, "items")) {
    std::vector<std::string> row = {text(*item, "service"), text(*item, "port"), text(*item, "protocol"),
                                    text(*item, "address"), text(*item, "pod"),  text(*item, "state")};
    if (wide) row.push_back(fmt::format("{}", fmt::join(texts(*item, "frontends"), ",")));
    table.add(std::move(row));
  }
  return table.text();
}

std::string flow_headings() {
  return flow_line({"TIME", "PROTO", "SOURCE", "SERVICE ADDRESS", "BACKEND", "SERVICE", "VERDICT"});
}

bool is_of_namespace(std::string_view namespace_, std::string_view json_line) {
  const auto document = parse(json_line);
  return document && text(*document, "service").starts_with(std::string(namespace_) + "/");
}

std::string flow_row(std::string_view json_line) {
  const auto document = parse(json_line);
  if (!document) return {};
  auto time = text(*document, "time");
  // The time of day will do: 2026-01-02T[03:04:05.678901]Z.
  if (time.size() >= 26) time = time.substr(11, 15);
  std::vector<std::string> cells = {time,
                                    text(*document, "protocol"),
                                    text(*document, "source"),
                                    text(*document, "frontend"),
                                    text(*document, "backend"),
                                    text(*document, "service"),
                                    text(*document, "verdict")};
  for (auto& cell : cells) cell = cell.empty() ? "-" : one_line(cell);
  return flow_line(cells);
}

host::Result<std::string> status_text(std::string_view json, bool wide, int64_t now) {
  auto document = parse(json);
  if (!document) return std::unexpected(std::move(document.error()));
  const auto started = api::parse_time(text(*document, "startedAt"));
  std::string out = fmt::format("Node:      {} ({})\n", text(*document, "nodeName"), text(*document, "nodeIP"));
  out += fmt::format("Agent:     {}, up {}{}\n", text(*document, "version"),
                     started ? age(now - started->seconds) : "<unknown>",
                     text(*document, "draining") == "true" ? ", draining: nothing is started" : "");
  out += fmt::format("Kernel:    {}\n", text(*document, "kernel"));
  if (wide) out += fmt::format("Boot:      {}\n", text(*document, "bootID"));

  if (const auto counts = document->FindMember("counts"); counts != document->MemberEnd() && counts->value.IsObject()) {
    std::vector<std::string> parts;
    for (const auto& member : counts->value.GetObject()) {
      if (member.value.IsInt64())
        parts.push_back(fmt::format("{} {}", member.name.GetString(), member.value.GetInt64()));
    }
    out += fmt::format("Counts:    {}\n", fmt::join(parts, ", "));
  }

  out += "\nSources\n";
  Table sources({"NAME", "POLICY", "OBJECTS", "STATE", "FROM"});
  std::vector<std::string> failing;
  for (const auto* source : objects(*document, "sources")) {
    const auto failure = text(*source, "lastError");
    const std::string state = !failure.empty() ? "failing" : text(*source, "heard") == "true" ? "heard" : "silent";
    sources.add(
        {text(*source, "name"), text(*source, "policy"), text(*source, "objects"), state, text(*source, "location")});
    if (!failure.empty()) failing.push_back(fmt::format("  {}: {}\n", text(*source, "name"), one_line(failure)));
  }
  out += sources.text();
  for (const auto& line : failing) out += line;

  const auto problems = objects(*document, "problems");
  out += problems.empty() ? "\nProblems: none\n" : "\nProblems\n";
  for (const auto* problem : problems) {
    std::string where = text(*problem, "source");
    if (const auto name = text(*problem, "document"); !name.empty()) where += " " + name;
    if (const auto line = text(*problem, "line"); !line.empty() && line != "0") where += ":" + line;
    std::string what;
    for (const char* part : {"object", "field"}) {
      if (const auto value = text(*problem, part); !value.empty()) what += value + ": ";
    }
    if (!where.empty()) where += ": ";
    out += fmt::format("  {}: {}{}{}\n", text(*problem, "severity"), one_line(where), one_line(what),
                       one_line(text(*problem, "message")));
  }
  const auto notices = texts(*document, "notices");
  if (!notices.empty()) out += "\nThis host\n";
  for (const auto& notice : notices) out += fmt::format("  {}\n", one_line(notice));
  return out;
}

std::string image_table(const std::vector<api::ImageInfo>& images, bool wide) {
  Table table(wide ? std::vector<std::string>{"IMAGE", "TAG", "IMAGE ID", "SIZE", "DIGEST"}
                   : std::vector<std::string>{"IMAGE", "TAG", "IMAGE ID", "SIZE"});
  for (const auto& image : images) {
    auto id = image.id.starts_with("sha256:") ? image.id.substr(7) : image.id;
    if (!wide) id = id.substr(0, 12);
    std::vector<std::pair<std::string, std::string>> names;
    for (const auto& tag : image.tags) {
      const auto colon = tag.rfind(':');
      const bool has_tag = colon != std::string::npos && tag.find('/', colon) == std::string::npos;
      names.emplace_back(tag.substr(0, has_tag ? colon : tag.size()), has_tag ? tag.substr(colon + 1) : "");
    }
    if (names.empty()) {
      const auto digest = image.digests.empty() ? std::string() : image.digests.front();
      names.emplace_back(digest.substr(0, digest.find('@')), "");
    }
    for (const auto& [name, tag] : names) {
      std::vector<std::string> row = {name, tag, id, size(image.size)};
      if (wide) {
        const auto& digest = image.digests.empty() ? std::string() : image.digests.front();
        row.push_back(digest.substr(digest.find('@') + 1));
      }
      table.add(std::move(row));
    }
  }
  return table.text();
}

std::string image_json(const std::vector<api::ImageInfo>& images) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto list = [&](const char* name, const std::vector<std::string>& values) {
    writer.Key(name);
    writer.StartArray();
    for (const auto& value : values) writer.String(value.c_str());
    writer.EndArray();
  };
  writer.StartObject();
  writer.Key("kind");
  writer.String("ImageList");
  writer.Key("items");
  writer.StartArray();
  for (const auto& image : images) {
    writer.StartObject();
    writer.Key("id");
    writer.String(image.id.c_str());
    list("tags", image.tags);
    list("digests", image.digests);
    writer.Key("size");
    writer.Uint64(image.size);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace keelson::ctl
