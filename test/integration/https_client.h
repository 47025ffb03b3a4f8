#pragma once
// The API's client in tests that kill its server: HTTPS with a client certificate over one
// connection, which is kept alive, and made anew by the first request after it broke. Nothing
// is sent twice, and whether anything was sent at all is told: whoever counts writes must know.
//
// Blocking; one thread at a time. Written out on OpenSSL, so that it has no fault in common with
// the product's own client (http/pool.h).

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "host/file.h"

namespace keelson::test {

struct ApiAddress {
  std::string address;  // IPv4
  uint16_t port = 6443;
  host::Path authority, certificate, key;  // PEM
};

struct Reply {
  int status = 0;     // 0: there was no answer
  bool sent = false;  // the server may have read the request, or a part of it
  std::string body;
};

class HttpsClient {
 public:
  HttpsClient(ApiAddress server, std::chrono::milliseconds patience);
  ~HttpsClient();
  HttpsClient(const HttpsClient&) = delete;
  HttpsClient& operator=(const HttpsClient&) = delete;

  Reply request(std::string_view method, const std::string& target, const std::string& body = {},
                std::string_view content_type = "application/json");

  // Of a stream: sends, and reads the head. Of a status other than 200 the body, too.
  Reply open(const std::string& target);
  // Its next line. Nothing: none has come in that time, or the stream is over().
  std::optional<std::string> line(std::chrono::milliseconds patience);
  bool over() const;

 private:
  struct Connection;
  bool connect();
  Reply send(std::string_view method, const std::string& target, const std::string& body,
             std::string_view content_type);
  bool read_body(const std::string& head, std::string& body);

  const ApiAddress server_;
  const std::chrono::milliseconds patience_;
  std::unique_ptr<Connection> connection_;
  std::string lines_;
  bool ended_ = false;
};

}  // namespace keelson::test
