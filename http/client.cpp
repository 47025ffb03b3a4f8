#include "http/client.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <limits>

#include "http/any_stream.h"
#include "http/tls.h"

namespace keelson::http {

namespace {

constexpr uint32_t kHeaderLimit = 64u << 10;
constexpr unsigned kMaxInterim = 8;  // 1xx responses before the real one

// A body that is cut at a limit; what comes after it is not read.
struct CutBody {
  struct value_type {
    std::string text;
    size_t limit = 0;
    bool cut = false;
  };
  class reader {
   public:
    template <bool isRequest, typename Fields>
    reader(beast::http::header<isRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>& length, error_code& error) {
      error = {};
      if (length) body_.text.reserve(std::min<uint64_t>(*length, body_.limit));
    }
    template <typename Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
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
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

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

struct FetchHandle::Operation : std::enable_shared_from_this<FetchHandle::Operation> {
  using Parser = beast::http::response_parser<CutBody>;
  using Done = std::move_only_function<void(host::Result<FetchResponse>)>;

  Operation(host::Loop& on_loop, Fetch fetch, Done callback)
      : loop(on_loop),
        request(std::move(fetch)),
        done(std::move(callback)),
        executor(on_loop.context().get_executor()),
        resolver(executor) {}

  void start() {
    timer = loop.after(request.timeout, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || !self->done) return;
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(self->request.timeout).count();
      self->finish(host::fail(host::Error::Code::unavailable,
                              fmt::format("{}: no answer within {} s", self->where(), static_cast<double>(ms) / 1000)));
    });
    // Later, so that no callback runs inside fetch().
    asio::post(executor, [self = shared_from_this()] {
      if (self->done) self->begin();
    });
  }

  void begin() {
    auto parsed = parse_url(request.url);
    if (!parsed) return finish(std::unexpected(std::move(parsed.error())));
    url = std::move(*parsed);
    bool broken = has_line_break(request.method) || request.method.empty();
    for (const auto& [name, value] : request.headers) broken = broken || has_line_break(name) || has_line_break(value);
    if (broken) {
      return finish(
          host::fail(host::Error::Code::invalid, fmt::format("{}: a line break in the method or a header", where())));
    }
    TlsContext context;
    if (url.tls) {
      auto made = client_context(request.tls);
      if (!made) return finish(std::unexpected(std::move(made.error()).within(where())));
      context = std::move(*made);
    }
    stream.emplace(TcpSocket(executor), std::move(context));
    const auto& target = request.connect_to.empty() ? url.host : request.connect_to;
    error_code error;
    const auto address = asio::ip::make_address(target, error);
    if (!error) {
      endpoints = {asio::ip::tcp::endpoint(address, static_cast<uint16_t>(std::stoul(url.port)))};
      return connect();
    }
    resolver.async_resolve(target, url.port, asio::ip::resolver_base::numeric_service,
                           [self = shared_from_this()](error_code failure, const auto& results) {
                             if (!self->done) return;
                             if (failure) return self->fail("look up " + self->url.host, failure);
                             self->endpoints.clear();
                             for (const auto& result : results) self->endpoints.push_back(result.endpoint());
                             self->connect();
                           });
  }

  void connect() {
    asio::async_connect(stream->tcp(), endpoints, [self = shared_from_this()](error_code error, const auto&) {
      if (!self->done) return;
      if (error) return self->fail("connect", error);
      self->handshake();
    });
  }

  void handshake() {
    if (!stream->tls()) return send();
    auto* connection = stream->tls()->native_handle();
    const auto host_field = std::string(request.headers.get("host"));
    auto name = url.host;
    // A probe of an address names the host it means in the Host field.
    if (!host_field.empty() && !request.tls.verify) name = host_field.substr(0, host_field.rfind(':'));
    if (auto expected = expect_server_name(connection, name, request.tls.verify); !expected) {
      return finish(std::unexpected(std::move(expected.error()).within(where())));
    }
    stream->tls()->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](error_code error) {
      if (!self->done) return;
      if (!error) return self->send();
      const auto verdict = SSL_get_verify_result(self->stream->tls()->native_handle());
      if (verdict == X509_V_OK) return self->fail("TLS handshake", error);
      self->finish(host::fail(host::Error::Code::denied, fmt::format("{}: the server's certificate: {}", self->where(),
                                                                     X509_verify_cert_error_string(verdict))));
    });
  }

