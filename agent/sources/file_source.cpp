#include "agent/sources/file_source.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <optional>
#include <utility>

#include "host/inotify.h"
#include "host/log.h"

namespace keelson::sources {

namespace {

constexpr int64_t kNanoseconds = 1'000'000'000;
// The kernel stamps files with a clock that ticks every 1-10 ms: a file that changed this
// recently may change again under the same stamp (and, as with git's index, go unseen).
constexpr int64_t kFreshNs = 50'000'000;
constexpr int64_t kWritingAtMostNs = 2 * kNanoseconds;
constexpr auto kLookAgain = std::chrono::milliseconds(100);

int64_t nanoseconds(const timespec& time) { return time.tv_sec * kNanoseconds + time.tv_nsec; }

int64_t wall_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now);
}

// What tells one content of a file from another without reading it.
struct Stamp {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified = 0, changed = 0;
  bool operator==(const Stamp&) const = default;
};

struct Seen {
  Stamp stamp;
  bool fresh = false;  // the stamp may lie: read it again
  DocumentPtr document;
};
using Memory = std::map<std::string, Seen>;

struct Look {
  Memory memory;
  bool writing = false;  // a file was left alone because it is being written
  std::optional<host::Error> failure;
};

// A read lease is granted only while nobody has the file open for writing (fcntl(2)): it
// is taken and given back at once, as a question. Should a writer come within those
// microseconds, the kernel tells us by the signal chosen here, which by default does nothing.
bool has_writer(int fd) {
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

// One walk over the path, on a worker.
class Looking {
 public:
  Looking(const host::Path& path, Memory before, const Limits& limits, bool first)
      : path_(path), before_(std::move(before)), limits_(limits), first_(first) {}

  Look run() && {
    struct stat status{};
    if (::stat(path_.c_str(), &status) != 0) {
      if (errno != ENOENT) look_.failure = host::sys_fail("stat " + path_.string()).error();
    } else if (S_ISDIR(status.st_mode)) {
      directory();
    } else {
      file(path_);
    }
    if (look_.failure) look_.memory = std::move(before_);
    return std::move(look_);
  }

 private:
  void directory() {
    auto names = host::list_directory(path_);
    if (!names) {
      if (names.error().code != host::Error::Code::not_found) look_.failure = std::move(names.error());
      return;
    }
    for (const auto& name : *names) {
      if (is_manifest_name(name)) file(path_ / name);
    }
  }

  void file(const host::Path& path) {
    const std::string name = path.string();
    auto fd = host::open_file(path, O_RDONLY | O_NONBLOCK);  // O_NONBLOCK: a FIFO must not hang us
    if (!fd) {
      // Deleted meanwhile, or a link that leads nowhere: not there.
      if (fd.error().code == host::Error::Code::not_found) return;
      return failed(name, {}, fd.error().message);
    }
    struct stat status{};
    if (::fstat(fd->get(), &status) != 0) return failed(name, {}, host::sys_fail("stat " + name).error().message);
    const Stamp stamp{.device = status.st_dev,
                      .inode = status.st_ino,
                      .size = static_cast<uint64_t>(status.st_size),
                      .modified = nanoseconds(status.st_mtim),
                      .changed = nanoseconds(status.st_ctim)};
    const auto known = before_.find(name);
    if (known != before_.end() && known->second.stamp == stamp && !known->second.fresh) {
      bytes_ += known->second.document->text.size();
      look_.memory.insert(before_.extract(known));
      return;
    }
    if (!S_ISREG(status.st_mode)) return failed(name, stamp, "not a regular file");
    const int64_t age = wall_clock() - stamp.modified;
    if (age < kWritingAtMostNs && age > -kWritingAtMostNs && has_writer(fd->get())) return leave(name, known);
    if (look_.memory.size() >= limits_.source_documents) {
      return failed(name, stamp, fmt::format("not read: more than {} manifests here", limits_.source_documents));
    }
    if (bytes_ + stamp.size > limits_.source_bytes) {
      return failed(name, stamp, fmt::format("not read: more than {} bytes of manifests here", limits_.source_bytes));
    }
    auto text = host::read_file(path, limits_.document_bytes);
    if (!text) return failed(name, stamp, text.error().message);
    bytes_ += text->size();
    const bool fresh = age < kFreshNs;
    if (known != before_.end() && known->second.document->failure.empty() && known->second.document->text == *text) {
      look_.memory[name] = {stamp, fresh, known->second.document};
      return;
    }
    look_.memory[name] = {stamp, fresh,
                          std::make_shared<const Document>(Document{.name = name, .text = std::move(*text)})};
  }

  // It is being written: what it held stays, and we come back.
  void leave(const std::string& name, Memory::iterator known) {
    look_.writing = true;
    if (known != before_.end()) {
      known->second.fresh = true;
      look_.memory.insert(before_.extract(known));
    } else if (first_) {
      // It may have been there before a restart of ours; its stored objects stay.
      failed(name, {}, "is being written; it is read when that is done");
    }
  }

  void failed(const std::string& name, const Stamp& stamp, std::string why) {
    look_.memory[name] = {stamp, true,
                          std::make_shared<const Document>(Document{.name = name, .failure = std::move(why)})};
  }

  const host::Path& path_;
  Memory before_;
  const Limits& limits_;
  bool first_;
  size_t bytes_ = 0;
  Look look_;
};

}  // namespace

