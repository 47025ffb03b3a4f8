#include "etcd/client.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>
#include <iterator>
#include <set>
#include <utility>

#include "etcd/transport.h"
#include "host/backoff.h"

namespace keelson::etcd {

using std::chrono::milliseconds;

namespace {

constexpr int64_t kFirstPage = 1000;

host::Error to_error(CallError error) {
  if (error.compacted) error.error.code = host::Error::Code::not_found;
  return std::move(error.error);
}

}  // namespace

struct Client::Impl : std::enable_shared_from_this<Client::Impl> {
  Impl(host::Loop& loop, std::unique_ptr<Transport> transport, size_t endpoints, milliseconds deadline)
      : loop(loop), endpoints(endpoints), deadline(deadline), transport(std::move(transport)) {}

  // One call on its way: what is needed to send it once more.
  struct Call {
    Request request;
    bool repeatable = false;  // a read
    host::TimePoint deadline;
    host::Backoff backoff;
    size_t endpoint = 0;  // where it was sent last
    host::Timer again;
    std::move_only_function<void(CallResult)> done;
  };
  struct WatchImpl;
  struct KeepAliveImpl;
  struct Listing;

  void send(const std::shared_ptr<Call>& call);
  void answered(const std::shared_ptr<Call>& call, CallResult result);
  void call(Request request, bool repeatable, std::move_only_function<void(CallResult)> done);
  template <typename A>
  void typed_call(Request request, bool repeatable, Done<A> done);
  void list_page(std::shared_ptr<Listing> listing);

  // Whoever notices first moves everyone on; the others find that `current` has moved.
  void leave(size_t endpoint) {
    if (endpoint == current) current = (current + 1) % endpoints;
  }

