#include "agent/images/layer_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;

constexpr size_t kMaxPath = 4095;
constexpr size_t kMaxName = 255;
constexpr size_t kMaxDepth = 255;
constexpr size_t kMaxXattrs = 64;
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

bool is_whiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == 0; }

std::string join(const std::vector<std::string>& parts, size_t count) {
  std::string path;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) path += '/';
    path += parts[i];
  }
  return path;
}
std::string join(const std::vector<std::string>& parts) { return join(parts, parts.size()); }

std::unexpected<Error> refuse(std::string message) { return fail(Error::Code::invalid, std::move(message)); }

Status set_owner_and_mode(int fd, const Entry& entry) {
  // In this order: chown clears setuid bits and capabilities.
  if (fchown(fd, static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid)) != 0) return sys_fail("chown");
  if (fchmod(fd, entry.mode & 07777) != 0) return sys_fail("chmod");
  for (const auto& [name, value] : entry.xattrs) {
    bool ours = name.starts_with("user.overlay.");  // would change what overlayfs shows
    if (!(name == "security.capability" || (name.starts_with("user.") && !ours))) continue;
    if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) {
      // A file system without user attributes is survivable; lost capabilities are not.
      if (errno == EOPNOTSUPP && name != "security.capability") continue;
      return sys_fail("set " + name);
    }
  }
  return {};
}

Status set_times(int fd, const char* name, timespec mtime, int flags) {
  timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, mtime};
  if (times[1].tv_nsec < 0 || times[1].tv_nsec > 999'999'999) times[1].tv_nsec = 0;
  int code = name ? utimensat(fd, name, times, flags) : futimens(fd, times);
  return code == 0 ? Status{} : Status{sys_fail("set times")};
}

}  // namespace

Result<Fd> open_beneath(int directory, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  long fd = -1;
  do {
    fd = syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));  // EAGAIN: a rename raced; not ours to fear
  if (fd < 0) return sys_fail(path);
  return Fd(static_cast<int>(fd));
}

Result<LayerTree::Parts> LayerTree::split(std::string_view path, std::string_view what) const {
  auto shown = path.substr(0, 200);
  if (path.empty()) return refuse(fmt::format("{} is empty", what));
  if (path.size() > kMaxPath) return refuse(fmt::format("{} \"{}…\" is longer than {} bytes", what, shown, kMaxPath));
  if (path == "/") return Parts{};  // some builders call the root so
  if (path.front() == '/') return refuse(fmt::format("{} \"{}\" is absolute", what, shown));
  Parts parts;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string_view part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse(fmt::format("{} \"{}\" goes up with \"..\"", what, shown));
    if (part.size() > kMaxName)
      return refuse(fmt::format("{} \"{}…\" has a name of more than {} bytes", what, shown, kMaxName));
    if (parts.size() == kMaxDepth) return refuse(fmt::format("{} \"{}…\" is deeper than {}", what, shown, kMaxDepth));
    parts.emplace_back(part);
  }
  return parts;
}

Status LayerTree::take_inode() {
  ++inodes_;
  if (budget_.inodes.fetch_sub(1, std::memory_order_relaxed) <= 0) {
    return refuse("the image has more files than are allowed or the file system has room for");
  }
  return {};
}

