#include "agent/images/puller/transfer.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <mutex>

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Result;

constexpr size_t kBufferHigh = 256 << 10;
constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr long kConnectSeconds = 20;
constexpr long kStallSeconds = 60;

void initialise_once() {
  static std::once_flag flag;  // libcurl's own global state; it has no other door
  std::call_once(flag, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string ResponseHead::header(const std::string& name) const {
  auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second.back();
}

struct Transfer::State {
  CURLM* multi = curl_multi_init();
  CURL* easy = curl_easy_init();
  curl_slist* header_list = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text{};
  ResponseHead head;
  size_t header_bytes = 0;
  std::string buffer;
  size_t taken = 0;  // of buffer
  bool head_complete = false, paused = false, ended = false, added = false;
  CURLcode code = CURLE_OK;

  ~State() {
    if (added) curl_multi_remove_handle(multi, easy);
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    curl_slist_free_all(header_list);
  }

  static size_t on_header(char* data, size_t, size_t size, void* self) {
    auto& s = *static_cast<State*>(self);
    s.header_bytes += size;
    if (s.header_bytes > kMaxHeaderBytes) return 0;
    std::string_view line(data, size);
    if (line.starts_with("HTTP/")) {  // a new head: after 100 Continue
      s.head.headers.clear();
    } else if (trim(line).empty()) {
      long status = 0;
      curl_easy_getinfo(s.easy, CURLINFO_RESPONSE_CODE, &status);
      s.head.status = static_cast<int>(status);
      s.head_complete = status >= 200;
    } else if (size_t colon = line.find(':'); colon != line.npos) {
      s.head.headers[lower(line.substr(0, colon))].emplace_back(trim(line.substr(colon + 1)));
    }
    return size;
  }

  static size_t on_body(char* data, size_t, size_t size, void* self) {
    auto& s = *static_cast<State*>(self);
    if (s.buffer.size() - s.taken >= kBufferHigh) {
      s.paused = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    s.buffer.append(data, size);
    return size;
  }

  // Lets libcurl work until `enough`, the end, or an error.
  template <typename Condition>
  host::Status run(Condition enough) {
    while (!enough() && !ended) {
      int running = 0;
      if (CURLMcode failed = curl_multi_perform(multi, &running); failed != CURLM_OK) {
        return fail(fmt::format("libcurl: {}", curl_multi_strerror(failed)));
      }
      int left = 0;
      while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
          ended = true;
          code = message->data.result;
        }
      }
      if (enough() || ended) break;
      if (CURLMcode failed = curl_multi_poll(multi, nullptr, 0, 1000, nullptr); failed != CURLM_OK) {
        return fail(fmt::format("libcurl: {}", curl_multi_strerror(failed)));
      }
    }
    return {};
  }

  std::unexpected<Error> failure() {
    std::string text = error_text[0] ? error_text.data() : curl_easy_strerror(code);
    long system_error = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system_error);
    switch (code) {
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_SSL_CERTPROBLEM:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_ISSUER_ERROR:
        if (text.find("wrong version number") != text.npos) {
          return fail(Error::Code::denied,
                      "the registry speaks plain HTTP, which is allowed to loopback addresses and the registries "
                      "listed as insecure only");
        }
        return fail(Error::Code::denied, "x509: " + text);
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
        return fail(Error::Code::unavailable, "no such host: " + text);
      case CURLE_COULDNT_CONNECT:
        if (system_error == ECONNREFUSED) return fail(Error::Code::unavailable, "connection refused: " + text);
        return fail(Error::Code::unavailable, "cannot connect: " + text);
      case CURLE_OPERATION_TIMEDOUT:
        return fail(Error::Code::unavailable, "timed out: " + text);
      case CURLE_UNSUPPORTED_PROTOCOL:
        return fail(Error::Code::denied, "a URL that is not https: " + text);
      case CURLE_URL_MALFORMAT:
        return fail(Error::Code::invalid, text);
      default:
        return fail(Error::Code::unavailable, text);
    }
  }
};

Transfer::Transfer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Transfer::~Transfer() = default;

Result<std::unique_ptr<Transfer>> Transfer::start(const TransferRequest& request) {
  initialise_once();
  auto state = std::make_unique<State>();
  if (!state->multi || !state->easy) return fail("libcurl: out of memory");
  CURL* easy = state->easy;
  for (const auto& header : request.headers) {
    state->header_list = curl_slist_append(state->header_list, header.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, request.plain_http ? "http,https" : "https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "keelson");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, state->header_list);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, State::on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, state.get());
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, State::on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, state.get());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, state->error_text.data());
  if (!request.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.ca_file.c_str());
  curl_multi_add_handle(state->multi, easy);
  state->added = true;

  State& s = *state;
  if (auto ran = s.run([&] { return s.head_complete; }); !ran) return std::unexpected(std::move(ran.error()));
  if (!s.head_complete) return s.failure();
  return std::unique_ptr<Transfer>(new Transfer(std::move(state)));
}

const ResponseHead& Transfer::head() const { return state_->head; }

std::string Transfer::redirect() const {
  char* url = nullptr;
  curl_easy_getinfo(state_->easy, CURLINFO_REDIRECT_URL, &url);
  return url ? url : "";
}

Result<size_t> Transfer::read(std::span<char> buffer) {
  State& s = *state_;
  if (s.taken == s.buffer.size()) {
    s.buffer.clear();
    s.taken = 0;
    if (s.paused) {
      s.paused = false;
      curl_easy_pause(s.easy, CURLPAUSE_CONT);
    }
    if (auto ran = s.run([&] { return !s.buffer.empty(); }); !ran) return std::unexpected(std::move(ran.error()));
    if (s.buffer.empty()) {
      if (s.code != CURLE_OK) return s.failure();
      return 0;
    }
  }
  size_t size = std::min(buffer.size(), s.buffer.size() - s.taken);
  std::memcpy(buffer.data(), s.buffer.data() + s.taken, size);
  s.taken += size;
  return size;
}

Result<std::string> Transfer::body(size_t limit) {
  std::string text;
  std::array<char, 16384> chunk;
  while (true) {
    auto got = read(chunk);
    if (!got) return std::unexpected(std::move(got.error()));
    if (*got == 0) return text;
    text.append(chunk.data(), *got);
    if (text.size() > limit) return fail(Error::Code::invalid, fmt::format("the answer has more than {} bytes", limit));
  }
}

Result<Origin> origin_of(const std::string& url) {
  initialise_once();
  std::unique_ptr<CURLU, void (*)(CURLU*)> parsed(curl_url(), curl_url_cleanup);
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return fail(Error::Code::invalid, fmt::format("\"{}\" is no URL", url.substr(0, 200)));
  }
  auto part = [&](CURLUPart which) {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return std::string();
    std::string copy = lower(text);
    curl_free(text);
    return copy;
  };
  return Origin{part(CURLUPART_SCHEME), part(CURLUPART_HOST), part(CURLUPART_PORT)};
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

}  // namespace keelson::images
