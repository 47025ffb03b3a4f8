#pragma once
// Files of a run directory: they are void with the boot that they were written in, so
// that nobody waits for a disk on their account. What must survive a crash of the
// machine is written by write_file_atomically (host/file.h).

#include <sys/types.h>

#include <string_view>

#include "host/error.h"
#include "host/file.h"

namespace keelson::host {

// Writes beside it and renames over it. After a failure the old file is untouched and
// the temporary one gone.
Status write_run_file(const Path& path, std::string_view content, mode_t mode = 0644);

}  // namespace keelson::host
