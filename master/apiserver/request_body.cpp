#include "master/apiserver/request_body.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr size_t kLongestManager = 128;

api::Status invalid_option(std::string_view kind, std::string_view field, std::string_view reason,
                           std::string_view message) {
  api::Status status =
      failure(422, "Invalid", fmt::format("{}.meta.k8s.io \"\" is invalid: {}: {}", kind, field, message));
  api::StatusDetails& details = status.details.emplace();
  details.group = "meta.k8s.io";
  details.kind = kind;
  details.causes.push_back(
      {.reason = std::string(reason), .message = std::string(message), .field = std::string(field)});
  return status;
}

std::string media_type(const http::Request& request) {
  std::string type(request.headers.get("Content-Type"));
  type.resize(std::min(type.size(), type.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return type;
}

bool is_subresource_option(const api::Resource& resource) {
  return &resource == &api::resource_of<api::DeleteOptions>() || &resource == &api::resource_of<api::Eviction>();
}

std::optional<api::Status> wrong_type(const api::Resource& resource, const api::TypeMeta& said) {
  if (!said.kind.empty() && said.kind != resource.kind) {
    return bad_request(
        fmt::format("{} in version \"{}\" cannot be handled as a {}: converting ({}) to ({}): unknown "
                    "conversion",
                    said.kind, said.api_version, resource.kind, said.kind, resource.kind));
  }
  // DeleteOptions and Eviction come in as many versions as there are groups.
  if (!said.api_version.empty() && said.api_version != resource.api_version && !is_subresource_option(resource)) {
    return bad_request(fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                                   said.api_version, resource.api_version));
  }
  return std::nullopt;
}

api::Status cannot_handle(const api::Resource& resource, std::string_view why) {
  return bad_request(
      fmt::format("{0} in version \"{1}\" cannot be handled as a {0}: {2}", resource.kind, resource.version, why));
}

std::expected<api::ReadObject, api::Status> read_text(const api::Resource& resource, const std::string& text,
                                                      bool yaml) {
  const auto unreadable = [&](std::string_view why) {
    return refuse(bad_request(fmt::format(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {}",
        resource.kind, why)));
  };
  api::Tree tree;
  const api::Value* root = nullptr;
  if (yaml) {
    if (!api::is_utf8(text) || text.find('\0') != std::string::npos) return unreadable("not a text");
    std::vector<const api::Value*> documents;
    if (auto read = api::read_yaml(text, tree, 1, documents); !read) return unreadable(read.error().message);
    if (documents.size() != 1) return unreadable(fmt::format("{} documents, not one", documents.size()));
    root = documents.front();
  } else {
    size_t used = 0;
    auto read = api::read_json(text, tree, 1, used);
    if (!read) return unreadable(text.empty() ? "unexpected end of JSON input (<empty>)" : read.error().message);
    if (text.find_first_not_of(" \t\r\n", used) != std::string::npos) {
      return unreadable("invalid character after top-level value");
    }
    root = *read;
  }
  if (auto wrong = wrong_type(resource, api::type_meta_of(*root))) return refuse(std::move(*wrong));
  auto object = api::read_object(resource, *root);
  if (!object) return refuse(cannot_handle(resource, object.error().message));
  return std::move(*object);
}

std::expected<bool, api::Status> parse_dry_run(std::string_view kind, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (value == "All") continue;
    if (value.empty()) return false;
    return refuse(invalid_option(kind, "dryRun", "FieldValueNotSupported",
                                 fmt::format("Unsupported value: \"{}\": supported values: \"All\"", value)));
  }
  return !values.empty();
}

}  // namespace

std::expected<Body, api::Status> read_object_body(const api::Resource& resource, const http::Request& request,
                                                  Strictness strictness) {
  const std::string type = media_type(request);
  std::expected<api::ReadObject, api::Status> read = refuse({});
  if (type == "application/vnd.kubernetes.protobuf") {
    const auto said = api::type_meta_of_protobuf(request.body);
    if (!said) return refuse(cannot_handle(resource, "the body is not in the protobuf envelope"));
    if (auto wrong = wrong_type(resource, *said)) return refuse(std::move(*wrong));
    auto object = api::read_protobuf_object(resource, request.body);
    if (!object) return refuse(cannot_handle(resource, object.error().message));
    read = std::move(*object);
  } else if (type.empty() || type == "application/json" || type == "application/yaml") {
    read = read_text(resource, request.body, type == "application/yaml");
  } else {
    return refuse(unsupported_media_type(kObjectTypes));
  }
  if (!read) return refuse(std::move(read.error()));
  if (strictness == Strictness::strict && !read->strict.empty()) {
    std::string all;
    for (const std::string& one : read->strict) all += (all.empty() ? "" : ", ") + one;
    return refuse(cannot_handle(resource, fmt::format("strict decoding error: {}", all)));
  }
  Body body{.object = std::move(read->object), .warnings = {}};
  if (strictness == Strictness::warn) body.warnings = std::move(read->strict);
  return body;
}

