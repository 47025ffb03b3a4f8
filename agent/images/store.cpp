#include "agent/images/store.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <thread>

#include "agent/images/landlock.h"
#include "agent/images/reference.h"
#include "host/inotify.h"
#include "host/log.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using std::chrono::system_clock;

constexpr size_t kMaxFlights = 1000;
constexpr size_t kMaxWaiting = 1000;  // callbacks of one flight
// A find() is written down as a use at most this often.
constexpr auto kTouchEvery = std::chrono::minutes(1);

// How many bytes must go so that the file system is `low` percent full; 0 while it is
// not fuller than `high`.
uint64_t excess(const Fd& directory, int high, int low) {
  struct statvfs info{};
  if (fstatvfs(directory.get(), &info) != 0 || info.f_blocks == 0) return 0;
  // As df counts: what root alone may use is neither used nor free.
  uint64_t used = info.f_blocks - info.f_bfree;
  uint64_t total = used + info.f_bavail;
  if (used * 100 < total * static_cast<uint64_t>(high)) return 0;
  uint64_t goal = total * static_cast<uint64_t>(low) / 100;
  return used > goal ? (used - goal) * info.f_frsize : 0;
}

Result<Removed> collect(const ImageDirectory& directory, const InUse& in_use, const StoreSettings& settings) {
  uint64_t wanted = excess(directory.descriptor(), settings.gc_high_percent, settings.gc_low_percent);
  if (wanted == 0) return Removed{};
  auto removed = directory.prune(in_use, system_clock::now() - settings.minimum_age,
                                 [wanted](const Removed& so_far) { return so_far.bytes >= wanted; });
  if (!removed) return removed;
  host::log_info("images: the disk is more than {} % full: removed {} images, {} MiB", settings.gc_high_percent,
                 removed->references.size(), removed->bytes >> 20);
  if (removed->bytes < wanted) {
    host::log_warning("images: {} MiB more should go, but all other images are in use",
                      (wanted - removed->bytes) >> 20);
  }
  return removed;
}

struct PullOutcome {
  Result<api::ImageInfo> image = fail("not begun");
  Result<std::vector<StoredReference>> references = fail("not read");
};

// On the flight's thread.
PullOutcome fly(const ImageDirectory& directory, const StoreSettings& settings, const PullRequest& request,
                const InUse& in_use, const Fd& cancel) {
  PullOutcome outcome;
  if (auto collected = collect(directory, in_use, settings); !collected) {
    host::log_warning("images: garbage collection: {}, ignoring", collected.error().message);
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto pulled = run_pull(directory, request, nullptr, settings.puller, &cancel);
    if (pulled && !pulled->empty()) {
      outcome.image = std::move(pulled->front());
      break;
    }
    outcome.image = pulled ? fail("the puller brought nothing") : std::unexpected(std::move(pulled.error()));
    // Only a layer that somebody pruned under us is worth another try at once.
    bool pruned = outcome.image.error().message.find("was removed while") != std::string::npos;
    if (!pruned) break;
  }
  outcome.references = directory.references();
  return outcome;
}

}  // namespace

struct Store::Impl {
  struct Flight {
    PullRequest request;
    std::vector<api::Callback<api::ImageInfo>> waiting;
    bool flying = false;
    std::thread thread;
  };

  Impl(host::Loop& loop, StoreSettings settings, std::unique_ptr<ImageDirectory> directory, Fd cancel)
      : loop(loop), settings(std::move(settings)), directory(std::move(directory)), cancel(std::move(cancel)) {}

  host::Loop& loop;
  StoreSettings settings;
  // Shared with work under way on the loop's workers, which may outlive the store.
  std::shared_ptr<const ImageDirectory> directory;
  Fd cancel;  // an eventfd; readable when the pulls are to end
  std::vector<StoredReference> references;
  std::map<std::string, api::ImageInfo> by_id;
  std::map<std::string, system_clock::time_point> touched;
  std::vector<std::function<void()>> listeners;
  std::map<std::string, Flight> flights;  // by reference and credentials
  std::deque<std::string> queue;
  unsigned flying = 0;
  std::unique_ptr<host::DirectoryWatch> watch;
  host::Timer gc_timer;
  bool reloading = false, reload_again = false;
  // Posted tasks hold it weakly: gone, they do nothing.
  std::shared_ptr<Impl*> alive = std::make_shared<Impl*>(this);

