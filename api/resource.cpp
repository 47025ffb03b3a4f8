#include "api/resource.h"

#include <fmt/core.h>

#include <algorithm>

#include "api/decode.h"

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

template <typename T>
constexpr Resource describe(std::string_view plural, std::string_view singular) {
  Resource resource;
  resource.api_version = T::kApiVersion;
  const size_t slash = T::kApiVersion.find('/');
  if (slash != std::string_view::npos) resource.group = T::kApiVersion.substr(0, slash);
  resource.version = slash == std::string_view::npos ? T::kApiVersion : T::kApiVersion.substr(slash + 1);
  resource.kind = T::kKind;
  resource.plural = plural;
  resource.singular = singular;
  resource.type = &type_of<T>;
  resource.make = []() -> void* { return new T; };
  resource.copy = [](const void* object) -> void* { return new T(*static_cast<const T*>(object)); };
  resource.drop = [](void* object) { delete static_cast<T*>(object); };
  resource.equal = [](const void* left, const void* right) {
    return *static_cast<const T*>(left) == *static_cast<const T*>(right);
  };
  if constexpr (requires(T object) { object.metadata.name; }) {
    resource.metadata = [](void* object) { return &static_cast<T*>(object)->metadata; };
  }
  return resource;
}

enum : unsigned { kNamespaced = 1, kStatus = 2, kStored = 4 };

template <typename T>
constexpr Resource served(std::string_view plural, std::string_view singular, unsigned traits,
                          std::span<const std::string_view> short_names = {},
                          std::span<const std::string_view> categories = {}) {
  Resource resource = describe<T>(plural, singular);
  resource.namespaced = (traits & kNamespaced) != 0;
  resource.has_status = (traits & kStatus) != 0;
  resource.stored = (traits & kStored) != 0;
  resource.short_names = short_names;
  resource.categories = categories;
  return resource;
}

constexpr std::string_view kAll[] = {"all"};
constexpr std::string_view kCm[] = {"cm"};
constexpr std::string_view kEp[] = {"ep"};
constexpr std::string_view kEv[] = {"ev"};
constexpr std::string_view kNs[] = {"ns"};
constexpr std::string_view kNo[] = {"no"};
constexpr std::string_view kPo[] = {"po"};
constexpr std::string_view kRc[] = {"rc"};
constexpr std::string_view kSa[] = {"sa"};
constexpr std::string_view kSvc[] = {"svc"};

constexpr Resource kResources[] = {
    served<ConfigMap>("configmaps", "configmap", kNamespaced | kStored, kCm),
    served<Endpoints>("endpoints", "endpoints", kNamespaced | kStored, kEp),
    served<Event>("events", "event", kNamespaced | kStored, kEv),
    served<Namespace>("namespaces", "namespace", kStored | kStatus, kNs),
    served<Node>("nodes", "node", kStored | kStatus, kNo),
    served<Pod>("pods", "pod", kNamespaced | kStored | kStatus, kPo, kAll),
    served<ReplicationController>("replicationcontrollers", "replicationcontroller", kNamespaced | kStored | kStatus,
                                  kRc, kAll),
    served<Secret>("secrets", "secret", kNamespaced | kStored),
    served<ServiceAccount>("serviceaccounts", "serviceaccount", kNamespaced | kStored, kSa),
    served<Service>("services", "service", kNamespaced | kStored | kStatus, kSvc, kAll),
    served<Lease>("leases", "lease", kNamespaced | kStored),
    served<EndpointSlice>("endpointslices", "endpointslice", kNamespaced | kStored),
    served<EventsEvent>("events", "event", kNamespaced, kEv),
    served<SelfSubjectReview>("selfsubjectreviews", "selfsubjectreview", 0),
    served<SelfSubjectAccessReview>("selfsubjectaccessreviews", "selfsubjectaccessreview", 0),
    served<SelfSubjectRulesReview>("selfsubjectrulesreviews", "selfsubjectrulesreview", 0),
    // Posted to a subresource (bindings is a resource too, in Kubernetes' discovery), or sent along.
    served<Binding>("bindings", "binding", kNamespaced),
    describe<Eviction>("", ""),
    describe<Scale>("", ""),
    describe<TokenRequest>("", ""),
    describe<DeleteOptions>("", ""),
};

