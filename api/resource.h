#pragma once
// Every kind that the API server knows, its names as data; and an object of any of them.
//
// The table is constant; reading it is safe on every thread. An AnyObject is a
// value: it owns its struct, and copying copies it.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/account.h"
#include "api/codec.h"
#include "api/config.h"
#include "api/endpoint_slice.h"
#include "api/event.h"
#include "api/findings.h"
#include "api/lease.h"
#include "api/namespace.h"
#include "api/node.h"
#include "api/pod.h"
#include "api/replication.h"
#include "api/request.h"
#include "api/schema.h"
#include "api/service.h"
#include "api/tree.h"

namespace keelson::api {

// What one kind is called, and what can be done with its struct.
struct Resource {
  std::string_view group;  // "" is core
  std::string_view version;
  std::string_view api_version;  // "v1", "discovery.k8s.io/v1"
  std::string_view kind;
  std::string_view plural;  // "" of what is only posted to a subresource or sent along (Binding, DeleteOptions)
  std::string_view singular;
  std::span<const std::string_view> short_names;
  std::span<const std::string_view> categories;
  bool namespaced = false;
  bool stored = false;      // has a place in etcd of its own; EventsEvent is a view of Event
  bool has_status = false;  // a status subresource

  const Type& (*type)() = nullptr;
  void* (*make)() = nullptr;
  void* (*copy)(const void* object) = nullptr;
  void (*drop)(void* object) = nullptr;
  bool (*equal)(const void* left, const void* right) = nullptr;
  ObjectMeta* (*metadata)(void* object) = nullptr;  // null of a kind without (DeleteOptions)

  std::string definition() const;  // "io.k8s.api.core.v1.Pod"
  std::string path() const;        // "/api/v1", "/apis/discovery.k8s.io/v1"
};

// All of them: those with a plural in the order in which discovery tells them.
std::span<const Resource> resources();
// By the path of a request; null when there is none.
const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural);
// By what an object says of itself.
const Resource* find_kind(std::string_view api_version, std::string_view kind);
template <typename T>
const Resource& resource_of() {
  static const Resource* const resource = find_kind(T::kApiVersion, T::kKind);  // a constant, looked up once
  return *resource;
}

class AnyObject {
 public:
  explicit AnyObject(const Resource& resource) : resource_(&resource), data_(resource.make()) {}
  template <typename T>
    requires requires { T::kApiVersion; }
  AnyObject(T object)  // NOLINT(google-explicit-constructor): an object is an object
      : resource_(&resource_of<T>()), data_(new T(std::move(object))) {}
  AnyObject(const AnyObject& other) : resource_(other.resource_), data_(resource_->copy(other.data_)) {}
  AnyObject(AnyObject&& other) noexcept : resource_(other.resource_), data_(std::exchange(other.data_, nullptr)) {}
  AnyObject& operator=(AnyObject other) noexcept {
    std::swap(resource_, other.resource_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~AnyObject() {
    if (data_ != nullptr) resource_->drop(data_);
  }

  const Resource& resource() const { return *resource_; }
  void* data() { return data_; }
  const void* data() const { return data_; }

  template <typename T>
  T* get_if() {
    return resource_ == &resource_of<T>() ? static_cast<T*>(data_) : nullptr;
  }
  template <typename T>
  const T* get_if() const {
    return resource_ == &resource_of<T>() ? static_cast<const T*>(data_) : nullptr;
  }
  // Of a kind that has metadata: all but DeleteOptions.
  ObjectMeta& metadata() { return *resource_->metadata(data_); }
  const ObjectMeta& metadata() const { return *resource_->metadata(data_); }

  bool operator==(const AnyObject& other) const {
    return resource_ == other.resource_ && resource_->equal(data_, other.data_);
  }

 private:
  const Resource* resource_;
  void* data_;
};

// --- The codec of any kind ---

struct TypeMeta {
  std::string api_version;
  std::string kind;
};

struct ReadObject {
  AnyObject object;
  // `unknown field "spec.x"`, `duplicate field "spec.y"`: errors under fieldValidation=Strict,
  // warnings under Warn.
  std::vector<std::string> strict;
};

// The kind that the text says it is is the caller's to check (type_meta_of). Errors
// are in Kubernetes' words, without its prefix.
host::Result<ReadObject> read_object(const Resource& resource, const Value& root);
host::Result<ReadObject> read_json_object(const Resource& resource, std::string_view text);
host::Result<ReadObject> read_yaml_object(const Resource& resource, std::string_view text);
host::Result<ReadObject> read_protobuf_object(const Resource& resource, std::string_view bytes);
TypeMeta type_meta_of(const Value& root);
std::optional<TypeMeta> type_meta_of_protobuf(std::string_view bytes);  // nothing: not in the envelope

// One line; kind and apiVersion first.
std::string encode_json(const AnyObject& object);
void append_json(std::string& out, const AnyObject& object);
std::string encode_protobuf(const AnyObject& object);

// {"kind":"PodList","apiVersion":"v1","metadata":{…},"items":[ — the items, with
// commas between, and "]}" are the caller's. The items of Kubernetes' own lists are
// without kind and apiVersion; append_json_item() writes one so.
void append_json_list_head(std::string& out, const Resource& resource, const ListMeta& metadata);
void append_json_item(std::string& out, const AnyObject& object);
// {"type":"ADDED","object":…}\n with the object's JSON given.
void append_watch_event(std::string& out, std::string_view type, std::string_view object);

// A list that a server sent, for clients.
template <typename T>
struct ListOf {
  ListMeta metadata;
  std::vector<T> items;
};
template <typename T>
host::Result<ListOf<T>> decode_json_list(std::string_view text);  // every stored kind

// The struct's fields with commas before all but the first behind a '{', without braces.
void append_json_fields(std::string& out, const Type& type, const void* object);
host::Result<void> decode_protobuf(const Type& type, std::string_view kind, std::string_view api_version,
                                   std::string_view bytes, void* object);
std::string encode_protobuf(const Type& type, std::string_view kind, std::string_view api_version, const void* object);

// --- Defaults and validation of any kind ---

// What Kubernetes fills in when it reads one. Idempotent. The namespace is the
// request's to give.
void set_defaults(AnyObject& object);
// What it makes of a new one: a fresh status, generation 1, a Pod's tolerations and
// priority, a Node's not-ready taint, a Namespace's finalizer.
void prepare_create(AnyObject& object);
// What an update may not bring along: the status (by the main resource), all but the
// status (by the status subresource), what is left out but never changes (uid,
// clusterIP, node ports). The generation rises with the spec.
void prepare_update(AnyObject& next, const AnyObject& current);
void prepare_status_update(AnyObject& next, const AnyObject& current);

// In Kubernetes' words; empty when valid. Defaults are set.
std::vector<FieldError> validate_create(const AnyObject& object);
// What may not change, and the object itself. Behind prepare_update().
std::vector<FieldError> validate_update(const AnyObject& next, const AnyObject& current);
std::vector<FieldError> validate_status_update(const AnyObject& next, const AnyObject& current);

// 422 with `Kind "name" is invalid: …`, causes and all.
Status invalid_status(const Resource& resource, std::string_view name, const std::vector<FieldError>& errors);

// One object, two views.
Event to_core(const EventsEvent& event);
EventsEvent to_events(const Event& event);

}  // namespace keelson::api
