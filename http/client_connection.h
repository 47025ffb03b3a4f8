#pragma once
// One connection of a client, and on it one exchange after the other: what fetch() and the
// Pool have in common. Loop's thread. Only http/*.cpp include this header.
//
// From the moment it is open a read is always pending (but while paused): a server that
// closes an idle connection, or answers before it has read all, is noticed at once.

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "http/any_stream.h"
#include "http/message.h"

namespace keelson::http {

// Who takes a response. Called from the loop; each may close the connection.
struct ResponseSink {
  virtual ~ResponseSink() = default;
  virtual void on_head(int status, Headers headers) = 0;
  // Of a stream: each part as it came. Else once, all of it; cut: there was more than the limit.
  virtual void on_body(std::string part, bool cut) = 0;
  // Once, last.
  virtual void on_finished(host::Status status) = 0;
};

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
    void init(const boost::optional<uint64_t>& length, error_code& error);
    template <typename Buffers>
    size_t put(const Buffers& buffers, error_code& error);
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

struct ClientPeer {
  Url url;
  std::string connect_to;  // an address instead of the URL's host, when set
  TlsContext tls;          // null: plain
  bool verify = true;
  std::string tls_name;  // for SNI, and what the certificate must carry
};

// The header (with what the caller left to us) and the body. Invalid when a line break
// in the method, the target or a field would split the request.
host::Result<std::string> request_text(const Url& url, const std::string& method, const std::string& target,
                                       const Headers& headers, std::string_view body, bool keep_alive);

class ClientConnection : public std::enable_shared_from_this<ClientConnection> {
 public:
  struct Exchange {
    std::string text;         // request_text()
    bool head_only = false;   // the method is HEAD
    bool stream = false;      // on_body as it comes
    size_t body_limit = 0;    // of one that is no stream
    bool keep_alive = false;  // as in the text
  };

  ClientConnection(Executor executor, ClientPeer peer);

  // Names, TCP, TLS. `done` runs later, once, unless close() comes first.
  void open(std::move_only_function<void(host::Status)> done);
  // On an open connection that serves no other.
  void exchange(Exchange exchange, std::shared_ptr<ResponseSink> sink);
  // Nothing is called any more.
  void close();

  // Open, not in use, and the server has neither closed it nor said anything unasked.
  // Looks at the socket itself: the loop may not have come to it yet.
  bool reusable();
  // Whether the exchange has got a byte of an answer; and whether its server certainly has
  // read nothing of the request.
  bool answered() const { return parser_ && parser_->got_some(); }
  bool unread() const { return unread_; }

  void pause() { paused_ = true; }
  void resume();

  std::function<void()> idle_ended;  // the server has closed it while it was idle

 private:
  using Parser = beast::http::response_parser<CutBody>;

  void connect();
  void handshake();
  void opened(host::Status status);
  void read_more();
  void on_read(error_code error, size_t size);
  void begin_response();
  bool take_head();
  void parse();
  void complete();
  void fail(std::string_view step, error_code error);
  void finish(host::Status status);

  ClientPeer peer_;
  AnyStream stream_;
  asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver_;
  std::vector<asio::ip::tcp::endpoint> endpoints_;
  std::move_only_function<void(host::Status)> open_done_;
  beast::flat_buffer buffer_;
  bool open_ = false, closed_ = false, reading_ = false, writing_ = false, paused_ = false;
  // The exchange under way.
  std::shared_ptr<ResponseSink> sink_;  // shared with its owner, which may go first
  Exchange exchange_;                   // its text is kept while it is written
  std::optional<Parser> parser_;
  bool head_told_ = false, unread_ = false;
  unsigned interim_ = 0;
};

}  // namespace keelson::http
