#pragma once
// Our own end of an exec: stdin read as it comes, the terminal in raw mode meanwhile,
// its size told at the start and when it changes.

#include <cstdint>
#include <functional>
#include <string_view>

#include "host/error.h"

namespace keelson::ctl {

struct TerminalSize {
  uint16_t columns = 0, rows = 0;
};

struct TerminalInput {
  bool read_stdin = false;
  bool raw = false;  // and tell the size, when stdin is a terminal
  int stop = -1;     // a descriptor that becomes readable when it is over
};

// Before the process has any other thread, when the terminal will be raw: the signals
// that run_terminal() takes must be blocked in all of them.
void block_terminal_signals();

// Blocks until `stop`. The terminal's modes are put back, whatever happens; SIGTERM and
// SIGHUP count as `stop` while they are changed. Callbacks may throw: that ends it too.
host::Status run_terminal(const TerminalInput& input, const std::function<void(std::string_view)>& typed,
                          const std::function<void()>& typed_end, const std::function<void(TerminalSize)>& resized);

// "keelsonctl: <error>" on stderr; returns the exit code, 1.
int say(const host::Error& error);

// All of it, waiting as long as it takes; an error (a closed pipe) is ignored.
void write_all(int fd, std::string_view text);

}  // namespace keelson::ctl
