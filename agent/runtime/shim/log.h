#pragma once
// A container's log, in the CRI format and never more than a fixed size:
//
//   2016-10-06T00:17:09.669794202Z stdout F the line
//
// A line of more than 16 KiB comes in several with P, the last with F. When the
// file is full it becomes NAME.1, NAME.1 becomes NAME.2 and so on. What the disk
// does not take is dropped, counted, and the count is written once it takes again:
// a container never waits for the disk to have room.

#include <cstddef>
#include <cstdint>

namespace keelson::shim {

inline constexpr uint64_t kLogFileSize = 10u << 20;
inline constexpr int kLogFiles = 5;
inline constexpr size_t kMaxLogLine = 16 * 1024;

struct LogFile {
  int directory = -1;
  int fd = -1;
  char name[256] = "";
  uint64_t size = 0;
  uint64_t dropped = 0;  // lines, since the last one that was written
  int drop_error = 0;
};

// One stream of it: the pipe's reading end, and the unfinished line.
struct LogStream {
  int fd = -1;
  bool error = false;  // stderr
  char* partial = nullptr;
  size_t partial_size = 0;
};

// Takes over the directory's descriptor. A log that cannot be opened drops lines.
void log_open(LogFile& log, int directory, const char* name);
void log_close(LogFile& log);

// One read of the pipe; false when it has ended.
enum class LogRead { more, empty, ended };
LogRead log_read(LogFile& log, LogStream& stream);
// Writes the unfinished line and closes the stream.
void log_finish(LogFile& log, LogStream& stream);

}  // namespace keelson::shim