  host::Loop& loop;
  const size_t endpoints;
  const milliseconds deadline;
  size_t current = 0;
  std::set<std::shared_ptr<Call>> waiting;  // for their next attempt
  // The last member: its destructor ends the callbacks before the rest goes.
  std::unique_ptr<Transport> transport;
};

// ---- calls ---------------------------------------------------------------------------

void Client::Impl::call(Request request, bool repeatable, std::move_only_function<void(CallResult)> done) {
  auto call = std::make_shared<Call>();  // shared by the timer and the answer, of which one is under way
  call->request = std::move(request);
  call->repeatable = repeatable;
  call->deadline = host::Clock::now() + deadline;
  call->done = std::move(done);
  send(call);
}

void Client::Impl::send(const std::shared_ptr<Call>& call) {
  call->endpoint = current;
  auto left = std::chrono::duration_cast<milliseconds>(call->deadline - host::Clock::now());
  // An endpoint that swallows everything must not eat the whole time of a read.
  if (call->repeatable && endpoints > 1) left = std::min(left, std::max(deadline / 2, milliseconds(1)));
  Request request = call->request;
  transport->call(call->endpoint, std::move(request), std::max(left, milliseconds(1)),
                  [weak = weak_from_this(), call](CallResult result) {
                    if (auto self = weak.lock()) self->answered(call, std::move(result));
                  });
}

void Client::Impl::answered(const std::shared_ptr<Call>& call, CallResult result) {
  if (result || result.error().error.code != host::Error::Code::unavailable) return call->done(std::move(result));
  leave(call->endpoint);
  const auto wait = call->backoff.next();
  const bool may = call->repeatable || result.error().never_sent;
  if (!may || host::Clock::now() + wait >= call->deadline) return call->done(std::move(result));
  waiting.insert(call);
  call->again = loop.after(wait, [this, raw = call.get()] {
    const auto found = std::ranges::find(waiting, raw, [](const auto& one) { return one.get(); });
    const auto next = std::move(waiting.extract(found).value());
    send(next);
  });
}

template <typename A>
void Client::Impl::typed_call(Request request, bool repeatable, Done<A> done) {
  call(std::move(request), repeatable, [done = std::move(done)](CallResult result) mutable {
    if (!result) return done(std::unexpected(to_error(std::move(result.error()))));
    done(std::get<A>(std::move(*result)));
  });
}

void Client::range(Range request, Done<RangeAnswer> done) {
  impl_->typed_call(std::move(request), true, std::move(done));
}
void Client::put(Put request, Done<PutAnswer> done) { impl_->typed_call(std::move(request), false, std::move(done)); }
void Client::remove(Delete request, Done<DeleteAnswer> done) {
  impl_->typed_call(std::move(request), false, std::move(done));
}
void Client::txn(Txn request, Done<TxnAnswer> done) { impl_->typed_call(std::move(request), false, std::move(done)); }
void Client::compact(Compact request, Done<CompactAnswer> done) { impl_->typed_call(request, false, std::move(done)); }
void Client::grant(LeaseGrant request, Done<LeaseGrantAnswer> done) {
  impl_->typed_call(request, false, std::move(done));
}
void Client::revoke(LeaseRevoke request, Done<LeaseRevokeAnswer> done) {
  impl_->typed_call(request, false, std::move(done));
}

// ---- lists ---------------------------------------------------------------------------

struct Client::Impl::Listing {
  std::string end;
  std::string from;
  int64_t page = kFirstPage;
  RangeAnswer all;
  Done<RangeAnswer> done;
};

void Client::Impl::list_page(std::shared_ptr<Listing> listing) {
  Range request{
      .key = listing->from, .range_end = listing->end, .limit = listing->page, .revision = listing->all.revision};
  call(std::move(request), true, [this, listing = std::move(listing)](CallResult result) mutable {
    if (!result) {
      if (result.error().too_large && listing->page > 1) {
        listing->page = std::max<int64_t>(listing->page / 8, 1);
        return list_page(std::move(listing));
      }
      return listing->done(std::unexpected(to_error(std::move(result.error()))));
    }
    auto& page = std::get<RangeAnswer>(*result);
    auto& all = listing->all;
    if (all.revision == 0) all.revision = page.revision;
    std::move(page.kvs.begin(), page.kvs.end(), std::back_inserter(all.kvs));
    all.count = static_cast<int64_t>(all.kvs.size());
    if (!page.more || page.kvs.empty()) return listing->done(std::move(all));
    listing->from = all.kvs.back().key + '\0';
    list_page(std::move(listing));
  });
}

void Client::list(std::string prefix, Done<RangeAnswer> done, int64_t revision) {
  auto listing = std::make_shared<Impl::Listing>();  // handed from page to page
  listing->all.revision = revision;
  listing->end = prefix_end(prefix);
  listing->from = prefix.empty() ? std::string(1, '\0') : std::move(prefix);
  listing->done = std::move(done);
  impl_->list_page(std::move(listing));
}

// ---- watches -------------------------------------------------------------------------

struct Client::Impl::WatchImpl : Watch, std::enable_shared_from_this<WatchImpl> {
  WatchImpl(Impl& client, std::string prefix, int64_t next_revision, WatchHandlers handlers)
      : client(client), prefix(std::move(prefix)), next_revision(next_revision), handlers(std::move(handlers)) {}

  void open();
  void news(WatchNews news);
  void batch(WatchBatch batch);
  void begun(uint64_t cluster, int64_t revision);
  void find_out(uint64_t cluster, int64_t revision);
  void ended(WatchEnd end);

