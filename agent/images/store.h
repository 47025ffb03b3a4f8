#pragma once
// The agent's image store: api::ImageStore over an ImageDirectory.
//
// Looking is done in memory; the directory of references is watched, so an image that
// keelsonctl imports is seen within milliseconds. Each pull has a thread of its own
// that waits for its puller process (at most `parallel_pulls` at once, the rest queue)
// and posts the outcome to the loop. Disk usage is kept below a mark by removing what
// has not been used for longest.
//
// Everything here is called on the loop's thread, and calls back on it.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/images/image_directory.h"
#include "agent/images/puller.h"
#include "api/cri.h"
#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::images {

struct StoreSettings {
  std::vector<std::string> insecure_registries;  // host[:port] where plain HTTP is allowed
  std::string ca_file;                           // PEM, beside the system's
  unsigned parallel_pulls = 3;
  // Garbage collection: when the file system is fuller than `high` percent, images go
  // until it would be at `low`; one used within `minimum_age` stays.
  int gc_high_percent = 85, gc_low_percent = 80;
  std::chrono::seconds gc_period{300};
  std::chrono::seconds minimum_age{120};
  // What running and starting pods need: ids, names, or layer directories.
  std::function<InUse()> in_use = [] { return InUse(); };
  PullerSettings puller;
};

class Store : public api::ImageStore {
 public:
  // `directory` is <root-dir>/images. Reads what is there; blocking.
  static host::Result<std::unique_ptr<Store>> create(host::Loop& loop, const host::Path& directory,
                                                     StoreSettings settings);
  // Ends pulls under way; their callbacks do not run.
  ~Store() override;

  host::Result<api::ImageInfo> find(const std::string& reference) override;
  // One flight per reference and set of credentials; the others wait for its end. After
  // a failure the complete layers stay, and what was half downloaded is resumed by the
  // next try. Errors read like kubelet's: not found, unauthorized, x509, connection refused.
  void pull(const std::string& reference, std::vector<api::RegistryCredential> credentials,
            api::Callback<api::ImageInfo> done) override;
  void on_appeared(std::function<void()> listener) override;

  std::vector<api::ImageInfo> list() const;
  // By name or by id; denied while in use.
  void remove(const std::string& reference, api::Callback<Removed> done);
  // All that is not in use.
  void prune(api::Callback<Removed> done);

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::images
