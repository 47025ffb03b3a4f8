#include "http/server.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstring>
#include <ctime>
#include <deque>
#include <unordered_set>

#include "host/log.h"
#include "http/any_stream.h"
#include "http/request_head.h"
#include "http/tls.h"
#include "http/web_socket.h"

namespace keelson::http {

namespace {

constexpr size_t kCopyBelow = 4096;  // smaller chunks are copied together rather than gathered
constexpr size_t kGather = 16;       // pieces in one write
constexpr auto kLingerTimeout = std::chrono::seconds(2);
constexpr size_t kLingerBytes = 1u << 20;

using DeadlineTimer = asio::basic_waitable_timer<host::Clock, asio::wait_traits<host::Clock>, Executor>;
constexpr auto kNever = host::TimePoint::max();

std::string join_address(const std::string& host, uint16_t port) {
  return fmt::format(fmt::runtime(host.find(':') == std::string::npos ? "{}:{}" : "[{}]:{}"), host, port);
}

}  // namespace

// ---- state shared by a server and its connections --------------------------------

struct Stream::State {
  std::weak_ptr<Connection> connection;  // its owner is the server
  bool open = true;
  std::function<void()> closed_callback, drained_callback;
};

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(host::Loop& loop, ServerOptions server_options, Handler& server_handler)
      : options(std::move(server_options)),
        handler(&server_handler),
        executor(loop.context().get_executor()),
        acceptor(executor),
        retry(executor) {}

  void accept_next();
  void stop();
  // Room for one more: closes the connection that has been idle longest.
  void make_room();
  const std::string& date();

  ServerOptions options;
  Handler* handler;  // null once the server is destroyed
  Executor executor;
  asio::basic_socket_acceptor<asio::ip::tcp, Executor> acceptor;
  DeadlineTimer retry;
  TlsContext tls;
  std::unordered_set<std::shared_ptr<Connection>> connections;  // shared with their pending operations
  std::unordered_set<std::shared_ptr<WebSocket::State>> web_sockets;
  std::time_t date_second = 0;
  std::string date_text;
};

// ---- one connection ----------------------------------------------------------------

