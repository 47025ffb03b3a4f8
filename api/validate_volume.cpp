// Volumes: one source each, and what each source needs.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "api/schema.h"
#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

void require(const std::string& value, const std::string& path, Findings& findings) {
  if (value.empty()) findings.required(path);
}

// The names of the sources that are set: fields of the given type, all optional.
std::vector<std::string_view> set_sources(const Type& type, const void* source) {
  std::vector<std::string_view> names;
  for (const Field& field : type.fields) {
    if (field.access->get(field.look(source)) != nullptr) names.push_back(field.name);
  }
  return names;
}

void validate_items(const std::vector<KeyToPath>& items, const std::string& path, Findings& findings) {
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string here = item(path, i);
    require(items[i].key, here + ".key", findings);
    if (items[i].path.empty()) {
      findings.required(here + ".path");
    } else {
      findings.invalid(here + ".path", items[i].path, syntax::file_below(items[i].path));
    }
    validate_file_mode(items[i].mode, here + ".mode", findings);
    validate_id(items[i].user, here + ".user", findings);
  }
}

void validate_downward_files(const std::vector<DownwardAPIVolumeFile>& files, const std::string& path,
                             Findings& findings) {
  for (size_t i = 0; i < files.size(); ++i) {
    const DownwardAPIVolumeFile& file = files[i];
    const std::string here = item(path, i);
    if (file.path.empty()) {
      findings.required(here + ".path");
    } else {
      findings.invalid(here + ".path", file.path, syntax::file_below(file.path));
    }
    if (file.field_ref && file.resource_field_ref) {
      findings.invalid(here, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (file.field_ref) {
      validate_field_ref(
          *file.field_ref,
          {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"},
          here + ".fieldRef", findings);
    } else if (file.resource_field_ref) {
      validate_resource_field_ref(*file.resource_field_ref, true, here + ".resourceFieldRef", findings);
    } else {
      findings.required(here, "one of fieldRef and resourceFieldRef is required");
    }
    validate_file_mode(file.mode, here + ".mode", findings);
    validate_id(file.user, here + ".user", findings);
  }
}

void validate_projected(const ProjectedVolumeSource& volume, const std::string& path, Findings& findings) {
  validate_file_mode(volume.default_mode, path + ".defaultMode", findings);
  std::set<std::string> paths;
  for (size_t i = 0; i < volume.sources.size(); ++i) {
    const VolumeProjection& projection = volume.sources[i];
    const std::string here = item(path + ".sources", i);
    const auto claim = [&](const std::string& file) {
      if (!file.empty() && !paths.insert(file).second) findings.invalid(here, file, "conflicting duplicate paths");
    };
    const auto sources = set_sources(type_of<VolumeProjection>(), &projection);
    if (sources.empty()) findings.required(here, "must specify a volume projection");
    if (sources.size() > 1) {
      findings.forbidden(fmt::format("{}.{}", here, sources[1]), "may not specify more than 1 volume type");
    }
    if (const auto& secret = projection.secret) {
      require(secret->ref.name, here + ".secret.name", findings);
      validate_items(secret->items, here + ".secret.items", findings);
      for (const KeyToPath& file : secret->items) claim(file.path);
    }
    if (const auto& config_map = projection.config_map) {
      require(config_map->ref.name, here + ".configMap.name", findings);
      validate_items(config_map->items, here + ".configMap.items", findings);
      for (const KeyToPath& file : config_map->items) claim(file.path);
    }
    if (const auto& downward = projection.downward_api) {
      validate_downward_files(downward->items, here + ".downwardAPI.items", findings);
      for (const DownwardAPIVolumeFile& file : downward->items) claim(file.path);
    }
    if (const auto& token = projection.service_account_token) {
      constexpr int64_t kShortest = 600;  // seconds
      if (token->expiration_seconds.value_or(kShortest) < kShortest) {
        findings.invalid(here + ".serviceAccountToken.expirationSeconds", *token->expiration_seconds,
                         "may not specify a duration less than 10 minutes");
      }
      require(token->path, here + ".serviceAccountToken.path", findings);
      findings.invalid(here + ".serviceAccountToken.path", token->path, syntax::file_below(token->path));
      claim(token->path);
    }
  }
}

void validate_host_path(const HostPathVolumeSource& source, const std::string& path, Findings& findings) {
  require(source.path, path + ".path", findings);
  const std::string_view relative = std::string_view(source.path).substr(source.path.starts_with('/') ? 1 : 0);
  for (const std::string& complaint : syntax::path_below(relative)) {
    if (complaint == "must not contain '..'") findings.invalid(path + ".path", source.path, complaint);
  }
  validate_choice(source.type,
                  {"BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"},
                  path + ".type", findings);
}

void validate_empty_dir(const EmptyDirVolumeSource& source, const std::string& path, Findings& findings) {
  if (source.size_limit && source.size_limit->text.starts_with('-') && source.size_limit->milli_value() < 0) {
    findings.forbidden(path + ".sizeLimit", "SizeLimit field must be a valid resource quantity");
  }
  if (!source.medium.starts_with("HugePages")) validate_choice(source.medium, {"Memory"}, path + ".medium", findings);
  validate_file_mode(source.mode, path + ".mode", findings);
}

// Those that this node only reads: what Kubernetes cannot do without.
void validate_network_source(const VolumeSource& source, const std::string& path, Findings& findings) {
  if (const auto& nfs = source.nfs) {
    require(nfs->server, path + ".nfs.server", findings);
    require(nfs->path, path + ".nfs.path", findings);
    if (!nfs->path.empty() && !nfs->path.starts_with('/')) {
      findings.invalid(path + ".nfs.path", nfs->path, "must be an absolute path");
    }
  }
  if (const auto& claim = source.persistent_volume_claim) {
    require(claim->claim_name, path + ".persistentVolumeClaim.claimName", findings);
  }
  if (const auto& iscsi = source.iscsi) {
    require(iscsi->target_portal, path + ".iscsi.targetPortal", findings);
    require(iscsi->iqn, path + ".iscsi.iqn", findings);
  }
  if (source.git_repo) require(source.git_repo->repository, path + ".gitRepo.repository", findings);
  if (source.csi) require(source.csi->driver, path + ".csi.driver", findings);
  if (source.flex_volume) require(source.flex_volume->driver, path + ".flexVolume.driver", findings);
  if (source.image) require(source.image->reference, path + ".image.reference", findings);
  if (source.ephemeral && !source.ephemeral->volume_claim_template) {
    findings.required(path + ".ephemeral.volumeClaimTemplate");
  }
}

void validate_source(const VolumeSource& source, const std::string& path, Findings& findings) {
  const auto sources = set_sources(type_of<VolumeSource>(), &source);
  if (sources.empty()) findings.required(path, "must specify a volume type");
  if (sources.size() > 1) {
    findings.forbidden(fmt::format("{}.{}", path, sources[1]), "may not specify more than 1 volume type");
  }
  if (source.host_path) validate_host_path(*source.host_path, path + ".hostPath", findings);
  if (source.empty_dir) validate_empty_dir(*source.empty_dir, path + ".emptyDir", findings);
  if (const auto& secret = source.secret) {
    require(secret->secret_name, path + ".secret.secretName", findings);
    validate_file_mode(secret->default_mode, path + ".secret.defaultMode", findings);
    validate_items(secret->items, path + ".secret.items", findings);
  }
  if (const auto& config_map = source.config_map) {
    require(config_map->ref.name, path + ".configMap.name", findings);
    validate_file_mode(config_map->default_mode, path + ".configMap.defaultMode", findings);
    validate_items(config_map->items, path + ".configMap.items", findings);
  }
  if (const auto& downward = source.downward_api) {
    validate_file_mode(downward->default_mode, path + ".downwardAPI.defaultMode", findings);
    validate_downward_files(downward->items, path + ".downwardAPI.items", findings);
  }
  if (source.projected) validate_projected(*source.projected, path + ".projected", findings);
  validate_network_source(source, path, findings);
}

}  // namespace

void validate_field_ref(const ObjectFieldSelector& reference, std::initializer_list<std::string_view> supported,
                        const std::string& path, Findings& findings) {
  if (reference.api_version.empty()) findings.required(path + ".apiVersion");
  const std::string here = path + ".fieldPath";
  const std::string_view field = reference.field_path;
  if (field.empty()) return findings.required(here);
  // metadata.labels['key']
  const size_t bracket = field.find("['");
  if (bracket != std::string_view::npos && field.ends_with("']")) {
    const std::string_view map = field.substr(0, bracket);
    const std::string_view key = field.substr(bracket + 2, field.size() - bracket - 4);
    if (map != "metadata.labels" && map != "metadata.annotations") {
      findings.invalid(here, field, "does not support subscript");
    } else {
      findings.invalid(here, key, syntax::qualified_name(key));
    }
    return;
  }
  if (std::find(supported.begin(), supported.end(), field) == supported.end()) {
    findings.unsupported(here, field, supported);
  }
}

void validate_volumes(const std::vector<Volume>& volumes, Findings& findings) {
  std::set<std::string> names;
  for (size_t i = 0; i < volumes.size(); ++i) {
    const Volume& volume = volumes[i];
    const std::string path = item("spec.volumes", i);
    if (volume.name.empty()) {
      findings.required(path + ".name");
    } else {
      findings.invalid(path + ".name", volume.name, syntax::dns1123_label(volume.name));
      if (!names.insert(volume.name).second) findings.duplicate(path + ".name", volume.name);
    }
    validate_source(volume.source, path, findings);
  }
}

}  // namespace keelson::api
