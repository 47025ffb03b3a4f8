#include "agent/runtime/shim/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace keelson::shim {

namespace {

constexpr size_t kMaxNames = 256;

struct Latest {
  std::string_view name;
  size_t start = 0, start_size = 0;
  size_t exits[2] = {0, 0};
  size_t exit_sizes[2] = {0, 0};
};

bool write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

// The latest start and the last two exits of each container, in a new file.
void compact(Journal& journal) {
  const size_t size = journal.size;
  const int reader = openat(journal.directory, "journal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (reader < 0) return;
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, reader, 0);
  close(reader);
  if (mapped == MAP_FAILED) return;
  const char* data = static_cast<const char*>(mapped);
  static Latest latest[kMaxNames];
  size_t count = 0;
  bool complete = true;
  JournalEntry entry;
  for (size_t at = 0; size_t length = read_journal(data, size, at, entry); at += length) {
    size_t i = 0;
    while (i < count && latest[i].name != entry.name) ++i;
    if (i == count) {
      if (count == kMaxNames) {
        complete = false;
        break;
      }
      latest[count++] = Latest{.name = entry.name};
    }
    if (entry.kind == JournalEntry::kStarted) {
      latest[i].start = at;
      latest[i].start_size = length;
    } else {
      latest[i].exits[0] = latest[i].exits[1];
      latest[i].exit_sizes[0] = latest[i].exit_sizes[1];
      latest[i].exits[1] = at;
      latest[i].exit_sizes[1] = length;
    }
  }
  const int fd = complete ? openat(journal.directory, "journal.new",
                                   O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)
                          : -1;
  bool written = fd >= 0;
  uint64_t total = 0;
  for (size_t i = 0; written && i < count; ++i) {
    const Latest& one = latest[i];
    // In the order in which they were written.
    size_t offsets[3] = {one.exits[0], one.exits[1], one.start};
    size_t sizes[3] = {one.exit_sizes[0], one.exit_sizes[1], one.start_size};
    if (one.start < one.exits[1]) {
      offsets[1] = one.start;
      sizes[1] = one.start_size;
      offsets[2] = one.exits[1];
      sizes[2] = one.exit_sizes[1];
    }
    for (int part = 0; written && part < 3; ++part) {
      written = write_all(fd, data + offsets[part], sizes[part]);
      total += sizes[part];
    }
  }
  munmap(mapped, size);
  if (written && fsync(fd) == 0 && renameat(journal.directory, "journal.new", journal.directory, "journal") == 0) {
    fsync(journal.directory);
    close(journal.fd);
    journal.fd = fd;
    journal.size = total;
    return;
  }
  if (fd >= 0) {
    close(fd);
    unlinkat(journal.directory, "journal.new", 0);
  }
}

}  // namespace

void journal_open(Journal& journal, int fd, int directory) {
  journal.fd = fd;
  journal.directory = directory;
  struct stat status;
  if (fstat(fd, &status) == 0) journal.size = static_cast<uint64_t>(status.st_size);
}

bool journal_append(Journal& journal, const JournalEntry& entry) {
  static char buffer[sizeof(JournalHeader) + kMaxJournalEntry];
  Writer out(buffer + sizeof(JournalHeader), kMaxJournalEntry);
  entry.encode(out);
  if (!out.fits()) return false;
  JournalHeader header;
  header.size = static_cast<uint32_t>(out.size());
  header.crc = crc32c(buffer + sizeof header, out.size());
  memcpy(buffer, &header, sizeof header);
  const size_t size = sizeof header + out.size();
  const bool start = entry.kind == JournalEntry::kStarted;
  if (!write_all(journal.fd, buffer, size) || (!start && fdatasync(journal.fd) != 0)) {
    [[maybe_unused]] const int cut = ftruncate(journal.fd, static_cast<off_t>(journal.size));
    return false;
  }
  journal.size += size;
  if (journal.size > kJournalCompactAt) compact(journal);
  return true;
}

}  // namespace keelson::shim
