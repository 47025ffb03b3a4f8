#include "agent/sources/url_source.h"

#include <fmt/core.h>

#include <algorithm>

namespace keelson::sources {

namespace {
constexpr host::Duration kFirstPatience = std::chrono::seconds(1);
constexpr host::Duration kFetchAtMost = std::chrono::seconds(10);
}  // namespace

std::string without_credentials(const std::string& url) {
  const auto scheme = url.find("://");
  if (scheme == std::string::npos) return url;
  const auto begin = scheme + 3;
  const auto authority = url.substr(begin, url.find_first_of("/?#", begin) - begin);
  const auto at = authority.rfind('@');
  if (at == std::string::npos) return url;
  return url.substr(0, begin) + url.substr(begin + at + 1);
}

UrlSource::UrlSource(host::Loop& loop, UrlSettings settings)
    : loop_(loop),
      settings_(std::move(settings)),
      shown_(without_credentials(settings_.url)),
      patience_(kFirstPatience) {}

UrlSource::~UrlSource() = default;

void UrlSource::start(SourceListener listener) {
  listener_ = std::move(listener);
  fetch();
}

void UrlSource::fetch() {
  http::Fetch request{.url = settings_.url};
  for (const auto& [name, value] : settings_.headers) request.headers.add(name, value);
  request.headers.set("Accept", "application/yaml, application/json, text/plain;q=0.5, */*;q=0.1");
  if (!etag_.empty()) request.headers.set("If-None-Match", etag_);
  if (!last_modified_.empty()) request.headers.set("If-Modified-Since", last_modified_);
  request.timeout = std::min(settings_.period, kFetchAtMost);
  request.body_limit = settings_.body_limit;
  request.redirects = 3;
  request.tls = settings_.tls;
  pending_ = http::fetch(loop_, std::move(request), [this](auto response) { fetched(std::move(response)); });
}

void UrlSource::fetched(host::Result<http::FetchResponse> response) {
  if (!response) return failed(response.error());
  const bool unchanged = response->status == 304 && document_ != nullptr;
  if (!unchanged) {
    if (response->status != 200) {
      return failed({.code = host::Error::Code::unavailable,
                     .message = fmt::format("GET {}: HTTP {}", shown_, response->status)});
    }
    if (response->body.empty()) {
      return failed(
          {.code = host::Error::Code::unavailable,
           .message = fmt::format("GET {}: an empty body (to remove everything, serve a List without items)", shown_)});
    }
    // A body that stayed the same keeps its document: the ledger then has nothing to do.
    if (!document_ || document_->text != response->body) {
      document_ = std::make_shared<const Document>(Document{.name = shown_, .text = std::move(response->body)});
    }
    etag_ = response->headers.get("ETag");
    last_modified_ = response->headers.get("Last-Modified");
  }
  patience_ = kFirstPatience;
  next_ = loop_.after(settings_.period, [this] { fetch(); });
  listener_.spoke({{document_->name, document_}});
}

void UrlSource::failed(const host::Error& error) {
  next_ = loop_.after(std::min(patience_, settings_.period), [this] { fetch(); });
  patience_ = std::min(patience_ * 2, settings_.period);
  listener_.failed(error);
}

}  // namespace keelson::sources
