#pragma once
// The cage of the puller: what handles content from strangers can write to its own
// staging directory and nothing else.
//
// - the end of its parent is its end (PR_SET_PDEATHSIG)
// - no_new_privs; capabilities cut to CHOWN, DAC_OVERRIDE, FOWNER, FSETID and SETFCAP.
//   Not MKNOD: whiteouts (device 0/0) need none since Linux 5.8 and devices are
//   refused. Not SYS_ADMIN: trusted.overlay.opaque is set by whoever commits the layer.
// - Landlock: writable are the directories given, readable those and what TLS and name
//   resolution read; without `network` no TCP either (ABI 4); no signals to and no
//   abstract sockets of processes outside (ABI 6)
// - without Landlock, a mount namespace in which all but these directories is read-only
//   (what may be read is not limited then)
// - seccomp: files, memory, threads, TCP and UDP; nothing that executes, traces, mounts,
//   makes namespaces or configures the machine
// - rlimits: open files, file size, memory, no core

#include <sys/types.h>

#include <vector>

#include "host/error.h"

namespace keelson::images {

struct Cage {
  pid_t parent = 0;           // who must be alive
  std::vector<int> writable;  // directories
  std::vector<int> readable;  // directories, and the files in them
  std::vector<int> readable_files;
  bool network = false;
  bool landlock = true;     // false: as if the kernel had none
  uint64_t file_bytes = 0;  // the largest file
};

// For the calling process, which must still be single-threaded. After a failure it is
// partly caged; it must not go on.
host::Status enter(const Cage& cage);

}  // namespace keelson::images
