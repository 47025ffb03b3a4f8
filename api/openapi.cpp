#include "api/openapi.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "api/resource.h"

namespace keelson::api {

namespace {

enum class Version : uint8_t { v2, v3 };

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

std::string definition_of(const Type& type) {
  return fmt::format("io.k8s.{}{}.{}", type.package.starts_with("apis.meta") ? "apimachinery.pkg." : "api.",
                     type.package, type.name);
}

std::string gvk(std::string_view group, std::string_view version, std::string_view kind) {
  return fmt::format(R"({{"group":"{}","kind":"{}","version":"{}"}})", group, kind, version);
}
std::string gvk(const Resource& resource, std::string_view suffix = {}) {
  return gvk(resource.group, resource.version, fmt::format("{}{}", resource.kind, suffix));
}

// Joins with commas what it is given.
class Joined {
 public:
  explicit Joined(std::string& out) : out_(out) {}
  std::string& next() {
    if (!first_) out_ += ',';
    first_ = false;
    return out_;
  }

 private:
  std::string& out_;
  bool first_ = true;
};

class Document {
 public:
  explicit Document(Version version) : version_(version) {}

  void add(const Resource& resource) {
    use(resource.type(), &resource);
    if (resource.stored) lists_.push_back(&resource);
    if (!resource.plural.empty()) paths_.push_back(&resource);
  }

  std::string write() {
    use(type_of<Status>(), nullptr);
    use(type_of<ListMeta>(), nullptr);
    use(type_of<DeleteOptions>(), find_kind("v1", "DeleteOptions"));
    const bool v2 = version_ == Version::v2;
    std::string out = v2 ? R"({"swagger":"2.0",)" : R"({"openapi":"3.0.0",)";
    out += R"("info":{"title":"Keelson","version":"v1"},"paths":{)";
    Joined paths(out);
    for (const Resource* resource : paths_) write_paths(*resource, paths);
    out += v2 ? R"(},"definitions":{)" : R"(},"components":{"schemas":{)";
    Joined definitions(out);
    // All that the kinds lead to, known only once each has been written.
    for (size_t i = 0; i < queue_.size(); ++i) write_definition(*queue_[i].first, queue_[i].second, definitions.next());
    for (const Resource* resource : lists_) write_list(*resource, definitions.next());
    write_scalars(definitions);
    out += v2 ? "}}" : "}}}";
    return out;
  }

 private:
  std::string ref(std::string_view definition) const {
    return fmt::format(R"("$ref":"#/{}/{}")", version_ == Version::v2 ? "definitions" : "components/schemas",
                       definition);
  }

  void use(const Type& type, const Resource* resource) {
    if (seen_.insert(definition_of(type)).second) queue_.emplace_back(&type, resource);
  }

  // --- Definitions ---

  std::string schema_of(const Access& access) {
    switch (access.kind) {
      case Kind::string:
        return R"("type":"string")";
      case Kind::boolean:
        return R"("type":"boolean")";
      case Kind::int32:
        return R"("type":"integer","format":"int32")";
      case Kind::int64:
        return R"("type":"integer","format":"int64")";
      case Kind::bytes:
        return R"("type":"string","format":"byte")";
      case Kind::quantity:
        return ref("io.k8s.apimachinery.pkg.api.resource.Quantity");
      case Kind::time:
        return ref("io.k8s.apimachinery.pkg.apis.meta.v1.Time");
      case Kind::micro_time:
        return ref("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime");
      case Kind::int_or_string:
        return ref("io.k8s.apimachinery.pkg.util.intstr.IntOrString");
      case Kind::raw_json:
        return ref("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1");
      case Kind::structure:
        use(access.type(), nullptr);
        return ref(definition_of(access.type()));
    }
    return {};
  }

  void write_property(const Field& field, std::string& out) {
    const Access& access = *field.access;
    out += fmt::format(R"("{}":{{)", field.name);
    if (access.shape == Shape::list) {
      out += fmt::format(R"("type":"array","items":{{{}}})", schema_of(access));
    } else if (access.shape == Shape::map) {
      out += fmt::format(R"("type":"object","additionalProperties":{{{}}})", schema_of(access));
    } else {
      out += schema_of(access);
    }
    if (!field.list_type.empty()) {
      out +=
          fmt::format(R"(,"x-kubernetes-{}-type":"{}")", access.shape == Shape::list ? "list" : "map", field.list_type);
    }
    if (!field.list_keys.empty()) {
      std::string keys = "\"";
      for (const char c : field.list_keys) keys += c == ',' ? std::string("\",\"") : std::string(1, c);
      out += fmt::format(R"(,"x-kubernetes-list-map-keys":[{}"])", keys);
    }
    if (!field.merge_key.empty()) out += fmt::format(R"(,"x-kubernetes-patch-merge-key":"{}")", field.merge_key);
    if (field.merges || field.retain_keys) {
      out += fmt::format(R"(,"x-kubernetes-patch-strategy":"{}{}{}")", field.merges ? "merge" : "",
                         field.merges && field.retain_keys ? "," : "", field.retain_keys ? "retainKeys" : "");
    }
    out += '}';
  }

