#include "apiclient/client.h"

#include <fmt/format.h>

#include "apiclient/list_reader.h"
#include "host/file.h"
#include "host/log.h"

namespace keelson::apiclient {

namespace {

constexpr auto kTokenRefresh = std::chrono::minutes(1);
constexpr size_t kTokenLimit = 64u << 10;

std::string_view content_type_of(PatchType type) {
  switch (type) {
    case PatchType::merge:
      return "application/merge-patch+json";
    case PatchType::strategic:
      return "application/strategic-merge-patch+json";
    case PatchType::json:
      return "application/json-patch+json";
    case PatchType::apply:
      return "application/apply-patch+yaml";
  }
  return "";
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

Failure unreadable(const std::string& request, const host::Error& error) {
  return failure_of(host::Error{.code = host::Error::Code::invalid,
                                .message = fmt::format("{}: the answer: {}", request, error.message)});
}

// Many per second: no tree is made for the kind, which the request has fixed.
Done<std::string> reads_object(const api::Resource& resource, std::string request, Done<api::AnyObject> done) {
  return [&resource, request = std::move(request), done = std::move(done)](Outcome<std::string> body) mutable {
    if (!body) return done(std::unexpected(std::move(body.error())));
    auto read = api::read_json_object(resource, *body);
    if (!read) return done(std::unexpected(unreadable(request, read.error())));
    done(std::move(read->object));
  };
}

http::Query write_query(const Config& config, const WriteOptions& options) {
  http::Query query;
  query.add("fieldManager", options.field_manager.empty() ? config.user_agent : options.field_manager);
  if (options.dry_run) query.add("dryRun", "All");
  if (options.force) query.add("force", "true");
  return query;
}

}  // namespace

std::string path_of(const api::Resource& resource, std::string_view namespace_, std::string_view name,
                    std::string_view subresource) {
  std::string path = resource.path();
  if (resource.namespaced && !namespace_.empty()) {
    path.append("/namespaces/").append(http::percent_encode(namespace_));
  }
  path.append("/").append(resource.plural);
  if (!name.empty()) path.append("/").append(http::percent_encode(name));
  if (!subresource.empty()) path.append("/").append(subresource);
  return path;
}

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(host::Loop& on_loop, Config client_config) : loop(on_loop), config(std::move(client_config)) {}

  http::PoolRequest translate(ApiRequest request) const;
  void refresh_token();

  host::Loop& loop;
  Config config;
  std::string bearer;
  std::unique_ptr<http::Pool> pool;
  host::Timer token_timer;
};

http::PoolRequest Client::Impl::translate(ApiRequest request) const {
  http::PoolRequest out{.method = std::move(request.method),
                        .target = std::move(request.path),
                        .headers = {},
                        .body = std::move(request.body),
                        .timeout = request.timeout,
                        .body_limit = request.body_limit};
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    out.target.append(1, separator).append(name).append("=").append(http::percent_encode(value));
    separator = '&';
  }
  out.headers.add("User-Agent", config.user_agent);
  out.headers.add("Accept", std::move(request.accept));
  if (!out.body.empty()) out.headers.add("Content-Type", std::move(request.content_type));
  if (!bearer.empty()) out.headers.add("Authorization", "Bearer " + bearer);
  return out;
}

