#include "apiclient/reflector.h"

#include <fmt/format.h>

#include <optional>
#include <random>

#include "api/codec.h"
#include "api/decode.h"
#include "apiclient/list_reader.h"
#include "host/backoff.h"

namespace keelson::apiclient {

namespace {

constexpr size_t kMostRefusal = 64u << 10;           // of a body that says why not
constexpr auto kTooShort = std::chrono::seconds(1);  // a watch that ends so soon, unused, was no watch
constexpr int kMostPagedLists = 3;                   // that lost their pages on the way; then without pages

std::string key_of(std::string_view namespace_, std::string_view name) {
  std::string key;
  key.reserve(namespace_.size() + 1 + name.size());
  if (!namespace_.empty()) key.append(namespace_).append("/");
  return key.append(name);
}

}  // namespace

std::string object_key(const api::ObjectMeta& metadata) { return key_of(metadata.namespace_, metadata.name); }

struct AnyReflector::Impl : std::enable_shared_from_this<AnyReflector::Impl> {
  Impl(Client& on_client, const api::Resource& of_resource, ReflectorOptions reflector_options,
       AnyReflectorHandlers reflector_handlers)
      : client(on_client),
        resource(of_resource),
        options(std::move(reflector_options)),
        handlers(std::move(reflector_handlers)),
        backoff(options.first_retry, options.most_retry) {}

  // What is read of one answer, list page or watch.
  struct Answer {
    int status = 0;
    std::string refusal;  // the body of one outside 2xx
    ListReader page;
    LineReader lines;
    host::TimePoint began = host::Clock::now(), heard = began;
    bool useful = false;  // a watch that has told something
    explicit Answer(const api::Resource& resource) : page(resource) {}
  };

  ApiRequest request(http::Query query) const;
  void list();
  void list_page();
  void page_ended(host::Status status);
  void commit(const std::string& list_version);
  void watch();
  void take_event(std::string_view line);
  void apply_changed(ObjectPtr now);
  void apply_deleted(const ObjectPtr& last);
  void watch_ended(host::Status status);
  void begin_answer();
  // Reads an answer; `ended` as the stream's end.
  http::StreamHandlers reads(host::Status (Impl::*take)(const std::string&), void (Impl::*ended)(host::Status));
  host::Status take_page(const std::string& chunk);
  host::Status take_lines(const std::string& chunk);
  void guard();
  // For a timer. Whoever is told may destroy the reflector, so it must not run on `this` alone.
  std::function<void()> later(void (Impl::*step)()) {
    return [weak = weak_from_this(), step] {
      if (const auto self = weak.lock(); self && !self->stopped) ((*self).*step)();
    };
  }
  // Tells of it, and tries again later: to list, or to watch from where we are.
  void retry(Failure failure, bool relist);

  std::string where() const {
    return fmt::format("{} {}", watching ? "watch" : "list", path_of(resource, options.namespace_));
  }

  Client& client;
  const api::Resource& resource;
  const ReflectorOptions options;
  const AnyReflectorHandlers handlers;
  host::Backoff backoff;
  std::minstd_rand random{std::random_device{}()};

  ObjectSet objects;
  std::string version;
  bool synced = false, connected = false, stopped = false, watching = false;

