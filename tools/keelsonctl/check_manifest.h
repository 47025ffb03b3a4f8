#pragma once
// `keelsonctl validate`: what is wrong with a manifest, offline. Pure but for the reading.

#include <string>
#include <string_view>
#include <vector>

#include "api/object.h"
#include "host/error.h"

namespace keelson::ctl {

struct ManifestReport {
  std::vector<api::Problem> problems;  // in the order of the text; origin.document is the name given
  std::vector<std::string> valid;      // "Pod default/web"
  bool has_errors() const;
};
ManifestReport check_manifest(const std::string& document, std::string_view text);

// "web.yaml:3: error: Pod default/web: spec.containers[0].image: Required value".
std::string describe(const api::Problem& problem);

// The manifest files that a command line's path means: itself, or what a directory holds
// (*.yaml, *.yml, *.json; sorted).
host::Result<std::vector<std::string>> manifest_files(const std::string& path);
// "-" is stdin.
host::Result<std::string> read_manifest(const std::string& path);

}  // namespace keelson::ctl
