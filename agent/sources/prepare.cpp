#include "agent/sources/prepare.h"

#include <fmt/core.h>

#include <cctype>
#include <set>

#include "agent/sources/digest.h"
#include "api/codec.h"
#include "api/validate.h"

namespace keelson::sources {

namespace {

// kubelet's words for the sources it knows too.
std::string_view config_source(std::string_view source) {
  if (source == "url") return "http";
  if (source == "apiserver") return "api";
  return source;
}

// SHA-256 of the parts, each with its length (so that no two lists collide), in the
// shape of a UUID of version 8 (RFC 9562: a vendor's own).
std::string digest_uuid(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const auto part : parts) {
    text += fmt::format("{}:", part.size());
    text += part;
  }
  std::string hex = sha256_hex(text);
  hex[12] = '8';
  hex[16] = 'a';
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4), hex.substr(16, 4),
                     hex.substr(20, 12));
}

// A uid becomes a name of directories and cgroups.
bool usable_uid(std::string_view uid) {
  if (uid.empty() || uid.size() > 63) return false;
  for (const char c : uid) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-') return false;
  }
  return uid.front() != '-';
}

// The names stay as written. kubelet appends "-<node>" to those of static pods, because
// their mirror pods share one cluster-wide namespace; here Services select by label,
// the user asks by name, and a node by itself has no mirror.
void give_identity(api::Pod& pod, const Rules& rules, std::string_view source) {
  pod.spec.node_name = rules.node_name;
  auto& annotations = pod.metadata.annotations;
  for (const auto ours : {kConfigSource, kConfigHash, kConfigSeen, api::kConfigMirror})
    annotations.erase(std::string(ours));

  api::Pod content;
  content.metadata.name = pod.metadata.name;
  content.metadata.namespace_ = pod.metadata.namespace_;
  content.metadata.labels = pod.metadata.labels;
  content.metadata.annotations = annotations;
  content.spec = pod.spec;
  const std::string hash = digest_uuid({rules.node_name, source, api::encode_json(content)});

  annotations[std::string(kConfigSource)] = config_source(source);
  annotations[std::string(kConfigHash)] = hash;
  if (pod.metadata.uid.empty()) pod.metadata.uid = hash;
}

// What an API server keeps for itself says nothing of what is wanted; except that a Pod
// which is over is not to be run again, be it after a reboot.
void drop_observations(api::Object& object, std::string_view source) {
  api::metadata_of(object).managed_fields.clear();
  if (auto* pod = std::get_if<api::Pod>(&object)) {
    const bool over = api::is_over(*pod) && (source == "apiserver" || source == "etcd");
    auto phase = over ? std::move(pod->status.phase) : std::string();
    pod->status = {};
    pod->status.phase = std::move(phase);
  }
  if (auto* service = std::get_if<api::Service>(&object)) service->status = {};
}

bool is_clusters(std::string_view message) {
  return message.starts_with("has no effect: this node has no ") ||
         message.starts_with("has no effect: there is no API");
}

class Preparation {
 public:
  Preparation(const Rules& rules, std::string_view source, DocumentPtr document) : rules_(rules), source_(source) {
    prepared_.document = std::move(document);
  }

  Prepared run() && {
    const Document& document = *prepared_.document;
    if (!document.failure.empty()) {
      prepared_.whole = false;
      report(api::Problem::Severity::error, 0, "", "", document.failure);
      return std::move(prepared_);
    }
    auto manifest = api::decode_manifest(document.text);
    for (auto& problem : manifest.problems) {
      prepared_.whole = false;
      adopt(std::move(problem));
    }
    for (auto& decoded : manifest.objects) take(std::move(decoded));
    return std::move(prepared_);
  }

