#pragma once
// How an answer shows objects: as JSON, as a Table for `kubectl get`, as metadata alone, as
// YAML; and events.k8s.io's view of Events. What the Accept field asks for.
//
// Pure but for the clock of a Table's ages; safe on every thread.

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "api/resource.h"
#include "api/table.h"
#include "http/server.h"
#include "master/apiserver/kind_cache.h"

namespace keelson::apiserver {

struct View {
  enum class Form : uint8_t { json, yaml, table, metadata };
  const api::Resource* resource = nullptr;  // of the request: EventsEvent shows what is stored as Event
  Form form = Form::json;
  api::RowObject include = api::RowObject::metadata;  // of a Table's rows

  // 406 when nothing that is acceptable can be made; 400 for a strange includeObject.
  static std::expected<View, api::Status> negotiate(const api::Resource& resource, const http::Request& request);

  bool operator==(const View&) const = default;
  std::string_view content_type() const;
  // An answer's whole body.
  std::string object(const Version& version) const;
  // head, the items with commas between, "]}".
  void append_head(std::string& out, const api::ListMeta& metadata) const;
  void append_item(std::string& out, const Version& version) const;
  // A line of a watch. The first one of a Table tells its columns.
  std::string event(std::string_view type, const Version& version, bool first) const;
  std::string bookmark(int64_t revision, bool initial_events_end) const;
  // What a finished body becomes: YAML is made of the JSON.
  std::string finish(std::string body) const;

 private:
  // As the request's version of the API has it.
  bool is_stored_form(const Version& version) const { return resource == &version.object.resource(); }
};

std::string error_event(const api::Status& status);

}  // namespace keelson::apiserver