  std::optional<Answer> answer;
  host::TimePoint deadline;       // of the watch
  std::optional<Failure> ending;  // why the watch is broken off: an ERROR event, garbage
  ObjectSet listed;               // the list under way
  std::string continue_;
  int lost_lists = 0;
  Call call;
  host::Timer again, guard_timer;
};

ApiRequest AnyReflector::Impl::request(http::Query query) const {
  return {.path = path_of(resource, options.namespace_), .query = std::move(query)};
}

void AnyReflector::Impl::begin_answer() {
  answer.emplace(resource);
  ending.reset();
  guard();
}

// One timer for all that may be too quiet.
void AnyReflector::Impl::guard() {
  const auto now = host::Clock::now();
  auto until = now + std::chrono::hours(24);
  if (watching) until = std::min(until, deadline);
  if (options.silence > host::Duration::zero()) until = std::min(until, answer->heard + options.silence);
  if (until <= now) {
    call.cancel();
    return retry(failure_of(host::Error{.code = host::Error::Code::unavailable,
                                        .message = fmt::format("{}: the server has fallen silent", where())}),
                 !watching);
  }
  guard_timer = client.loop().after(until - now, later(&Impl::guard));
}

http::StreamHandlers AnyReflector::Impl::reads(host::Status (Impl::*take)(const std::string&),
                                               void (Impl::*ended)(host::Status)) {
  const std::weak_ptr<Impl> weak = weak_from_this();
  return {.head =
              [weak](int status, const http::Headers&) {
                const auto self = weak.lock();
                if (!self || self->stopped) return;
                self->answer->status = status;
                self->answer->heard = host::Clock::now();
                if (status / 100 == 2) self->connected = true;
              },
          .chunk =
              [weak, take, ended](std::string chunk) {
                const auto self = weak.lock();
                if (!self || self->stopped) return;
                auto& answer = *self->answer;
                answer.heard = host::Clock::now();
                if (answer.status / 100 != 2) {
                  if (answer.refusal.size() < kMostRefusal) answer.refusal += chunk;
                  return;
                }
                auto taken = ((*self).*take)(chunk);
                if (self->stopped || (taken && !self->ending)) return;
                if (!taken) self->ending = failure_of(std::move(taken.error()).within(self->where()));
                self->call.cancel();
                ((*self).*ended)({});
              },
          .end =
              [weak, ended](host::Status status) {
                if (const auto self = weak.lock(); self && !self->stopped) ((*self).*ended)(std::move(status));
              }};
}

// ---- the list

void AnyReflector::Impl::list() {
  watching = false;
  listed.clear();
  continue_.clear();
  list_page();
}

// Always the server's present, not any cache's past: a list never goes back behind a watch.
void AnyReflector::Impl::list_page() {
  begin_answer();
  call = client.stream(request(list_query({.label_selector = options.label_selector,
                                           .field_selector = options.field_selector,
                                           .limit = lost_lists < kMostPagedLists ? options.page : 0,
                                           .continue_ = continue_})),
                       reads(&Impl::take_page, &Impl::page_ended));
}

host::Status AnyReflector::Impl::take_page(const std::string& chunk) {
  return answer->page.feed(chunk, [this](api::AnyObject item) {
    auto key = object_key(item.metadata());
    // What has not changed stays the same object for who compares pointers.
    const auto known = objects.find(key);
    const bool same = known != objects.end() && !item.metadata().resource_version.empty() &&
                      known->second->metadata().resource_version == item.metadata().resource_version &&
                      known->second->metadata().uid == item.metadata().uid;
    if (options.trim && !same) options.trim(item);
    listed.insert_or_assign(std::move(key),
                            same ? known->second : std::make_shared<const api::AnyObject>(std::move(item)));
  });
}

void AnyReflector::Impl::page_ended(host::Status status) {
  guard_timer.cancel();
  if (!status) return retry(failure_of(status.error()), true);
  if (ending) return retry(*std::exchange(ending, std::nullopt), true);
  if (answer->status / 100 != 2) {
    auto failure = failure_of(answer->status, answer->refusal, where());
    // The version that the pages belong to is gone: from the first one again.
    if (failure.expired()) ++lost_lists;
    return retry(std::move(failure), true);
  }
  auto metadata = answer->page.finish();
  if (!metadata) return retry(failure_of(std::move(metadata.error()).within(where())), true);
  if (!metadata->continue_.empty()) {
    continue_ = std::move(metadata->continue_);
    return list_page();
  }
  lost_lists = 0;
  commit(metadata->resource_version);
  if (!stopped) watch();
}

void AnyReflector::Impl::commit(const std::string& list_version) {
  if (!synced) {
    objects = std::exchange(listed, {});
    version = list_version;
    synced = true;
    if (handlers.synced) handlers.synced(objects);
    return;
  }
  auto next = std::exchange(listed, {});
  std::vector<std::pair<std::string, ObjectPtr>> gone;
  for (const auto& [key, object] : objects) {
    const auto found = next.find(key);
    if (found == next.end() || found->second->metadata().uid != object->metadata().uid) gone.emplace_back(key, object);
  }
  for (auto& [key, object] : gone) {
    objects.erase(key);
    if (handlers.deleted) handlers.deleted(object);
    if (stopped) return;
  }
  for (auto& [key, object] : next) {
    apply_changed(std::move(object));
    if (stopped) return;
  }
  version = list_version;
}

// ---- the watch

void AnyReflector::Impl::watch() {
  watching = true;
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(options.watch_time).count();
  const auto time = std::chrono::milliseconds(
      whole + std::uniform_int_distribution<std::chrono::milliseconds::rep>(0, whole / 2)(random));
  deadline = host::Clock::now() + time + options.patience;
  begin_answer();
  auto query = list_query({.label_selector = options.label_selector,
                           .field_selector = options.field_selector,
                           .resource_version = version});
  query.add("watch", "true");
  query.add("allowWatchBookmarks", "true");
  query.add("timeoutSeconds", std::to_string(std::max<int64_t>(1, time.count() / 1000)));
  call = client.stream(request(std::move(query)), reads(&Impl::take_lines, &Impl::watch_ended));
}

host::Status AnyReflector::Impl::take_lines(const std::string& chunk) {
  return answer->lines.feed(chunk, [this](std::string_view line) {
    take_event(line);
    return !stopped && !ending;
  });
}

void AnyReflector::Impl::take_event(std::string_view line) {
  const auto garbage = [this](std::string_view what) {
    ending = failure_of(
        host::Error{.code = host::Error::Code::invalid, .message = fmt::format("{}: an event: {}", where(), what)});
  };
  api::Tree tree;
  size_t used = 0;
  const auto root = api::read_json(line, tree, 1, used);
  if (!root) return garbage(root.error().message);
  const auto type = (*root)->string("type");
  const auto* value = (*root)->find("object");
  if (value == nullptr || value->kind != api::Value::Kind::object) return garbage("it has no object");
  if (type == "ERROR") {
    api::Status status;
    api::Remarks remarks;
    api::decode(api::type_of<api::Status>(), *value, &status, remarks);
    ending = failure_of(std::move(status), where());
    return;
  }
  if (const auto kind = value->string("kind"); !kind.empty() && kind != resource.kind) {
    return garbage(fmt::format("a {} is expected, not a {}", resource.kind, kind));
  }
  auto read = api::read_object(resource, *value);
  if (!read) return garbage(read.error().message);
  const auto& metadata = read->object.metadata();
  auto next_version = metadata.resource_version;
  if (next_version.empty()) return garbage("it has no resourceVersion");
  if (type != "BOOKMARK" && metadata.name.empty()) return garbage("it has no name");
  answer->useful = true;
  backoff.reset();
  if (options.trim) options.trim(read->object);
  if (type == "ADDED" || type == "MODIFIED") {
    apply_changed(std::make_shared<const api::AnyObject>(std::move(read->object)));
  } else if (type == "DELETED") {
    apply_deleted(std::make_shared<const api::AnyObject>(std::move(read->object)));
  } else if (type != "BOOKMARK") {
    return garbage(fmt::format("its type is \"{}\"", type));
  }
  if (!stopped) version = std::move(next_version);
}

void AnyReflector::Impl::apply_changed(ObjectPtr now) {
  auto& place = objects[object_key(now->metadata())];
  auto old = std::exchange(place, now);
  if (old && old->metadata().uid != now->metadata().uid) {
    // Its end was never seen. The set shows what there is now already.
    if (handlers.deleted) handlers.deleted(old);
    if (stopped) return;
    old.reset();
  } else if (old && old->metadata().resource_version == now->metadata().resource_version) {
    place = std::move(old);
    return;
  }
  if (handlers.changed) handlers.changed(old, now);
}

void AnyReflector::Impl::apply_deleted(const ObjectPtr& last) {
  const auto found = objects.find(object_key(last->metadata()));
  if (found == objects.end() || found->second->metadata().uid != last->metadata().uid) return;
  objects.erase(found);
  if (handlers.deleted) handlers.deleted(last);
}

void AnyReflector::Impl::watch_ended(host::Status status) {
  guard_timer.cancel();
  if (ending) {
    auto failure = *std::exchange(ending, std::nullopt);
    // Garbage (code 0) may be all that the version asked for ever brings.
    const bool relist = failure.expired() || failure.unanswered();
    return retry(std::move(failure), relist);
  }
  if (!status) return retry(failure_of(status.error()), false);
  if (answer->status / 100 != 2) {
    auto failure = failure_of(answer->status, answer->refusal, where());
    // A version that the server does not know yet (504 ResourceVersionTooLarge) it may never know.
    const bool relist = failure.expired() || failure.code == 504 || failure.code == 400;
    return retry(std::move(failure), relist);
  }
  if (!answer->lines.empty()) {
    return retry(failure_of(host::Error{.code = host::Error::Code::unavailable,
                                        .message = fmt::format("{}: half an event", where())}),
                 false);
  }
  if (answer->useful || host::Clock::now() - answer->began >= kTooShort) return watch();
  // Not a failure, but not to be had a thousand times a second either.
  again = client.loop().after(backoff.next(), later(&Impl::watch));
}

void AnyReflector::Impl::retry(Failure failure, bool relist) {
  guard_timer.cancel();
  again = client.loop().after(backoff.next(), later(relist ? &Impl::list : &Impl::watch));
  if (failure.expired()) return;  // history that is gone is nobody's fault
  connected = false;
  if (handlers.failed) handlers.failed(failure);
}

// ---- the handle

AnyReflector::AnyReflector(Client& client, const api::Resource& resource, ReflectorOptions options,
                           AnyReflectorHandlers handlers)
    : impl_(std::make_shared<Impl>(client, resource, std::move(options), std::move(handlers))) {
  impl_->list();
}

AnyReflector::~AnyReflector() {
  impl_->stopped = true;
  impl_->call.cancel();
  impl_->again.cancel();
  impl_->guard_timer.cancel();
}

bool AnyReflector::synced() const { return impl_->synced; }
const ObjectSet& AnyReflector::objects() const { return impl_->objects; }
ObjectPtr AnyReflector::find(std::string_view namespace_, std::string_view name) const {
  const auto found = impl_->objects.find(key_of(namespace_, name));
  return found == impl_->objects.end() ? nullptr : found->second;
}
const std::string& AnyReflector::version() const { return impl_->version; }
bool AnyReflector::connected() const { return impl_->connected; }

}  // namespace keelson::apiclient
