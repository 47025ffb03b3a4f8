#include "host/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <set>

namespace keelson::host {

namespace {

constexpr std::string_view kV1Controllers[] = {"cpu", "cpuacct", "memory", "pids", "devices"};
constexpr std::string_view kV2Controllers[] = {"cpu", "memory", "pids", "cpuset", "io"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

Status make_directory(const Path& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return sys_fail("mkdir " + path.string());
  return {};
}

// Every directory from below `root` to `path`. Mostly only the last is missing.
Status make_path(const Path& root, const Path& path) {
  if (path == root) return {};
  auto made = make_directory(path);
  if (made || made.error().code != Error::Code::not_found) return made;
  if (auto above = make_path(root, path.parent_path()); !above) return above;
  return make_directory(path);
}

// "+cpu +memory …": those that are there and not yet on.
Status enable_controllers(const Path& directory) {
  auto available = read_file(directory / "cgroup.controllers", 4096);
  auto enabled = read_file(directory / "cgroup.subtree_control", 4096);
  if (!available) return std::unexpected(available.error());
  if (!enabled) return std::unexpected(enabled.error());
  const auto trim = [](std::string& text) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
  };
  trim(*available);
  trim(*enabled);
  const auto there = split(*available, ' ');
  const auto on = split(*enabled, ' ');
  std::string change;
  for (const auto controller : kV2Controllers) {
    if (std::ranges::find(there, controller) == there.end() || std::ranges::find(on, controller) != on.end()) continue;
    change += fmt::format("{}+{}", change.empty() ? "" : " ", controller);
  }
  if (change.empty()) return {};
  return write_control(directory / "cgroup.subtree_control", change);
}

// Bottom up. Cgroup directories hold no files that need removing.
Status remove_directories(const Path& path) {
  DIR* stream = ::opendir(path.c_str());
  if (stream == nullptr) {
    if (errno == ENOENT) return {};
    return sys_fail("open " + path.string());
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    if (entry->d_type == DT_DIR && std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..") {
      names.emplace_back(entry->d_name);
    }
  }
  ::closedir(stream);
  for (const auto& name : names) {
    if (auto removed = remove_directories(path / name); !removed) return removed;
  }
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return sys_fail("rmdir " + path.string());
  return {};
}

void kill_members(const Path& path) {
  auto text = read_file(path / "cgroup.procs", 1u << 20);
  if (text) {
    for (const auto line : split(*text, '\n')) {
      pid_t pid = 0;
      std::from_chars(line.data(), line.data() + line.size(), pid);
      if (pid <= 0) continue;
      const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      if (process) ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    }
  }
  if (auto names = list_directory(path)) {
    for (const auto& name : *names) {
      struct stat status;
      if (::lstat((path / name).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) kill_members(path / name);
    }
  }
}

// Missing files of optional features are no failure.
Status write_optional(const Path& path, std::string_view value) {
  auto written = write_control(path, value);
  if (!written && written.error().code == Error::Code::not_found) return {};
  return written;
}

}  // namespace

Result<CgroupMounts> CgroupMounts::parse(std::string_view mountinfo) {
  CgroupMounts mounts;
  for (const auto line : split(mountinfo, '\n')) {
    const auto fields = split(line, ' ');
    const auto dash = std::ranges::find(fields, std::string_view("-"));
    if (fields.size() < 5 || fields.end() - dash < 4) continue;
    // fields[3] is the root within the file system: anything else than "/" is a bind
    // mount of a part of it (a container's view).
    const std::string_view type = dash[1];
    const Path point{std::string(fields[4])};
    if (type == "cgroup2" && mounts.unified.empty()) mounts.unified = point;
    if (type != "cgroup" || fields[3] != "/") continue;
    for (const auto option : split(dash[3], ',')) {
      if (std::ranges::find(kV1Controllers, option) == std::end(kV1Controllers)) continue;
      const bool known = std::ranges::any_of(mounts.v1, [&](const V1& v1) { return v1.controller == option; });
      if (!known) mounts.v1.push_back({std::string(option), point});
    }
  }
  if (mounts.unified.empty()) {
    return fail(Error::Code::unsupported, "no cgroup v2 hierarchy is mounted (mount -t cgroup2 none /sys/fs/cgroup)");
  }
  return mounts;
}

uint64_t cpu_shares_of_milli(int64_t milli) {
  return static_cast<uint64_t>(std::clamp<int64_t>(milli * 1024 / 1000, 2, 262144));
}

int64_t cpu_quota_of_milli(int64_t milli) { return milli <= 0 ? 0 : std::max<int64_t>(milli * 100, 1000); }

uint64_t cpu_weight_of_shares(uint64_t shares) {
  return 1 + ((std::clamp<uint64_t>(shares, 2, 262144) - 2) * 9999) / 262142;
}

Result<CgroupTree> CgroupTree::create(CgroupMounts mounts, Path directory) {
  directory = directory.lexically_normal();
  if (!directory.has_filename()) directory = directory.parent_path();
  const Path relative = directory.lexically_relative(mounts.unified);
  if (relative.empty() || *relative.begin() == ".." || relative == ".") {
    return fail(Error::Code::invalid, fmt::format("cgroup {}: is not below the v2 hierarchy at {}", directory.string(),
                                                  mounts.unified.string()));
  }
  CgroupTree tree;
  tree.directory_ = directory;
  tree.unified_root_ = mounts.unified;
  std::set<Path> seen;
  for (const auto& v1 : mounts.v1) {
    tree.v1_.push_back({v1.controller, v1.root / relative, v1.root, seen.insert(v1.root).second});
    tree.v1_names_.push_back(v1.controller);
  }
  if (auto made = make_path(mounts.unified, directory); !made) return std::unexpected(made.error());
  for (const auto& v1 : tree.v1_) {
    if (auto made = make_path(v1.root, v1.directory); !made) return std::unexpected(made.error());
  }
  auto available = read_file(mounts.unified / "cgroup.controllers", 4096);
  tree.v2_controllers_ = available && (available->find("memory") != std::string::npos || !tree.hybrid());
  if (tree.v2_controllers_) {
    Path at = mounts.unified;
    for (const auto& part : relative) {
      if (auto enabled = enable_controllers(at); !enabled) return std::unexpected(enabled.error());
      at /= part;
    }
    if (auto enabled = enable_controllers(directory); !enabled) return std::unexpected(enabled.error());
  }
  return tree;
}

bool CgroupTree::has_v1(std::string_view controller) const {
  return std::ranges::find(v1_names_, controller) != v1_names_.end();
}

Status CgroupTree::make(const Path& path, bool inner) const {
  if (auto made = make_path(directory_, directory_ / path); !made) return made;
  if (inner && v2_controllers_) {
    if (auto enabled = enable_controllers(directory_ / path); !enabled) return enabled;
  }
  for (const auto& v1 : v1_) {
    if (!v1.first) continue;
    if (auto made = make_path(v1.directory, v1.directory / path); !made) return made;
  }
  return {};
}

Status CgroupTree::make_leaf(const Path& path) const { return make_path(directory_, directory_ / path); }

Status CgroupTree::limit(const Path& path, const CgroupLimits& limits) const {
  for (const auto& v1 : v1_) {
    const Path at = v1.directory / path;
    Status written;
    if (v1.controller == "cpu") {
      if (limits.cpu_shares > 0) written = write_control(at / "cpu.shares", std::to_string(limits.cpu_shares));
      if (written && limits.cpu_quota_us > 0) {
        written = write_control(at / "cpu.cfs_period_us", "100000");
        if (written) written = write_control(at / "cpu.cfs_quota_us", std::to_string(limits.cpu_quota_us));
      }
    } else if (v1.controller == "memory" && limits.memory_bytes > 0) {
      const std::string bytes = std::to_string(limits.memory_bytes);
      // memory+swap is never less than memory; which one moves first depends on the old value.
      written = write_control(at / "memory.limit_in_bytes", bytes);
      if (!written && written.error().sys == EINVAL) {
        written = write_control(at / "memory.memsw.limit_in_bytes", bytes);
        if (written) written = write_control(at / "memory.limit_in_bytes", bytes);
      } else if (written) {
        written = write_optional(at / "memory.memsw.limit_in_bytes", bytes);
      }
    } else if (v1.controller == "pids" && limits.pids > 0) {
      written = write_control(at / "pids.max", std::to_string(limits.pids));
    }
    if (!written) return written;
  }
  if (!v2_controllers_) return {};
  const Path at = directory_ / path;
  const auto write = [&](std::string_view controller, const char* file, const std::string& value) -> Status {
    if (has_v1(controller)) return {};
    return write_control(at / file, value);
  };
  Status written;
  if (limits.cpu_shares > 0) {
    written = write("cpu", "cpu.weight", std::to_string(cpu_weight_of_shares(limits.cpu_shares)));
  }
  if (written && limits.cpu_quota_us > 0) {
    written = write("cpu", "cpu.max", fmt::format("{} 100000", limits.cpu_quota_us));
  }
  if (written && limits.memory_bytes > 0) {
    written = write("memory", "memory.max", std::to_string(limits.memory_bytes));
    if (written && !has_v1("memory")) written = write_optional(at / "memory.swap.max", "0");
  }
  if (written && limits.memory_oom_group && !has_v1("memory")) {
    written = write_optional(at / "memory.oom.group", "1");
  }
  if (written && limits.pids > 0) written = write("pids", "pids.max", std::to_string(limits.pids));
  return written;
}

Result<Fd> CgroupTree::open(const Path& path) const { return open_file(directory_ / path, O_RDONLY | O_DIRECTORY); }

Result<std::vector<Fd>> CgroupTree::join_files(const Path& path) const {
  std::vector<Fd> files;
  for (const auto& v1 : v1_) {
    if (!v1.first) continue;
    auto file = open_file(v1.directory / path / "tasks", O_WRONLY);
    if (!file) return std::unexpected(file.error());
    files.push_back(std::move(*file));
  }
  return files;
}

Result<Fd> CgroupTree::open_oom_events(const Path& path) const {
  for (const auto& v1 : v1_) {
    if (v1.controller == "memory") return open_file(v1.directory / path / "memory.oom_control", O_RDONLY);
  }
  return open_file(directory_ / path / "memory.events", O_RDONLY);
}

Status CgroupTree::write_v1(const Path& path, std::string_view controller, std::string_view file,
                            std::string_view value) const {
  for (const auto& v1 : v1_) {
    if (v1.controller == controller) return write_control(v1.directory / path / std::string(file), value);
  }
  return fail(Error::Code::unsupported, fmt::format("no v1 hierarchy with {}", controller));
}

Status CgroupTree::kill(const Path& path) const {
  auto written = write_control(directory_ / path / "cgroup.kill", "1");
  if (!written && written.error().code == Error::Code::not_found) return {};
  return written;
}

Status CgroupTree::wait_empty(const Path& path, int timeout_ms) const {
  auto events = open_file(directory_ / path / "cgroup.events", O_RDONLY);
  if (!events) {
    if (events.error().code == Error::Code::not_found) return {};
    return std::unexpected(events.error());
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    char text[256];
    const ssize_t size = ::pread(events->get(), text, sizeof text, 0);
    if (size < 0) {
      if (errno == ENODEV) return {};  // removed meanwhile
      return sys_fail("read cgroup.events of " + path.string());
    }
    if (std::string_view(text, static_cast<size_t>(size)).find("populated 0") != std::string_view::npos) return {};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd change{events->get(), POLLPRI, 0};
    if (left.count() <= 0 || ::poll(&change, 1, static_cast<int>(left.count())) == 0) {
      return fail(Error::Code::unavailable,
                  fmt::format("cgroup {}: processes are still alive {} ms after SIGKILL", path.string(), timeout_ms));
    }
  }
}

Status CgroupTree::remove(const Path& path) const {
  if (auto removed = remove_directories(directory_ / path); !removed) return removed;
  for (const auto& v1 : v1_) {
    if (!v1.first) continue;
    const Path at = v1.directory / path;
    auto removed = remove_directories(at);
    if (!removed && removed.error().sys == EBUSY) {
      // Whatever got into v1 without being in v2; with v2 empty it can only be a stray.
      kill_members(at);
      removed = remove_directories(at);
    }
    if (!removed) return removed;
  }
  return {};
}

Status CgroupTree::remove_all() const {
  if (auto removed = remove(""); !removed) return removed;
  for (const auto& v1 : v1_) {
    if (!v1.first) continue;
    for (Path at = v1.directory.parent_path(); at != v1.root && at.has_relative_path(); at = at.parent_path()) {
      if (::rmdir(at.c_str()) != 0) break;  // others use it
    }
  }
  return {};
}

Result<std::vector<std::string>> CgroupTree::children(const Path& path) const {
  auto names = list_directory(directory_ / path);
  if (!names) return names;
  std::erase_if(*names, [&](const std::string& name) {
    struct stat status;
    return ::lstat((directory_ / path / name).c_str(), &status) != 0 || !S_ISDIR(status.st_mode);
  });
  return names;
}

}  // namespace keelson::host
