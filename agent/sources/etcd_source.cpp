#include "agent/sources/etcd_source.h"

#include <fmt/core.h>

namespace keelson::sources {

host::Result<std::unique_ptr<EtcdSource>> EtcdSource::create(host::Loop& loop, EtcdSettings settings) {
  if (!settings.prefix.ends_with('/')) {
    return host::fail(
        host::Error::Code::invalid,
        fmt::format("the prefix \"{}\" must end with /, or it would cover other nodes too", settings.prefix));
  }
  auto client = etcd::Client::create(loop, {.servers = settings.servers,
                                            .ca_file = settings.ca_file,
                                            .cert_file = settings.cert_file,
                                            .key_file = settings.key_file});
  if (!client) return std::unexpected(std::move(client.error()));
  return std::unique_ptr<EtcdSource>(new EtcdSource(loop, std::move(settings), std::move(*client)));
}

EtcdSource::EtcdSource(host::Loop& loop, EtcdSettings settings, std::unique_ptr<etcd::Client> client)
    : loop_(loop), settings_(std::move(settings)), client_(std::move(client)) {}

EtcdSource::~EtcdSource() = default;

void EtcdSource::start(SourceListener listener) {
  listener_ = std::move(listener);
  mirror_ = std::make_unique<etcd::Mirror>(
      loop_, *client_, settings_.prefix,
      etcd::Mirror::Handlers{.changed = [this](const auto& content) { changed(content); },
                             .failed = [this](const host::Error& error) { listener_.failed(error); }});
}

// A key that was not written since keeps its document, so that the ledger sees at a
// glance what is new.
void EtcdSource::changed(const etcd::Mirror::Content& content) {
  std::erase_if(entries_, [&](const auto& entry) { return !content.contains(entry.first); });
  DocumentSet set;
  for (const auto& [key, kv] : content) {
    auto& entry = entries_[key];
    if (!entry.document || entry.revision != kv.mod_revision) {
      entry = {kv.mod_revision, std::make_shared<const Document>(Document{.name = key, .text = kv.value})};
    }
    set.emplace_hint(set.end(), key, entry.document);
  }
  listener_.spoke(std::move(set));
}

}  // namespace keelson::sources