  Impl& client;
  const std::string prefix;
  int64_t next_revision;
  const WatchHandlers handlers;
  uint64_t cluster_id = 0;
  std::vector<Event> pending;  // of a revision that has not been told wholly
  host::Backoff backoff;
  bool broken = false;
  size_t endpoint = 0;
  uint64_t attempt = 0;
  host::Timer again;
  std::unique_ptr<Stream> stream;
};

void Client::Impl::WatchImpl::open() {
  endpoint = client.current;
  pending.clear();
  ++attempt;
  stream = client.transport->watch(endpoint,
                                   {.key = prefix, .range_end = prefix_end(prefix), .start_revision = next_revision},
                                   [weak = weak_from_this()](WatchNews news) {
                                     if (auto self = weak.lock()) self->news(std::move(news));
                                   });
}

void Client::Impl::WatchImpl::news(WatchNews news) {
  if (auto* one = std::get_if<WatchBatch>(&news)) return batch(std::move(*one));
  ended(std::get<WatchEnd>(std::move(news)));
}

void Client::Impl::WatchImpl::begun(uint64_t cluster, int64_t revision) {
  cluster_id = cluster;
  backoff.reset();
  if (next_revision == 0) next_revision = revision + 1;
  if (std::exchange(broken, false) && handlers.resumed) handlers.resumed();
}

// The member has not come as far as we have: it lags behind the others, as after the death of a
// leader, and will tell what we want once it is there; or all of them have gone back. A read that
// they agree upon tells.
void Client::Impl::WatchImpl::find_out(uint64_t cluster, int64_t revision) {
  Range request{.key = prefix.empty() ? std::string(1, '\0') : prefix, .limit = 1, .keys_only = true};
  client.call(std::move(request), true, [weak = weak_from_this(), of = attempt, cluster, revision](CallResult result) {
    const auto self = weak.lock();
    if (!self || of != self->attempt || !self->stream) return;
    if (!result) return self->ended({.error = to_error(std::move(result.error()))});
    if (std::get<RangeAnswer>(*result).revision + 1 >= self->next_revision) return self->begun(cluster, revision);
    self->stream.reset();
    self->handlers.compacted();
  });
}

void Client::Impl::WatchImpl::batch(WatchBatch batch) {
  if (batch.created) {
    // A cluster that was set up anew, or restored from a backup, has another history under the same
    // revisions: what we know does not go with it.
    if (cluster_id != 0 && batch.cluster_id != cluster_id) {
      stream.reset();
      return handlers.compacted();
    }
    const bool behind = next_revision > 0 && batch.revision + 1 < next_revision;
    return behind ? find_out(batch.cluster_id, batch.revision) : begun(batch.cluster_id, batch.revision);
  }
  std::move(batch.events.begin(), batch.events.end(), std::back_inserter(pending));
  if (batch.revision == 0) return;
  next_revision = std::max(next_revision, batch.revision + 1);
  handlers.events(batch.revision, std::exchange(pending, {}));
}

void Client::Impl::WatchImpl::ended(WatchEnd end) {
  stream.reset();
  broken = true;
  if (end.compact_revision != 0) return handlers.compacted();
  client.leave(endpoint);
  again = client.loop.after(backoff.next(), [this] { open(); });
  if (handlers.interrupted) handlers.interrupted(end.error);
}

namespace {

// What the caller owns; the watch itself is also held by what is under way.
template <typename T, typename Interface>
struct Owner : Interface {
  explicit Owner(std::shared_ptr<T> owned) : owned(std::move(owned)) {}
  std::shared_ptr<T> owned;
};

}  // namespace

std::unique_ptr<Watch> Client::watch(std::string prefix, int64_t start_revision, WatchHandlers handlers) {
  auto watch = std::make_shared<Impl::WatchImpl>(*impl_, std::move(prefix), start_revision, std::move(handlers));
  watch->open();
  return std::make_unique<Owner<Impl::WatchImpl, Watch>>(std::move(watch));
}

// ---- leases --------------------------------------------------------------------------

struct Client::Impl::KeepAliveImpl : std::enable_shared_from_this<KeepAliveImpl> {
  KeepAliveImpl(Impl& client, int64_t lease, std::chrono::seconds ttl, std::function<void()> lost)
      : client(client), lease(lease), ttl(ttl), lost(std::move(lost)) {}

  void begin() {
    alive_until(ttl);
    open();
  }
  void open();
  void news(const KeepAliveNews& news);
  void alive_until(std::chrono::seconds left) {
    expiry = client.loop.after(left, [this] { give_up(); });
  }
  void give_up() {
    const auto self = shared_from_this();  // `lost` may destroy us
    stream.reset();
    beat_again.cancel();
    expiry.cancel();
    lost();
  }