std::expected<WriteOptions, api::Status> parse_write_options(std::string_view kind, const http::Request& request) {
  WriteOptions options;
  auto dry_run = parse_dry_run(kind, request.query.all("dryRun"));
  if (!dry_run) return refuse(std::move(dry_run.error()));
  options.dry_run = *dry_run;
  const std::string validation = request.query.get("fieldValidation").value_or("");
  if (validation == "Strict") {
    options.strictness = Strictness::strict;
  } else if (validation == "Ignore") {
    options.strictness = Strictness::ignore;
  } else if (!validation.empty() && validation != "Warn") {
    return refuse(invalid_option(kind, "fieldValidation", "FieldValueNotSupported",
                                 fmt::format("Unsupported value: \"{}\": supported values: \"Ignore\", \"Strict\", "
                                             "\"Warn\"",
                                             validation)));
  }
  options.field_manager = request.query.get("fieldManager").value_or("");
  options.names_manager = !options.field_manager.empty();
  const bool unprintable =
      std::ranges::any_of(options.field_manager, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (options.field_manager.size() > kLongestManager || unprintable) {
    return refuse(invalid_option(kind, "fieldManager", "FieldValueInvalid",
                                 unprintable
                                     ? "Invalid value: should only contain printable characters"
                                     : fmt::format("Too long: may not be more than {} bytes", kLongestManager)));
  }
  if (!options.names_manager) {
    const std::string_view agent = request.headers.get("User-Agent");
    options.field_manager = agent.substr(0, std::min(agent.find('/'), kLongestManager));
    if (options.field_manager.empty()) options.field_manager = "unknown";
  }
  const auto force = request.query.flag("force");
  if (!force) return refuse(bad_request(force.error().message));
  options.force = *force;
  return options;
}

std::expected<PatchType, api::Status> patch_type_of(const http::Request& request) {
  const std::string type = media_type(request);
  if (type == "application/json-patch+json") return PatchType::json;
  if (type == "application/merge-patch+json") return PatchType::merge;
  if (type == "application/strategic-merge-patch+json") return PatchType::strategic;
  if (type == "application/apply-patch+yaml") return PatchType::apply;
  return refuse(unsupported_media_type(kPatchTypes));
}

std::expected<api::DeleteOptions, api::Status> read_delete_options(const http::Request& request) {
  constexpr std::string_view kKind = "DeleteOptions";
  api::DeleteOptions options;
  if (!request.body.empty()) {
    auto body = read_object_body(api::resource_of<api::DeleteOptions>(), request, Strictness::ignore);
    if (!body) return refuse(std::move(body.error()));
    options = std::move(*body->object.get_if<api::DeleteOptions>());
  } else {
    const http::Query& query = request.query;
    const auto grace = query.number("gracePeriodSeconds");
    if (!grace) return refuse(bad_request("gracePeriodSeconds: Invalid value"));
    options.grace_period_seconds = *grace;
    options.propagation_policy = query.get("propagationPolicy").value_or("");
    if (query.get("orphanDependents")) {
      const auto orphan = query.flag("orphanDependents");
      if (!orphan) return refuse(bad_request(orphan.error().message));
      options.orphan_dependents = *orphan;
    }
    options.dry_run = query.all("dryRun");
  }
  auto dry_run = parse_dry_run(kKind, options.dry_run);
  if (!dry_run) return refuse(std::move(dry_run.error()));
  if (!*dry_run) options.dry_run.clear();
  const std::string& policy = options.propagation_policy;
  if (!policy.empty() && options.orphan_dependents) {
    return refuse(invalid_option(kKind, "propagationPolicy", "FieldValueInvalid",
                                 fmt::format("Invalid value: \"{}\": orphanDependents and deletionPropagation cannot "
                                             "be both set",
                                             policy)));
  }
  if (!policy.empty() && policy != "Orphan" && policy != "Background" && policy != "Foreground") {
    return refuse(invalid_option(kKind, "propagationPolicy", "FieldValueNotSupported",
                                 fmt::format("Unsupported value: \"{}\": supported values: \"Background\", "
                                             "\"Foreground\", \"Orphan\", \"nil\"",
                                             policy)));
  }
  if (options.grace_period_seconds && *options.grace_period_seconds > (int64_t{1} << 31)) {
    return refuse(invalid_option(kKind, "gracePeriodSeconds", "FieldValueInvalid", "Invalid value: too large"));
  }
  return options;
}

}  // namespace keelson::apiserver
