#pragma once
// Changes in one directory, as they happen (inotify(7)). A directory that does not
// exist yet, or has a file in its place, is watched for through its nearest existing
// ancestor.

#include <functional>
#include <memory>

#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::host {

// Calls back on the loop's thread when an entry of the directory was written and
// closed, created, moved or deleted, or when the directory itself came or went.
// It names no entry: the reader looks at the whole directory again. At once when a file
// is complete (closed, moved in) and nothing has left; else, and within 5 ms of the last
// call, after 5 ms. Names with one leading dot are temporary files, and nobody's business. An overflow of the kernel's
// queue is a call too. Destroying it ends the watch.
class DirectoryWatch {
 public:
  static Result<std::unique_ptr<DirectoryWatch>> create(Loop& loop, const Path& directory,
                                                        std::function<void()> changed);
  ~DirectoryWatch();

 private:
  struct Impl;
  explicit DirectoryWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::host
