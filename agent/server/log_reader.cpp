#include "agent/server/log_reader.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

namespace keelson::server {

namespace {

constexpr size_t kBlock = 64u << 10;
constexpr size_t kLongestLine = 1u << 20;  // more than any writer of ours makes; then it is no log
constexpr int kMaxRotated = 100;

host::Path rotated(const host::Path& file, int number) { return fmt::format("{}.{}", file.string(), number); }

// Opens a regular file; never waits on a FIFO, never follows a link out of the logs.
host::Result<host::Fd> open_log(const host::Path& file) {
  auto fd = host::open_file(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) return fd;
  struct stat status;
  if (fstat(fd->get(), &status) != 0) return host::sys_fail(file.string());
  if (!S_ISREG(status.st_mode)) {
    return host::fail(host::Error::Code::invalid, fmt::format("{}: not a regular file", file.string()));
  }
  return fd;
}

// Oldest first, the current one last.
std::vector<host::Path> existing_files(const host::Path& file) {
  std::vector<host::Path> files;
  int newest = 0;
  while (newest < kMaxRotated && access(rotated(file, newest + 1).c_str(), F_OK) == 0) ++newest;
  for (int number = newest; number >= 1; --number) files.push_back(rotated(file, number));
  if (access(file.c_str(), F_OK) == 0) files.push_back(file);
  return files;
}

// Calls `each(offset, line)` for every complete line of the file.
template <typename Each>
host::Status scan(const host::Path& file, Each each) {
  auto fd = open_log(file);
  if (!fd) return std::unexpected(fd.error());
  std::string have;
  uint64_t start = 0;  // of `have` in the file
  while (true) {
    const size_t old = have.size();
    if (old > kLongestLine) return {};
    have.resize(old + kBlock);
    const ssize_t size = pread(fd->get(), have.data() + old, kBlock, static_cast<off_t>(start + old));
    if (size < 0) return host::sys_fail(file.string());
    have.resize(old + static_cast<size_t>(size));
    if (size == 0) return {};
    size_t taken = 0;
    for (size_t end; (end = have.find('\n', taken)) != std::string::npos; taken = end + 1) {
      each(start + taken, std::string_view(have).substr(taken, end - taken));
    }
    have.erase(0, taken);
    start += taken;
  }
}

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  LogLine parsed;
  const auto word = [&]() -> std::string_view {
    const auto end = line.find(' ');
    const auto text = line.substr(0, end);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
    return text;
  };
  parsed.time = word();
  parsed.stream = word();
  // Tags may be several, separated by colons; the first is P or F.
  const auto tag = word();
  parsed.full = !(tag == "P" || tag.starts_with("P:"));
  parsed.text = line;
  const bool is_time = parsed.time.size() >= 20 && parsed.time[4] == '-' && parsed.time[10] == 'T';
  if (!is_time || (parsed.stream != "stdout" && parsed.stream != "stderr")) return std::nullopt;
  if (tag.empty() || (tag.front() != 'P' && tag.front() != 'F')) return std::nullopt;
  return parsed;
}

void LogFormatter::add(std::string_view line, std::string& out) {
  const auto parsed = parse_log_line(line);
  if (!parsed || full()) return;
  // Both are UTC with nine decimals, so that text compares like time.
  if (!options_.since.empty() && parsed->time < options_.since) return;
  std::string text;
  if (options_.timestamps && at_line_start_) text = fmt::format("{} ", parsed->time);
  text += parsed->text;
  if (parsed->full) text += '\n';
  at_line_start_ = parsed->full;
  if (left_) {
    text.resize(std::min<size_t>(text.size(), static_cast<size_t>(*left_)));
    *left_ -= static_cast<int64_t>(text.size());
  }
  out += text;
}

LogReader::LogReader(host::Path file, LogOptions options)
    : file_(std::move(file)), options_(options), formatter_(std::move(options)) {}

host::Status LogReader::open(const host::Path& file, uint64_t offset) {
  auto fd = open_log(file);
  if (!fd) return std::unexpected(fd.error());
  fd_ = std::move(*fd);
  offset_ = offset;
  partial_.clear();
  seen_rotated_ = false;
  return {};
}

host::Status LogReader::begin() {
  const auto files = existing_files(file_);
  if (files.empty()) {
    return host::fail(host::Error::Code::not_found, fmt::format("{}: no such log", file_.string()));
  }
  if (!options_.tail_lines) return open(files.front(), 0);

  // From the newest file backwards until enough lines are found.
  int64_t missing = *options_.tail_lines;
  for (size_t i = files.size(); i-- > 0;) {
    std::deque<uint64_t> starts;  // of the last `missing` lines in this file
    uint64_t end = 0;
    bool line_start = true;
    auto scanned = scan(files[i], [&](uint64_t offset, std::string_view line) {
      const auto parsed = parse_log_line(line);
      end = offset + line.size() + 1;
      if (!parsed) return;
      if (line_start) starts.push_back(offset);
      if (static_cast<int64_t>(starts.size()) > missing) starts.pop_front();
      line_start = parsed->full;
    });
    if (!scanned && scanned.error().code != host::Error::Code::not_found) return scanned;
    if (static_cast<int64_t>(starts.size()) >= missing) {
      return open(files[i], starts.empty() ? end : starts.front());
    }
    missing -= static_cast<int64_t>(starts.size());
  }
  return open(files.front(), 0);
}

host::Result<bool> LogReader::advance() {
  struct stat ours, current;
  if (fstat(fd_.get(), &ours) != 0) return host::sys_fail(file_.string());
  const auto is_ours = [&](const host::Path& file) {
    return stat(file.c_str(), &current) == 0 && current.st_ino == ours.st_ino && current.st_dev == ours.st_dev;
  };
  if (is_ours(file_)) {
    // Emptied in place: begin again.
    if (static_cast<uint64_t>(ours.st_size) < offset_) {
      offset_ = 0;
      partial_.clear();
      return true;
    }
    return false;
  }
  // The writer may have added to it between our last read and its rotation.
  if (!std::exchange(seen_rotated_, true)) return true;
  host::Path next;
  for (int number = 1; number <= kMaxRotated && next.empty(); ++number) {
    if (is_ours(rotated(file_, number))) next = number == 1 ? file_ : rotated(file_, number - 1);
  }
  if (next.empty()) {
    // Ours is gone altogether: what is oldest now comes after it.
    const auto files = existing_files(file_);
    if (files.empty()) return false;
    next = files.front();
  }
  if (auto opened = open(next, 0); !opened) {
    // Rotated just now, and its successor not made yet: that will be another event.
    if (opened.error().code == host::Error::Code::not_found) return false;
    return std::unexpected(opened.error());
  }
  return true;
}

host::Result<bool> LogReader::read(std::string& out, size_t size) {
  if (!fd_) {
    if (auto begun = begin(); !begun) return std::unexpected(begun.error());
  }
  const size_t target = out.size() + size;
  while (!formatter_.full() && out.size() < target) {
    block_.resize(kBlock);
    const ssize_t got = pread(fd_.get(), block_.data(), block_.size(), static_cast<off_t>(offset_));
    if (got < 0) return host::sys_fail(file_.string());
    if (got == 0) {
      auto advanced = advance();
      if (!advanced) return std::unexpected(advanced.error());
      if (!*advanced) return true;
      continue;
    }
    offset_ += static_cast<uint64_t>(got);
    partial_.append(block_.data(), static_cast<size_t>(got));
    size_t taken = 0;
    for (size_t end; (end = partial_.find('\n', taken)) != std::string::npos; taken = end + 1) {
      formatter_.add(std::string_view(partial_).substr(taken, end - taken), out);
    }
    partial_.erase(0, taken);
    if (partial_.size() > kLongestLine) partial_.clear();
  }
  return formatter_.full();
}

host::Result<std::unique_ptr<LogWatch>> LogWatch::create(host::Loop& loop, const host::Path& file,
                                                         std::function<void()> changed) {
  std::unique_ptr<LogWatch> watch(new LogWatch);
  watch->inotify_ = host::Fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch->inotify_) return host::sys_fail("inotify_init1 (see fs.inotify.max_user_instances)");
  // The directory rather than the file: it outlives rotation.
  if (inotify_add_watch(watch->inotify_.get(), file.parent_path().c_str(),
                        IN_MODIFY | IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE) < 0) {
    return host::sys_fail("inotify_add_watch " + file.parent_path().string());
  }
  auto watching = loop.on_readable(watch->inotify_.get(), [fd = watch->inotify_.get(), changed = std::move(changed)] {
    alignas(inotify_event) char events[4096];
    while (::read(fd, events, sizeof events) > 0) {
    }
    changed();
  });
  if (!watching) return std::unexpected(watching.error());
  watch->watch_ = std::move(*watching);
  return watch;
}

}  // namespace keelson::server
