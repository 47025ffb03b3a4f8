#include "agent/sources/sources.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "agent/sources/apiserver_source.h"
#include "agent/sources/etcd_source.h"
#include "agent/sources/file_source.h"
#include "agent/sources/merge.h"
#include "agent/sources/set_file.h"
#include "agent/sources/url_source.h"
#include "host/log.h"

namespace keelson::sources {

namespace {

// What is decoded at once on the loop; more goes to a worker.
constexpr size_t kInlineBytes = 32u << 10;
constexpr auto kSaveDelay = std::chrono::milliseconds(250);
constexpr auto kLogAgain = std::chrono::minutes(5);
constexpr auto kSaveRetry = std::chrono::seconds(20);

api::Time now() {
  return {
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

api::MicroTime now_exactly() {
  return {std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

// Holds a set to the limits: a document that goes past one is there, but not readable.
void bound(DocumentSet& set, const Limits& limits) {
  size_t count = 0, bytes = 0;
  for (auto& [name, document] : set) {
    std::string why;
    ++count;
    if (document->text.size() > limits.document_bytes) {
      why = fmt::format("larger than {} bytes", limits.document_bytes);
    } else if (count > limits.source_documents) {
      why = fmt::format("not read: the source holds more than {} documents", limits.source_documents);
    } else {
      bytes += document->text.size();
      if (bytes > limits.source_bytes) {
        why = fmt::format("not read: the source holds more than {} bytes", limits.source_bytes);
      }
    }
    if (!why.empty()) document = std::make_shared<const Document>(Document{.name = name, .failure = std::move(why)});
  }
}

void log_problem(const api::Problem& problem) {
  if (problem.severity == api::Problem::Severity::error) {
    host::log_error("source {}", describe(problem));
  } else {
    host::log_warning("source {}, ignoring", describe(problem));
  }
}

}  // namespace

struct Sources::Impl : std::enable_shared_from_this<Sources::Impl> {
  Impl(host::Loop& loop, Settings settings, std::function<void(const api::DesiredState&)> changed)
      : loop(loop),
        settings(std::move(settings)),
        changed(std::move(changed)),
        ledger(Rules{this->settings.node_name, this->settings.policy, this->settings.limits}) {}

  struct Entry {
    std::unique_ptr<ManifestSource> source;
    SourceStatus status;
    bool durable = false;  // keeps its set on disk by itself
    bool preparing = false;
    std::optional<DocumentSet> queued;  // spoken while a worker was preparing the one before
    bool saving = false, dirty = false;
    host::Timer save_timer;
    host::TimePoint may_log_again;  // that it fails, in other words than before
    host::Counter* spoke = nullptr;
    host::Counter* failures = nullptr;
  };

  host::Status make_sources();
  void add(std::unique_ptr<ManifestSource> source, std::string location, bool durable);
  void restore();
  void remove_orphans();
  void start();
  void count();
  void spoke(const std::string& name, DocumentSet set);
  void prepared(const std::string& name, const DocumentSet& set, std::vector<Prepared> news);
  void failed(const std::string& name, const host::Error& error);
  void announce();
  void save_soon(const std::string& name, host::Duration delay);
  void save(const std::string& name);
  host::Path directory() const { return settings.root_dir / "sources"; }
  host::Path set_file(const std::string& name) const { return directory() / (name + ".set"); }

  host::Loop& loop;
  const Settings settings;
  const std::function<void(const api::DesiredState&)> changed;
  Ledger ledger;
  std::map<std::string, Entry, std::less<>> entries;
  PushSource* push = nullptr;             // one of `entries`
  ApiServerSource* api_server = nullptr;  // likewise
  bool announcing = false;
};

host::Status Sources::Impl::make_sources() {
  const Limits& limits = settings.limits;
  if (!settings.manifest_path.empty()) {
    add(std::make_unique<FileSource>(loop, settings.manifest_path, settings.file_check, limits),
        settings.manifest_path.string(), false);
  }
  if (!settings.manifest_url.empty()) {
    if (auto url = http::parse_url(settings.manifest_url); !url) {
      return std::unexpected(std::move(url.error()).within("--manifest-url"));
    }
    add(std::make_unique<UrlSource>(loop, UrlSettings{.url = settings.manifest_url,
                                                      .headers = settings.manifest_url_headers,
                                                      .period = settings.http_check,
                                                      .tls = settings.manifest_url_tls,
                                                      .body_limit = limits.document_bytes}),
        without_credentials(settings.manifest_url), false);
  }
  if (!settings.etcd_servers.empty()) {
    const std::string prefix =
        settings.etcd_prefix.empty() ? fmt::format("/registry/hosts/{}/", settings.node_name) : settings.etcd_prefix;
    auto source = EtcdSource::create(loop, {.servers = settings.etcd_servers,
                                            .prefix = prefix,
                                            .ca_file = settings.etcd_ca_file,
                                            .cert_file = settings.etcd_cert_file,
                                            .key_file = settings.etcd_key_file,
                                            .limits = limits});
    if (!source) return std::unexpected(std::move(source.error()).within("--etcd-servers"));
    add(std::move(*source), fmt::format("{} {}", fmt::join(settings.etcd_servers, ","), prefix), false);
  }
  if (!settings.api_server.empty()) {
    auto source = std::make_unique<ApiServerSource>();
    api_server = source.get();
    add(std::move(source), settings.api_server, false);
  }
  if (settings.push) {
    auto owner = [this](const api::ObjectKey& key) -> std::optional<api::Origin> {
      const auto winner = ledger.winner(key);
      if (!winner || winner->origin.source == "push") return std::nullopt;
      return winner->origin;
    };
    auto source = std::make_unique<PushSource>(loop, set_file("push"), ledger.rules(), owner);
    push = source.get();
    add(std::move(source), set_file("push").string(), true);
  }
  return {};
}

void Sources::Impl::add(std::unique_ptr<ManifestSource> source, std::string location, bool durable) {
  const std::string name(source->name());
  auto& entry = entries[name];
  entry.source = std::move(source);
  entry.durable = durable;
  entry.status.name = name;
  entry.status.location = std::move(location);
  if (settings.metrics == nullptr) return;
  const host::Labels labels = {{"source", name}};
  entry.spoke = &settings.metrics->counter("keelson_source_spoke_total", "Times a source gave its whole set.", labels);
  entry.failures =
      &settings.metrics->counter("keelson_source_failures_total", "Times a source could not look.", labels);
}

void Sources::Impl::restore() {
  for (auto& [name, entry] : entries) {
    if (entry.durable) continue;
    // Objects are stored with their defaults, as JSON: longer than what they came from.
    auto stored = read_set(set_file(name), name, settings.limits.source_bytes * 4);
    if (stored) {
      ledger.restore(name, *stored);
      entry.status.stored = true;
    } else if (stored.error().code != host::Error::Code::not_found) {
      host::log_error("source {}: its stored set: {}, ignoring (nothing of it is removed until it speaks)", name,
                      stored.error().message);
    }
  }
}

// What a source held that is configured no more must not come back when it is again.
void Sources::Impl::remove_orphans() {
  for (const auto* name : {"file", "url", "etcd", "apiserver"}) {
    if (entries.contains(name)) continue;
    std::error_code ignored;
    std::filesystem::remove(set_file(name), ignored);
  }
}

void Sources::Impl::start() {
  for (auto& [name, entry] : entries) {
    entry.source->start({.spoke = [this, name = name](DocumentSet set) { spoke(name, std::move(set)); },
                         .failed = [this, name = name](const host::Error& error) { failed(name, error); }});
  }
  if (settings.metrics != nullptr) {
    settings.metrics->on_render([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->count();
    });
  }
  announce();
}

void Sources::Impl::count() {
  auto& metrics = *settings.metrics;
  for (const auto& [name, entry] : entries) {
    const auto counts = ledger.counts(name);
    const host::Labels labels = {{"source", name}};
    metrics.gauge("keelson_source_objects", "Objects that a source wants.", labels)
        .set(static_cast<double>(counts.objects));
    metrics
        .gauge("keelson_source_problems", "Problems of a source's manifests.",
               {{"source", name}, {"severity", "error"}})
        .set(static_cast<double>(counts.errors));
    metrics
        .gauge("keelson_source_problems", "Problems of a source's manifests.",
               {{"source", name}, {"severity", "warning"}})
        .set(static_cast<double>(counts.warnings));
    metrics
        .gauge("keelson_source_last_spoke_timestamp_seconds",
               "When a source last gave its set; 0: not since the start.", labels)
        .set(entry.status.last_spoke ? static_cast<double>(entry.status.last_spoke->seconds) : 0);
  }
}

void Sources::Impl::spoke(const std::string& name, DocumentSet set) {
  auto& entry = entries.find(name)->second;
  if (entry.preparing) {
    entry.queued = std::move(set);  // only the latest matters: it is the whole
    return;
  }
  bound(set, settings.limits);
  auto news = ledger.news(name, set);
  size_t bytes = 0;
  for (const auto& document : news) bytes += document->text.size();
  auto prepare_all = [rules = ledger.rules(), name, news = std::move(news)] {
    std::vector<Prepared> result;
    for (const auto& document : news) result.push_back(prepare(rules, name, document));
    return result;
  };
  if (bytes <= kInlineBytes) return prepared(name, set, prepare_all());
  entry.preparing = true;
  loop.offload(std::move(prepare_all),
               [weak = weak_from_this(), name, set = std::move(set)](std::vector<Prepared> done) {
                 auto self = weak.lock();
                 if (!self) return;
                 auto& entry = self->entries.find(name)->second;
                 entry.preparing = false;
                 self->prepared(name, set, std::move(done));
                 if (auto queued = std::exchange(entry.queued, std::nullopt)) self->spoke(name, std::move(*queued));
               });
}

void Sources::Impl::prepared(const std::string& name, const DocumentSet& set, std::vector<Prepared> news) {
  auto& entry = entries.find(name)->second;
  const bool first = !entry.status.spoken;
  if (!entry.status.last_error.empty()) host::log_info("source {}: {} answers again", name, entry.status.location);
  entry.status.spoken = true;
  entry.status.last_spoke = now();
  entry.status.last_error.clear();
  ++entry.status.spoke_total;
  if (entry.spoke != nullptr) entry.spoke->add();

  const auto outcome = ledger.speak(name, set, std::move(news), now_exactly());
  for (const auto& problem : outcome.problems) log_problem(problem);
  if (outcome.changed || first) announce();
  if (outcome.source_changed || first) save_soon(name, kSaveDelay);
}

void Sources::Impl::failed(const std::string& name, const host::Error& error) {
  auto& entry = entries.find(name)->second;
  ++entry.status.failed_total;
  if (entry.failures != nullptr) entry.failures->add();
  // A source that is away for a week does not fill the log, nor do two endpoints that fail in turn.
  const bool news = entry.status.last_error.empty() ||
                    (entry.status.last_error != error.message && host::Clock::now() >= entry.may_log_again);
  if (news) {
    host::log_warning("source {}: {}; its last set stands", name, error.message);
    entry.may_log_again = host::Clock::now() + kLogAgain;
  }
  entry.status.last_error = error.message;
  entry.status.last_error_at = now();
}

void Sources::Impl::announce() {
  if (std::exchange(announcing, true)) return;
  loop.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->announcing = false;
    self->changed(self->ledger.state());
  });
}

void Sources::Impl::save_soon(const std::string& name, host::Duration delay) {
  auto& entry = entries.find(name)->second;
  if (entry.durable) return;
  entry.dirty = true;
  if (entry.saving || entry.save_timer.armed()) return;
  entry.save_timer = loop.after(delay, [this, name] { save(name); });
}

void Sources::Impl::save(const std::string& name) {
  auto& entry = entries.find(name)->second;
  entry.dirty = false;
  entry.saving = true;
  loop.offload(
      [file = set_file(name), name, objects = ledger.accepted(name)] { return write_set(file, name, objects); },
      [weak = weak_from_this(), name](const host::Status& written) {
        auto self = weak.lock();
        if (!self) return;
        auto& entry = self->entries.find(name)->second;
        entry.saving = false;
        if (!written) {
          host::log_error("source {}: its set is not on disk: {}, ignoring until the next try", name,
                          written.error().message);
          self->save_soon(name, kSaveRetry);
        } else if (entry.dirty) {
          self->save_soon(name, kSaveDelay);
        }
      });
}

host::Result<std::pair<std::string, std::string>> parse_url_header(std::string_view text) {
  const auto colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const bool named = !name.empty() && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (colon == std::string_view::npos || !named) {
    return host::fail(host::Error::Code::invalid, "not of the form \"Name: value\"");
  }
  std::string_view value = text.substr(colon + 1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  while (value.ends_with(' ')) value.remove_suffix(1);
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    return host::fail(host::Error::Code::invalid, fmt::format("{}: a line break in it", name));
  }
  return std::pair(std::string(name), std::string(value));
}

host::Result<std::unique_ptr<Sources>> Sources::create(host::Loop& loop, Settings settings,
                                                       std::function<void(const api::DesiredState&)> changed) {
  auto impl = std::make_shared<Impl>(loop, std::move(settings), std::move(changed));
  if (auto made = host::make_directories(impl->directory(), 0700); !made) return std::unexpected(made.error());
  if (auto made = impl->make_sources(); !made) return std::unexpected(std::move(made.error()));
  impl->restore();
  impl->remove_orphans();
  impl->start();
  return std::unique_ptr<Sources>(new Sources(std::move(impl)));
}

Sources::Sources(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sources::~Sources() = default;

const api::DesiredState& Sources::state() const { return impl_->ledger.state(); }

bool Sources::synced() const {
  return std::ranges::all_of(
      impl_->entries, [](const auto& entry) { return entry.second.status.spoken || entry.second.status.stored; });
}

bool Sources::has_spoken(std::string_view source) const {
  const auto entry = impl_->entries.find(source);
  return entry == impl_->entries.end() || entry->second.status.spoken || entry->second.status.stored;
}

std::vector<api::Problem> Sources::problems() const { return impl_->ledger.problems(); }

std::vector<SourceStatus> Sources::status() const {
  std::vector<SourceStatus> result;
  for (const auto& [name, entry] : impl_->entries) {
    const auto counts = impl_->ledger.counts(name);
    auto status = entry.status;
    status.documents = counts.documents;
    status.objects = counts.objects;
    status.errors = counts.errors;
    status.warnings = counts.warnings;
    result.push_back(std::move(status));
  }
  return result;
}

void Sources::api_server_spoke(DocumentSet set) {
  if (impl_->api_server != nullptr) impl_->api_server->spoke(std::move(set));
}

void Sources::api_server_failed(const host::Error& error) {
  if (impl_->api_server != nullptr) impl_->api_server->failed(error);
}

void Sources::push_store(PushRequest request, PushCallback done) {
  request.received = now();
  if (impl_->push != nullptr) return impl_->push->store(std::move(request), std::move(done));
  impl_->loop.post([done = std::make_shared<PushCallback>(std::move(done))] {
    (*done)(std::unexpected(PushError{.error = {.code = host::Error::Code::unsupported, .message = "push is off"}}));
  });
}

void Sources::push_remove(const api::ObjectKey& key, RemoveCallback done) {
  if (impl_->push != nullptr) return impl_->push->remove(key, std::move(done));
  impl_->loop.post([done = std::make_shared<RemoveCallback>(std::move(done))] {
    (*done)(host::fail(host::Error::Code::unsupported, "push is off"));
  });
}

}  // namespace keelson::sources
