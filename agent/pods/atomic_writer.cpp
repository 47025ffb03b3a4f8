#include "agent/pods/atomic_writer.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

namespace keelson::pods {
namespace {

using host::Path;
using host::sys_fail;

constexpr auto kData = "..data";

// The whole of a small file beneath `directory`; empty optional when it differs in
// kind or cannot be read.
bool has_content(const Path& path, const VolumeFile& file, std::optional<gid_t> group) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  mode_t mode = file.mode | (group ? 0440 : 0);
  if ((info.st_mode & 07777) != mode || static_cast<size_t>(info.st_size) != file.content.size()) return false;
  auto content = host::read_file(path, file.content.size() + 1);
  return content && *content == file.content;
}

size_t count_files(const Path& directory) {
  size_t count = 0;
  std::error_code ignored;
  for (auto entry = std::filesystem::recursive_directory_iterator(directory, ignored);
       entry != std::filesystem::recursive_directory_iterator(); entry.increment(ignored)) {
    if (entry->is_regular_file(ignored)) ++count;
  }
  return count;
}

bool is_current(const Path& target, const std::vector<VolumeFile>& files, std::optional<gid_t> group) {
  auto data = target / kData;
  struct stat info{};
  if (stat(data.c_str(), &info) != 0) return false;
  for (const auto& file : files) {
    if (!has_content(data / file.path, file, group)) return false;
  }
  return count_files(data) == files.size();
}

host::Status write_file(const Path& path, const VolumeFile& file, std::optional<gid_t> group) {
  host::Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return sys_fail("create " + path.string());
  size_t written = 0;
  while (written < file.content.size()) {
    auto n = write(fd.get(), file.content.data() + written, file.content.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys_fail("write " + path.string());
    written += static_cast<size_t>(n);
  }
  mode_t mode = file.mode;
  if (group) {
    if (fchown(fd.get(), static_cast<uid_t>(-1), *group) != 0) return sys_fail("chown " + path.string());
    mode |= 0440;
  }
  if (fchmod(fd.get(), mode) != 0) return sys_fail("chmod " + path.string());
  return {};
}

host::Status make_directory(const Path& path, std::optional<gid_t> group) {
  if (mkdir(path.c_str(), 0755) != 0) {
    if (errno == EEXIST) return {};
    return sys_fail("mkdir " + path.string());
  }
  if (chmod(path.c_str(), group ? 02755 : 0755) != 0) return sys_fail("chmod " + path.string());
  if (group && chown(path.c_str(), static_cast<uid_t>(-1), *group) != 0) return sys_fail("chown " + path.string());
  return {};
}

host::Status write_all(const Path& directory, const std::vector<VolumeFile>& files, std::optional<gid_t> group) {
  for (const auto& file : files) {
    Path parent = directory;
    Path relative(file.path);
    for (const auto& part : relative.parent_path()) {
      parent /= part;
      if (auto made = make_directory(parent, group); !made) return made;
    }
    if (auto written = write_file(directory / relative, file, group); !written) return written;
  }
  return {};
}

host::Status point(const Path& link, const Path& to) {
  auto temporary = link.string() + "_tmp";
  unlink(temporary.c_str());
  if (symlink(to.c_str(), temporary.c_str()) != 0) return sys_fail("symlink " + temporary);
  if (rename(temporary.c_str(), link.c_str()) != 0) return sys_fail("rename " + temporary);
  return {};
}

// The names at the top point through ..data; those that are gone go.
host::Status update_names(const Path& target, const std::vector<VolumeFile>& files) {
  std::set<std::string> wanted;
  for (const auto& file : files) wanted.insert(Path(file.path).begin()->string());
  for (const auto& name : wanted) {
    auto link = target / name;
    struct stat info{};
    if (lstat(link.c_str(), &info) == 0) continue;
    if (symlink((Path(kData) / name).c_str(), link.c_str()) != 0 && errno != EEXIST)
      return sys_fail("symlink " + link.string());
  }
  auto present = host::list_directory(target);
  if (!present) return std::unexpected(present.error());
  for (const auto& name : *present) {
    if (name.starts_with("..") || wanted.contains(name)) continue;
    if (unlink((target / name).c_str()) != 0 && errno != ENOENT) return sys_fail("unlink " + (target / name).string());
  }
  return {};
}

}  // namespace

host::Status write_files(const Path& target, const std::vector<VolumeFile>& files, std::optional<gid_t> group) {
  if (auto made = host::make_directories(target); !made) return made;
  if (group) {
    if (chown(target.c_str(), static_cast<uid_t>(-1), *group) != 0) return sys_fail("chown " + target.string());
    if (chmod(target.c_str(), 02755) != 0) return sys_fail("chmod " + target.string());
  }
  if (is_current(target, files, group)) return update_names(target, files);

  auto pattern = (target / "..version_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) return sys_fail("mkdtemp " + pattern);
  Path fresh(pattern);
  auto abandon = [&](host::Status why) {
    (void)host::remove_tree(fresh);  // what is left is removed with the volume
    return why;
  };
  if (chmod(fresh.c_str(), group ? 02755 : 0755) != 0) return abandon(sys_fail("chmod " + fresh.string()));
  if (group && chown(fresh.c_str(), static_cast<uid_t>(-1), *group) != 0)
    return abandon(sys_fail("chown " + fresh.string()));
  if (auto written = write_all(fresh, files, group); !written) return abandon(written);

  std::error_code none;
  auto old = std::filesystem::read_symlink(target / kData, none);
  if (auto pointed = point(target / kData, fresh.filename()); !pointed) return abandon(pointed);
  auto named = update_names(target, files);
  if (!none && !old.empty()) {
    if (auto removed = host::remove_tree(target / old); !removed) return removed;
  }
  return named;
}

}  // namespace keelson::pods
