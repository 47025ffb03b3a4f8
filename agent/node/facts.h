#pragma once
// What the machine says of itself: nodeInfo and capacity, and what changes from one look
// to the next. Blocking reads of small files of /proc, /sys and /etc below `root`, which
// is "/" but for tests. What cannot be read is left empty: a Node says nothing untrue.

#include <cstdint>
#include <map>
#include <string>

#include "api/node.h"
#include "host/error.h"
#include "host/file.h"

namespace keelson::node {

struct Facts {
  api::NodeSystemInfo info;  // without the versions that are ours
  int64_t cpus = 0;
  int64_t memory_bytes = 0;
  int64_t disk_bytes = 0;                    // of the file system that holds the Pods
  std::map<std::string, int64_t> hugepages;  // "hugepages-2Mi" → bytes
};

// `data` is where images and volumes live.
Facts look_at_machine(const host::Path& data, const host::Path& root = "/");

// How it stands at a moment; -1 is not known.
struct Pressure {
  int64_t memory_available = -1, memory_total = -1;
  int64_t disk_available = -1, disk_total = -1;
  int64_t inodes_free = -1, inodes_total = -1;
  int64_t pids = -1, pids_max = -1;
};
Pressure look_at_pressure(const host::Path& data, const host::Path& root = "/");

}  // namespace keelson::node
