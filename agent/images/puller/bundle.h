#pragma once
// Files that hold images: an OCI layout (directory or archive) or what `docker save`
// writes, told apart by content. An archive (plain, gzip, zstd) is first taken apart
// into numbered files, so that no name in it ever becomes a path. Runs in the puller.

#include <map>
#include <string>
#include <vector>

#include "agent/images/puller/plan.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

class Bundle : public ContentSource {
 public:
  // `input` is a directory or a file, read from its start; `scratch` an empty directory
  // for an archive's files, charged to `budget`.
  static host::Result<std::unique_ptr<Bundle>> open(host::Fd input, host::Fd scratch, Budget& budget,
                                                    const UnpackLimits& limits);

  // A plan per image, which borrows this. `given_name` (normalised, may be empty) names
  // the only image; otherwise the annotations io.containerd.image.name and
  // org.opencontainers.image.ref.name, or RepoTags, do, and an image without is an error.
  host::Result<std::vector<ImagePlan>> plan(const std::string& given_name, const Platform& platform);

  host::Result<std::string> document(const Descriptor& descriptor, bool manifest) override;
  host::Result<std::unique_ptr<ByteSource>> layer(const Descriptor& descriptor) override;

 private:
  host::Status take_apart(host::Fd archive, Budget& budget, const UnpackLimits& limits);
  host::Result<host::Fd> file(const std::string& name) const;
  host::Result<std::string> text(const std::string& name) const;
  host::Result<std::vector<ImagePlan>> plan_oci(const std::string& given_name, const Platform& platform);
  host::Result<std::vector<ImagePlan>> plan_docker(const std::string& given_name, const Platform& platform);

  host::Fd directory_;  // the layout, or the scratch directory
  bool archive_ = false;
  std::map<std::string, std::string> files_;  // archive: name → file in scratch
};

}  // namespace keelson::images
