#pragma once
// What the agent and a pod's shim say to each other, over one SEQPACKET socket:
// one message a packet, descriptors beside it (SCM_RIGHTS). The agent asks, with a
// number of its own choosing; the shim answers under that number, and reports
// exits under number 0. A shim outlives the agent that made it, so a newer agent
// meets older shims: fields are only ever added, behind `kVersion`.
//
// Everything is decoded with bounds; a message that does not decode ends the
// connection, on both sides. Text is viewed in place in the packet's buffer.

#include <cstdint>
#include <string_view>

#include "agent/runtime/shim/wire.h"

namespace keelson::shim {

inline constexpr uint32_t kMagic = 0x4c53454b;  // "KESL"
inline constexpr uint16_t kVersion = 1;
inline constexpr size_t kMaxPacket = 60 * 1024;
inline constexpr size_t kMaxFds = 250;        // SCM_MAX_FD is 253
inline constexpr size_t kMaxContainers = 64;  // living at once, init and ephemeral ones included
inline constexpr size_t kMaxExecs = 64;       // running at once
inline constexpr size_t kMaxMounts = 200;
inline constexpr size_t kMaxDevices = 1024;
inline constexpr size_t kMaxLayers = 240;  // as many as an overlay takes
inline constexpr size_t kMaxV1 = 12;       // v1 hierarchies
inline constexpr size_t kMaxLaunchSpec = 8u << 20;
inline constexpr size_t kMaxTermination = 4096;
inline constexpr size_t kMaxName = 253;

// Descriptor numbers the agent starts a shim with.
enum InheritedFd : int { kExecutableFd = 3, kListenFd = 4, kJournalFd = 5, kJournalDirFd = 6 };

enum class Type : uint16_t {
  // The agent asks …                  … and the shim answers.
  hello = 1,     // -                 welcome, with network namespace and netlink socket if there are any
  sandbox = 2,   // SandboxRequest    sandbox_ready (same descriptors) or error
  start = 3,     // StartRequest      started or error
  signal = 4,    // SignalRequest     done or error
  exec = 5,      // ExecRequest       exec_started (with the terminal's master) or error; later exec_exited
  shutdown = 6,  // -                 done; it ends as soon as it has no child left
  welcome = 32,
  sandbox_ready = 33,
  started = 34,
  done = 35,
  exec_started = 36,
  exec_exited = 37,
  error = 38,
  exited = 39,  // unasked: ExitReport
};

struct Header {
  uint32_t magic = kMagic;
  uint16_t version = kVersion;
  uint16_t type = 0;
  uint32_t number = 0;
  uint32_t size = 0;  // of the body
};
static_assert(sizeof(Header) == 16);

// Flags of a sandbox.
enum SandboxFlag : uint32_t { kHostNetwork = 1, kHostPid = 2, kHostIpc = 4, kSharePid = 8 };

// Descriptors: the sandbox's v2 cgroup, `v1` × a v1 cgroup's tasks, `volumes` × a mount.
struct SandboxRequest {
  uint32_t flags = 0;
  uint32_t v1 = 0;
  uint32_t volumes = 0;
  const char* hostname = "";
  std::string_view sysctls;       // "net/core/somaxconn\0value\0…"
  std::string_view volume_names;  // of the mounts: "cache\0…"
  template <typename Io>
  void encode(Io& io) const {
    io.u32(flags);
    io.u32(v1);
    io.u32(volumes);
    io.c_string(hostname);
    io.text(sysctls);
    io.text(volume_names);
  }
  bool decode(Reader& in) {
    flags = in.u32();
    v1 = in.u32();
    volumes = in.u32();
    hostname = in.c_string();
    sysctls = in.text();
    volume_names = in.text();
    uint32_t names = 0;
    for (const char c : volume_names) names += c == 0;
    return in.complete() && v1 <= kMaxV1 && (sysctls.empty() || sysctls.back() == 0) && volumes <= kMaxMounts &&
           names == volumes && (volume_names.empty() || volume_names.back() == 0);
  }
};

// Answer to hello and sandbox. Then, for welcome, `containers` × ContainerState.
struct SandboxState {
  bool ready = false;
  int32_t init_pid = 0;
  uint32_t containers = 0;
  template <typename Io>
  void encode(Io& io) const {
    io.u8(ready);
    io.i32(init_pid);
    io.u32(containers);
  }
  bool decode(Reader& in) {
    ready = in.u8() != 0;
    init_pid = in.i32();
    containers = in.u32();
    return in.ok() && containers <= kMaxContainers;
  }
};

struct ContainerState {
  std::string_view name;
  uint32_t attempt = 0;
  int32_t pid = 0;
  uint64_t start_time = 0;    // clock ticks since boot
  int64_t started_at_us = 0;  // since the epoch; 0: still being launched
  template <typename Io>
  void encode(Io& io) const {
    io.text(name);
    io.u32(attempt);
    io.i32(pid);
    io.u64(start_time);
    io.i64(started_at_us);
  }
  bool decode(Reader& in) {
    name = in.text();
    attempt = in.u32();
    pid = in.i32();
    start_time = in.u64();
    started_at_us = in.i64();
    return in.ok() && name.size() <= kMaxName;
  }
};

// Descriptors: launch spec (sealed memfd), root mount, log directory, the
// container's v2 cgroup, its out-of-memory events file, [termination message file],
// `v1` × a v1 cgroup's tasks, `mounts` × mount, `layers` × a directory of the image,
// which the shim only keeps open as long as the container lives: they are locked.
struct StartRequest {
  std::string_view name;
  uint32_t attempt = 0;
  uint32_t v1 = 0;
  uint32_t mounts = 0;
  uint32_t layers = 0;
  bool termination_file = false;
  const char* log_name = "";  // a file name within the log directory; "" no log
  template <typename Io>
  void encode(Io& io) const {
    io.text(name);
    io.u32(attempt);
    io.u32(v1);
    io.u32(mounts);
    io.u32(layers);
    io.u8(termination_file);
    io.c_string(log_name);
  }
  bool decode(Reader& in) {
    name = in.text();
    attempt = in.u32();
    v1 = in.u32();
    mounts = in.u32();
    layers = in.u32();
    termination_file = in.u8() != 0;
    log_name = in.c_string();
    return in.complete() && !name.empty() && name.size() <= kMaxName && v1 <= kMaxV1 && mounts <= kMaxMounts &&
           layers <= kMaxLayers && std::string_view(log_name).find('/') == std::string_view::npos;
  }
};

struct SignalRequest {
  std::string_view name;
  uint32_t attempt = 0;
  int32_t signal = 0;
  template <typename Io>
  void encode(Io& io) const {
    io.text(name);
    io.u32(attempt);
    io.i32(signal);
  }
  bool decode(Reader& in) {
    name = in.text();
    attempt = in.u32();
    signal = in.i32();
    return in.complete() && signal > 0 && signal <= 64;
  }
};

// Descriptors: the leaf cgroup (v2), `v1` × a v1 cgroup's tasks, then without `tty` those
// of stdin, stdout, stderr that `stdio` has bits for (1, 2, 4).
struct ExecRequest {
  std::string_view name;
  uint32_t attempt = 0;
  uint32_t v1 = 0;
  bool tty = false;
  uint8_t stdio = 0;
  std::string_view argv;  // NUL after each
  template <typename Io>
  void encode(Io& io) const {
    io.text(name);
    io.u32(attempt);
    io.u32(v1);
    io.u8(tty);
    io.u8(stdio);
    io.text(argv);
  }
  bool decode(Reader& in) {
    name = in.text();
    attempt = in.u32();
    v1 = in.u32();
    tty = in.u8() != 0;
    stdio = in.u8();
    argv = in.text();
    return in.complete() && v1 <= kMaxV1 && stdio < 8 && !argv.empty() && argv.back() == 0;
  }
};

struct Started {
  int32_t pid = 0;
  uint64_t start_time = 0;
  int64_t started_at_us = 0;
  template <typename Io>
  void encode(Io& io) const {
    io.i32(pid);
    io.u64(start_time);
    io.i64(started_at_us);
  }
  bool decode(Reader& in) {
    pid = in.i32();
    start_time = in.u64();
    started_at_us = in.i64();
    return in.complete();
  }
};

struct ExecExited {
  int32_t wait_status = 0;
  template <typename Io>
  void encode(Io& io) const {
    io.i32(wait_status);
  }
  bool decode(Reader& in) {
    wait_status = in.i32();
    return in.complete();
  }
};

struct Failure {
  int32_t error_number = 0;
  std::string_view message;
  template <typename Io>
  void encode(Io& io) const {
    io.i32(error_number);
    io.text(message);
  }
  bool decode(Reader& in) {
    error_number = in.i32();
    message = in.text();
    return in.complete();
  }
};

// ---- the journal ---------------------------------------------------------------
// A file of records, each JournalHeader + JournalEntry. What does not check out is
// the torn end of it.

struct JournalHeader {
  uint32_t magic = kMagic;
  uint32_t size = 0;  // of the entry
  uint32_t crc = 0;   // of the entry
};
inline constexpr size_t kMaxJournalEntry = 8 * 1024;
// Beyond this the shim writes the journal anew with what still counts: of each
// container the latest start and the last two exits.
inline constexpr uint64_t kJournalCompactAt = 1u << 20;

// One container's start or end; also the body of an `exited` message.
struct JournalEntry {
  enum Kind : uint8_t { kStarted = 1, kExited = 2, kFailed = 3 };  // failed: never ran, `text` says why
  uint8_t kind = 0;
  std::string_view name;
  uint32_t attempt = 0;
  int32_t pid = 0;
  uint64_t start_time = 0;
  std::string_view boot_id;
  int64_t started_at_us = 0, finished_at_us = 0;
  int32_t wait_status = 0;
  bool oom_killed = false;
  std::string_view text;  // termination message, or the error
  template <typename Io>
  void encode(Io& io) const {
    io.u8(kind);
    io.text(name);
    io.u32(attempt);
    io.i32(pid);
    io.u64(start_time);
    io.text(boot_id);
    io.i64(started_at_us);
    io.i64(finished_at_us);
    io.i32(wait_status);
    io.u8(oom_killed);
    io.text(text);
  }
  bool decode(Reader& in) {
    kind = in.u8();
    name = in.text();
    attempt = in.u32();
    pid = in.i32();
    start_time = in.u64();
    boot_id = in.text();
    started_at_us = in.i64();
    finished_at_us = in.i64();
    wait_status = in.i32();
    oom_killed = in.u8() != 0;
    text = in.text();
    return in.complete() && kind >= kStarted && kind <= kFailed && !name.empty() && name.size() <= kMaxName &&
           text.size() <= kMaxTermination;
  }
};

// The record at `offset` of a journal of `size` bytes; its length, or 0 where the
// sound part of the journal ends.
inline size_t read_journal(const char* data, size_t size, size_t offset, JournalEntry& entry) {
  JournalHeader header;
  if (offset > size || size - offset < sizeof header) return 0;
  memcpy(&header, data + offset, sizeof header);
  if (header.magic != kMagic || header.size > kMaxJournalEntry || header.size > size - offset - sizeof header) return 0;
  const char* body = data + offset + sizeof header;
  if (crc32c(body, header.size) != header.crc) return 0;
  Reader in(body, header.size);
  return entry.decode(in) ? sizeof header + header.size : 0;
}

// ---- the launch spec -------------------------------------------------------------
// Made by the agent's worker, read in the container's first process. It stays in
// its memfd as long as the container lives: exec uses the second half again.

enum LaunchFlag : uint32_t {
  kReadOnlyRoot = 1,
  kPrivileged = 2,
  kNoNewPrivileges = 4,
  kTty = 8,
  kStdinOpen = 16,
  kUnifiedCgroups = 32,  // v2 alone: mounted at /sys/fs/cgroup itself
};

// A mount that the agent opened, to be moved to `target` within the root.
struct LaunchMount {
  const char* target = "";
  bool directory = true;
};

// A sequence that stays encoded: `count` c_strings from `start` on.
struct Strings {
  uint32_t count = 0;
  Reader items{nullptr, 0};
  bool decode(Reader& in, uint32_t limit) {
    count = in.count(limit, 5);
    items = in;
    for (uint32_t i = 0; i < count; ++i) in.c_string();
    return in.ok();
  }
};

inline constexpr uint32_t kMaxStrings = 1u << 18;

struct LaunchSpec {
  uint32_t flags = 0;
  uint32_t sandbox_flags = 0;
  uint32_t uid = 0, gid = 0;
  uint64_t capabilities = 0;
  int32_t oom_score_adj = 0;
  std::string_view groups;   // of uint32_t
  std::string_view seccomp;  // a BPF program; empty: none
  const char* directory = "/";
  Strings argv, environment;
  Strings masked, read_only, v1_controllers;
  Strings devices;                       // of the host, beyond the usual: "c 10 200 666 net/tun", mode in octal
  Strings targets;                       // of the mounts
  std::string_view target_is_directory;  // a byte each
  // Of each mount: "" for the next descriptor; for a volume of the pod's own memory
  // "rw" or "ro", a blank, and its name with the path within it.
  Strings sources;
  uint32_t descriptors = 0;  // how many of the sources are ""

