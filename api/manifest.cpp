// Manifest texts taken apart: documents, Lists, kinds.
#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "api/codec.h"
#include "api/decode.h"
#include "api/resource.h"
#include "api/tree.h"

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr size_t kMostProblems = 1'000;  // of one text

using DecodeObject = Decoded (*)(const Value& node, Remarks& remarks);

template <typename T>
Decoded decode_as(const Value& node, Remarks& remarks) {
  T object;
  decode(type_of<T>(), node, &object, remarks);
  return {.object = std::move(object), .line = node.line, .warnings = {}, .field_lines = std::move(remarks.lines)};
}

struct KnownKind {
  std::string_view kind;
  DecodeObject decode;
};
constexpr KnownKind kKinds[] = {{Pod::kKind, decode_as<Pod>},
                                {Service::kKind, decode_as<Service>},
                                {Endpoints::kKind, decode_as<Endpoints>},
                                {ConfigMap::kKind, decode_as<ConfigMap>},
                                {Secret::kKind, decode_as<Secret>}};

const KnownKind* known_kind(std::string_view kind) {
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& k) { return k.kind == kind; });
  return found == std::end(kKinds) ? nullptr : found;
}

// "Pod default/web", as far as the tree can be read.
std::string name_of(const Value& node, std::string_view kind) {
  const Value* metadata = node.find("metadata");
  if (metadata == nullptr || metadata->string("name").empty()) return std::string(kind);
  const std::string_view space = metadata->string("namespace");
  return to_string(ObjectKey{std::string(kind), std::string(space.empty() ? "default" : space),
                             std::string(metadata->string("name"))});
}

class ManifestReader {
 public:
  explicit ManifestReader(Manifest& manifest) : manifest_(manifest) {}

  void text(std::string_view text) {
    if (text.size() > kMaxText) return problem(0, "", "", fmt::format("larger than {} bytes", kMaxText));
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    if (!is_utf8(text) || text.find('\0') != std::string_view::npos) {
      return problem(0, "", "", "not a text: not UTF-8, or with NUL bytes");
    }
    const size_t first = text.find_first_not_of(" \t\r\n");
    if (first != std::string_view::npos && text[first] == '{') {
      json(text);
    } else {
      yaml(text);
    }
  }

 private:
  // JSON values one after the other, perhaps with "---" between. What is no JSON
  // may still be YAML that starts with a brace.
  void json(std::string_view text) {
    int line = 1;
    for (;;) {
      const size_t skip = skip_separators(text);
      line += static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(skip), '\n'));
      text.remove_prefix(skip);
      if (text.empty()) return;
      Tree tree;
      size_t used = 0;
      auto root = read_json(text, tree, line, used);
      if (!root) return not_json(text, line, root.error());
      document(**root, "", 0);
      line += static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(used), '\n'));
      text.remove_prefix(used);
    }
  }

  void not_json(std::string_view text, int line, const SyntaxError& json_error) {
    Tree tree;
    std::vector<const Value*> documents;
    if (read_yaml(text, tree, line, documents)) {
      for (const Value* root : documents) document(*root, "", 0);
    } else {
      problem(json_error.line, "", "", "invalid JSON: " + json_error.message);
    }
  }

  static size_t skip_separators(std::string_view text) {
    size_t at = 0;
    for (;;) {
      while (at < text.size() && std::string_view(" \t\r\n").find(text[at]) != std::string_view::npos) ++at;
      if (!text.substr(at).starts_with("---")) return at;
      at += 3;
    }
  }

  // Split at lines that are "---" before parsing, as Kubernetes does: a document
  // that is broken does not take the others with it.
  void yaml(std::string_view text) {
    int line = 1;
    while (!text.empty()) {
      const auto [length, next] = next_separator(text);
      yaml_part(text.substr(0, length), line);
      line += static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(next), '\n'));
      text.remove_prefix(next);
    }
  }

  // Where the part ends, and where the next one begins.
  static std::pair<size_t, size_t> next_separator(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
      const size_t end = std::min(text.find('\n', at), text.size());
      std::string_view line = text.substr(at, end - at);
      if (line.starts_with("---") && line.find_first_not_of(" \t\r", 3) == std::string_view::npos) {
        return {at, std::min(end + 1, text.size())};
      }
      at = end + 1;
    }
    return {text.size(), text.size()};
  }

  void yaml_part(std::string_view text, int line) {
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
    Tree tree;
    std::vector<const Value*> documents;
    auto read = read_yaml(text, tree, line, documents);
    for (const Value* root : documents) document(*root, "", 0);
    if (!read) problem(read.error().line, "", "", "invalid YAML: " + read.error().message);
  }

  // `implied` is the kind that a typed List gives its items.
  void document(const Value& node, std::string_view implied, int lists) {
    if (node.kind == Value::Kind::null) return;
    if (node.kind != Value::Kind::object) {
      return problem(node.line, "", "", "must be an object with apiVersion, kind and metadata");
    }
    if (budget_ == 0) return;
    const Value* kind_node = node.find("kind");
    std::string_view kind = node.string("kind");
    std::string_view version = node.string("apiVersion");
    if (kind_node == nullptr && !implied.empty()) {
      kind = implied;
      if (node.find("apiVersion") == nullptr) version = "v1";
    }
    if (kind.empty()) return problem(node.line, name_of(node, ""), "kind", "Required value: such as Pod");
    if (version.empty()) return problem(node.line, name_of(node, kind), "apiVersion", "Required value: such as v1");
    if (version == "v1" && kind.ends_with("List")) {
      const std::string_view item = kind.substr(0, kind.size() - 4);
      if (item.empty() || known_kind(item) != nullptr) return list(node, kind, item, lists);
    }
    const KnownKind* known = version == "v1" ? known_kind(kind) : nullptr;
    if (known == nullptr) {
      return problem(node.line, name_of(node, kind), "kind",
                     fmt::format("no kind \"{}\" is known in version \"{}\": this node takes v1 Pod, Service, "
                                 "Endpoints, ConfigMap, Secret and Lists of them",
                                 kind, version));
    }
    object(node, *known);
  }

  void list(const Value& node, std::string_view kind, std::string_view item_kind, int lists) {
    const Value* items = node.find("items");
    if (items == nullptr || items->kind == Value::Kind::null) return;
    if (items->kind != Value::Kind::list) return problem(items->line, std::string(kind), "items", "must be a list");
    if (lists == 4) return problem(node.line, std::string(kind), "", "Lists nested too deeply");
    for (const Value::Member& item : items->members) document(*item.value, item_kind, lists + 1);
  }

  void object(const Value& node, const KnownKind& known) {
    Remarks remarks;
    remarks.want_lines = true;
    remarks.budget = budget_;
    Decoded decoded = known.decode(node, remarks);
    budget_ = remarks.budget;
    const std::string name = name_of(node, known.kind);
    for (Remark& error : remarks.errors) problem(error.line, name, std::move(error.field), std::move(error.message));
    if (!remarks.errors.empty()) return;
    for (Remark& unknown : remarks.unknown) {
      decoded.warnings.push_back({.severity = Problem::Severity::warning,
                                  .origin = {.source = {}, .document = {}, .line = unknown.line},
                                  .object = name,
                                  .field = std::move(unknown.field),
                                  .message = std::move(unknown.message)});
    }
    std::sort(decoded.field_lines.begin(), decoded.field_lines.end());
    manifest_.objects.push_back(std::move(decoded));
  }

  void problem(int line, std::string object, std::string field, std::string message) {
    if (manifest_.problems.size() == kMostProblems) return;
    manifest_.problems.push_back({.severity = Problem::Severity::error,
                                  .origin = {.source = {}, .document = {}, .line = line},
                                  .object = std::move(object),
                                  .field = std::move(field),
                                  .message = std::move(message)});
  }

  Manifest& manifest_;
  size_t budget_ = kMaxValues;  // one for the whole text: aliases reach across a List's items
};

}  // namespace

