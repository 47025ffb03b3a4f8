#include "agent/server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <list>

#include "agent/server/exec_session.h"
#include "agent/server/log_stream.h"
#include "agent/server/render.h"
#include "agent/server/token.h"
#include "api/codec.h"
#include "host/log.h"

namespace keelson::server {

namespace {

constexpr size_t kMaxManifest = 4u << 20;
constexpr size_t kMaxOtherBody = 64u << 10;
constexpr size_t kMaxSessions = 512;  // execs, logs and flows at once

std::optional<std::string> kind_of_plural(std::string_view plural) {
  if (plural == "pods") return "Pod";
  if (plural == "services") return "Service";
  if (plural == "endpoints") return "Endpoints";
  if (plural == "configmaps") return "ConfigMap";
  if (plural == "secrets") return "Secret";
  return std::nullopt;
}

bool is_open_path(const std::string& path) { return path == "/healthz" || path == "/readyz" || path == "/metrics"; }

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1" || address == "::ffff:127.0.0.1";
}

const api::ContainerStatus* status_of(const api::Pod& pod, const std::string& container) {
  for (const auto* list : {&pod.status.container_statuses, &pod.status.init_container_statuses}) {
    for (const auto& status : *list) {
      if (status.name == container) return &status;
    }
  }
  return nullptr;
}

bool has_container(const api::Pod& pod, const std::string& container) {
  const auto named = [&](const api::Container& one) { return one.name == container; };
  return std::ranges::any_of(pod.spec.containers, named) || std::ranges::any_of(pod.spec.init_containers, named);
}

// Sends the flows that a client has not seen yet, as fast as it takes them: one that is slow misses
// those that are forgotten meanwhile.
class FlowStream {
 public:
  FlowStream(host::Loop& loop, ServiceView& services, http::Stream stream, bool follow, std::function<void()> over)
      : loop_(loop), services_(services), stream_(std::move(stream)), follow_(follow), over_(std::move(over)) {
    stream_.on_closed([this] { end(); });
    stream_.on_drained([this] {
      on_its_way_ = false;
      send();
    });
    send();
  }

  void send() {
    if (!over_ || on_its_way_) return;
    std::string text;
    for (const auto& flow : services_.flows(last_)) {
      last_ = flow.number;
      text += render_flow(flow);
    }
    on_its_way_ = !text.empty();
    if (on_its_way_ && !stream_.write(std::move(text))) return end();
    if (follow_) return;
    stream_.end();
    end();
  }

 private:
  void end() {
    if (auto over = std::exchange(over_, nullptr)) loop_.post(std::move(over));
  }

  host::Loop& loop_;
  ServiceView& services_;
  http::Stream stream_;
  bool follow_;
  std::function<void()> over_;  // null once it has ended
  bool on_its_way_ = false;     // the client has not taken what was sent
  uint64_t last_ = 0;
};

}  // namespace

host::Result<std::pair<std::string, uint16_t>> parse_listen(const std::string& text) {
  const auto bad = [&] {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("--listen {}: address:port is expected, as in 127.0.0.1:10250 or [::1]:10250", text));
  };
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return bad();
  auto address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  } else if (address.find(':') != std::string::npos) {
    return bad();
  }
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stopped != end || address.empty()) return bad();
  return std::pair(address, port);
}

struct Server::Impl : http::Handler {
  Impl(host::Loop& on_loop, Options server_options, Views server_views, host::Metrics& registry)
      : loop(on_loop), options(std::move(server_options)), views(server_views), metrics(registry) {}

  // ---- http::Handler