  // The agent's side fills the encoded sequences itself (launch.cpp).
  bool decode(Reader& in) {
    flags = in.u32();
    sandbox_flags = in.u32();
    uid = in.u32();
    gid = in.u32();
    capabilities = in.u64();
    oom_score_adj = in.i32();
    groups = in.text();
    seccomp = in.text();
    directory = in.c_string();
    const bool sound = argv.decode(in, kMaxStrings) && environment.decode(in, kMaxStrings) && masked.decode(in, 256) &&
                       read_only.decode(in, 256) && v1_controllers.decode(in, kMaxV1) &&
                       devices.decode(in, kMaxDevices) && targets.decode(in, kMaxMounts);
    target_is_directory = in.text();
    const bool sourced = sources.decode(in, kMaxMounts) && sources.count == targets.count;
    descriptors = 0;
    Reader source = sources.items;
    for (uint32_t i = 0; i < sources.count; ++i) descriptors += *source.c_string() == 0;
    return sound && sourced && in.complete() && argv.count > 0 && groups.size() % 4 == 0 &&
           groups.size() <= 65536 * 4 && seccomp.size() % 8 == 0 && seccomp.size() <= 4096 * 8 &&
           target_is_directory.size() == targets.count;
  }
};

}  // namespace keelson::shim
