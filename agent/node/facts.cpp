#include "agent/node/facts.h"

#include <fmt/core.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

namespace keelson::node {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::string_view(" \t\r\n\"").find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  while (!text.empty() && std::string_view(" \t\r\n\"").find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  return text;
}

std::string read(const host::Path& root, std::string_view path) {
  auto text = host::read_file(root / path, 64u << 10);
  return text ? std::string(trimmed(*text)) : std::string();
}

// The first of those that is there and says something.
std::string first_of(const host::Path& root, std::initializer_list<std::string_view> paths) {
  for (const auto path : paths) {
    if (auto text = read(root, path); !text.empty()) return text;
  }
  return {};
}

std::optional<int64_t> number(std::string_view text) {
  text = trimmed(text);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// "KEY=value" of os-release, "Key:  value kB" of meminfo.
std::string_view value_after(std::string_view text, std::string_view key) {
  for (size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = text.substr(begin, end - begin);
    if (line.starts_with(key)) return trimmed(line.substr(key.size()));
    begin = end + 1;
  }
  return {};
}

// Go's names of architectures.
std::string architecture_of(std::string_view machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine.starts_with("armv")) return "arm";
  if (machine == "i686" || machine == "i386") return "386";
  if (machine == "ppc64le" || machine == "s390x" || machine == "riscv64") return std::string(machine);
  return std::string(machine);
}

int64_t meminfo_bytes(const std::string& meminfo, std::string_view key) {
  return number(value_after(meminfo, key)).value_or(-1025) * 1024;
}

std::map<std::string, int64_t> hugepages_of(const host::Path& root) {
  std::map<std::string, int64_t> result;
  const auto directory = root / "sys/kernel/mm/hugepages";
  for (const auto& name : host::list_directory(directory).value_or(std::vector<std::string>())) {
    constexpr std::string_view kPrefix = "hugepages-";
    if (!name.starts_with(kPrefix)) continue;
    const auto kilobytes = number(std::string_view(name).substr(kPrefix.size()));
    const auto count = number(read(directory / name, "nr_hugepages"));
    if (!kilobytes || !count) continue;
    const int64_t mega = *kilobytes / 1024;
    const auto size = mega >= 1024 ? fmt::format("{}Gi", mega / 1024)
                      : mega > 0   ? fmt::format("{}Mi", mega)
                                   : fmt::format("{}Ki", *kilobytes);
    result["hugepages-" + size] = *count * *kilobytes * 1024;
  }
  return result;
}

}  // namespace

Facts look_at_machine(const host::Path& data, const host::Path& root) {
  Facts facts;
  auto& info = facts.info;
  info.machine_id = first_of(root, {"etc/machine-id", "var/lib/dbus/machine-id"});
  // As kubelet's cadvisor looks for it: a machine without DMI has its machine id.
  info.system_uuid = first_of(root, {"sys/class/dmi/id/product_uuid", "proc/device-tree/system-id",
                                     "proc/device-tree/vm,uuid", "etc/machine-id"});
  info.boot_id = read(root, "proc/sys/kernel/random/boot_id");
  const auto release = first_of(root, {"etc/os-release", "usr/lib/os-release"});
  info.os_image = std::string(value_after(release, "PRETTY_NAME="));
  if (info.os_image.empty()) info.os_image = "Linux";
  info.operating_system = "linux";
  utsname name{};
  if (::uname(&name) == 0) {
    info.kernel_version = name.release;
    info.architecture = architecture_of(name.machine);
  }
  facts.cpus = std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN));
  const auto meminfo = read(root, "proc/meminfo");
  facts.memory_bytes = std::max<int64_t>(0, meminfo_bytes(meminfo, "MemTotal:"));
  if (const auto swap = meminfo_bytes(meminfo, "SwapTotal:"); swap > 0) info.swap = api::NodeSwapStatus{swap};
  struct statvfs disk{};
  if (::statvfs(data.c_str(), &disk) == 0) facts.disk_bytes = static_cast<int64_t>(disk.f_blocks * disk.f_frsize);
  facts.hugepages = hugepages_of(root);
  return facts;
}

Pressure look_at_pressure(const host::Path& data, const host::Path& root) {
  Pressure now;
  const auto meminfo = read(root, "proc/meminfo");
  now.memory_total = std::max<int64_t>(-1, meminfo_bytes(meminfo, "MemTotal:"));
  now.memory_available = std::max<int64_t>(-1, meminfo_bytes(meminfo, "MemAvailable:"));
  struct statvfs disk{};
  if (::statvfs(data.c_str(), &disk) == 0) {
    now.disk_total = static_cast<int64_t>(disk.f_blocks * disk.f_frsize);
    now.disk_available = static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
    // btrfs and its like have no fixed number of inodes, and say 0.
    if (disk.f_files > 0) {
      now.inodes_total = static_cast<int64_t>(disk.f_files);
      now.inodes_free = static_cast<int64_t>(disk.f_favail);
    }
  }
  // "0.20 0.18 0.12 1/80 11206": running and all.
  const auto load = read(root, "proc/loadavg");
  if (const auto slash = load.find('/'); slash != std::string::npos)
    now.pids = number(std::string_view(load).substr(slash + 1)).value_or(-1);
  for (const auto* limit : {"proc/sys/kernel/pid_max", "proc/sys/kernel/threads-max"}) {
    const auto value = number(read(root, limit));
    if (value && (now.pids_max < 0 || *value < now.pids_max)) now.pids_max = *value;
  }
  return now;
}

}  // namespace keelson::node
