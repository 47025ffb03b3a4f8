#pragma once
// What a write brings along: its object, by the Content-Type, and its options. In
// Kubernetes' words where it is wrong. Pure; safe on every thread.

#include <expected>
#include <string>
#include <vector>

#include "api/resource.h"
#include "http/server.h"
#include "master/apiserver/attributes.h"
#include "master/apiserver/registry.h"

namespace keelson::apiserver {

inline constexpr std::string_view kObjectTypes =
    "application/json, application/yaml, application/vnd.kubernetes.protobuf";
inline constexpr std::string_view kPatchTypes =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
    "application/apply-patch+yaml";

struct Body {
  api::AnyObject object;
  std::vector<std::string> warnings;
};

// JSON when nothing is said, YAML or protobuf. Kind and apiVersion may be absent, but not others.
std::expected<Body, api::Status> read_object_body(const api::Resource& resource, const http::Request& request,
                                                  Strictness strictness);

struct WriteOptions {
  bool dry_run = false;
  Strictness strictness = Strictness::warn;
  std::string field_manager;   // by the query, or else by the User-Agent
  bool names_manager = false;  // the query does
  bool force = false;
};
// `kind` is what the errors call it: "CreateOptions".
std::expected<WriteOptions, api::Status> parse_write_options(std::string_view kind, const http::Request& request);

// Nothing: the Content-Type is no patch.
std::expected<PatchType, api::Status> patch_type_of(const http::Request& request);

// From the body, or from the query when there is none; valid.
std::expected<api::DeleteOptions, api::Status> read_delete_options(const http::Request& request);

}  // namespace keelson::apiserver