  void write_properties(const Type& type, Joined& properties) {
    for (const Field& field : type.fields) {
      if (field.inlined) {
        write_properties(field.access->type(), properties);
      } else {
        write_property(field, properties.next());
      }
    }
  }

  static void collect_required(const Type& type, Joined& required) {
    for (const Field& field : type.fields) {
      if (field.inlined) {
        collect_required(field.access->type(), required);
      } else if (field.required) {
        required.next() += fmt::format(R"("{}")", field.name);
      }
    }
  }

  void write_definition(const Type& type, const Resource* resource, std::string& out) {
    out += fmt::format(R"("{}":{{"type":"object","properties":{{)", definition_of(type));
    Joined properties(out);
    if (type.has_type_meta) {
      properties.next() += R"("apiVersion":{"type":"string"})";
      properties.next() += R"("kind":{"type":"string"})";
    }
    write_properties(type, properties);
    out += '}';
    std::string required;
    Joined names(required);
    collect_required(type, names);
    if (!required.empty()) out += fmt::format(R"(,"required":[{}])", required);
    if (is_atomic(type)) out += R"(,"x-kubernetes-map-type":"atomic")";
    if (resource != nullptr) out += fmt::format(R"(,"x-kubernetes-group-version-kind":[{}])", gvk(*resource));
    if (type.name == "Status")
      out += fmt::format(R"(,"x-kubernetes-group-version-kind":[{}])", gvk("", "v1", "Status"));
    out += '}';
  }

  void write_list(const Resource& resource, std::string& out) {
    out += fmt::format(
        R"("{0}List":{{"type":"object","properties":{{"apiVersion":{{"type":"string"}},"kind":{{"type":"string"}},)"
        R"("metadata":{{{1}}},"items":{{"type":"array","items":{{{2}}}}}}},"required":["items"],)"
        R"("x-kubernetes-group-version-kind":[{3}]}})",
        resource.definition(), ref(definition_of(type_of<ListMeta>())), ref(resource.definition()),
        gvk(resource, "List"));
  }

  static void write_scalars(Joined& definitions) {
    static constexpr std::pair<std::string_view, std::string_view> kScalars[] = {
        {"io.k8s.apimachinery.pkg.api.resource.Quantity", R"({"type":"string"})"},
        {"io.k8s.apimachinery.pkg.util.intstr.IntOrString", R"({"type":"string","format":"int-or-string"})"},
        {"io.k8s.apimachinery.pkg.apis.meta.v1.Time", R"({"type":"string","format":"date-time"})"},
        {"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", R"({"type":"string","format":"date-time"})"},
        {"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", R"({"type":"object"})"},
        {"io.k8s.apimachinery.pkg.apis.meta.v1.Patch", R"({"type":"object"})"}};
    for (const auto& [name, schema] : kScalars) definitions.next() += fmt::format(R"("{}":{})", name, schema);
  }

  // --- Paths ---

  struct Verb {
    std::string_view method;
    std::string_view action;
    std::string_view parameters;  // names with commas between
    std::string body;             // definition
    std::string answer;
  };

  std::string parameter(std::string_view name, std::string_view place) const {
    const std::string_view type = name == "force" || name == "watch" ? "boolean"
                                  : name == "limit"                  ? "integer"
                                                                     : "string";
    const std::string_view required = place == "path" ? R"("required":true,)" : "";
    return version_ == Version::v2
               ? fmt::format(R"({{"name":"{}","in":"{}",{}"type":"{}","uniqueItems":true}})", name, place, required,
                             type)
               : fmt::format(R"({{"name":"{}","in":"{}",{}"schema":{{"type":"{}","uniqueItems":true}}}})", name, place,
                             required, type);
  }