// At any time at most one read is pending, and it always goes to on_read(), which the
// state tells what to do with the bytes; only a body is read by Beast's parser.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Server::Impl> server, TcpSocket socket)
      : server_(std::move(server)), stream_(std::in_place, std::move(socket), server_->tls), timer_(server_->executor) {
    buffer_.max_size(server_->options.header_limit);
    buffer_.reserve(server_->options.header_limit);
  }

  void start() {
    error_code error;
    auto& socket = stream_->socket();
    const auto remote = socket.remote_endpoint(error);
    if (!error) peer_ = join_address(remote.address().to_string(), remote.port());
    socket.set_option(asio::ip::tcp::no_delay(true), error);
    // A peer that vanished without a word is found by the kernel in a minute.
    const int keep_alive = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(socket.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &keep_alive, sizeof keep_alive);
    setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    if (!stream_->tls()) return await_request();
    state_ = State::handshake;
    read_within(server_->options.header_timeout);
    stream_->tls()->async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](error_code failure) {
      if (failure || self->closed_) return self->close();
      self->certificate_ = peer_certificate(self->stream_->tls()->native_handle());
      self->await_request();
    });
  }

  bool idle() const { return state_ == State::idle; }
  host::TimePoint idle_since() const { return idle_since_; }

  // Ends it at once.
  void close() {
    if (closed_) return;
    closed_ = true;
    timer_.cancel();
    if (stream_) close_socket(*stream_);
    drop_queue();
    close_stream();
    server_->connections.erase(shared_from_this());
  }

  // ---- what Exchange and Stream ask for

  void answer(Answer answer) {
    if (closed_ || state_ != State::handling) return;
    start_response(answer, answer.body.size());
    if (head_.method != "HEAD") push(std::make_shared<const std::string>(std::move(answer.body)));
    complete();
  }

  std::shared_ptr<Stream::State> open_stream(Answer answer) {
    auto state = std::make_shared<Stream::State>();
    if (closed_ || state_ != State::handling) {
      state->open = false;
      return state;
    }
    state->connection = weak_from_this();
    response_stream_ = state;
    start_response(answer, std::nullopt);
    write_next();
    if (peer_gone_) {  // before there was anybody to tell
      asio::post(server_->executor, [self = shared_from_this()] { self->close(); });
    } else if (!answer.body.empty()) {
      (void)chunk(std::make_shared<const std::string>(std::move(answer.body)));
    }
    return state;
  }

  host::Status chunk(std::shared_ptr<const std::string> bytes) {
    if (bytes->empty()) return {};
    if (queued_ > 0 && queued_ + bytes->size() > server_->options.queue_limit) {
      close();
      return host::fail(host::Error::Code::unavailable, "the client reads too slowly");
    }
    if (head_.method == "HEAD") return {};
    if (!chunked_) {
      push(std::move(bytes));
    } else if (bytes->size() < kCopyBelow) {
      push_text(fmt::format("{:x}\r\n{}\r\n", bytes->size(), *bytes));
    } else {
      push_text(fmt::format("{:x}\r\n", bytes->size()));
      push(std::move(bytes));
      push_text("\r\n");
    }
    drain_due_ = true;
    write_next();
    return {};
  }

  void end_stream() {
    if (response_stream_) response_stream_->open = false;
    response_stream_.reset();
    if (closed_) return;
    if (chunked_ && head_.method != "HEAD") push_text("0\r\n\r\n");
    complete();
  }

  size_t queued() const { return queued_; }

  host::Result<std::shared_ptr<WebSocket::State>> upgrade(const std::vector<std::string>& subprotocols);

 private:
  enum class State { handshake, idle, head, body, handling, closing };
  using Parser = beast::http::request_parser<beast::http::string_body>;

  struct Piece {
    std::shared_ptr<const std::string> bytes;  // a chunk may be queued on several connections
    size_t offset = 0;
  };

  // ---- deadlines

  void read_within(host::Duration time) { set_deadline(read_deadline_, host::Clock::now() + time); }
  void set_deadline(host::TimePoint& which, host::TimePoint when) {
    which = when;
    if (when < timer_due_) arm_timer();  // a timer that is due too early looks again by itself
  }
  void arm_timer() {
    timer_due_ = std::min(read_deadline_, write_deadline_);
    if (timer_due_ == kNever) return;
    timer_.expires_at(timer_due_);
    timer_.async_wait([weak = weak_from_this()](error_code error) {
      const auto self = weak.lock();
      if (error || !self || self->closed_) return;
      self->timer_due_ = kNever;
      if (std::min(self->read_deadline_, self->write_deadline_) > host::Clock::now()) return self->arm_timer();
      self->close();
    });
  }

  // ---- reading

  void await_request() {
    if (closed_) return;
    lingered_ = 0;
    if (buffer_.size() > 0) return begin_head();
    state_ = State::idle;
    idle_since_ = host::Clock::now();
    read_within(server_->options.idle_timeout);
    read_more();
  }

  void read_more() {
    if (closed_ || reading_ || buffer_.size() == buffer_.max_size()) return;
    reading_ = true;
    stream_->async_read_some(buffer_.prepare(buffer_.max_size() - buffer_.size()),
                             [self = shared_from_this()](error_code error, size_t size) {
                               self->reading_ = false;
                               if (self->closed_) return;
                               if (!error) self->buffer_.commit(size);
                               self->on_read(error);
                             });
  }

  void on_read(error_code error) {
    switch (state_) {
      case State::idle:
        return error ? close() : begin_head();
      case State::head:
        return error ? close() : look_for_head();
      case State::handling:
        // Pending so that a client that goes is noticed at once. Bytes are the next request's:
        // they wait in the buffer, and nothing is read behind them.
        if (!error) return;
        peer_gone_ = true;
        // Who has only sent FIN may still read a plain answer.
        if (response_stream_ || error != asio::error::eof) close();
        return;
      case State::closing:
        return error ? close() : linger();
      case State::handshake:
      case State::body:
        return;
    }
  }

  void begin_head() {
    state_ = State::head;
    searched_ = 0;
    read_within(server_->options.header_timeout);
    look_for_head();
  }

  void look_for_head() {
    const std::string_view have(static_cast<const char*>(buffer_.data().data()), buffer_.size());
    const auto end = have.find("\r\n\r\n", searched_);
    if (end == std::string_view::npos) {
      searched_ = have.size() < 3 ? 0 : have.size() - 3;
      if (have.size() == buffer_.max_size()) return refuse(431, "the request header is too large");
      return read_more();
    }
    head_text_.assign(have.substr(0, end + 4));
    buffer_.consume(end + 4);
    got_head();
  }

  void got_head() {
    auto parsed = parse_request_head(head_text_);
    if (!parsed) return refuse(parsed.error().status, parsed.error().message);
    head_ = std::move(*parsed);
    request_ = Request{.method = head_.method,
                       .target = head_.target,
                       .segments = std::move(head_.segments),
                       .query = std::move(head_.query),
                       .headers = head_.headers,
                       .body = {},
                       .peer = peer_,
                       .tls = stream_->tls() != nullptr,
                       .certificate = certificate_};
    state_ = State::handling;
    auto admitted = server_->handler->admit(request_);
    if (!admitted) {
      if (head_.has_body()) head_.keep_alive = false;  // what is on its way of it is not worth reading
      return answer(std::move(admitted.error()));
    }
    if (!head_.has_body()) return dispatch();
    if (head_.content_length.value_or(0) > *admitted || *admitted == 0) {
      return refuse(413, fmt::format("the body is larger than {} bytes", *admitted));
    }
    read_body(*admitted);
  }

  void read_body(size_t limit) {
    if (head_.expects_continue && buffer_.size() == 0) {
      push_text("HTTP/1.1 100 Continue\r\n\r\n");
      write_next();
    }
    state_ = State::body;
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(head_text_.size()) + 1);
    parser_->body_limit(limit);
    error_code error;
    parser_->put(asio::buffer(head_text_), error);
    if (error) return refuse(400, "malformed request");
    read_within(server_->options.body_timeout);
    beast::http::async_read(*stream_, buffer_, *parser_, [self = shared_from_this(), limit](error_code error, size_t) {
      if (self->closed_) return;
      if (!error) return self->got_body();
      if (error == beast::http::error::body_limit) {
        return self->refuse(413, fmt::format("the body is larger than {} bytes", limit));
      }
      const bool framing = error.category() == beast::http::make_error_code(beast::http::error::bad_chunk).category();
      if (framing && error != beast::http::error::partial_message && error != beast::http::error::end_of_stream) {
        return self->refuse(400, "malformed body");
      }
      self->close();
    });
  }

  void got_body() {
    request_.body = std::move(parser_->get().body());
    parser_.reset();
    dispatch();
  }

  void dispatch() {
    state_ = State::handling;
    read_deadline_ = kNever;
    const bool upgrade = head_.wants_upgrade;
    server_->handler->handle(std::move(request_), Exchange(shared_from_this()));
    // An upgrade takes the stream along, which no read may be using then.
    if (!upgrade && state_ == State::handling && buffer_.size() == 0) read_more();
  }

  // ---- writing

  void start_response(const Answer& answer, std::optional<size_t> length) {
    chunked_ = false;
    std::string text =
        fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", answer.status, reason_phrase(answer.status), server_->date());
    if (!answer.content_type.empty()) text += fmt::format("Content-Type: {}\r\n", answer.content_type);
    for (const auto& [name, value] : answer.headers) text += fmt::format("{}: {}\r\n", name, value);
    if (length) {
      text += fmt::format("Content-Length: {}\r\n", *length);
    } else if (head_.http_1_1) {
      chunked_ = true;
      text += "Transfer-Encoding: chunked\r\n";
    } else {
      head_.keep_alive = false;  // the end of the connection is the end of the body
    }
    if (!head_.keep_alive) {
      text += "Connection: close\r\n";
    } else if (!head_.http_1_1) {
      text += "Connection: keep-alive\r\n";
    }
    push_text(text + "\r\n");
  }

  void push(std::shared_ptr<const std::string> bytes) {
    if (bytes->empty() || closed_) return;
    queued_ += bytes->size();
    queue_.push_back({.bytes = std::move(bytes)});
  }
  void push_text(std::string text) { push(std::make_shared<const std::string>(std::move(text))); }

  void write_next() {
    if (closed_ || writing_) return;
    if (queue_.empty()) {
      write_deadline_ = kNever;
      if (complete_) return finish_response();
      if (drain_due_ && response_stream_) {
        drain_due_ = false;
        const auto callback = response_stream_->drained_callback;  // a copy: it may end the stream
        if (callback) callback();
      }
      return;
    }
    std::array<asio::const_buffer, kGather> gathered;
    size_t used = 0;
    for (auto piece = queue_.begin(); piece != queue_.end() && used < kGather; ++piece, ++used) {
      gathered[used] = asio::const_buffer(piece->bytes->data() + piece->offset, piece->bytes->size() - piece->offset);
    }
    writing_ = true;
    set_deadline(write_deadline_, host::Clock::now() + server_->options.write_timeout);
    stream_->async_write_some(gathered, [self = shared_from_this()](error_code error, size_t size) {
      self->writing_ = false;
      if (self->closed_) return self->drop_queue();
      if (error) return self->close();
      self->written(size);
      self->write_next();
    });
  }

  // Not while a write is under way: it reads from the queue (TLS even after the socket is closed).
  void drop_queue() {
    if (writing_) return;
    queue_.clear();
    queued_ = 0;
  }

  void written(size_t size) {
    queued_ -= size;
    while (size > 0) {
      auto& piece = queue_.front();
      const size_t left = piece.bytes->size() - piece.offset;
      if (size < left) {
        piece.offset += size;
        return;
      }
      size -= left;
      queue_.pop_front();
    }
  }

  // All of the response has been queued.
  void complete() {
    complete_ = true;
    write_next();
  }

  void finish_response() {
    complete_ = false;
    drain_due_ = false;
    if (peer_gone_) return close();
    if (head_.keep_alive) return await_request();
    // Closing with unread bytes would reset the connection, and with it destroy the answer
    // on its way (RFC 9112 9.6): say that this is the end, then read what still comes.
    state_ = State::closing;
    read_within(kLingerTimeout);
    if (stream_->tls()) {
      stream_->tls()->async_shutdown([self = shared_from_this()](error_code error) {
        if (!error) self->close();
      });
    } else {
      error_code ignored;
      stream_->socket().shutdown(asio::socket_base::shutdown_send, ignored);
    }
    linger();
  }

  void linger() {
    lingered_ += buffer_.size();
    if (lingered_ > kLingerBytes) return close();
    if (reading_) return;
    buffer_.consume(buffer_.size());
    read_more();
  }

  // Refuses what cannot be understood, after which nothing on this connection can be.
  void refuse(int status, const std::string& message) {
    state_ = State::handling;
    head_.keep_alive = false;
    answer(server_->handler->refusal(status, message));
  }

  void close_stream() {
    auto stream = std::exchange(response_stream_, nullptr);
    if (!stream) return;
    stream->open = false;
    asio::post(server_->executor, [stream] {
      stream->drained_callback = nullptr;
      if (auto callback = std::exchange(stream->closed_callback, nullptr)) callback();
    });
  }

  std::shared_ptr<Server::Impl> server_;  // shared with the Server, which may go first
  std::optional<AnyStream> stream_;       // nothing once upgraded
  beast::flat_buffer buffer_;
  std::string peer_;
  std::optional<ClientCertificate> certificate_;
  State state_ = State::idle;
  bool closed_ = false, reading_ = false, writing_ = false, peer_gone_ = false;
  host::TimePoint idle_since_;
  DeadlineTimer timer_;
  host::TimePoint read_deadline_ = kNever, write_deadline_ = kNever, timer_due_ = kNever;
  // The request under way.
  size_t searched_ = 0;  // bytes of the buffer that hold no end of a header
  std::string head_text_;
  RequestHead head_;
  Request request_;
  std::optional<Parser> parser_;
  // Its response.
  std::shared_ptr<Stream::State> response_stream_;  // shared with the Stream
  bool chunked_ = false, complete_ = false, drain_due_ = false;
  std::deque<Piece> queue_;
  size_t queued_ = 0;
  size_t lingered_ = 0;
};

