#pragma once
// `keelsonctl doctor`: what this kernel and host lack for running pods and services, and
// what to do about it. Reads /proc and /sys below `root`, so that tests can make up a
// host; the few questions that only a live kernel answers are functions of `probes`. What
// the pod network needs, agent/network/doctor.h knows.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/network/doctor.h"
#include "host/error.h"
#include "host/file.h"

namespace keelson::ctl {

struct Check {
  enum class Verdict { ok, warn, fail };
  Verdict verdict = Verdict::ok;
  std::string name;    // "BTF"
  std::string found;   // what is there
  std::string advice;  // what to do; empty when ok
};

struct HostProbes {
  std::string kernel_release;  // uname -r
  std::string bpffs = "/sys/fs/bpf";
  bool is_root = true;
  std::function<bool(const std::string&)> is_bpffs;                                        // statfs: BPF_FS_MAGIC
  std::function<host::Result<std::string>(std::vector<std::string>)> run;                  // stdout of a program
  std::function<host::Status(const std::string&, uint16_t)> try_to_listen;                 // TCP, address and port
  std::function<bool(const std::string&, uint16_t)> agent_answers;                         // GET /metrics there
  std::function<std::vector<network::Finding>(const network::Settings&)> examine_network;  // asked as root only
  static HostProbes live();
};

struct DoctorOptions {
  host::Path root = "/";
  std::string listen_address = "127.0.0.1";
  uint16_t listen_port = 10250;
  network::Settings network;
};

std::vector<Check> examine(const DoctorOptions& options, const HostProbes& probes);

// One line per check, its advice below; a last line that sums up.
std::string report(const std::vector<Check>& checks);
std::string report_json(const std::vector<Check>& checks);
bool any_failed(const std::vector<Check>& checks);

}  // namespace keelson::ctl
