#include "master/apiserver/apiserver.h"

#include <fmt/core.h>

#include <map>

#include "master/apiserver/call.h"
#include "master/apiserver/host_contents.h"
#include "master/apiserver/plan.h"
#include "master/apiserver/reading.h"
#include "master/apiserver/status.h"
#include "master/apiserver/view.h"
#include "master/apiserver/writing.h"

namespace keelson::apiserver {

namespace {

// As Kubernetes' RBAC says no.
api::Status refused(const User& user, const Attributes& attributes, const std::string& reason) {
  const std::string why = reason.empty() ? "" : ": " + reason;
  if (!attributes.is_resource) {
    return failure(403, "Forbidden",
                   fmt::format("forbidden: User \"{}\" cannot {} path \"{}\"{}", user.name, attributes.verb,
                               attributes.path, why));
  }
  std::string resource = attributes.resource;
  if (!attributes.subresource.empty()) resource += "/" + attributes.subresource;
  const bool cluster = attributes.namespace_.empty() || (attributes.kind != nullptr && !attributes.kind->namespaced);
  const std::string where =
      cluster ? "at the cluster scope" : fmt::format("in the namespace \"{}\"", attributes.namespace_);
  return forbidden({attributes.group, attributes.resource, attributes.name},
                   fmt::format("User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {}{}", user.name,
                               attributes.verb, resource, attributes.group, where, why));
}

bool reads(const std::string& method) { return method == "GET" || method == "HEAD"; }

}  // namespace

struct ApiServer::Impl {
  Impl(host::Loop& loop, Store& store, host::Metrics& metrics, Access access, ApiServerOptions given)
      : loop(loop),
        store(store),
        access(access),
        options(given),
        journal(metrics),
        registry(loop, store, options.registry, access.admission),
        reading(store),
        writing(registry, reading, store),
        contents(store) {
    metrics.on_render([this, &metrics] {
      for (const auto& [resource, hub] : hubs) {
        metrics
            .gauge("apiserver_longrunning_requests", "Watches under way.",
                   {{"verb", "watch"}, {"resource", std::string(resource->plural)}})
            .set(static_cast<double>(hub->watchers()));
      }
    });
  }

  void dispatch(CallPtr call);
  void on_collection(CallPtr call);
  void on_object(CallPtr call);
  void on_subresource(CallPtr call);
  void watch(CallPtr call);
  void begin_watch(const CallPtr& call, const ListOptions& asked, const View& view);
  size_t watches() const;
  WatchHub& hub(const api::Resource& resource);

