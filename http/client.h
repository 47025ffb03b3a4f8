#pragma once
// The HTTP(S) client of the daemons: one request, one answer, on the loop. It is
// small on purpose: no cookies, no cache, no proxy, a connection per fetch. The
// manifest source (url) and the probes of pods use it; pool.h is for many requests to
// one server, and for streams.
//
// Loop's thread only. The answer is bounded in time and size; nothing throws.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "host/error.h"
#include "host/loop.h"
#include "http/message.h"

namespace keelson::http {

struct ClientTls {
  bool verify = true;               // false: any certificate will do (probes, as kubelet's)
  std::string ca_file;              // PEM; the system's roots when empty
  std::string cert_file, key_file;  // PEM; a client certificate when set
  // The same as PEM texts; one that is set comes before its file.
  std::string ca_data, cert_data, key_data;
  std::string server_name;  // what the server's certificate must carry, when it is not the URL's host
};

struct Fetch {
  std::string method = "GET";
  std::string url;  // http:// or https://
  // Connect here instead of resolving the URL's host, which still goes into the Host
  // field and SNI: an address, without brackets; the port is the URL's.
  std::string connect_to;
  Headers headers;  // a Host field given here wins over the URL's
  std::string body;
  host::Duration timeout = std::chrono::seconds(10);  // all of it: names, redirects, body
  size_t body_limit = 4u << 20;
  // What to do with a longer body: an error (false), or the first body_limit bytes (true).
  bool truncate_body = false;
  // How many redirects to the same host to follow; one to another host is the answer itself.
  unsigned redirects = 0;
  ClientTls tls;
};

struct FetchResponse {
  int status = 0;
  Headers headers;
  std::string body;
  bool truncated = false;
};

// A fetch under way. Destroying it cancels: the callback then never runs.
class FetchHandle {
 public:
  struct Operation;
  FetchHandle();
  explicit FetchHandle(std::shared_ptr<Operation> operation);
  FetchHandle(FetchHandle&&) noexcept;
  FetchHandle& operator=(FetchHandle&&) noexcept;
  ~FetchHandle();
  // Whether the callback is still to come.
  bool pending() const;
  void cancel();

 private:
  std::shared_ptr<Operation> operation_;  // shared with the pending Asio operations
};

// `done` runs once, on the loop's thread, later. An HTTP status of any kind is a
// success; an error is a URL that cannot be used (invalid), a peer that cannot be
// reached, does not answer in time or breaks the protocol (unavailable), or a
// certificate that does not convince (denied).
[[nodiscard]] FetchHandle fetch(host::Loop& loop, Fetch request,
                                std::move_only_function<void(host::Result<FetchResponse>)> done);

}  // namespace keelson::http