  std::expected<size_t, http::Answer> admit(const http::Request& head) override {
    const auto path = head.path();
    if (is_open_path(path)) return 0;
    const bool by_certificate = head.certificate.has_value() && admits(*head.certificate);
    if (!by_certificate && !bears_token(head.headers.get("authorization"), token)) {
      auto answer = failure(401, "Unauthorized: the token in <root-dir>/api.token or a client certificate is needed");
      answer.headers.add("WWW-Authenticate", "Bearer realm=\"keelson-agent\"");
      count(401);
      return std::unexpected(std::move(answer));
    }
    if (head.method == "GET" || head.method == "HEAD") return 0;
    // Of a method that there is none, a small body is read all the same: handle() says what is wrong.
    return (head.method == "POST" && path != "/drain") || head.method == "PUT" ? kMaxManifest : kMaxOtherBody;
  }

  http::Answer refusal(int status, const std::string& message) override {
    count(status);
    return failure(status, message);
  }

  void handle(http::Request request, http::Exchange exchange) override {
    const auto& parts = request.segments;
    const bool reads = request.method == "GET" || request.method == "HEAD";
    const auto first = parts.empty() ? std::string() : parts[0];
    const auto kind = kind_of_plural(first);
    if (reads && parts.size() == 1) return read_one(first, request, std::move(exchange));
    if (kind && parts.size() == 1 && request.method == "POST")
      return push(std::move(request), std::nullopt, std::move(exchange));
    if (kind && parts.size() == 3) {
      api::ObjectKey key{.kind = *kind, .namespace_ = parts[1], .name = parts[2]};
      if (request.method == "PUT") return push(std::move(request), std::move(key), std::move(exchange));
      if (request.method == "DELETE") return remove(key, std::move(exchange));
      if (reads && *kind == "Pod") return read_pod(key, std::move(exchange));
    }
    if (reads && first == "containerLogs" && parts.size() == 4) return logs(request, std::move(exchange));
    // POST too, as kubelet has it; WebSocket handshakes are GETs.
    if (reads && first == "exec" && parts.size() == 4) return exec(request, std::move(exchange));
    if (first == "drain" && parts.size() == 1 && request.method == "POST") return drain(std::move(exchange));
    const bool known = kind || first == "drain" || first == "containerLogs" || first == "exec" || is_list(first);
    if (known)
      return reply(exchange, failure(405, fmt::format("{} is not allowed on {}", request.method, request.path())));
    reply(exchange, failure(404, fmt::format("the agent has no path {}", request.path())));
  }

  bool admits(const http::ClientCertificate& certificate) const {
    const auto named = [this](const std::string& name) {
      return std::ranges::find(options.admitted, name) != options.admitted.end();
    };
    return options.admitted.empty() || named(certificate.common_name) ||
           std::ranges::any_of(certificate.organizations, named);
  }

  // ---- routes

  static bool is_list(const std::string& name) {
    static constexpr std::string_view kLists[] = {"healthz",  "readyz", "metrics", "pods", "services",
                                                  "backends", "images", "status",  "flows"};
    return std::ranges::find(kLists, name) != std::end(kLists);
  }

  void read_one(const std::string& name, const http::Request& request, http::Exchange exchange) {
    if (name == "healthz") return reply(exchange, {.content_type = "text/plain; charset=utf-8", .body = "ok"});
    if (name == "readyz") {
      const auto why = views.node.not_ready();
      if (why.empty()) return reply(exchange, {.content_type = "text/plain; charset=utf-8", .body = "ok"});
      return reply(exchange,
                   {.status = 503, .content_type = "text/plain; charset=utf-8", .body = "not ready: " + why + "\n"});
    }
    if (name == "metrics") {
      return reply(exchange, {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.render()});
    }
    if (name == "pods") return reply_json(exchange, api::encode_json_list(views.pods.list()));
    if (name == "services") return reply_json(exchange, api::encode_json_list(views.services.services()));
    if (name == "backends") return reply_json(exchange, render_backends(views.services.backends()));
    if (name == "images") return reply_json(exchange, render_images(views.node.images()));
    if (name == "status") return reply_json(exchange, render_status(views.node.status(), options.version));
    if (name == "flows") return flows(request, std::move(exchange));
    const bool known = kind_of_plural(name) || name == "drain";
    reply(exchange, known ? failure(405, fmt::format("{} is not allowed on /{}", request.method, name))
                          : failure(404, fmt::format("the agent has no path /{}", name)));
  }

