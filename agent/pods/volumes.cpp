#include "agent/pods/volumes.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "agent/pods/container_spec.h"
#include "agent/pods/fields.h"

namespace keelson::pods {
namespace {

using host::Error;
using host::fail;
using host::Path;
using host::sys_fail;
using Files = std::vector<VolumeFile>;
using Payload = std::map<std::string, std::string>;  // key → content

constexpr mode_t kDefaultMode = 0644;

bool is_safe_relative(const std::string& path) {
  if (path.empty() || path.front() == '/') return false;
  for (const auto& part : Path(path)) {
    if (part == "..") return false;
  }
  return !path.starts_with("..");
}

host::Status add_file(Files& files, std::string path, std::string content, mode_t mode) {
  if (!is_safe_relative(path))
    return fail(Error::Code::invalid, fmt::format("\"{}\" is not a path within a volume", path));
  // A later source of a projected volume wins.
  std::erase_if(files, [&](const VolumeFile& file) { return file.path == path; });
  files.push_back({std::move(path), std::move(content), mode});
  return {};
}

host::Status add_payload(Files& files, const Payload& payload, const std::vector<api::KeyToPath>& items, mode_t mode,
                         bool optional) {
  if (items.empty()) {
    for (const auto& [key, content] : payload) {
      if (auto added = add_file(files, key, content, mode); !added) return added;
    }
    return {};
  }
  for (const auto& item : items) {
    auto found = payload.find(item.key);
    if (found == payload.end()) {
      if (optional) continue;
      return fail(Error::Code::not_found, fmt::format("references non-existent config key: {}", item.key));
    }
    auto item_mode = item.mode ? static_cast<mode_t>(*item.mode) : mode;
    if (auto added = add_file(files, item.path, found->second, item_mode); !added) return added;
  }
  return {};
}

host::Status add_config_map(Files& files, const api::Pod& pod, const Objects& objects, const std::string& name,
                            const std::vector<api::KeyToPath>& items, mode_t mode, bool optional) {
  const auto* map = objects.config_map(pod.metadata.namespace_, name);
  if (map == nullptr) {
    if (optional) return {};
    return fail(Error::Code::not_found, fmt::format("configmap \"{}\" not found", name));
  }
  Payload payload = map->data;
  for (const auto& [key, bytes] : map->binary_data) payload[key] = bytes.data;
  return add_payload(files, payload, items, mode, optional);
}

host::Status add_secret(Files& files, const api::Pod& pod, const Objects& objects, const std::string& name,
                        const std::vector<api::KeyToPath>& items, mode_t mode, bool optional) {
  const auto* secret = objects.secret(pod.metadata.namespace_, name);
  if (secret == nullptr) {
    if (optional) return {};
    return fail(Error::Code::not_found, fmt::format("secret \"{}\" not found", name));
  }
  Payload payload;
  for (const auto& [key, bytes] : secret->data) payload[key] = bytes.data;
  for (const auto& [key, text] : secret->string_data) payload[key] = text;
  return add_payload(files, payload, items, mode, optional);
}

host::Status add_downward(Files& files, const api::Pod& pod, const NodeFacts& node,
                          const std::vector<api::DownwardAPIVolumeFile>& items, mode_t mode) {
  for (const auto& item : items) {
    host::Result<std::string> value = std::string();
    if (item.field_ref) {
      value = field_value(pod, item.field_ref->field_path, node, {});
    } else if (item.resource_field_ref) {
      value = resource_value(pod, nullptr, *item.resource_field_ref, node);
    }
    if (!value) return std::unexpected(value.error());
    auto item_mode = item.mode ? static_cast<mode_t>(*item.mode) : mode;
    if (auto added = add_file(files, item.path, std::move(*value), item_mode); !added) return added;
  }
  return {};
}

host::Status add_projection(Files& files, const api::Pod& pod, const Objects& objects, const NodeFacts& node,
                            const api::VolumeProjection& source, mode_t mode) {
  if (source.config_map) {
    const auto& map = *source.config_map;
    return add_config_map(files, pod, objects, map.ref.name, map.items, mode, map.optional.value_or(false));
  }
  if (source.secret) {
    const auto& secret = *source.secret;
    return add_secret(files, pod, objects, secret.ref.name, secret.items, mode, secret.optional.value_or(false));
  }
  if (source.downward_api) return add_downward(files, pod, node, source.downward_api->items, mode);
  // What only an API server can give is absent, as api/unsupported.cpp reports.
  if (source.service_account_token || source.cluster_trust_bundle || source.pod_certificate) return {};
  return fail(Error::Code::unsupported, "this kind of projected source is not supported on this node");
}

// As kubelet sizes it: no more than the node's memory, the pod's limit and its own.
uint64_t memory_size(const api::EmptyDirVolumeSource& source, const api::Pod& pod, const NodeFacts& node) {
  int64_t size = node.memory_bytes;
  auto at_most = [&size](int64_t limit) {
    if (limit > 0 && (size == 0 || limit < size)) size = limit;
  };
  at_most(pod_limits(pod).memory_limit_bytes);
  if (source.size_limit) at_most(source.size_limit->value());
  return static_cast<uint64_t>(size);
}

host::Status plan_one(const api::Volume& volume, const api::Pod& pod, const Objects& objects, const NodeFacts& node,
                      const VolumeRoots& roots, PodVolume& planned) {
  const auto& source = volume.source;
  auto mode_of = [](const std::optional<int32_t>& mode) { return mode ? static_cast<mode_t>(*mode) : kDefaultMode; };
  if (source.empty_dir) {
    planned.mode = source.empty_dir->mode ? static_cast<mode_t>(*source.empty_dir->mode) : 0777;
    planned.path = roots.disk / "empty-dir" / volume.name;
    if (source.empty_dir->medium == "Memory") {
      planned.kind = PodVolume::Kind::memory;
      planned.path.clear();
      planned.size_bytes = memory_size(*source.empty_dir, pod, node);
    } else if (source.empty_dir->size_limit) {
      planned.size_bytes = static_cast<uint64_t>(std::max<int64_t>(source.empty_dir->size_limit->value(), 0));
    }
    return {};
  }
  if (source.host_path) {
    planned.kind = PodVolume::Kind::host_path;
    planned.path = source.host_path->path;
    planned.host_path_type = source.host_path->type;
    planned.group.reset();  // fsGroup does not apply to hostPath
    return {};
  }
  planned.kind = PodVolume::Kind::files;
  planned.read_only = true;
  if (source.config_map) {
    const auto& map = *source.config_map;
    planned.path = roots.disk / "config-map" / volume.name;
    return add_config_map(planned.files, pod, objects, map.ref.name, map.items, mode_of(map.default_mode),
                          map.optional.value_or(false));
  }
  if (source.secret) {
    const auto& secret = *source.secret;
    planned.path = roots.memory / "secret" / volume.name;
    return add_secret(planned.files, pod, objects, secret.secret_name, secret.items, mode_of(secret.default_mode),
                      secret.optional.value_or(false));
  }
  if (source.downward_api) {
    planned.path = roots.memory / "downward-api" / volume.name;
    return add_downward(planned.files, pod, node, source.downward_api->items,
                        mode_of(source.downward_api->default_mode));
  }
  if (source.projected) {
    planned.path = roots.memory / "projected" / volume.name;
    for (const auto& projection : source.projected->sources) {
      auto added =
          add_projection(planned.files, pod, objects, node, projection, mode_of(source.projected->default_mode));
      if (!added) return added;
    }
    return {};
  }
  return fail(Error::Code::unsupported, "this kind of volume is not supported on this node");
}

host::Status type_failure(const PodVolume& volume, const char* wanted) {
  return fail(fmt::format("hostPath type check failed: {} is not a {}", volume.path.string(), wanted));
}

host::Status prepare_host_path(const PodVolume& volume) {
  const auto& type = volume.host_path_type;
  struct stat info{};
  bool exists = stat(volume.path.c_str(), &info) == 0;
  if (!exists && errno != ENOENT && errno != ENOTDIR) return sys_fail("stat " + volume.path.string());
  if (!exists && type == "FileOrCreate") {
    auto created = host::open_file(volume.path, O_WRONLY | O_CREAT, 0644);
    if (!created) return std::unexpected(created.error());
    return {};
  }
  // Without a type a missing path becomes a directory too, as with containerd.
  if (!exists && (type.empty() || type == "DirectoryOrCreate")) return host::make_directories(volume.path, 0755);
  if (type == "DirectoryOrCreate" || type == "Directory") {
    if (!exists || !S_ISDIR(info.st_mode)) return type_failure(volume, "directory");
  } else if (type == "FileOrCreate" || type == "File") {
    if (!exists || !S_ISREG(info.st_mode)) return type_failure(volume, "file");
  } else if (type == "Socket") {
    if (!exists || !S_ISSOCK(info.st_mode)) return type_failure(volume, "socket file");
  } else if (type == "CharDevice") {
    if (!exists || !S_ISCHR(info.st_mode)) return type_failure(volume, "character device");
  } else if (type == "BlockDevice") {
    if (!exists || !S_ISBLK(info.st_mode)) return type_failure(volume, "block device");
  }
  return {};
}

host::Status prepare_directory(const PodVolume& volume) {
  if (auto made = host::make_directories(volume.path); !made) return made;
  mode_t mode = volume.mode;
  if (volume.group) {
    if (chown(volume.path.c_str(), static_cast<uid_t>(-1), *volume.group) != 0)
      return sys_fail("chown " + volume.path.string());
    mode |= 02770;
  }
  if (chmod(volume.path.c_str(), mode) != 0) return sys_fail("chmod " + volume.path.string());
  return {};
}

host::Status prepare_one(const PodVolume& volume) {
  switch (volume.kind) {
    case PodVolume::Kind::directory:
      return prepare_directory(volume);
    case PodVolume::Kind::host_path:
      return prepare_host_path(volume);
    case PodVolume::Kind::files:
      return write_files(volume.path, volume.files, volume.group);
    case PodVolume::Kind::memory:
      return {};  // made with the sandbox
  }
  return {};
}

api::Mount::Propagation parse_propagation(const std::string& text) {
  if (text == "HostToContainer") return api::Mount::Propagation::host_to_container;
  if (text == "Bidirectional") return api::Mount::Propagation::bidirectional;
  return api::Mount::Propagation::none;
}

}  // namespace

host::Result<std::vector<PodVolume>> plan_volumes(const api::Pod& pod, const Objects& objects, const NodeFacts& node,
                                                  const VolumeRoots& roots) {
  std::vector<PodVolume> volumes;
  for (const auto& volume : pod.spec.volumes) {
    PodVolume planned;
    planned.name = volume.name;
    if (pod.spec.security_context && pod.spec.security_context->fs_group)
      planned.group = static_cast<gid_t>(*pod.spec.security_context->fs_group);
    if (auto done = plan_one(volume, pod, objects, node, roots, planned); !done) {
      return std::unexpected(
          done.error().within(fmt::format("MountVolume.SetUp failed for volume \"{}\" ", volume.name)));
    }
    volumes.push_back(std::move(planned));
  }
  return volumes;
}

host::Status prepare_volumes(const std::vector<PodVolume>& volumes) {
  for (const auto& volume : volumes) {
    if (auto done = prepare_one(volume); !done) {
      return std::unexpected(
          done.error().within(fmt::format("MountVolume.SetUp failed for volume \"{}\" ", volume.name)));
    }
  }
  return {};
}

std::vector<api::MemoryVolume> memory_volumes(const std::vector<PodVolume>& volumes) {
  std::vector<api::MemoryVolume> found;
  for (const auto& volume : volumes) {
    if (volume.kind != PodVolume::Kind::memory) continue;
    // fsGroup as prepare_directory() gives it to a directory.
    found.push_back({.name = volume.name,
                     .size_bytes = volume.size_bytes,
                     .mode = volume.group ? volume.mode | 02770 : volume.mode,
                     .group = volume.group});
  }
  return found;
}

host::Result<ContainerMounts> plan_mounts(const api::Container& container, const std::vector<PodVolume>& volumes,
                                          const Environment& environment) {
  ContainerMounts planned;
  for (const auto& wanted : container.volume_mounts) {
    auto volume = std::ranges::find(volumes, wanted.name, &PodVolume::name);
    if (volume == volumes.end())
      return fail(Error::Code::invalid, fmt::format("volumeMount {}: there is no such volume", wanted.name));
    api::Mount mount;
    mount.target = wanted.mount_path.starts_with('/') ? wanted.mount_path : "/" + wanted.mount_path;
    mount.read_only = wanted.read_only.value_or(false) || volume->read_only;
    mount.propagation = parse_propagation(wanted.mount_propagation);
    auto sub_path = wanted.sub_path_expr.empty() ? wanted.sub_path : expand(wanted.sub_path_expr, environment);
    if (!sub_path.empty() && !is_safe_relative(sub_path)) {
      return fail(Error::Code::invalid, fmt::format("volumeMount {}: subPath \"{}\" must be relative and must not "
                                                    "contain '..'",
                                                    wanted.name, sub_path));
    }
    if (volume->kind == PodVolume::Kind::memory) {
      mount.type = api::Mount::Type::memory;
      mount.beneath = volume->name;
      mount.source = sub_path;
    } else if (sub_path.empty()) {
      mount.source = volume->path.string();
    } else {
      mount.beneath = volume->path.string();
      mount.source = sub_path;
      // Of a files volume a missing key is an error; elsewhere it becomes a directory.
      if (volume->kind != PodVolume::Kind::files) planned.sub_paths.emplace_back(volume->path, sub_path);
    }
    planned.mounts.push_back(std::move(mount));
  }
  return planned;
}

host::Status make_beneath(const Path& base, const std::string& relative) {
  host::Fd root(open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return sys_fail("open " + base.string());
  auto open_beneath = [&](const Path& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    return host::Fd(static_cast<int>(syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof(how))));
  };
  if (open_beneath(relative)) return {};
  Path reached;
  host::Fd parent(dup(root.get()));
  for (const auto& part : Path(relative)) {
    if (part.empty() || part == ".") continue;
    reached /= part;
    if (mkdirat(parent.get(), part.c_str(), 0755) != 0 && errno != EEXIST)
      return sys_fail(fmt::format("mkdir {}", (base / reached).string()));
    auto next = open_beneath(reached);
    if (!next) return sys_fail(fmt::format("subPath {}: open {}", relative, (base / reached).string()));
    parent = std::move(next);
  }
  return {};
}

}  // namespace keelson::pods
