#pragma once
// A master run from outside by a program that talks to it itself, and what it costs: in a
// network of its own, which the program's process enters, so that nobody else is asked or heard.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "host/file.h"
#include "host/process.h"

namespace keelson::test {

inline constexpr const char* kMasterAddress = "192.0.2.10";

// The calling thread and those it makes from now on.
inline void enter_own_network() {
  BOOST_REQUIRE_MESSAGE(::unshare(CLONE_NEWNET) == 0, "a network of its own needs root");
  // With a way out, that leads nowhere: the master tells others the default route's source.
  BOOST_REQUIRE(std::system("ip link set lo up && ip link add test0 type veth peer name test1 && "
                            "ip address add 192.0.2.10/24 dev test0 && ip link set test0 up && "
                            "ip link set test1 up && ip route add default via 192.0.2.1") == 0);
}

inline host::Path own_binaries() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

// A child of ours, ended with it. Its output goes to a file.
class Daemon {
 public:
  Daemon(std::vector<std::string> argv, const host::Path& log) {
    auto output = host::open_file(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    BOOST_REQUIRE(output.has_value());
    auto child = host::spawn({.argv = std::move(argv),
                              .environment = {"PATH=/usr/bin:/bin"},
                              .fds = {{output->get(), 1}, {output->get(), 2}}});
    BOOST_REQUIRE_MESSAGE(child.has_value(), (child ? "" : child.error().message));
    child_ = std::move(*child);
  }
  ~Daemon() { stop(); }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  pid_t pid() const { return child_ ? child_->identity.pid : 0; }
  void stop(int signal = SIGTERM) {
    if (!child_) return;
    (void)host::send_signal(child_->pidfd, signal);
    for (int i = 0; i < 1000 && !host::reap(child_->pidfd); ++i) {
      if (i == 900) (void)host::send_signal(child_->pidfd, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    child_.reset();
  }

 private:
  std::optional<host::Child> child_;
};

// Fields 14 and 15 of proc(5) stat; all threads.
inline double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto end = text.rfind(')');
  if (end == std::string::npos) return 0;
  std::istringstream fields(text.substr(end + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

inline double rss_mib(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

// The child of that name; 0 when there is none.
inline pid_t child_of(pid_t parent, const std::string& name) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    std::ifstream file(entry.path() / "stat");
    std::string text;
    if (!std::getline(file, text)) continue;
    const auto open = text.find('('), close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos) continue;
    if (text.substr(open + 1, close - open - 1) != name) continue;
    std::istringstream fields(text.substr(close + 2));
    std::string state;
    pid_t ppid = 0;
    fields >> state >> ppid;
    if (ppid == parent) return std::stoi(text);
  }
  return 0;
}

}  // namespace keelson::test
