#include "master/apiserver/attributes.h"

#include <algorithm>
#include <cctype>

namespace keelson::apiserver {

namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool wants_watch(const http::Query& query) {
  const auto watch = query.flag("watch");
  return watch && *watch;
}

// A list of the one object of that name is a question about that object: a node may ask for
// its own Node so.
std::string name_selected(const http::Query& query) {
  static constexpr std::string_view kField = "metadata.name=";
  std::string selector = query.get("fieldSelector").value_or("");
  if (!selector.starts_with(kField) || selector.find(',') != std::string::npos) return {};
  selector.erase(0, kField.size());
  if (selector.starts_with('=')) selector.erase(0, 1);
  return selector;
}

std::string verb_of(const http::Request& head, const Attributes& attributes, bool watches) {
  const bool collection = attributes.name.empty();
  if (head.method == "GET" || head.method == "HEAD") {
    if (watches || (collection && wants_watch(head.query))) return "watch";
    return collection ? "list" : "get";
  }
  if (head.method == "POST") return "create";
  if (head.method == "PUT") return "update";
  if (head.method == "PATCH") return "patch";
  if (head.method == "DELETE") return collection ? "deletecollection" : "delete";
  return lower(head.method);
}

}  // namespace

bool User::in_group(std::string_view group) const { return std::ranges::find(groups, group) != groups.end(); }

Attributes attributes_of(const http::Request& head) {
  Attributes attributes;
  attributes.path = head.path();
  attributes.verb = lower(head.method);
  const std::vector<std::string>& path = head.segments;
  size_t at = 0;
  if (path.size() >= 3 && path[0] == "api") {
    attributes.version = path[1];
    at = 2;
  } else if (path.size() >= 4 && path[0] == "apis") {
    attributes.group = path[1];
    attributes.version = path[2];
    at = 3;
  } else {
    return attributes;
  }
  // The old way of asking for a watch: /api/v1/watch/pods.
  const bool watches = path[at] == "watch" && path.size() > at + 1 && (head.method == "GET" || head.method == "HEAD");
  if (watches) ++at;
  // Beneath a namespace stand its objects, but for its own two subresources.
  if (path[at] == "namespaces" && path.size() > at + 2 && path[at + 2] != "status" && path[at + 2] != "finalize") {
    attributes.namespace_ = path[at + 1];
    at += 2;
  }
  attributes.is_resource = true;
  attributes.resource = path[at++];
  if (at < path.size()) attributes.name = path[at++];
  if (at < path.size()) attributes.subresource = path[at++];
  attributes.rest.assign(path.begin() + static_cast<ptrdiff_t>(at), path.end());
  // A namespace is in the namespace of its name, for who may touch it.
  if (attributes.resource == "namespaces" && attributes.group.empty()) attributes.namespace_ = attributes.name;
  attributes.kind = api::find_resource(attributes.group, attributes.version, attributes.resource);
  attributes.verb = verb_of(head, attributes, watches);
  if (attributes.verb == "list" || attributes.verb == "watch") {
    attributes.field_selector = head.query.get("fieldSelector").value_or("");
    if (attributes.name.empty()) attributes.name = name_selected(head.query);
  }
  return attributes;
}

}  // namespace keelson::apiserver
