#include "host/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace keelson::host {

Result<Fd> open_file(const Path& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return sys_fail("open " + path.string());
  return Fd(fd);
}

Result<std::string> read_file(const Path& path, size_t limit) {
  // O_NONBLOCK: a FIFO where a file was expected must not hang us.
  auto fd = open_file(path, O_RDONLY | O_NONBLOCK);
  if (!fd) return std::unexpected(fd.error());
  struct stat status{};
  if (::fstat(fd->get(), &status) != 0) return sys_fail("stat " + path.string());
  if (!S_ISREG(status.st_mode)) return fail(Error::Code::invalid, path.string() + ": not a regular file");
  std::string content;
  if (status.st_size > 0) content.reserve(std::min<size_t>(static_cast<size_t>(status.st_size), limit) + 1);
  std::array<char, 16384> chunk;
  for (;;) {
    const ssize_t count = ::read(fd->get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys_fail("read " + path.string());
    if (count == 0) return content;
    if (content.size() + static_cast<size_t>(count) > limit) {
      return fail(Error::Code::invalid, fmt::format("{}: larger than {} bytes", path.string(), limit));
    }
    content.append(chunk.data(), static_cast<size_t>(count));
  }
}

namespace {

Status write_all(int fd, std::string_view content, const Path& path) {
  while (!content.empty()) {
    const ssize_t count = ::write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys_fail("write " + path.string());
    content.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Status write_and_sync(const Path& temporary, std::string_view content, mode_t mode) {
  auto fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  if (!fd) return std::unexpected(fd.error());
  if (auto written = write_all(fd->get(), content, temporary); !written) return written;
  if (::fchmod(fd->get(), mode) != 0) return sys_fail("chmod " + temporary.string());
  if (::fsync(fd->get()) != 0) return sys_fail("fsync " + temporary.string());
  return {};
}

}  // namespace

Status write_file_atomically(const Path& path, std::string_view content, mode_t mode) {
  // One name per thread: two writers of the same file each rename a whole one.
  const Path temporary = path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), ::gettid());
  ::unlink(temporary.c_str());
  if (auto written = write_and_sync(temporary, content, mode); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    auto failure = sys_fail(fmt::format("rename {} to {}", temporary.string(), path.string()));
    ::unlink(temporary.c_str());
    return failure;
  }
  auto directory = open_file(path.parent_path().empty() ? Path(".") : path.parent_path(), O_RDONLY | O_DIRECTORY);
  if (directory) ::fsync(directory->get());
  return {};
}

Status write_control(const Path& path, std::string_view value) {
  auto fd = open_file(path, O_WRONLY);
  if (!fd) return std::unexpected(fd.error());
  // One write: control files take a command at a time.
  if (::write(fd->get(), value.data(), value.size()) < 0) {
    return sys_fail(fmt::format("write \"{}\" to {}", value, path.string()));
  }
  return {};
}

Status make_directories(const Path& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) return {};
  if (errno == EEXIST) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
    return sys_fail("mkdir " + path.string(), ENOTDIR);
  }
  if (errno != ENOENT || !path.has_parent_path() || path.parent_path() == path)
    return sys_fail("mkdir " + path.string());
  if (auto parent = make_directories(path.parent_path(), mode); !parent) return parent;
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return sys_fail("mkdir " + path.string());
  return {};
}

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Result<std::vector<std::string>> names_in(Fd fd, const Path& path) {
  Directory directory(::fdopendir(fd.get()));
  if (!directory) return sys_fail("read directory " + path.string());
  fd.release();  // closedir() closes it
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return sys_fail("read directory " + path.string());
  std::ranges::sort(names);
  return names;
}

Result<uint64_t> mount_id(int directory, const char* name, const Path& path) {
  struct statx status{};
  if (::statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) != 0) {
    return sys_fail("stat " + path.string());
  }
  return status.stx_mnt_id;
}

// Removes what the directory holds. Everything goes by descriptor, so that a racing
// symlink cannot lead us elsewhere, and the mount id is compared at each step.
Status remove_content(const Fd& directory, uint64_t mount, const Path& path) {
  Fd listing(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing) return sys_fail("open " + path.string());
  auto names = names_in(std::move(listing), path);
  if (!names) return std::unexpected(names.error());
  for (const auto& name : *names) {
    const Path inner = path / name;
    auto inner_mount = mount_id(directory.get(), name.c_str(), inner);
    if (!inner_mount) {
      if (inner_mount.error().code == Error::Code::not_found) continue;
      return std::unexpected(inner_mount.error());
    }
    if (*inner_mount != mount) return fail(fmt::format("{}: is a mount point; not removed", inner.string()));
    if (::unlinkat(directory.get(), name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR) return sys_fail("remove " + inner.string());
    Fd child(::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) return sys_fail("open " + inner.string());
    if (auto removed = remove_content(child, mount, inner); !removed) return removed;
    if (::unlinkat(directory.get(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return sys_fail("remove " + inner.string());
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> list_directory(const Path& path) {
  auto fd = open_file(path, O_RDONLY | O_DIRECTORY);
  if (!fd) return std::unexpected(fd.error());
  return names_in(std::move(*fd), path);
}

Status remove_tree(const Path& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR) return sys_fail("remove " + path.string());
  auto directory = open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory) return std::unexpected(directory.error());
  auto mount = mount_id(directory->get(), ".", path);
  if (!mount) return std::unexpected(mount.error());
  auto parent = mount_id(AT_FDCWD, (path.parent_path().empty() ? Path(".") : path.parent_path()).c_str(), path);
  if (parent && *parent != *mount) return fail(fmt::format("{}: is a mount point; not removed", path.string()));
  if (auto removed = remove_content(*directory, *mount, path); !removed) return removed;
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return sys_fail("remove " + path.string());
  return {};
}

}  // namespace keelson::host
