#pragma once
// The query of a list or watch: selectors, page, versions. And the token of a page.
// Pure; safe on every thread.

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "api/query.h"
#include "http/server.h"
#include "master/apiserver/attributes.h"
#include "master/apiserver/kind_cache.h"

namespace keelson::apiserver {

// Where the next page begins: opaque to clients, as Kubernetes writes it (base64 of JSON).
struct PageToken {
  int64_t revision = 0;  // -1: whatever is current, at the client's own wish
  std::string start;     // the first key that may be on it
};
std::string to_string(const PageToken& token);
std::optional<PageToken> parse_page_token(std::string_view text);

// Which objects are asked for.
struct Selection {
  std::string namespace_;  // "": all
  std::string name;        // "": all
  api::LabelQuery labels;
  api::FieldQuery fields;
  const api::Resource* view = nullptr;  // whose fields `fields` names

  bool matches(const Version& version) const;
  bool selective() const { return !name.empty() || !labels.empty() || !fields.empty(); }
  // The keys that may match begin with it.
  std::string key_prefix(const api::Resource& resource) const;
};

struct ListOptions {
  enum class Match : uint8_t { unset, not_older_than, exact };
  Selection selection;
  int64_t limit = 0;
  std::optional<PageToken> page;
  std::optional<int64_t> resource_version;  // nothing: the newest there is
  Match match = Match::unset;
  // Of a watch.
  bool bookmarks = false;
  std::optional<bool> send_initial_events;
  std::optional<std::chrono::seconds> timeout;
};

std::expected<ListOptions, api::Status> parse_list_options(const Attributes& attributes, const http::Request& request);
// resourceVersion of a get or list; nothing when absent or empty.
std::expected<std::optional<int64_t>, api::Status> parse_resource_version(const http::Request& request);

}  // namespace keelson::apiserver
