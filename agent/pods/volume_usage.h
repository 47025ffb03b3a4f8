#pragma once
// How much of the disk a volume takes, as du(1) counts: blocks, each file once.
// Blocking; for a worker. The tree may change meanwhile: nothing in it is followed,
// neither symlinks nor mounts.

#include <cstdint>

#include "host/error.h"
#include "host/file.h"

namespace keelson::pods {

// Bytes below `path`. The count ends when it is beyond `enough`; what lies deeper than
// 200 directories is left out. What vanishes while it is counted is no failure.
host::Result<uint64_t> disk_usage(const host::Path& path, uint64_t enough);

}  // namespace keelson::pods
