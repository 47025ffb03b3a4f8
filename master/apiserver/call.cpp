#include "master/apiserver/call.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "host/log.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

// A method may be any word; metrics know these.
const std::string& known_verb(const std::string& verb) {
  static const std::string kOther = "other";
  static constexpr std::array<std::string_view, 13> kVerbs = {
      "get",  "list", "watch", "create",  "update", "patch", "delete", "deletecollection",
      "post", "put",  "head",  "options", "connect"};
  return std::ranges::find(kVerbs, verb) == kVerbs.end() ? kOther : verb;
}

// Values are quoted when a blank in them would read as the next field.
std::string word(std::string_view text) {
  if (!text.empty() && text.find_first_of(" \"=") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

void Journal::record(const User* user, const Attributes& attributes, const http::Request& request, int code,
                     host::Duration took, const std::string& name) {
  // Only what we serve makes a series: a stranger's paths do not.
  std::string resource;
  if (attributes.kind != nullptr) {
    resource = attributes.resource;
    if (!attributes.subresource.empty() && code != 404) resource += "/" + attributes.subresource;
  }
  const std::string& verb = known_verb(attributes.verb);
  Series& series = series_[{verb + " " + resource, code}];
  if (series.requests == nullptr) {
    series.requests = &metrics_.counter("apiserver_request_total", "Requests answered.",
                                        {{"verb", verb}, {"resource", resource}, {"code", std::to_string(code)}});
    series.seconds = &metrics_.histogram("apiserver_request_duration_seconds", "From header to answer.",
                                         {{"verb", verb}, {"resource", resource}},
                                         {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5});
  }
  series.requests->add();
  if (verb != "watch") series.seconds->observe(std::chrono::duration<double>(took).count());

  const auto level = attributes.read_only() && code < 400    ? host::LogLevel::debug
                     : !attributes.is_resource && code < 400 ? host::LogLevel::debug
                                                             : host::LogLevel::info;
  if (!host::log_enabled(level)) return;
  std::string line = fmt::format("audit verb={}", verb);
  if (attributes.is_resource) {
    line += fmt::format(" resource={}",
                        word(attributes.subresource.empty() ? attributes.resource
                                                            : attributes.resource + "/" + attributes.subresource));
    if (!attributes.group.empty()) line += fmt::format(" group={}", word(attributes.group));
    if (!attributes.namespace_.empty()) line += fmt::format(" namespace={}", word(attributes.namespace_));
    const std::string& named = attributes.name.empty() ? name : attributes.name;
    if (!named.empty()) line += fmt::format(" name={}", word(named));
  } else {
    line += fmt::format(" path={}", word(attributes.path));
  }
  line += fmt::format(" user={} source={}", user == nullptr ? "-" : word(user->name), request.peer);
  const std::string_view agent = request.headers.get("User-Agent");
  if (!agent.empty()) line += fmt::format(" agent={}", word(agent.substr(0, 128)));
  line += fmt::format(" code={} ms={:.3f}", code, std::chrono::duration<double, std::milli>(took).count());
  host::log_line(level, line);
}

void Call::answer(http::Answer answer) {
  for (const std::string& warning : warnings) {
    std::string text;
    for (const char c : warning) {
      if (c == '"' || c == '\\') text += '\\';
      if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) text += c;
    }
    answer.headers.add("Warning", fmt::format("299 - \"{}\"", text));
  }
  if (journal != nullptr) journal->record(&user, attributes, request, answer.status, host::Clock::now() - began, name);
  exchange.answer(std::move(answer));
}

void Call::fail(const api::Status& status) { answer(answer_of(status)); }

http::Stream Call::stream(http::Answer answer) {
  if (journal != nullptr) journal->record(&user, attributes, request, answer.status, host::Clock::now() - began, name);
  return exchange.stream(std::move(answer));
}

}  // namespace keelson::apiserver
