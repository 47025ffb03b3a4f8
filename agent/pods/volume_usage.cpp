#include "agent/pods/volume_usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace keelson::pods {
namespace {

constexpr size_t kMaxDepth = 200;  // each holds a descriptor
constexpr uint64_t kBlock = 512;   // of st_blocks, whatever the file system's are

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory open_directory(int at, const char* name) {
  host::Fd fd(openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  Directory directory(fd ? fdopendir(fd.get()) : nullptr);
  if (directory) fd.release();  // closedir() closes it
  return directory;
}

}  // namespace

host::Result<uint64_t> disk_usage(const host::Path& path, uint64_t enough) {
  std::vector<Directory> open;  // from the top down to where we are
  open.push_back(open_directory(AT_FDCWD, path.c_str()));
  struct stat top{};
  if (!open.back() || fstat(dirfd(open.back().get()), &top) != 0) return host::sys_fail("open " + path.string());
  uint64_t bytes = 0;
  std::set<ino_t> linked;  // files with several names
  while (!open.empty() && bytes <= enough) {
    const dirent* entry = readdir(open.back().get());
    if (entry == nullptr) {
      open.pop_back();
      continue;
    }
    const std::string_view name = entry->d_name;
    struct stat info{};
    if (name == "." || name == ".." ||
        fstatat(dirfd(open.back().get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (info.st_dev != top.st_dev) continue;
    const bool directory = S_ISDIR(info.st_mode);
    if (!directory && info.st_nlink > 1 && !linked.insert(info.st_ino).second) continue;
    bytes += static_cast<uint64_t>(info.st_blocks) * kBlock;
    if (!directory || open.size() >= kMaxDepth) continue;
    if (auto inner = open_directory(dirfd(open.back().get()), entry->d_name)) open.push_back(std::move(inner));
  }
  return bytes;
}

}  // namespace keelson::pods
