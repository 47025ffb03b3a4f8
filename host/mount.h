#pragma once
// Detached mounts: made and held by descriptor, attached by whoever receives it
// (move_mount(2)), gone with the last descriptor when nobody does. Nothing here
// changes what is mounted in the caller's namespace.
// Source: fsopen(2), open_tree(2), mount_setattr(2), openat2(2).

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"

namespace keelson::host {

// Whether overlay takes one layer an option, any number of them (Linux 6.5).
bool kernel_appends_layers();

struct OverlayOptions {
  std::vector<std::string> lower;  // lowest first, at least one
  Path upper, work;                // same file system; made by the caller
  // The writable layer need not survive a crash of the machine: no syncing.
  bool is_volatile = false;
  // Older kernels take 14 layers in one option. For more of them (240 at most) the
  // overlay is mounted on this directory for the moment that it takes to detach it
  // again: the one case where a mount is to be seen outside.
  Path scratch;
  bool append = kernel_appends_layers();
};

Result<Fd> make_overlay(const OverlayOptions& options);

// size 0: the kernel's default, half of the memory.
Result<Fd> make_tmpfs(uint64_t size_bytes, mode_t mode, std::optional<gid_t> group = {});

// A file or directory as O_PATH. With `beneath`, `path` is relative to it and no
// symlink and no ".." leads out of it (CVE-2021-25741); links of /proc never do.
Result<Fd> open_path(const Path& path, const Path& beneath = {});

enum class Propagation { none, slave, shared };

// A detached copy of the mount tree at that place (a bind mount in the making).
Result<Fd> clone_tree(const Fd& path, bool read_only, Propagation propagation);

}  // namespace keelson::host
