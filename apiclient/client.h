#pragma once
// The client of the Kubernetes API: requests as objects, answers as objects or Failures.
// Connections are kept alive and shared (http/pool.h); nothing is repeated behind the
// caller's back but what the server certainly has not read. Loop's thread only.
//
//   client->get<api::Node>("", name, [](Outcome<api::Node> node) { … }).detach();
//
// Each call returns a handle: destroying it cancels, and the callback never runs; detach()
// lets it run to its end, which then must not outlive what the callback uses. Callbacks
// run later. Destroying the Client cancels all.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/resource.h"
#include "apiclient/failure.h"
#include "apiclient/kubeconfig.h"
#include "host/loop.h"
#include "http/pool.h"

namespace keelson::apiclient {

using http::Call;
template <typename T>
using Done = std::move_only_function<void(Outcome<T>)>;

// "/api/v1/namespaces/default/pods/web/status". An empty namespace: of all; an empty name: the collection.
std::string path_of(const api::Resource& resource, std::string_view namespace_, std::string_view name = {},
                    std::string_view subresource = {});

struct ApiRequest {
  std::string method = "GET";
  std::string path;  // path_of()
  http::Query query;
  std::string body;
  std::string content_type = "application/json";  // of the body
  std::string accept = "application/json";
  host::Duration timeout = std::chrono::seconds(30);  // of a stream: to its head
  size_t body_limit = 64u << 20;
};

struct WriteOptions {
  std::string subresource;    // "status", "scale"
  std::string field_manager;  // the user agent when empty
  bool dry_run = false;
  bool force = false;  // of an apply: take over others' fields
};

struct RemoveOptions {
  std::optional<int64_t> grace_period_seconds;
  std::string propagation_policy;     // "Background", "Foreground", "Orphan"
  std::string uid, resource_version;  // only if it still is this one (409 Conflict otherwise)
  bool operator==(const RemoveOptions&) const = default;
};

struct ListOptions {
  std::string label_selector, field_selector;
  std::string resource_version;
  int limit = 0;          // 0: all in one answer
  std::string continue_;  // a page's; it brings the version along
};
http::Query list_query(const ListOptions& options);

struct ObjectList {
  api::ListMeta metadata;
  std::vector<api::AnyObject> items;
};

inline constexpr size_t kMostList = 1u << 30;  // bytes of one answer

enum class PatchType { merge, strategic, json, apply };

class Client {
 public:
  struct Impl;
  // Invalid: server or certificates. Connects to nobody yet.
  static host::Result<std::unique_ptr<Client>> create(host::Loop& loop, Config config, size_t max_connections = 32);
  ~Client();

  // ---- objects of any kind. The namespace of a cluster-wide kind is ignored.

  [[nodiscard]] Call get(const api::Resource& resource, const std::string& namespace_, const std::string& name,
                         Done<api::AnyObject> done);
  [[nodiscard]] Call list(const api::Resource& resource, const std::string& namespace_, const ListOptions& options,
                          Done<ObjectList> done);
  // Kind, namespace and name are the object's own.
  [[nodiscard]] Call create(const api::AnyObject& object, const WriteOptions& options, Done<api::AnyObject> done);
  [[nodiscard]] Call update(const api::AnyObject& object, const WriteOptions& options, Done<api::AnyObject> done);
  // Of the subresource scale the answer is read as what it is: use request() there.
  [[nodiscard]] Call patch(const api::Resource& resource, const std::string& namespace_, const std::string& name,
                           PatchType type, std::string body, const WriteOptions& options, Done<api::AnyObject> done);
  // Success: it is gone, or going (finalizers, grace).
  [[nodiscard]] Call remove(const api::Resource& resource, const std::string& namespace_, const std::string& name,
                            const RemoveOptions& options, Done<void> done);

  // ---- the same for one kind, by its struct

  template <typename T>
  [[nodiscard]] Call get(const std::string& namespace_, const std::string& name, Done<T> done) {
    return get(api::resource_of<T>(), namespace_, name, typed<T>(std::move(done)));
  }
  template <typename T>
  [[nodiscard]] Call create(const T& object, const WriteOptions& options, Done<T> done) {
    return create(api::AnyObject(object), options, typed<T>(std::move(done)));
  }
  template <typename T>
  [[nodiscard]] Call update(const T& object, const WriteOptions& options, Done<T> done) {
    return update(api::AnyObject(object), options, typed<T>(std::move(done)));
  }
  template <typename T>
  [[nodiscard]] Call patch(const std::string& namespace_, const std::string& name, PatchType type, std::string body,
                           const WriteOptions& options, Done<T> done) {
    return patch(api::resource_of<T>(), namespace_, name, type, std::move(body), options, typed<T>(std::move(done)));
  }
  template <typename T>
  [[nodiscard]] Call remove(const std::string& namespace_, const std::string& name, const RemoveOptions& options,
                            Done<void> done) {
    return remove(api::resource_of<T>(), namespace_, name, options, std::move(done));
  }

  // ---- anything else: bindings, evictions, scale, logs, /healthz

  // The body of a 2xx answer.
  [[nodiscard]] Call request(ApiRequest request, Done<std::string> done);
  // As it comes, whatever its status: handlers.head tells.
  [[nodiscard]] Call stream(ApiRequest request, http::StreamHandlers handlers);

  host::Loop& loop() const;
  const Config& config() const;

 private:
  explicit Client(std::shared_ptr<Impl> impl);
  template <typename T>
  static Done<api::AnyObject> typed(Done<T> done) {
    return [done = std::move(done)](Outcome<api::AnyObject> outcome) mutable {
      if (!outcome) return done(std::unexpected(std::move(outcome.error())));
      done(std::move(*outcome->template get_if<T>()));
    };
  }
  std::shared_ptr<Impl> impl_;  // shared with a token file being read
};

}  // namespace keelson::apiclient
