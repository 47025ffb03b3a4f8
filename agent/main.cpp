// keelson-agent: reads the flags, makes the Agent and lets it run.

#include <fmt/core.h>
#include <malloc.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/described_node.h"
#include "agent/options.h"
#include "host/log.h"

namespace {

// One heap for all threads, whose free pages go back when a burst is over: arenas of the workers' own
// would keep theirs, and glibc's growing threshold would keep large buffers on the heap.
void keep_memory_small() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace keelson;
  keep_memory_small();
  auto command_line = agent::parse_command_line(argc, argv);
  if (command_line.exit_code) return *command_line.exit_code;
  const auto refuse = [](const host::Error& error, int code) {
    fmt::print(stderr, "keelson-agent: {}\n", error.message);
    return code;
  };
  auto level = host::parse_log_level(command_line.options.log_level);
  if (!level) return refuse(level.error(), 2);
  host::set_log_level(*level);
  if (::geteuid() != 0) return refuse({.message = "needs root: it makes namespaces and cgroups and loads eBPF"}, 1);
  auto node = agent::describe_node(command_line.options);
  if (!node) return refuse(node.error(), node.error().code == host::Error::Code::invalid ? 2 : 1);
  agent::Agent agent(std::move(command_line.options), std::move(*node));
  if (auto checked = agent.check(); !checked) return refuse(checked.error(), 2);
  if (auto started = agent.start(); !started) return refuse(started.error(), 1);
  return agent.run();
}
