#include "master/apiserver/list_options.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>

#include "api/tree.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kTokenVersion = "meta.k8s.io/v1";

api::Status invalid_option(std::string_view field, std::string_view message) {
  api::Status status =
      failure(422, "Invalid", fmt::format("ListOptions.meta.k8s.io \"\" is invalid: {}: {}", field, message));
  api::StatusDetails& details = status.details.emplace();
  details.group = "meta.k8s.io";
  details.kind = "ListOptions";
  details.causes.push_back({.reason = message.starts_with("Forbidden") ? "FieldValueForbidden" : "FieldValueInvalid",
                            .message = std::string(message),
                            .field = std::string(field)});
  return status;
}

std::string base64url(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(size));
  while (out.ends_with('=')) out.pop_back();
  std::ranges::replace(out, '+', '-');
  std::ranges::replace(out, '/', '_');
  return out;
}

std::optional<std::string> from_base64url(std::string_view text) {
  if (text.size() > 4096) return std::nullopt;
  std::string padded(text);
  while (padded.ends_with('=')) padded.pop_back();
  const size_t missing = (4 - padded.size() % 4) % 4;
  if (missing == 3) return std::nullopt;
  padded.append(missing, '=');
  std::ranges::replace(padded, '-', '+');
  std::ranges::replace(padded, '_', '/');
  std::string out(padded.size(), '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(padded.data()), static_cast<int>(padded.size()));
  if (size < static_cast<int>(missing)) return std::nullopt;
  out.resize(static_cast<size_t>(size) - missing);
  return out;
}

std::optional<int64_t> number_of(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::expected<ListOptions::Match, api::Status> parse_match(const http::Request& request, bool watch,
                                                           const ListOptions& options) {
  const std::string match = request.query.get("resourceVersionMatch").value_or("");
  if (match.empty()) return ListOptions::Match::unset;
  constexpr std::string_view kField = "resourceVersionMatch";
  if (match != "NotOlderThan" && match != "Exact") {
    return refuse(invalid_option(
        kField, fmt::format("Unsupported value: \"{}\": supported values: \"Exact\", \"NotOlderThan\", \"\"", match)));
  }
  if (watch) {
    if (options.send_initial_events && match == "NotOlderThan") return ListOptions::Match::not_older_than;
    return refuse(invalid_option(kField,
                                 "Forbidden: resourceVersionMatch is forbidden for watch unless "
                                 "sendInitialEvents is provided"));
  }
  if (options.page) {
    return refuse(invalid_option(kField, "Forbidden: resourceVersionMatch is forbidden when continue is provided"));
  }
  if (!options.resource_version) {
    return refuse(
        invalid_option(kField, "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"));
  }
  if (match == "NotOlderThan") return ListOptions::Match::not_older_than;
  if (*options.resource_version == 0) {
    return refuse(
        invalid_option(kField, "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
  }
  return ListOptions::Match::exact;
}

}  // namespace

std::string to_string(const PageToken& token) {
  return base64url(
      fmt::format(R"({{"v":"{}","rv":{},"start":{}}})", kTokenVersion, token.revision, api::json_string(token.start)));
}

std::optional<PageToken> parse_page_token(std::string_view text) {
  const auto json = from_base64url(text);
  if (!json) return std::nullopt;
  api::Tree tree;
  size_t used = 0;
  const auto root = api::read_json(*json, tree, 1, used);
  if (!root || (*root)->string("v") != kTokenVersion) return std::nullopt;
  const api::Value* revision = (*root)->find("rv");
  if (revision == nullptr || revision->kind != api::Value::Kind::integer) return std::nullopt;
  const auto number = number_of(revision->text);
  const std::string_view start = (*root)->string("start");
  if (!number || (*number != -1 && *number <= 0) || start.empty()) return std::nullopt;
  return PageToken{*number, std::string(start)};
}

bool Selection::matches(const Version& version) const {
  const api::ObjectMeta& metadata = version.object.metadata();
  if (!namespace_.empty() && metadata.namespace_ != namespace_) return false;
  if (!name.empty() && metadata.name != name) return false;
  if (!labels.empty() && !labels.matches(metadata.labels)) return false;
  if (fields.empty()) return true;
  if (view == &version.object.resource()) return fields.matches(version.object);
  return fields.matches(api::to_events(*version.object.get_if<api::Event>()));
}

std::string Selection::key_prefix(const api::Resource& resource) const {
  if (!resource.namespaced || namespace_.empty()) return {};
  return namespace_ + "/";
}

std::expected<std::optional<int64_t>, api::Status> parse_resource_version(const http::Request& request) {
  const std::string text = request.query.get("resourceVersion").value_or("");
  if (text.empty()) return std::nullopt;
  const auto number = number_of(text);
  if (!number || *number < 0) {
    return refuse(
        bad_request(fmt::format("resourceVersion: Invalid value: \"{0}\": strconv.ParseUint: parsing \"{0}\": "
                                "invalid syntax",
                                text)));
  }
  return number;
}

std::expected<ListOptions, api::Status> parse_list_options(const Attributes& attributes, const http::Request& request) {
  ListOptions options;
  const http::Query& query = request.query;
  const bool watch = attributes.verb == "watch";
  options.selection.view = attributes.kind;
  if (attributes.kind->namespaced) options.selection.namespace_ = attributes.namespace_;
  auto labels = api::parse_label_query(query.get("labelSelector").value_or(""));
  if (!labels) return refuse(bad_request(labels.error().message));
  options.selection.labels = std::move(*labels);
  auto fields = api::parse_field_query(*attributes.kind, query.get("fieldSelector").value_or(""));
  if (!fields) return refuse(bad_request(fields.error().message));
  options.selection.fields = std::move(*fields);
  if (const std::string* name = options.selection.fields.value_of("metadata.name")) options.selection.name = *name;
  if (watch && options.selection.name.empty()) options.selection.name = attributes.name;  // /watch/pods/x

  auto resource_version = parse_resource_version(request);
  if (!resource_version) return refuse(std::move(resource_version.error()));
  options.resource_version = *resource_version;
  const auto limit = query.number("limit");
  if (!limit) return refuse(bad_request("limit: Invalid value"));
  options.limit = limit->value_or(0);
  if (const std::string token = query.get("continue").value_or(""); !token.empty()) {
    if (options.resource_version.value_or(0) != 0) {
      return refuse(bad_request("specifying resource version is not allowed when using continue"));
    }
    options.page = parse_page_token(token);
    if (!options.page) return refuse(bad_request("continue key is not valid"));
  }
  if (query.get("sendInitialEvents").value_or("") != "") {
    const auto wants = query.flag("sendInitialEvents");
    if (!wants) return refuse(bad_request(wants.error().message));
    options.send_initial_events = *wants;
  }
  auto match = parse_match(request, watch, options);
  if (!match) return refuse(std::move(match.error()));
  options.match = *match;
  if (!watch) {
    if (options.send_initial_events) {
      return refuse(invalid_option("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"));
    }
    return options;
  }
  if (options.send_initial_events && options.match != ListOptions::Match::not_older_than) {
    return refuse(invalid_option("resourceVersionMatch",
                                 "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
  }
  const auto bookmarks = query.flag("allowWatchBookmarks");
  if (!bookmarks) return refuse(bad_request(bookmarks.error().message));
  options.bookmarks = *bookmarks;
  const auto timeout = query.number("timeoutSeconds");
  if (!timeout) return refuse(bad_request("timeoutSeconds: Invalid value"));
  if (timeout->value_or(0) > 0) options.timeout = std::chrono::seconds(std::min<int64_t>(**timeout, 24 * 3600));
  return options;
}

}  // namespace keelson::apiserver
