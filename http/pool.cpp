#include "http/pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <unordered_set>
#include <utility>
#include <vector>

#include "http/client_connection.h"
#include "http/tls.h"

namespace keelson::http {

struct Pool::Impl : std::enable_shared_from_this<Pool::Impl> {
  using StatePtr = std::shared_ptr<Call::State>;

  Impl(host::Loop& on_loop, PoolOptions pool_options) : loop(on_loop), options(std::move(pool_options)) {}

  StatePtr begin(PoolRequest request);
  void start(const StatePtr& call);
  void assign(const StatePtr& call, bool fresh);
  void exchange(const StatePtr& call);
  std::shared_ptr<ClientConnection> take_idle();
  void keep_idle(std::shared_ptr<ClientConnection> connection);
  void sweep_idle();
  // The call has ended: its connection serves the next one, or goes.
  void release(Call::State& call);
  void stop();

  struct Idle {
    std::shared_ptr<ClientConnection> connection;
    host::TimePoint since;
  };

  host::Loop& loop;
  PoolOptions options;
  ClientPeer peer;
  std::unordered_set<StatePtr> active;  // shared with handles and connections
  std::deque<StatePtr> waiting;
  std::vector<Idle> idle;  // the last is used first, so that what is too many grows old
  size_t busy = 0;         // connections that serve requests, not streams
  host::Timer sweep;
};

struct Call::State : ResponseSink, std::enable_shared_from_this<Call::State> {
  void on_head(int status, Headers headers) override {
    if (!stream) {
      response.status = status;
      response.headers = std::move(headers);
      return;
    }
    timer.cancel();
    const auto keep = stream;  // what runs may cancel us
    if (keep->head) keep->head(status, headers);
  }
  void on_body(std::string part, bool cut) override {
    if (!stream) {
      response.body = std::move(part);
      response.truncated = cut;
      return;
    }
    const auto keep = stream;
    if (keep->chunk && !part.empty()) keep->chunk(std::move(part));
  }
  void on_finished(host::Status status) override {
    const auto owner = pool.lock();
    if (!status && owner && reused && !connection->answered() &&
        (connection->unread() || request.method == "GET" || request.method == "HEAD")) {
      reused = false;
      connection.reset();
      return owner->assign(shared_from_this(), true);
    }
    if (status && response.truncated) {
      status =
          host::fail(host::Error::Code::invalid, fmt::format("the answer is larger than {} bytes", request.body_limit));
    }
    finish(std::move(status));
  }

  void finish(host::Status status) {
    const auto self = shared_from_this();
    if (!status) status = std::unexpected(std::move(status.error()).within(where()));
    if (const auto owner = pool.lock()) owner->release(*this);
    timer.cancel();
    over = true;
    if (auto told = std::exchange(done, nullptr)) {
      if (!status) return told(std::unexpected(std::move(status.error())));
      told(std::move(response));
    } else if (const auto told = std::exchange(stream, nullptr)) {
      if (told->end) told->end(std::move(status));
    }
  }

  void cancel() {
    if (over) return;
    const auto self = shared_from_this();
    over = true;
    timer.cancel();
    done = nullptr;
    stream.reset();
    if (connection) connection->close();
    if (const auto owner = pool.lock()) owner->release(*this);
  }

  std::string where() const { return fmt::format("{} {}{}", request.method, base, request.target); }