  void read_pod(const api::ObjectKey& key, http::Exchange exchange) {
    const auto pod = views.pods.find(key.namespace_, key.name);
    if (!pod) return reply(exchange, no_pod(key.namespace_, key.name));
    reply_json(exchange, api::encode_json(*pod));
  }

  void push(http::Request request, std::optional<api::ObjectKey> only, http::Exchange exchange) {
    if (request.body.empty()) {
      return reply(exchange, failure(400, "an empty body: a manifest, YAML or JSON, is expected"));
    }
    const bool replace = only.has_value();
    views.inbox.store({.manifest = std::move(request.body), .replace = replace, .only = std::move(only)},
                      [this, alive = std::weak_ptr(life),
                       exchange = std::move(exchange)](std::expected<PushReceipt, PushRefusal> stored) mutable {
                        if (alive.expired()) return;
                        if (!stored) return reply(exchange, failure(stored.error()));
                        std::string names;
                        for (const auto& key : stored->keys) names += (names.empty() ? "" : ", ") + to_string(key);
                        reply(exchange, success("stored " + names, stored->warnings));
                      });
  }

  void remove(const api::ObjectKey& key, http::Exchange exchange) {
    views.inbox.remove(
        key, [this, alive = std::weak_ptr(life), key, exchange = std::move(exchange)](host::Status removed) mutable {
          if (alive.expired()) return;
          reply(exchange, removed ? success("removed " + to_string(key)) : failure(removed.error()));
        });
  }

  void drain(http::Exchange exchange) {
    host::log_info("drain: asked for over HTTP");
    views.node.drain([this, alive = std::weak_ptr(life), exchange = std::move(exchange)](host::Status drained) mutable {
      if (alive.expired()) return;
      reply(exchange, drained ? success("drained") : failure(drained.error()));
    });
  }

  void logs(const http::Request& request, http::Exchange exchange) {
    const auto& namespace_ = request.segments[1];
    const auto& name = request.segments[2];
    const auto& container = request.segments[3];
    const auto& query = request.query;
    const auto follow = query.flag("follow");
    const auto previous = query.flag("previous");
    const auto timestamps = query.flag("timestamps");
    const auto tail = query.number("tailLines");
    const auto limit = query.number("limitBytes");
    const auto since_seconds = query.number("sinceSeconds");
    for (const auto* flag : {&follow, &previous, &timestamps}) {
      if (!*flag) return reply(exchange, failure(400, flag->error().message));
    }
    for (const auto* number : {&tail, &limit, &since_seconds}) {
      if (!*number) return reply(exchange, failure(400, number->error().message));
    }
    LogOptions how{.tail_lines = *tail, .since = {}, .limit_bytes = *limit, .timestamps = *timestamps};
    if (const auto text = query.get("sinceTime")) {
      const auto since = api::parse_time(*text);
      if (!since) return reply(exchange, failure(400, "query parameter sinceTime: " + since.error().message));
      how.since = api::to_string(*since);
    } else if (*since_seconds) {
      const auto now =
          std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
      how.since = api::to_string(api::Time{now - std::min(**since_seconds, static_cast<int64_t>(now))});
    }
    // Log times have decimals: "…:07." sorts before "…:07Z", which means the same second.
    if (how.since.ends_with('Z')) how.since.pop_back();

    const auto pod = views.pods.find(namespace_, name);
    if (!pod) return reply(exchange, no_pod(namespace_, name));
    if (!has_container(*pod, container)) return reply(exchange, no_container(*pod, container));
    auto file = views.pods.log_file(*pod, container, *previous);
    if (!file) return reply(exchange, no_log(*pod, container, *previous, file.error()));
    if (sessions() >= kMaxSessions) return reply(exchange, failure(429, "too many logs and execs at once"));

    const auto* status = status_of(*pod, container);
    const auto attempt = status ? status->restart_count : 0;
    const auto running = [this, namespace_, name, container, attempt, uid = pod->metadata.uid] {
      const auto now = views.pods.find(namespace_, name);
      const auto* state = now && now->metadata.uid == uid ? status_of(*now, container) : nullptr;
      return state != nullptr && state->restart_count == attempt && state->state.running.has_value();
    };
    log_streams.emplace_back();
    const auto place = std::prev(log_streams.end());
    *place = std::make_shared<LogStream>(loop, std::move(*file), std::move(how), *follow && !*previous, running,
                                         [this, alive = std::weak_ptr(life), place] {
                                           if (!alive.expired()) log_streams.erase(place);
                                         });
    count(200);
    (*place)->start(std::move(exchange), [pod = *pod, container, previous = *previous](const host::Error& error) {
      return no_log(pod, container, previous, error);
    });
  }

