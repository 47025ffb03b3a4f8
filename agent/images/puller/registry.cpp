#include "agent/images/puller/registry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>

#include "agent/images/json.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;

constexpr int kMaxAttempts = 5;
constexpr int kMaxRedirects = 5;
constexpr int kMaxResumes = 100;
constexpr int64_t kFirstWaitMs = 200;
constexpr int64_t kLongestWaitMs = 5'000;
constexpr int64_t kLongestRetryAfterMs = 30'000;
constexpr size_t kMaxTokenBytes = 1u << 20;

constexpr const char* kManifestAccept =
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json";

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  return out;
}

std::string basic(const api::RegistryCredential& credential) {
  return "Basic " + base64(credential.username + ":" + credential.password);
}

// What a registry says for itself: {"errors":[{"code":…,"message":…}]}.
std::string reason_in(Transfer& transfer) {
  auto body = transfer.body(64 << 10);
  if (!body) return {};
  auto document = parse_json_object(*body, "the answer");
  if (!document) return {};
  const auto* errors = array_member(*document, "errors");
  if (!errors || errors->Empty() || !(*errors)[0].IsObject()) return {};
  std::string text = string_member((*errors)[0], "message").substr(0, 300);
  return text.empty() ? text : " (" + text + ")";
}

bool label_matches(std::string_view pattern, std::string_view host) {
  while (true) {
    size_t a = pattern.find('.'), b = host.find('.');
    std::string_view wanted = pattern.substr(0, a), given = host.substr(0, b);
    if (wanted != "*" && wanted != given) return false;
    if ((a == pattern.npos) != (b == host.npos)) return false;
    if (a == pattern.npos) return true;
    pattern.remove_prefix(a + 1);
    host.remove_prefix(b + 1);
  }
}

}  // namespace

const api::RegistryCredential* choose_credential(const std::vector<api::RegistryCredential>& credentials,
                                                 const Reference& reference) {
  const api::RegistryCredential* best = nullptr;
  size_t best_length = 0;
  for (const auto& credential : credentials) {
    std::string_view key = credential.registry;
    for (std::string_view scheme : {"https://", "http://"}) {
      if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
    }
    std::string_view host = key.substr(0, key.find('/'));
    std::string_view path = host.size() == key.size() ? "" : key.substr(host.size() + 1);
    for (std::string_view version : {"v1/", "v2/", "v1", "v2"}) {
      if (path == version) path = "";
    }
    if (host == "index.docker.io" || host == "registry-1.docker.io") host = "docker.io";
    if (!label_matches(host, reference.registry)) continue;
    while (path.ends_with('/')) path.remove_suffix(1);
    // "team" is for team and team/app, not for teamwork.
    bool fits = path.empty() || reference.repository == path ||
                (reference.repository.starts_with(path) && reference.repository[path.size()] == '/');
    if (!fits) continue;
    size_t length = host.size() + path.size();
    if (!best || length > best_length) {
      best = &credential;
      best_length = length;
    }
  }
  return best;
}

Challenge parse_challenge(std::string_view header) {
  Challenge challenge;
  size_t space = std::min(header.find(' '), header.size());
  for (char c : header.substr(0, space))
    challenge.scheme += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  header.remove_prefix(space);
  while (!header.empty()) {
    while (!header.empty() && (header.front() == ' ' || header.front() == ',')) header.remove_prefix(1);
    size_t equals = header.find('=');
    if (equals == header.npos) break;
    std::string key(header.substr(0, equals));
    header.remove_prefix(equals + 1);
    std::string value;
    if (header.starts_with('"')) {
      header.remove_prefix(1);
      while (!header.empty() && header.front() != '"') {
        if (header.front() == '\\' && header.size() > 1) header.remove_prefix(1);
        value += header.front();
        header.remove_prefix(1);
      }
      if (!header.empty()) header.remove_prefix(1);
    } else {
      size_t end = std::min(header.find(','), header.size());
      value = header.substr(0, end);
      header.remove_prefix(end);
    }
    challenge.parameters[std::move(key)] = std::move(value);
  }
  return challenge;
}

Registry::Registry(Reference reference, RegistrySettings settings)
    : reference_(std::move(reference)), settings_(std::move(settings)), host_(traffic_host(reference_.registry)) {
  const auto& insecure = settings_.insecure_registries;
  plain_http_ = is_loopback(reference_.registry) ||
                std::ranges::find(insecure, reference_.registry) != insecure.end() ||
                std::ranges::find(insecure, host_without_port(reference_.registry)) != insecure.end();
}

