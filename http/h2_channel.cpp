#include "http/h2_channel.h"

#include <fmt/core.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "http/any_stream.h"
#include "http/tls.h"

namespace keelson::http {

using std::chrono::milliseconds;

namespace {

constexpr int32_t kStreamWindow = 8 << 20, kConnectionWindow = 16 << 20;
constexpr size_t kRead = 64u << 10, kWrite = 256u << 10;
constexpr size_t kMaxHeaders = 64;

nghttp2_nv name_value(const std::pair<std::string, std::string>& field) {
  // nghttp2 takes what it does not change by pointers to what is not const.
  return {.name = reinterpret_cast<uint8_t*>(const_cast<char*>(field.first.data())),
          .value = reinterpret_cast<uint8_t*>(const_cast<char*>(field.second.data())),
          .namelen = field.first.size(),
          .valuelen = field.second.size(),
          .flags = NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct H2Channel::Peer {
  H2Settings settings;
  TlsContext tls;
};

// Held by the channel and by its own pending operations.
struct H2Connection : std::enable_shared_from_this<H2Connection> {
  using Stream = BasicAnyStream<AnySocket>;
  using Session = std::unique_ptr<nghttp2_session, decltype(&nghttp2_session_del)>;

  // What is left of a request's body.
  struct Outgoing {
    std::shared_ptr<H2Exchange> exchange;  // nothing: cancelled
    std::string body;
    size_t sent = 0;
    bool last = false, deferred = false;
  };
  struct Waiting {
    std::shared_ptr<H2Exchange> exchange;
    Headers request;
    std::string body;
    bool last;
  };

  H2Connection(host::Loop& loop, std::shared_ptr<const H2Channel::Peer> peer)
      : loop(loop),
        peer(std::move(peer)),
        stream(AnySocket(loop.context().get_executor()), this->peer->tls),
        resolver(loop.context().get_executor()) {}

  void open();
  void connect();
  void handshake();
  void opened();
  void close();
  void fail(std::string why, bool unseen);
  void fail(std::string_view step, error_code error);

  void begin(std::shared_ptr<H2Exchange> exchange, const Headers& request, std::string body, bool last);
  void submit(std::shared_ptr<H2Exchange> exchange, const Headers& request, std::string body, bool last);
  void send(H2Exchange& exchange, std::string part, bool last);
  void cancel(H2Exchange& exchange);
  void abandon();
  bool takes_new() const { return !closed && (!session || nghttp2_session_check_request_allowed(session.get()) != 0); }

  void flush_soon();
  void flush();
  void read_more();
  void beat();

  void note(const std::shared_ptr<H2Exchange>& exchange);
  void tell();

  Outgoing* of(int32_t id) {
    const auto found = streams.find(id);
    return found == streams.end() ? nullptr : &found->second;
  }

  static nghttp2_session_callbacks* callbacks();

  host::Loop& loop;
  const std::shared_ptr<const H2Channel::Peer> peer;  // shared with the channel
  Stream stream;
  asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver;
  std::vector<asio::generic::stream_protocol::endpoint> endpoints;
  Session session{nullptr, &nghttp2_session_del};  // once the connection stands
  std::vector<Waiting> waiting;                    // until then
  std::unordered_map<int32_t, Outgoing> streams;
  std::vector<std::shared_ptr<H2Exchange>> news;  // shared with their users
  std::string incoming = std::string(kRead, '\0'), outgoing;
  bool closed = false, writing = false, flush_posted = false, pinged = false;
  host::TimePoint heard;
  host::Timer patience, heart;
};

// ---- opening

void H2Connection::open() {
  const H2Settings& settings = peer->settings;
  patience = loop.after(settings.connect_timeout, [this] { fail("connect: no answer in time", true); });
  if (!settings.socket.empty()) {
    // Asio throws on a path that is too long.
    if (settings.socket.native().size() >= sizeof(sockaddr_un::sun_path)) {
      return asio::post(loop.context(), [self = shared_from_this()] {
        if (!self->closed) self->fail("connect: the socket's path is too long", true);
      });
    }
    endpoints = {asio::local::stream_protocol::endpoint(settings.socket.native())};
    return connect();
  }
  error_code error;
  if (const auto address = asio::ip::make_address(settings.host, error); !error) {
    endpoints = {asio::ip::tcp::endpoint(address, static_cast<uint16_t>(std::stoul(settings.port)))};
    return connect();
  }
  resolver.async_resolve(settings.host, settings.port, asio::ip::resolver_base::numeric_service,
                         [self = shared_from_this()](error_code failure, const auto& results) {
                           if (self->closed) return;
                           if (failure) return self->fail("look up " + self->peer->settings.host, failure);
                           for (const auto& result : results) self->endpoints.emplace_back(result.endpoint());
                           self->connect();
                         });
}

void H2Connection::connect() {
  asio::async_connect(stream.socket(), endpoints, [self = shared_from_this()](error_code error, const auto&) {
    if (self->closed) return;
    if (error) return self->fail("connect", error);
    error_code none_with_a_unix_socket;
    self->stream.socket().set_option(asio::ip::tcp::no_delay(true), none_with_a_unix_socket);
    self->handshake();
  });
}

void H2Connection::handshake() {
  if (!stream.tls()) return opened();
  auto* tls = stream.tls()->native_handle();
  const ClientTls& settings = *peer->settings.tls;
  const std::string& name = settings.server_name.empty() ? peer->settings.host : settings.server_name;
  if (auto named = expect_server_name(tls, name, settings.verify); !named) return fail(named.error().message, true);
  static constexpr unsigned char kH2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(tls, kH2, sizeof kH2);
  stream.tls()->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](error_code error) {
    if (self->closed) return;
    if (!error) return self->opened();
    auto refusal = certificate_refusal(self->stream.tls()->native_handle());
    if (!refusal) return self->fail("TLS handshake", error);
    self->fail(std::move(*refusal), true);
  });
}

void H2Connection::opened() {
  patience.cancel();
  nghttp2_session* made = nullptr;
  if (nghttp2_session_client_new(&made, callbacks(), this) != 0) return fail("out of memory", true);
  session.reset(made);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow}};
  nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  heard = host::Clock::now();
  read_more();
  for (Waiting& one : std::exchange(waiting, {})) {
    if (one.exchange->live_) submit(std::move(one.exchange), one.request, std::move(one.body), one.last);
  }
  flush();
}