  void write_operation(const Resource& resource, const Verb& verb, std::string& out) const {
    const bool v2 = version_ == Version::v2;
    out += fmt::format(R"("{}":{{"parameters":[)", verb.method);
    Joined parameters(out);
    if (v2 && !verb.body.empty()) {
      parameters.next() +=
          fmt::format(R"({{"name":"body","in":"body","required":true,"schema":{{{}}}}})", ref(verb.body));
    }
    for (std::string_view rest = verb.parameters; !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      parameters.next() += parameter(name, "query");
    }
    out += ']';
    if (!v2 && !verb.body.empty()) {
      out += fmt::format(R"(,"requestBody":{{"content":{{"application/json":{{"schema":{{{}}}}}}}}})", ref(verb.body));
    }
    out +=
        v2 ? fmt::format(R"(,"responses":{{"200":{{"description":"OK","schema":{{{}}}}}}})", ref(verb.answer))
           : fmt::format(
                 R"(,"responses":{{"200":{{"description":"OK","content":{{"application/json":{{"schema":{{{}}}}}}}}}}})",
                 ref(verb.answer));
    out += fmt::format(R"(,"x-kubernetes-action":"{}","x-kubernetes-group-version-kind":{}}})", verb.action,
                       gvk(resource));
  }

  void write_path(const Resource& resource, std::string_view path, std::initializer_list<Verb> verbs,
                  Joined& paths) const {
    std::string& out = paths.next();
    out += fmt::format(R"("{}":{{)", path);
    Joined members(out);
    for (const Verb& verb : verbs) write_operation(resource, verb, members.next());
    std::string in_path;
    Joined names(in_path);
    for (const std::string_view name : {"name", "namespace"}) {
      if (path.find(fmt::format("{{{}}}", name)) != std::string_view::npos) names.next() += parameter(name, "path");
    }
    if (!in_path.empty()) members.next() += fmt::format(R"("parameters":[{}])", in_path);
    out += '}';
  }

  void write_paths(const Resource& resource, Joined& paths) const {
    const std::string one = resource.definition();
    const std::string list = one + "List";
    const std::string status = definition_of(type_of<Status>());
    const Verb post = {"post", "post", "dryRun,fieldManager,fieldValidation", one, one};
    const std::string base = resource.path();
    const std::string plural(resource.plural);
    const std::string space = resource.namespaced ? base + "/namespaces/{namespace}/" + plural : base + "/" + plural;
    if (!resource.stored) return write_path(resource, space, {post}, paths);
    const Verb get_list = {"get", "list", "labelSelector,fieldSelector,limit,continue,resourceVersion,watch", {}, list};
    write_path(resource, space, {get_list, post}, paths);
    if (resource.namespaced) write_path(resource, base + "/" + plural, {get_list}, paths);
    const Verb get = {"get", "get", "", {}, one};
    const Verb put = {"put", "put", "dryRun,fieldManager,fieldValidation", one, one};
    const Verb patch = {"patch", "patch", "dryRun,fieldManager,fieldValidation,force", std::string(kMeta) + "Patch",
                        one};
    const Verb remove = {"delete", "delete", "dryRun,gracePeriodSeconds,propagationPolicy",
                         definition_of(type_of<DeleteOptions>()), status};
    write_path(resource, space + "/{name}", {get, put, patch, remove}, paths);
    if (resource.has_status) write_path(resource, space + "/{name}/status", {get, put, patch}, paths);
  }

