#include "host/mount.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>

namespace keelson::host {

namespace {

constexpr size_t kMaxOptionSize = 255;  // fsconfig(2): strings of 256 bytes with the NUL

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

Result<Fd> make_overlay(const OverlayOptions& options) {
  if (options.lower.empty()) return fail(Error::Code::invalid, "overlay: an image without layers");
  const Fd fs = open_filesystem("overlay");
  if (!fs) return sys_fail("overlay: not in this kernel");
  // A path longer than an option may be goes by /proc/self/fd, resolved in this very call.
  std::vector<Fd> held;
  const auto short_path = [&held](const std::string& path) -> Result<std::string> {
    if (path.size() <= kMaxOptionSize && path.find_first_of(":\\,") == std::string::npos) return path;
    auto fd = open_file(path, O_PATH | O_DIRECTORY);
    if (!fd) return std::unexpected(fd.error());
    held.push_back(std::move(*fd));
    return fmt::format("/proc/self/fd/{}", held.back().get());
  };
  for (auto layer = options.lower.rbegin(); layer != options.lower.rend(); ++layer) {
    auto path = short_path(*layer);
    if (!path) return std::unexpected(std::move(path).error().within("image layer"));
    if (configure(fs, FSCONFIG_SET_STRING, "lowerdir+", path->c_str()) == 0) continue;
    if (layer != options.lower.rbegin() || errno != EINVAL) return filesystem_fail(fs, "overlay: layer " + *layer);
    // Before 6.5: all in one option.
    std::string joined;
    for (auto each = options.lower.rbegin(); each != options.lower.rend(); ++each) {
      auto fd = open_file(*each, O_PATH | O_DIRECTORY);
      if (!fd) return std::unexpected(std::move(fd).error().within("image layer"));
      held.push_back(std::move(*fd));
      joined += fmt::format("{}/proc/self/fd/{}", joined.empty() ? "" : ":", held.back().get());
    }
    if (joined.size() > kMaxOptionSize) {
      return fail(Error::Code::unsupported,
                  fmt::format("overlay: {} layers are more than this kernel takes (6.5 takes any "
                              "number)",
                              options.lower.size()));
    }
    if (configure(fs, FSCONFIG_SET_STRING, "lowerdir", joined.c_str()) != 0)
      return filesystem_fail(fs, "overlay: layers");
    break;
  }
  for (const auto& [key, directory] : {std::pair("upperdir", &options.upper), std::pair("workdir", &options.work)}) {
    auto path = short_path(directory->string());
    if (!path) return std::unexpected(path.error());
    if (configure(fs, FSCONFIG_SET_STRING, key, path->c_str()) != 0) {
      return filesystem_fail(fs, fmt::format("overlay: {} {}", key, directory->string()));
    }
  }
  if (options.is_volatile && configure(fs, FSCONFIG_SET_FLAG, "volatile", nullptr) != 0) {
    return filesystem_fail(fs, "overlay: volatile");
  }
  return finish(fs, "overlay", 0);
}

Result<Fd> make_tmpfs(uint64_t size_bytes, mode_t mode) {
  const Fd fs = open_filesystem("tmpfs");
  if (!fs) return sys_fail("tmpfs");
  if (configure(fs, FSCONFIG_SET_STRING, "mode", fmt::format("{:o}", mode).c_str()) != 0 ||
      (size_bytes > 0 && configure(fs, FSCONFIG_SET_STRING, "size", std::to_string(size_bytes).c_str()) != 0)) {
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
