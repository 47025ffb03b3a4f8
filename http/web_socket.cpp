#include "http/web_socket.h"

#include <boost/asio/post.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>

namespace keelson::http {

namespace {

namespace websocket = beast::websocket;

constexpr size_t kMaxMessage = 1u << 20;

}  // namespace

struct WebSocket::State : std::enable_shared_from_this<WebSocket::State> {
  State(AnyStream stream, std::string agreed, size_t limit, std::function<void()> gone_callback)
      : socket(std::move(stream)), subprotocol(std::move(agreed)), queue_limit(limit), gone(std::move(gone_callback)) {}

  void accept(const std::string& head) {
    beast::http::request_parser<beast::http::empty_body> parser;
    error_code error;
    parser.put(asio::buffer(head), error);
    websocket::stream_base::timeout timeouts{};
    timeouts.handshake_timeout = std::chrono::seconds(10);   // the closing handshake's too
    timeouts.idle_timeout = websocket::stream_base::none();  // TCP keep-alive finds dead peers, even while paused
    timeouts.keep_alive_pings = false;
    socket.set_option(timeouts);
    socket.set_option(websocket::stream_base::decorator([agreed = subprotocol](websocket::response_type& response) {
      if (!agreed.empty()) response.set(beast::http::field::sec_websocket_protocol, agreed);
    }));
    socket.read_message_max(kMaxMessage);
    socket.auto_fragment(false);
    socket.binary(true);
    if (error) return asio::post(socket.get_executor(), [self = shared_from_this()] { self->finish(); });
    socket.async_accept(parser.get(), [self = shared_from_this()](error_code failure) {
      if (failure) return self->finish();
      self->accepted = true;
      self->write_next();
      self->read_next();
    });
  }

  void read_next() {
    if (!is_open || !accepted || paused || reading) return;
    reading = true;
    socket.async_read(inbound, [self = shared_from_this()](error_code error, size_t) {
      self->reading = false;
      if (error) return self->finish();
      std::string message = beast::buffers_to_string(self->inbound.data());
      self->inbound.consume(self->inbound.size());
      if (self->message_callback) {
        const auto callback = self->message_callback;  // a copy: it may replace itself
        callback(std::move(message));
      }
      self->read_next();
    });
  }

  void write_next() {
    if (!is_open || !accepted || writing) return;
    if (queue.empty()) {
      if (closing) close_now();
      return;
    }
    writing = true;
    socket.async_write(asio::buffer(queue.front()), [self = shared_from_this()](error_code error, size_t) {
      self->writing = false;
      if (error || !self->is_open) {
        self->finish();
        return self->drop_queue();  // finish() may have come while this was under way
      }
      self->queued -= self->queue.front().size();
      self->queue.pop_front();
      if (self->queue.empty() && self->drained_callback && !self->closing) {
        const auto callback = self->drained_callback;
        callback();
      }
      self->write_next();
    });
  }

  void close_now() {
    if (close_sent) return;
    close_sent = true;
    // The reading side ends with the peer's close frame, or with the handshake's timeout.
    socket.async_close(websocket::close_code::normal, [self = shared_from_this()](error_code) { self->finish(); });
    paused = false;
    read_next();
  }

  // Not while a write is under way: it reads from the queue, and its completion comes still.
  void drop_queue() {
    if (writing) return;
    queue.clear();
    queued = 0;
  }

  void finish() {
    if (!is_open) return;
    is_open = false;
    close_socket(socket.next_layer());
    drop_queue();
    if (auto tell = std::exchange(gone, nullptr)) tell();
    asio::post(socket.get_executor(), [self = shared_from_this()] {
      self->message_callback = nullptr;
      self->drained_callback = nullptr;
      if (auto callback = std::exchange(self->closed_callback, nullptr)) callback();
    });
  }

  websocket::stream<AnyStream> socket;
  std::string subprotocol;
  size_t queue_limit;
  std::function<void()> gone;
  beast::flat_buffer inbound{kMaxMessage + 1024};
  std::deque<std::string> queue;
  size_t queued = 0;
  bool is_open = true, accepted = false, paused = true, reading = false, writing = false;
  bool closing = false, close_sent = false;
  std::function<void(std::string)> message_callback;
  std::function<void()> closed_callback, drained_callback;
};

std::shared_ptr<WebSocket::State> begin_web_socket(AnyStream stream, const std::string& head, std::string subprotocol,
                                                   size_t queue_limit, std::function<void()> gone) {
  auto state =
      std::make_shared<WebSocket::State>(std::move(stream), std::move(subprotocol), queue_limit, std::move(gone));
  state->accept(head);
  return state;
}

void abort_web_socket(WebSocket::State& state) { state.finish(); }

WebSocket::WebSocket() = default;
WebSocket::WebSocket(std::shared_ptr<State> state) : state_(std::move(state)) {}
WebSocket::WebSocket(WebSocket&&) noexcept = default;
WebSocket& WebSocket::operator=(WebSocket&& other) noexcept {
  if (this != &other) {
    WebSocket old(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}
WebSocket::~WebSocket() {
  if (!state_) return;
  state_->message_callback = nullptr;
  state_->drained_callback = nullptr;
  state_->closed_callback = nullptr;
  if (!state_->closing) state_->finish();
}

const std::string& WebSocket::subprotocol() const { return state_->subprotocol; }

host::Status WebSocket::send(std::string message) {
  if (!open() || state_->closing) return host::fail(host::Error::Code::unavailable, "the connection has ended");
  if (state_->queued > 0 && state_->queued + message.size() > state_->queue_limit) {
    state_->finish();
    return host::fail(host::Error::Code::unavailable, "the client reads too slowly");
  }
  state_->queued += message.size();
  state_->queue.push_back(std::move(message));
  state_->write_next();
  return {};
}

void WebSocket::close() {
  if (!state_ || state_->closing) return;
  state_->closing = true;
  state_->write_next();
}

bool WebSocket::open() const { return state_ && state_->is_open; }
size_t WebSocket::queued() const { return state_ ? state_->queued : 0; }
void WebSocket::on_message(std::function<void(std::string)> callback) {
  if (!state_) return;
  state_->message_callback = std::move(callback);
  resume();
}
void WebSocket::on_closed(std::function<void()> callback) {
  if (state_) state_->closed_callback = std::move(callback);
}
void WebSocket::on_drained(std::function<void()> callback) {
  if (state_) state_->drained_callback = std::move(callback);
}
void WebSocket::pause() {
  if (state_) state_->paused = true;
}
void WebSocket::resume() {
  if (!state_) return;
  state_->paused = false;
  // Not from within the caller: a message that is there already would be delivered inside this call.
  asio::post(state_->socket.get_executor(), [state = state_] { state->read_next(); });
}

}  // namespace keelson::http
