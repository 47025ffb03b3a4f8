#pragma once
// A manifest behind an HTTP(S) URL, fetched every --http-check-frequency with the
// validators of the last answer (ETag, Last-Modified), so that an unchanged one costs a
// 304. Anything but 200 or 304, and an empty body, is a failure: the last set stands (to
// remove everything, serve a List without items). After a failure it tries again after
// 1 s, 2 s, 4 s … but never later than the period.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/sources/manifest_source.h"
#include "host/loop.h"
#include "http/client.h"

namespace keelson::sources {

struct UrlSettings {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  host::Duration period = std::chrono::seconds(20);
  http::ClientTls tls;
  size_t body_limit = 10u << 20;
};

// Loop's thread.
class UrlSource : public ManifestSource {
 public:
  UrlSource(host::Loop& loop, UrlSettings settings);
  ~UrlSource() override;
  std::string_view name() const override { return "url"; }
  void start(SourceListener listener) override;

 private:
  void fetch();
  void fetched(host::Result<http::FetchResponse> response);
  void failed(const host::Error& error);

  host::Loop& loop_;
  const UrlSettings settings_;
  const std::string shown_;  // the URL without its password
  SourceListener listener_;
  std::string etag_, last_modified_;
  DocumentPtr document_;
  host::Duration patience_;
  http::FetchHandle pending_;
  host::Timer next_;
};

// The URL without "user:password@", for logs and problems.
std::string without_credentials(const std::string& url);

}  // namespace keelson::sources