Error Registry::within(Error error) const {
  return std::move(error).within(fmt::format("registry {}: {}", host_, reference_.text()));
}

bool Registry::wait(int attempt, int64_t at_least_ms) const {
  int64_t ms = std::min(kFirstWaitMs << attempt, kLongestWaitMs);
  ms = std::clamp(at_least_ms, ms, std::max(ms, kLongestRetryAfterMs));
  pollfd waiting{settings_.hangup, 0, 0};
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (true) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    if (left <= 0) return true;
    int ready = poll(&waiting, settings_.hangup >= 0 ? 1 : 0, static_cast<int>(left));
    if (ready > 0) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

std::string Registry::authorization() {
  std::lock_guard guard(mutex_);
  return authorization_;
}

// `refused` is the header that was answered with 401; when another thread has a newer
// one already, that is tried first.
Status Registry::authorize(const std::vector<std::string>& challenges, const std::string& refused) {
  std::lock_guard guard(mutex_);
  if (authorization_ != refused) return {};
  const auto* credential = choose_credential(settings_.credentials, reference_);
  for (const auto& header : challenges) {
    Challenge challenge = parse_challenge(header);
    if (challenge.scheme == "basic") {
      if (!credential)
        return fail(Error::Code::denied, "unauthorized: the registry wants credentials, and there are none for it");
      std::string answer = basic(*credential);
      if (answer == refused) return fail(Error::Code::denied, "unauthorized: the registry refuses the credentials");
      authorization_ = std::move(answer);
      return {};
    }
    if (challenge.scheme != "bearer") continue;
    std::string realm = challenge.parameters["realm"];
    auto origin = origin_of(realm);
    if (!origin) return std::unexpected(std::move(origin.error()).within("the registry's token service"));
    bool plain = plain_http_ && origin->scheme == "http";
    std::string scope = challenge.parameters["scope"];
    if (scope.empty()) scope = "repository:" + reference_.repository + ":pull";
    std::string url = realm + (realm.find('?') == realm.npos ? "?" : "&") + "scope=" + percent_encode(scope);
    if (const auto& service = challenge.parameters["service"]; !service.empty()) {
      url += "&service=" + percent_encode(service);
    }
    TransferRequest request{url, {}, plain, settings_.ca_file};
    if (credential) request.headers.push_back("Authorization: " + basic(*credential));
    auto transfer = Transfer::start(request);
    if (!transfer) return std::unexpected(std::move(transfer.error()).within("token service " + origin->host));
    int status = (*transfer)->head().status;
    if (status != 200) {
      auto code = status == 429 || status >= 500 ? Error::Code::unavailable : Error::Code::denied;
      return fail(code, fmt::format("unauthorized: the token service {} answers {}{}", origin->host, status,
                                    reason_in(**transfer)));
    }
    auto body = (*transfer)->body(kMaxTokenBytes);
    if (!body) return std::unexpected(std::move(body.error()));
    auto document = parse_json_object(*body, "the token service's answer");
    if (!document) return std::unexpected(std::move(document.error()));
    std::string token = string_member(*document, "token");
    if (token.empty()) token = string_member(*document, "access_token");
    if (token.empty() || token.find_first_of("\r\n") != token.npos) {
      return fail(Error::Code::denied, "unauthorized: the token service gave no token");
    }
    authorization_ = "Bearer " + token;
    return {};
  }
  return fail(Error::Code::denied, "unauthorized: the registry offers neither Bearer nor Basic authentication");
}

Result<std::unique_ptr<Transfer>> Registry::get_once(const std::string& path, const std::vector<std::string>& headers,
                                                     int64_t& retry_after_ms) {
  const std::string first = fmt::format("{}://{}{}", plain_http_ ? "http" : "https", host_, path);
  auto home = origin_of(first);
  if (!home) return std::unexpected(std::move(home.error()));
  std::string url = first;
  int asked = 0;
  for (int hops = 0; hops <= kMaxRedirects;) {
    auto origin = origin_of(url);
    if (!origin) return std::unexpected(std::move(origin.error()));
    TransferRequest request{url, headers, plain_http_, settings_.ca_file};
    std::string sent;
    if (*origin == *home) {
      sent = authorization();
      if (!sent.empty()) request.headers.push_back("Authorization: " + sent);
    }
    auto transfer = Transfer::start(request);
    if (!transfer) {
      if (*origin == *home) return transfer;
      return std::unexpected(std::move(transfer.error()).within("redirected to " + origin->host));
    }
    const ResponseHead& head = (*transfer)->head();
    switch (head.status) {
      case 200:
      case 206:
        return transfer;
      case 301:
      case 302:
      case 303:
      case 307:
      case 308:
        url = (*transfer)->redirect();
        if (url.empty()) return fail("a redirect to nowhere");
        ++hops;
        continue;
      case 401: {
        auto challenges = head.headers.find("www-authenticate");
        if (*origin != *home || challenges == head.headers.end() || ++asked > 2) {
          return fail(Error::Code::denied, "unauthorized: the registry refuses access" + reason_in(**transfer));
        }
        if (auto done = authorize(challenges->second, sent); !done) return std::unexpected(std::move(done.error()));
        url = first;
        continue;
      }
      case 403:
        return fail(Error::Code::denied, "unauthorized: forbidden" + reason_in(**transfer));
      case 404:
        return fail(Error::Code::not_found, "not found" + reason_in(**transfer));
      case 416:
        return fail(Error::Code::invalid, "the range cannot be had");
      default:
        break;
    }
    if (head.status == 408 || head.status == 429 || head.status >= 500) {
      std::string after = head.header("retry-after");
      int64_t seconds = 0;
      std::from_chars(after.data(), after.data() + after.size(), seconds);
      retry_after_ms = std::clamp<int64_t>(seconds, 0, 3600) * 1000;
      const char* what = head.status == 429 ? "too many requests" : "the registry is in trouble";
      return fail(Error::Code::unavailable, fmt::format("{}: status {}{}", what, head.status, reason_in(**transfer)));
    }
    return fail(fmt::format("status {}{}", head.status, reason_in(**transfer)));
  }
  return fail("too many redirects");
}

Result<std::unique_ptr<Transfer>> Registry::get(const std::string& path, const std::vector<std::string>& headers) {
  for (int attempt = 0;; ++attempt) {
    int64_t retry_after_ms = 0;
    auto transfer = get_once(path, headers, retry_after_ms);
    if (transfer || transfer.error().code != Error::Code::unavailable || attempt + 1 == kMaxAttempts) return transfer;
    if (!wait(attempt, retry_after_ms)) return transfer;
  }
}

Result<std::pair<Descriptor, std::string>> Registry::resolve() {
  std::string path = fmt::format("/v2/{}/manifests/{}", reference_.repository, reference_.version());
  auto transfer = get(path, {kManifestAccept});
  if (!transfer) return std::unexpected(within(std::move(transfer.error())));
  auto text = (*transfer)->body(kMaxManifestBytes);
  if (!text) return std::unexpected(within(std::move(text.error())));
  Descriptor descriptor;
  descriptor.media_type = (*transfer)->head().header("content-type");
  descriptor.digest = reference_.digest.value_or(sha256(*text));
  descriptor.size = text->size();
  if (auto checked = check_document(descriptor, *text); !checked) {
    return std::unexpected(within(std::move(checked.error())));
  }
  return std::pair{std::move(descriptor), std::move(*text)};
}

Result<std::string> Registry::document(const Descriptor& descriptor, bool manifest) {
  std::string path =
      fmt::format("/v2/{}/{}/{}", reference_.repository, manifest ? "manifests" : "blobs", descriptor.digest.text());
  auto transfer = get(path, manifest ? std::vector<std::string>{kManifestAccept} : std::vector<std::string>{});
  if (!transfer) return std::unexpected(within(std::move(transfer.error())));
  auto text = (*transfer)->body(kMaxManifestBytes);
  if (!text) return std::unexpected(within(std::move(text.error())));
  if (auto checked = check_document(descriptor, *text); !checked) {
    return std::unexpected(within(std::move(checked.error())));
  }
  return text;
}

// A blob, first from what an earlier attempt has left on disk, then from the registry;
// what comes is kept on disk until it is whole.
class BlobDownload : public ByteSource {
 public:
  BlobDownload(Registry& registry, Descriptor descriptor) : registry_(registry), descriptor_(std::move(descriptor)) {
    if (registry_.settings_.partial < 0) return;
    Fd file(openat(registry_.settings_.partial, descriptor_.digest.hex.c_str(),
                   O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    struct stat info{};
    // Somebody else's at this moment: then without.
    if (!file || flock(file.get(), LOCK_EX | LOCK_NB) != 0 || fstat(file.get(), &info) != 0) return;
    if (static_cast<uint64_t>(info.st_size) > descriptor_.size && ftruncate(file.get(), 0) == 0) info.st_size = 0;
    on_disk_ = static_cast<uint64_t>(info.st_size);
    resumed_ = on_disk_ > 0;
    partial_ = std::move(file);
  }

  ~BlobDownload() override {
    // Whole or never begun; anything between is for the next attempt.
    if (partial_ && (position_ == descriptor_.size || on_disk_ == 0)) {
      unlinkat(registry_.settings_.partial, descriptor_.digest.hex.c_str(), 0);
    }
  }

  bool resumed() const override { return resumed_; }

  Result<size_t> read(std::span<char> buffer) override {
    if (partial_ && position_ < on_disk_) {
      size_t size = std::min<uint64_t>(buffer.size(), on_disk_ - position_);
      ssize_t got = pread(partial_.get(), buffer.data(), size, static_cast<off_t>(position_));
      if (got < 0) return host::sys_fail("read the partial download");
      if (got == 0) return fail("the partial download has become shorter");
      position_ += static_cast<uint64_t>(got);
      return static_cast<size_t>(got);
    }
    while (position_ < descriptor_.size) {
      if (!transfer_) {
        if (auto opened = open(); !opened) return std::unexpected(std::move(opened.error()));
      }
      auto got = transfer_->read(buffer);
      if (got && *got > descriptor_.size - position_) {
        return fail(Error::Code::invalid,
                    fmt::format("the blob is larger than the {} bytes its manifest says", descriptor_.size));
      }
      if (got && *got > 0) {
        keep(buffer.first(*got));
        position_ += *got;
        attempts_ = 0;
        return got;
      }
      // Broken off, or ended too early, which is the same.
      transfer_.reset();
      Error error = got ? Error{Error::Code::unavailable, 0,
                                fmt::format("the blob ended after {} of {} bytes", position_, descriptor_.size)}
                        : std::move(got.error());
      if (error.code != Error::Code::unavailable || ++resumes_ > kMaxResumes || attempts_ + 1 >= kMaxAttempts ||
          !registry_.wait(attempts_++, 0)) {
        return std::unexpected(registry_.within(std::move(error)));
      }
    }
    return 0;
  }

 private:
  Status open() {
    std::vector<std::string> headers;
    if (position_ > 0) headers.push_back(fmt::format("Range: bytes={}-", position_));
    std::string path = fmt::format("/v2/{}/blobs/{}", registry_.reference_.repository, descriptor_.digest.text());
    auto transfer = registry_.get(path, headers);
    if (!transfer) return std::unexpected(registry_.within(std::move(transfer.error())));
    uint64_t skip = position_;
    if (position_ > 0 && (*transfer)->head().status == 206) {
      std::string range = (*transfer)->head().header("content-range");
      if (!range.starts_with(fmt::format("bytes {}-", position_))) {
        return fail(fmt::format("the registry answers a range that was not asked for: {}", range.substr(0, 100)));
      }
      skip = 0;
    }
    // A server without ranges sends it all again.
    std::vector<char> rubbish(64 << 10);
    while (skip > 0) {
      auto got = (*transfer)->read(std::span(rubbish).first(std::min<uint64_t>(rubbish.size(), skip)));
      if (!got) return std::unexpected(registry_.within(std::move(got.error())));
      if (*got == 0) return fail(Error::Code::unavailable, "the blob ended too early");
      skip -= *got;
    }
    transfer_ = std::move(*transfer);
    return {};
  }

  // Losing the copy on disk is no failure: it only speeds up a next attempt.
  void keep(std::span<const char> data) {
    if (!partial_ || on_disk_ != position_) return;
    ssize_t done = pwrite(partial_.get(), data.data(), data.size(), static_cast<off_t>(on_disk_));
    if (done > 0) on_disk_ += static_cast<uint64_t>(done);
  }

  Registry& registry_;
  Descriptor descriptor_;
  Fd partial_;
  bool resumed_ = false;
  uint64_t on_disk_ = 0, position_ = 0;
  int attempts_ = 0, resumes_ = 0;
  std::unique_ptr<Transfer> transfer_;
};

Result<std::unique_ptr<ByteSource>> Registry::layer(const Descriptor& descriptor) {
  return std::make_unique<BlobDownload>(*this, descriptor);
}

}  // namespace keelson::images
