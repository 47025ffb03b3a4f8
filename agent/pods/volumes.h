#pragma once
// A pod's volumes: what each must hold (pure), making it so (blocking), and how a
// container sees it (pure).
//
// Where they lie: <disk>/empty-dir/<name> and <disk>/config-map/<name> under the
// root directory; secrets, projected and downward volumes under <memory>, on the
// tmpfs of the run directory: never on a disk. An emptyDir of medium Memory is a
// tmpfs in the sandbox's own mount namespace (the agent mounts nothing in the
// host's): kept while containers restart, gone with the sandbox.

#include <optional>
#include <string>
#include <vector>

#include "agent/pods/atomic_writer.h"
#include "agent/pods/environment.h"
#include "agent/pods/objects.h"
#include "api/cri.h"
#include "api/pod.h"

namespace keelson::pods {

struct VolumeRoots {
  host::Path disk;    // <root-dir>/pods/<uid>/volumes
  host::Path memory;  // <run-dir>/volumes/<uid>
};

struct PodVolume {
  enum class Kind { directory, memory, host_path, files };
  std::string name;
  Kind kind = Kind::directory;
  host::Path path;             // on the host; none with memory
  std::string host_path_type;  // "", "DirectoryOrCreate" …
  std::vector<VolumeFile> files;
  mode_t mode = 0777;          // directory, memory
  uint64_t size_bytes = 0;     // emptyDir's limit, 0: none; the kernel enforces it in memory, usage.h on disk
  std::optional<gid_t> group;  // fsGroup: owns it and may use it
  bool read_only = false;      // files: kubelet mounts these read-only
  bool operator==(const PodVolume&) const = default;
};

// not_found, in kubelet's words, when a ConfigMap, Secret or key that is not optional
// is missing; unsupported for a kind of volume that this node has not.
host::Result<std::vector<PodVolume>> plan_volumes(const api::Pod& pod, const Objects& objects, const NodeFacts& node,
                                                  const VolumeRoots& roots);

// Makes them so. Safe to repeat; a files volume changes atomically.
host::Status prepare_volumes(const std::vector<PodVolume>& volumes);

// What the sandbox is to be made with.
std::vector<api::MemoryVolume> memory_volumes(const std::vector<PodVolume>& volumes);

struct ContainerMounts {
  std::vector<api::Mount> mounts;
  // Directories to be made when missing: subPaths, {volume's directory, path within}.
  std::vector<std::pair<host::Path, std::string>> sub_paths;
};
// `environment` is for subPathExpr.
host::Result<ContainerMounts> plan_mounts(const api::Container& container, const std::vector<PodVolume>& volumes,
                                          const Environment& environment);

// mkdir -p of `relative` beneath `base`, never leaving it by "..", symlinks or magic
// links (CVE-2017-1002101). An existing file is fine too. Blocking.
host::Status make_beneath(const host::Path& base, const std::string& relative);

}  // namespace keelson::pods
