#pragma once
// The HTTP/1.1 server of both daemons, on Boost.Beast, which stays in the .cpp files.
//
// Everything runs on the loop's thread. A connection is read with limits on size and
// time at every step; what a proxy in front could read differently (two lengths, a
// length beside chunked, obs-fold, a strange Transfer-Encoding, HTTP/1.0 with chunked,
// no Host: RFC 9112 sections 2.2, 5.2, 6.1, 3.2) is refused with 400 and the connection
// closed. The handler decides on the header alone whether a body is read at all.

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/loop.h"
#include "http/message.h"

namespace keelson::http {

// Whom a verified client certificate names (Kubernetes: CN is the user, O the groups).
struct ClientCertificate {
  std::string common_name;
  std::vector<std::string> organizations;
};

struct Request {
  std::string method;
  std::string target;                 // as sent: path and query
  std::vector<std::string> segments;  // of the path, decoded: "/pods/default/web" has three; never "." or ".."
  Query query;
  Headers headers;
  std::string body;
  std::string peer;  // "127.0.0.1:41234"
  bool tls = false;
  std::optional<ClientCertificate> certificate;

  std::string path() const;  // the segments, joined with slashes again
};

struct Answer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;  // besides Content-Type, Content-Length, Date
};

// A response of unknown length: chunks (or until the connection closes, for HTTP/1.0).
// Handles may outlive the connection; calls then do nothing. Destroying the last one
// without end() breaks the connection off, so that the client sees the response as
// incomplete. Callbacks are called once the client has gone, been dropped, or the
// server has been destroyed; never from within write(). A Stream whose client had gone
// before it began is not open(), and calls nobody.
class Stream {
 public:
  struct State;
  Stream();
  explicit Stream(std::shared_ptr<State> state);
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  // Queues a chunk; an empty one does nothing. Unavailable when the client has gone, or
  // has fallen behind by more than the server's queue limit, which drops it.
  host::Status write(std::string chunk);
  // As above, with bytes that several streams share.
  host::Status write(std::shared_ptr<const std::string> chunk);
  // Completes the response. The connection may then serve the next request.
  void end();

  bool open() const;
  size_t queued() const;  // bytes that are not yet with the kernel
  void on_closed(std::function<void()> callback);
  // Each time the queue has run empty after a write().
  void on_drained(std::function<void()> callback);

 private:
  std::shared_ptr<State> state_;  // shared with the connection
};

// An upgraded connection. Ownership, callbacks and queue limit as Stream's; pings keep
// it and notice a peer that is gone. Messages longer than 1 MiB end it.
class WebSocket {
 public:
  struct State;
  WebSocket();
  explicit WebSocket(std::shared_ptr<State> state);
  WebSocket(WebSocket&&) noexcept;
  WebSocket& operator=(WebSocket&&) noexcept;
  ~WebSocket();

  const std::string& subprotocol() const;  // the one agreed upon
  host::Status send(std::string message);  // binary
  // Sends what is queued, then the close frame.
  void close();

  bool open() const;
  size_t queued() const;
  void on_message(std::function<void(std::string)> callback);
  void on_closed(std::function<void()> callback);
  void on_drained(std::function<void()> callback);
  // Stops, and resumes, taking messages from the peer: its sending then blocks.
  void pause();
  void resume();

 private:
  std::shared_ptr<State> state_;  // shared with its pending operations
};

class Connection;

// One request's chance to be answered, in one of three ways, now or later. Destroyed
// unanswered, it answers 500.
class Exchange {
 public:
  explicit Exchange(std::shared_ptr<Connection> connection);
  Exchange(Exchange&&) noexcept;
  Exchange& operator=(Exchange&&) noexcept;
  ~Exchange();

  void answer(Answer answer);
  // Sends the header; `answer.body`, when set, is the first chunk.
  Stream stream(Answer answer);
  // Switches to WebSocket with the first of `subprotocols` that the client offers too.
  // Invalid, and still to be answered, when the request is no WebSocket handshake or
  // offers none of them.
  host::Result<WebSocket> upgrade(const std::vector<std::string>& subprotocols);

 private:
  std::shared_ptr<Connection> connection_;  // shared with its pending operations; null once answered
};

class Handler {
 public:
  virtual ~Handler() = default;
  // Called with the header, before any of the body: how many bytes of body to accept
  // (0: none at all), or the answer that refuses the request here and now.
  virtual std::expected<size_t, Answer> admit(const Request& head) = 0;
  virtual void handle(Request request, Exchange exchange) = 0;
  // The server refuses by itself (malformed, too large, too slow): what to say.
  virtual Answer refusal(int status, const std::string& message) = 0;
};

struct TlsFiles {
  std::string cert_file, key_file;  // PEM; the certificate may be a chain
  std::string client_ca_file;       // when set, a client may show a certificate, which must then verify
};

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address
  uint16_t port = 0;               // 0: any free one
  std::optional<TlsFiles> tls;
  size_t header_limit = 16u << 10;
  size_t max_connections = 1024;  // past it the longest idle one is closed, or else the new one
  size_t queue_limit = 4u << 20;  // bytes queued for a stream before its client is dropped
  host::Duration header_timeout = std::chrono::seconds(10);  // TLS handshake; first byte of a header to its end
  host::Duration body_timeout = std::chrono::seconds(60);
  host::Duration idle_timeout = std::chrono::seconds(120);  // between requests
  host::Duration write_timeout = std::chrono::seconds(30);  // no progress at all
};

class Server {
 public:
  struct Impl;
  // Binds and listens at once, so that errors come here; serves while the loop runs.
  // The handler is borrowed and must outlive the server.
  static host::Result<std::unique_ptr<Server>> listen(host::Loop& loop, ServerOptions options, Handler& handler);
  // Closes the socket and every connection.
  ~Server();

  uint16_t port() const;
  // Reads the certificate files again, for new connections. After a failure the old stay.
  host::Status reload_tls();
  size_t connections() const;

 private:
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with its pending operations
};

}  // namespace keelson::http
