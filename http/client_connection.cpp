#include "http/client_connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <limits>

#include "http/tls.h"

namespace keelson::http {

namespace {

constexpr uint32_t kHeaderLimit = 64u << 10;
constexpr unsigned kMaxInterim = 8;  // 1xx responses before the real one
constexpr size_t kReadHead = 16u << 10, kReadBody = 64u << 10;

std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

bool has_line_break(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

}  // namespace

void CutBody::reader::init(const boost::optional<uint64_t>& length, error_code& error) {
  error = {};
  // Not more at once than a peer that only announces may cost us.
  if (length) body_.text.reserve(std::min<uint64_t>({*length, body_.limit, 1u << 20}));
}

template <typename Buffers>
size_t CutBody::reader::put(const Buffers& buffers, error_code& error) {
  error = {};
  size_t taken = 0;
  for (const auto& buffer : beast::buffers_range_ref(buffers)) {
    const size_t part = std::min(body_.limit - body_.text.size(), buffer.size());
    body_.text.append(static_cast<const char*>(buffer.data()), part);
    taken += part;
    if (part < buffer.size()) {
      body_.cut = true;
      error = beast::http::error::body_limit;
      break;
    }
  }
  return taken;
}

host::Result<std::string> request_text(const Url& url, const std::string& method, const std::string& target,
                                       const Headers& headers, std::string_view body, bool keep_alive) {
  bool broken = method.empty() || has_line_break(method) || has_line_break(target) ||
                target.find(' ') != std::string::npos || method.find(' ') != std::string::npos;
  for (const auto& [name, value] : headers) broken = broken || has_line_break(name) || has_line_break(value);
  if (broken) {
    return host::fail(host::Error::Code::invalid, "a line break in the method, the target or a header");
  }
  std::string text;
  text.reserve(256 + target.size() + body.size());
  text.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  if (!headers.has("host")) text.append("Host: ").append(url.authority()).append("\r\n");
  for (const auto& [name, value] : headers) text.append(name).append(": ").append(value).append("\r\n");
  if (!headers.has("user-agent")) text += "User-Agent: keelson\r\n";
  if (!headers.has("accept")) text += "Accept: */*\r\n";
  if (!url.userinfo.empty() && !headers.has("authorization")) {
    text.append("Authorization: Basic ").append(base64(url.userinfo)).append("\r\n");
  }
  if (!body.empty() || method == "POST" || method == "PUT") {
    fmt::format_to(std::back_inserter(text), "Content-Length: {}\r\n", body.size());
  }
  text += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  text += body;
  return text;
}

ClientConnection::ClientConnection(Executor executor, ClientPeer peer)
    : peer_(std::move(peer)), stream_(TcpSocket(executor), peer_.tls), resolver_(executor) {}

// ---- opening

void ClientConnection::open(std::move_only_function<void(host::Status)> done) {
  open_done_ = std::move(done);
  const auto& target = peer_.connect_to.empty() ? peer_.url.host : peer_.connect_to;
  error_code error;
  const auto address = asio::ip::make_address(target, error);
  if (!error) {
    endpoints_ = {asio::ip::tcp::endpoint(address, static_cast<uint16_t>(std::stoul(peer_.url.port)))};
    return connect();
  }
  resolver_.async_resolve(target, peer_.url.port, asio::ip::resolver_base::numeric_service,
                          [self = shared_from_this()](error_code failure, const auto& results) {
                            if (self->closed_) return;
                            if (failure) return self->fail("look up " + self->peer_.url.host, failure);
                            self->endpoints_.clear();
                            for (const auto& result : results) self->endpoints_.push_back(result.endpoint());
                            self->connect();
                          });
}

void ClientConnection::connect() {
  asio::async_connect(stream_.socket(), endpoints_, [self = shared_from_this()](error_code error, const auto&) {
    if (self->closed_) return;
    if (error) return self->fail("connect", error);
    auto& socket = self->stream_.socket();
    error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    // A server that vanished without a word is found by the kernel in a minute.
    const int keep_alive = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(socket.native_handle(), SOL_SOCKET, SO_KEEPALIVE, &keep_alive, sizeof keep_alive);
    setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    self->handshake();
  });
}

void ClientConnection::handshake() {
  if (!stream_.tls()) return opened({});
  if (auto named = expect_server_name(stream_.tls()->native_handle(), peer_.tls_name, peer_.verify); !named) {
    return opened(std::move(named));
  }
  stream_.tls()->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](error_code error) {
    if (self->closed_) return;
    if (!error) return self->opened({});
    auto refusal = certificate_refusal(self->stream_.tls()->native_handle());
    if (!refusal) return self->fail("TLS handshake", error);
    self->opened(host::fail(host::Error::Code::denied, std::move(*refusal)));
  });
}

void ClientConnection::opened(host::Status status) {
  if (!status) {
    auto done = std::exchange(open_done_, nullptr);
    close();
    return done(std::move(status));
  }
  open_ = true;
  read_more();
  std::exchange(open_done_, nullptr)({});
}

void ClientConnection::close() {
  if (closed_) return;
  closed_ = true;
  open_done_ = nullptr;
  sink_.reset();
  idle_ended = nullptr;
  resolver_.cancel();
  close_socket(stream_);
}

