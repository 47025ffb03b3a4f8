#pragma once
// What the pods room asks of the rooms below it: our container runtime interface.
//
// Called on the loop's thread; every callback runs on the loop's thread, later,
// exactly once. Every call is safe to repeat: what is already so is success.
// The implementations are runtime/, images/ and network/; main.cpp hands them in.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/error.h"
#include "host/fd.h"

namespace keelson::api {

template <typename T>
using Callback = std::move_only_function<void(host::Result<T>)>;
using StatusCallback = std::move_only_function<void(host::Status)>;

// ---- images -----------------------------------------------------------------

struct ImageInfo {
  std::string id;                    // "sha256:…" of the image config
  std::vector<std::string> tags;     // "docker.io/library/nginx:1.25"
  std::vector<std::string> digests;  // "docker.io/library/nginx@sha256:…"
  std::vector<std::string> layers;   // unpacked directories, lowest first
  uint64_t size = 0;                 // bytes, unpacked
  std::vector<std::string> entrypoint, command, environment;
  std::string working_directory, user, stop_signal;
};

struct RegistryCredential {  // one entry of a .dockerconfigjson
  std::string registry;      // host[:port][/path]
  std::string username, password;
};

class ImageStore {
 public:
  virtual ~ImageStore() = default;
  // From what is on disk; not_found when it is not there. Unqualified names mean
  // docker.io/library/, a missing tag means :latest.
  virtual host::Result<ImageInfo> find(const std::string& reference) = 0;
  // Downloads in a sandboxed child; one flight per reference.
  virtual void pull(const std::string& reference, std::vector<RegistryCredential> credentials,
                    Callback<ImageInfo> done) = 0;
  // Called after an image has appeared on disk (imported, pulled by somebody else).
  virtual void on_appeared(std::function<void()> listener) = 0;
};

// ---- sandboxes and containers --------------------------------------------------

struct ResourceLimits {
  int64_t cpu_request_milli = 0;
  int64_t cpu_limit_milli = 0;     // 0: none
  int64_t memory_limit_bytes = 0;  // 0: none
  int64_t memory_request_bytes = 0;
  int64_t pids_limit = 0;  // 0: none
};

// A tmpfs of the pod's own: all its containers mount the same one by name, its content
// stays when a container restarts and goes with the sandbox.
struct MemoryVolume {
  std::string name;         // a plain file name, unique in the pod
  uint64_t size_bytes = 0;  // enforced; 0: half of the machine's memory
  mode_t mode = 0777;
  std::optional<gid_t> group;
};

struct SandboxSpec {
  std::string uid, namespace_, name;
  std::string qos;  // "Guaranteed", "Burstable", "BestEffort": picks the cgroup's parent
  std::string hostname;
  bool host_network = false, host_pid = false, host_ipc = false, share_process_namespace = false;
  std::map<std::string, std::string> sysctls;  // namespaced ones, set in the sandbox
  std::vector<MemoryVolume> memory_volumes;
  ResourceLimits limits;  // of the whole pod
  std::string manifest;   // opaque; kept in <run-dir>/pods/<uid>/spec.json, handed back by recover()
};

// A running sandbox. The descriptors are duplicates, owned by the receiver.
struct Sandbox {
  std::string uid;
  host::Fd network_namespace;  // absent with host_network
  host::Fd netlink;            // NETLINK_ROUTE socket opened inside it
  uint64_t netns_cookie = 0;   // SO_NETNS_COOKIE of it; the host's with host_network
};

struct Mount {
  enum class Type { bind, memory };
  enum class Propagation { none, host_to_container, bidirectional };
  Type type = Type::bind;
  std::string source;   // bind: an absolute host path, opened without following symlinks out of `beneath`
  std::string beneath;  // bind: when set, `source` is relative to it and cannot leave it (subPath)
                        // memory: the volume's name; `source` is a path within it, made when missing, or ""
  std::string target;   // absolute, inside the container; created when missing
  bool read_only = false;
  Propagation propagation = Propagation::none;
};

struct ContainerId {
  std::string pod_uid, name;
  uint32_t attempt = 0;  // 0 for the first start, then the restart count
  bool operator==(const ContainerId&) const = default;
};

struct ContainerSpec {
  ContainerId id;
  std::vector<std::string> layers;  // the image's, lowest first
  bool fresh_root = true;           // each start gets a fresh writable layer, as in Kubernetes
  std::vector<std::string> argv;    // final: $(VAR) expanded, argv[0] looked up in PATH by the runtime
  std::vector<std::string> environment;
  std::string working_directory;  // "" means /; created when missing
  // "", "1000", "1000:1000", "nginx", "nginx:nginx": names are looked up in the image's
  // /etc/passwd and /etc/group. run_as_group overrides the group.
  std::string user;
  std::optional<int64_t> run_as_group;
  bool must_run_as_non_root = false;
  std::vector<gid_t> supplemental_groups;
  std::vector<std::string> add_capabilities, drop_capabilities;  // "NET_ADMIN", "ALL", as in manifests
  bool privileged = false;
  bool no_new_privileges = false;
  bool read_only_root = false;
  std::string seccomp_profile = "RuntimeDefault";  // "Unconfined", "RuntimeDefault", "Localhost:<absolute path>"
  bool default_proc_mount = true;                  // false: no masked paths (procMount Unmasked)
  std::vector<Mount> mounts;                       // in order
  ResourceLimits limits;
  int oom_score_adj = 0;
  std::string log_path;                  // CRI log file, absolute; its directory is made by the runtime
  std::string termination_message_path;  // inside the container; "" none
  bool tty = false;
  bool stdin_open = false;
  std::string stop_signal;  // "" SIGTERM
};

struct StartedContainer {
  pid_t pid = 0;              // in the host's namespace; for display only
  int64_t started_at_us = 0;  // microseconds since the epoch
};

struct ExitRecord {
  ContainerId id;
  int wait_status = 0;  // as of waitpid(2)
  bool oom_killed = false;
  int64_t started_at_us = 0, finished_at_us = 0;
  std::string start_error;          // set when it never ran: the step and the reason
  std::string termination_message;  // at most 4096 bytes
};

struct ExecSpec {
  std::vector<std::string> argv;
  bool tty = false;
  host::Fd stdin_fd, stdout_fd, stderr_fd;         // absent: /dev/null; unused with tty
  std::move_only_function<void(host::Fd)> on_tty;  // receives the terminal's master end
  int64_t timeout_ms = 0;                          // 0 none; then its processes are killed, code unavailable
};

struct RecoveredContainer {
  ContainerId id;
  bool running = false;
  StartedContainer started;  // when running
};

// What the runtime finds after a restart of the agent (or of the machine).
struct RecoveredPod {
  SandboxSpec spec;
  bool alive = false;                          // the shim and its sandbox still run
  std::vector<RecoveredContainer> containers;  // the latest attempt of each
  std::vector<ExitRecord> exits;               // the journal's, oldest first, at most the last two per container
};

class PodRuntime {
 public:
  virtual ~PodRuntime() = default;
  virtual void start_sandbox(SandboxSpec spec, Callback<Sandbox> done) = 0;
  // Success means that execve succeeded. The error's text is what the user reads.
  virtual void start_container(ContainerSpec spec, Callback<StartedContainer> done) = 0;
  // To the container's first process; SIGKILL goes to its whole cgroup.
  virtual void signal_container(const ContainerId& id, int signal, StatusCallback done) = 0;
  // `done` has the wait status of the process.
  virtual void exec(const ContainerId& id, ExecSpec spec, Callback<int> done) = 0;
  // Kills what is left, ends the shim, removes cgroups and runtime directory; with
  // `forget` also the journal, the writable layers and (logs excepted) all of the pod on disk.
  virtual void remove_sandbox(const std::string& uid, bool forget, StatusCallback done) = 0;
};

class PodRuntimeEvents {
 public:
  virtual ~PodRuntimeEvents() = default;
  virtual void container_exited(const ExitRecord& record) = 0;
  // The shim or the sandbox's init died; everything of the pod has been killed.
  virtual void sandbox_lost(const std::string& uid, const std::string& reason) = 0;
};

// ---- pod network -----------------------------------------------------------------

struct PodAddresses {
  std::vector<std::string> ips;  // the primary family first
};

class PodNetwork {
 public:
  virtual ~PodNetwork() = default;
  // The sandbox's descriptors are borrowed until `done`.
  virtual void attach(const std::string& uid, const Sandbox& sandbox, Callback<PodAddresses> done) = 0;
  virtual void detach(const std::string& uid, StatusCallback done) = 0;
  // After recovery: what these pods hold stays theirs, everything else is freed.
  virtual void retain(const std::vector<std::string>& uids) = 0;
  // What an attached pod holds; not_found otherwise.
  virtual host::Result<PodAddresses> addresses(const std::string& uid) = 0;
};

}  // namespace keelson::api