namespace {

// The first of `ours` that the request's list holds as well; empty when none is.
std::string agree_on_subprotocol(const Headers& headers, const std::vector<std::string>& ours) {
  std::string offered;
  for (const auto& [name, value] : headers) {
    if (strcasecmp(name.c_str(), "sec-websocket-protocol") == 0) offered += value + ",";
  }
  for (const auto& wanted : ours) {
    std::string_view rest = offered;
    while (!rest.empty()) {
      auto item = rest.substr(0, rest.find(','));
      rest.remove_prefix(item.size() + 1);
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with(' ')) item.remove_suffix(1);
      if (item == wanted) return wanted;
    }
  }
  return {};
}

}  // namespace

host::Result<std::shared_ptr<WebSocket::State>> Connection::upgrade(const std::vector<std::string>& subprotocols) {
  const auto invalid = [](std::string why) { return host::fail(host::Error::Code::invalid, std::move(why)); };
  if (closed_ || state_ != State::handling) return host::fail(host::Error::Code::unavailable, "the client has gone");
  if (!head_.wants_upgrade || head_.method != "GET" || !head_.http_1_1 || head_.has_body()) {
    return invalid("a WebSocket handshake is required here (GET with Connection: Upgrade and Upgrade: websocket)");
  }
  if (head_.headers.get("sec-websocket-version") != "13" || head_.headers.get("sec-websocket-key").size() != 24) {
    return invalid("a WebSocket handshake needs Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 16 bytes");
  }
  if (buffer_.size() != 0) return invalid("data before the WebSocket handshake was answered");
  const auto agreed = agree_on_subprotocol(head_.headers, subprotocols);
  if (agreed.empty()) {
    return invalid(fmt::format("none of the WebSocket subprotocols {} is offered", fmt::join(subprotocols, ", ")));
  }
  closed_ = true;  // from here on the stream is the WebSocket's
  timer_.cancel();
  const auto itself = std::make_shared<std::weak_ptr<WebSocket::State>>();
  auto state = begin_web_socket(std::move(*stream_), head_text_, agreed, server_->options.queue_limit,
                                [weak = server_->weak_from_this(), itself] {
                                  if (const auto server = weak.lock()) server->web_sockets.erase(itself->lock());
                                });
  *itself = state;
  server_->web_sockets.insert(state);
  stream_.reset();
  server_->connections.erase(shared_from_this());
  return state;
}

