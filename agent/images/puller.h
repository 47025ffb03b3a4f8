#pragma once
// The puller: a child process in a cage (sandbox.h) that downloads, or reads an
// archive, and unpacks into a staging directory. Its parent only moves what it made.
//
// The program re-executes itself: main() of the agent and of keelsonctl begins with
//   if (images::is_puller(argc, argv)) return images::run_puller();
//
// Request: one line of JSON on stdin (credentials are never in argv). Answers: lines
// of JSON on stdout: {"layer":"sha256:…"}, to which the parent answers with a newline
// on stdin once the layer is in the store; {"image":{…}}; {"error":{…}}; {"done":true}.
// Descriptors: 3 staging, 4 layers, 5 locks, 6 partial downloads, 7 the file or
// directory to import.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/images/image_directory.h"
#include "api/cri.h"
#include "host/error.h"
#include "host/fd.h"

namespace keelson::images {

struct PullRequest {
  std::string reference;  // pull: normalised text; import: the name given, or empty
  bool import = false;
  std::vector<api::RegistryCredential> credentials;
  std::vector<std::string> insecure_registries;  // host[:port]: plain HTTP is allowed
  std::string ca_file;                           // PEM, beside the system's; empty: the system's alone
};

struct PullerSettings {
  std::string program = "/proc/self/exe";
};

// ---- in the child
bool is_puller(int argc, char** argv);
int run_puller();

// ---- in the parent
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
