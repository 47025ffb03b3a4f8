#pragma once
// Who holds which addresses, as files: <directory>/<pod uid>.json, each
// {"bootId":…,"uid":…,"ips":[…],"allocatedAt":<microseconds>}. Replaced by rename,
// so that a restart of the agent finds them whole; void after a reboot, which took the
// pods' networks away. Blocking.

#include <cstdint>
#include <string>
#include <vector>

#include "api/ip.h"
#include "host/error.h"
#include "host/file.h"

namespace keelson::network {

struct Allocation {
  std::string uid;
  std::vector<api::IpAddress> ips;  // the primary family first
  int64_t allocated_at_us = 0;      // since the epoch; only orders them
};

// A uid becomes a file's name: letters, digits, '-', '_' and '.', not '.' first.
bool usable_uid(const std::string& uid);

class AllocationFiles {
 public:
  AllocationFiles(host::Path directory, std::string boot_id);

  // Those of this boot, oldest first. Files of another boot and files that cannot be
  // read are removed (the latter with a line in the log): nobody holds them any more.
  host::Result<std::vector<Allocation>> load() const;
  host::Status save(const Allocation& allocation) const;
  // A missing file is success.
  host::Status remove(const std::string& uid) const;

 private:
  host::Path path(const std::string& uid) const { return directory_ / (uid + ".json"); }
  host::Path directory_;
  std::string boot_id_;
};

}  // namespace keelson::network
