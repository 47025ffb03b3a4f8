#pragma once
// Names of images, as users write them and as everybody else here compares them.
//
//   nginx                     docker.io/library/nginx:latest
//   quay.io/x/y@sha256:…      the same
//   localhost:5000/a:1        the same
//
// The grammar is that of github.com/distribution/reference, which Kubernetes and
// Docker use. Pure; any thread.

#include <optional>
#include <string>
#include <string_view>

#include "agent/images/digest.h"
#include "host/error.h"

namespace keelson::images {

struct Reference {
  std::string registry;          // "docker.io", "localhost:5000", "[::1]:5000"
  std::string repository;        // "library/nginx"
  std::string tag;               // empty when only the digest was given
  std::optional<Digest> digest;  // wins over the tag
  bool operator==(const Reference&) const = default;

  std::string name() const;  // "docker.io/library/nginx"
  // "docker.io/library/nginx:1.25"; with a digest "docker.io/library/nginx@sha256:…".
  std::string text() const;
  // What a registry's /manifests/ path ends in: the digest, else the tag.
  std::string version() const;
};

// The error (invalid) reads as Kubernetes' InvalidImageName does:
// couldn't parse image name "Foo": invalid reference format: …
host::Result<Reference> parse_reference(std::string_view text);

// The host that speaks for a registry: docker.io is registry-1.docker.io.
std::string traffic_host(std::string_view registry);

// The host part of "host:port" and "[v6]:port", without brackets.
std::string host_without_port(std::string_view registry);

// 127.0.0.0/8, ::1 and localhost: where plain HTTP needs no setting.
bool is_loopback(std::string_view registry);

}  // namespace keelson::images
