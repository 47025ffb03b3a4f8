#pragma once
// Control groups: one tree of ours, two kinds of hosts. On a unified host it is a
// directory of the v2 hierarchy. On a hybrid one (v1 controllers mounted beside v2)
// the limits live in v1, in directories of the same relative path, and v2 is there
// for what only it can do: CLONE_INTO_CGROUP, cgroup.kill, populated events, BPF.
// Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/; Kubernetes'
// conversions of cpu (KEP-2254).
//
// Blocking system calls, but of the kernel's memory only. Safe on every thread: a
// CgroupTree is immutable.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"

namespace keelson::host {

// Where the hierarchies are mounted.
struct CgroupMounts {
  struct V1 {
    std::string controller;  // "memory"; hierarchies with several are listed once for each
    Path root;
  };
  Path unified;
  std::vector<V1> v1;

  // From the text of /proc/self/mountinfo. Of v1 only cpu, cpuacct, memory, pids and
  // devices are taken. unsupported when there is no v2 hierarchy.
  static Result<CgroupMounts> parse(std::string_view mountinfo);
};

// What a cgroup is limited to; 0 means no limit (shares: the default).
struct CgroupLimits {
  uint64_t cpu_shares = 0;   // as in v1, 2..262144
  int64_t cpu_quota_us = 0;  // per 100 ms
  int64_t memory_bytes = 0;
  int64_t pids = 0;
  bool memory_oom_group = false;  // the OOM killer takes all of it (v2)
  bool operator==(const CgroupLimits&) const = default;
};

// Kubernetes' conversions: milli-cores to shares (2 at least) and to a quota per
// 100 ms (1 ms at least), shares to a v2 weight (1..10000).
uint64_t cpu_shares_of_milli(int64_t milli);
int64_t cpu_quota_of_milli(int64_t milli);
uint64_t cpu_weight_of_shares(uint64_t shares);

class CgroupTree {
 public:
  // `directory` is the top of our tree, in the v2 hierarchy; it is made, with its
  // counterparts in v1, and controllers are enabled down to it. After a failure what
  // was made so far stays, empty.
  static Result<CgroupTree> create(CgroupMounts mounts, Path directory);

  bool hybrid() const { return !v1_.empty(); }
  const Path& directory() const { return directory_; }
  // v1 controllers, each once, in the order of join_files(); empty on a unified host.
  const std::vector<std::string>& v1_controllers() const { return v1_names_; }
  bool has_v1(std::string_view controller) const;

  // Paths below are relative to directory(): "burstable/pod123/web".

  // Makes it in all hierarchies. `inner`: it is going to hold cgroups with limits of
  // their own (v2: controllers are enabled for its children).
  Status make(const Path& path, bool inner) const;
  // Makes it in v2 alone: a place to be killed as one, under its parent's limits.
  Status make_leaf(const Path& path) const;
  Status limit(const Path& path, const CgroupLimits& limits) const;
  // The v2 directory, to be born in (O_PATH is not enough for openat of its files).
  Result<Fd> open(const Path& path) const;
  // Of each distinct v1 hierarchy the file to which a process of one thread writes "0" to
  // join. It is `tasks`, not cgroup.procs: moving the thread that writes needs no
  // lock on all forks of the machine, whose first taker waits 8 ms for RCU (0.03 ms instead).
  Result<std::vector<Fd>> join_files(const Path& path) const;
  // The file with the line "oom_kill N": memory.events or v1's memory.oom_control.
  // not_found without a memory controller.
  Result<Fd> open_oom_events(const Path& path) const;
  // Of v1's device controller: "deny", "a" and "allow", "c 1:3 rwm".
  Status write_v1(const Path& path, std::string_view controller, std::string_view file, std::string_view value) const;

  // SIGKILL to everything in it and below. A missing cgroup is success.
  Status kill(const Path& path) const;
  // Waits until nothing is left alive in it; unavailable past the deadline. Blocking:
  // for a worker.
  Status wait_empty(const Path& path, int timeout_ms) const;
  // Removes it and all below from every hierarchy; processes that are left in v1 only
  // are killed. A missing cgroup is success. On a failure some of it may be gone.
  Status remove(const Path& path) const;
  // The whole tree, and the v1 directories that only led to it.
  Status remove_all() const;
  // Names of the child cgroups (v2).
  Result<std::vector<std::string>> children(const Path& path) const;

 private:
  struct V1 {
    std::string controller;
    Path directory;
    Path root;
    bool first = false;  // of its hierarchy
  };
  Path directory_;
  Path unified_root_;
  bool v2_controllers_ = false;
  std::vector<V1> v1_;
  std::vector<std::string> v1_names_;
};

}  // namespace keelson::host
