#include "agent/runtime/runtime.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "host/process.h"

#include "agent/runtime/runtime_state.h"

namespace keelson::runtime {

namespace {

constexpr size_t kMaxShim = 32u << 20;

// The shim's binary, where nothing that runs in a container could ever write to it
// (CVE-2019-5736): /proc/PID/exe of our processes leads to a sealed memfd.
Result<Fd> seal_shim(const Path& path) {
  auto text = host::read_file(path, kMaxShim);
  if (!text) return std::unexpected(std::move(text).error().within("podshim"));
  Fd file(::memfd_create("podshim", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return host::sys_fail("memfd_create");
  for (size_t written = 0; written < text->size();) {
    const ssize_t more = ::write(file.get(), text->data() + written, text->size() - written);
    if (more < 0) return host::sys_fail("copy podshim");
    written += static_cast<size_t>(more);
  }
  if (::fchmod(file.get(), 0500) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return host::sys_fail("seal podshim");
  }
  return file;
}

}  // namespace

Runtime::Runtime(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Runtime::~Runtime() {
  impl_->stopped = true;
  impl_->pods.clear();
}

Result<std::unique_ptr<Runtime>> Runtime::create(host::Loop& loop, const Settings& settings,
                                                 api::PodRuntimeEvents& events) {
  auto mountinfo = host::read_file("/proc/self/mountinfo", 8u << 20);
  if (!mountinfo) return std::unexpected(mountinfo.error());
  auto mounts = host::CgroupMounts::parse(*mountinfo);
  if (!mounts) return std::unexpected(mounts.error());
  const Path root = settings.cgroup_root.empty() ? mounts->unified : settings.cgroup_root;
  const Path top = settings.pod_cgroup.empty() ? Path("keelson") : settings.pod_cgroup;
  auto cgroups = host::CgroupTree::create(std::move(*mounts), root / top);  // an absolute top stands by itself
  if (!cgroups) return std::unexpected(std::move(cgroups).error().within("pod cgroup"));
  auto impl = std::make_shared<Impl>(loop, events, settings, std::move(*cgroups));
  auto devices = DeviceGuard::create(impl->cgroups);
  if (!devices) return std::unexpected(devices.error());
  impl->devices = std::move(*devices);
  auto available = own_capabilities();
  if (!available) return std::unexpected(available.error());
  impl->available = *available;
  auto binary = seal_shim(settings.shim);
  if (!binary) return std::unexpected(binary.error());
  impl->shim_binary = std::move(*binary);
  auto boot = host::boot_id();
  if (!boot) return std::unexpected(boot.error());
  impl->boot = std::move(*boot);
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto cookie = netns_cookie(probe);
  if (!cookie) return std::unexpected(cookie.error());
  impl->host_cookie = *cookie;
  impl->instance = fmt::format("{}-{}", ::getpid(), std::chrono::system_clock::now().time_since_epoch().count());
  for (const Path& directory : {settings.run_dir / "pods", settings.root_dir / "pods"}) {
    if (auto made = host::make_directories(directory, 0711); !made) return std::unexpected(made.error());
  }
  for (const auto& [group, inner] : {std::pair("shims", false), {"burstable", true}, {"besteffort", true}}) {
    if (auto made = impl->cgroups.make(group, inner); !made) return std::unexpected(made.error());
  }
  if (auto limited = impl->cgroups.limit("besteffort", {.cpu_shares = 2}); !limited) {
    return std::unexpected(limited.error());
  }
  return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
}

void Runtime::recover(api::Callback<std::vector<api::RecoveredPod>> done) { impl_->recover(std::move(done)); }

void Runtime::start_sandbox(api::SandboxSpec spec, api::Callback<api::Sandbox> done) {
  impl_->start_sandbox(std::move(spec), std::move(done));
}

void Runtime::start_container(api::ContainerSpec spec, api::Callback<api::StartedContainer> done) {
  impl_->start_container(std::move(spec), std::move(done));
}

void Runtime::signal_container(const ContainerId& id, int signal, api::StatusCallback done) {
  Pod* pod = impl_->find(id.pod_uid);
  if (pod == nullptr || !pod->shim) {
    return impl_->later(std::move(done), Status(host::fail(Error::Code::not_found, "the pod has no sandbox")));
  }
  pod->shim->call(shim::Type::signal, encode(shim::SignalRequest{id.name, id.attempt, signal}, 1024), {},
                  [done = std::move(done)](Result<ShimMessage> answer) mutable {
                    // One that has ended has been signalled enough.
                    if (!answer && answer.error().code != Error::Code::not_found) {
                      return done(std::unexpected(std::move(answer).error()));
                    }
                    done({});
                  });
}

void Runtime::exec(const ContainerId& id, api::ExecSpec spec, api::Callback<int> done) {
  impl_->exec(id, std::move(spec), std::move(done));
}

void Runtime::remove_sandbox(const std::string& uid, bool forget, api::StatusCallback done) {
  impl_->remove_sandbox(uid, forget, std::move(done));
}

Result<api::Sandbox> Runtime::sandbox(const std::string& uid) const {
  const Pod* pod = impl_->find(uid);
  if (pod == nullptr || pod->state != Pod::State::ready) return host::fail(Error::Code::not_found, "no such sandbox");
  return impl_->sandbox(*pod);
}

const std::vector<std::string>& Runtime::notices() const { return impl_->notices; }

Result<Path> Runtime::cgroup(const std::string& uid, const std::string& container) const {
  const Pod* pod = impl_->find(uid);
  if (pod == nullptr) return host::fail(Error::Code::not_found, "no such sandbox");
  const Path relative = container.empty() ? pod->cgroup : pod->cgroup / container;
  return impl_->cgroups.directory() / relative;
}

void Runtime::drained(api::StatusCallback done) {
  if (!impl_->pods.empty()) {
    return impl_->later(
        std::move(done),
        Status(host::fail(Error::Code::unavailable, fmt::format("{} pods are still there", impl_->pods.size()))));
  }
  impl_->offload(
      [impl = impl_]() -> Status {
        if (auto removed = impl->cgroups.remove_all(); !removed) return removed;
        return host::remove_tree(impl->settings.run_dir / "pods");
      },
      [done = std::move(done)](Status removed) mutable { done(removed); });
}

}  // namespace keelson::runtime
