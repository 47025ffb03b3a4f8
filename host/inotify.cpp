#include "host/inotify.h"

#include <fmt/core.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <vector>

namespace keelson::host {

namespace {

constexpr auto kQuiet = std::chrono::milliseconds(5);
constexpr uint32_t kWhole = IN_CLOSE_WRITE | IN_MOVED_TO;  // an entry is complete
constexpr uint32_t kGone = IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr uint32_t kEntryEvents =
    IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB;
constexpr uint32_t kAncestorEvents = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

struct DirectoryWatch::Impl {
  Loop& loop;
  Path directory;
  std::function<void()> changed;
  Fd inotify{};
  FdWatch readable{};
  Timer quiet{};
  TimePoint told{};             // when `changed` was called last
  bool something_left = false;  // since then: its replacement may follow
  int target_watch = -1;        // on the directory; -1 while it does not exist
  int ancestor_watch = -1;      // on the nearest ancestor that exists, while it does not

  int watch(const Path& path) const;
  void aim();
  void drain();
  void tell();
};

int DirectoryWatch::Impl::watch(const Path& path) const {
  const uint32_t events = path == directory ? kEntryEvents : kAncestorEvents;
  return ::inotify_add_watch(inotify.get(), path.c_str(), events | IN_ONLYDIR);
}

// Watches the directory, or the nearest ancestor through which it will appear.
void DirectoryWatch::Impl::aim() {
  if (ancestor_watch >= 0) ::inotify_rm_watch(inotify.get(), ancestor_watch);
  ancestor_watch = -1;
  std::vector<Path> upwards{directory};
  while (upwards.back().has_parent_path() && upwards.back().parent_path() != upwards.back()) {
    upwards.push_back(upwards.back().parent_path());
  }
  size_t at = 0;
  int nearest = -1;
  while (at < upwards.size() && (nearest = watch(upwards[at])) < 0) ++at;
  if (nearest < 0) return;
  // What was missing may have appeared between the two calls, and nobody would tell: down again.
  while (at > 0) {
    const int nearer = watch(upwards[at - 1]);
    if (nearer < 0) break;
    if (nearer != nearest) ::inotify_rm_watch(inotify.get(), nearest);
    nearest = nearer;
    --at;
  }
  (at == 0 ? target_watch : ancestor_watch) = nearest;
}

void DirectoryWatch::Impl::drain() {
  alignas(inotify_event) std::array<char, 8192> buffer;
  bool look_again = false;
  bool something = false;
  bool whole = false;
  for (;;) {
    const ssize_t size = ::read(inotify.get(), buffer.data(), buffer.size());
    if (size <= 0) break;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if (event->wd == target_watch && (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
        if ((event->mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify.get(), target_watch);
        target_watch = -1;
        look_again = true;
      }
      if (event->wd == ancestor_watch) look_again = true;
      // Temporary files. Not "..data", by which a whole directory changes at once (Kubernetes' ConfigMap volumes).
      if (event->wd == target_watch && event->len > 1 && event->name[0] == '.' && event->name[1] != '.') continue;
      if ((event->mask & kGone) != 0) something_left = true;
      if ((event->mask & kWhole) != 0) whole = true;
      something = true;
    }
  }
  if (look_again && target_watch < 0) aim();
  if (!something) return;
  // An editor moves the old file away before it writes the new one: nobody shall see the gap between the two.
  if (whole && !something_left && Clock::now() - told >= kQuiet) return tell();
  if (!quiet.armed()) quiet = loop.after(kQuiet, [this] { tell(); });
}

void DirectoryWatch::Impl::tell() {
  quiet.cancel();
  something_left = false;
  told = Clock::now();
  changed();
}

DirectoryWatch::DirectoryWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DirectoryWatch::~DirectoryWatch() = default;

Result<std::unique_ptr<DirectoryWatch>> DirectoryWatch::create(Loop& loop, const Path& directory,
                                                               std::function<void()> changed) {
  auto impl = std::make_unique<Impl>(Impl{.loop = loop, .directory = directory, .changed = std::move(changed)});
  impl->inotify = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!impl->inotify) {
    const int error_number = errno;
    return sys_fail(error_number == EMFILE ? "inotify (raise fs.inotify.max_user_instances)" : "inotify", error_number);
  }
  auto readable = loop.on_readable(impl->inotify.get(), [raw = impl.get()] { raw->drain(); });
  if (!readable) return std::unexpected(readable.error());
  impl->readable = std::move(*readable);
  impl->aim();
  return std::unique_ptr<DirectoryWatch>(new DirectoryWatch(std::move(impl)));
}

}  // namespace keelson::host
