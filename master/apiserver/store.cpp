#include "master/apiserver/store.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

#include "host/log.h"

namespace keelson::apiserver {

namespace {

constexpr auto kRetry = std::chrono::milliseconds(200);         // of a list, while etcd is away
constexpr auto kNudge = std::chrono::milliseconds(50);          // how long a foreign revision may take to show
constexpr auto kLeaseShare = std::chrono::seconds(60);          // at most
constexpr std::string_view kTick = "/registry/apiserver/tick";  // written to see the watch move

// /registry/hosts/<node>/configmaps/…
bool is_copied_content(std::string_view key) {
  if (!key.starts_with(kHosts)) return false;
  const size_t end = key.find('/', kHosts.size());
  if (end == std::string_view::npos) return false;
  const std::string_view below = key.substr(end + 1);
  return below.starts_with("configmaps/") || below.starts_with("secrets/");
}

std::optional<VersionPtr> version_of(const api::Resource& resource, const etcd::KeyValue& kv) {
  auto read = api::read_json_object(resource, kv.value);
  if (!read) {
    host::log_error("store: {} does not hold a {}: {}, ignoring", kv.key, resource.kind, read.error().message);
    return std::nullopt;
  }
  // Whoever wrote it may have written it in another way than we do.
  read->object.metadata().resource_version.clear();
  const std::string value = api::encode_json(read->object);
  return make_version(std::move(read->object), value, kv.mod_revision, kv.lease);
}

}  // namespace

std::string object_key(const api::Resource& resource, std::string_view namespace_, std::string_view name) {
  return resource.namespaced ? fmt::format("{}/{}", namespace_, name) : std::string(name);
}

struct Store::Impl : std::enable_shared_from_this<Store::Impl> {
  Impl(host::Loop& loop, etcd::Client& client, host::Metrics& metrics, StoreOptions options)
      : loop(loop),
        client(client),
        options(options),
        commit_seconds(metrics.histogram("keelson_etcd_txn_seconds", "How long etcd took for a transaction.", {},
                                         {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5})),
        changes(metrics.counter("keelson_store_changes_total", "Changes seen in etcd.")) {
    const auto all = api::resources();
    index.resize(all.size(), -1);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].stored) continue;
      index[i] = static_cast<int>(kinds.size());
      kinds.emplace_back(all[i], options.history);
      by_prefix.emplace(kinds.back().prefix(), &kinds.back());
    }
    metrics.on_render([this, &metrics] {
      for (const KindCache& kind : kinds) {
        metrics.gauge("apiserver_storage_objects", "Objects held.", {{"resource", std::string(kind.resource().plural)}})
            .set(static_cast<double>(kind.objects().size()));
      }
    });
  }

  struct Waiter {
    Ready ready;
    host::Timer patience;
  };
  struct SharedLease {
    int64_t id = 0;
    host::TimePoint until;
    bool granting = false;
    std::vector<std::move_only_function<void(host::Result<int64_t>)>> waiting;
  };

  void list();
  void list_at(int64_t revision);
  void try_later(const host::Error& error);
  void be_ready();
  void listed(etcd::RangeAnswer answer);
  void watch(int64_t from);
  void apply(int64_t revision, std::vector<etcd::Event> events);
  void apply_one(etcd::Event event);
  KindCache* kind_of(std::string_view key, std::string_view& below);
  KindCache& kind(const api::Resource& resource) {
    const int place = index[static_cast<size_t>(&resource - api::resources().data())];
    assert(place >= 0);
    return kinds[static_cast<size_t>(place)];
  }
  std::shared_ptr<Prepared> take_pending(const etcd::KeyValue& kv);
  void drop_pending(const std::shared_ptr<Prepared>& prepared);
  void wake();
  void reach(int64_t wanted, host::Duration patience, Ready ready);
  void ask_revision();
  void nudge(int64_t wanted);
  void compact_later();

  host::Loop& loop;
  etcd::Client& client;
  const StoreOptions options;
  host::Histogram& commit_seconds;
  host::Counter& changes;

  std::deque<KindCache> kinds;  // never moved
  std::vector<int> index;       // by place in api::resources(); -1: not stored
  std::map<std::string, KindCache*, std::less<>> by_prefix;
  std::set<std::string, std::less<>> ranges, servers;
  std::map<std::string, int64_t, std::less<>> copies;

  bool ready = false, connected = false;
  int64_t revision = 0;
  int64_t ready_at = 0;      // where etcd was when we began to list
  int64_t acknowledged = 0;  // the newest revision that a client may know of
  // Commits of unknown fate so far, and how many of them etcd has been asked after since: as long as
  // these differ, it may hold what nobody was told of and the watch has not shown.
  int64_t doubts = 0, settled = 0;
  int64_t compacted = 0;
  std::vector<std::function<void()>> ready_callbacks;
  std::unordered_map<std::string, std::vector<std::shared_ptr<Prepared>>> pending;  // shared with the commits
  std::multimap<int64_t, std::shared_ptr<Waiter>> waiters;                          // shared with their timers
  std::vector<Ready> asking, about_to_ask;                                          // of etcd's own revision
  bool ask_under_way = false;
  std::map<std::chrono::seconds, SharedLease> leases;
  std::deque<int64_t> marks;  // what was current at the last compactions
  int64_t nudge_to = 0;       // what the nudge under way is for; 0: none is
  host::Timer list_again, nudging, compaction;
  std::unique_ptr<etcd::Watch> watching;
};