  Impl& client;
  const int64_t lease;
  const std::chrono::seconds ttl;
  const std::function<void()> lost;
  host::Backoff backoff;
  size_t endpoint = 0;
  host::Timer beat_again, expiry;
  std::unique_ptr<Stream> stream;
};

void Client::Impl::KeepAliveImpl::open() {
  endpoint = client.current;
  stream = client.transport->keep_alive(endpoint, lease, [weak = weak_from_this()](const KeepAliveNews& news) {
    if (auto self = weak.lock()) self->news(news);
  });
  stream->beat();
}

void Client::Impl::KeepAliveImpl::news(const KeepAliveNews& news) {
  if (!news) {
    stream.reset();
    client.leave(endpoint);
    beat_again = client.loop.after(backoff.next(), [this] { open(); });
    return;
  }
  if (news->ttl_seconds <= 0) return give_up();
  backoff.reset();
  const std::chrono::seconds left(news->ttl_seconds);
  alive_until(left);
  beat_again = client.loop.after(std::chrono::duration_cast<host::Duration>(left) / 3, [this] { stream->beat(); });
}

std::unique_ptr<KeepAlive> Client::keep_alive(int64_t lease, std::chrono::seconds ttl, std::function<void()> lost) {
  auto beats = std::make_shared<Impl::KeepAliveImpl>(*impl_, lease, ttl, std::move(lost));
  beats->begin();
  return std::make_unique<Owner<Impl::KeepAliveImpl, KeepAlive>>(std::move(beats));
}

// ---- making one ----------------------------------------------------------------------

host::Result<Endpoint> parse_endpoint(std::string_view text) {
  const std::string_view written = text;
  auto invalid = [&](std::string_view why) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("etcd server \"{}\": {}; it is written https://host:2379, http://host:2379 or "
                                  "unix:///path",
                                  written, why));
  };
  Endpoint endpoint;
  if (text.starts_with("unix:")) {
    text.remove_prefix(5);
    if (text.starts_with("//")) text.remove_prefix(2);
    if (!text.starts_with('/')) return invalid("the socket's path is not absolute");
    endpoint.target = fmt::format("unix:{}", text);
    return endpoint;
  }
  if (text.starts_with("https://")) {
    endpoint.tls = true;
    text.remove_prefix(8);
  } else if (text.starts_with("http://")) {
    text.remove_prefix(7);
  }
  while (text.ends_with('/')) text.remove_suffix(1);
  if (text.find_first_of("/ ?#@") != std::string_view::npos) return invalid("more than a host and a port");
  const auto bracket = text.rfind(']');
  const auto colon = text.rfind(':');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  const std::string_view host = text.substr(0, has_port ? colon : text.size());
  const std::string_view port = has_port ? text.substr(colon + 1) : "2379";
  if (host.empty()) return invalid("no host");
  if (host.find(':') != std::string_view::npos && !host.starts_with('[')) return invalid("an IPv6 address wants [ ]");
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos ||
      std::stoi(std::string(port)) > 65535 || std::stoi(std::string(port)) == 0) {
    return invalid("no valid port");
  }
  endpoint.target = fmt::format("{}:{}", host, port);
  return endpoint;
}

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

std::unique_ptr<Client> Client::create(host::Loop& loop, std::unique_ptr<Transport> transport, size_t endpoints,
                                       milliseconds deadline) {
  assert(endpoints > 0);
  return std::unique_ptr<Client>(new Client(std::make_shared<Impl>(loop, std::move(transport), endpoints, deadline)));
}

host::Result<std::unique_ptr<Client>> Client::create(host::Loop& loop, const Settings& settings) {
  TransportSettings made{.message_bytes = settings.message_bytes};
  if (settings.servers.empty()) return host::fail(host::Error::Code::invalid, "no etcd server given");
  for (const auto& server : settings.servers) {
    auto endpoint = parse_endpoint(server);
    if (!endpoint) return std::unexpected(std::move(endpoint.error()));
    if (!made.endpoints.empty() && endpoint->tls != made.tls) {
      return host::fail(host::Error::Code::invalid, "etcd servers: https for all of them or for none");
    }
    made.tls = endpoint->tls;
    made.endpoints.push_back(std::move(endpoint->target));
  }
  const bool has_files = !settings.ca_file.empty() || !settings.cert_file.empty() || !settings.key_file.empty();
  if (has_files && !made.tls) {
    return host::fail(host::Error::Code::invalid, "etcd certificates are given, but the servers are not https://");
  }
  if (settings.cert_file.empty() != settings.key_file.empty()) {
    return host::fail(host::Error::Code::invalid, "an etcd client certificate and its key go together");
  }
  for (const auto& [path, content] :
       {std::pair(&settings.ca_file, &made.ca), std::pair(&settings.cert_file, &made.certificate),
        std::pair(&settings.key_file, &made.key)}) {
    if (path->empty()) continue;
    auto read = host::read_file(*path, 1u << 20);
    if (!read) return std::unexpected(std::move(read.error()).within("etcd certificates"));
    *content = std::move(*read);
  }
  auto transport = make_transport(loop, made);
  if (!transport) return std::unexpected(std::move(transport.error()));
  return create(loop, std::move(*transport), made.endpoints.size(), settings.deadline);
}

}  // namespace keelson::etcd