 private:
  void take(api::Decoded decoded) {
    // The master writes what stands for our own static Pods beside those to be run.
    if (const auto* pod = std::get_if<api::Pod>(&decoded.object); source_ == "etcd" && pod && api::is_mirror(*pod))
      return;
    api::set_defaults(decoded.object);
    drop_observations(decoded.object, source_);
    PreparedObject result;
    result.key = api::key_of(decoded.object);
    const std::string name = api::to_string(result.key);
    for (auto& warning : decoded.warnings) {
      if (warning.object.empty()) warning.object = name;
      adopt(std::move(warning));
    }
    if (!seen_.insert(result.key).second) {
      report(api::Problem::Severity::error, decoded.line, name, "metadata.name",
             "Duplicate value: the document has this object already; the first one stands");
      return;
    }
    result.allowed = check(decoded, name);
    if (result.allowed) {
      if (auto* pod = std::get_if<api::Pod>(&decoded.object)) give_identity(*pod, rules_, source_);
      result.accepted.object = std::move(decoded.object);
      result.accepted.origin = origin(decoded.line);
    }
    prepared_.objects.push_back(std::move(result));
  }

  bool check(const api::Decoded& decoded, const std::string& name) {
    const auto errors = api::validate(decoded.object);
    for (const auto& error : errors) {
      report(api::Problem::Severity::error, decoded.line_of(error.field), name, error.field, error.message);
    }
    bool allowed = errors.empty();
    if (const auto* pod = std::get_if<api::Pod>(&decoded.object)) {
      if (!pod->metadata.uid.empty() && !usable_uid(pod->metadata.uid)) {
        report(api::Problem::Severity::error, decoded.line_of("metadata.uid"), name, "metadata.uid",
               "Invalid value: must be 1-63 letters, digits and '-', not starting with '-'");
        allowed = false;
      }
      for (const auto& error : api::violations(*pod, rules_.policy.level(source_))) {
        std::string_view why = error.message;
        if (why.starts_with("Forbidden: ")) why.remove_prefix(std::string_view("Forbidden: ").size());
        report(api::Problem::Severity::error, decoded.line_of(error.field), name, error.field,
               fmt::format("Forbidden to the source {} (see --source-policy): {}", source_, why));
        allowed = false;
      }
    }
    if (!allowed) return false;
    // The master's copies in etcd have a uid already.
    const bool of_cluster =
        source_ == "apiserver" || (source_ == "etcd" && !api::metadata_of(decoded.object).uid.empty());
    for (const auto& field : api::not_acted_on(decoded.object)) {
      // What a node by itself does not act on, the cluster does: it has a scheduler and controllers.
      if (of_cluster && (field.field == "status" || is_clusters(field.message))) continue;
      report(api::Problem::Severity::warning, decoded.line_of(field.field), name, field.field, field.message);
    }
    return true;
  }

  api::Origin origin(int line) const {
    return {.source = std::string(source_), .document = prepared_.document->name, .line = line};
  }

  void adopt(api::Problem problem) {
    problem.origin.source = source_;
    problem.origin.document = prepared_.document->name;
    prepared_.problems.push_back(std::move(problem));
  }

  void report(api::Problem::Severity severity, int line, std::string object, std::string field, std::string message) {
    prepared_.problems.push_back({.severity = severity,
                                  .origin = origin(line),
                                  .object = std::move(object),
                                  .field = std::move(field),
                                  .message = std::move(message)});
  }

  const Rules& rules_;
  std::string_view source_;
  Prepared prepared_;
  std::set<api::ObjectKey> seen_;
};

}  // namespace

Prepared prepare(const Rules& rules, std::string_view source, DocumentPtr document) {
  return Preparation(rules, source, std::move(document)).run();
}

std::string source_of(const api::Pod& pod) {
  const auto told = api::annotation(pod, kConfigSource);
  for (const std::string_view source : {"url", "apiserver"}) {
    if (told == config_source(source)) return std::string(source);
  }
  return std::string(told);
}

void set_created(api::Object& object, const AcceptedPtr& before, api::Time now) {
  auto& created = api::metadata_of(object).creation_timestamp;
  if (created || std::holds_alternative<api::Pod>(object)) return;
  if (before) created = api::metadata_of(before->object).creation_timestamp;
  if (!created) created = now;
}

std::string describe(const api::Problem& problem) {
  std::string text = api::to_string(problem.origin);
  for (const auto* part : {&problem.object, &problem.field, &problem.message}) {
    if (!part->empty()) text += fmt::format(": {}", *part);
  }
  return text;
}

}  // namespace keelson::sources
