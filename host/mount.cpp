#include "host/mount.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace keelson::host {

namespace {

constexpr size_t kMaxOptionSize = 255;  // fsconfig(2): strings of 256 bytes with the NUL
constexpr size_t kMaxMountData = 4096;  // mount(2): a page

Fd open_filesystem(const char* type) { return Fd(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC))); }

int configure(const Fd& fs, unsigned command, const char* key, const char* value) {
  return static_cast<int>(::syscall(SYS_fsconfig, fs.get(), command, key, value, 0));
}

// The kernel says in the context's log what is wrong with an option.
std::unexpected<Error> filesystem_fail(const Fd& fs, std::string what) {
  const int error_number = errno;
  char text[512];
  const ssize_t size = ::read(fs.get(), text, sizeof text);
  if (size > 2 && text[1] == ' ')
    what += fmt::format(" ({})", std::string_view(text + 2, static_cast<size_t>(size) - 2));
  return sys_fail(what, error_number);
}

Result<Fd> finish(const Fd& fs, const char* type, unsigned attributes) {
  if (configure(fs, FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0)
    return filesystem_fail(fs, fmt::format("mount {}", type));
  Fd mount(static_cast<int>(::syscall(SYS_fsmount, fs.get(), FSMOUNT_CLOEXEC, attributes)));
  if (!mount) return filesystem_fail(fs, fmt::format("mount {}", type));
  return mount;
}

}  // namespace

bool kernel_appends_layers() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 5);
}

namespace {

// Layers are named by descriptors: short, and free of the characters that overlay's
// options take for separators.
struct HeldPaths {
  std::vector<Fd> fds;
  Result<std::string> add(const Path& path) {
    auto fd = open_file(path, O_PATH | O_DIRECTORY);
    if (!fd) return std::unexpected(std::move(fd).error().within("overlay"));
    fds.push_back(std::move(*fd));
    return fmt::format("/proc/self/fd/{}", fds.back().get());
  }
};

Result<Fd> mount_and_detach(const OverlayOptions& options, const std::string& data) {
  if (options.scratch.empty() || data.size() >= kMaxMountData) {
    return fail(
        Error::Code::unsupported,
        fmt::format("overlay: {} layers are more than this kernel takes (6.5 takes any number)", options.lower.size()));
  }
  if (auto made = make_directories(options.scratch, 0700); !made) return std::unexpected(made.error());
  if (::mount("overlay", options.scratch.c_str(), "overlay", 0, data.c_str()) != 0) return sys_fail("mount overlay");
  Fd mount(static_cast<int>(
      ::syscall(SYS_open_tree, AT_FDCWD, options.scratch.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  const int clone_error = errno;
  if (::umount2(options.scratch.c_str(), MNT_DETACH) != 0) return sys_fail("detach " + options.scratch.string());
  ::rmdir(options.scratch.c_str());
  if (!mount) return sys_fail("open_tree overlay", clone_error);
  return mount;
}

}  // namespace

Result<Fd> make_overlay(const OverlayOptions& options) {
  if (options.lower.empty()) return fail(Error::Code::invalid, "overlay: an image without layers");
  HeldPaths held;
  std::vector<std::string> layers;  // highest first
  for (auto layer = options.lower.rbegin(); layer != options.lower.rend(); ++layer) {
    auto path = held.add(*layer);
    if (!path) return std::unexpected(path.error());
    layers.push_back(std::move(*path));
  }
  auto upper = held.add(options.upper);
  if (!upper) return std::unexpected(upper.error());
  auto work = held.add(options.work);
  if (!work) return std::unexpected(work.error());

  const std::string joined = fmt::format("{}", fmt::join(layers, ":"));
  if (!options.append && joined.size() > kMaxOptionSize) {
    return mount_and_detach(options, fmt::format("lowerdir={},upperdir={},workdir={}{}", joined, *upper, *work,
                                                 options.is_volatile ? ",volatile" : ""));
  }
  const Fd fs = open_filesystem("overlay");
  if (!fs) return sys_fail("overlay: not in this kernel");
  if (options.append) {
    for (const auto& layer : layers) {
      if (configure(fs, FSCONFIG_SET_STRING, "lowerdir+", layer.c_str()) != 0) {
        return filesystem_fail(fs, "overlay: layer");
      }
    }
  } else if (configure(fs, FSCONFIG_SET_STRING, "lowerdir", joined.c_str()) != 0) {
    return filesystem_fail(fs, "overlay: layers");
  }
  if (configure(fs, FSCONFIG_SET_STRING, "upperdir", upper->c_str()) != 0 ||
      configure(fs, FSCONFIG_SET_STRING, "workdir", work->c_str()) != 0) {
    return filesystem_fail(fs, "overlay: " + options.upper.string());
  }
  if (options.is_volatile && configure(fs, FSCONFIG_SET_FLAG, "volatile", nullptr) != 0) {
    return filesystem_fail(fs, "overlay: volatile");
  }
  return finish(fs, "overlay", 0);
}

Result<Fd> make_tmpfs(uint64_t size_bytes, mode_t mode, std::optional<gid_t> group) {
  const Fd fs = open_filesystem("tmpfs");
  if (!fs) return sys_fail("tmpfs");
  if (configure(fs, FSCONFIG_SET_STRING, "mode", fmt::format("{:o}", mode).c_str()) != 0 ||
      (size_bytes > 0 && configure(fs, FSCONFIG_SET_STRING, "size", std::to_string(size_bytes).c_str()) != 0) ||
      (group && configure(fs, FSCONFIG_SET_STRING, "gid", std::to_string(*group).c_str()) != 0)) {
    return filesystem_fail(fs, "tmpfs");
  }
  return finish(fs, "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

Result<Fd> open_path(const Path& path, const Path& beneath) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  Fd base;
  std::string name = path.string();
  if (!beneath.empty()) {
    auto opened = open_file(beneath, O_PATH | O_DIRECTORY);
    if (!opened) return std::unexpected(opened.error());
    base = std::move(*opened);
    how.resolve |= RESOLVE_BENEATH;
    if (name.empty()) name = ".";
  } else if (!path.is_absolute()) {
    return fail(Error::Code::invalid, fmt::format("{}: is not an absolute path", path.string()));
  }
  for (int attempt = 0;; ++attempt) {
    Fd fd(static_cast<int>(
        ::syscall(SYS_openat2, beneath.empty() ? AT_FDCWD : base.get(), name.c_str(), &how, sizeof how)));
    if (fd) return fd;
    // EAGAIN: something was renamed while ".." was resolved (openat2(2)).
    if (errno == EAGAIN && attempt < 32) continue;
    if (errno == EXDEV) return fail(Error::Code::denied, fmt::format("{}: leads out of {}", name, beneath.string()));
    return sys_fail("open " + (beneath / path).string());
  }
}

Result<Fd> clone_tree(const Fd& path, bool read_only, Propagation propagation) {
  Fd tree(static_cast<int>(
      ::syscall(SYS_open_tree, path.get(), "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) return sys_fail("open_tree");
  mount_attr attributes{};
  if (read_only) attributes.attr_set = MOUNT_ATTR_RDONLY;
  attributes.propagation = propagation == Propagation::none    ? MS_PRIVATE
                           : propagation == Propagation::slave ? MS_SLAVE
                                                               : MS_SHARED;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0) {
    return sys_fail("mount_setattr");
  }
  return tree;
}

}  // namespace keelson::host