// ---- filling the cache -------------------------------------------------------------------

void Store::Impl::list() {
  client.range({.key = std::string(kRoot), .range_end = {}, .limit = 1, .keys_only = true},
               [weak = weak_from_this()](host::Result<etcd::RangeAnswer> answer) {
                 const auto self = weak.lock();
                 if (!self) return;
                 if (!answer) return self->try_later(answer.error());
                 self->ready_at = answer->revision;
                 // Nothing is to be gained by looking further back than a cache that stands already.
                 self->list_at(self->ready ? 0 : std::max<int64_t>(answer->revision - self->options.replay, 1));
               });
}

void Store::Impl::list_at(int64_t at) {
  client.list(
      std::string(kRoot),
      [weak = weak_from_this(), at](host::Result<etcd::RangeAnswer> answer) {
        const auto self = weak.lock();
        if (!self) return;
        if (answer) return self->listed(std::move(*answer));
        if (at != 0 && answer.error().code == host::Error::Code::not_found) return self->list_at(0);  // compacted
        self->try_later(answer.error());
      },
      at);
}

void Store::Impl::try_later(const host::Error& error) {
  host::log_warning("store: {}, trying again", error.message);
  list_again = loop.after(kRetry, [this] { list(); });
}

void Store::Impl::listed(etcd::RangeAnswer answer) {
  std::vector<Objects> objects(kinds.size());
  ranges.clear();
  servers.clear();
  copies.clear();
  pending.clear();  // what their events would tell is in the list
  for (const etcd::KeyValue& kv : answer.kvs) {
    if (kv.key.starts_with(kRanges)) ranges.insert(kv.key);
    if (kv.key.starts_with(kServers)) servers.insert(kv.key);
    if (is_copied_content(kv.key)) copies.emplace(kv.key, kv.mod_revision);
    std::string_view below;
    KindCache* kind = kind_of(kv.key, below);
    if (kind == nullptr) continue;
    if (auto version = version_of(kind->resource(), kv)) {
      auto& into =
          objects[static_cast<size_t>(std::ranges::find(kinds, kind, [](auto& k) { return &k; }) - kinds.begin())];
      into.emplace_hint(into.end(), below, std::move(*version));
    }
  }
  revision = answer.revision;
  for (size_t i = 0; i < kinds.size(); ++i) kinds[i].load(std::move(objects[i]), revision);
  watch(revision + 1);
  nudge(ready_at);
  be_ready();
}

// Everything that was there when we began to list is here.
void Store::Impl::be_ready() {
  if (revision < ready_at) return;
  if (!std::exchange(ready, true)) {
    for (const auto& callback : std::exchange(ready_callbacks, {})) callback();
  }
  wake();
}

void Store::Impl::watch(int64_t from) {
  connected = true;
  // The client's watch ends with the store, so the callbacks may have it bare.
  watching =
      client.watch(std::string(kRoot), from,
                   {.events = [this](int64_t at, std::vector<etcd::Event> events) { apply(at, std::move(events)); },
                    .compacted =
                        [this] {
                          host::log_warning("store: etcd compacted what was not seen yet; reading it anew");
                          connected = false;
                          list();
                        },
                    .interrupted =
                        [this](const host::Error& error) {
                          if (std::exchange(connected, false)) host::log_warning("store: {}", error.message);
                        },
                    .resumed =
                        [this] {
                          connected = true;
                          host::log_info("store: etcd answers again");
                        }});
}

