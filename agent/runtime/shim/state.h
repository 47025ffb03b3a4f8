#pragma once
// What the shim knows: the agent it talks to, the sandbox's init, the containers and the
// commands in them. One of it, made by main(), handed to everything that reads or changes
// it; all on the one thread.

#include <sys/types.h>

#include <cstdint>

#include "agent/runtime/shim/journal.h"
#include "agent/runtime/shim/log.h"
#include "agent/runtime/shim/protocol.h"

namespace keelson::shim {

// What a descriptor of the loop's is: in the upper half of its epoll data, above the index
// of its container or command.
enum class Watch : uint32_t { listen, agent, children, init, control, output, error, exec };

struct Container {
  bool created = false;  // "created" was heard, "start" was said
  bool failed = false;   // it said why; the exit is still to come
  char name[kMaxName + 1];
  uint32_t attempt = 0;
  uint32_t number = 0;      // of the request to answer; 0: answered
  uint32_t connection = 0;  // by which it was asked for
  pid_t pid = 0;
  uint64_t start_time = 0;
  int64_t started_at_us = 0;  // 0 until execve succeeded
  int pidfd = -1, control = -1, spec = -1, cgroup = -1, events = -1, termination = -1, input = -1;
  uint64_t oom_kills = 0;  // before it started
  uint32_t layer_count = 0;
  size_t reason_size = 0;
  char reason[1100];
  LogFile log;
  LogStream output, error;
  int layers[kMaxLayers];  // last: what is not touched is not ours
};

struct Exec {
  bool started = false, failed = false;
  uint32_t number = 0, connection = 0;
  pid_t pid = 0;
  int control = -1, terminal = -1;
  size_t reason_size = 0;
  char reason[1100];
};

struct Shim {
  int epoll = -1, agent = -1, signals = -1;
  int own_pid_namespace = -1;
  char boot_id[40] = "";
  Journal journal;
  uint32_t sandbox_flags = 0;
  pid_t init = 0;
  int init_pidfd = -1, init_control = -1, network = -1, netlink = -1;
  bool ready = false;       // the sandbox stands
  bool closing = false;     // end when there is no child left
  uint32_t connection = 0;  // counts the agents that came
  uint32_t sandbox_number = 0;
  // Allocated as long as there is a process: memory that is not touched is not ours.
  Container* containers[kMaxContainers] = {};
  Exec* execs[kMaxExecs] = {};
};

int64_t now_us();
void close_fd(int& fd);
void watch(Shim& shim, int fd, Watch kind, uint32_t index = 0);

}  // namespace keelson::shim
