#include "tools/keelsonctl/terminal.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "host/fd.h"

namespace keelson::ctl {

namespace {

class RawMode {
 public:
  RawMode() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    cfmakeraw(&raw);
    changed_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~RawMode() {
    if (changed_) tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

std::optional<TerminalSize> terminal_size() {
  winsize size{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return std::nullopt;
  return TerminalSize{.columns = size.ws_col, .rows = size.ws_row};
}

sigset_t terminal_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGWINCH, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void block_terminal_signals() {
  const auto set = terminal_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

host::Status run_terminal(const TerminalInput& input, const std::function<void(std::string_view)>& typed,
                          const std::function<void()>& typed_end, const std::function<void(TerminalSize)>& resized) {
  const bool terminal = input.raw && isatty(STDIN_FILENO) == 1;
  host::Fd signals;
  std::optional<RawMode> raw;
  if (terminal) {
    const auto set = terminal_signals();
    signals = host::Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals) return host::sys_fail("signalfd");
    raw.emplace();
    if (const auto size = terminal_size()) resized(*size);
  }
  bool reading = input.read_stdin;
  while (true) {
    std::array<pollfd, 3> watched = {pollfd{.fd = input.stop, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = reading ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = signals ? signals.get() : -1, .events = POLLIN, .revents = 0}};
    if (poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return host::sys_fail("poll");
    }
    if (watched[0].revents != 0) return {};
    if (watched[2].revents != 0) {
      signalfd_siginfo info;
      if (::read(signals.get(), &info, sizeof info) == sizeof info && info.ssi_signo != SIGWINCH) {
        return host::fail("ended by a signal");
      }
      if (const auto size = terminal_size()) resized(*size);
    }
    if (watched[1].revents != 0) {
      std::array<char, 16384> block;
      const ssize_t size = ::read(STDIN_FILENO, block.data(), block.size());
      if (size > 0) {
        typed(std::string_view(block.data(), static_cast<size_t>(size)));
      } else if (size == 0 || (errno != EINTR && errno != EAGAIN)) {
        reading = false;
        typed_end();
      }
    }
  }
}

int say(const host::Error& error) {
  fmt::print(stderr, "keelsonctl: {}\n", error.message);
  return 1;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size > 0) {
      text.remove_prefix(static_cast<size_t>(size));
    } else if (errno == EAGAIN) {
      pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace keelson::ctl
