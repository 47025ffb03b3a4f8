#pragma once
// Whole files and directories, by path: reading with a bound, writing so that a
// reader (and a power cut) sees the old or the new content, never half of one.
// Blocking; call from a worker where the disk may be slow.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"
#include "host/fd.h"

namespace keelson::host {

using Path = std::filesystem::path;

// O_CLOEXEC is added. Code not_found when it does not exist.
Result<Fd> open_file(const Path& path, int flags, mode_t mode = 0);

// The whole content; more than `limit` bytes is an error (invalid), as is
// anything but a regular file. Files of /proc and /sys are fine.
Result<std::string> read_file(const Path& path, size_t limit = 16u << 20);

// Writes beside it, fsyncs, renames over it, fsyncs the directory. After a failure
// the old file is untouched and the temporary one gone.
Status write_file_atomically(const Path& path, std::string_view content, mode_t mode = 0644);

// One write(2) to an existing control file of /proc, /sys or a cgroup.
Status write_control(const Path& path, std::string_view value);

// mkdir -p with the mode for the directories it makes.
Status make_directories(const Path& path, mode_t mode = 0755);

// Names within, without "." and "..", sorted.
Result<std::vector<std::string>> list_directory(const Path& path);

// Removes a tree without following symlinks and without ever crossing a mount
// point: meeting one is an error that names it, and it and its parents stay.
// A missing tree is success.
Status remove_tree(const Path& path);

}  // namespace keelson::host
