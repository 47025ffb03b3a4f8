#include <dlfcn.h>
#include <fmt/core.h>

#include <system_error>

#include "etcd/transport.h"
#include "host/file.h"

namespace keelson::etcd {

namespace {

host::Result<host::Path> module_path() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return host::sys_fail("read /proc/self/exe", error.value());
  // Each package brings its own, in the directory of its name.
  const host::Path library = program.parent_path().parent_path() / "lib";
  host::Path own = library / program.filename() / "libkeelson-etcd.so";
  if (std::filesystem::exists(own, error)) return own;
  return library / "keelson" / "libkeelson-etcd.so";
}

}  // namespace

host::Result<std::unique_ptr<Transport>> load_transport(const TransportSettings& settings) {
  auto path = module_path();
  if (!path) return std::unexpected(std::move(path.error()));
  // Never unloaded: gRPC's threads and its exit handlers live in it.
  void* module = ::dlopen(path->c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (module == nullptr) {
    return host::fail(host::Error::Code::unsupported,
                      fmt::format("the etcd client cannot be loaded: {} (is the package complete?)", ::dlerror()));
  }
  const auto factory = reinterpret_cast<TransportFactory>(::dlsym(module, kTransportSymbol));
  if (factory == nullptr) {
    return host::fail(host::Error::Code::unsupported, fmt::format("{} is not the etcd client", path->string()));
  }
  host::Error error;
  std::unique_ptr<Transport> transport(factory(kTransportVersion, settings, error));
  if (!transport) return std::unexpected(std::move(error).within(path->string()));
  return transport;
}

}  // namespace keelson::etcd