void H2Connection::close() {
  closed = true;
  patience.cancel();
  heart.cancel();
  resolver.cancel();
  error_code ignored;
  stream.socket().close(ignored);
}

void H2Connection::fail(std::string_view step, error_code error) {
  const bool ended = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  fail(fmt::format("{}: {}", step, ended ? "the connection was closed" : error.message()), !session);
}

// The end of the connection and of all that is on it. `unseen`: nothing was sent yet.
void H2Connection::fail(std::string why, bool unseen) {
  const auto self = shared_from_this();  // whoever hears of it may let go of us
  close();
  const auto end = [&](const std::shared_ptr<H2Exchange>& exchange) {
    if (!exchange || exchange->end) return;
    exchange->end = {.complete = false, .unseen = unseen, .why = why};
    note(exchange);
  };
  for (const Waiting& one : std::exchange(waiting, {})) end(one.exchange);
  for (const auto& [id, outgoing_stream] : std::exchange(streams, {})) end(outgoing_stream.exchange);
  tell();
}

// ---- requests

void H2Connection::begin(std::shared_ptr<H2Exchange> exchange, const Headers& request, std::string body, bool last) {
  exchange->connection_ = weak_from_this();
  exchange->live_ = true;
  if (session) {
    submit(std::move(exchange), request, std::move(body), last);
    flush_soon();
  } else {
    waiting.push_back({std::move(exchange), request, std::move(body), last});
  }
}

