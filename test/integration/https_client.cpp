#include "test/integration/https_client.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <charconv>

#include "host/fd.h"
#include "host/loop.h"

namespace keelson::test {

using std::chrono::milliseconds;

namespace {

// How long the kernel blocks at most before a deadline is looked at.
constexpr timeval kSlice{.tv_sec = 0, .tv_usec = 50'000};

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* freed) const {
    Free(freed);
  }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Freed<SSL_free>>;

}  // namespace

struct HttpsClient::Connection {
  host::Fd socket;
  ContextPtr context;
  SslPtr ssl;
  std::string buffer;  // read, and not yet taken

  // False: nothing came in time (`broken` is still false), or it is broken.
  bool fill(host::TimePoint until) {
    char bytes[1 << 16];
    while (!broken) {
      ::ERR_clear_error();
      const int size = ::SSL_read(ssl.get(), bytes, sizeof bytes);
      if (size > 0) {
        buffer.append(bytes, static_cast<size_t>(size));
        return true;
      }
      if (::SSL_get_error(ssl.get(), size) != SSL_ERROR_WANT_READ) broken = true;
      if (host::Clock::now() >= until) return false;
    }
    return false;
  }
  // Up to and with the mark; nothing: it has not come.
  std::optional<std::string> until(std::string_view mark, host::TimePoint deadline) {
    size_t at = 0;
    while ((at = buffer.find(mark)) == std::string::npos) {
      if (!fill(deadline)) return std::nullopt;
    }
    std::string taken = buffer.substr(0, at + mark.size());
    buffer.erase(0, taken.size());
    return taken;
  }
  bool take(size_t count, std::string& into, host::TimePoint deadline) {
    while (buffer.size() < count) {
      if (!fill(deadline)) return false;
    }
    into.append(buffer, 0, count);
    buffer.erase(0, count);
    return true;
  }
  // The next chunk; an empty one is the last.
  std::optional<std::string> chunk(host::TimePoint deadline) {
    const auto line = until("\r\n", deadline);
    if (!line) return std::nullopt;
    size_t size = 0;
    const auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), size, 16);
    std::string taken;
    if (error != std::errc() || !take(size + 2, taken, deadline)) {
      broken = true;
      return std::nullopt;
    }
    taken.resize(size);
    return taken;
  }

  bool broken = false;
};

HttpsClient::HttpsClient(ApiAddress server, milliseconds patience) : server_(std::move(server)), patience_(patience) {}
HttpsClient::~HttpsClient() = default;

bool HttpsClient::connect() {
  if (connection_) {
    // A server that went away meanwhile is noticed before it is asked, not by the lack of an answer.
    char byte = 0;
    const auto size = ::recv(connection_->socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (!connection_->broken && (size > 0 || (size < 0 && errno == EAGAIN))) return true;
    connection_.reset();
  }
  auto made = std::make_unique<Connection>();
  made->socket = host::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int fd = made->socket.get();
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kSlice, sizeof kSlice);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(server_.port), .sin_addr = {}, .sin_zero = {}};
  ::inet_pton(AF_INET, server_.address.c_str(), &address.sin_addr);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return false;

  made->context.reset(::SSL_CTX_new(::TLS_client_method()));
  SSL_CTX* const context = made->context.get();
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  // A connection that is cut off ends as one that is closed does: both are no answer.
  ::SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (::SSL_CTX_load_verify_locations(context, server_.authority.c_str(), nullptr) != 1 ||
      ::SSL_CTX_use_certificate_chain_file(context, server_.certificate.c_str()) != 1 ||
      ::SSL_CTX_use_PrivateKey_file(context, server_.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return false;
  }
  made->ssl.reset(::SSL_new(context));
  ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(made->ssl.get()), server_.address.c_str());
  ::SSL_set_fd(made->ssl.get(), fd);
  const auto until = host::Clock::now() + patience_;
  while (true) {
    ::ERR_clear_error();
    const int shaken = ::SSL_connect(made->ssl.get());
    if (shaken == 1) break;
    if (::SSL_get_error(made->ssl.get(), shaken) != SSL_ERROR_WANT_READ || host::Clock::now() >= until) return false;
  }
  connection_ = std::move(made);
  return true;
}

Reply HttpsClient::send(std::string_view method, const std::string& target, const std::string& body,
                        std::string_view content_type) {
  Reply reply;
  if (!connect()) return reply;
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", method, target, server_.address);
  if (!body.empty()) text += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", content_type, body.size());
  text += "\r\n" + body;
  reply.sent = true;
  ::ERR_clear_error();
  if (::SSL_write(connection_->ssl.get(), text.data(), static_cast<int>(text.size())) <= 0) {
    connection_.reset();
    return reply;
  }
  const auto head = connection_->until("\r\n\r\n", host::Clock::now() + patience_);
  if (!head || head->size() < 12) {
    connection_.reset();
    return reply;
  }
  reply.status = std::atoi(head->c_str() + 9);
  reply.body = *head;
  return reply;
}

bool HttpsClient::read_body(const std::string& head, std::string& body) {
  constexpr std::string_view kLength = "Content-Length: ";
  const auto deadline = host::Clock::now() + patience_;
  if (const size_t length = head.find(kLength); length != std::string::npos) {
    const auto size = static_cast<size_t>(std::atoll(head.c_str() + length + kLength.size()));
    return connection_->take(size, body, deadline);
  }
  while (true) {
    const auto chunk = connection_->chunk(deadline);
    if (!chunk) return false;
    if (chunk->empty()) return true;
    body += *chunk;
  }
}

Reply HttpsClient::request(std::string_view method, const std::string& target, const std::string& body,
                           std::string_view content_type) {
  Reply reply = send(method, target, body, content_type);
  if (reply.status == 0) return reply;
  const std::string head = std::exchange(reply.body, {});
  if (!read_body(head, reply.body)) {
    // The status alone is no answer: what it says of the object is missing.
    reply.status = 0;
    connection_.reset();
  } else if (head.find("Connection: close") != std::string::npos) {
    connection_.reset();
  }
  return reply;
}

Reply HttpsClient::open(const std::string& target) {
  connection_.reset();
  lines_.clear();
  ended_ = false;
  Reply reply = send("GET", target, {}, {});
  const std::string head = std::exchange(reply.body, {});
  if (reply.status != 0 && reply.status != 200) (void)read_body(head, reply.body);
  return reply;
}

bool HttpsClient::over() const { return ended_ || !connection_ || connection_->broken; }

std::optional<std::string> HttpsClient::line(milliseconds patience) {
  const auto deadline = host::Clock::now() + patience;
  size_t end = 0;
  while ((end = lines_.find('\n')) == std::string::npos) {
    // A chunk that has come in part stays until the rest is there.
    while (connection_ && connection_->buffer.find("\r\n") == std::string::npos) {
      if (over() || !connection_->fill(deadline)) return std::nullopt;
    }
    if (over()) return std::nullopt;
    const auto chunk = connection_->chunk(host::Clock::now() + patience_);
    if (!chunk) return std::nullopt;
    ended_ = chunk->empty();
    lines_ += *chunk;
  }
  std::string line = lines_.substr(0, end);
  lines_.erase(0, end + 1);
  return line;
}

}  // namespace keelson::test
