#pragma once
// What an image consists of: indexes, manifests and configs of OCI (image-spec v1)
// and of Docker (manifest v2, schema 2), read with suspicion. Pure; any thread.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/images/digest.h"
#include "host/error.h"

namespace keelson::images {

inline constexpr size_t kMaxManifestBytes = 4u << 20;
inline constexpr size_t kMaxLayers = 128;
inline constexpr int kMaxIndexDepth = 3;

struct Platform {
  std::string os, architecture, variant;
  bool operator==(const Platform&) const = default;
};
// linux and this machine's architecture, in Go's words ("amd64", "arm64").
Platform host_platform();
std::string to_string(const Platform& platform);  // "linux/arm64/v8"

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  Platform platform;  // empty strings when not given
  std::map<std::string, std::string> annotations;
};

struct Index {
  std::vector<Descriptor> manifests;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // lowest first
};

struct ImageConfig {
  Platform platform;
  std::vector<Digest> diff_ids;  // lowest first
  std::vector<std::string> entrypoint, command, environment;
  std::string working_directory, user, stop_signal;
};

// An index or a manifest, told apart by what it holds; one that claims to be both is
// refused (CVE-2021-41190), as are schema 1 and artifacts that are no images.
host::Result<std::variant<Index, Manifest>> parse_manifest(std::string_view text);
host::Result<ImageConfig> parse_config(std::string_view text);

// The manifest (or nested index) for a platform. The error lists what there is.
host::Result<Descriptor> choose(const Index& index, const Platform& wanted);

// That the config belongs to the manifest and runs on the platform.
host::Status check_config(const ImageConfig& config, size_t layers, const Platform& wanted);

}  // namespace keelson::images
