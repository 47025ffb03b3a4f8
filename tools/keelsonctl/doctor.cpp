#include "tools/keelsonctl/doctor.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <poll.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "host/process.h"

namespace keelson::ctl {

namespace {

using Verdict = Check::Verdict;

constexpr int kCapSysResource = 24;

std::optional<std::string> read(const host::Path& path) {
  auto text = host::read_file(path, 4u << 20);
  if (!text) return std::nullopt;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return std::move(*text);
}

std::optional<int64_t> read_number(const host::Path& path) {
  const auto text = read(path);
  int64_t number = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), number).ec != std::errc())
    return std::nullopt;
  return number;
}

std::set<std::string> words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::set<std::string> found;
  for (std::string word; stream >> word;) found.insert(word);
  return found;
}

std::pair<int, int> version_of(const std::string& release) {
  int major = 0, minor = 0;
  const char* end = release.data() + release.size();
  const auto first = std::from_chars(release.data(), end, major);
  if (first.ptr != end) std::from_chars(first.ptr + 1, end, minor);
  return {major, minor};
}

struct Mount {
  std::string point, type;
  std::set<std::string> options;  // of the file system
};

std::vector<Mount> mounts(const host::Path& root) {
  std::vector<Mount> found;
  std::istringstream lines(read(root / "proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    std::istringstream fields(line);
    std::string skip, point, word;
    fields >> skip >> skip >> skip >> skip >> point;
    while (fields >> word && word != "-") {
    }
    Mount mount{.point = point, .type = {}, .options = {}};
    std::string options;
    fields >> mount.type >> skip >> options;
    std::ranges::replace(options, ',', ' ');
    mount.options = words(options);
    found.push_back(std::move(mount));
  }
  return found;
}

// What the kernel has of a module: "built in", "loaded", "loadable", or nothing.
class Modules {
 public:
  using Run = std::function<host::Result<std::string>(std::vector<std::string>)>;
  Modules(const host::Path& root, const std::string& release, const Run& run) : root_(root) {
    const auto directory = root / "lib/modules" / release;
    built_in_ = read(directory / "modules.builtin").value_or("");
    loadable_ = read(directory / "modules.dep").value_or("");
    std::istringstream lines(read(root / "proc/modules").value_or(""));
    for (std::string line; std::getline(lines, line);) loaded_.insert(line.substr(0, line.find(' ')));
    // Where /lib/modules is missing, the kernel's own configuration tells.
    if (const auto text = read(root / ("boot/config-" + release))) config_ = *text;
    const auto packed = root / "proc/config.gz";
    std::error_code ignored;
    if (config_.empty() && run && std::filesystem::exists(packed, ignored)) {
      config_ = run({"/usr/bin/zcat", packed.string()}).value_or("");
    }
  }
  std::string state(const std::string& name) const {
    if (loaded_.contains(name)) return "loaded";
    if (lists(built_in_, name)) return "built in";
    std::error_code ignored;
    if (std::filesystem::exists(root_ / "sys/module" / name, ignored)) return "built in";
    if (lists(loadable_, name)) return "loadable";
    return {};
  }
  bool knows_config() const { return !config_.empty(); }
  bool configured(const std::string& option) const {
    return config_.find("\n" + option + "=y") != std::string::npos ||
           config_.find("\n" + option + "=m") != std::string::npos;
  }

 private:
  static bool lists(const std::string& text, std::string name) {
    // modules.* write either - or _.
    for (const char separator : {'_', '-'}) {
      std::ranges::replace(name, separator == '_' ? '-' : '_', separator);
      if (text.find("/" + name + ".ko") != std::string::npos) return true;
    }
    return false;
  }
  host::Path root_;
  std::string built_in_, loadable_, config_;
  std::set<std::string> loaded_;
};

class Examination {
 public:
  Examination(const DoctorOptions& options, const HostProbes& probes)
      : options_(options), probes_(probes), modules_(options.root, probes.kernel_release, probes.run) {}

  std::vector<Check> run() {
    kernel();
    btf();
    cgroups();
    bpffs();
    modules();
    traffic_hooks();
    privileges();
    forwarding();
    pod_network();
    limits();
    listening();
    return std::move(checks_);
  }

 private:
  void add(Verdict verdict, std::string name, std::string found, std::string advice = {}) {
    checks_.push_back({verdict, std::move(name), std::move(found), verdict == Verdict::ok ? "" : std::move(advice)});
  }
  host::Path at(std::string_view path) const { return options_.root / path; }
  bool exists(std::string_view path) const {
    std::error_code ignored;
    return std::filesystem::exists(at(path), ignored);
  }

  void kernel() {
    const bool recent = version_of(probes_.kernel_release) >= std::pair(6, 1);
    add(recent ? Verdict::ok : Verdict::fail, "kernel", probes_.kernel_release,
        "Linux 6.1 or later is needed (Debian 12's is 6.1)");
    if (!modules_.knows_config()) return;
    std::vector<std::string> missing;
    for (const char* option : {"CONFIG_BPF_SYSCALL", "CONFIG_CGROUP_BPF", "CONFIG_NET_CLS_BPF", "CONFIG_SECCOMP_FILTER",
                               "CONFIG_NAMESPACES", "CONFIG_VETH", "CONFIG_INOTIFY_USER", "CONFIG_FHANDLE"}) {
      if (!modules_.configured(option)) missing.emplace_back(option);
    }
    add(missing.empty() ? Verdict::ok : Verdict::fail, "kernel configuration",
        missing.empty() ? "what is needed is there" : fmt::format("without {}", fmt::join(missing, ", ")),
        "boot a kernel that has these, such as Debian's");
  }

  void btf() {
    const bool there = exists("sys/kernel/btf/vmlinux");
    add(there ? Verdict::ok : Verdict::fail, "BTF", there ? "/sys/kernel/btf/vmlinux" : "no /sys/kernel/btf/vmlinux",
        "the BPF programs need a kernel built with CONFIG_DEBUG_INFO_BTF=y, such as Debian's");
  }

  void cgroups() {
    std::string unified;
    std::map<std::string, std::string> v1;
    for (const auto& mount : mounts(options_.root)) {
      if (mount.type == "cgroup2" && unified.empty()) unified = mount.point;
      if (mount.type != "cgroup") continue;
      for (const char* controller : {"cpu", "memory", "pids", "devices"}) {
        if (mount.options.contains(controller)) v1[controller] = mount.point;
      }
    }
    if (unified.empty()) {
      add(Verdict::fail, "cgroup v2", "no cgroup2 file system is mounted",
          "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup/unified");
      return;
    }
    add(Verdict::ok, "cgroup v2", unified + (v1.empty() ? "" : " (hybrid: v1 controllers beside it)"));
    const auto have = words(read(at(unified.substr(1)) / "cgroup.controllers").value_or(""));
    std::vector<std::string> places, missing;
    for (const std::string controller : {"cpu", "memory", "pids"}) {
      if (have.contains(controller)) {
        places.push_back(controller + " (v2)");
      } else if (v1.contains(controller)) {
        places.push_back(controller + " (v1)");
      } else {
        missing.push_back(controller);
      }
    }
    add(missing.empty() ? Verdict::ok : Verdict::warn, "cgroup controllers",
        missing.empty() ? fmt::format("{}", fmt::join(places, ", "))
                        : fmt::format("without {}", fmt::join(missing, ", ")),
        "pods run, but these limits are not enforced; boot with cgroup_enable=memory, or enable the controllers");
    if (!have.contains("memory") && v1.contains("memory") && !v1.contains("devices")) {
      add(Verdict::warn, "device allow-list", "no devices controller in v1",
          "devices are then limited by BPF on the v2 hierarchy only");
    }
  }

  void bpffs() {
    const auto& path = probes_.bpffs;
    const bool mounted = probes_.is_bpffs && probes_.is_bpffs(path);
    add(mounted ? Verdict::ok : Verdict::warn, "bpffs", mounted ? path : path + " is no bpf file system",
        "mount -t bpf bpf " + path + " (the agent does so by itself at its start, if it may)");
  }

  void modules() {
    const auto filesystems = words(read(at("proc/filesystems")).value_or(""));
    struct Need {
      const char* module;
      const char* label;
      Verdict without;
      const char* advice;
    };
    static constexpr Need kNeeds[] = {
        {"overlay", "overlayfs", Verdict::fail, "modprobe overlay; containers' file systems are made with it"},
        {"veth", "veth", Verdict::fail, "modprobe veth; pods are connected with it"},
    };
    for (const auto& need : kNeeds) {
      auto state = modules_.state(need.module);
      if (state.empty() && filesystems.contains(need.module)) state = "built in";
      if (state.empty() && modules_.knows_config()) {
        static const std::map<std::string, std::string> kOptions = {{"overlay", "CONFIG_OVERLAY_FS"},
                                                                    {"veth", "CONFIG_VETH"}};
        if (modules_.configured(kOptions.at(need.module))) state = "in the kernel's configuration";
      }
      // A kernel without modules tells nothing of what is built in.
      if (state.empty() && !exists("lib/modules/" + probes_.kernel_release)) {
        add(Verdict::warn, need.label, "cannot tell: no /lib/modules/" + probes_.kernel_release,
            fmt::format("if the agent complains: {}", need.advice));
        continue;
      }
      add(state.empty() ? need.without : Verdict::ok, need.label, state.empty() ? "missing" : state, need.advice);
    }
  }

  void traffic_hooks() {
    if (version_of(probes_.kernel_release) >= std::pair(6, 6)) {
      add(Verdict::ok, "tc hook", "tcx");
      return;
    }
    const auto state = modules_.state("sch_ingress");
    add(state.empty() ? Verdict::warn : Verdict::ok, "tc hook", state.empty() ? "no clsact" : "clsact (" + state + ")",
        "modprobe sch_ingress cls_bpf; without it NodePorts work from the node alone");
  }

  void privileges() {
    add(probes_.is_root ? Verdict::ok : Verdict::warn, "root", probes_.is_root ? "yes" : "no",
        "the agent needs it; run doctor as root too, to learn all");
    std::istringstream lines(read(at("proc/self/status")).value_or(""));
    uint64_t bounding = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("CapBnd:")) bounding = std::strtoull(line.c_str() + 7, nullptr, 16);
    }
    const bool may = (bounding >> kCapSysResource & 1) != 0;
    add(may ? Verdict::ok : Verdict::warn, "CAP_SYS_RESOURCE", may ? "yes" : "not in the bounding set",
        "oom_score_adj cannot be lowered: under memory pressure Guaranteed pods are not spared before others; give "
        "the agent this capability");
  }

  void forwarding() {
    for (const auto& [file, name] : {std::pair("proc/sys/net/ipv4/ip_forward", "IPv4 forwarding"),
                                     std::pair("proc/sys/net/ipv6/conf/all/forwarding", "IPv6 forwarding")}) {
      const auto value = read_number(at(file));
      if (!value) {
        add(Verdict::warn, name, "cannot be read", "without it pods of that family reach nobody outside the node");
      } else {
        add(Verdict::ok, name, *value != 0 ? "on" : "off (the agent turns it on)");
      }
    }
  }

  void pod_network() {
    if (!probes_.is_root) {
      add(Verdict::warn, "pod network", "cannot tell without root", "run doctor as root, as the agent does");
      return;
    }
    for (const auto& finding : probes_.examine_network(options_.network)) {
      using Severity = network::Finding::Severity;
      const auto verdict = finding.severity == Severity::fine    ? Verdict::ok
                           : finding.severity == Severity::error ? Verdict::fail
                                                                 : Verdict::warn;
      add(verdict, finding.subject, finding.found, finding.remedy);
    }
  }

  void limits() {
    struct Limit {
      const char* file;
      const char* name;
      int64_t enough;
    };
    static constexpr Limit kLimits[] = {
        {"proc/sys/fs/inotify/max_user_instances", "fs.inotify.max_user_instances", 512},
        {"proc/sys/fs/inotify/max_user_watches", "fs.inotify.max_user_watches", 16384},
        {"proc/sys/kernel/pid_max", "kernel.pid_max", 32768},
    };
    for (const auto& limit : kLimits) {
      const auto value = read_number(at(limit.file));
      if (!value) continue;
      add(*value >= limit.enough ? Verdict::ok : Verdict::warn, limit.name, std::to_string(*value),
          fmt::format("many pods, and programs in them, may run out: sysctl -w {}={}", limit.name, limit.enough));
    }
  }

  void listening() {
    if (!probes_.try_to_listen) return;
    const auto where = fmt::format("{}:{}", options_.listen_address, options_.listen_port);
    const auto listening = probes_.try_to_listen(options_.listen_address, options_.listen_port);
    if (listening) {
      add(Verdict::ok, "API port", where + " is free");
    } else if (probes_.agent_answers && probes_.agent_answers(options_.listen_address, options_.listen_port)) {
      add(Verdict::ok, "API port", where + ": an agent answers");
    } else {
      add(Verdict::fail, "API port", where + ": " + listening.error().message,
          fmt::format("see who has it with ss -tlnp 'sport = :{}' (kubelet?), or give the agent another --listen",
                      options_.listen_port));
    }
  }

  const DoctorOptions& options_;
  const HostProbes& probes_;
  Modules modules_;
  std::vector<Check> checks_;
};

