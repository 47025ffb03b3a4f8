#include "master/apiserver/reading.h"

#include <fmt/core.h>

#include "master/apiserver/plan.h"
#include "master/apiserver/status.h"
#include "master/apiserver/view.h"

namespace keelson::apiserver {

namespace {

constexpr auto kFutureVersion = std::chrono::seconds(3);  // how long a version may be ahead of us
constexpr int64_t kEtcdPage = 500;

constexpr std::string_view kPageTooOld =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list.";

}  // namespace

// A page in the making: takes objects in the order of their keys until it is full, then counts.
struct Reading::Page {
  ListOptions options;
  View view;
  const api::Resource* resource = nullptr;  // as stored
  std::string prefix;                       // of the keys that may match
  std::string start;                        // the first key that may be on it
  std::vector<VersionPtr> items;
  std::string last_key;  // on the page
  std::string cursor;    // where to read on in etcd
  size_t bytes = 0;
  int64_t beyond = 0;      // matches behind the page
  bool counts_all = true;  // `beyond` is all of them
  int64_t limit = 0;

  // False: no more are wanted.
  bool take(const std::string& key, const VersionPtr& version) {
    if (!options.selection.matches(*version)) return true;
    if (limit > 0 && static_cast<int64_t>(items.size()) == limit) {
      ++beyond;
      // How many there are is told only of lists that select nothing.
      return !options.selection.selective();
    }
    items.push_back(version);
    bytes += version->json.size() + 1;
    if (limit > 0) last_key = key;
    return true;
  }