  Version version_;
  std::set<std::string> seen_;
  std::vector<std::pair<const Type*, const Resource*>> queue_;
  std::vector<const Resource*> lists_;
  std::vector<const Resource*> paths_;
};

// --- JSON to gnostic's protobuf ---

void put_number(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_text(std::string& out, uint32_t number, std::string_view text) {
  put_number(out, number << 3 | 2);
  put_number(out, text.size());
  out += text;
}
void put_flag(std::string& out, uint32_t number, bool flag) {
  if (!flag) return;
  put_number(out, number << 3);
  put_number(out, 1);
}
// {name=1, value=2}
std::string named(std::string_view name, std::string_view value) {
  std::string out;
  put_text(out, 1, name);
  put_text(out, 2, value);
  return out;
}

class Gnostic {
 public:
  static std::string document(const Value& root) {
    std::string out;
    put_text(out, 1, root.string("swagger"));
    std::string info;
    put_text(info, 1, root.find("info")->string("title"));
    put_text(info, 2, root.find("info")->string("version"));
    put_text(out, 2, info);
    std::string paths;
    for (const Value::Member& path : root.find("paths")->members)
      put_text(paths, 2, named(path.key, path_item(*path.value)));
    put_text(out, 8, paths);
    put_text(out, 9, named_schemas(*root.find("definitions")));
    return out;
  }

 private:
  // Definitions and Properties are the same message.
  static std::string named_schemas(const Value& schemas) {
    std::string out;
    for (const Value::Member& member : schemas.members) put_text(out, 1, named(member.key, schema(*member.value)));
    return out;
  }

  // JSON is YAML.
  static std::string extension(const Value::Member& member) {
    std::string yaml;
    size_t budget = kMaxValues;
    write_json(*member.value, yaml, budget);
    std::string any;
    put_text(any, 2, yaml);
    return named(member.key, any);
  }

  static std::string schema(const Value& value) {
    std::string out;
    for (const Value::Member& member : value.members) {
      const Value& child = *member.value;
      if (member.key == "$ref") put_text(out, 1, child.text);
      if (member.key == "format") put_text(out, 2, child.text);
      if (member.key == "required") {
        for (const Value::Member& name : child.members) put_text(out, 19, name.value->text);
      }
      if (member.key == "additionalProperties") put_text(out, 21, wrapped(1, schema(child)));
      if (member.key == "type") put_text(out, 22, wrapped(1, child.text));
      if (member.key == "items") put_text(out, 23, wrapped(1, schema(child)));
      if (member.key == "properties") put_text(out, 25, named_schemas(child));
      if (member.key.starts_with("x-")) put_text(out, 31, extension(member));
    }
    return out;
  }

  static std::string wrapped(uint32_t number, std::string_view content) {
    std::string out;
    put_text(out, number, content);
    return out;
  }

  static std::string path_item(const Value& value) {
    static constexpr std::pair<std::string_view, uint32_t> kMethods[] = {
        {"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};
    std::string out;
    for (const auto& [method, number] : kMethods) {
      if (const Value* found = value.find(method)) put_text(out, number, operation(*found));
    }
    put_parameters(out, 9, value);
    return out;
  }

  static std::string operation(const Value& value) {
    std::string out;
    put_parameters(out, 8, value);
    std::string responses;
    for (const Value::Member& response : value.find("responses")->members) {
      std::string content;
      put_text(content, 1, response.value->string("description"));
      if (const Value* found = response.value->find("schema")) put_text(content, 2, wrapped(1, schema(*found)));
      put_text(responses, 1, named(response.key, wrapped(1, content)));
    }
    put_text(out, 9, responses);
    for (const Value::Member& member : value.members) {
      if (member.key.starts_with("x-")) put_text(out, 13, extension(member));
    }
    return out;
  }

  static void put_parameters(std::string& out, uint32_t number, const Value& holder) {
    const Value* list = holder.find("parameters");
    if (list == nullptr) return;
    for (const Value::Member& member : list->members) put_text(out, number, wrapped(1, parameter(*member.value)));
  }

  static std::string parameter(const Value& value) {
    const std::string_view place = value.string("in");
    const Value* required = value.find("required");
    const bool needed = required != nullptr && required->flag;
    std::string out;
    if (place == "body") {
      put_text(out, 2, value.string("name"));
      put_text(out, 3, place);
      put_flag(out, 4, needed);
      put_text(out, 5, schema(*value.find("schema")));
      return wrapped(1, out);
    }
    // A path's parameter counts on from the same names, without allowEmptyValue.
    const bool query = place == "query";
    put_flag(out, 1, needed);
    put_text(out, 2, place);
    put_text(out, 4, value.string("name"));
    put_text(out, query ? 6 : 5, value.string("type"));
    return wrapped(2, wrapped(query ? 3 : 4, out));
  }
};

std::string v3_path(const Resource& resource) { return resource.path().substr(1); }

}  // namespace

std::string openapi_v2_json() {
  Document document(Version::v2);
  for (const Resource& resource : resources()) document.add(resource);
  return document.write();
}

std::string openapi_v2_protobuf() {
  const std::string json = openapi_v2_json();
  Tree tree;
  size_t used = 0;
  auto root = read_json(json, tree, 1, used);
  return root ? Gnostic::document(**root) : std::string();
}

std::string openapi_v3_index() {
  std::map<std::string, size_t> hashes;
  for (const Resource& resource : resources()) {
    const std::string path = v3_path(resource);
    if (!resource.plural.empty() && !hashes.contains(path))
      hashes[path] = std::hash<std::string>()(openapi_v3_json(path));
  }
  std::string out = R"({"paths":{)";
  Joined paths(out);
  for (const auto& [path, hash] : hashes) {
    paths.next() += fmt::format(R"("{0}":{{"serverRelativeURL":"/openapi/v3/{0}?hash={1:016X}"}})", path, hash);
  }
  return out + "}}";
}

std::string openapi_v3_json(std::string_view path) {
  Document document(Version::v3);
  bool served = false;
  for (const Resource& resource : resources()) {
    if (v3_path(resource) != path) continue;
    document.add(resource);
    served |= !resource.plural.empty();
  }
  return served ? document.write() : std::string();
}

}  // namespace keelson::api
