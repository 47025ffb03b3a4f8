#pragma once
// Files of a ConfigMap, Secret or downward volume, changed all at once: a reader
// sees the old set or the new one. As kubelet's atomic_writer.go: the files lie in
// a directory of their own, "..data" points to it and is replaced by rename(2),
// and each name at the top points through "..data".
//
// Blocking; for workers. After a failure the old set stands.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/file.h"

namespace keelson::pods {

struct VolumeFile {
  std::string path;  // relative, without ".."
  std::string content;
  mode_t mode = 0644;
  bool operator==(const VolumeFile&) const = default;
};

// Makes `target`, and its content `files`; nothing is written when it is so
// already. With a group, files and directories belong to it and it may read them.
host::Status write_files(const host::Path& target, const std::vector<VolumeFile>& files, std::optional<gid_t> group);

}  // namespace keelson::pods
