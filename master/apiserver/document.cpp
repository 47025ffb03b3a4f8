#include "master/apiserver/document.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <functional>

namespace keelson::apiserver {

namespace {

std::string clean(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' && c != '\t') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

// What the text has up to `end`, which is dropped along with it.
std::string_view take(std::string_view& text, char end) {
  const size_t at = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

}  // namespace

Document make_document(std::string content_type, std::string body) {
  std::array<unsigned char, 64> digest{};
  unsigned int size = 0;
  EVP_Digest(body.data(), body.size(), digest.data(), &size, EVP_sha512(), nullptr);
  std::string etag = "\"";
  for (size_t i = 0; i < 32; ++i) etag += fmt::format("{:02X}", digest[i]);
  etag += '"';
  return {.content_type = std::move(content_type), .body = std::move(body), .etag = std::move(etag)};
}

http::Answer answer_with(const Document& document, const http::Request& request, std::string_view vary) {
  http::Answer answer{.status = 200, .content_type = document.content_type, .body = {}, .headers = {}};
  answer.headers.add("ETag", document.etag);
  if (!vary.empty()) answer.headers.add("Vary", std::string(vary));
  std::string_view known = request.headers.get("If-None-Match");
  while (!known.empty()) {
    std::string tag = clean(take(known, ','));
    std::string own = clean(document.etag);
    if (tag.starts_with("w/")) tag.erase(0, 2);
    if (tag == own || tag == "*") {
      answer.status = 304;
      return answer;
    }
  }
  answer.body = document.body;
  return answer;
}

std::vector<std::string> accepted_types(const http::Request& request) {
  struct Choice {
    std::string type;
    double quality = 1;
  };
  std::vector<Choice> choices;
  std::string_view rest = request.headers.get("Accept");
  while (!rest.empty() && choices.size() < 64) {
    std::string_view range = take(rest, ',');
    Choice choice{.type = clean(take(range, ';'))};
    if (choice.type.empty()) continue;
    while (!range.empty()) {
      const std::string parameter = clean(take(range, ';'));
      if (parameter.starts_with("q=")) {
        choice.quality = std::strtod(parameter.c_str() + 2, nullptr);
      } else if (!parameter.empty()) {
        choice.type += ';' + parameter;
      }
    }
    if (choice.quality > 0) choices.push_back(std::move(choice));
  }
  std::ranges::stable_sort(choices, std::greater<>(), &Choice::quality);
  std::vector<std::string> types;
  for (auto& choice : choices) types.push_back(std::move(choice.type));
  if (types.empty()) types.emplace_back("*/*");
  return types;
}

}  // namespace keelson::apiserver
