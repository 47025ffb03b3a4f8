// The container's root file system, put together in its own mount namespace: every
// target is resolved within the root (openat2), every mount is attached by
// descriptor, so that no symlink or race in the image or a volume can lead outside
// (CVE-2021-30465, CVE-2023-27561, CVE-2025-31133).

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/kernel.h"

namespace keelson::shim {

namespace {

constexpr long kProcMagic = 0x9fa0;
constexpr unsigned kNoSuid = MOUNT_ATTR_NOSUID;
constexpr unsigned kNoAll = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr uint64_t kNoLinks = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

struct Option {
  const char* key;
  const char* value;  // null: a flag
};

// A new instance of a file system, detached.
int make_mount(int control, const char* type, unsigned attributes, const Option* options = nullptr, int count = 0) {
  const int fs = sys_fsopen(type);
  if (fs < 0) child_fail(control, errno, "open file system %s", type);
  for (int i = 0; i < count; ++i) {
    const unsigned command = options[i].value != nullptr ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
    if (sys_fsconfig(fs, command, options[i].key, options[i].value) != 0) {
      child_fail(control, errno, "configure file system %s: %s", type, options[i].key);
    }
  }
  if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0) {
    child_fail(control, errno, "create file system %s", type);
  }
  const int mount = sys_fsmount(fs, attributes);
  if (mount < 0) child_fail(control, errno, "mount file system %s", type);
  close(fs);
  return mount;
}

// The parent directory of `path`'s last component within the root and that
// component's name; directories that are missing are made.
int open_parent(int control, int root, const char* path, uint64_t resolve, const char** name, char (&buffer)[4096]) {
  while (*path == '/') ++path;
  const size_t length = strlen(path);
  if (length >= sizeof buffer) child_fail(control, ENAMETOOLONG, "mount %s", path);
  memcpy(buffer, path, length + 1);
  for (size_t end = length; end > 0 && buffer[end - 1] == '/'; --end) buffer[end - 1] = 0;
  char* slash = strrchr(buffer, '/');
  int at = sys_openat2(root, ".", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT);
  if (at < 0) child_fail(control, errno, "open the root");
  if (slash == nullptr) {
    *name = buffer;
    return at;
  }
  *slash = 0;
  *name = slash + 1;
  // From the root each time, so that ".." and symlinks mean what they mean inside.
  for (char* end = buffer;; ++end) {
    if (*end != '/' && *end != 0) continue;
    const char saved = *end;
    *end = 0;
    int next = sys_openat2(root, buffer, O_PATH | O_DIRECTORY, resolve);
    if (next < 0 && errno == ENOENT) {
      const char* last = strrchr(buffer, '/');
      if (mkdirat(at, last != nullptr ? last + 1 : buffer, 0755) != 0) child_fail(control, errno, "mkdir /%s", buffer);
      next = sys_openat2(root, buffer, O_PATH | O_DIRECTORY, resolve);
    }
    if (next < 0) child_fail(control, errno, "mkdir /%s", buffer);
    close(at);
    at = next;
    *end = saved;
    if (saved == 0) return at;
  }
}

// What is at `target` within the root, made when missing.
int open_target(int control, int root, const char* target, bool directory, uint64_t resolve) {
  const char* relative = target;
  while (*relative == '/') ++relative;
  if (*relative == 0) child_fail(control, EINVAL, "mount %s: is the root", target);
  const uint64_t flags = O_PATH | (directory ? O_DIRECTORY : 0);
  int fd = sys_openat2(root, relative, flags, resolve);
  if (fd < 0 && errno == ENOENT) {
    char buffer[4096];
    const char* name;
    const int parent = open_parent(control, root, relative, resolve, &name, buffer);
    if (directory) {
      if (mkdirat(parent, name, 0755) != 0) child_fail(control, errno, "mkdir %s", target);
    } else {
      const int file = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
      if (file < 0) child_fail(control, errno, "create %s", target);
      close(file);
    }
    close(parent);
    fd = sys_openat2(root, relative, flags, resolve);
  }
  if (fd < 0) child_fail(control, errno, "mount %s", target);
  struct stat status;
  if (fstat(fd, &status) != 0) child_fail(control, errno, "mount %s", target);
  if (!directory && S_ISDIR(status.st_mode)) child_fail(control, EISDIR, "mount %s: a file over a directory", target);
  return fd;
}

void attach(int control, int mount, int root, const char* target, bool directory, uint64_t resolve) {
  const int fd = open_target(control, root, target, directory, resolve);
  struct statfs system;
  // A volume over parts of /proc can mislead whoever reads or writes there.
  if (fstatfs(fd, &system) != 0 || system.f_type == kProcMagic)
    child_fail(control, EPERM, "mount %s: in /proc", target);
  if (sys_move_mount(mount, fd) != 0) child_fail(control, errno, "mount %s", target);
  close(fd);
}

// A mount of a volume in the pod's memory, or of what is at a path within it
// ("rw NAME/PATH"). Nothing that a container has put there leads out of the volume.
int clone_pod_volume(int control, const char* source) {
  const char* name = source + 3;
  char buffer[4096];
  const size_t length = strcspn(name, "/");
  if (strlen(source) < 4 || length >= sizeof buffer) child_fail(control, EINVAL, "volume %s", source);
  memcpy(buffer, name, length);
  buffer[length] = 0;
  const int volumes = sys_openat2(AT_FDCWD, "/volumes", O_PATH | O_DIRECTORY, kNoLinks);
  const int volume = sys_openat2(volumes, buffer, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | kNoLinks);
  if (volume < 0) child_fail(control, errno, "volume %s of the pod's memory", buffer);
  close(volumes);
  int at = volume;
  if (name[length] != 0) {
    const char* path = name + length + 1;
    constexpr uint64_t kWithin = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    at = sys_openat2(volume, path, O_PATH, kWithin);
    if (at < 0 && errno == ENOENT) at = open_target(control, volume, path, true, kWithin);
    if (at < 0) child_fail(control, errno, "subPath %s", path);
    close(volume);
  }
  const int mount = sys_open_tree(at, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
  if (mount < 0 || (source[1] == 'o' && sys_mount_setattr(mount, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY) != 0)) {
    child_fail(control, errno, "mount volume %s", name);
  }
  close(at);
  return mount;
}

void make_node(int control, int dev, const char* name, unsigned major, unsigned minor) {
  if (mknodat(dev, name, S_IFCHR | 0666, makedev(major, minor)) != 0) child_fail(control, errno, "mknod /dev/%s", name);
  if (fchmodat(dev, name, 0666, 0) != 0) child_fail(control, errno, "chmod /dev/%s", name);  // umask
}

void link(int control, int dev, const char* target, const char* name) {
  if (symlinkat(target, dev, name) != 0) child_fail(control, errno, "symlink /dev/%s", name);
}

void make_directory(int control, int at, const char* name) {
  if (mkdirat(at, name, 0755) != 0) child_fail(control, errno, "mkdir %s", name);
}

// A privileged container has the host's devices too.
void make_host_devices(const LaunchSpec& spec, int control, int dev) {
  Reader devices = spec.devices.items;
  for (uint32_t i = 0; i < spec.devices.count; ++i) {
    const char* text = devices.c_string();
    char type;
    unsigned major;
    unsigned minor;
    unsigned mode;
    int name_at = 0;
    if (sscanf(text, "%c %u %u %o %n", &type, &major, &minor, &mode, &name_at) != 4 || name_at == 0) {
      child_fail(control, EINVAL, "device %s", text);
    }
    char buffer[4096];
    const char* name;
    const int parent = open_parent(control, dev, text + name_at, RESOLVE_BENEATH | kNoLinks, &name, buffer);
    if (mknodat(parent, name, (type == 'b' ? S_IFBLK : S_IFCHR) | mode, makedev(major, minor)) != 0 &&
        errno != EEXIST) {
      child_fail(control, errno, "mknod /dev/%s", text + name_at);
    }
    close(parent);
  }
}

int build_dev(const LaunchSpec& spec, int control, int root) {
  const Option options[] = {{"mode", "0755"}, {"size", "65536k"}};
  const int dev = make_mount(control, "tmpfs", kNoSuid | MOUNT_ATTR_STRICTATIME, options, 2);
  make_node(control, dev, "null", 1, 3);
  make_node(control, dev, "zero", 1, 5);
  make_node(control, dev, "full", 1, 7);
  make_node(control, dev, "random", 1, 8);
  make_node(control, dev, "urandom", 1, 9);
  make_node(control, dev, "tty", 5, 0);
  link(control, dev, "pts/ptmx", "ptmx");
  link(control, dev, "/proc/self/fd", "fd");
  link(control, dev, "/proc/self/fd/0", "stdin");
  link(control, dev, "/proc/self/fd/1", "stdout");
  link(control, dev, "/proc/self/fd/2", "stderr");
  make_directory(control, dev, "pts");
  make_directory(control, dev, "shm");
  make_directory(control, dev, "mqueue");
  make_host_devices(spec, control, dev);
  attach(control, dev, root, "dev", true, RESOLVE_IN_ROOT | kNoLinks);

  const Option pts_options[] = {{"newinstance", nullptr}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}};
  const int pts = make_mount(control, "devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, pts_options, 4);
  attach(control, pts, dev, "pts", true, RESOLVE_BENEATH | kNoLinks);
  close(pts);
  if ((spec.sandbox_flags & kHostIpc) == 0) {  // the host's /dev/shm comes as a volume
    const int shm = sys_open_tree(AT_FDCWD, "/shm", OPEN_TREE_CLONE);
    if (shm < 0) child_fail(control, errno, "open the pod's shared memory");
    attach(control, shm, dev, "shm", true, RESOLVE_BENEATH | kNoLinks);
    close(shm);
  }
  const int mqueue = make_mount(control, "mqueue", kNoAll);
  attach(control, mqueue, dev, "mqueue", true, RESOLVE_BENEATH | kNoLinks);
  close(mqueue);
  return dev;
}

// What the container sees of its cgroups: its own as the root, for reading.
void build_cgroups(const LaunchSpec& spec, int control, int sys) {
  const bool privileged = (spec.flags & kPrivileged) != 0;
  const unsigned attributes = kNoAll | (privileged ? 0 : MOUNT_ATTR_RDONLY);
  const uint64_t resolve = RESOLVE_BENEATH | kNoLinks;
  const int at = sys_openat2(sys, "fs/cgroup", O_PATH | O_DIRECTORY, resolve);
  if (at < 0) return;  // a kernel without cgroups in sysfs; nothing to show
  const int unified = make_mount(control, "cgroup2", attributes);
  if ((spec.flags & kUnifiedCgroups) != 0) {
    if (sys_move_mount(unified, at) != 0) child_fail(control, errno, "mount /sys/fs/cgroup");
    close(unified);
    close(at);
    return;
  }
  const Option options[] = {{"mode", "0755"}};
  const int top = make_mount(control, "tmpfs", kNoAll, options, 1);
  if (sys_move_mount(top, at) != 0) child_fail(control, errno, "mount /sys/fs/cgroup");
  close(at);
  make_directory(control, top, "unified");
  attach(control, unified, top, "unified", true, resolve);
  close(unified);
  Reader controllers = spec.v1_controllers.items;
  for (uint32_t i = 0; i < spec.v1_controllers.count; ++i) {
    const char* controller = controllers.c_string();
    const Option only[] = {{controller, nullptr}};
    const int mount = make_mount(control, "cgroup", attributes, only, 1);
    make_directory(control, top, controller);
    attach(control, mount, top, controller, true, resolve);
    close(mount);
  }
  if (!privileged && sys_mount_setattr(top, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY) != 0) {
    child_fail(control, errno, "make /sys/fs/cgroup read-only");
  }
  close(top);
}

// The file or directory at an absolute path below /proc or /sys, -1 when this
// kernel has none.
int open_system_path(int control, int proc, int sys, const char* path) {
  const bool in_proc = strncmp(path, "/proc/", 6) == 0;
  if (!in_proc && strncmp(path, "/sys/", 5) != 0) child_fail(control, EINVAL, "mask %s", path);
  const int fd = sys_openat2(in_proc ? proc : sys, path + (in_proc ? 6 : 5), O_PATH, RESOLVE_BENEATH | kNoLinks);
  if (fd < 0 && errno != ENOENT && errno != ENOTDIR) child_fail(control, errno, "mask %s", path);
  return fd;
}

void mask(const LaunchSpec& spec, int control, int proc, int sys, int null) {
  Reader paths = spec.masked.items;
  int empty = -1;
  for (uint32_t i = 0; i < spec.masked.count; ++i) {
    const char* path = paths.c_string();
    const int fd = open_system_path(control, proc, sys, path);
    if (fd < 0) continue;
    struct stat status;
    if (fstat(fd, &status) != 0) child_fail(control, errno, "mask %s", path);
    int cover;
    if (S_ISDIR(status.st_mode)) {
      if (empty < 0) {
        const Option options[] = {{"mode", "0555"}, {"nr_inodes", "1"}};
        empty = cover = make_mount(control, "tmpfs", kNoAll | MOUNT_ATTR_RDONLY, options, 2);
      } else {
        cover = sys_open_tree(empty, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
      }
    } else {
      cover = sys_open_tree(null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
    }
    if (cover < 0 || sys_move_mount(cover, fd) != 0) child_fail(control, errno, "mask %s", path);
    if (cover != empty) close(cover);
    close(fd);
  }
  if (empty >= 0) close(empty);

  paths = spec.read_only.items;
  for (uint32_t i = 0; i < spec.read_only.count; ++i) {
    const char* path = paths.c_string();
    const int fd = open_system_path(control, proc, sys, path);
    if (fd < 0) continue;
    const int cover = sys_open_tree(fd, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE);
    if (cover < 0 || sys_mount_setattr(cover, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY) != 0 ||
        sys_move_mount(cover, fd) != 0) {
      child_fail(control, errno, "make %s read-only", path);
    }
    close(cover);
    close(fd);
  }
}

void make_working_directory(int control, int root, const char* directory) {
  const char* relative = directory;
  while (*relative == '/') ++relative;
  if (*relative == 0) return;
  int fd = sys_openat2(root, relative, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (fd < 0 && errno == ENOENT) {
    char buffer[4096];
    const char* name;
    fd = open_parent(control, root, relative, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, &name, buffer);
    if (mkdirat(fd, name, 0755) != 0) child_fail(control, errno, "create working directory \"%s\"", directory);
  }
  if (fd >= 0) close(fd);  // what else may be wrong with it, chdir will say
}

}  // namespace

Root build_root(const LaunchSpec& spec, const LaunchFds& fds) {
  const int control = fds.control;
  const int root = fds.root;
  // /root of the pod's own mount namespace is there for this (sandbox.cpp).
  const int place = sys_openat2(AT_FDCWD, "/root", O_PATH | O_DIRECTORY, kNoLinks);
  if (place < 0 || sys_move_mount(root, place) != 0) child_fail(control, errno, "mount the root");
  close(place);

  const int proc = make_mount(control, "proc", kNoAll);
  const int proc_place = open_target(control, root, "proc", true, RESOLVE_IN_ROOT | kNoLinks);
  if (sys_move_mount(proc, proc_place) != 0) child_fail(control, errno, "mount /proc");
  close(proc_place);
  const bool privileged = (spec.flags & kPrivileged) != 0;
  const int sys = make_mount(control, "sysfs", kNoAll | (privileged ? 0 : MOUNT_ATTR_RDONLY));
  attach(control, sys, root, "sys", true, RESOLVE_IN_ROOT | kNoLinks);
  build_cgroups(spec, control, sys);
  const int dev = build_dev(spec, control, root);

  // Masks before volumes: nobody else can have touched the trees they cover.
  const int null = sys_openat2(dev, "null", O_PATH | O_NOFOLLOW, RESOLVE_BENEATH | kNoLinks);
  struct stat status;
  if (null < 0 || fstat(null, &status) != 0 || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) {
    child_fail(control, 0, "/dev/null is not the kernel's");
  }
  mask(spec, control, proc, sys, null);
  close(null);

  char adjustment[16];
  const int length = snprintf(adjustment, sizeof adjustment, "%d", spec.oom_score_adj);
  const int oom = openat(proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  // Lowering it takes CAP_SYS_RESOURCE; the agent has said once that it has none.
  if (oom >= 0) {
    [[maybe_unused]] const auto written = write(oom, adjustment, static_cast<size_t>(length));
    close(oom);
  }

  Reader targets = spec.targets.items;
  Reader sources = spec.sources.items;
  const int* next = fds.mounts;
  for (uint32_t i = 0; i < spec.targets.count; ++i) {
    const char* target = targets.c_string();
    const char* source = sources.c_string();
    bool directory = spec.target_is_directory[i] != 0;
    const int mount = *source == 0 ? *next++ : clone_pod_volume(control, source);
    struct stat status;
    if (*source != 0 && fstat(mount, &status) == 0) directory = S_ISDIR(status.st_mode);
    attach(control, mount, root, target, directory, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  }
  make_working_directory(control, root, spec.directory);
  close(sys);
  close(proc);
  return {dev, root};
}

}  // namespace keelson::shim
