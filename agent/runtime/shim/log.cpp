#include "agent/runtime/shim/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace keelson::shim {

namespace {

constexpr size_t kStampSize = 30;                // 2016-10-06T00:17:09.669794202Z
constexpr size_t kPrefixSize = kStampSize + 10;  // " stdout F "
constexpr size_t kBatchSize = 32 * 1024;
static_assert(kBatchSize >= kMaxLogLine + kPrefixSize + 1);

char read_buffer[16 * 1024];
char batch[kBatchSize];
size_t batch_size = 0;
uint32_t batch_lines = 0;

void digits(char* at, int count, long value) {
  for (int i = count - 1; i >= 0; --i) {
    at[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

void write_stamp(char* at) {
  static time_t cached_second = -1;
  static char cached[20];
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (now.tv_sec != cached_second) {
    tm parts;
    gmtime_r(&now.tv_sec, &parts);
    memcpy(cached, "0000-00-00T00:00:00.", 20);
    digits(cached, 4, parts.tm_year + 1900);
    digits(cached + 5, 2, parts.tm_mon + 1);
    digits(cached + 8, 2, parts.tm_mday);
    digits(cached + 11, 2, parts.tm_hour);
    digits(cached + 14, 2, parts.tm_min);
    digits(cached + 17, 2, parts.tm_sec);
    cached_second = now.tv_sec;
  }
  memcpy(at, cached, 20);
  digits(at + 20, 9, now.tv_nsec);
  at[29] = 'Z';
}

void open_file(LogFile& log) {
  log.fd = openat(log.directory, log.name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
  struct stat status;
  if (log.fd >= 0 && (fstat(log.fd, &status) != 0 || !S_ISREG(status.st_mode))) {
    close(log.fd);
    log.fd = -1;
    errno = EINVAL;
  }
  if (log.fd >= 0) log.size = static_cast<uint64_t>(status.st_size);
}

void rotate(LogFile& log) {
  close(log.fd);
  log.fd = -1;
  char from[300];
  char to[300];
  for (int i = kLogFiles - 1; i > 0; --i) {
    snprintf(to, sizeof to, "%s.%d", log.name, i);
    if (i == 1) {
      snprintf(from, sizeof from, "%s", log.name);
    } else {
      snprintf(from, sizeof from, "%s.%d", log.name, i - 1);
    }
    renameat(log.directory, from, log.directory, to);
  }
  open_file(log);
  // The rename may have failed (a read-only or broken disk): the bound holds all the same.
  if (log.fd >= 0 && log.size > 0 && ftruncate(log.fd, 0) == 0) log.size = 0;
}

// All of it or, after putting the file back to its old size, nothing.
bool write_whole(LogFile& log, const char* data, size_t size) {
  if (log.fd < 0) open_file(log);
  if (log.fd < 0) {
    log.drop_error = errno;
    return false;
  }
  if (log.size + size > kLogFileSize) {
    rotate(log);
    if (log.fd < 0) {
      log.drop_error = errno;
      return false;
    }
  }
  size_t written = 0;
  while (written < size) {
    const ssize_t result = write(log.fd, data + written, size - written);
    if (result < 0 && errno == EINTR) continue;
    if (result <= 0) {
      log.drop_error = result < 0 ? errno : EIO;
      if (written > 0 && ftruncate(log.fd, static_cast<off_t>(log.size)) != 0) log.size += written;
      return false;
    }
    written += static_cast<size_t>(result);
  }
  log.size += size;
  return true;
}

void flush(LogFile& log) {
  if (batch_size == 0) return;
  if (log.dropped > 0) {
    char marker[256];
    write_stamp(marker);
    const int size = snprintf(marker + kStampSize, sizeof marker - kStampSize,
                              " stderr F keelson: %llu lines of this log were dropped: %s\n",
                              static_cast<unsigned long long>(log.dropped), strerror(log.drop_error));
    if (write_whole(log, marker, kStampSize + static_cast<size_t>(size))) log.dropped = 0;
  }
  if (log.dropped > 0 || !write_whole(log, batch, batch_size)) log.dropped += batch_lines;
  batch_size = 0;
  batch_lines = 0;
}

void add_line(LogFile& log, bool error, bool full, const char* first, size_t first_size, const char* second,
              size_t second_size) {
  if (batch_size + kPrefixSize + first_size + second_size + 1 > kBatchSize) flush(log);
  char* at = batch + batch_size;
  write_stamp(at);
  memcpy(at + kStampSize, error ? " stderr " : " stdout ", 8);
  at[kStampSize + 8] = full ? 'F' : 'P';
  at[kStampSize + 9] = ' ';
  if (first_size > 0) memcpy(at + kPrefixSize, first, first_size);
  if (second_size > 0) memcpy(at + kPrefixSize + first_size, second, second_size);
  at[kPrefixSize + first_size + second_size] = '\n';
  batch_size += kPrefixSize + first_size + second_size + 1;
  ++batch_lines;
}

}  // namespace

void log_open(LogFile& log, int directory, const char* name) {
  log = LogFile();
  log.directory = directory;
  snprintf(log.name, sizeof log.name, "%s", name);
  open_file(log);
}

void log_close(LogFile& log) {
  if (log.fd >= 0) close(log.fd);
  if (log.directory >= 0) close(log.directory);
  log = LogFile();
}

LogRead log_read(LogFile& log, LogStream& stream) {
  ssize_t size;
  do {
    size = read(stream.fd, read_buffer, sizeof read_buffer);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno == EAGAIN ? LogRead::empty : LogRead::ended;  // EIO: a terminal without a slave
  if (size == 0) return LogRead::ended;
  if (log.directory < 0) return LogRead::more;  // no log is kept
  const char* at = read_buffer;
  size_t left = static_cast<size_t>(size);
  while (left > 0) {
    const size_t room = kMaxLogLine - stream.partial_size;
    const size_t window = left < room ? left : room;
    const auto* newline = static_cast<const char*>(memchr(at, '\n', window));
    if (newline != nullptr) {
      const auto length = static_cast<size_t>(newline - at);
      add_line(log, stream.error, true, stream.partial, stream.partial_size, at, length);
      stream.partial_size = 0;
      at += length + 1;
      left -= length + 1;
    } else if (window == room) {
      add_line(log, stream.error, false, stream.partial, stream.partial_size, at, room);
      stream.partial_size = 0;
      at += room;
      left -= room;
    } else {
      if (stream.partial == nullptr) stream.partial = static_cast<char*>(malloc(kMaxLogLine));
      if (stream.partial == nullptr) {
        add_line(log, stream.error, false, nullptr, 0, at, left);
      } else {
        memcpy(stream.partial + stream.partial_size, at, left);
        stream.partial_size += left;
      }
      left = 0;
    }
  }
  flush(log);
  return LogRead::more;
}

void log_finish(LogFile& log, LogStream& stream) {
  if (stream.partial_size > 0 && log.directory >= 0) {
    add_line(log, stream.error, false, stream.partial, stream.partial_size, nullptr, 0);
    flush(log);
  }
  free(stream.partial);
  if (stream.fd >= 0) close(stream.fd);
  stream = LogStream();
}

}  // namespace keelson::shim
