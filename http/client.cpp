#include "http/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <iterator>
#include <optional>

#include "http/client_connection.h"
#include "http/tls.h"

namespace keelson::http {

struct FetchHandle::Operation : ResponseSink, std::enable_shared_from_this<FetchHandle::Operation> {
  using Done = std::move_only_function<void(host::Result<FetchResponse>)>;

  Operation(host::Loop& on_loop, Fetch fetch, Done callback)
      : loop(on_loop), request(std::move(fetch)), done(std::move(callback)) {}

  void start() {
    timer = loop.after(request.timeout, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || !self->done) return;
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(self->request.timeout).count();
      self->finish(host::fail(host::Error::Code::unavailable,
                              fmt::format("{}: no answer within {} s", self->where(), static_cast<double>(ms) / 1000)));
    });
    // Later, so that no callback runs inside fetch().
    loop.post([self = shared_from_this()] {
      if (self->done) self->begin();
    });
  }

  void begin() {
    auto parsed = parse_url(request.url);
    if (!parsed) return finish(std::unexpected(std::move(parsed.error())));
    url = std::move(*parsed);
    auto text = request_text(url, request.method, url.target, request.headers, request.body, false);
    if (!text) return finish(std::unexpected(std::move(text.error()).within(where())));
    ClientPeer peer{.url = url, .connect_to = request.connect_to, .tls = nullptr, .verify = request.tls.verify};
    if (url.tls) {
      auto made = client_context(request.tls);
      if (!made) return finish(std::unexpected(std::move(made.error()).within(where())));
      peer.tls = std::move(*made);
    }
    // A probe of an address names the host it means in the Host field.
    const auto host_field = std::string(request.headers.get("host"));
    peer.tls_name = request.tls.server_name.empty() ? url.host : request.tls.server_name;
    if (!host_field.empty() && !request.tls.verify) peer.tls_name = host_field.substr(0, host_field.rfind(':'));
    connection = std::make_shared<ClientConnection>(loop.context().get_executor(), std::move(peer));
    connection->open([self = shared_from_this(), text = std::move(*text)](host::Status opened) mutable {
      if (!self->done) return;
      if (!opened) return self->finish(std::unexpected(std::move(opened.error()).within(self->where())));
      self->connection->exchange({.text = std::move(text),
                                  .head_only = self->request.method == "HEAD",
                                  .body_limit = self->request.body_limit},
                                 self);
    });
  }

  void on_head(int status, Headers headers) override {
    response.status = status;
    response.headers = std::move(headers);
  }
  void on_body(std::string part, bool cut) override {
    response.body = std::move(part);
    response.truncated = cut;
  }
  void on_finished(host::Status status) override {
    if (!done) return;
    if (!status) return finish(std::unexpected(std::move(status.error()).within(where())));
    if (response.truncated && !request.truncate_body) {
      return finish(host::fail(host::Error::Code::invalid,
                               fmt::format("{}: the answer is larger than {} bytes", where(), request.body_limit)));
    }
    if (const auto next = redirect(response)) {
      --request.redirects;
      request.url = *next;
      connection->close();
      response = {};
      return begin();
    }
    finish(std::move(response));
  }

  // Where to go on, if at all.
  std::optional<std::string> redirect(const FetchResponse& response) const {
    static constexpr int kCodes[] = {301, 302, 303, 307, 308};
    const auto location = response.headers.get("location");
    if (request.redirects == 0 || location.empty() || std::ranges::find(kCodes, response.status) == std::end(kCodes)) {
      return std::nullopt;
    }
    if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
    const std::string base = fmt::format("{}://{}", url.tls ? "https" : "http", url.authority());
    std::string next(location);
    if (location.starts_with("//")) {
      next = (url.tls ? "https:" : "http:") + next;
    } else if (location.starts_with('/')) {
      next = base + next;
    } else if (location.find("://") == std::string_view::npos) {
      const auto path = url.target.substr(0, url.target.find('?'));
      next = base + path.substr(0, path.rfind('/') + 1) + next;
    }
    const auto parsed = parse_url(next);
    if (!parsed || parsed->host != url.host) return std::nullopt;
    return next;
  }

  std::string where() const {
    // Without user and password.
    if (url.host.empty()) return fmt::format("{} URL", request.method);
    return fmt::format("{} {}://{}{}", request.method, url.tls ? "https" : "http", url.authority(), url.target);
  }

  void finish(host::Result<FetchResponse> result) {
    close();
    if (auto callback = std::exchange(done, nullptr)) callback(std::move(result));
  }

  void close() {
    timer.cancel();
    if (connection) connection->close();
  }

  host::Loop& loop;
  Fetch request;
  Done done;  // empty once called or cancelled
  host::Timer timer;
  Url url;
  std::shared_ptr<ClientConnection> connection;  // shared with its pending operations
  FetchResponse response;
};

FetchHandle::FetchHandle() = default;
FetchHandle::FetchHandle(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}
FetchHandle::FetchHandle(FetchHandle&&) noexcept = default;
FetchHandle& FetchHandle::operator=(FetchHandle&& other) noexcept {
  if (this != &other) {
    cancel();
    operation_ = std::move(other.operation_);
  }
  return *this;
}
FetchHandle::~FetchHandle() { cancel(); }

bool FetchHandle::pending() const { return operation_ && operation_->done; }

void FetchHandle::cancel() {
  if (!operation_) return;
  operation_->done = nullptr;
  operation_->close();
  operation_.reset();
}

FetchHandle fetch(host::Loop& loop, Fetch request, std::move_only_function<void(host::Result<FetchResponse>)> done) {
  auto operation = std::make_shared<FetchHandle::Operation>(loop, std::move(request), std::move(done));
  operation->start();
  return FetchHandle(std::move(operation));
}

}  // namespace keelson::http
