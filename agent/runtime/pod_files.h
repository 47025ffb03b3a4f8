#pragma once
// Where a pod's state lives, and what of it survives which loss.
//
//   <run-dir>/pods/UID/spec.json    the sandbox's spec and its shim's identity    gone with a reboot
//   <run-dir>/pods/UID/shim.sock    where the shim listens
//   <root-dir>/pods/UID/spec.json   a copy, for after a reboot
//   <root-dir>/pods/UID/journal     starts and exits (shim/protocol.h)
//   <root-dir>/pods/UID/rootfs/CONTAINER/ATTEMPT/{upper,work}
//   <root-dir>/pods/UID/termination/CONTAINER.ATTEMPT
//
// Blocking; for workers.

#include <optional>
#include <string>
#include <vector>

#include "api/cri.h"
#include "host/error.h"
#include "host/file.h"
#include "host/process.h"

namespace keelson::runtime {

struct PodPaths {
  host::Path run;   // <run-dir>/pods/UID
  host::Path disk;  // <root-dir>/pods/UID

  host::Path run_record() const { return run / "spec.json"; }
  host::Path disk_record() const { return disk / "spec.json"; }
  host::Path journal() const { return disk / "journal"; }
  host::Path rootfs(const std::string& container, uint32_t attempt) const {
    return disk / "rootfs" / container / std::to_string(attempt);
  }
  host::Path termination(const std::string& container, uint32_t attempt) const {
    return disk / "termination" / (container + "." + std::to_string(attempt));
  }
};

// A shim is that process, in that boot.
struct ShimIdentity {
  host::ProcessIdentity process;
  std::string boot_id;
};

struct PodRecord {
  api::SandboxSpec spec;
  std::optional<ShimIdentity> shim;
};

std::string encode_record(const PodRecord& record);
host::Result<PodRecord> decode_record(std::string_view text);

// One container's part of a journal.
struct JournalState {
  api::ContainerId id;  // the latest attempt that was started
  host::ProcessIdentity process;
  std::string boot_id;
  int64_t started_at_us = 0;
  std::vector<api::ExitRecord> exits;  // oldest first, at most the last two
};

// The sound part of a journal, by container; `sound_size` is where it ends.
struct JournalContent {
  std::vector<JournalState> containers;
  size_t sound_size = 0;
};
JournalContent decode_journal(const std::string& pod_uid, std::string_view data);
// Reads it; with `cut` a torn end is cut off (only when no shim writes to it). A missing one is empty.
host::Result<JournalContent> read_journal_file(const PodPaths& paths, const std::string& pod_uid, bool cut);

}  // namespace keelson::runtime