// ---- the server ----------------------------------------------------------------------

void Server::Impl::accept_next() {
  acceptor.async_accept([self = shared_from_this()](error_code error, TcpSocket socket) {
    if (!self->handler) return;
    if (error) {
      if (error == asio::error::operation_aborted) return;
      // Out of descriptors or memory: others' connections end meanwhile.
      host::log_warning("http: accept: {}, trying again", error.message());
      self->retry.expires_after(std::chrono::milliseconds(100));
      self->retry.async_wait([self](error_code cancelled) {
        if (!cancelled && self->handler) self->accept_next();
      });
      return;
    }
    if (self->connections.size() + self->web_sockets.size() >= self->options.max_connections) self->make_room();
    if (self->connections.size() + self->web_sockets.size() < self->options.max_connections) {
      auto connection = std::make_shared<Connection>(self, std::move(socket));
      self->connections.insert(connection);
      connection->start();
    }
    self->accept_next();
  });
}

void Server::Impl::make_room() {
  std::shared_ptr<Connection> oldest;
  for (const auto& connection : connections) {
    if (connection->idle() && (!oldest || connection->idle_since() < oldest->idle_since())) oldest = connection;
  }
  if (oldest) oldest->close();
}

void Server::Impl::stop() {
  error_code ignored;
  acceptor.close(ignored);
  retry.cancel();
  for (const auto& connection : std::unordered_set(connections)) connection->close();
  for (const auto& web_socket : std::unordered_set(web_sockets)) abort_web_socket(*web_socket);
  handler = nullptr;
}