void H2Connection::submit(std::shared_ptr<H2Exchange> exchange, const Headers& request, std::string body, bool last) {
  std::vector<nghttp2_nv> fields;
  for (const auto& field : request) fields.push_back(name_value(field));
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t* to, size_t room, uint32_t* flags,
                              nghttp2_data_source*, void* connection) -> ssize_t {
    Outgoing* one = static_cast<H2Connection*>(connection)->of(id);
    if (one == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t size = std::min(room, one->body.size() - one->sent);
    std::memcpy(to, one->body.data() + one->sent, size);
    one->sent += size;
    if (one->sent == one->body.size()) {
      one->body.clear();
      one->sent = 0;
      if (one->last) *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!one->last && size == 0) {
        one->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
      }
    }
    return static_cast<ssize_t>(size);
  };
  const int32_t id = nghttp2_submit_request(session.get(), nullptr, fields.data(), fields.size(), &provider, nullptr);
  if (id < 0) {
    exchange->end = {.complete = false, .unseen = true, .why = nghttp2_strerror(id)};
    note(exchange);
    return asio::post(loop.context(), [self = shared_from_this()] { self->tell(); });
  }
  exchange->id_ = id;
  streams.emplace(id, Outgoing{.exchange = std::move(exchange), .body = std::move(body), .last = last});
  if (!heart.armed()) beat();
}

void H2Connection::send(H2Exchange& exchange, std::string part, bool last) {
  if (closed || exchange.end) return;
  if (exchange.id_ == 0) {
    const auto found = std::ranges::find(waiting, &exchange, [](const auto& one) { return one.exchange.get(); });
    if (found == waiting.end()) return;
    found->body += part;
    found->last = last;
    return;
  }
  Outgoing* one = of(exchange.id_);
  if (one == nullptr) return;
  one->body += part;
  one->last = last;
  if (std::exchange(one->deferred, false)) nghttp2_session_resume_data(session.get(), exchange.id_);
  flush_soon();
}

void H2Connection::cancel(H2Exchange& exchange) {
  if (closed) return;
  if (exchange.id_ == 0) {
    std::erase_if(waiting, [&](const Waiting& one) { return one.exchange.get() == &exchange; });
    return;
  }
  Outgoing* one = of(exchange.id_);
  if (one == nullptr) return;
  one->exchange = nullptr;
  nghttp2_submit_rst_stream(session.get(), NGHTTP2_FLAG_NONE, exchange.id_, NGHTTP2_CANCEL);
  flush_soon();
}

// The channel goes.
void H2Connection::abandon() {
  close();
  for (const Waiting& one : waiting) one.exchange->live_ = false;
  for (const auto& [id, one] : streams) {
    if (one.exchange) one.exchange->live_ = false;
  }
  for (const auto& exchange : news) exchange->live_ = false;
  waiting.clear();
  streams.clear();
}

void H2Exchange::send(std::string part, bool last) {
  if (const auto connection = connection_.lock()) connection->send(*this, std::move(part), last);
}

void H2Exchange::cancel() {
  if (!std::exchange(live_, false)) return;
  if (const auto connection = connection_.lock()) connection->cancel(*this);
}

// ---- bytes

// All that this turn of the loop asks for goes out together.
void H2Connection::flush_soon() {
  if (closed || writing || std::exchange(flush_posted, true)) return;
  asio::post(loop.context(), [self = shared_from_this()] {
    self->flush_posted = false;
    self->flush();
  });
}

void H2Connection::flush() {
  if (closed || writing) return;
  outgoing.clear();
  while (outgoing.size() < kWrite) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session.get(), &data);
    if (size < 0) return fail(nghttp2_strerror(static_cast<int>(size)), false);
    if (size == 0) break;
    outgoing.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  }
  if (outgoing.empty()) {
    const bool over = nghttp2_session_want_read(session.get()) == 0 && nghttp2_session_want_write(session.get()) == 0;
    return over ? fail("the connection was ended", false) : tell();
  }
  writing = true;
  asio::async_write(stream, asio::buffer(outgoing), [self = shared_from_this()](error_code error, size_t) {
    self->writing = false;
    // The read that is pending tells the end, after what the server may have said before.
    if (!error) self->flush();
  });
  tell();  // a stream that we reset ends by being sent so
}

void H2Connection::read_more() {
  stream.async_read_some(asio::buffer(incoming), [self = shared_from_this()](error_code error, size_t size) {
    if (self->closed) return;
    if (error) return self->fail("read", error);
    self->heard = host::Clock::now();
    self->pinged = false;
    const ssize_t used =
        nghttp2_session_mem_recv(self->session.get(), reinterpret_cast<const uint8_t*>(self->incoming.data()), size);
    if (used < 0) return self->fail(nghttp2_strerror(static_cast<int>(used)), false);
    self->tell();
    self->flush();
    if (!self->closed) self->read_more();
  });
}