  host::Loop& loop;
  Store& store;
  const Access access;
  const ApiServerOptions options;
  Journal journal;
  Registry registry;
  Reading reading;
  Writing writing;
  HostContents contents;
  std::vector<Extension*> extensions;
  std::shared_ptr<size_t> writes = std::make_shared<size_t>(0);  // under way; shared with them
  std::map<const api::Resource*, std::unique_ptr<WatchHub>> hubs;
};

std::expected<size_t, http::Answer> ApiServer::admit(const http::Request& head) {
  const Attributes attributes = attributes_of(head);
  const auto user = impl_->access.authenticator.authenticate(head);
  if (!user) {
    impl_->journal.record(nullptr, attributes, head, 401, {});
    return std::unexpected(answer_of(unauthorized()));
  }
  for (const Extension* extension : impl_->extensions) {
    if (extension->serves(head, attributes)) return extension->body_limit(attributes);
  }
  return reads(head.method) ? 0 : impl_->options.body_limit;
}

void ApiServer::handle(http::Request request, http::Exchange exchange) {
  auto user = impl_->access.authenticator.authenticate(request);
  auto call = std::make_shared<Call>(Call{.user = user ? std::move(*user) : User{},
                                          .attributes = attributes_of(request),
                                          .request = std::move(request),
                                          .exchange = std::move(exchange),
                                          .began = host::Clock::now(),
                                          .journal = &impl_->journal,
                                          .warnings = {},
                                          .name = {},
                                          .place = nullptr});
  if (!user) return call->fail(unauthorized());  // since the header came
  const Decision decision = impl_->access.authorizer.authorize(call->user, call->attributes);
  if (!decision.allowed) return call->fail(refused(call->user, call->attributes, decision.reason));
  for (Extension* extension : impl_->extensions) {
    if (extension->serves(call->request, call->attributes)) return extension->handle(std::move(call));
  }
  impl_->dispatch(std::move(call));
}

http::Answer ApiServer::refusal(int status, const std::string& message) {
  switch (status) {
    case 413:
      return answer_of(too_large("Request entity too large: limit is 3145728"));
    case 400:
      return answer_of(bad_request(message));
    default:
      return answer_of(failure(status, api::status_reason(status), message));
  }
}

void ApiServer::Impl::dispatch(CallPtr call) {
  const Attributes& asked = call->attributes;
  const api::Resource* kind = asked.kind;
  if (!asked.is_resource || kind == nullptr || !asked.rest.empty()) return call->fail(no_such_path());
  const bool binding = kind == &api::resource_of<api::Binding>();
  if (!Planner::stored(*kind).stored && !binding) return call->fail(method_not_allowed());
  if (!asked.read_only()) {
    if (*writes >= options.max_writes) return call->fail(too_many_requests());
    ++*writes;
    call->place = std::shared_ptr<void>(nullptr, [count = writes](void*) { --*count; });
  }
  if (binding) {
    const bool fits = asked.verb == "create" && asked.name.empty() && !asked.namespace_.empty();
    return fits ? writing.bind(std::move(call)) : call->fail(method_not_allowed());
  }
  // An object of a kind with namespaces is in one; one without is not.
  if (kind->namespaced ? asked.namespace_.empty() && !asked.name.empty() && !asked.read_only()
                       : !asked.namespace_.empty() && kind != &api::resource_of<api::Namespace>()) {
    return call->fail(no_such_path());
  }
  if (!asked.subresource.empty()) return on_subresource(std::move(call));
  if (asked.verb == "watch") return watch(std::move(call));
  const bool collection = asked.verb == "list" || asked.verb == "create" || asked.verb == "deletecollection";
  return collection ? on_collection(std::move(call)) : on_object(std::move(call));
}

void ApiServer::Impl::on_collection(CallPtr call) {
  const Attributes& asked = call->attributes;
  if (asked.verb == "list") return reading.list(std::move(call));
  const bool in_place = asked.kind->namespaced ? !asked.namespace_.empty() : true;
  if (!in_place) return call->fail(method_not_allowed());
  if (asked.verb == "create") {
    if (!asked.name.empty()) return call->fail(method_not_allowed());
    return writing.create(std::move(call));
  }
  if (asked.kind == &api::resource_of<api::Namespace>()) return call->fail(method_not_allowed());
  writing.remove_collection(std::move(call));
}

void ApiServer::Impl::on_object(CallPtr call) {
  const Attributes& asked = call->attributes;
  if (asked.name.empty()) return call->fail(method_not_allowed());
  if (asked.kind->namespaced && asked.namespace_.empty()) return call->fail(no_such_path());
  if (asked.verb == "get") return reading.get(std::move(call));
  if (asked.verb == "update") return writing.update(std::move(call));
  if (asked.verb == "patch") return writing.patch(std::move(call));
  if (asked.verb == "delete") return writing.remove(std::move(call));
  call->fail(method_not_allowed());
}

void ApiServer::Impl::on_subresource(CallPtr call) {
  const Attributes& asked = call->attributes;
  const bool pod = asked.kind == &api::resource_of<api::Pod>();
  if (asked.subresource == "status" && asked.kind->has_status) return on_object(std::move(call));
  if (asked.subresource == "finalize" && asked.kind == &api::resource_of<api::Namespace>()) {
    return asked.verb == "update" ? writing.update(std::move(call)) : call->fail(method_not_allowed());
  }
  if (asked.subresource == "scale" && asked.kind == &api::resource_of<api::ReplicationController>()) {
    if (asked.verb == "get") return writing.get_scale(std::move(call));
    if (asked.verb == "update") return writing.update_scale(std::move(call));
    if (asked.verb == "patch") return writing.patch_scale(std::move(call));
    return call->fail(method_not_allowed());
  }
  if (pod && asked.subresource == "binding") {
    return asked.verb == "create" ? writing.bind(std::move(call)) : call->fail(method_not_allowed());
  }
  if (pod && asked.subresource == "eviction") {
    return asked.verb == "create" ? writing.evict(std::move(call)) : call->fail(method_not_allowed());
  }
  call->fail(no_such_path());
}

// ---- watches -------------------------------------------------------------------------------

size_t ApiServer::Impl::watches() const {
  size_t all = 0;
  for (const auto& [resource, hub] : hubs) all += hub->watchers();
  return all;
}

WatchHub& ApiServer::Impl::hub(const api::Resource& resource) {
  auto& hub = hubs[&resource];
  if (!hub) hub = std::make_unique<WatchHub>(loop, store, resource, options.watch);
  return *hub;
}

void ApiServer::Impl::watch(CallPtr call) {
  auto options = parse_list_options(call->attributes, call->request);
  if (!options) return call->fail(options.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  if (watches() >= this->options.max_watches) return call->fail(too_many_requests());
  const auto resource_version = options->resource_version;
  reading.when_new_enough(
      std::move(call), resource_version,
      [this, asked = std::move(*options), view = *view](const CallPtr& call) { begin_watch(call, asked, view); });
}

void ApiServer::Impl::begin_watch(const CallPtr& call, const ListOptions& asked, const View& view) {
  const api::Resource& resource = Planner::stored(*call->attributes.kind);
  const int64_t from = asked.resource_version.value_or(0);
  const bool from_state = asked.send_initial_events.value_or(from == 0);
  const int64_t after = from_state || from == 0 ? store.revision() : from;
  http::Answer head{.body = {}, .headers = {}};
  if (!from_state && after < store.kind(resource).history_start()) {
    // Told within the stream, as clients expect it of a watch.
    head.body = error_event(
        expired(fmt::format("too old resource version: {} ({})", after, store.kind(resource).history_start())));
    http::Stream stream = call->stream(std::move(head));
    return stream.end();
  }
  std::vector<VersionPtr> initial;
  if (from_state) initial = reading.select(resource, asked.selection);
  hub(resource).add(asked, view, std::move(initial), after, call->stream(std::move(head)));
}

// ---- the rest --------------------------------------------------------------------------------

ApiServer::ApiServer(host::Loop& loop, Store& store, host::Metrics& metrics, Access access, ApiServerOptions options)
    : impl_(std::make_unique<Impl>(loop, store, metrics, access, options)) {}
ApiServer::~ApiServer() = default;

void ApiServer::add(Extension& extension) { impl_->extensions.push_back(&extension); }
Registry& ApiServer::registry() { return impl_->registry; }

}  // namespace keelson::apiserver