  void take(std::vector<StoredReference> fresh) {
    std::set<std::pair<std::string, std::string>> before;
    for (const auto& one : references) before.emplace(one.name, one.config);
    bool appeared =
        std::ranges::any_of(fresh, [&](const auto& one) { return !before.contains(std::pair{one.name, one.config}); });
    references = std::move(fresh);
    by_id.clear();
    for (auto& image : gather(references)) by_id.emplace(image.id, std::move(image));
    std::erase_if(touched, [&](const auto& entry) {
      return std::ranges::none_of(references, [&](const auto& one) { return one.name == entry.first; });
    });
    if (!appeared) return;
    auto calls = listeners;  // one may add another
    for (const auto& call : calls) call();
  }

  void reload() {
    if (std::exchange(reloading, true)) {
      reload_again = true;
      return;
    }
    loop.offload([directory = directory] { return directory->references(); },
                 [weak = std::weak_ptr(alive)](Result<std::vector<StoredReference>> fresh) {
                   auto self = weak.lock();
                   if (!self) return;
                   Impl& impl = **self;
                   impl.reloading = false;
                   if (fresh) {
                     impl.take(std::move(*fresh));
                   } else {
                     host::log_warning("images: {}, ignoring", fresh.error().message);
                   }
                   if (std::exchange(impl.reload_again, false)) impl.reload();
                 });
  }

  void start_flights() {
    while (flying < std::max(1u, settings.parallel_pulls) && !queue.empty()) {
      std::string key = std::move(queue.front());
      queue.pop_front();
      Flight& flight = flights.at(key);
      flight.flying = true;
      ++flying;
      // The thread outlives its puller, which dies with it (PR_SET_PDEATHSIG).
      flight.thread = std::thread([this, key, request = flight.request, in_use = settings.in_use()] {
        auto outcome = std::make_shared<PullOutcome>(fly(*directory, settings, request, in_use, cancel));
        loop.post([weak = std::weak_ptr(alive), key, outcome] {  // shared: std::function wants a copy
          if (auto self = weak.lock()) (*self)->land(key, std::move(*outcome));
        });
      });
    }
  }

  void land(const std::string& key, PullOutcome outcome) {
    auto node = flights.extract(key);
    Flight& flight = node.mapped();
    flight.thread.join();  // it has posted this as its last act
    --flying;
    start_flights();
    if (outcome.references) take(std::move(*outcome.references));
    if (outcome.image) {
      host::log_info("images: pulled {}", flight.request.reference);
    }
    // A callback may pull again, or end the store.
    std::weak_ptr still(alive);
    for (auto& done : flight.waiting) {
      if (still.expired()) return;
      done(outcome.image);
    }
  }

