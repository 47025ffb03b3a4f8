#pragma once
// Processes known by pidfd, or by pid and start time; never by a bare pid, which
// the kernel may have given to somebody else meanwhile.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"

namespace keelson::host {

// What survives in a file: a pid means something only with its start time (clock
// ticks since boot, proc(5) field 22), and both only within one boot.
struct ProcessIdentity {
  pid_t pid = 0;
  uint64_t start_time = 0;
  bool operator==(const ProcessIdentity&) const = default;
};

// The identity of a living process; not_found when there is none.
Result<ProcessIdentity> identify(pid_t pid);
// A pidfd, if that very process still lives; not_found otherwise.
Result<Fd> open_process(const ProcessIdentity& identity);
// /proc/sys/kernel/random/boot_id, without the newline.
Result<std::string> boot_id();

struct SpawnOptions {
  std::vector<std::string> argv;         // argv[0] is a path
  std::vector<std::string> environment;  // NAME=value; complete, nothing is inherited
  std::vector<std::pair<int, int>> fds;  // {ours, number in the child}; all others are closed
  std::optional<int> cgroup;             // a v2 cgroup directory to be born in (CLONE_INTO_CGROUP)
  std::string working_directory;         // ours when empty
  // Sent to it when the thread that called spawn() ends (PR_SET_PDEATHSIG); 0: it outlives us.
  int parent_death_signal = 0;
  bool new_session = true;
};

struct Child {
  ProcessIdentity identity;
  Fd pidfd;  // readable when it has ended; reap with reap()
};

// clone3 + exec in one step; an exec that failed is reported here. Signals are at
// their defaults and unblocked in the child; stdio not given in `fds` is /dev/null.
Result<Child> spawn(const SpawnOptions& options);

// The same in two steps, for who has something to do while the kernel executes the
// program. Between them the child is on its way to exec; destroying a Spawning leaves it so.
struct Spawning {
  std::string program;
  pid_t pid = 0;
  Fd pidfd;
  Fd report;  // an errno when exec has failed, its end otherwise
};
Result<Spawning> begin_spawn(const SpawnOptions& options);
Result<Child> end_spawn(Spawning spawning);

Status send_signal(const Fd& pidfd, int signal);
// The wait status of a child that has ended (waitid P_PIDFD); unavailable while it
// still runs.
Result<int> reap(const Fd& pidfd);

struct Output {
  int wait_status = 0;
  std::string out;
  std::string err;
};
// Runs to the end, with a deadline in milliseconds and 1 MiB of output at most each;
// past either it is killed and that is an error. Blocking: for workers and tools.
Result<Output> run(const SpawnOptions& options, std::string_view input, int timeout_ms);

}  // namespace keelson::host
