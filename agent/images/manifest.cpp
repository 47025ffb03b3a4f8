#include "agent/images/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>

#include "agent/images/json.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;

constexpr size_t kMaxIndexEntries = 1000;
constexpr uint64_t kMaxBlobBytes = 1ull << 40;

host::Result<Descriptor> parse_descriptor(const rapidjson::Value& value, std::string_view what) {
  if (!value.IsObject()) return fail(Error::Code::invalid, fmt::format("{} is no object", what));
  Descriptor descriptor;
  descriptor.media_type = string_member(value, "mediaType");
  auto digest = parse_digest(string_member(value, "digest"));
  if (!digest) return std::unexpected(std::move(digest.error()).within(what));
  descriptor.digest = *digest;
  descriptor.size = number_member(value, "size");
  if (descriptor.size == 0 || descriptor.size > kMaxBlobBytes) {
    return fail(Error::Code::invalid, fmt::format("{} has no sensible size", what));
  }
  if (const auto* platform = object_member(value, "platform")) {
    descriptor.platform = {string_member(*platform, "os"), string_member(*platform, "architecture"),
                           string_member(*platform, "variant")};
  }
  if (const auto* annotations = object_member(value, "annotations")) {
    for (const auto& member : annotations->GetObject()) {
      if (member.value.IsString()) descriptor.annotations[member.name.GetString()] = member.value.GetString();
    }
  }
  return descriptor;
}

bool runs_on(const Platform& offered, const Platform& wanted) {
  if (offered.os != wanted.os || offered.architecture != wanted.architecture) return false;
  // amd64 v2… and arm v7… need processors of their own kind; the plain ones run everywhere.
  if (wanted.architecture == "amd64") return offered.variant.empty() || offered.variant == "v1";
  if (wanted.architecture == "arm64") return offered.variant.empty() || offered.variant == "v8";
  return true;
}

}  // namespace

Platform host_platform() {
  utsname names{};
  uname(&names);
  std::string machine = names.machine;
  static const std::map<std::string_view, std::string_view> kGoNames = {
      {"x86_64", "amd64"}, {"aarch64", "arm64"}, {"i686", "386"}, {"armv7l", "arm"}};
  auto known = kGoNames.find(machine);
  return {"linux", known == kGoNames.end() ? machine : std::string(known->second), ""};
}

std::string to_string(const Platform& platform) {
  std::string text = platform.os + "/" + platform.architecture;
  return platform.variant.empty() ? text : text + "/" + platform.variant;
}

host::Result<std::variant<Index, Manifest>> parse_manifest(std::string_view text) {
  auto document = parse_json_object(text, "the manifest", kMaxManifestBytes);
  if (!document) return std::unexpected(std::move(document.error()));
  const auto* manifests = array_member(*document, "manifests");
  const auto* layers = array_member(*document, "layers");
  if (number_member(*document, "schemaVersion") == 1 || document->HasMember("fsLayers")) {
    return fail(Error::Code::invalid, "the manifest is of Docker's schema 1, which nobody should use any more");
  }
  if (manifests && (layers || document->HasMember("config"))) {
    return fail(Error::Code::invalid, "the manifest claims to be an index as well");
  }
  std::string media_type = string_member(*document, "mediaType");
  bool index_type = media_type.ends_with("image.index.v1+json") || media_type.ends_with("manifest.list.v2+json");
  bool manifest_type =
      media_type.ends_with("image.manifest.v1+json") || media_type.ends_with("distribution.manifest.v2+json");
  if ((manifests && manifest_type) || (layers && index_type)) {
    return fail(Error::Code::invalid, fmt::format("the manifest is not the {} that it says", media_type));
  }
  if (manifests) {
    if (manifests->Size() > kMaxIndexEntries) {
      return fail(Error::Code::invalid, fmt::format("the index has more than {} entries", kMaxIndexEntries));
    }
    Index index;
    for (const auto& value : manifests->GetArray()) {
      auto descriptor = parse_descriptor(value, fmt::format("manifests[{}]", index.manifests.size()));
      if (!descriptor) return std::unexpected(std::move(descriptor.error()));
      index.manifests.push_back(std::move(*descriptor));
    }
    return index;
  }
  const auto* config = object_member(*document, "config");
  if (!config || !layers) return fail(Error::Code::invalid, "the manifest has no config and layers: it is no image");
  if (layers->Size() > kMaxLayers) {
    return fail(Error::Code::invalid,
                fmt::format("the image has {} layers, {} are allowed", layers->Size(), kMaxLayers));
  }
  Manifest manifest;
  auto descriptor = parse_descriptor(*config, "config");
  if (!descriptor) return std::unexpected(std::move(descriptor.error()));
  manifest.config = std::move(*descriptor);
  if (manifest.config.size > kMaxManifestBytes) {
    return fail(Error::Code::invalid,
                fmt::format("the config has {} bytes, {} are allowed", manifest.config.size, kMaxManifestBytes));
  }
  const std::string& kind = manifest.config.media_type;
  if (!kind.empty() && kind != "application/vnd.oci.image.config.v1+json" &&
      kind != "application/vnd.docker.container.image.v1+json" && kind != "application/octet-stream") {
    return fail(Error::Code::invalid, fmt::format("the manifest is of an artifact ({}), not of an image", kind));
  }
  for (const auto& value : layers->GetArray()) {
    auto layer = parse_descriptor(value, fmt::format("layers[{}]", manifest.layers.size()));
    if (!layer) return std::unexpected(std::move(layer.error()));
    manifest.layers.push_back(std::move(*layer));
  }
  return manifest;
}

