#include "master/election/leader.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>

#include "apiclient/event_recorder.h"
#include "host/log.h"

namespace keelson::election {

using apiclient::Outcome;

namespace {

int64_t wall_microseconds() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

}  // namespace

struct Leader::Impl {
  host::Loop& loop;
  ElectionOptions options;
  std::unique_ptr<apiclient::Client> client;  // before what uses it
  apiclient::EventRecorder events;
  Elector elector;
  std::function<void()> started, stopped;
  std::function<void()> released;
  host::Timer retry, deadline, patience;
  apiclient::Call call;  // one at a time
  std::string last_holder;
  int failures = 0;
  bool leading = false;
  bool leaving = false;

  // ---- reading and writing the Lease

  void attempt() {
    if (leaving) return;
    // Who leads and saw nobody else's write goes on with what it wrote itself.
    if (leading) return write();
    call = client->get<api::Lease>(options.namespace_, options.name, [this](Outcome<api::Lease> outcome) {
      if (outcome) {
        elector.saw(*outcome, host::Clock::now());
      } else if (outcome.error().not_found()) {
        elector.saw(std::nullopt, host::Clock::now());
      } else {
        host::log_debug("election {}: {}", options.name, outcome.error().message);
        return again(true);
      }
      if (!elector.holder().empty() && elector.holder() != last_holder) {
        last_holder = elector.holder();
        host::log_info("election {}: {} leads", options.name, last_holder);
      }
      write();
    });
  }

  void write() {
    const auto asked = host::Clock::now();
    auto bid = elector.bid(asked, wall_microseconds());
    if (!bid) return again();
    const auto done = [this, asked](Outcome<api::Lease> outcome) {
      if (outcome) {
        elector.won(*outcome, asked);
        failures = 0;
        lead();
      } else if (leading && !outcome.error().transient()) {
        return look_again();
      } else {
        host::log_debug("election {}: {}", options.name, outcome.error().message);
        return again(true);
      }
      again();
    };
    call = bid->create ? client->create<api::Lease>(bid->lease, {}, done)
                       : client->update<api::Lease>(bid->lease, {}, done);
  }

  // Somebody has written to our Lease: it may still be ours.
  void look_again() {
    call = client->get<api::Lease>(options.namespace_, options.name, [this](Outcome<api::Lease> outcome) {
      if (outcome && outcome->spec.holder_identity != options.identity) {
        elector.saw(*outcome, host::Clock::now());
        lose("another one holds the Lease");
      } else if (outcome) {
        elector.saw(*outcome, host::Clock::now());
      } else if (outcome.error().not_found()) {
        elector.saw(std::nullopt, host::Clock::now());
      }
      again();
    });
  }

  void again(bool failed = false) {
    auto delay = options.retry_period;
    // The server may just be starting: the namespace of the Lease is not there yet.
    if (failed && failures < 5) delay = std::min(delay, host::Duration(std::chrono::milliseconds(20 << failures++)));
    // A little apart from the others, as client-go does for those that wait.
    if (!leading) delay += delay * (std::random_device{}() % 100) / 500;
    retry = loop.after(delay, [this] { attempt(); });
  }

  // ---- leading

  void lead() {
    deadline = loop.after(elector.deadline() - host::Clock::now(), [this] { lose("the Lease could not be renewed"); });
    if (leading) return;
    leading = true;
    last_holder = options.identity;
    host::log_info("election {}: {} leads, which is this process", options.name, options.identity);
    events.record({.kind = "Lease",
                   .namespace_ = options.namespace_,
                   .name = options.name,
                   .uid = {},
                   .api_version = "coordination.k8s.io/v1",
                   .resource_version = {},
                   .field_path = {}},
                  "Normal", "LeaderElection", options.identity + " became leader");
    started();
  }

  void lose(const char* why) {
    deadline = {};
    elector.lost();
    if (!leading) return;
    leading = false;
    host::log_warning("election {}: leads no longer: {}", options.name, why);
    stopped();
    if (leaving) return;
    call = {};
    again();
  }

  void release(std::function<void()> done) {
    leaving = true;
    retry = {};
    deadline = {};
    call = {};
    released = std::move(done);
    const bool led = leading;
    leading = false;
    if (led) stopped();
    if (!led) return finish();
    patience = loop.after(std::chrono::seconds(2), [this] { finish(); });
    call = client->update<api::Lease>(elector.released(wall_microseconds()), {}, [this](Outcome<api::Lease> outcome) {
      if (!outcome) host::log_warning("election {}: {}, ignoring", options.name, outcome.error().message);
      finish();
    });
  }

  void finish() {
    patience = {};
    if (auto done = std::exchange(released, nullptr)) done();
  }
};

Leader::Leader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Leader::~Leader() = default;

host::Result<std::unique_ptr<Leader>> Leader::create(host::Loop& loop, apiclient::Config api, ElectionOptions options,
                                                     std::function<void()> started, std::function<void()> stopped) {
  if (options.renew_deadline >= options.lease_duration || options.retry_period >= options.renew_deadline) {
    return host::fail(host::Error::Code::invalid,
                      "leader election: the lease must last longer than the renew deadline, and that longer than the "
                      "retry period");
  }
  auto client = apiclient::Client::create(loop, std::move(api), 2);
  if (!client) return std::unexpected(std::move(client.error()).within("leader election"));
  apiclient::Client& borrowed = **client;
  auto impl = std::unique_ptr<Impl>(new Impl{.loop = loop,
                                             .options = options,
                                             .client = std::move(*client),
                                             .events = {borrowed, {.component = options.name, .host = {}}},
                                             .elector = Elector(options),
                                             .started = std::move(started),
                                             .stopped = std::move(stopped)});
  impl->retry = loop.after(host::Duration::zero(), [impl = impl.get()] { impl->attempt(); });
  return std::unique_ptr<Leader>(new Leader(std::move(impl)));
}

bool Leader::leads() const { return impl_->leading; }
void Leader::release(std::function<void()> done) { impl_->release(std::move(done)); }

std::string make_identity() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) name[0] = '\0';
  std::random_device random;
  const auto word = [&] { return static_cast<uint32_t>(random()); };
  return fmt::format("{}_{:08x}-{:04x}-4{:03x}-{:04x}-{:08x}{:04x}", name.data(), word(), word() & 0xffff,
                     word() & 0xfff, (word() & 0x3fff) | 0x8000, word(), word() & 0xffff);
}

host::Result<std::string> identity_in(const host::Path& directory) {
  const host::Path file = directory / "election-identity";
  if (auto known = host::read_file(file, 512); known && !known->empty()) return *known;
  std::string identity = make_identity();
  if (auto written = host::write_file_atomically(file, identity, 0600); !written) {
    return std::unexpected(std::move(written.error()).within("election identity"));
  }
  return identity;
}

}  // namespace keelson::election
