#include "master/apiserver/view.h"

#include <fmt/core.h>

#include "api/codec.h"
#include "master/apiserver/identity.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The next part of `rest` up to the separator.
std::string_view cut(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return trimmed(part);
}

// One media range of Accept; nothing when we do not have it.
std::optional<View::Form> form_of(std::string_view range) {
  const std::string_view type = cut(range, ';');
  std::string_view as, group;
  while (!range.empty()) {
    std::string_view value = cut(range, ';');
    const std::string_view name = cut(value, '=');
    if (name == "as") as = value;
    if (name == "g") group = value;
    if (name == "q" && (value == "0" || value == "0.0")) return std::nullopt;
  }
  const bool yaml = type == "application/yaml";
  if (type != "application/json" && type != "*/*" && type != "application/*" && !yaml) return std::nullopt;
  if (as.empty()) return yaml ? View::Form::yaml : View::Form::json;
  if (yaml || group != "meta.k8s.io") return std::nullopt;
  if (as == "Table") return View::Form::table;
  if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") return View::Form::metadata;
  return std::nullopt;
}

api::AnyObject as_events(const Version& version) { return api::to_events(*version.object.get_if<api::Event>()); }

void append_metadata(std::string& out, const Version& version) {
  out += R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":)";
  if (version.metadata_end != 0) {
    out += version.metadata();
  } else {
    out += '{';
    api::append_json_fields(out, api::type_of<api::ObjectMeta>(), &version.object.metadata());
    out += '}';
  }
  out += '}';
}

}  // namespace

std::expected<View, api::Status> View::negotiate(const api::Resource& resource, const http::Request& request) {
  View view{.resource = &resource};
  std::string_view accept = request.headers.get("Accept");
  bool found = accept.empty();
  // Protobuf is not among what we answer with; who would like it best takes JSON as well, said or not.
  const bool protobuf = accept.find("application/vnd.kubernetes.protobuf") != std::string_view::npos;
  while (!found && !accept.empty()) {
    if (const auto form = form_of(cut(accept, ','))) {
      view.form = *form;
      found = true;
    }
  }
  if (!found && !protobuf) return std::unexpected(not_acceptable());
  if (view.form == Form::table) {
    const std::string include = request.query.get("includeObject").value_or("");
    if (include == "Object") {
      view.include = api::RowObject::whole;
    } else if (include == "None") {
      view.include = api::RowObject::none;
    } else if (!include.empty() && include != "Metadata") {
      return std::unexpected(bad_request(fmt::format("unrecognized includeObject value: \"{}\"", include)));
    }
  }
  return view;
}

std::string_view View::content_type() const { return form == Form::yaml ? "application/yaml" : "application/json"; }

std::string View::finish(std::string body) const {
  if (form != Form::yaml) return body;
  auto yaml = api::json_to_yaml(body);
  return yaml ? std::move(*yaml) : body;
}

std::string View::object(const Version& version) const {
  std::string out;
  switch (form) {
    case Form::json:
    case Form::yaml:
      if (is_stored_form(version)) return finish(version.json);
      return finish(api::encode_json(as_events(version)));
    case Form::table: {
      api::ListMeta metadata;
      metadata.resource_version = version.object.metadata().resource_version;
      append_head(out, metadata);
      append_item(out, version);
      return out + "]}";
    }
    case Form::metadata:
      append_metadata(out, version);
      return out;
  }
  return out;
}

void View::append_head(std::string& out, const api::ListMeta& metadata) const {
  switch (form) {
    case Form::json:
    case Form::yaml:
      return api::append_json_list_head(out, *resource, metadata);
    case Form::table:
      return api::append_table_head(out, *resource, metadata, true);
    case Form::metadata:
      out += R"({"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{)";
      api::append_json_fields(out, api::type_of<api::ListMeta>(), &metadata);
      out += R"(},"items":[)";
      return;
  }
}

void View::append_item(std::string& out, const Version& version) const {
  switch (form) {
    case Form::json:
    case Form::yaml:
      if (!is_stored_form(version)) return api::append_json_item(out, as_events(version));
      out += '{';
      out += version.item();
      return;
    case Form::table:
      if (!is_stored_form(version)) return api::append_table_row(out, as_events(version), include, now());
      if (include == api::RowObject::metadata && version.metadata_end != 0) {
        return api::append_table_row(out, version.object, version.metadata(), now());
      }
      return api::append_table_row(out, version.object, include, now());
    case Form::metadata:
      return append_metadata(out, version);
  }
}

std::string View::event(std::string_view type, const Version& version, bool first) const {
  std::string out;
  out.reserve(version.json.size() + 64);
  if (form == Form::json || form == Form::yaml) {
    api::append_watch_event(out, type, is_stored_form(version) ? version.json : api::encode_json(as_events(version)));
    return out;
  }
  std::string object;
  if (form == Form::table) {
    api::ListMeta metadata;
    metadata.resource_version = version.object.metadata().resource_version;
    api::append_table_head(object, *resource, metadata, first);
    append_item(object, version);
    object += "]}";
  } else {
    append_metadata(object, version);
  }
  api::append_watch_event(out, type, object);
  return out;
}

std::string View::bookmark(int64_t revision, bool initial_events_end) const {
  api::ObjectMeta metadata;
  metadata.resource_version = std::to_string(revision);
  if (initial_events_end) metadata.annotations["k8s.io/initial-events-end"] = "true";
  std::string object;
  if (form == Form::table) {
    api::ListMeta list;
    list.resource_version = metadata.resource_version;
    api::append_table_head(object, *resource, list, false);
    object += "]}";
  } else {
    object = form == Form::metadata ? R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{)"
                                    : fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{{)", resource->kind,
                                                  resource->api_version);
    api::append_json_fields(object, api::type_of<api::ObjectMeta>(), &metadata);
    object += "}}";
  }
  std::string out;
  api::append_watch_event(out, "BOOKMARK", object);
  return out;
}

std::string error_event(const api::Status& status) {
  std::string out;
  api::append_watch_event(out, "ERROR", api::encode_json(status));
  return out;
}

}  // namespace keelson::apiserver
