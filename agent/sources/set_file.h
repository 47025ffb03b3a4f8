#pragma once
// A source's set on disk, so that a reboot works offline: one file per source under
// <root-dir>/sources/, replaced atomically, sealed with a SHA-256. Mode 0600: there may
// be Secrets in it. Blocking; for workers, and for the start before the loop runs.

#include <string>
#include <vector>

#include "agent/sources/prepare.h"
#include "host/file.h"

namespace keelson::sources {

host::Status write_set(const host::Path& path, const std::string& source, const std::vector<AcceptedPtr>& objects);

// not_found when there is none; invalid when it is not what write_set() wrote for this
// source (a torn disk, a hand's edit, another version). At most `limit` bytes.
host::Result<std::vector<Accepted>> read_set(const host::Path& path, const std::string& source, size_t limit);

}  // namespace keelson::sources
