#pragma once
// Running the puller (puller/main.cpp): a child process in a cage that downloads, or
// reads an archive, and unpacks into a staging directory. Here what it made is moved into
// the store.

#include <string>
#include <vector>

#include "agent/images/image_directory.h"
#include "agent/images/order.h"
#include "api/cri.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

struct PullerSettings {
  std::string program;  // empty: keelson-puller beside this program
};

// Runs a puller to its end and commits what it brings. Blocking, for a worker thread
// (which must live as long: the child dies with the thread) or a tool. `input` is what
// to import. `cancel`, when given, is a descriptor that becomes readable to end it
// early (unavailable). Layers that were complete stay in the store after a failure.
host::Result<std::vector<api::ImageInfo>> run_pull(const ImageDirectory& images, const PullRequest& request,
                                                   const host::Fd* input, const PullerSettings& settings,
                                                   const host::Fd* cancel);

// keelsonctl's two verbs, with or without an agent running. `name` may be empty. The
// archive (OCI or docker, also compressed) may be a pipe: "-" is stdin.
host::Result<std::vector<api::ImageInfo>> import_images(const ImageDirectory& images, const host::Path& source,
                                                        const std::string& name, const PullerSettings& settings = {});
host::Result<api::ImageInfo> pull_image(const ImageDirectory& images, PullRequest request,
                                        const PullerSettings& settings = {});

}  // namespace keelson::images
