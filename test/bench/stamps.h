#pragma once
// When a Pod's process ran: it is demo-echo, whose `now` prints the monotonic clock as its
// first deed, and its log is read on the node.

#include <signal.h>
#include <time.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "test/integration/sandbox.h"

namespace keelson::test {

inline int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// The stamp that the Pod's process printed; 0 while it has not.
inline int64_t stamp(const Sandbox& node, const std::string& pod) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(node.root_dir() / "logs", ignored)) {
    if (!entry.path().filename().string().starts_with("default_" + pod + "_")) continue;
    std::ifstream log(entry.path() / "main/0.log");
    for (std::string line; std::getline(log, line);) {
      const auto at = line.find("now ");
      if (at != std::string::npos) return std::stoll(line.substr(at + 4));
    }
  }
  return 0;
}

inline int64_t wait_for_stamp(const Sandbox& node, const std::string& pod) {
  int64_t result = 0;
  for (int i = 0; i < 10000 && result == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    result = stamp(node, pod);
  }
  BOOST_REQUIRE_MESSAGE(result != 0, pod << " did not run\n" << node.agent_log());
  return result;
}

// The node's run directory is a tmpfs, as /run is on a node, until the agent has been stopped.
class RunOnTmpfs {
 public:
  explicit RunOnTmpfs(Sandbox& node) : node_(node) {
    std::filesystem::create_directories(node.run_dir());
    node.shell("mount -t tmpfs -o mode=755 keelson-bench " + node.run_dir().string());
  }
  ~RunOnTmpfs() {
    if (node_.agent_runs()) {
      node_.drain();
      node_.stop_agent(SIGTERM);
    }
    node_.shell("umount " + node_.run_dir().string());
  }
  RunOnTmpfs(const RunOnTmpfs&) = delete;
  RunOnTmpfs& operator=(const RunOnTmpfs&) = delete;

 private:
  Sandbox& node_;
};

}  // namespace keelson::test