  void send() {
    text = fmt::format("{} {} HTTP/1.1\r\n", request.method, url.target);
    if (!request.headers.has("host")) text += fmt::format("Host: {}\r\n", url.authority());
    for (const auto& [name, value] : request.headers) text += fmt::format("{}: {}\r\n", name, value);
    if (!request.headers.has("user-agent")) text += "User-Agent: keelson\r\n";
    if (!request.headers.has("accept")) text += "Accept: */*\r\n";
    if (!url.userinfo.empty() && !request.headers.has("authorization")) {
      text += fmt::format("Authorization: Basic {}\r\n", base64(url.userinfo));
    }
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
      text += fmt::format("Content-Length: {}\r\n", request.body.size());
    }
    text += "Connection: close\r\n\r\n";
    text += request.body;
    asio::async_write(*stream, asio::buffer(text), [self = shared_from_this()](error_code error, size_t) {
      if (!self->done) return;
      // A server that refuses early may close while we still send: its answer counts.
      if (error && error != asio::error::broken_pipe && error != asio::error::connection_reset) {
        return self->fail("send", error);
      }
      self->read();
    });
  }

  void read() {
    parser.emplace();
    parser->header_limit(kHeaderLimit);
    // CutBody counts. Not boost::none: Beast 1.74 compares it with a Content-Length and finds that smaller.
    parser->body_limit(std::numeric_limits<uint64_t>::max());
    parser->get().body().limit = request.body_limit;
    parser->skip(request.method == "HEAD");
    beast::http::async_read(*stream, buffer, *parser, [self = shared_from_this()](error_code error, size_t) {
      if (!self->done) return;
      const auto& response = self->parser->get();
      const bool cut = response.body().cut;
      if (error && !cut) return self->fail("read the answer", error);
      if (response.result_int() / 100 == 1 && ++self->interim <= kMaxInterim) return self->read();
      if (cut && !self->request.truncate_body) {
        return self->finish(
            host::fail(host::Error::Code::invalid,
                       fmt::format("{}: the answer is larger than {} bytes", self->where(), self->request.body_limit)));
      }
      self->answered();
    });
  }

  void answered() {
    auto response = parser->release();
    FetchResponse result{.status = static_cast<int>(response.result_int()),
                         .headers = {},
                         .body = std::move(response.body().text),
                         .truncated = response.body().cut};
    for (const auto& field : response.base()) {
      result.headers.add(std::string(field.name_string()), std::string(field.value()));
    }
    if (const auto next = redirect(result)) {
      --request.redirects;
      request.url = *next;
      close_socket(*stream);
      buffer.clear();
      interim = 0;
      return begin();
    }
    finish(std::move(result));
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

  void fail(std::string_view step, error_code error) {
    std::string why = error.message();
    if (error == beast::http::error::end_of_stream || error == asio::error::eof) why = "the connection was closed";
    auto failure = host::fail(host::Error::Code::unavailable, fmt::format("{}: {}: {}", where(), step, why));
    if (error.category() == boost::system::system_category()) failure.error().sys = error.value();
    finish(std::move(failure));
  }

  void finish(host::Result<FetchResponse> result) {
    close();
    if (auto callback = std::exchange(done, nullptr)) callback(std::move(result));
  }

  void close() {
    timer.cancel();
    resolver.cancel();
    if (stream) close_socket(*stream);
  }

  host::Loop& loop;
  Fetch request;
  Done done;  // empty once called or cancelled
  Executor executor;
  host::Timer timer;
  asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver;
  std::vector<asio::ip::tcp::endpoint> endpoints;
  Url url;
  std::optional<AnyStream> stream;
  std::string text;
  beast::flat_buffer buffer;
  std::optional<Parser> parser;
  unsigned interim = 0;
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