// One step down; makes what is missing.
Result<Fd> LayerTree::enter(int directory, const std::string& name, const std::string& path, bool create) {
  while (true) {
    auto fd = open_beneath(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (fd) return fd;
    int code = fd.error().sys;
    struct stat info{};
    bool exists = fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (exists && S_ISLNK(info.st_mode))
      return refuse(fmt::format("\"{}\" is a symbolic link, an entry goes through it", path));
    if (exists && is_whiteout(info) && create) {
      // Removed below, then made anew in the same layer.
      if (unlinkat(directory, name.c_str(), 0) != 0) return sys_fail("remove the whiteout of " + path);
      opaque_.insert(path);
    } else if (exists) {
      return refuse(fmt::format("\"{}\" is no directory, an entry goes through it", path));
    } else if (code != ENOENT || !create) {
      return std::unexpected(std::move(fd.error()));
    }
    if (auto taken = take_inode(); !taken) return std::unexpected(std::move(taken.error()));
    if (mkdirat(directory, name.c_str(), 0755) != 0) return sys_fail("mkdir " + path);
  }
}

Result<int> LayerTree::open_parent(const Parts& parts, bool create) {
  Parts path(parts.begin(), parts.end() - 1);
  if (path.empty()) return root_.get();
  if (cached_parent_ && cached_path_ == path) return cached_parent_.get();
  Fd fd;
  if (auto direct = open_beneath(root_.get(), join(path), O_PATH | O_DIRECTORY | O_NOFOLLOW)) {
    fd = std::move(*direct);
  } else {
    int at = root_.get();
    for (size_t i = 0; i < path.size(); ++i) {
      if (path[i].starts_with(kWhiteout)) return refuse(fmt::format("\"{}\" goes through a whiteout", join(parts)));
      auto next = enter(at, path[i], join(path, i + 1), create);
      if (!next) return std::unexpected(std::move(next.error()));
      fd = std::move(*next);
      at = fd.get();
    }
  }
  cached_parent_ = std::move(fd);
  cached_path_ = std::move(path);
  return cached_parent_.get();
}

namespace {

// Removes what is at `name`, whatever it is, following nothing. The depth is that of
// the paths that were accepted.
Status remove_beneath(int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), 0) == 0) return {};
  if (errno != EISDIR) return sys_fail("remove " + name);
  auto directory = open_beneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory) return std::unexpected(std::move(directory.error()));
  std::unique_ptr<DIR, int (*)(DIR*)> reader(fdopendir(fcntl(directory->get(), F_DUPFD_CLOEXEC, 3)), closedir);
  if (!reader) return sys_fail("read the directory " + name);
  while (const dirent* child = readdir(reader.get())) {
    std::string_view text = child->d_name;
    if (text == "." || text == "..") continue;
    if (auto removed = remove_beneath(directory->get(), child->d_name); !removed) return removed;
  }
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0) return sys_fail("remove " + name);
  return {};
}

}  // namespace

// Makes room for an entry: an existing directory may stay if the entry is one too.
Status LayerTree::clear(int parent, const std::string& name, const std::string& path, bool keep_directory, bool& kept,
                        bool& was_whiteout) {
  kept = was_whiteout = false;
  struct stat info{};
  if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Status{} : Status{sys_fail(path)};
  }
  if (keep_directory && S_ISDIR(info.st_mode)) {
    kept = true;
    return {};
  }
  was_whiteout = is_whiteout(info);
  if (S_ISDIR(info.st_mode)) {
    std::string below = path + "/";
    std::erase_if(opaque_, [&](const std::string& p) { return p == path || p.starts_with(below); });
    std::erase_if(directory_times_, [&](const auto& p) { return p.first == path || p.first.starts_with(below); });
    // `parent` may be the cached one, and lives; what is below it may not.
    std::string cached = join(cached_path_);
    if (cached == path || cached.starts_with(below)) cached_parent_.reset();
  }
  return remove_beneath(parent, name);
}

