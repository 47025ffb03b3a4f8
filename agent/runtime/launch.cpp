#include "agent/runtime/launch.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "agent/runtime/shim/protocol.h"
#include "agent/runtime/users.h"
#include "host/mount.h"

namespace keelson::runtime {

namespace {

using host::Error;
using host::Fd;
using host::Path;
using host::Result;

constexpr int kLeftoverTimeoutMs = 2000;  // for what an earlier attempt left to die
constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// As containerd has them; those that a kernel does not have are passed over.
const std::vector<std::string> kMaskedPaths = {
    "/proc/acpi",        "/proc/asound",        "/proc/interrupts", "/proc/kcore",
    "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"};
const std::vector<std::string> kReadOnlyPaths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};

void put(shim::Writer& out, const std::vector<std::string>& strings) {
  out.u32(static_cast<uint32_t>(strings.size()));
  for (const auto& string : strings) out.c_string(string);
}

// In the order of shim::LaunchSpec::decode.
struct EncodedSpec {
  uint32_t flags = 0, sandbox_flags = 0;
  UserIdentity user;
  CapabilitySet capabilities = 0;
  int oom_score_adj = 0;
  std::string_view seccomp;
  std::string directory;
  std::vector<std::string> argv, environment, masked, read_only, v1_controllers, devices, targets, sources;
  std::string target_is_directory;