// The kind whose prefix the key has, and what stands behind it.
KindCache* Store::Impl::kind_of(std::string_view key, std::string_view& below) {
  if (!key.starts_with(kRoot)) return nullptr;
  size_t end = key.find('/', kRoot.size());
  if (end == std::string_view::npos) return nullptr;
  if (key.substr(kRoot.size(), end - kRoot.size()).find('.') != std::string_view::npos) end = key.find('/', end + 1);
  if (end == std::string_view::npos) return nullptr;
  const auto found = by_prefix.find(key.substr(0, end + 1));
  if (found == by_prefix.end()) return nullptr;
  below = key.substr(end + 1);
  return found->second;
}

void Store::Impl::apply(int64_t at, std::vector<etcd::Event> events) {
  changes.add(events.size());
  for (etcd::Event& event : events) apply_one(std::move(event));
  revision = std::max(revision, at);
  if (!ready) return be_ready();
  wake();
}

void Store::Impl::apply_one(etcd::Event event) {
  const etcd::KeyValue& kv = event.kv;
  for (const auto& [prefix, keys] : {std::pair(kRanges, &ranges), std::pair(kServers, &servers)}) {
    if (!kv.key.starts_with(prefix)) continue;
    if (event.type == etcd::Event::Type::put) {
      keys->insert(kv.key);
    } else {
      keys->erase(kv.key);
    }
    return;
  }
  if (is_copied_content(kv.key)) {
    if (event.type == etcd::Event::Type::put) {
      copies[kv.key] = kv.mod_revision;
    } else {
      copies.erase(kv.key);
    }
    return;
  }
  std::string_view below;
  KindCache* kind = kind_of(kv.key, below);
  if (kind == nullptr) return;
  revision = std::max(revision, kv.mod_revision);  // observers compare with it
  if (event.type == etcd::Event::Type::deleted) return kind->remove(std::string(below), kv.mod_revision);
  if (const auto prepared = take_pending(kv)) {
    if (!prepared->version) {
      prepared->version = make_version(std::move(prepared->object), prepared->value, kv.mod_revision, prepared->lease);
    }
    return kind->put(std::string(below), prepared->version);
  }
  if (auto version = version_of(kind->resource(), kv)) kind->put(std::string(below), std::move(*version));
}

std::shared_ptr<Prepared> Store::Impl::take_pending(const etcd::KeyValue& kv) {
  const auto found = pending.find(kv.key);
  if (found == pending.end()) return nullptr;
  auto& list = found->second;
  const auto match = std::ranges::find_if(list, [&](const std::shared_ptr<Prepared>& prepared) {
    return prepared->version ? prepared->version->revision == kv.mod_revision : prepared->value == kv.value;
  });
  if (match == list.end()) return nullptr;
  auto prepared = std::move(*match);
  list.erase(match);
  if (list.empty()) pending.erase(found);
  return prepared;
}

void Store::Impl::drop_pending(const std::shared_ptr<Prepared>& prepared) {
  const auto found = pending.find(prepared->key);
  if (found == pending.end()) return;
  std::erase(found->second, prepared);
  if (found->second.empty()) pending.erase(found);
}

// ---- waiting for the cache ---------------------------------------------------------------

void Store::Impl::wake() {
  while (!waiters.empty() && waiters.begin()->first <= revision) {
    const auto waiter = std::move(waiters.extract(waiters.begin()).mapped());
    waiter->patience.cancel();
    if (auto call = std::exchange(waiter->ready, nullptr)) call({});
  }
}

void Store::Impl::reach(int64_t wanted, host::Duration patience, Ready call) {
  if (ready && revision >= wanted) return call({});
  auto waiter = std::make_shared<Waiter>();
  waiter->ready = std::move(call);
  waiter->patience = loop.after(patience, [this, weak = std::weak_ptr(waiter), wanted] {
    const auto waiting = weak.lock();
    if (!waiting) return;
    const auto [first, last] = waiters.equal_range(wanted);
    const auto place = std::find_if(first, last, [&](const auto& entry) { return entry.second == waiting; });
    if (place != last) waiters.erase(place);
    if (auto late = std::exchange(waiting->ready, nullptr)) {
      late(host::fail(host::Error::Code::unavailable, "etcd is away"));
    }
  });
  waiters.emplace(wanted, std::move(waiter));
}

