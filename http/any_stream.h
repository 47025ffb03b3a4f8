#pragma once
// A connection with TLS or without, as one Beast stream type, so that all that is built on
// it is compiled once. Only http/*.cpp include this header.

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/teardown.hpp>
#include <memory>
#include <utility>

namespace keelson::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using AnySocket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;  // TCP, or a unix socket
using TlsContext = std::shared_ptr<asio::ssl::context>;  // shared: a connection keeps the one it began with

template <typename Socket>
class BasicAnyStream {
 public:
  using executor_type = Executor;
  using Tls = beast::ssl_stream<Socket>;

  BasicAnyStream(Socket socket, TlsContext context) : context_(std::move(context)) {
    if (context_) {
      tls_ = std::make_unique<Tls>(std::move(socket), *context_);
    } else {
      plain_ = std::make_unique<Socket>(std::move(socket));
    }
  }

  executor_type get_executor() { return socket().get_executor(); }
  Socket& socket() { return tls_ ? tls_->next_layer() : *plain_; }
  Tls* tls() { return tls_.get(); }

  template <typename Buffers, typename Done>
  auto async_read_some(const Buffers& buffers, Done&& done) {
    return tls_ ? tls_->async_read_some(buffers, std::forward<Done>(done))
                : plain_->async_read_some(buffers, std::forward<Done>(done));
  }
  template <typename Buffers, typename Done>
  auto async_write_some(const Buffers& buffers, Done&& done) {
    return tls_ ? tls_->async_write_some(buffers, std::forward<Done>(done))
                : plain_->async_write_some(buffers, std::forward<Done>(done));
  }

 private:
  TlsContext context_;
  std::unique_ptr<Socket> plain_;  // one of the two
  std::unique_ptr<Tls> tls_;
};

using AnyStream = BasicAnyStream<TcpSocket>;

// What Beast's WebSocket asks of a stream, found by argument-dependent lookup.
inline void close_socket(AnyStream& stream) {
  error_code ignored;
  stream.socket().close(ignored);
}
inline void beast_close_socket(AnyStream& stream) { close_socket(stream); }
inline void teardown(beast::role_type, AnyStream& stream, error_code&) { close_socket(stream); }
template <typename Done>
void async_teardown(beast::role_type role, AnyStream& stream, Done&& done) {
  using beast::websocket::async_teardown;
  if (stream.tls()) {
    async_teardown(role, *stream.tls(), std::forward<Done>(done));
  } else {
    async_teardown(role, stream.socket(), std::forward<Done>(done));
  }
}

}  // namespace keelson::http