// A TCP socket and the address, for bind or connect.
struct Tcp {
  host::Fd fd;
  sockaddr_storage address{};
  socklen_t size = 0;
};

host::Result<Tcp> tcp(const std::string& address, uint16_t port) {
  Tcp made;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&made.address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&made.address);
  if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    made.size = sizeof *v4;
  } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    made.size = sizeof *v6;
  } else {
    return host::fail(host::Error::Code::invalid, address + " is no address");
  }
  made.fd = host::Fd(::socket(made.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!made.fd) return host::sys_fail("socket");
  return made;
}

host::Status try_to_listen(const std::string& address, uint16_t port) {
  auto socket = tcp(address, port);
  if (!socket) return std::unexpected(std::move(socket.error()));
  const int on = 1;
  setsockopt(socket->fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket->fd.get(), reinterpret_cast<sockaddr*>(&socket->address), socket->size) != 0 ||
      ::listen(socket->fd.get(), 1) != 0) {
    return host::sys_fail("listen");
  }
  return {};
}

bool agent_answers(const std::string& address, uint16_t port) {
  auto socket = tcp(address, port);
  if (!socket) return false;
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  setsockopt(socket->fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(socket->fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(socket->fd.get(), reinterpret_cast<sockaddr*>(&socket->address), socket->size) != 0) return false;
  // The metrics are ours alone; kubelet answers 401.
  static constexpr std::string_view kRequest = "GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
  if (::send(socket->fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) return false;
  std::string answer;
  char block[16384];
  for (ssize_t size; (size = ::recv(socket->fd.get(), block, sizeof block, 0)) > 0 && answer.size() < 1u << 20;) {
    answer.append(block, static_cast<size_t>(size));
  }
  return answer.find("keelson_") != std::string::npos;
}

std::string_view word_of(Verdict verdict) {
  return verdict == Verdict::ok ? "ok" : verdict == Verdict::warn ? "warn" : "fail";
}

}  // namespace

HostProbes HostProbes::live() {
  HostProbes probes;
  utsname names{};
  if (uname(&names) == 0) probes.kernel_release = names.release;
  probes.is_root = geteuid() == 0;
  probes.is_bpffs = [](const std::string& path) {
    struct statfs status{};
    return statfs(path.c_str(), &status) == 0 && static_cast<uint32_t>(status.f_type) == BPF_FS_MAGIC;
  };
  probes.run = [](std::vector<std::string> argv) -> host::Result<std::string> {
    if (access(argv.front().c_str(), X_OK) != 0) return host::sys_fail(argv.front());
    host::SpawnOptions options;
    options.argv = argv;
    options.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
    auto output = host::run(options, "", 5000);
    if (!output) return std::unexpected(std::move(output.error()));
    if (output->wait_status != 0) return host::fail(fmt::format("{}: {}", argv.front(), output->err));
    return std::move(output->out);
  };
  probes.try_to_listen = ctl::try_to_listen;
  probes.agent_answers = ctl::agent_answers;
  probes.examine_network = keelson::network::examine_host;
  return probes;
}

std::vector<Check> examine(const DoctorOptions& options, const HostProbes& probes) {
  return Examination(options, probes).run();
}

std::string report(const std::vector<Check>& checks) {
  size_t width = 0, warned = 0, failed = 0;
  for (const auto& check : checks) width = std::max(width, check.name.size());
  std::string out;
  for (const auto& check : checks) {
    warned += check.verdict == Verdict::warn;
    failed += check.verdict == Verdict::fail;
    out += fmt::format("{:<4}  {:<{}}  {}\n", word_of(check.verdict), check.name, width, check.found);
    if (!check.advice.empty()) out += fmt::format("      {:<{}}  → {}\n", "", width, check.advice);
  }
  out += failed > 0   ? fmt::format("\n{} of {} checks failed: the agent will not work here as it should.\n", failed,
                                    checks.size())
         : warned > 0 ? fmt::format("\nThis host can run keelson-agent; {} of {} checks have something to say.\n",
                                    warned, checks.size())
                      : "\nThis host has all that keelson-agent needs.\n";
  return out;
}

std::string report_json(const std::vector<Check>& checks) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto member = [&](const char* name, std::string_view value) {
    writer.Key(name);
    writer.String(value.data(), static_cast<unsigned>(value.size()));
  };
  writer.StartObject();
  member("kind", "CheckList");
  writer.Key("items");
  writer.StartArray();
  for (const auto& check : checks) {
    writer.StartObject();
    member("verdict", word_of(check.verdict));
    member("name", check.name);
    member("found", check.found);
    member("advice", check.advice);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

bool any_failed(const std::vector<Check>& checks) {
  return std::ranges::any_of(checks, [](const auto& check) { return check.verdict == Verdict::fail; });
}

}  // namespace keelson::ctl
