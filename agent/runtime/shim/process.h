#pragma once
// Processes and their cgroups as the kernel shows them; nothing here knows the shim's state.

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <cstdint>
#include <new>

#include "agent/runtime/shim/protocol.h"

namespace keelson::shim {

uint64_t process_start_time(pid_t pid);  // clock ticks since boot; 0: there is none
uint64_t read_oom_kills(int events);     // of a cgroup's memory.events
void kill_cgroup(int cgroup);
bool make_pipe(int& reader, int& writer);

// Maps a launch spec; null when it is not sound.
struct MappedSpec {
  void* data = MAP_FAILED;
  size_t size = 0;
  LaunchSpec spec;
  explicit MappedSpec(int fd);
  ~MappedSpec() { release(); }
  MappedSpec(const MappedSpec&) = delete;
  MappedSpec& operator=(const MappedSpec&) = delete;
  bool sound() const { return data != MAP_FAILED; }
  void release() {
    if (data != MAP_FAILED) munmap(data, size);
    data = MAP_FAILED;
  }
};

// Room for one more of them, with its defaults; null when there is none. What has no
// default is not touched: it takes no memory before it is used.
template <typename T>
T* allocate() {
  void* memory = malloc(sizeof(T));
  return memory != nullptr ? new (memory) T : nullptr;
}

}  // namespace keelson::shim
