#include "agent/runtime/shim/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace keelson::shim {

uint64_t process_start_time(pid_t pid) {
  char path[40];
  char text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return 0;
  text[size] = 0;
  const char* at = strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 22; ++field) at = strchr(at + 1, ' ');
  return at != nullptr ? strtoull(at + 1, nullptr, 10) : 0;
}

uint64_t read_oom_kills(int events) {
  char text[1024];
  const ssize_t size = events >= 0 ? pread(events, text, sizeof text - 1, 0) : -1;
  if (size <= 0) return 0;
  text[size] = 0;
  const char* at = text;
  while (at != nullptr) {
    if (strncmp(at, "oom_kill ", 9) == 0) return strtoull(at + 9, nullptr, 10);
    at = strchr(at, '\n');
    if (at != nullptr) ++at;
  }
  return 0;
}

void kill_cgroup(int cgroup) {
  const int fd = cgroup >= 0 ? openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  [[maybe_unused]] const auto written = write(fd, "1", 1);
  close(fd);
}

bool make_pipe(int& reader, int& writer) {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) return false;
  reader = pair[0];
  writer = pair[1];
  return true;
}

MappedSpec::MappedSpec(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0 || status.st_size <= 0 || static_cast<uint64_t>(status.st_size) > kMaxLaunchSpec) return;
  size = static_cast<size_t>(status.st_size);
  data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) return;
  Reader in(static_cast<const char*>(data), size);
  if (!spec.decode(in)) release();
}

}  // namespace keelson::shim