void Client::Impl::refresh_token() {
  token_timer = loop.after(kTokenRefresh, [this] {
    loop.offload([path = config.token_file] { return host::read_file(path, kTokenLimit); },
                 [weak = weak_from_this()](host::Result<std::string> text) {
                   const auto self = weak.lock();
                   if (!self) return;
                   if (text) {
                     self->bearer = trimmed(std::move(*text));
                   } else {
                     host::log_warning("apiclient: {}; the token read before stays", text.error().message);
                   }
                   self->refresh_token();
                 });
  });
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

host::Result<std::unique_ptr<Client>> Client::create(host::Loop& loop, Config config, size_t max_connections) {
  auto impl = std::make_shared<Impl>(loop, std::move(config));
  auto pool = http::Pool::create(loop, {.url = impl->config.server,
                                        .connect_to = impl->config.connect_to,
                                        .tls = impl->config.tls,
                                        .max_connections = max_connections});
  if (!pool) return std::unexpected(std::move(pool.error()).within("API server " + impl->config.server));
  impl->pool = std::move(*pool);
  impl->bearer = impl->config.token;
  if (impl->bearer.empty() && !impl->config.token_file.empty()) {
    auto token = host::read_file(impl->config.token_file, kTokenLimit);
    if (!token) return std::unexpected(std::move(token.error()));
    impl->bearer = trimmed(std::move(*token));
    impl->refresh_token();
  }
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Call Client::request(ApiRequest request, Done<std::string> done) {
  auto what = fmt::format("{} {}", request.method, request.path);
  return impl_->pool->send(impl_->translate(std::move(request)), [what = std::move(what), done = std::move(done)](
                                                                     host::Result<http::FetchResponse> answer) mutable {
    if (!answer) return done(std::unexpected(failure_of(answer.error())));
    if (answer->status / 100 == 2) return done(std::move(answer->body));
    auto failure = failure_of(answer->status, answer->body, what);
    if (const auto after = answer->headers.get("retry-after"); !failure.retry_after_s && !after.empty()) {
      failure.retry_after_s = std::atoi(std::string(after).c_str());
    }
    done(std::unexpected(std::move(failure)));
  });
}

Call Client::stream(ApiRequest request, http::StreamHandlers handlers) {
  return impl_->pool->stream(impl_->translate(std::move(request)), std::move(handlers));
}

Call Client::get(const api::Resource& resource, const std::string& namespace_, const std::string& name,
                 Done<api::AnyObject> done) {
  ApiRequest asked{.path = path_of(resource, namespace_, name)};
  auto what = "GET " + asked.path;
  return request(std::move(asked), reads_object(resource, std::move(what), std::move(done)));
}

Call Client::list(const api::Resource& resource, const std::string& namespace_, const ListOptions& options,
                  Done<ObjectList> done) {
  ApiRequest asked{.path = path_of(resource, namespace_), .query = list_query(options), .body_limit = kMostList};
  auto what = "GET " + asked.path;
  return request(
      std::move(asked), [&resource, what = std::move(what), done = std::move(done)](Outcome<std::string> body) mutable {
        if (!body) return done(std::unexpected(std::move(body.error())));
        ListReader reader(resource);
        ObjectList list;
        if (auto fed = reader.feed(*body, [&](api::AnyObject item) { list.items.push_back(std::move(item)); }); !fed) {
          return done(std::unexpected(unreadable(what, fed.error())));
        }
        auto metadata = reader.finish();
        if (!metadata) return done(std::unexpected(unreadable(what, metadata.error())));
        list.metadata = std::move(*metadata);
        done(std::move(list));
      });
}

Call Client::create(const api::AnyObject& object, const WriteOptions& options, Done<api::AnyObject> done) {
  const auto& resource = object.resource();
  ApiRequest asked{.method = "POST",
                   .path = path_of(resource, object.metadata().namespace_),
                   .query = write_query(impl_->config, options),
                   .body = api::encode_json(object)};
  auto what = "POST " + asked.path;
  return request(std::move(asked), reads_object(resource, std::move(what), std::move(done)));
}

Call Client::update(const api::AnyObject& object, const WriteOptions& options, Done<api::AnyObject> done) {
  const auto& resource = object.resource();
  const auto& metadata = object.metadata();
  ApiRequest asked{.method = "PUT",
                   .path = path_of(resource, metadata.namespace_, metadata.name, options.subresource),
                   .query = write_query(impl_->config, options),
                   .body = api::encode_json(object)};
  auto what = "PUT " + asked.path;
  return request(std::move(asked), reads_object(resource, std::move(what), std::move(done)));
}

Call Client::patch(const api::Resource& resource, const std::string& namespace_, const std::string& name,
                   PatchType type, std::string body, const WriteOptions& options, Done<api::AnyObject> done) {
  ApiRequest asked{.method = "PATCH",
                   .path = path_of(resource, namespace_, name, options.subresource),
                   .query = write_query(impl_->config, options),
                   .body = std::move(body),
                   .content_type = std::string(content_type_of(type))};
  auto what = "PATCH " + asked.path;
  return request(std::move(asked), reads_object(resource, std::move(what), std::move(done)));
}

Call Client::remove(const api::Resource& resource, const std::string& namespace_, const std::string& name,
                    const RemoveOptions& options, Done<void> done) {
  ApiRequest asked{.method = "DELETE", .path = path_of(resource, namespace_, name)};
  if (options != RemoveOptions()) {
    api::DeleteOptions body;
    body.grace_period_seconds = options.grace_period_seconds;
    body.propagation_policy = options.propagation_policy;
    if (!options.uid.empty() || !options.resource_version.empty()) {
      body.preconditions = api::Preconditions{.uid = options.uid, .resource_version = options.resource_version};
    }
    asked.body = api::encode_json(body);
  }
  return request(std::move(asked), [done = std::move(done)](Outcome<std::string> body) mutable {
    if (!body) return done(std::unexpected(std::move(body.error())));
    done({});
  });
}

host::Loop& Client::loop() const { return impl_->loop; }
const Config& Client::config() const { return impl_->config; }

http::Query list_query(const ListOptions& options) {
  http::Query query;
  if (!options.label_selector.empty()) query.add("labelSelector", options.label_selector);
  if (!options.field_selector.empty()) query.add("fieldSelector", options.field_selector);
  if (options.limit > 0) query.add("limit", std::to_string(options.limit));
  if (!options.continue_.empty()) {
    query.add("continue", options.continue_);
  } else if (!options.resource_version.empty()) {
    query.add("resourceVersion", options.resource_version);
  }
  return query;
}

}  // namespace keelson::apiclient