host::Result<ImageConfig> parse_config(std::string_view text) {
  auto document = parse_json_object(text, "the image's config", kMaxManifestBytes);
  if (!document) return std::unexpected(std::move(document.error()));
  ImageConfig config;
  config.platform = {string_member(*document, "os"), string_member(*document, "architecture"),
                     string_member(*document, "variant")};
  const auto* rootfs = object_member(*document, "rootfs");
  const auto* diff_ids = rootfs ? array_member(*rootfs, "diff_ids") : nullptr;
  if (!diff_ids) return fail(Error::Code::invalid, "the image's config has no rootfs.diff_ids");
  if (diff_ids->Size() > kMaxLayers) {
    return fail(Error::Code::invalid,
                fmt::format("the image has {} layers, {} are allowed", diff_ids->Size(), kMaxLayers));
  }
  for (const auto& value : diff_ids->GetArray()) {
    auto digest = parse_digest(value.IsString() ? value.GetString() : "");
    if (!digest) return std::unexpected(std::move(digest.error()).within("rootfs.diff_ids"));
    config.diff_ids.push_back(*digest);
  }
  if (const auto* run = object_member(*document, "config")) {
    config.entrypoint = strings_member(*run, "Entrypoint");
    config.command = strings_member(*run, "Cmd");
    config.environment = strings_member(*run, "Env");
    config.working_directory = string_member(*run, "WorkingDir");
    config.user = string_member(*run, "User");
    config.stop_signal = string_member(*run, "StopSignal");
  }
  return config;
}

host::Result<Descriptor> choose(const Index& index, const Platform& wanted) {
  std::vector<std::string> offered;
  for (const auto& descriptor : index.manifests) {
    // Without a platform it is the only one there is (a plain OCI layout).
    if (descriptor.platform.os.empty() && index.manifests.size() == 1) return descriptor;
    if (runs_on(descriptor.platform, wanted)) return descriptor;
    if (descriptor.platform.os != "unknown") offered.push_back(to_string(descriptor.platform));
  }
  return fail(Error::Code::invalid,
              fmt::format("the image is not for {}: it has {}", to_string(wanted),
                          offered.empty() ? "nothing" : fmt::format("{}", fmt::join(offered, ", "))));
}

host::Status check_config(const ImageConfig& config, size_t layers, const Platform& wanted) {
  if (config.diff_ids.size() != layers) {
    return fail(Error::Code::invalid,
                fmt::format("the manifest has {} layers, the config {} diff_ids", layers, config.diff_ids.size()));
  }
  if (!config.platform.architecture.empty() && !config.platform.os.empty() && !runs_on(config.platform, wanted)) {
    return fail(Error::Code::invalid,
                fmt::format("the image is for {}, this machine is {}", to_string(config.platform), to_string(wanted)));
  }
  return {};
}

}  // namespace keelson::images