Result<ReadObject> syntax_error(int line, std::string_view message) {
  return fail(Error::Code::invalid, fmt::format("line {}: {}", line, message));
}

}  // namespace

std::string Resource::definition() const {
  const std::string_view package = type().package;
  return fmt::format("io.k8s.{}{}.{}", package.starts_with("apis.meta") ? "apimachinery.pkg." : "api.", package,
                     type().name);
}

std::string Resource::path() const { return group.empty() ? "/api/v1" : fmt::format("/apis/{}", api_version); }

std::span<const Resource> resources() { return kResources; }

const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  if (plural.empty()) return nullptr;
  const auto* found = std::find_if(std::begin(kResources), std::end(kResources), [&](const Resource& r) {
    return r.plural == plural && r.group == group && r.version == version;
  });
  return found == std::end(kResources) ? nullptr : found;
}

const Resource* find_kind(std::string_view api_version, std::string_view kind) {
  const auto* found = std::find_if(std::begin(kResources), std::end(kResources),
                                   [&](const Resource& r) { return r.kind == kind && r.api_version == api_version; });
  return found == std::end(kResources) ? nullptr : found;
}

Result<ReadObject> read_object(const Resource& resource, const Value& root) {
  if (root.kind != Value::Kind::object) return syntax_error(root.line, "not an object");
  ReadObject read{.object = AnyObject(resource), .strict = {}};
  Remarks remarks;
  remarks.last_duplicate_wins = true;
  decode(resource.type(), root, read.object.data(), remarks);
  if (!remarks.errors.empty()) {
    const Remark& first = remarks.errors.front();
    return fail(Error::Code::invalid,
                first.field.empty() ? first.message : fmt::format("{}: {}", first.field, first.message));
  }
  for (Remark& remark : remarks.unknown) read.strict.push_back(std::move(remark.message));
  return read;
}

Result<ReadObject> read_json_object(const Resource& resource, std::string_view text) {
  Tree tree;
  size_t used = 0;
  auto root = read_json(text, tree, 1, used);
  if (!root) return syntax_error(root.error().line, root.error().message);
  if (text.find_first_not_of(" \t\r\n", used) != std::string_view::npos) {
    return syntax_error((*root)->line, "more text behind the object");
  }
  return read_object(resource, **root);
}

Result<ReadObject> read_yaml_object(const Resource& resource, std::string_view text) {
  if (!is_utf8(text) || text.find('\0') != std::string_view::npos) return syntax_error(1, "not a text");
  Tree tree;
  std::vector<const Value*> documents;
  if (auto read = read_yaml(text, tree, 1, documents); !read) {
    return syntax_error(read.error().line, read.error().message);
  }
  if (documents.size() != 1) return syntax_error(1, fmt::format("{} documents, not one", documents.size()));
  return read_object(resource, *documents.front());
}

Result<ReadObject> read_protobuf_object(const Resource& resource, std::string_view bytes) {
  ReadObject read{.object = AnyObject(resource), .strict = {}};
  auto decoded = decode_protobuf(resource.type(), resource.kind, resource.api_version, bytes, read.object.data());
  if (!decoded) return std::unexpected(std::move(decoded.error()));
  return read;
}

TypeMeta type_meta_of(const Value& root) {
  return {std::string(root.string("apiVersion")), std::string(root.string("kind"))};
}

void append_json(std::string& out, const AnyObject& object) {
  const Resource& resource = object.resource();
  out += R"({"kind":")";
  out += resource.kind;
  out += R"(","apiVersion":")";
  out += resource.api_version;
  out += '"';
  append_json_fields(out, resource.type(), object.data());
  out += '}';
}

std::string encode_json(const AnyObject& object) {
  std::string out;
  out.reserve(1024);
  append_json(out, object);
  return out;
}

std::string encode_protobuf(const AnyObject& object) {
  const Resource& resource = object.resource();
  return encode_protobuf(resource.type(), resource.kind, resource.api_version, object.data());
}

