#pragma once
// The kernel's BPF objects as owners (bpf(2), libbpf): maps by descriptor, their
// memory, links with pins, the flow ring. What libbpf prints while it fails becomes
// part of the error, so that the user reads the verifier's words and not "-22".
//
// Pins keep an object alive beyond its process; unpinning is explicit, never a
// destructor's. Not thread-safe; each object belongs to one thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"

namespace keelson::host {

// While it lives, libbpf's warnings of this thread are kept instead of printed.
class BpfMessages {
 public:
  BpfMessages();
  ~BpfMessages();
  BpfMessages(const BpfMessages&) = delete;
  BpfMessages& operator=(const BpfMessages&) = delete;
  // The error with what libbpf said about it (its last 4 KiB).
  std::unexpected<Error> fail(std::string_view what, int error_number) const;

 private:
  std::string text_;
  std::string* previous_;
};

// Makes sure that `directory` exists and lies on a bpf file system, mounting one on
// /sys/fs/bpf when the directory is beneath it and nothing is mounted there.
Status prepare_bpffs(const Path& directory);

struct BpfMapInfo {
  uint32_t id = 0, type = 0, key_size = 0, value_size = 0, max_entries = 0;
};

// The memory of a BPF_F_MMAPABLE array, shared with the programs. Elements are
// value_size rounded up to eight bytes apart. The kernel maps every page of a mapping at
// once, and all of them count as ours: so it is mapped window by window, as elements are
// asked for.
class BpfMemory {
 public:
  BpfMemory() = default;
  BpfMemory(BpfMemory&& other) noexcept;
  BpfMemory& operator=(BpfMemory&& other) noexcept;
  ~BpfMemory();
  // Throws std::bad_alloc when the kernel has no memory for the mapping.
  std::byte* element(uint32_t index) const;
  uint32_t size() const { return elements_; }

 private:
  friend class BpfMap;
  void map_window(size_t window) const;
  Fd map_;
  std::byte* data_ = nullptr;  // reserved address space
  size_t length_ = 0, stride_ = 0;
  mutable std::vector<bool> mapped_;  // by window
  uint32_t elements_ = 0;
};

class BpfMap {
 public:
  BpfMap() = default;
  // Takes a duplicate of a descriptor that somebody else (a skeleton) owns.
  static Result<BpfMap> duplicate(int fd);
  static Result<BpfMap> open_pinned(const Path& pin);

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  const BpfMapInfo& info() const { return info_; }

  Result<BpfMemory> map_memory() const;
  Status update(const void* key, const void* value) const;
  // A key that is not there is success.
  Status erase(const void* key) const;
  Status lookup(const void* key, void* value) const;  // not_found
  // Keys and values packed one after the other. After a failure some may be done.
  Status update_batch(const void* keys, const void* values, uint32_t count) const;
  Status erase_batch(const void* keys, uint32_t count) const;  // absent keys are success
  // Every entry of a hash map, some thousands by system call. What others add or remove
  // meanwhile may or may not be among them.
  Status for_each(const std::function<void(const void* key, const void* value)>& visit) const;

 private:
  Fd fd_;
  BpfMapInfo info_;
};

// Opens the map behind a pin only to read how it was made; not_found when there is none.
Result<BpfMapInfo> pinned_map_info(const Path& pin);

// A program attached to a cgroup, or to an interface by tcx. Closing the descriptor
// detaches it unless it is pinned.
class BpfLink {
 public:
  static Result<BpfLink> attach_cgroup(int program, int cgroup, uint32_t attach_type);
  static Result<BpfLink> attach_tcx_ingress(int program, int interface_index);  // kernel 6.6
  static Result<BpfLink> open_pinned(const Path& pin);                          // not_found

  Status update(int program) const;  // swaps the program; no event goes without one
  Status pin(const Path& pin) const;
  // Where a cgroup link is attached; 0 once that cgroup is gone.
  Result<uint64_t> cgroup_id() const;
  // Where a tcx link is attached; 0 once that interface is gone.
  Result<uint32_t> interface_index() const;
  Status detach() const;

 private:
  Fd fd_;
};

// The id by which links name the cgroup of this directory.
Result<uint64_t> cgroup_id_of(const Path& directory);

// clsact and a direct-action filter on an interface's ingress: for kernels before
// 6.6. Safe to repeat: the filter of that priority is replaced, others are left alone.
// True when the clsact qdisc was not there and was made.
Result<bool> attach_tc_ingress(int program, int interface_index, uint32_t priority);
// What is not there is success. With `clsact` the qdisc goes too, and all its filters.
Status detach_tc_ingress(int interface_index, uint32_t priority, bool clsact);

// The reader's end of a RINGBUF.
class BpfRing {
 public:
  static Result<std::unique_ptr<BpfRing>> open(int map_fd, std::function<void(std::span<const std::byte>)> event);
  ~BpfRing();
  // Hands over what is there now; never waits.
  void drain();
  // For the loop: readable while there is something.
  int fd() const;

 private:
  struct Impl;
  explicit BpfRing(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::host