bool ClientConnection::reusable() {
  if (closed_ || !open_ || sink_ || writing_ || buffer_.size() > 0) return false;
  char byte;
  // Whatever there is to read now, the end or a TLS alert or an answer to nothing, ends it.
  const auto size = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

// ---- an exchange

void ClientConnection::exchange(Exchange exchange, std::shared_ptr<ResponseSink> sink) {
  exchange_ = std::move(exchange);
  sink_ = std::move(sink);
  paused_ = unread_ = false;
  interim_ = 0;
  begin_response();
  writing_ = true;
  asio::async_write(stream_, asio::buffer(exchange_.text),
                    [self = shared_from_this()](error_code error, size_t written) {
                      self->writing_ = false;
                      if (self->closed_) return;
                      // A server that refuses early may close while we still send: its answer counts. Without
                      // one the read that is pending tells the end.
                      if (error) self->unread_ = written == 0;
                    });
  read_more();
}

void ClientConnection::begin_response() {
  parser_.emplace();
  head_told_ = false;
  parser_->eager(true);
  parser_->header_limit(kHeaderLimit);
  // CutBody counts. Not boost::none: Beast 1.74 compares it with a Content-Length and finds that smaller.
  parser_->body_limit(std::numeric_limits<uint64_t>::max());
  parser_->get().body().limit = exchange_.stream ? std::numeric_limits<size_t>::max() : exchange_.body_limit;
  parser_->skip(exchange_.head_only);
}

void ClientConnection::resume() {
  if (!paused_) return;
  paused_ = false;
  read_more();
}

void ClientConnection::read_more() {
  if (closed_ || reading_ || paused_) return;
  reading_ = true;
  stream_.async_read_some(buffer_.prepare(head_told_ ? kReadBody : kReadHead),
                          [self = shared_from_this()](error_code error, size_t size) {
                            self->reading_ = false;
                            if (!self->closed_) self->on_read(error, size);
                          });
}

void ClientConnection::on_read(error_code error, size_t size) {
  buffer_.commit(size);
  if (!sink_) {  // idle: whatever it is, this connection is of no use any more
    const auto told = std::exchange(idle_ended, nullptr);
    close();
    if (told) told();
    return;
  }
  if (!error) return parse();
  error_code ending = error;
  // A body without a length ends with the connection; with TLS only with its close_notify.
  if (error == asio::error::eof && parser_->got_some()) {
    parser_->put_eof(ending);
    if (!ending && parser_->is_done()) return complete();
    ending = error;
  }
  fail("read the answer", ending);
}

// Tells the head once it is there. False: the connection was closed meanwhile, or the
// response was an interim one, and the next is awaited.
bool ClientConnection::take_head() {
  const int status = static_cast<int>(parser_->get().result_int());
  if (status / 100 == 1) {
    if (status == 101 || ++interim_ > kMaxInterim) {
      finish(host::fail(host::Error::Code::unavailable,
                        fmt::format("an unexpected {} {}", status, reason_phrase(status))));
    } else {
      begin_response();
    }
    return false;
  }
  head_told_ = true;
  Headers headers;
  for (const auto& field : parser_->get().base()) {
    headers.add(std::string(field.name_string()), std::string(field.value()));
  }
  const auto sink = sink_;
  sink->on_head(status, std::move(headers));
  return !closed_;
}

// All that has been read. put() by hand, not Beast's read operations: those wait for more
// when a chunk has come whole but for its line end, and would hold back a watch's event.
void ClientConnection::parse() {
  while (buffer_.size() > 0 && !parser_->is_done()) {
    error_code error;
    const size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (parser_->is_header_done() && !head_told_) {
      if (!take_head()) {
        if (closed_ || !sink_) return;
        continue;
      }
    }
    if (parser_->get().body().cut) {
      const auto sink = sink_;
      sink->on_body(std::move(parser_->get().body().text), true);
      if (!closed_) finish({});
      return;
    }
    if (error == beast::http::error::need_more) break;
    if (error) return fail("read the answer", error);
    if (used == 0) break;
  }
  if (buffer_.size() > kHeaderLimit) return fail("read the answer", beast::http::error::header_limit);
  if (exchange_.stream && head_told_ && !parser_->get().body().text.empty()) {
    const auto sink = sink_;
    sink->on_body(std::exchange(parser_->get().body().text, {}), false);
    if (closed_) return;
  }
  if (parser_->is_done() && head_told_) return complete();
  read_more();
}

void ClientConnection::complete() {
  if (!exchange_.stream || !parser_->get().body().text.empty()) {
    const auto sink = sink_;
    sink->on_body(std::exchange(parser_->get().body().text, {}), false);
    if (closed_) return;
  }
  const bool keep = exchange_.keep_alive && parser_->keep_alive() && !writing_ && buffer_.size() == 0;
  if (!keep) return finish({});
  const auto sink = std::exchange(sink_, nullptr);
  head_told_ = paused_ = false;
  read_more();
  sink->on_finished({});
}

void ClientConnection::fail(std::string_view step, error_code error) {
  std::string why = error.message();
  if (error == beast::http::error::end_of_stream || error == asio::error::eof ||
      error == beast::http::error::partial_message || error == asio::ssl::error::stream_truncated) {
    why = "the connection was closed";
  }
  auto failure = host::fail(host::Error::Code::unavailable, fmt::format("{}: {}", step, why));
  if (error.category() == boost::system::system_category()) failure.error().sys = error.value();
  if (open_done_) return opened(std::move(failure));
  finish(std::move(failure));
}

// The end of the exchange and of the connection.
void ClientConnection::finish(host::Status status) {
  const auto sink = std::exchange(sink_, nullptr);
  close();
  if (sink) sink->on_finished(std::move(status));
}

}  // namespace keelson::http
