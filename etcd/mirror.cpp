#include "etcd/mirror.h"

#include <utility>

#include "host/backoff.h"

namespace keelson::etcd {

struct Mirror::Impl : std::enable_shared_from_this<Mirror::Impl> {
  Impl(host::Loop& loop, Client& client, std::string prefix, Handlers handlers)
      : loop(loop), client(client), prefix(std::move(prefix)), handlers(std::move(handlers)) {}

  void list();
  void listed(host::Result<RangeAnswer> answer);
  void apply(std::vector<Event> events);
  void list_later() {
    again = loop.after(backoff.next(), [this] { list(); });
  }

  host::Loop& loop;
  Client& client;
  const std::string prefix;
  const Handlers handlers;
  Content content;
  host::Backoff backoff;
  host::Timer again;
  std::unique_ptr<Watch> watch;
};

void Mirror::Impl::list() {
  client.list(prefix, [weak = weak_from_this()](host::Result<RangeAnswer> answer) {
    if (auto self = weak.lock()) self->listed(std::move(answer));
  });
}

void Mirror::Impl::listed(host::Result<RangeAnswer> answer) {
  if (!answer) {
    list_later();
    return handlers.failed(answer.error());
  }
  content.clear();
  for (auto& kv : answer->kvs) {
    std::string key = kv.key;
    content.insert_or_assign(std::move(key), std::move(kv));
  }
  watch = client.watch(prefix, answer->revision + 1,
                       {.events = [this](int64_t, std::vector<Event> events) { apply(std::move(events)); },
                        .compacted =
                            [this] {
                              // Not at once: a cluster member that lags behind may answer so for a while.
                              watch.reset();
                              list_later();
                            },
                        .interrupted = [this](const host::Error& error) { handlers.failed(error); },
                        .resumed = [this] { handlers.changed(content); }});
  backoff.reset();
  handlers.changed(content);
}

void Mirror::Impl::apply(std::vector<Event> events) {
  if (events.empty()) return;
  for (auto& event : events) {
    std::string key = event.kv.key;
    if (event.type == Event::Type::put) {
      content.insert_or_assign(std::move(key), std::move(event.kv));
    } else {
      content.erase(key);
    }
  }
  handlers.changed(content);
}

Mirror::Mirror(host::Loop& loop, Client& client, std::string prefix, Handlers handlers)
    : impl_(std::make_shared<Impl>(loop, client, std::move(prefix), std::move(handlers))) {
  impl_->list();
}

Mirror::~Mirror() = default;

}  // namespace keelson::etcd