  void schedule_collection() {
    gc_timer = loop.after(settings.gc_period, [this] {
      // The settings are copied: the work may outlive the store.
      loop.offload([directory = directory, in_use = settings.in_use(),
                    settings = settings] { return collect(*directory, in_use, settings); },
                   [weak = std::weak_ptr(alive)](Result<Removed> removed) {
                     if (!removed)
                       host::log_warning("images: garbage collection: {}, ignoring", removed.error().message);
                     if (auto self = weak.lock()) (*self)->schedule_collection();
                   });
    });
  }
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Store::~Store() {
  impl_->alive.reset();
  uint64_t one = 1;
  [[maybe_unused]] auto written = write(impl_->cancel.get(), &one, sizeof one);
  for (auto& [key, flight] : impl_->flights) {
    if (flight.thread.joinable()) flight.thread.join();
  }
}

Result<std::unique_ptr<Store>> Store::create(host::Loop& loop, const host::Path& directory, StoreSettings settings) {
  auto images = ImageDirectory::open(directory);
  if (!images) return std::unexpected(std::move(images.error()).within("images"));
  Fd cancel(eventfd(0, EFD_CLOEXEC));
  if (!cancel) return host::sys_fail("images: eventfd");
  if (!kernel_has_landlock()) {
    host::log_warning(
        "images: this kernel has no Landlock: pullers can read all files, but still write to the image store alone, "
        "ignoring");
  }
  auto impl = std::make_unique<Impl>(loop, std::move(settings), std::move(*images), std::move(cancel));
  // The watch first: what comes between it and the reading is seen by it.
  auto watch = host::DirectoryWatch::create(loop, directory / "refs", [raw = impl.get()] { raw->reload(); });
  if (!watch) return std::unexpected(std::move(watch.error()).within("images"));
  impl->watch = std::move(*watch);
  auto references = impl->directory->references();
  if (!references) return std::unexpected(std::move(references.error()).within("images"));
  impl->take(std::move(*references));
  impl->schedule_collection();
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Result<api::ImageInfo> Store::find(const std::string& reference) {
  std::string wanted = reference;
  if (!parse_digest(reference)) {
    auto parsed = parse_reference(reference);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    wanted = parsed->text();
  }
  const auto* found = match(impl_->references, wanted);
  if (!found) return fail(Error::Code::not_found, fmt::format("image \"{}\" is not here", wanted));
  for (const auto& layer : found->image.layers) {
    if (access(layer.c_str(), F_OK) != 0) {
      impl_->reload();
      return fail(Error::Code::not_found, fmt::format("image \"{}\" is being removed", wanted));
    }
  }
  auto& last = impl_->touched[found->name];
  if (auto now = system_clock::now(); now - last > kTouchEvery) {
    impl_->directory->touch(found->name);
    last = now;
  }
  return impl_->by_id.at(found->config);
}

void Store::pull(const std::string& reference, std::vector<api::RegistryCredential> credentials,
                 api::Callback<api::ImageInfo> done) {
  auto refuse = [&](Error error) {
    auto shared = std::make_shared<api::Callback<api::ImageInfo>>(std::move(done));  // std::function wants a copy
    impl_->loop.post([shared, error = std::move(error)] { (*shared)(std::unexpected(error)); });
  };
  auto parsed = parse_reference(reference);
  if (!parsed) return refuse(std::move(parsed.error()));
  std::string key = parsed->text();
  for (const auto& one : credentials) {
    for (const auto* part : {&one.registry, &one.username, &one.password})
      key += fmt::format("\n{}:{}", part->size(), *part);
  }
  auto flight = impl_->flights.find(key);
  if (flight == impl_->flights.end()) {
    if (impl_->flights.size() >= kMaxFlights) {
      return refuse({Error::Code::unavailable, 0, fmt::format("{}: too many pulls wait already", parsed->text())});
    }
    PullRequest request;
    request.reference = parsed->text();
    request.credentials = std::move(credentials);
    request.insecure_registries = impl_->settings.insecure_registries;
    request.ca_file = impl_->settings.ca_file;
    flight = impl_->flights.emplace(key, Impl::Flight{std::move(request), {}, false, {}}).first;
    impl_->queue.push_back(key);
    impl_->loop.post([weak = std::weak_ptr(impl_->alive)] {
      if (auto self = weak.lock()) (*self)->start_flights();
    });
  }
  if (flight->second.waiting.size() >= kMaxWaiting) {
    return refuse({Error::Code::unavailable, 0, fmt::format("{}: too many wait for this pull", parsed->text())});
  }
  flight->second.waiting.push_back(std::move(done));
}

void Store::on_appeared(std::function<void()> listener) { impl_->listeners.push_back(std::move(listener)); }

std::vector<api::ImageInfo> Store::list() const { return gather(impl_->references); }

void Store::remove(const std::string& reference, api::Callback<Removed> done) {
  impl_->loop.offload([directory = impl_->directory, reference,
                       in_use = impl_->settings.in_use()] { return directory->remove(reference, in_use); },
                      std::move(done));
}

void Store::prune(api::Callback<Removed> done) {
  impl_->loop.offload(
      [directory = impl_->directory, in_use = impl_->settings.in_use(), newest = system_clock::now()] {
        return directory->prune(in_use, newest, [](const Removed&) { return false; });
      },
      std::move(done));
}

}  // namespace keelson::images