// One read of etcd's revision for all who came before it was sent.
void Store::Impl::ask_revision() {
  ask_under_way = true;
  asking = std::exchange(about_to_ask, {});
  client.range({.key = std::string(kRoot), .limit = 1, .keys_only = true},
               [weak = weak_from_this(), doubts = doubts](host::Result<etcd::RangeAnswer> answer) {
                 const auto self = weak.lock();
                 if (!self) return;
                 self->ask_under_way = false;
                 if (answer) {
                   self->settled = doubts;
                   self->acknowledged = std::max(self->acknowledged, answer->revision);
                 }
                 for (Ready& call : std::exchange(self->asking, {})) {
                   if (answer) {
                     self->reach(answer->revision, self->options.patience, std::move(call));
                   } else {
                     call(std::unexpected(answer.error()));
                   }
                 }
                 if (answer) self->nudge(answer->revision);
                 if (!self->about_to_ask.empty()) self->ask_revision();
               });
}

// A revision that somebody made outside of /registry/ does not show in our watch: a write of
// our own behind it does.
void Store::Impl::nudge(int64_t wanted) {
  if (revision >= wanted) return;
  const bool under_way = std::exchange(nudge_to, std::max(nudge_to, wanted)) != 0;
  if (under_way) return;
  nudging = loop.after(kNudge, [this] {
    if (revision < std::exchange(nudge_to, 0) && connected) {
      client.put({.key = std::string(kTick), .value = "{}"}, [](auto&&) {});
    }
  });
}

void Store::barrier(Ready ready) {
  Impl& impl = *impl_;
  if (impl.options.sole_writer && impl.settled == impl.doubts) {
    return impl.reach(impl.acknowledged, impl.options.patience, std::move(ready));
  }
  impl.about_to_ask.push_back(std::move(ready));
  if (!impl.ask_under_way) impl.ask_revision();
}

void Store::reach(int64_t revision, host::Duration patience, Ready ready) {
  impl_->reach(revision, patience, std::move(ready));
}

void Store::objects_at(const api::Resource& resource, std::string_view from_key, int64_t revision, int64_t limit,
                       std::move_only_function<void(host::Result<Snapshot>)> done) {
  const std::string& prefix = impl_->kind(resource).prefix();
  impl_->client.range({.key = fmt::format("{}{}", prefix, from_key),
                       .range_end = etcd::prefix_end(prefix),
                       .limit = limit,
                       .revision = revision},
                      [weak = std::weak_ptr(impl_), &resource, skip = prefix.size(),
                       done = std::move(done)](host::Result<etcd::RangeAnswer> answer) mutable {
                        if (weak.expired()) return;
                        if (!answer) return done(std::unexpected(std::move(answer.error())));
                        Snapshot snapshot;
                        for (const etcd::KeyValue& kv : answer->kvs) {
                          if (auto version = version_of(resource, kv))
                            snapshot.emplace_back(kv.key.substr(skip), std::move(*version));
                        }
                        done(std::move(snapshot));
                      });
}

// ---- writing -----------------------------------------------------------------------------

void Store::commit(Commit commit, std::move_only_function<void(host::Result<Committed>)> done) {
  etcd::Txn txn{.compares = std::move(commit.compares), .success = {}, .failure = {}};
  std::shared_ptr<Prepared> object = std::move(commit.object);
  if (object) {
    impl_->pending[object->key].push_back(object);
    txn.success.emplace_back(etcd::Put{.key = object->key, .value = object->value, .lease = object->lease});
  }
  std::move(commit.operations.begin(), commit.operations.end(), std::back_inserter(txn.success));
  impl_->client.txn(std::move(txn), [weak = std::weak_ptr(impl_), object = std::move(object), done = std::move(done),
                                     began = host::Clock::now()](host::Result<etcd::TxnAnswer> answer) mutable {
    const auto self = weak.lock();
    if (!self) return;
    self->commit_seconds.observe(std::chrono::duration<double>(host::Clock::now() - began).count());
    if (object && (!answer || !answer->succeeded)) self->drop_pending(object);
    if (!answer) {
      if (answer.error().code != host::Error::Code::invalid) ++self->doubts;
      return done(std::unexpected(std::move(answer.error())));
    }
    if (answer->succeeded) {
      self->acknowledged = std::max(self->acknowledged, answer->revision);
      if (object && !object->version) {
        object->version = make_version(std::move(object->object), object->value, answer->revision, object->lease);
      }
    }
    done(Committed{answer->succeeded, answer->revision});
  });
}