  void encode(shim::Writer& out) const {
    out.u32(flags);
    out.u32(sandbox_flags);
    out.u32(user.uid);
    out.u32(user.gid);
    out.u64(capabilities);
    out.i32(oom_score_adj);
    out.text({reinterpret_cast<const char*>(user.groups.data()), user.groups.size() * sizeof(gid_t)});
    out.text(seccomp);
    out.c_string(directory);
    put(out, argv);
    put(out, environment);
    put(out, masked);
    put(out, read_only);
    put(out, v1_controllers);
    put(out, devices);
    put(out, targets);
    out.text(target_is_directory);
    put(out, sources);
  }
};

Result<Fd> sealed_memfd(const EncodedSpec& spec) {
  shim::Writer measure(nullptr, 0);
  spec.encode(measure);
  if (measure.size() > shim::kMaxLaunchSpec) {
    return host::fail(Error::Code::invalid, "arguments and environment are too long");
  }
  std::string text(measure.size(), '\0');
  shim::Writer out(text.data(), text.size());
  spec.encode(out);
  Fd file(::memfd_create("launch", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return host::sys_fail("memfd_create");
  for (size_t written = 0; written < text.size();) {
    const ssize_t more = ::write(file.get(), text.data() + written, text.size() - written);
    if (more < 0) return host::sys_fail("write the launch spec");
    written += static_cast<size_t>(more);
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return host::sys_fail("seal the launch spec");
  }
  return file;
}

Result<Fd> make_root(const PodPaths& paths, const api::ContainerSpec& spec) {
  Path directory = paths.rootfs(spec.id.name, spec.id.attempt);
  if (spec.fresh_root) {
    // A leftover of the same attempt (it failed before it ran) is no fresh layer.
    if (auto removed = host::remove_tree(directory); !removed) return std::unexpected(removed.error());
  } else {
    directory = directory.parent_path() / "kept";
  }
  if (auto made = host::make_directories(directory / "upper"); !made) return std::unexpected(made.error());
  if (auto made = host::make_directories(directory / "work", 0700); !made) return std::unexpected(made.error());
  // The root directory of the container has the mode and owner of the upper one.
  struct stat lower;
  const std::string upper = (directory / "upper").string();
  if (!spec.layers.empty() && ::stat(spec.layers.back().c_str(), &lower) == 0) {
    if (::chmod(upper.c_str(), lower.st_mode & 07777) != 0 || ::chown(upper.c_str(), lower.st_uid, lower.st_gid) != 0) {
      return host::sys_fail("chmod " + upper);
    }
  }
  return host::make_overlay({.lower = spec.layers,
                             .upper = directory / "upper",
                             .work = directory / "work",
                             .is_volatile = spec.fresh_root,
                             .scratch = paths.run / ("root-" + spec.id.name)});
}

// The image's layers with a lock that the shim keeps as long as the container lives, so
// that nobody prunes them, whether an agent runs or not.
Result<std::vector<Fd>> hold_layers(const std::vector<std::string>& layers) {
  std::vector<Fd> held;
  for (const auto& layer : layers) {
    auto directory = host::open_file(layer, O_RDONLY | O_DIRECTORY);
    if (!directory) return std::unexpected(directory.error());
    // Whoever prunes has the lock for the moment that it takes to move the layer away.
    if (::flock(directory->get(), LOCK_SH | LOCK_NB) != 0 || ::access(layer.c_str(), F_OK) != 0) {
      return host::fail(Error::Code::unavailable, fmt::format("layer {} is being removed", layer));
    }
    held.push_back(std::move(*directory));
  }
  return held;
}

struct OpenedMount {
  Fd mount;
  bool directory = true;
};

Result<OpenedMount> open_mount(const api::Mount& mount) {
  auto source = host::open_path(mount.source, mount.beneath);
  if (!source) return std::unexpected(source.error());
  struct stat status;
  if (::fstat(source->get(), &status) != 0) return host::sys_fail("stat " + mount.source);
  const auto propagation = mount.propagation == api::Mount::Propagation::none ? host::Propagation::none
                           : mount.propagation == api::Mount::Propagation::host_to_container
                               ? host::Propagation::slave
                               : host::Propagation::shared;
  auto tree = host::clone_tree(*source, mount.read_only, propagation);
  if (!tree) return std::unexpected(tree.error());
  return OpenedMount{std::move(*tree), S_ISDIR(status.st_mode)};
}

void add_variable(std::vector<std::string>& environment, std::string_view assignment) {
  const std::string_view name = assignment.substr(0, assignment.find('=') + 1);
  if (std::ranges::none_of(environment, [&](const auto& one) { return one.starts_with(name); })) {
    environment.emplace_back(assignment);
  }
}

host::Status remove_cgroup(const host::CgroupTree& cgroups, const Path& cgroup) {
  if (::access((cgroups.directory() / cgroup).c_str(), F_OK) != 0) return {};
  if (auto killed = cgroups.kill(cgroup); !killed) return killed;
  if (auto waited = cgroups.wait_empty(cgroup, kLeftoverTimeoutMs); !waited) return waited;
  return cgroups.remove(cgroup);
}

// The host's device nodes, as LaunchSpec::devices wants them.
std::vector<std::string> host_devices() {
  std::vector<std::string> devices;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry("/dev", error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator() && devices.size() < shim::kMaxDevices;
       entry.increment(error)) {
    const std::string name = entry->path().lexically_relative("/dev").string();
    struct stat status;
    if (::lstat(entry->path().c_str(), &status) != 0) continue;
    if (S_ISDIR(status.st_mode)) {
      // A container has its own of these.
      if (name == "pts" || name == "shm" || name == "mqueue") entry.disable_recursion_pending();
      continue;
    }
    if ((!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) || name == "console" || name == "ptmx") continue;
    devices.push_back(fmt::format("{} {} {} {:o} {}", S_ISCHR(status.st_mode) ? 'c' : 'b', major(status.st_rdev),
                                  minor(status.st_rdev), status.st_mode & 0777, name));
  }
  return devices;
}

bool holds_nul(const std::vector<std::string>& strings) {
  return std::ranges::any_of(strings, [](const auto& one) { return one.find('\0') != std::string::npos; });
}

Result<Fd> make_termination_file(const PodPaths& paths, const api::ContainerSpec& spec) {
  const Path file = paths.termination(spec.id.name, spec.id.attempt);
  if (auto made = host::make_directories(file.parent_path(), 0755); !made) return std::unexpected(made.error());
  auto opened = host::open_file(file, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
  // Any user of the container may write to it; nobody else gets to it.
  if (opened && ::fchmod(opened->get(), 0666) != 0) return host::sys_fail("chmod " + file.string());
  return opened;
}

}  // namespace

host::Path pod_cgroup_of(const api::SandboxSpec& pod) {
  const std::string leaf = "pod" + pod.uid;
  if (pod.qos == "Burstable") return host::Path("burstable") / leaf;
  if (pod.qos == "BestEffort") return host::Path("besteffort") / leaf;
  return leaf;
}

host::CgroupLimits cgroup_limits_of(const api::ResourceLimits& limits, bool oom_group) {
  return {.cpu_shares = host::cpu_shares_of_milli(limits.cpu_request_milli),
          .cpu_quota_us = host::cpu_quota_of_milli(limits.cpu_limit_milli),
          .memory_bytes = limits.memory_limit_bytes,
          .pids = limits.pids_limit,
          .memory_oom_group = oom_group};
}

uint32_t sandbox_flags_of(const api::SandboxSpec& pod) {
  return (pod.host_network ? shim::kHostNetwork : 0U) | (pod.host_pid ? shim::kHostPid : 0U) |
         (pod.host_ipc ? shim::kHostIpc : 0U) | (pod.share_process_namespace && !pod.host_pid ? shim::kSharePid : 0U);
}

host::Result<std::string> encode_sysctls(const api::SandboxSpec& pod) {
  std::string list;
  for (const auto& [given, value] : pod.sysctls) {
    std::string name = given;
    // Dots separate, unless the name uses slashes (sysctl.d(5)).
    const size_t separator = name.find_first_of("./");
    if (separator != std::string::npos && name[separator] == '.') {
      std::ranges::transform(name, name.begin(), [](char c) { return c == '.' ? '/' : c == '/' ? '.' : c; });
    }
    const bool network = name.starts_with("net/");
    const bool ipc = name.starts_with("kernel/shm") || name.starts_with("kernel/msg") || name == "kernel/sem" ||
                     name.starts_with("fs/mqueue/");
    if ((!network && !ipc) || name.find("..") != std::string::npos) {
      return host::fail(Error::Code::invalid, fmt::format("sysctl {}: is not one of the pod's own (net.*, kernel.shm*, "
                                                          "kernel.msg*, kernel.sem, fs.mqueue.*)",
                                                          given));
    }
    if (network && pod.host_network) {
      return host::fail(Error::Code::invalid, fmt::format("sysctl {}: not allowed with hostNetwork", given));
    }
    if (ipc && pod.host_ipc) {
      return host::fail(Error::Code::invalid, fmt::format("sysctl {}: not allowed with hostIPC", given));
    }
    if (value.find('\0') != std::string::npos || value.empty()) {
      return host::fail(Error::Code::invalid, fmt::format("sysctl {}: no value", given));
    }
    list += name;
    list += '\0';
    list += value;
    list += '\0';
  }
  if (list.size() > 16 * 1024) return host::fail(Error::Code::invalid, "sysctls: too many");
  return list;
}

host::Result<Launch> prepare_launch(const LaunchContext& context, const api::SandboxSpec& pod,
                                    const host::Path& pod_cgroup, const PodPaths& paths,
                                    const api::ContainerSpec& spec) {
  if (spec.argv.empty() || spec.argv[0].empty()) {
    return host::fail(Error::Code::invalid, "no command: neither the manifest nor the image has one");
  }
  if (spec.mounts.size() + 4 > shim::kMaxMounts) return host::fail(Error::Code::invalid, "too many volume mounts");
  if (holds_nul(spec.argv) || holds_nul(spec.environment)) {
    return host::fail(Error::Code::invalid, "a NUL byte in the arguments or the environment");
  }
  const host::CgroupTree& cgroups = *context.cgroups;
  const Path cgroup = pod_cgroup / spec.id.name;

  // Each attempt gets a cgroup of its own: counters start at zero, and one that was
  // ever killed as a whole kills what is born into it (CLONE_INTO_CGROUP compares the kill
  // count of the parent's cgroup with its own; seen on 6.18).
  if (auto cleared = remove_cgroup(cgroups, cgroup); !cleared) return std::unexpected(cleared.error());
  if (auto made = cgroups.make(cgroup, false); !made) return std::unexpected(made.error());
  if (auto limited = cgroups.limit(cgroup, cgroup_limits_of(spec.limits, true)); !limited) {
    return std::unexpected(limited.error());
  }
  if (!spec.privileged) {
    if (auto restricted = context.devices->restrict(cgroups, cgroup); !restricted) {
      return std::unexpected(restricted.error());
    }
  }

  auto layers = hold_layers(spec.layers);
  if (!layers) return std::unexpected(layers.error());
  auto root = make_root(paths, spec);
  if (!root) return std::unexpected(root.error());
  auto passwd = read_in_root(*root, "etc/passwd");
  if (!passwd) return std::unexpected(passwd.error());
  auto group = read_in_root(*root, "etc/group");
  if (!group) return std::unexpected(group.error());
  auto user = resolve_user({.user = spec.user,
                            .group = spec.run_as_group,
                            .supplemental = spec.supplemental_groups,
                            .must_not_be_root = spec.must_run_as_non_root},
                           *passwd, *group);
  if (!user) return std::unexpected(user.error());
  auto capabilities =
      container_capabilities(spec.add_capabilities, spec.drop_capabilities, spec.privileged, context.available);
  if (!capabilities) return std::unexpected(capabilities.error());
  auto seccomp = context.seccomp->program(spec.privileged ? "Unconfined" : spec.seccomp_profile, *capabilities);
  if (!seccomp) return std::unexpected(seccomp.error());

  EncodedSpec encoded;
  encoded.flags = (spec.read_only_root ? shim::kReadOnlyRoot : 0U) | (spec.privileged ? shim::kPrivileged : 0U) |
                  (spec.no_new_privileges ? shim::kNoNewPrivileges : 0U) | (spec.tty ? shim::kTty : 0U) |
                  (spec.stdin_open ? shim::kStdinOpen : 0U) | (cgroups.hybrid() ? 0U : shim::kUnifiedCgroups);
  encoded.sandbox_flags = sandbox_flags_of(pod);
  encoded.capabilities = *capabilities;
  encoded.oom_score_adj = spec.oom_score_adj;
  encoded.seccomp = **seccomp;
  encoded.directory = spec.working_directory.empty() ? "/" : spec.working_directory;
  encoded.argv = spec.argv;
  encoded.environment = spec.environment;
  add_variable(encoded.environment, kDefaultPath);
  add_variable(encoded.environment, "HOSTNAME=" + pod.hostname);
  add_variable(encoded.environment, "HOME=" + user->home);
  if (spec.tty) add_variable(encoded.environment, "TERM=xterm");
  encoded.user = std::move(*user);
  if (!spec.privileged && spec.default_proc_mount) {
    encoded.masked = kMaskedPaths;
    encoded.read_only = kReadOnlyPaths;
  }
  for (const auto& controller : cgroups.v1_controllers()) {
    if (controller != "devices") encoded.v1_controllers.push_back(controller);
  }

  if (spec.privileged) encoded.devices = host_devices();

  std::vector<Fd> mounts;
  const auto add_mount = [&](const api::Mount& mount) -> host::Status {
    if (mount.type == api::Mount::Type::memory) {
      encoded.targets.push_back(mount.target);
      encoded.target_is_directory += '\1';
      encoded.sources.push_back((mount.read_only ? "ro " : "rw ") + mount.beneath +
                                (mount.source.empty() ? "" : "/" + mount.source));
      return {};
    }
    auto opened = open_mount(mount);
    if (!opened) return std::unexpected(std::move(opened).error().within("mount " + mount.target));
    encoded.targets.push_back(mount.target);
    encoded.target_is_directory += static_cast<char>(opened->directory);
    encoded.sources.emplace_back();
    mounts.push_back(std::move(opened->mount));
    return {};
  };
  if (pod.host_ipc) {
    if (auto added = add_mount({.source = "/dev/shm", .target = "/dev/shm"}); !added)
      return std::unexpected(added.error());
  }
  for (const auto& mount : spec.mounts) {
    if (auto added = add_mount(mount); !added) return std::unexpected(added.error());
  }
  Fd termination;
  if (!spec.termination_message_path.empty()) {
    auto file = make_termination_file(paths, spec);
    if (!file) return std::unexpected(file.error());
    termination = std::move(*file);
    if (auto added = add_mount({.source = paths.termination(spec.id.name, spec.id.attempt).string(),
                                .target = spec.termination_message_path});
        !added) {
      return std::unexpected(added.error());
    }
  }

  auto memory = sealed_memfd(encoded);
  if (!memory) return std::unexpected(memory.error());
  std::string log_name;
  Fd log_directory;
  if (!spec.log_path.empty()) {
    const Path log = spec.log_path;
    if (auto made = host::make_directories(log.parent_path()); !made) return std::unexpected(made.error());
    auto opened = host::open_file(log.parent_path(), O_RDONLY | O_DIRECTORY);
    if (!opened) return std::unexpected(opened.error());
    log_directory = std::move(*opened);
    log_name = log.filename().string();
    if (log_name.empty() || log_name.size() > 240) return host::fail(Error::Code::invalid, "log path: no file name");
  } else {
    auto opened = host::open_file("/dev/null", O_RDONLY);  // a place holder
    if (!opened) return std::unexpected(opened.error());
    log_directory = std::move(*opened);
  }
  auto directory = cgroups.open(cgroup);
  if (!directory) return std::unexpected(directory.error());
  auto events = cgroups.open_oom_events(cgroup);
  if (!events) return std::unexpected(events.error());
  auto join = cgroups.join_files(cgroup);
  if (!join) return std::unexpected(join.error());

  const shim::StartRequest request{.name = spec.id.name,
                                   .attempt = spec.id.attempt,
                                   .v1 = static_cast<uint32_t>(join->size()),
                                   .mounts = static_cast<uint32_t>(mounts.size()),
                                   .layers = static_cast<uint32_t>(layers->size()),
                                   .termination_file = static_cast<bool>(termination),
                                   .log_name = log_name.c_str()};
  Launch launch;
  launch.body.resize(1024);
  shim::Writer out(launch.body.data(), launch.body.size());
  request.encode(out);
  if (!out.fits()) return host::fail(Error::Code::invalid, "container name: too long");
  launch.body.resize(out.size());
  launch.fds.push_back(std::move(*memory));
  launch.fds.push_back(std::move(*root));
  launch.fds.push_back(std::move(log_directory));
  launch.fds.push_back(std::move(*directory));
  launch.fds.push_back(std::move(*events));
  if (termination) launch.fds.push_back(std::move(termination));
  for (auto& fd : *join) launch.fds.push_back(std::move(fd));
  for (auto& fd : mounts) launch.fds.push_back(std::move(fd));
  for (auto& fd : *layers) launch.fds.push_back(std::move(fd));
  if (launch.fds.size() > shim::kMaxFds) {
    return host::fail(Error::Code::invalid, "too many volume mounts for an image of so many layers");
  }
  return launch;
}

}  // namespace keelson::runtime