Status LayerTree::whiteout(const Parts& parts) {
  const std::string& marker = parts.back();
  auto parent = open_parent(parts, true);
  if (!parent) return std::unexpected(std::move(parent.error()));
  if (marker == kOpaque) {
    std::string directory = join(parts, parts.size() - 1);
    opaque_.insert(directory.empty() ? "." : directory);
    return {};
  }
  if (marker.starts_with(".wh..wh.")) return {};  // aufs' bookkeeping
  std::string name = marker.substr(kWhiteout.size());
  if (name.empty() || name == "." || name == "..") return refuse(fmt::format("\"{}\" is no whiteout", join(parts)));
  std::string path = join(parts, parts.size() - 1);
  path = path.empty() ? name : path + "/" + name;
  struct stat info{};
  if (fstatat(*parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    // It hides what lower layers have, not what this one brings.
    if (S_ISDIR(info.st_mode)) opaque_.insert(path);
    return {};
  }
  if (auto taken = take_inode(); !taken) return taken;
  // Device 0/0 needs no CAP_MKNOD since Linux 5.8.
  if (mknodat(*parent, name.c_str(), S_IFCHR, 0) != 0) return sys_fail("make the whiteout " + path);
  return {};
}

Status LayerTree::add_root(const Entry& entry) {
  if (entry.type != Entry::Type::directory) return refuse("the root of the layer is no directory");
  auto fd = open_beneath(root_.get(), ".", O_RDONLY | O_DIRECTORY);
  if (!fd) return std::unexpected(std::move(fd.error()));
  if (auto set = set_owner_and_mode(fd->get(), entry); !set) return set;
  directory_times_["."] = entry.mtime;
  return {};
}

Status LayerTree::add_file(int parent, const std::string& name, const Entry& entry, const Content& content) {
  // Reserved in one piece: a sparse file of an exabyte is refused before it exists.
  auto size = static_cast<int64_t>(std::min<uint64_t>(entry.size, INT64_MAX / 4));
  if (budget_.bytes.fetch_sub(size, std::memory_order_relaxed) < size) {
    return refuse("the image is larger than is allowed or the file system has room for");
  }
  bytes_ += entry.size;
  Fd fd(openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("create");
  auto written = content([&](std::span<const char> data, uint64_t offset) -> Status {
    if (offset > entry.size || data.size() > entry.size - offset)
      return refuse("there is more content than its size says");
    while (!data.empty()) {
      ssize_t done = pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return sys_fail("write");
      data = data.subspan(static_cast<size_t>(done));
      offset += static_cast<uint64_t>(done);
    }
    return {};
  });
  if (!written) return written;
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return sys_fail("stat");
  if (static_cast<uint64_t>(info.st_size) < entry.size && ftruncate(fd.get(), static_cast<off_t>(entry.size)) != 0) {
    return sys_fail("set the size");
  }
  if (auto set = set_owner_and_mode(fd.get(), entry); !set) return set;
  return set_times(fd.get(), nullptr, entry.mtime, 0);
}

Status LayerTree::add_directory(int parent, const std::string& name, const std::string& path, const Entry& entry,
                                bool exists) {
  if (!exists) {
    if (auto taken = take_inode(); !taken) return taken;
    if (mkdirat(parent, name.c_str(), 0700) != 0) return sys_fail("mkdir");
  }
  auto fd = open_beneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) return std::unexpected(std::move(fd.error()));
  if (auto set = set_owner_and_mode(fd->get(), entry); !set) return set;
  directory_times_[path] = entry.mtime;
  return {};
}

Status LayerTree::add_hardlink(const Parts& parts, const Entry& entry) {
  auto target = split(entry.target, "the hard link's target");
  if (!target) return std::unexpected(std::move(target.error()));
  if (target->empty()) return refuse("a hard link to the root of the layer");
  if (*target == parts) return {};
  auto from = open_parent(*target, false);
  if (!from) {
    if (from.error().code != Error::Code::not_found) return std::unexpected(std::move(from.error()));
    return refuse(fmt::format("the hard link's target \"{}\" is not in this layer", entry.target.substr(0, 200)));
  }
  Fd source(fcntl(*from, F_DUPFD_CLOEXEC, 3));  // the cache is about to move on
  if (!source) return sys_fail("dup");
  auto parent = open_parent(parts, true);
  if (!parent) return std::unexpected(std::move(parent.error()));
  bool kept = false, was_whiteout = false;
  if (auto cleared = clear(*parent, parts.back(), join(parts), false, kept, was_whiteout); !cleared) return cleared;
  struct stat info{};
  if (fstatat(source.get(), target->back().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) return sys_fail(entry.target);
    return refuse(fmt::format("the hard link's target \"{}\" is not in this layer", entry.target.substr(0, 200)));
  }
  if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) {
    return refuse(fmt::format("the hard link's target \"{}\" is no file", entry.target.substr(0, 200)));
  }
  if (auto taken = take_inode(); !taken) return taken;
  if (linkat(source.get(), target->back().c_str(), *parent, parts.back().c_str(), 0) != 0) return sys_fail("link");
  return {};
}

