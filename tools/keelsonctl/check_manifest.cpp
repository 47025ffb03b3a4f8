#include "tools/keelsonctl/check_manifest.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "api/codec.h"
#include "api/validate.h"
#include "host/file.h"

namespace keelson::ctl {

namespace {

constexpr size_t kMaxManifest = 10u << 20;

}  // namespace

bool ManifestReport::has_errors() const {
  return std::ranges::any_of(problems, [](const auto& one) { return one.severity == api::Problem::Severity::error; });
}

ManifestReport check_manifest(const std::string& document, std::string_view text) {
  ManifestReport report;
  auto manifest = api::decode_manifest(text);
  report.problems = std::move(manifest.problems);
  std::set<api::ObjectKey> seen;
  for (auto& decoded : manifest.objects) {
    api::set_defaults(decoded.object);
    const auto key = api::key_of(decoded.object);
    bool valid = true;
    const auto add = [&](api::Problem::Severity severity, const std::string& field, std::string message) {
      valid = valid && severity != api::Problem::Severity::error;
      report.problems.push_back({.severity = severity,
                                 .origin = {.line = decoded.line_of(field)},
                                 .object = to_string(key),
                                 .field = field,
                                 .message = std::move(message)});
    };
    for (const auto& error : api::validate(decoded.object))
      add(api::Problem::Severity::error, error.field, error.message);
    for (const auto& error : api::not_acted_on(decoded.object)) {
      add(api::Problem::Severity::warning, error.field, error.message);
    }
    for (auto& warning : decoded.warnings) report.problems.push_back(std::move(warning));
    if (!seen.insert(key).second) {
      add(api::Problem::Severity::error, "metadata.name", "an object of this name stands above already");
    }
    if (valid) report.valid.push_back(to_string(key));
  }
  for (auto& problem : report.problems) problem.origin.document = document;
  std::ranges::stable_sort(report.problems, {}, [](const auto& problem) { return problem.origin.line; });
  if (manifest.objects.empty() && report.problems.empty()) {
    report.problems.push_back({.severity = api::Problem::Severity::warning,
                               .origin = {.document = document},
                               .message = "it holds no object"});
  }
  return report;
}

std::string describe(const api::Problem& problem) {
  std::string text = problem.origin.document;
  if (problem.origin.line > 0) text += fmt::format(":{}", problem.origin.line);
  text += problem.severity == api::Problem::Severity::error ? ": error: " : ": warning: ";
  if (!problem.object.empty()) text += problem.object + ": ";
  if (!problem.field.empty()) text += problem.field + ": ";
  return text + problem.message;
}

host::Result<std::vector<std::string>> manifest_files(const std::string& path) {
  std::error_code ignored;
  if (path == "-" || !std::filesystem::is_directory(path, ignored)) return std::vector<std::string>{path};
  auto names = host::list_directory(path);
  if (!names) return std::unexpected(std::move(names.error()));
  std::vector<std::string> files;
  for (const auto& name : *names) {
    const bool fits = name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
    if (fits && !name.starts_with('.')) files.push_back((host::Path(path) / name).string());
  }
  return files;
}

host::Result<std::string> read_manifest(const std::string& path) {
  if (path != "-") return host::read_file(path, kMaxManifest);
  std::string text;
  char block[65536];
  while (true) {
    const ssize_t size = ::read(STDIN_FILENO, block, sizeof block);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return host::sys_fail("stdin");
    if (size == 0) return text;
    text.append(block, static_cast<size_t>(size));
    if (text.size() > kMaxManifest) return host::fail(host::Error::Code::invalid, "stdin: more than 10 MiB");
  }
}

}  // namespace keelson::ctl