const std::string& Server::Impl::date() {
  const auto now = std::time(nullptr);
  if (now != date_second) {
    date_second = now;
    date_text = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now));
  }
  return date_text;
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { impl_->stop(); }

host::Result<std::unique_ptr<Server>> Server::listen(host::Loop& loop, ServerOptions options, Handler& handler) {
  const auto where = join_address(options.host, options.port);
  error_code error;
  const auto address = asio::ip::make_address(options.host, error);
  if (error) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("listen on {}: {} is not an address", where, options.host));
  }
  auto impl = std::make_shared<Impl>(loop, std::move(options), handler);
  if (impl->options.tls) {
    auto context = server_context(*impl->options.tls);
    if (!context) return std::unexpected(std::move(context.error()).within("listen on " + where));
    impl->tls = std::move(*context);
  }
  const asio::ip::tcp::endpoint endpoint(address, impl->options.port);
  const auto step = [&](error_code result) { return static_cast<bool>(result); };
  if (step(impl->acceptor.open(endpoint.protocol(), error)) ||
      step(impl->acceptor.set_option(asio::socket_base::reuse_address(true), error)) ||
      step(impl->acceptor.bind(endpoint, error)) || step(impl->acceptor.listen(512, error))) {
    return host::sys_fail("listen on " + where, error.value());
  }
  impl->accept_next();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const {
  error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

host::Status Server::reload_tls() {
  if (!impl_->options.tls) return {};
  auto context = server_context(*impl_->options.tls);
  if (!context) return std::unexpected(std::move(context.error()));
  impl_->tls = std::move(*context);
  return {};
}

size_t Server::connections() const { return impl_->connections.size() + impl_->web_sockets.size(); }

// ---- handles -------------------------------------------------------------------------

std::string Request::path() const {
  std::string text;
  for (const auto& segment : segments) text += "/" + segment;
  return text.empty() ? "/" : text;
}

Stream::Stream() = default;
Stream::Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&& other) noexcept {
  if (this != &other) {
    Stream old(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}
Stream::~Stream() {
  if (!state_) return;
  state_->closed_callback = nullptr;
  state_->drained_callback = nullptr;
  if (!state_->open) return;
  if (const auto connection = state_->connection.lock()) connection->close();
}

host::Status Stream::write(std::string chunk) { return write(std::make_shared<const std::string>(std::move(chunk))); }
host::Status Stream::write(std::shared_ptr<const std::string> chunk) {
  const auto connection = open() ? state_->connection.lock() : nullptr;
  if (!connection) return host::fail(host::Error::Code::unavailable, "the client has gone");
  return connection->chunk(std::move(chunk));
}
void Stream::end() {
  if (!open()) return;
  if (const auto connection = state_->connection.lock()) connection->end_stream();
}
bool Stream::open() const { return state_ && state_->open; }
size_t Stream::queued() const {
  const auto connection = open() ? state_->connection.lock() : nullptr;
  return connection ? connection->queued() : 0;
}
void Stream::on_closed(std::function<void()> callback) {
  if (state_) state_->closed_callback = std::move(callback);
}
void Stream::on_drained(std::function<void()> callback) {
  if (state_) state_->drained_callback = std::move(callback);
}

Exchange::Exchange(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
Exchange::Exchange(Exchange&&) noexcept = default;
Exchange& Exchange::operator=(Exchange&& other) noexcept {
  if (this != &other) {
    Exchange old(std::move(*this));
    connection_ = std::move(other.connection_);
  }
  return *this;
}
Exchange::~Exchange() {
  if (connection_) connection_->answer({.status = 500, .content_type = "text/plain", .body = "no answer\n"});
}

void Exchange::answer(Answer answer) {
  if (const auto connection = std::exchange(connection_, nullptr)) connection->answer(std::move(answer));
}
Stream Exchange::stream(Answer answer) {
  const auto connection = std::exchange(connection_, nullptr);
  return connection ? Stream(connection->open_stream(std::move(answer))) : Stream();
}
host::Result<WebSocket> Exchange::upgrade(const std::vector<std::string>& subprotocols) {
  if (!connection_) return host::fail(host::Error::Code::invalid, "answered already");
  auto state = connection_->upgrade(subprotocols);
  if (!state) return std::unexpected(std::move(state.error()));
  connection_.reset();
  return WebSocket(std::move(*state));
}

}  // namespace keelson::http
