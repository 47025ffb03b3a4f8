#pragma once
// One HTTP(S) GET, pulled from: libcurl behind a narrow door. It follows no redirect
// and sends no header that it was not given. Blocking; one thread at a time; the only
// file that knows libcurl is transfer.cpp.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/images/puller/stream.h"
#include "host/error.h"

namespace keelson::images {

struct TransferRequest {
  std::string url;
  std::vector<std::string> headers;  // "Accept: …"
  bool plain_http = false;           // http:// is allowed
  std::string ca_file;               // PEM, beside the system's; may be empty
};

struct ResponseHead {
  int status = 0;
  std::map<std::string, std::vector<std::string>> headers;  // names in lower case
  std::string header(const std::string& name) const;        // the last, or ""
};

class Transfer : public ByteSource {
 public:
  // Connects, sends, and waits for the head of the answer. Transient trouble (refused,
  // reset, timed out, no such host) is unavailable; a certificate that does not hold is
  // denied, its text starting with "x509:". No progress for a minute ends it.
  static host::Result<std::unique_ptr<Transfer>> start(const TransferRequest& request);
  ~Transfer() override;

  const ResponseHead& head() const;
  // The URL that a Location header means, absolute; empty without one.
  std::string redirect() const;
  // The body. A connection that drops before its end is unavailable.
  host::Result<size_t> read(std::span<char> buffer) override;
  // The whole body; more than `limit` bytes is an error (invalid).
  host::Result<std::string> body(size_t limit);

 private:
  struct State;
  explicit Transfer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct Origin {
  std::string scheme, host, port;  // lower case; the port spelled out
  bool operator==(const Origin&) const = default;
};
host::Result<Origin> origin_of(const std::string& url);
std::string percent_encode(std::string_view text);

}  // namespace keelson::images
