#pragma once
// What the agent answers with in formats of its own (agent/server/render.h), as tables
// for people; and any JSON as -o asks for. Pure. Invalid when it is not what the agent
// sends.

#include <string>
#include <string_view>
#include <vector>

#include "api/cri.h"
#include "api/object.h"
#include "host/error.h"

namespace keelson::ctl {

enum class Format { table, wide, json, yaml };
host::Result<Format> parse_format(std::string_view text);  // "", "wide", "json", "yaml"

// Indented JSON, or YAML.
host::Result<std::string> render(std::string_view json, Format format);

// The answer of /backends with the Services of one namespace only.
host::Result<std::string> keep_services_of(std::string_view namespace_, std::string_view json);
host::Result<std::string> backend_table(std::string_view json, bool wide);
// One row per flow; a line that is none is left out.
bool is_of_namespace(std::string_view namespace_, std::string_view json_line);
std::string flow_row(std::string_view json_line);
std::string flow_headings();
host::Result<std::string> status_text(std::string_view json, bool wide, int64_t now);
std::string image_table(const std::vector<api::ImageInfo>& images, bool wide);
std::string image_json(const std::vector<api::ImageInfo>& images);

// The objects of a list answer: `{"items":[…]}`.
host::Result<std::vector<api::Pod>> decode_pods(std::string_view json);
host::Result<std::vector<api::Service>> decode_services(std::string_view json);

}  // namespace keelson::ctl
