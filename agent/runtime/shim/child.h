#pragma once
// What a child of the shim does between clone and exec. Each function either
// succeeds or ends the process after telling the shim why; the text is what the
// user reads in the pod's status.

#include <cstdint>

#include "agent/runtime/shim/protocol.h"

namespace keelson::shim {

// Kinds of notes between the shim and a child that is being set up.
enum Note : char { kCreated = 'C', kFailed = 'E', kTerminal = 'T', kReady = 'R', kStart = 'S', kNamespaces = 'N' };

[[noreturn]] void child_fail(int control, int error_number, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

// First thing of every child: default signals, death with the shim, and itself
// into its v1 cgroups (host/cgroup.h, join_files).
void child_begin(int control, const int* v1, uint32_t v1_count);

// The init of a sandbox: sets up what is in the request, then reaps for ever.
[[noreturn]] void run_init(const SandboxRequest& request, int control, const int* v1, const int* volumes);

struct LaunchFds {
  int control = -1;
  int init = -1;  // pidfd of the sandbox's init
  int root = -1;
  int input = -1, output = -1, error = -1;  // -1 with a terminal; input -1: /dev/null
  const int* v1 = nullptr;
  uint32_t v1_count = 0;
  const int* mounts = nullptr;
};
// The first process of a container (POD_RUNTIME.md, Launch, 4 to 8).
[[noreturn]] void run_container(const LaunchSpec& spec, const LaunchFds& fds);

struct ExecFds {
  int control = -1;
  int target = -1;  // pidfd of the container's first process
  int input = -1, output = -1, error = -1;
  const int* v1 = nullptr;
  uint32_t v1_count = 0;
};
// One more process in a running container.
[[noreturn]] void run_exec(const LaunchSpec& spec, const char* argv, size_t argv_size, bool tty, const ExecFds& fds);

// The container's root, complete, and this process in it (root.cpp). Returns
// descriptors of the container's own /dev and of its root.
struct Root {
  int dev = -1;
  int root = -1;
};
Root build_root(const LaunchSpec& spec, const LaunchFds& fds);

// Step 7 and 8: everything a process gives up, and execve.
struct BecomeOptions {
  int control = -1;
  int stdio[3] = {-1, -1, -1};
  bool terminal = false;  // stdio[0] becomes the controlling terminal
  char* const* argv = nullptr;
  char* const* environment = nullptr;
};
[[noreturn]] void become(const LaunchSpec& spec, BecomeOptions options);

// Pointers to the strings of a sequence, and a null pointer behind them; from the
// heap, never freed (the process is about to exec).
char** string_vector(int control, const Strings& strings, const char* extra = nullptr);

// A terminal of the devpts that `ptmx` belongs to: the master's and the slave's end.
void open_terminal(int control, int ptmx_directory, const char* ptmx, int* master, int* slave);

}  // namespace keelson::shim
