#pragma once
// Container logs as the runtime writes them: CRI's format, "<RFC 3339 time> <stdout or
// stderr> <F or P> <text>\n" (kubernetes: KEP-2411's neighbour, cri-api's log format), in
// <file> with the rotated ones beside it, <file>.1 the newest of them. Output is what
// `kubectl logs` prints.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::server {

struct LogOptions {
  std::optional<int64_t> tail_lines;   // the last so many; a line in several parts is one
  std::string since;                   // RFC 3339 in UTC with nanoseconds; "" for all
  std::optional<int64_t> limit_bytes;  // of output, cut anywhere
  bool timestamps = false;             // each line begins with its time
};

// One physical line of the file.
struct LogLine {
  std::string_view time;
  std::string_view stream;  // "stdout", "stderr"
  bool full = true;         // false: the line goes on in the next one of its stream
  std::string_view text;    // without the end of line
};
// Nothing when it is not of the format (a line torn by a crash).
std::optional<LogLine> parse_log_line(std::string_view line);

// Turns lines into output. Pure; carries what one line leaves for the next.
class LogFormatter {
 public:
  explicit LogFormatter(LogOptions options) : options_(std::move(options)), left_(options_.limit_bytes) {}
  // Appends what the line gives; a line that is not of the format gives nothing.
  void add(std::string_view line, std::string& out);
  // The byte limit is used up.
  bool full() const { return left_ && *left_ == 0; }

 private:
  LogOptions options_;
  std::optional<int64_t> left_;
  bool at_line_start_ = true;
};

// Reads on through rotation, from a position that the options choose. Blocking: on a
// worker, one call at a time. Opens nothing but regular files.
class LogReader {
 public:
  LogReader(host::Path file, LogOptions options);
  // Appends at most about `size` bytes of output. True when the end was reached, for now;
  // a later call goes on from there. not_found when there is no file at all.
  host::Result<bool> read(std::string& out, size_t size);
  // The limit has been reached: there will never be more.
  bool finished() const { return formatter_.full(); }

 private:
  host::Status begin();
  host::Status open(const host::Path& file, uint64_t offset);
  // To the file that follows the current one, if it has been rotated away and read to
  // its end. False when there is nothing more to read for now.
  host::Result<bool> advance();

  host::Path file_;
  LogOptions options_;
  LogFormatter formatter_;
  host::Fd fd_;
  uint64_t offset_ = 0;  // of what has been taken from the file
  bool seen_rotated_ = false;
  std::string partial_;  // an unfinished line at its end
  std::string block_;
};

// Calls back on the loop's thread when the log may have grown or been rotated
// (inotify(7)); several changes are one call. Ends with the object.
class LogWatch {
 public:
  static host::Result<std::unique_ptr<LogWatch>> create(host::Loop& loop, const host::Path& file,
                                                        std::function<void()> changed);

 private:
  LogWatch() = default;
  host::Fd inotify_;
  host::FdWatch watch_;
};

}  // namespace keelson::server