// Armed while there are exchanges.
void H2Connection::beat() {
  const milliseconds after = peer->settings.ping_after, timeout = peer->settings.ping_timeout;
  heart = loop.after(pinged ? timeout : after, [this, after] {
    if (streams.empty()) return;
    const bool silent = host::Clock::now() - heard >= after;
    if (pinged) return fail("the server does not answer a ping", false);
    if (silent) {
      pinged = true;
      nghttp2_submit_ping(session.get(), NGHTTP2_FLAG_NONE, nullptr);
      flush_soon();
    }
    beat();
  });
}

// ---- what has come

void H2Connection::note(const std::shared_ptr<H2Exchange>& exchange) {
  if (!exchange->live_ || std::exchange(exchange->has_news_, true)) return;
  news.push_back(exchange);
}

void H2Connection::tell() {
  const auto self = shared_from_this();
  // Not by a copy: abandon() must find those that are still to be told.
  for (size_t i = 0; i < news.size(); ++i) {
    const auto exchange = news[i];
    exchange->has_news_ = false;
    if (exchange->live_) exchange->on_news();
  }
  news.clear();
}

nghttp2_session_callbacks* H2Connection::callbacks() {
  static const auto made = [] {
    nghttp2_session_callbacks* all = nullptr;
    nghttp2_session_callbacks_new(&all);
    nghttp2_session_callbacks_set_on_header_callback(
        all, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                const uint8_t* value, size_t value_size, uint8_t, void* connection) {
          Outgoing* one = static_cast<H2Connection*>(connection)->of(frame->hd.stream_id);
          if (one == nullptr || !one->exchange) return 0;
          Headers& headers = one->exchange->headers;
          if (headers.end() - headers.begin() >= static_cast<ptrdiff_t>(kMaxHeaders)) {
            return static_cast<int>(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
          }
          headers.add(std::string(reinterpret_cast<const char*>(name), name_size),
                      std::string(reinterpret_cast<const char*>(value), value_size));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        all, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* connection) {
          auto& self = *static_cast<H2Connection*>(connection);
          Outgoing* one = self.of(id);
          if (one == nullptr || !one->exchange) return 0;
          one->exchange->received.append(reinterpret_cast<const char*>(data), size);
          self.note(one->exchange);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        all, [](nghttp2_session*, int32_t id, uint32_t code, void* connection) {
          auto& self = *static_cast<H2Connection*>(connection);
          const auto found = self.streams.find(id);
          if (found == self.streams.end()) return 0;
          const auto exchange = std::move(found->second.exchange);
          self.streams.erase(found);
          if (!exchange) return 0;
          exchange->end = {.complete = code == NGHTTP2_NO_ERROR,
                           .unseen = code == NGHTTP2_REFUSED_STREAM,
                           .why = nghttp2_http2_strerror(code)};
          self.note(exchange);
          return 0;
        });
    return all;
  }();
  return made;
}

// ---- the channel

H2Channel::H2Channel(host::Loop& loop, std::shared_ptr<const Peer> peer) : loop_(loop), peer_(std::move(peer)) {}

host::Result<std::unique_ptr<H2Channel>> H2Channel::create(host::Loop& loop, H2Settings settings) {
  TlsContext tls;
  if (settings.tls) {
    auto made = client_context(*settings.tls);
    if (!made) return std::unexpected(std::move(made.error()));
    tls = std::move(*made);
  }
  auto peer = std::make_shared<const Peer>(Peer{std::move(settings), std::move(tls)});
  return std::unique_ptr<H2Channel>(new H2Channel(loop, std::move(peer)));
}

H2Channel::~H2Channel() {
  if (current_) current_->abandon();
  for (const auto& one : leaving_) one->abandon();
}

void H2Channel::begin(std::shared_ptr<H2Exchange> exchange, const Headers& request, std::string body, bool last) {
  if (current_ && !current_->takes_new()) {
    std::erase_if(leaving_, [](const auto& one) { return one->closed; });
    if (!current_->closed) leaving_.push_back(current_);
    current_ = nullptr;
  }
  if (!current_) {
    current_ = std::make_shared<H2Connection>(loop_, peer_);
    current_->open();
  }
  current_->begin(std::move(exchange), request, std::move(body), last);
}

}  // namespace keelson::http