void Store::lease(std::chrono::seconds ttl, std::move_only_function<void(host::Result<int64_t>)> done) {
  Impl::SharedLease& shared = impl_->leases[ttl];
  if (shared.id != 0 && host::Clock::now() < shared.until) return done(shared.id);
  shared.waiting.push_back(std::move(done));
  if (std::exchange(shared.granting, true)) return;
  const auto share = std::min(kLeaseShare, ttl);
  impl_->client.grant({.ttl_seconds = (ttl + share).count(), .id = 0},
                      [weak = std::weak_ptr(impl_), ttl, share](host::Result<etcd::LeaseGrantAnswer> answer) {
                        const auto self = weak.lock();
                        if (!self) return;
                        Impl::SharedLease& shared = self->leases[ttl];
                        shared.granting = false;
                        if (answer) {
                          shared.id = answer->id;
                          shared.until = host::Clock::now() + share;
                        }
                        for (auto& call : std::exchange(shared.waiting, {})) {
                          if (answer) {
                            call(answer->id);
                          } else {
                            call(std::unexpected(answer.error()));
                          }
                        }
                      });
}

void Store::Impl::compact_later() {
  if (options.compact_every == host::Duration::zero()) return;
  compaction = loop.after(options.compact_every, [this] {
    marks.push_back(revision);
    compact_later();
    if (marks.size() < 3) return;
    const int64_t until = marks.front();
    marks.pop_front();
    if (until <= compacted) return;
    client.compact({.revision = until}, [weak = weak_from_this(), until](host::Result<etcd::CompactAnswer> answer) {
      const auto self = weak.lock();
      if (!self) return;
      // Another master may have been there first.
      if (answer || answer.error().code == host::Error::Code::not_found) {
        self->compacted = std::max(self->compacted, until);
      } else {
        host::log_warning("store: compaction: {}, ignoring", answer.error().message);
      }
    });
  });
}

// ---- the rest ----------------------------------------------------------------------------

Store::Store(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

std::unique_ptr<Store> Store::create(host::Loop& loop, etcd::Client& client, host::Metrics& metrics,
                                     StoreOptions options) {
  auto impl = std::make_shared<Impl>(loop, client, metrics, options);
  impl->list();
  impl->compact_later();
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

bool Store::ready() const { return impl_->ready; }
bool Store::connected() const { return impl_->ready && impl_->connected; }
bool Store::fresh() const {
  return impl_->ready && impl_->options.sole_writer && impl_->settled == impl_->doubts &&
         impl_->revision >= impl_->acknowledged;
}
int64_t Store::revision() const { return impl_->revision; }
int64_t Store::compacted() const { return impl_->compacted; }
KindCache& Store::kind(const api::Resource& resource) { return impl_->kind(resource); }
const KindCache& Store::kind(const api::Resource& resource) const { return impl_->kind(resource); }
const std::set<std::string, std::less<>>& Store::ranges() const { return impl_->ranges; }
const std::set<std::string, std::less<>>& Store::servers() const { return impl_->servers; }
const std::map<std::string, int64_t, std::less<>>& Store::copies() const { return impl_->copies; }

void Store::when_ready(std::function<void()> callback) {
  if (impl_->ready) return callback();
  impl_->ready_callbacks.push_back(std::move(callback));
}

VersionPtr Store::find(const api::Resource& resource, std::string_view namespace_, std::string_view name) const {
  return impl_->kind(resource).find(object_key(resource, namespace_, name));
}

std::string Store::key_of(const api::Resource& resource, std::string_view namespace_, std::string_view name) const {
  return impl_->kind(resource).prefix() + object_key(resource, namespace_, name);
}

}  // namespace keelson::apiserver
