#pragma once
// A pod's volumes: what each must hold (pure), making it so (blocking), and how a
// container sees it (pure).
//
// Where they lie: <disk>/empty-dir/<name> and <disk>/config-map/<name> under the
// root directory; secrets, projected and downward volumes and emptyDir of medium
// Memory under <memory>, on the tmpfs of the run directory: never on a disk. The
// agent mounts nothing in the host's mount namespace. So an emptyDir of medium
// Memory that one container alone uses is a tmpfs of that container, with its
// sizeLimit enforced, and begins empty when the container restarts (Kubernetes
// keeps it); one that several containers share lies in the run directory, where
// the pod's memory limit is charged but the sizeLimit is not enforced.

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
  enum class Kind { directory, tmpfs, host_path, files };
  std::string name;
  Kind kind = Kind::directory;
  host::Path path;             // on the host; none with tmpfs
  std::string host_path_type;  // "", "DirectoryOrCreate" …
  std::vector<VolumeFile> files;
  mode_t mode = 0777;          // directory, tmpfs
  uint64_t size_bytes = 0;     // tmpfs
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