  void exec(const http::Request& request, http::Exchange exchange) {
    const auto& namespace_ = request.segments[1];
    const auto& name = request.segments[2];
    const auto& container = request.segments[3];
    auto how = parse_exec_options(request.query);
    if (!how) return reply(exchange, failure(400, how.error().message));
    const auto pod = views.pods.find(namespace_, name);
    if (!pod) return reply(exchange, no_pod(namespace_, name));
    if (!has_container(*pod, container)) return reply(exchange, no_container(*pod, container));
    const auto* status = status_of(*pod, container);
    if (status == nullptr || !status->state.running.has_value()) {
      return reply(exchange, failure(400, fmt::format("container {} of pod {} is not running", container, name)));
    }
    if (sessions() >= kMaxSessions) return reply(exchange, failure(429, "too many logs and execs at once"));
    auto socket = exchange.upgrade({"v5.channel.k8s.io", "v4.channel.k8s.io"});
    if (!socket) return reply(exchange, failure(400, socket.error().message));
    count(101);
    execs.emplace_back();
    const auto place = std::prev(execs.end());
    // Held here too: the session may end, and leave the list, while it starts.
    const auto session = std::make_shared<ExecSession>(loop, std::move(*how), std::move(*socket),
                                                       [this, alive = std::weak_ptr(life), place] {
                                                         if (!alive.expired()) execs.erase(place);
                                                       });
    *place = session;
    session->start([&](api::ExecSpec spec, api::Callback<int> done) {
      views.pods.exec(*pod, container, std::move(spec), std::move(done));
    });
  }

  void flows(const http::Request& request, http::Exchange exchange) {
    const auto follow = request.query.flag("follow");
    if (!follow) return reply(exchange, failure(400, follow.error().message));
    if (sessions() >= kMaxSessions) return reply(exchange, failure(429, "too many streams at once"));
    count(200);
    flow_streams.emplace_back();
    const auto place = std::prev(flow_streams.end());
    *place =
        std::make_unique<FlowStream>(loop, views.services, exchange.stream({.content_type = "application/jsonlines"}),
                                     *follow, [this, alive = std::weak_ptr(life), place] {
                                       if (!alive.expired()) flow_streams.erase(place);
                                     });
  }

  // ---- answers

  static http::Answer no_pod(const std::string& namespace_, const std::string& name) {
    return failure(404, fmt::format("pods \"{}\" not found in namespace \"{}\"", name, namespace_));
  }

  static http::Answer no_container(const api::Pod& pod, const std::string& container) {
    std::vector<std::string> names;
    for (const auto& one : pod.spec.init_containers) names.push_back(one.name);
    for (const auto& one : pod.spec.containers) names.push_back(one.name);
    return failure(400, fmt::format("container {} is not valid for pod {}; it has {}", container, pod.metadata.name,
                                    fmt::join(names, ", ")));
  }