  http::Answer answer(int64_t revision) const {
    api::ListMeta metadata;
    metadata.resource_version = std::to_string(revision);
    if (beyond > 0) {
      metadata.continue_ = to_string(PageToken{revision, last_key + '\0'});
      if (counts_all && !options.selection.selective()) metadata.remaining_item_count = beyond;
    }
    std::string body;
    if (view.form == View::Form::json) body.reserve(bytes + 256);
    view.append_head(body, metadata);
    bool first = true;
    for (const VersionPtr& item : items) {
      if (!first) body += ',';
      first = false;
      view.append_item(body, *item);
    }
    body += "]}";
    return {.content_type = std::string(view.content_type()), .body = view.finish(std::move(body)), .headers = {}};
  }
};

void Reading::when_new_enough(CallPtr call, std::optional<int64_t> resource_version,
                              std::function<void(CallPtr)> then) {
  if (!resource_version && store_.fresh()) return then(std::move(call));
  if (resource_version && *resource_version <= store_.revision() && store_.ready()) return then(std::move(call));
  if (!resource_version || *resource_version == 0) {
    return store_.barrier([call = std::move(call), then = std::move(then)](host::Status status) {
      if (!status) return call->fail(unavailable(status.error().message));
      then(call);
    });
  }
  store_.reach(*resource_version, kFutureVersion,
               [this, call = std::move(call), then = std::move(then), wanted = *resource_version](host::Status status) {
                 if (!status) return call->fail(too_large_resource_version(wanted, store_.revision()));
                 then(call);
               });
}

void Reading::get(CallPtr call) {
  const api::Resource& resource = Planner::stored(*call->attributes.kind);
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  auto resource_version = parse_resource_version(call->request);
  if (!resource_version) return call->fail(resource_version.error());
  when_new_enough(std::move(call), *resource_version, [this, &resource, view = *view](const CallPtr& call) {
    const Attributes& asked = call->attributes;
    const VersionPtr found = store_.find(resource, asked.namespace_, asked.name);
    if (!found) return call->fail(not_found(subject_of(*asked.kind, asked.name)));
    call->answer({.content_type = std::string(view.content_type()), .body = view.object(*found), .headers = {}});
  });
}

std::vector<VersionPtr> Reading::select(const api::Resource& resource, const Selection& selection) const {
  const KindCache& kind = store_.kind(resource);
  std::vector<VersionPtr> found;
  const auto take = [&](const VersionPtr& version) {
    if (version && selection.matches(*version)) found.push_back(version);
  };
  if (!selection.name.empty() && (!resource.namespaced || !selection.namespace_.empty())) {
    take(kind.find(object_key(resource, selection.namespace_, selection.name)));
    return found;
  }
  const Objects* objects = &kind.objects();
  if (const std::string* node = selection.fields.value_of("spec.nodeName");
      node != nullptr && !node->empty() && &resource == &api::resource_of<api::Pod>()) {
    objects = kind.on_node(*node);
    if (objects == nullptr) return found;
  }
  const std::string prefix = selection.key_prefix(resource);
  for (auto at = objects->lower_bound(prefix); at != objects->end() && at->first.starts_with(prefix); ++at) {
    take(at->second);
  }
  return found;
}

void Reading::list(CallPtr call) {
  auto options = parse_list_options(call->attributes, call->request);
  if (!options) return call->fail(options.error());
  auto view = View::negotiate(*call->attributes.kind, call->request);
  if (!view) return call->fail(view.error());
  auto page = std::make_shared<Page>();  // shared by what it waits for
  page->options = std::move(*options);
  page->view = *view;
  page->resource = &Planner::stored(*call->attributes.kind);
  const ListOptions& asked = page->options;
  page->prefix = asked.selection.key_prefix(*page->resource);
  page->start = page->prefix;
  page->limit = asked.resource_version == 0 ? 0 : asked.limit;
  if (asked.page) {
    if (asked.page->start < page->prefix) return call->fail(bad_request("continue key is not valid"));
    page->start = asked.page->start;
    page->limit = asked.limit;
    if (asked.page->revision > 0) {
      // The token is ours, so the revision is not ahead of us, but for one of another server.
      const int64_t revision = asked.page->revision;
      return when_new_enough(std::move(call), revision,
                             [this, page, revision](const CallPtr& call) { list_at(call, page, revision); });
    }
    return when_new_enough(std::move(call), std::nullopt,
                           [this, page](const CallPtr& call) { list_at(call, page, store_.revision()); });
  }
  // As it has always been: a page of a version means exactly that version.
  const bool exact =
      asked.match == ListOptions::Match::exact ||
      (asked.match == ListOptions::Match::unset && asked.limit > 0 && asked.resource_version.value_or(0) > 0);
  when_new_enough(std::move(call), asked.resource_version, [this, page, exact](const CallPtr& call) {
    list_at(call, page, exact ? *page->options.resource_version : store_.revision());
  });
}

void Reading::list_at(const CallPtr& call, std::shared_ptr<Page> page, int64_t revision) {
  const KindCache& kind = store_.kind(*page->resource);
  const Selection& selection = page->options.selection;
  const auto expire = [&] {
    if (!page->options.page) return call->fail(expired("The resourceVersion for the provided list is too old."));
    api::Status status = expired(std::string(kPageTooOld));
    status.metadata.continue_ = to_string(PageToken{-1, page->start});
    call->fail(status);
  };
  if (revision < store_.compacted()) return expire();
  if (revision >= kind.last_change()) {
    if (page->limit == 0) {
      page->items = select(*page->resource, selection);
      for (const VersionPtr& item : page->items) page->bytes += item->json.size() + 1;
    } else {
      const Objects& objects = kind.objects();
      for (auto at = objects.lower_bound(page->start); at != objects.end() && at->first.starts_with(page->prefix);
           ++at) {
        if (!page->take(at->first, at->second)) break;
      }
    }
    return call->answer(page->answer(revision));
  }
  if (revision < kind.history_start()) return list_from_etcd(call, std::move(page), revision);
  // The cache, but for what has changed since.
  const Objects then = kind.difference(revision);
  auto now = kind.objects().lower_bound(page->start);
  auto old = then.lower_bound(page->start);
  const auto within = [&](const auto& at, const Objects& of) {
    return at != of.end() && at->first.starts_with(page->prefix);
  };
  while (within(now, kind.objects()) || within(old, then)) {
    const bool changed = within(old, then) && (!within(now, kind.objects()) || old->first <= now->first);
    const auto& [key, version] = changed ? *old : *now;
    if (version && !page->take(key, version)) break;
    if (!changed) {
      ++now;
      continue;
    }
    if (within(now, kind.objects()) && now->first == old->first) ++now;
    ++old;
  }
  call->answer(page->answer(revision));
}

// Older than what we remember, though not than what etcd does: read there, page by page.
void Reading::list_from_etcd(const CallPtr& call, std::shared_ptr<Page> page, int64_t revision) {
  page->counts_all = false;
  const std::string from = page->cursor.empty() ? page->start : page->cursor;
  store_.objects_at(*page->resource, from, revision, kEtcdPage,
                    [this, call, page, revision](host::Result<Store::Snapshot> snapshot) {
                      if (!snapshot && snapshot.error().code == host::Error::Code::not_found) {
                        if (!page->options.page) {
                          return call->fail(expired("The resourceVersion for the provided list is too old."));
                        }
                        api::Status status = expired(std::string(kPageTooOld));
                        status.metadata.continue_ = to_string(PageToken{-1, page->start});
                        return call->fail(status);
                      }
                      if (!snapshot) return call->fail(unavailable(snapshot.error().message));
                      bool more = static_cast<int64_t>(snapshot->size()) == kEtcdPage;
                      for (const auto& [key, version] : *snapshot) {
                        if (!key.starts_with(page->prefix)) more = false;
                        if (!key.starts_with(page->prefix) || !page->take(key, version) || page->beyond > 0) {
                          more = false;
                          break;
                        }
                        page->cursor = key + '\0';
                      }
                      if (!more) return call->answer(page->answer(revision));
                      list_from_etcd(call, page, revision);
                    });
}

}  // namespace keelson::apiserver
