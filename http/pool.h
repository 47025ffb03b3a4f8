#pragma once
// The HTTP(S) client for who talks to one server again and again: connections are kept
// alive and shared, several requests are under way on several of them, and a response
// may be read as a stream (a watch, a log). What fetch() (client.h) is for one answer
// from anywhere.
//
// Loop's thread only. TLS settings are read once, in create(). A connection that the
// server has closed while it was idle is noticed; a request that certainly was not read
// by the server (or a GET or HEAD that got no byte of an answer) goes once more, on a
// fresh connection. Anything else that fails is the caller's to judge.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "host/error.h"
#include "host/loop.h"
#include "http/client.h"
#include "http/message.h"

namespace keelson::http {

struct PoolOptions {
  std::string url;         // http:// or https://, host and port; the path is each request's own
  std::string connect_to;  // as Fetch::connect_to
  ClientTls tls;
  // At a time, for requests; further ones wait in order. Streams have their own beside them.
  size_t max_connections = 32;
  size_t max_waiting = 100'000;                            // past it a request fails at once
  host::Duration idle_timeout = std::chrono::seconds(60);  // less than the server's (ServerOptions)
};

struct PoolRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, encoded
  Headers headers;           // beside Host, Content-Length and Connection, which are ours
  std::string body;
  // From send() to the whole answer, waiting for a connection included; of a stream, to its head.
  host::Duration timeout = std::chrono::seconds(30);
  size_t body_limit = 64u << 20;  // a longer answer is an error; streams have none
};

// What a stream tells, in this order, later and on the loop's thread. An empty function is skipped.
struct StreamHandlers {
  std::function<void(int status, const Headers& headers)> head;
  std::function<void(std::string chunk)> chunk;  // as it came: its borders mean nothing
  // Once, last. Success: the body is complete. Without a head before it: nothing was answered.
  std::move_only_function<void(host::Status)> end;
};

// A request under way. Destroying it cancels: nothing is called any more, and the
// connection is given up if the request was on it.
class Call {
 public:
  struct State;
  Call();
  explicit Call(std::shared_ptr<State> state);
  Call(Call&&) noexcept;
  Call& operator=(Call&&) noexcept;
  ~Call();

  bool pending() const;
  void cancel();
  // Lets it run on without the handle, to its end or the Pool's.
  void detach();
  // Of a stream: stops, and resumes, reading from the server, whose sending then blocks.
  void pause();
  void resume();

 private:
  std::shared_ptr<State> state_;  // shared with the pool and the connection
};

class Pool {
 public:
  struct Impl;
  // Invalid: the URL or a PEM. Connects to nobody yet.
  static host::Result<std::unique_ptr<Pool>> create(host::Loop& loop, PoolOptions options);
  // Cancels all that is under way.
  ~Pool();

  // `done` runs once, later; errors as those of fetch(). Any HTTP status is a success.
  [[nodiscard]] Call send(PoolRequest request, std::move_only_function<void(host::Result<FetchResponse>)> done);
  [[nodiscard]] Call stream(PoolRequest request, StreamHandlers handlers);

  size_t connections() const;  // open and opening ones
  size_t waiting() const;      // requests without a connection

 private:
  explicit Pool(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with pending operations
};

}  // namespace keelson::http