void append_json_list_head(std::string& out, const Resource& resource, const ListMeta& metadata) {
  out += fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{{)", resource.kind, resource.api_version);
  append_json_fields(out, type_of<ListMeta>(), &metadata);
  out += R"(},"items":[)";
}

void append_json_item(std::string& out, const AnyObject& object) {
  out += '{';
  append_json_fields(out, object.resource().type(), object.data());
  out += '}';
}

void append_watch_event(std::string& out, std::string_view type, std::string_view object) {
  out += R"({"type":")";
  out += type;
  out += R"(","object":)";
  out += object;
  out += "}\n";
}

template <typename T>
Result<ListOf<T>> decode_json_list(std::string_view text) {
  const auto invalid = [](int line, std::string_view message) {
    return fail(Error::Code::invalid, fmt::format("invalid {}List: line {}: {}", T::kKind, line, message));
  };
  Tree tree;
  size_t used = 0;
  auto root = read_json(text, tree, 1, used);
  if (!root) return invalid(root.error().line, root.error().message);
  const std::string_view kind = (*root)->string("kind");
  if (kind != fmt::format("{}List", T::kKind)) return invalid((*root)->line, fmt::format("it is \"{}\"", kind));
  ListOf<T> list;
  Remarks remarks;
  if (const Value* metadata = (*root)->find("metadata")) {
    decode(type_of<ListMeta>(), *metadata, &list.metadata, remarks);
  }
  const Value* items = (*root)->find("items");
  if (items != nullptr && items->kind == Value::Kind::list) {
    list.items.resize(items->members.size());
    for (size_t i = 0; i < list.items.size() && remarks.errors.empty(); ++i) {
      decode(type_of<T>(), *items->members[i].value, &list.items[i], remarks);
    }
  }
  if (!remarks.errors.empty()) {
    const Remark& first = remarks.errors.front();
    return invalid(first.line, fmt::format("{}: {}", first.field, first.message));
  }
  return list;
}

template Result<ListOf<Pod>> decode_json_list(std::string_view);
template Result<ListOf<Service>> decode_json_list(std::string_view);
template Result<ListOf<Endpoints>> decode_json_list(std::string_view);
template Result<ListOf<ConfigMap>> decode_json_list(std::string_view);
template Result<ListOf<Secret>> decode_json_list(std::string_view);
template Result<ListOf<Node>> decode_json_list(std::string_view);
template Result<ListOf<ReplicationController>> decode_json_list(std::string_view);
template Result<ListOf<Namespace>> decode_json_list(std::string_view);
template Result<ListOf<Event>> decode_json_list(std::string_view);
template Result<ListOf<EndpointSlice>> decode_json_list(std::string_view);
template Result<ListOf<Lease>> decode_json_list(std::string_view);
template Result<ListOf<ServiceAccount>> decode_json_list(std::string_view);

Event to_core(const EventsEvent& event) {
  Event core;
  core.metadata = event.metadata;
  core.involved_object = event.regarding;
  core.reason = event.reason;
  core.message = event.note;
  core.source = event.deprecated_source;
  core.first_timestamp = event.deprecated_first_timestamp;
  core.last_timestamp = event.deprecated_last_timestamp;
  core.count = event.deprecated_count;
  core.type = event.type;
  if (event.event_time != MicroTime{}) core.event_time = event.event_time;
  if (event.series) core.series = EventSeries{event.series->count, event.series->last_observed_time};
  core.action = event.action;
  core.related = event.related;
  core.reporting_component = event.reporting_controller;
  core.reporting_instance = event.reporting_instance;
  return core;
}

EventsEvent to_events(const Event& event) {
  EventsEvent view;
  view.metadata = event.metadata;
  view.event_time = event.event_time.value_or(MicroTime{});
  if (event.series) {
    view.series =
        EventsEventSeries{event.series->count.value_or(0), event.series->last_observed_time.value_or(MicroTime{})};
  }
  view.reporting_controller = event.reporting_component;
  view.reporting_instance = event.reporting_instance;
  view.action = event.action;
  view.reason = event.reason;
  view.regarding = event.involved_object;
  view.related = event.related;
  view.note = event.message;
  view.type = event.type;
  view.deprecated_source = event.source;
  view.deprecated_first_timestamp = event.first_timestamp;
  view.deprecated_last_timestamp = event.last_timestamp;
  view.deprecated_count = event.count;
  return view;
}

}  // namespace keelson::api