  // In kubelet's words.
  static http::Answer no_log(const api::Pod& pod, const std::string& container, bool previous,
                             const host::Error& error) {
    if (error.code != host::Error::Code::not_found) return failure(error);
    if (previous) {
      return failure(400, fmt::format("previous terminated container \"{}\" in pod \"{}\" not found", container,
                                      pod.metadata.name));
    }
    const auto* status = status_of(pod, container);
    const auto reason =
        status && status->state.waiting ? status->state.waiting->reason : std::string("ContainerCreating");
    return failure(400, fmt::format("container \"{}\" in pod \"{}\" is waiting to start: {}", container,
                                    pod.metadata.name, reason));
  }

  void reply(http::Exchange& exchange, http::Answer answer) {
    count(answer.status);
    exchange.answer(std::move(answer));
  }
  void reply_json(http::Exchange& exchange, std::string body) { reply(exchange, {.body = std::move(body) + "\n"}); }

  void count(int status) {
    metrics
        .counter("keelson_http_requests_total", "Requests to the agent's API, by HTTP status.",
                 {{"code", std::to_string(status)}})
        .add();
  }

  size_t sessions() const { return execs.size() + log_streams.size() + flow_streams.size(); }

  host::Loop& loop;
  Options options;
  Views views;
  host::Metrics& metrics;
  std::string token;
  std::shared_ptr<int> life = std::make_shared<int>();  // watched by callbacks, which may come after us
  std::list<std::shared_ptr<ExecSession>> execs;        // shared with callbacks under way, which hold them weakly
  std::list<std::shared_ptr<LogStream>> log_streams;    // shared with the worker that reads
  std::list<std::unique_ptr<FlowStream>> flow_streams;
  std::unique_ptr<http::Server> server;  // last: it goes first, and lets go of all of these
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { impl_->views.services.on_flows(nullptr); }

host::Status Server::check(const Options& options) {
  const auto invalid = [](std::string message) { return host::fail(host::Error::Code::invalid, std::move(message)); };
  auto where = parse_listen(options.listen);
  if (!where) return std::unexpected(std::move(where.error()));
  const bool tls = !options.tls_cert_file.empty();
  if (tls != !options.tls_private_key_file.empty()) {
    return invalid("--tls-cert-file and --tls-private-key-file go together");
  }
  if (!tls && !options.client_ca_file.empty()) return invalid("--client-ca-file needs --tls-cert-file");
  if (!tls && !is_loopback(where->first)) {
    return invalid(
        fmt::format("--listen {}: off loopback TLS is mandatory, since the token would cross the network in "
                    "the clear; give --tls-cert-file and --tls-private-key-file, or listen on 127.0.0.1",
                    options.listen));
  }
  return {};
}

host::Result<std::unique_ptr<Server>> Server::create(host::Loop& loop, Options options, Views views,
                                                     host::Metrics& metrics) {
  if (auto checked = check(options); !checked) return std::unexpected(std::move(checked.error()));
  const auto where = parse_listen(options.listen);
  http::ServerOptions how{.host = where->first, .port = where->second};
  if (!options.tls_cert_file.empty())
    how.tls = http::TlsFiles{options.tls_cert_file, options.tls_private_key_file, options.client_ca_file};
  auto token = load_token(options.token_file);
  if (!token) return std::unexpected(std::move(token.error()).within("API token"));

  // A process in a pod that closes its stdin must not end the agent: pipes know no MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  auto impl = std::make_unique<Impl>(loop, std::move(options), views, metrics);
  impl->token = std::move(*token);
  auto server = http::Server::listen(loop, std::move(how), *impl);
  if (!server) return std::unexpected(std::move(server.error()).within("HTTP API"));
  impl->server = std::move(*server);
  views.services.on_flows([raw = impl.get()] {
    for (const auto& stream : raw->flow_streams) stream->send();
  });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const { return impl_->server->port(); }
host::Status Server::reload_tls() { return impl_->server->reload_tls(); }

}  // namespace keelson::server
