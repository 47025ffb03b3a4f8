#pragma once
// HTTP/2 as a client of one server (RFC 9113, by nghttp2): many exchanges at a time on one
// connection, whose bodies and answers may come in parts. What gRPC stands on.
//
// Loop's thread. All that a turn of the loop begins or sends goes out in one write, and what
// one read brought is told exchange by exchange afterwards. on_news() runs from the loop,
// never inside a call that is made here, and may destroy what it likes, the channel included.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"
#include "http/client.h"
#include "http/message.h"

namespace keelson::http {

struct H2Connection;

struct H2Settings {
  std::string host, port;        // a name or an address
  host::Path socket;             // in place of both: a unix socket
  std::optional<ClientTls> tls;  // nothing: plain
  std::chrono::milliseconds connect_timeout{5'000};
  // While there are exchanges: a server that was silent for so long is asked for a sign of life,
  // and given up when there is none.
  std::chrono::milliseconds ping_after{10'000}, ping_timeout{5'000};
};

// One request and its answer. The channel fills it, its user takes from it.
class H2Exchange {
 public:
  struct End {
    bool complete = false;  // the server has said all
    bool unseen = false;    // the server certainly has not acted on it
    std::string why;        // of one that is not complete
  };

  virtual ~H2Exchange() = default;
  // There is more than before.
  virtual void on_news() = 0;

  Headers headers;         // :status, the answer's, the trailers
  std::string received;    // of its body, as much as was not taken yet
  std::optional<End> end;  // nothing comes after it

  // The rest of the request's body, or a part of it.
  void send(std::string part, bool last);
  // It is of no interest any more: no news from now on, and the server is told.
  void cancel();

 private:
  friend struct H2Connection;
  std::weak_ptr<H2Connection> connection_;
  int id_ = 0;             // of its stream; 0: it waits for the connection to stand
  bool live_ = false;      // its news are wanted
  bool has_news_ = false;  // to be told when all that was read is taken apart
};

// Connects when something begins, and anew when the connection was lost meanwhile; what was
// under way ends with it.
class H2Channel {
 public:
  // invalid when the certificates are.
  static host::Result<std::unique_ptr<H2Channel>> create(host::Loop& loop, H2Settings settings);
  // Ends all exchanges, without news.
  ~H2Channel();
  H2Channel(const H2Channel&) = delete;
  H2Channel& operator=(const H2Channel&) = delete;

  // `request`: the pseudo-headers (:method, :scheme, :path, :authority) before the others.
  // `last`: the body is whole.
  void begin(std::shared_ptr<H2Exchange> exchange, const Headers& request, std::string body, bool last);

 private:
  struct Peer;
  friend struct H2Connection;
  H2Channel(host::Loop& loop, std::shared_ptr<const Peer> peer);

  host::Loop& loop_;
  const std::shared_ptr<const Peer> peer_;              // shared with the connections
  std::shared_ptr<H2Connection> current_;               // shared with what it waits for
  std::vector<std::shared_ptr<H2Connection>> leaving_;  // the server takes nothing new on them
};

}  // namespace keelson::http