bool is_manifest_name(std::string_view name) {
  return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json"));
}

struct FileSource::Impl : std::enable_shared_from_this<FileSource::Impl> {
  Impl(host::Loop& loop, host::Path path, host::Duration period, Limits limits)
      : loop(loop), path(std::move(path)), period(period), limits(limits) {}

  void watch();
  void look();
  void looked(Look result);

  host::Loop& loop;
  const host::Path path;
  const host::Duration period;
  const Limits limits;
  SourceListener listener;
  std::unique_ptr<host::DirectoryWatch> directory_watch;
  host::Timer next;
  Memory memory;
  bool first = true;
  bool looking = false;
  bool again = false;  // something changed while a worker was looking
};

void FileSource::Impl::watch() {
  struct stat status{};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  const bool is_file = exists ? !S_ISDIR(status.st_mode) : is_manifest_name(path.filename().string());
  const host::Path directory = is_file ? (path.has_parent_path() ? path.parent_path() : host::Path(".")) : path;
  auto made = host::DirectoryWatch::create(loop, directory, [this] { look(); });
  if (made) {
    directory_watch = std::move(*made);
  } else {
    host::log_warning("source file: {}: {}: a change acts at the next check only, ignoring", directory.string(),
                      made.error().message);
  }
}

void FileSource::Impl::look() {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  next.cancel();
  loop.offload([path = path, memory = std::move(memory), limits = limits,
                first = first]() mutable { return Looking(path, std::move(memory), limits, first).run(); },
               [weak = weak_from_this()](Look result) {
                 if (auto self = weak.lock()) self->looked(std::move(result));
               });
}

void FileSource::Impl::looked(Look result) {
  looking = false;
  memory = std::move(result.memory);
  DocumentSet set;
  for (const auto& [name, seen] : memory) set.emplace_hint(set.end(), name, seen.document);
  if (!result.failure) first = false;
  if (std::exchange(again, false)) {
    look();
  } else {
    next = loop.after(result.writing ? host::Duration(kLookAgain) : period, [this] { look(); });
  }
  if (result.failure) {
    listener.failed(*result.failure);
  } else {
    listener.spoke(std::move(set));
  }
}

FileSource::FileSource(host::Loop& loop, host::Path path, host::Duration period, Limits limits)
    : impl_(std::make_shared<Impl>(loop, std::move(path), period, limits)) {}

FileSource::~FileSource() = default;

void FileSource::start(SourceListener listener) {
  impl_->listener = std::move(listener);
  impl_->watch();
  impl_->look();
}

}  // namespace keelson::sources
