#include "agent/server/render.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/wait.h>

#include "api/codec.h"

namespace keelson::server {

namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void key(Writer& writer, std::string_view name) { writer.Key(name.data(), static_cast<unsigned>(name.size())); }
void text(Writer& writer, std::string_view name, std::string_view value) {
  key(writer, name);
  writer.String(value.data(), static_cast<unsigned>(value.size()));
}
void number(Writer& writer, std::string_view name, int64_t value) {
  key(writer, name);
  writer.Int64(value);
}
void flag(Writer& writer, std::string_view name, bool value) {
  key(writer, name);
  writer.Bool(value);
}
void texts(Writer& writer, std::string_view name, const std::vector<std::string>& values) {
  key(writer, name);
  writer.StartArray();
  for (const auto& value : values) writer.String(value.data(), static_cast<unsigned>(value.size()));
  writer.EndArray();
}

// A document of one object, written by `fill`.
template <typename Fill>
std::string object(Fill fill) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  fill(writer);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

int status_of(host::Error::Code code) {
  switch (code) {
    case host::Error::Code::not_found:
      return 404;
    case host::Error::Code::exists:
      return 409;
    case host::Error::Code::invalid:
      return 422;
    case host::Error::Code::denied:
      return 403;
    case host::Error::Code::unavailable:
      return 503;
    case host::Error::Code::unsupported:
      return 501;
    case host::Error::Code::failed:
      break;
  }
  return 500;
}

api::Status make_failure(int status, std::string_view message) {
  api::Status object;
  object.status = "Failure";
  object.message = message;
  object.reason = api::status_reason(status);
  object.code = status;
  return object;
}

api::Status make_failure(const host::Error& error) {
  auto object = make_failure(status_of(error.code), error.message);
  if (error.code == host::Error::Code::exists) object.reason = "AlreadyExists";
  return object;
}

http::Answer answer_of(const api::Status& object) {
  return {.status = object.code.value_or(500), .body = api::encode_json(object) + "\n"};
}

// "line 3: Pod default/web"
std::string place(const api::Problem& problem) {
  std::string where;
  if (problem.origin.line > 0) where = fmt::format("line {}", problem.origin.line);
  if (!problem.object.empty()) where += (where.empty() ? "" : ": ") + problem.object;
  return where;
}

std::vector<api::StatusCause> causes_of(const std::vector<api::Problem>& problems) {
  std::vector<api::StatusCause> causes;
  for (const auto& problem : problems) {
    const auto where = place(problem);
    causes.push_back({.reason = problem.severity == api::Problem::Severity::error ? "FieldValueInvalid" : "Warning",
                      .message = where.empty() ? problem.message : where + ": " + problem.message,
                      .field = problem.field});
  }
  return causes;
}

}  // namespace

http::Answer failure(int status, std::string_view message) { return answer_of(make_failure(status, message)); }
http::Answer failure(const host::Error& error) { return answer_of(make_failure(error)); }

http::Answer failure(const PushRefusal& refusal) {
  auto object = make_failure(refusal.error);
  if (!refusal.problems.empty()) {
    object.details = api::StatusDetails{};
    object.details->causes = causes_of(refusal.problems);
  }
  return answer_of(object);
}

http::Answer success(std::string_view message, const std::vector<api::Problem>& warnings) {
  api::Status object;
  object.status = "Success";
  object.message = message;
  object.code = 200;
  if (!warnings.empty()) {
    object.details = api::StatusDetails{};
    object.details->causes = causes_of(warnings);
  }
  return {.body = api::encode_json(object) + "\n"};
}

std::string render_backends(const std::vector<Backend>& backends) {
  return object([&](Writer& writer) {
    text(writer, "kind", "BackendList");
    key(writer, "items");
    writer.StartArray();
    for (const auto& backend : backends) {
      writer.StartObject();
      text(writer, "service", backend.service);
      text(writer, "port", backend.port);
      text(writer, "protocol", backend.protocol);
      texts(writer, "frontends", backend.frontends);
      text(writer, "address", backend.address);
      text(writer, "pod", backend.pod);
      text(writer, "state", backend.state);
      writer.EndObject();
    }
    writer.EndArray();
  });
}

std::string render_images(const std::vector<api::ImageInfo>& images) {
  return object([&](Writer& writer) {
    text(writer, "kind", "ImageList");
    key(writer, "items");
    writer.StartArray();
    for (const auto& image : images) {
      writer.StartObject();
      text(writer, "id", image.id);
      texts(writer, "tags", image.tags);
      texts(writer, "digests", image.digests);
      key(writer, "size");
      writer.Uint64(image.size);
      writer.EndObject();
    }
    writer.EndArray();
  });
}

std::string render_status(const NodeStatus& status, std::string_view version) {
  return object([&](Writer& writer) {
    text(writer, "kind", "NodeStatus");
    text(writer, "version", version);
    text(writer, "nodeName", status.node_name);
    text(writer, "nodeIP", status.node_ip);
    text(writer, "kernel", status.kernel);
    text(writer, "bootID", status.boot_id);
    text(writer, "startedAt", api::to_string(api::Time{status.started_at}));
    flag(writer, "draining", status.draining);
    key(writer, "sources");
    writer.StartArray();
    for (const auto& source : status.sources) {
      writer.StartObject();
      text(writer, "name", source.name);
      text(writer, "location", source.location);
      text(writer, "policy", source.policy);
      flag(writer, "heard", source.heard);
      text(writer, "lastError", source.last_error);
      number(writer, "objects", source.objects);
      writer.EndObject();
    }
    writer.EndArray();
    key(writer, "problems");
    writer.StartArray();
    for (const auto& problem : status.problems) {
      writer.StartObject();
      text(writer, "severity", problem.severity == api::Problem::Severity::error ? "error" : "warning");
      text(writer, "source", problem.origin.source);
      text(writer, "document", problem.origin.document);
      number(writer, "line", problem.origin.line);
      text(writer, "object", problem.object);
      text(writer, "field", problem.field);
      text(writer, "message", problem.message);
      writer.EndObject();
    }
    writer.EndArray();
    texts(writer, "notices", status.notices);
    key(writer, "counts");
    writer.StartObject();
    for (const auto& [name, value] : status.counts) number(writer, name, value);
    writer.EndObject();
  });
}

std::string render_flow(const Flow& flow) {
  return object([&](Writer& writer) {
           text(writer, "time", api::to_string(api::MicroTime{flow.time_us}));
           text(writer, "protocol", flow.protocol);
           text(writer, "source", flow.source);
           text(writer, "frontend", flow.frontend);
           text(writer, "backend", flow.backend);
           text(writer, "service", flow.service);
           text(writer, "verdict", flow.verdict);
           text(writer, "path", flow.path);
         }) +
         "\n";
}

std::string render_exit(int wait_status) {
  // A signal counts as a shell counts it.
  const int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  api::Status object;
  if (code == 0) {
    object.status = "Success";
    return api::encode_json(object);
  }
  object.status = "Failure";
  object.reason = "NonZeroExitCode";
  object.message = fmt::format("command terminated with non-zero exit code: exit status {}", code);
  object.details = api::StatusDetails{};
  object.details->causes = {{.reason = "ExitCode", .message = std::to_string(code)}};
  return api::encode_json(object);
}

std::string render_exec_failure(const host::Error& error) { return api::encode_json(make_failure(500, error.message)); }

}  // namespace keelson::server
