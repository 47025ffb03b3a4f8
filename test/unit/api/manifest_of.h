#pragma once
// Objects for tests, written as the YAML that a user would write.

#include <boost/test/unit_test.hpp>
#include <string>
#include <string_view>

#include "api/codec.h"
#include "api/validate.h"

namespace keelson::api {

// The one object of a text, with its defaults set.
inline Object object_of(std::string_view text) {
  Manifest manifest = decode_manifest(text);
  for (const auto& problem : manifest.problems) BOOST_ERROR(problem.field + ": " + problem.message);
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 1);
  for (const auto& warning : manifest.objects[0].warnings) BOOST_ERROR(warning.message);
  set_defaults(manifest.objects[0].object);
  return std::move(manifest.objects[0].object);
}

// A pod with one container "c"; `spec` and `container` are further lines of theirs in flow style.
inline std::string pod_text(std::string_view container, std::string_view spec = "") {
  std::string text = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {";
  if (!spec.empty()) text += std::string(spec) + ", ";
  text += "containers: [{name: c, image: busybox";
  if (!container.empty()) text += ", " + std::string(container);
  return text + "}]}}";
}

inline Pod pod_of(std::string_view container, std::string_view spec = "") {
  return std::get<Pod>(object_of(pod_text(container, spec)));
}

inline std::string service_text(std::string_view spec) {
  return "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {" + std::string(spec) + "}}";
}

}  // namespace keelson::api
