#pragma once
// Who asks, and for what: what authentication and the request line say before any of the
// body is read. Authorization, metrics and the audit log speak in these words.
//
// Pure; safe on every thread. Source: apiserver's RequestInfo (pkg/endpoints/request).

#include <string>
#include <vector>

#include "api/resource.h"
#include "http/server.h"

namespace keelson::apiserver {

struct User {
  std::string name;                 // "system:node:n1"
  std::vector<std::string> groups;  // "system:nodes", "system:authenticated"
  bool in_group(std::string_view group) const;
};

struct Attributes {
  // Of a resource: get, list, watch, create, update, patch, delete, deletecollection. Of any
  // other path: the method in lower case.
  std::string verb;
  std::string path;  // decoded, "/api/v1/namespaces/default/pods/web"

  bool is_resource = false;  // /api/v1/… or /apis/GROUP/VERSION/…; the rest is set then only
  std::string group;         // "" is core
  std::string version;
  std::string resource;                 // the plural, as sent
  std::string subresource;              // "status"; of a longer path ("proxy/…") its first word
  std::string namespace_;               // "" of all of them, and of what has none
  std::string name;                     // "" of a collection
  std::vector<std::string> rest;        // path segments behind the subresource
  std::string field_selector;           // of a list or a watch, as sent: what a node may see depends on it
  const api::Resource* kind = nullptr;  // null: nothing of that name is served

  bool read_only() const { return verb == "get" || verb == "list" || verb == "watch"; }
};

Attributes attributes_of(const http::Request& head);

}  // namespace keelson::apiserver
