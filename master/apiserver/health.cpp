#include "master/apiserver/health.h"

#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>

namespace keelson::apiserver {

namespace {

bool is_get(const http::Request& head) { return head.method == "GET" || head.method == "HEAD"; }

http::Answer text(int status, std::string body) {
  http::Answer answer{
      .status = status, .content_type = "text/plain; charset=utf-8", .body = std::move(body), .headers = {}};
  answer.headers.add("Cache-Control", "no-cache, private");
  answer.headers.add("X-Content-Type-Options", "nosniff");
  return answer;
}

bool is_health(std::string_view word) { return word == "healthz" || word == "livez" || word == "readyz"; }

}  // namespace

bool Health::serves(const http::Request& head, const Attributes&) const {
  return is_get(head) && !head.segments.empty() && head.segments.size() <= 2 && is_health(head.segments[0]);
}

void Health::handle(CallPtr call) {
  const http::Request& request = call->request;
  const std::string& endpoint = request.segments[0];
  const std::string only = request.segments.size() > 1 ? request.segments[1] : std::string();
  const auto excluded = request.query.all("exclude");
  std::string lines;
  bool good = true;
  bool found = only.empty() || only == "ping";
  if (only.empty()) lines += "[+]ping ok\n";
  for (const Check& check : checks_) {
    if (endpoint == "livez" && !check.matters_to_livez) continue;
    if (!only.empty() && only != check.name) continue;
    found = true;
    if (std::ranges::find(excluded, check.name) != excluded.end()) {
      lines += fmt::format("[+]{} excluded: ok\n", check.name);
      continue;
    }
    const auto status = check.check();
    good = good && status.has_value();
    // These paths are open to all; what is wrong in particular is in the log and the metrics.
    lines +=
        status ? fmt::format("[+]{} ok\n", check.name) : fmt::format("[-]{} failed: reason withheld\n", check.name);
  }
  if (!found) return call->answer(text(404, "404 page not found\n"));
  if (!good) return call->answer(text(500, fmt::format("{}{} check failed\n", lines, endpoint)));
  if (request.query.get("verbose")) {
    return call->answer(text(200, fmt::format("{}{} check passed\n", lines, endpoint)));
  }
  call->answer(text(200, "ok"));
}

VersionEndpoint::VersionEndpoint(std::string keelson_version) {
  utsname host{};
  ::uname(&host);
  const std::string_view machine = host.machine;
  // The API that is spoken, as a Kubernetes version; kubectl compares it with its own.
  body_ = fmt::format(
      R"({{"major":"1","minor":"32","gitVersion":"v1.32.0+keelson-{}","gitCommit":"","gitTreeState":"","buildDate":"",)"
      R"("goVersion":"","compiler":"{}","platform":"linux/{}"}})",
      keelson_version, "g++",
      machine == "x86_64"    ? "amd64"
      : machine == "aarch64" ? "arm64"
                             : machine);
}

bool VersionEndpoint::serves(const http::Request& head, const Attributes&) const {
  return is_get(head) && head.segments.size() == 1 && head.segments[0] == "version";
}

void VersionEndpoint::handle(CallPtr call) {
  call->answer({.status = 200, .content_type = "application/json", .body = body_, .headers = {}});
}

}  // namespace keelson::apiserver