int Decoded::line_of(std::string_view field) const {
  while (!field.empty()) {
    const auto found = std::lower_bound(field_lines.begin(), field_lines.end(), field,
                                        [](const auto& entry, std::string_view path) { return entry.first < path; });
    if (found != field_lines.end() && found->first == field) return found->second;
    const size_t cut = field.find_last_of(".[");
    field = field.substr(0, cut == std::string_view::npos ? 0 : cut);
  }
  return line;
}

Manifest decode_manifest(std::string_view text) {
  Manifest manifest;
  ManifestReader(manifest).text(text);
  return manifest;
}

template <typename T>
Result<T> decode_json(std::string_view text) {
  const auto invalid = [](int line, std::string_view message) {
    return fail(Error::Code::invalid, fmt::format("invalid {}: line {}: {}", T::kKind, line, message));
  };
  Tree tree;
  size_t used = 0;
  auto root = read_json(text, tree, 1, used);
  if (!root) return invalid(root.error().line, root.error().message);
  if (text.find_first_not_of(" \t\r\n", used) != std::string_view::npos) {
    return invalid((*root)->line, "more text behind the object");
  }
  const Value& node = **root;
  if (node.kind != Value::Kind::object) return invalid(node.line, "not an object");
  for (const auto& [key, expected] : {std::pair("kind", T::kKind), std::pair("apiVersion", T::kApiVersion)}) {
    if (node.find(key) != nullptr && node.string(key) != expected) {
      return invalid(node.line, fmt::format("{} is \"{}\", not \"{}\"", key, node.string(key), expected));
    }
  }
  T object;
  Remarks remarks;
  decode(type_of<T>(), node, &object, remarks);
  if (!remarks.errors.empty()) {
    const Remark& first = remarks.errors.front();
    return fail(Error::Code::invalid, fmt::format("invalid {}: {}{}{}", T::kKind, first.field,
                                                  first.field.empty() ? "" : ": ", first.message));
  }
  return object;
}

template Result<Pod> decode_json(std::string_view);
template Result<Service> decode_json(std::string_view);
template Result<Endpoints> decode_json(std::string_view);
template Result<ConfigMap> decode_json(std::string_view);
template Result<Secret> decode_json(std::string_view);
template Result<Status> decode_json(std::string_view);
template Result<Node> decode_json(std::string_view);
template Result<ReplicationController> decode_json(std::string_view);
template Result<Scale> decode_json(std::string_view);
template Result<Namespace> decode_json(std::string_view);
template Result<Event> decode_json(std::string_view);
template Result<EventsEvent> decode_json(std::string_view);
template Result<EndpointSlice> decode_json(std::string_view);
template Result<Lease> decode_json(std::string_view);
template Result<DeleteOptions> decode_json(std::string_view);
template Result<Binding> decode_json(std::string_view);
template Result<Eviction> decode_json(std::string_view);
template Result<WatchEvent> decode_json(std::string_view);
template Result<ServiceAccount> decode_json(std::string_view);
template Result<TokenRequest> decode_json(std::string_view);
template Result<SelfSubjectReview> decode_json(std::string_view);
template Result<SelfSubjectAccessReview> decode_json(std::string_view);
template Result<SelfSubjectRulesReview> decode_json(std::string_view);

}  // namespace keelson::api
