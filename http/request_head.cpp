#include "http/request_head.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace keelson::http {

namespace {

constexpr size_t kMaxFields = 100;

std::unexpected<HeadRefusal> refuse(std::string message, int status = 400) {
  return std::unexpected(HeadRefusal{.status = status, .message = std::move(message)});
}

// tchar of RFC 9110 5.6.2.
bool is_token_char(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_char); }

bool same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether the comma-separated list holds the word.
bool lists(std::string_view text, std::string_view word) {
  while (!text.empty()) {
    const auto item = text.substr(0, text.find(','));
    if (same_word(trim(item), word)) return true;
    text.remove_prefix(std::min(text.size(), item.size() + 1));
  }
  return false;
}

std::expected<void, HeadRefusal> parse_target(RequestHead& head) {
  std::string_view target = head.target;
  if (!target.starts_with('/')) {
    return refuse("the request target must be a path");
  }
  const auto question = target.find('?');
  auto path = target.substr(1, question == std::string_view::npos ? question : question - 1);
  if (question != std::string_view::npos) {
    auto query = Query::parse(target.substr(question + 1));
    if (!query) return refuse("malformed escape in the query");
    head.query = std::move(*query);
  }
  while (!path.empty()) {
    const auto piece = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), piece.size() + 1));
    if (piece.empty()) continue;  // "//" and a slash at the end mean nothing here
    auto segment = percent_decode(piece);
    if (!segment) return refuse("malformed escape in the path");
    if (*segment == "." || *segment == ".." || segment->find('/') != std::string::npos) {
      return refuse("the path may not hold . or .. or an escaped slash");
    }
    head.segments.push_back(std::move(*segment));
  }
  return {};
}

std::expected<void, HeadRefusal> parse_request_line(RequestHead& head, std::string_view line) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return refuse("malformed request line");
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, last - first - 1);
  const auto version = line.substr(last + 1);
  if (!is_token(head.method) || head.method.size() > 32) return refuse("malformed method");
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (!std::ranges::all_of(head.target, printable)) return refuse("malformed request target");
  if (version == "HTTP/1.1") {
    head.http_1_1 = true;
  } else if (version == "HTTP/1.0") {
    head.http_1_1 = false;
  } else {
    return refuse("only HTTP/1.1 and HTTP/1.0 are spoken here", version.starts_with("HTTP/") ? 505 : 400);
  }
  return {};
}

std::expected<void, HeadRefusal> parse_field(RequestHead& head, std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') return refuse("a folded header field (obs-fold) is refused");
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return refuse("a header field without a colon");
  const auto name = line.substr(0, colon);
  const auto value = trim(line.substr(colon + 1));
  if (!is_token(name)) return refuse("malformed header field name");
  const auto allowed = [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); };
  if (!std::ranges::all_of(value, allowed)) return refuse("a control character in a header field");
  head.headers.add(std::string(name), std::string(value));
  return {};
}

// Where the message ends, by RFC 9112 section 6, without its leniencies.
std::expected<void, HeadRefusal> frame(RequestHead& head) {
  size_t hosts = 0, lengths = 0, encodings = 0;
  std::string_view length, encoding, expectation;
  head.keep_alive = head.http_1_1;
  bool upgrade_listed = false;
  for (const auto& [name, value] : head.headers) {
    if (same_word(name, "host")) {
      ++hosts;
    } else if (same_word(name, "content-length")) {
      ++lengths;
      length = value;
    } else if (same_word(name, "transfer-encoding")) {
      ++encodings;
      encoding = value;
    } else if (same_word(name, "expect")) {
      expectation = value;
    } else if (same_word(name, "connection")) {
      if (lists(value, "close")) {
        head.keep_alive = false;
      } else if (lists(value, "keep-alive")) {
        head.keep_alive = true;
      }
      upgrade_listed = upgrade_listed || lists(value, "upgrade");
    }
  }
  if (hosts > 1 || (hosts == 0 && head.http_1_1)) return refuse("exactly one Host field is required");
  if (lengths > 1) return refuse("more than one Content-Length");
  if (encodings > 1) return refuse("more than one Transfer-Encoding");
  if (lengths && encodings) return refuse("Content-Length beside Transfer-Encoding");
  if (encodings) {
    if (!head.http_1_1) return refuse("Transfer-Encoding in HTTP/1.0");
    if (!same_word(encoding, "chunked")) return refuse("a Transfer-Encoding other than chunked");
    head.chunked = true;
  }
  if (lengths) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), number);
    const bool digits = std::ranges::all_of(length, [](char c) { return c >= '0' && c <= '9'; });
    if (error == std::errc::result_out_of_range && digits) {
      number = std::numeric_limits<uint64_t>::max();  // too large in any case
    } else if (error != std::errc() || end != length.data() + length.size() || !digits) {
      return refuse("malformed Content-Length");
    }
    head.content_length = number;
  }
  if (!expectation.empty() && head.http_1_1) {
    if (!same_word(expectation, "100-continue")) return refuse("an Expect other than 100-continue", 417);
    head.expects_continue = true;
  }
  head.wants_upgrade = upgrade_listed && same_word(head.headers.get("upgrade"), "websocket");
  return {};
}

}  // namespace

std::expected<RequestHead, HeadRefusal> parse_request_head(std::string_view text) {
  RequestHead head;
  bool first = true;
  size_t fields = 0;
  while (true) {
    const auto end = text.find("\r\n");
    if (end == std::string_view::npos) return refuse("a header line without its end");
    const auto line = text.substr(0, end);
    text.remove_prefix(end + 2);
    // A lone CR or LF ends a line for some parsers.
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      return refuse("a lone CR, LF or NUL in the header");
    }
    if (first) {
      if (auto parsed = parse_request_line(head, line); !parsed) return std::unexpected(parsed.error());
      first = false;
      continue;
    }
    if (line.empty()) break;
    if (++fields > kMaxFields) return refuse("too many header fields", 431);
    if (auto parsed = parse_field(head, line); !parsed) return std::unexpected(parsed.error());
  }
  if (!text.empty()) return refuse("text after the header");
  if (auto parsed = parse_target(head); !parsed) return std::unexpected(parsed.error());
  if (auto framed = frame(head); !framed) return std::unexpected(framed.error());
  return head;
}

}  // namespace keelson::http
