#pragma once
// Manifests in a directory (not below it) or in one file: looked at every
// --file-check-frequency, and at once when inotify tells of a change.
//
// In a directory *.yaml, *.yml and *.json count; other names, hidden files and what
// editors leave behind do not. Symbolic links are followed, so that a directory in the
// style of a mounted ConfigMap (web.yaml -> ..data/web.yaml) works. A path that does not
// exist is an empty set, as in kubelet; one that cannot be read is a failure.
//
// A file that somebody has open for writing is not read half-written: it keeps what it
// held until it is closed, or for 2 s at most.

#include <memory>

#include "agent/sources/manifest_source.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::sources {

// Whether a file of that name in a manifest directory is a manifest.
bool is_manifest_name(std::string_view name);

// Loop's thread; the file system is read on a worker.
class FileSource : public ManifestSource {
 public:
  FileSource(host::Loop& loop, host::Path path, host::Duration period, Limits limits);
  ~FileSource() override;
  std::string_view name() const override { return "file"; }
  void start(SourceListener listener) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the worker's answer, which may come after we are gone
};

}  // namespace keelson::sources