  std::weak_ptr<Pool::Impl> pool;
  std::string base;
  PoolRequest request;
  std::move_only_function<void(host::Result<FetchResponse>)> done;
  std::shared_ptr<StreamHandlers> stream;  // shared with the handler that runs; null: it is no stream
  bool is_stream = false, over = false, holds_slot = false, reused = false, queued = false;
  host::Timer timer;
  std::shared_ptr<ClientConnection> connection;  // shared with its pending operations
  FetchResponse response;
};

Pool::Impl::StatePtr Pool::Impl::begin(PoolRequest request) {
  auto call = std::make_shared<Call::State>();
  call->pool = weak_from_this();
  call->base = fmt::format("{}://{}", peer.url.tls ? "https" : "http", peer.url.authority());
  call->request = std::move(request);
  call->timer = loop.after(call->request.timeout, [weak = std::weak_ptr(call)] {
    const auto late = weak.lock();
    if (!late || late->over) return;
    if (late->connection) late->connection->close();
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(late->request.timeout).count();
    late->finish(host::fail(host::Error::Code::unavailable,
                            fmt::format("no answer within {} s", static_cast<double>(ms) / 1000)));
  });
  active.insert(call);
  return call;
}

void Pool::Impl::start(const StatePtr& call) {
  if (call->is_stream || busy < options.max_connections) return assign(call, false);
  if (waiting.size() < options.max_waiting) {
    call->queued = true;
    waiting.push_back(call);
    return;
  }
  loop.post([call] {
    if (!call->over) call->finish(host::fail(host::Error::Code::unavailable, "too many requests are waiting already"));
  });
}

void Pool::Impl::assign(const StatePtr& call, bool fresh) {
  if (!call->is_stream && !call->holds_slot) {
    call->holds_slot = true;
    ++busy;
  }
  if (!fresh) {
    if (auto connection = take_idle()) {
      call->connection = std::move(connection);
      call->reused = true;
      return exchange(call);
    }
  }
  call->connection = std::make_shared<ClientConnection>(loop.context().get_executor(), peer);
  call->connection->open([weak = weak_from_this(), call](host::Status opened) {
    if (call->over) return;
    if (!opened) return call->finish(std::move(opened));
    if (const auto self = weak.lock()) self->exchange(call);
  });
}

void Pool::Impl::exchange(const StatePtr& call) {
  const auto& request = call->request;
  auto text = request_text(peer.url, request.method, request.target, request.headers, request.body, true);
  if (!text) {
    loop.post([call, failure = std::move(text.error())]() mutable {
      if (!call->over) call->finish(std::unexpected(std::move(failure)));
    });
    return;
  }
  call->connection->exchange({.text = std::move(*text),
                              .head_only = request.method == "HEAD",
                              .stream = call->is_stream,
                              .body_limit = request.body_limit,
                              .keep_alive = true},
                             call);
}

std::shared_ptr<ClientConnection> Pool::Impl::take_idle() {
  while (!idle.empty()) {
    auto connection = std::move(idle.back().connection);
    idle.pop_back();
    connection->idle_ended = nullptr;
    if (connection->reusable()) return connection;
    connection->close();
  }
  return nullptr;
}

void Pool::Impl::keep_idle(std::shared_ptr<ClientConnection> connection) {
  connection->idle_ended = [weak = weak_from_this(), raw = connection.get()] {
    if (const auto self = weak.lock()) {
      std::erase_if(self->idle, [&](const Idle& one) { return one.connection.get() == raw; });
    }
  };
  idle.push_back({.connection = std::move(connection), .since = host::Clock::now()});
  if (!sweep.armed()) sweep = loop.after(options.idle_timeout, [this] { sweep_idle(); });
}

void Pool::Impl::sweep_idle() {
  const auto now = host::Clock::now();
  while (!idle.empty() && now - idle.front().since >= options.idle_timeout) {
    idle.front().connection->close();
    idle.erase(idle.begin());
  }
  if (!idle.empty()) {
    sweep = loop.after(idle.front().since + options.idle_timeout - now, [this] { sweep_idle(); });
  }
}

void Pool::Impl::release(Call::State& call) {
  if (std::exchange(call.queued, false)) {
    std::erase_if(waiting, [&](const StatePtr& one) { return one.get() == &call; });
  }
  if (auto connection = std::exchange(call.connection, nullptr)) {
    if (connection->reusable()) {
      keep_idle(std::move(connection));
    } else {
      connection->close();
    }
  }
  if (std::exchange(call.holds_slot, false)) --busy;
  while (!waiting.empty() && busy < options.max_connections) {
    const auto next = std::move(waiting.front());
    waiting.pop_front();
    next->queued = false;
    assign(next, false);
  }
  active.erase(call.shared_from_this());
}

void Pool::Impl::stop() {
  waiting.clear();
  for (const auto& call : std::exchange(active, {})) {
    call->pool.reset();
    call->cancel();
  }
  for (const auto& one : std::exchange(idle, {})) one.connection->close();
  sweep.cancel();
}

Pool::Pool(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pool::~Pool() { impl_->stop(); }

host::Result<std::unique_ptr<Pool>> Pool::create(host::Loop& loop, PoolOptions options) {
  auto url = parse_url(options.url);
  if (!url) return std::unexpected(std::move(url.error()));
  auto impl = std::make_shared<Impl>(loop, std::move(options));
  impl->peer = {.url = *url,
                .connect_to = impl->options.connect_to,
                .tls = nullptr,
                .verify = impl->options.tls.verify,
                .tls_name = impl->options.tls.server_name.empty() ? url->host : impl->options.tls.server_name};
  if (url->tls) {
    auto context = client_context(impl->options.tls);
    if (!context) return std::unexpected(std::move(context.error()));
    impl->peer.tls = std::move(*context);
  }
  return std::unique_ptr<Pool>(new Pool(std::move(impl)));
}

Call Pool::send(PoolRequest request, std::move_only_function<void(host::Result<FetchResponse>)> done) {
  auto call = impl_->begin(std::move(request));
  call->done = std::move(done);
  impl_->start(call);
  return Call(std::move(call));
}

Call Pool::stream(PoolRequest request, StreamHandlers handlers) {
  auto call = impl_->begin(std::move(request));
  call->is_stream = true;
  call->stream = std::make_shared<StreamHandlers>(std::move(handlers));
  impl_->start(call);
  return Call(std::move(call));
}

size_t Pool::connections() const {
  return impl_->idle.size() + static_cast<size_t>(std::ranges::count_if(
                                  impl_->active, [](const auto& call) { return call->connection != nullptr; }));
}
size_t Pool::waiting() const { return impl_->waiting.size(); }

Call::Call() = default;
Call::Call(std::shared_ptr<State> state) : state_(std::move(state)) {}
Call::Call(Call&&) noexcept = default;
Call& Call::operator=(Call&& other) noexcept {
  if (this != &other) {
    cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}
Call::~Call() { cancel(); }

bool Call::pending() const { return state_ && !state_->over; }
void Call::cancel() {
  if (const auto state = std::exchange(state_, nullptr)) state->cancel();
}
void Call::detach() { state_.reset(); }
void Call::pause() {
  if (state_ && state_->connection) state_->connection->pause();
}
void Call::resume() {
  if (state_ && state_->connection) state_->connection->resume();
}

}  // namespace keelson::http