Status LayerTree::add(const Entry& entry, const Content& content) {
  auto parts = split(entry.path, "the path");
  if (!parts) return std::unexpected(std::move(parts.error()));
  std::string path = join(*parts);
  auto place = [&]() -> Status {
    if (entry.uid < 0 || entry.gid < 0 || entry.uid > UINT32_MAX - 1 || entry.gid > UINT32_MAX - 1) {
      return refuse(fmt::format("the owner {}:{} is out of range", entry.uid, entry.gid));
    }
    if (entry.xattrs.size() > kMaxXattrs) return refuse("too many extended attributes");
    if (parts->empty()) return add_root(entry);
    if (parts->back().starts_with(kWhiteout)) return whiteout(*parts);
    switch (entry.type) {
      case Entry::Type::hardlink:
        return add_hardlink(*parts, entry);
      case Entry::Type::file:
      case Entry::Type::directory:
      case Entry::Type::symlink:
        break;
      case Entry::Type::character_device:
      case Entry::Type::block_device:
      case Entry::Type::fifo:
        if (parts->front() == "dev") return {};
        return refuse(entry.type == Entry::Type::fifo ? "it is a FIFO" : "it is a device node");
      case Entry::Type::other:
        return refuse("it is of an unknown type");
    }
    auto parent = open_parent(*parts, true);
    if (!parent) return std::unexpected(std::move(parent.error()));
    const std::string& name = parts->back();
    bool kept = false, was_whiteout = false;
    bool directory = entry.type == Entry::Type::directory;
    if (auto cleared = clear(*parent, name, path, directory, kept, was_whiteout); !cleared) return cleared;
    if (directory) {
      if (was_whiteout) opaque_.insert(path);
      return add_directory(*parent, name, path, entry, kept);
    }
    if (auto taken = take_inode(); !taken) return taken;
    if (entry.type == Entry::Type::file) return add_file(*parent, name, entry, content);
    if (entry.target.empty() || entry.target.size() > kMaxPath)
      return refuse("the symbolic link's target is empty or too long");
    if (symlinkat(entry.target.c_str(), *parent, name.c_str()) != 0) return sys_fail("symlink");
    if (fchownat(*parent, name.c_str(), static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid),
                 AT_SYMLINK_NOFOLLOW) != 0) {
      return sys_fail("chown");
    }
    return set_times(*parent, name.c_str(), entry.mtime, AT_SYMLINK_NOFOLLOW);
  };
  auto placed = place();
  if (!placed)
    return std::unexpected(std::move(placed.error()).within(fmt::format("entry \"{}\"", entry.path.substr(0, 200))));
  return {};
}

Status LayerTree::finish() {
  for (const auto& [path, mtime] : directory_times_) {
    auto fd = open_beneath(root_.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) return std::unexpected(std::move(fd.error()));
    if (auto set = set_times(fd->get(), nullptr, mtime, 0); !set) return set;
  }
  return {};
}

Status mark_opaque(const Fd& root, const std::vector<std::string>& directories) {
  for (const auto& path : directories) {
    auto fd = open_beneath(root.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) return std::unexpected(std::move(fd.error()));
    if (fsetxattr(fd->get(), "trusted.overlay.opaque", "y", 1, 0) != 0) return sys_fail("mark opaque: " + path);
  }
  return {};
}

}  // namespace keelson::images
