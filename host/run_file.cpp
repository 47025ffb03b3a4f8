#include "host/run_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace keelson::host {

namespace {

Status write_beside(const Path& temporary, std::string_view content, mode_t mode) {
  auto fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  if (!fd) return std::unexpected(fd.error());
  while (!content.empty()) {
    const ssize_t count = ::write(fd->get(), content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys_fail("write " + temporary.string());
    content.remove_prefix(static_cast<size_t>(count));
  }
  if (::fchmod(fd->get(), mode) != 0) return sys_fail("chmod " + temporary.string());
  return {};
}

}  // namespace

Status write_run_file(const Path& path, std::string_view content, mode_t mode) {
  // One name per thread: two writers of the same file each rename a whole one.
  const Path temporary = path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), ::gettid());
  ::unlink(temporary.c_str());
  auto written = write_beside(temporary, content, mode);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = sys_fail(fmt::format("rename {} to {}", temporary.string(), path.string()));
  }
  if (!written) ::unlink(temporary.c_str());
  return written;
}

}  // namespace keelson::host
