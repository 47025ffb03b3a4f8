#include "agent/server/exec_session.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <rapidjson/document.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "agent/server/render.h"

namespace keelson::server {

namespace {

enum Channel : uint8_t { kStdin = 0, kStdout = 1, kStderr = 2, kStatus = 3, kResize = 4, kClose = 255 };

constexpr size_t kStdinPiece = 32u << 10;
constexpr size_t kAhead = 1u << 20;  // output queued for the client before the process is made to wait

struct Pipe {
  host::Fd read, write;
};

// Our end does not block; the other is the process's.
host::Result<Pipe> make_pipe(bool we_read) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return host::sys_fail("pipe2");
  Pipe pipe{.read = host::Fd(fds[0]), .write = host::Fd(fds[1])};
  if (fcntl((we_read ? pipe.read : pipe.write).get(), F_SETFL, O_NONBLOCK) != 0) return host::sys_fail("fcntl");
  return pipe;
}

// O_NONBLOCK belongs to the open file, which for a terminal's master is ours alone.
host::Result<host::Fd> duplicate(const host::Fd& fd) {
  host::Fd copy(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return host::sys_fail("fcntl F_DUPFD_CLOEXEC");
  return copy;
}

}  // namespace

host::Result<ExecOptions> parse_exec_options(const http::Query& query) {
  ExecOptions options;
  options.command = query.all("command");
  const auto either = [&](bool& into, const char* name, const char* other) -> host::Status {
    for (const char* one : {name, other}) {
      const auto flag = query.flag(one);
      if (!flag) return std::unexpected(flag.error());
      into = into || *flag;
    }
    return {};
  };
  for (const auto& status :
       {either(options.use_stdin, "stdin", "input"), either(options.use_stdout, "stdout", "output"),
        either(options.use_stderr, "stderr", "error"), either(options.tty, "tty", "tty")}) {
    if (!status) return std::unexpected(status.error());
  }
  if (options.command.empty() || options.command.front().empty()) {
    return host::fail(host::Error::Code::invalid, "you must specify at least 1 command to run (?command=…)");
  }
  if (!options.use_stdin && !options.use_stdout && !options.use_stderr) {
    return host::fail(host::Error::Code::invalid, "you must specify at least one of stdin, stdout, stderr");
  }
  if (options.tty) options.use_stderr = false;  // a terminal has one output
  return options;
}

ExecSession::ExecSession(host::Loop& loop, ExecOptions options, http::WebSocket socket, std::function<void()> over)
    : loop_(loop), options_(std::move(options)), socket_(std::move(socket)), over_(std::move(over)) {}

void ExecSession::start(const std::function<void(api::ExecSpec, api::Callback<int>)>& exec) {
  const auto weak = weak_from_this();
  socket_.on_closed([weak] {
    if (const auto self = weak.lock()) self->end();
  });
  socket_.on_drained([weak] {
    if (const auto self = weak.lock()) self->drained();
  });
  socket_.on_message([weak](std::string message) {
    if (const auto self = weak.lock()) self->received(std::move(message));
  });
  // An empty message first: the client may wait for a sign that the connection stands.
  const uint8_t first = options_.use_stdout ? kStdout : options_.use_stderr ? kStderr : kStatus;
  (void)socket_.send(std::string(1, static_cast<char>(first)));

  api::ExecSpec spec;
  spec.argv = options_.command;
  spec.tty = options_.tty;
  const auto failed = [&](const host::Error& error) { finish(render_exec_failure(error)); };
  if (options_.tty) {
    spec.on_tty = [weak](host::Fd master) {
      const auto self = weak.lock();
      if (!self || self->ended_) return;
      const int flags = fcntl(master.get(), F_GETFL);
      fcntl(master.get(), F_SETFL, flags | O_NONBLOCK);
      // Reading and writing are watched apart, and one epoll set takes a descriptor once.
      auto reading = duplicate(master);
      auto writing = duplicate(master);
      if (!reading || !writing) return;
      self->terminal_ = std::move(master);
      if (self->options_.use_stdin) self->stdin_ = std::move(*writing);
      self->outputs_.push_back(std::make_unique<Output>());
      self->outputs_.back()->channel = kStdout;
      self->outputs_.back()->fd = std::move(*reading);
      self->watch_output(*self->outputs_.back());
      if (!self->early_size_.empty()) self->resize(self->early_size_);
      self->write_stdin();
    };
  } else {
    if (options_.use_stdin) {
      auto pipe = make_pipe(false);
      if (!pipe) return failed(pipe.error());
      spec.stdin_fd = std::move(pipe->read);
      stdin_ = std::move(pipe->write);
    }
    for (const uint8_t channel : {kStdout, kStderr}) {
      if (channel == kStdout ? !options_.use_stdout : !options_.use_stderr) continue;
      auto pipe = make_pipe(true);
      if (!pipe) return failed(pipe.error());
      (channel == kStdout ? spec.stdout_fd : spec.stderr_fd) = std::move(pipe->write);
      outputs_.push_back(std::make_unique<Output>());
      outputs_.back()->channel = channel;
      outputs_.back()->fd = std::move(pipe->read);
    }
  }
  exec(std::move(spec), [weak](host::Result<int> exited) {
    const auto self = weak.lock();
    if (!self || self->ended_) return;
    if (!exited) return self->finish(render_exec_failure(exited.error()));
    self->final_status_ = render_exit(*exited);
    self->pump_after_exit();
  });
  for (const auto& output : outputs_) watch_output(*output);
}

void ExecSession::received(std::string message) {
  if (message.empty() || ended_) return;
  const auto channel = static_cast<uint8_t>(message.front());
  message.erase(0, 1);
  if (channel == kStdin && options_.use_stdin && !stdin_ends_) {
    stdin_pending_ += message;
    write_stdin();
  } else if (channel == kResize && options_.tty) {
    resize(message);
  } else if (channel == kClose && socket_.subprotocol() == "v5.channel.k8s.io" && message == std::string(1, kStdin)) {
    stdin_ends_ = true;
    write_stdin();
  }
}

void ExecSession::resize(std::string_view json) {
  if (!terminal_) {
    if (json.size() < 256) early_size_ = json;
    return;
  }
  rapidjson::Document size;
  size.Parse(json.data(), json.size());
  if (size.HasParseError() || !size.IsObject()) return;
  const auto read = [&](const char* name) {
    const auto member = size.FindMember(name);
    const bool usable = member != size.MemberEnd() && member->value.IsUint() && member->value.GetUint() <= 0xffff;
    return usable ? static_cast<unsigned short>(member->value.GetUint()) : static_cast<unsigned short>(0);
  };
  const winsize window{.ws_row = read("Height"), .ws_col = read("Width"), .ws_xpixel = 0, .ws_ypixel = 0};
  if (window.ws_row > 0 && window.ws_col > 0) ioctl(terminal_.get(), TIOCSWINSZ, &window);
}

void ExecSession::write_stdin() {
  if (!stdin_) {
    if (!options_.tty || terminal_) stdin_pending_.clear();  // it has been closed: what comes is for nobody
    return;
  }
  while (!stdin_pending_.empty()) {
    const ssize_t size = ::write(stdin_.get(), stdin_pending_.data(), stdin_pending_.size());
    if (size > 0) {
      stdin_pending_.erase(0, static_cast<size_t>(size));
    } else if (errno == EAGAIN) {
      if (waits_for_stdin_) return;
      // The process does not read: then the client shall not send.
      waits_for_stdin_ = true;
      socket_.pause();
      auto watch = loop_.on_writable(stdin_.get(), [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->write_stdin();
      });
      if (watch) stdin_watch_ = std::move(*watch);
      return;
    } else if (errno != EINTR) {
      return stop_stdin();  // the process has closed it
    }
  }
  if (waits_for_stdin_) {
    waits_for_stdin_ = false;
    stdin_watch_ = {};
    socket_.resume();
  }
  if (stdin_ends_) {
    if (options_.tty) {
      stdin_ends_ = false;
      stdin_pending_.assign(1, '\x04');  // a terminal's end of file
      return write_stdin();
    }
    stop_stdin();
  }
}

void ExecSession::stop_stdin() {
  if (waits_for_stdin_) socket_.resume();
  waits_for_stdin_ = false;
  stdin_watch_ = {};
  stdin_.reset();
  stdin_pending_.clear();
}

void ExecSession::watch_output(Output& output) {
  if (output.watching || !output.fd) return;
  auto watch = loop_.on_readable(output.fd.get(), [weak = weak_from_this(), &output] {
    if (const auto self = weak.lock(); self && !self->ended_) self->pump(output, false);
  });
  if (!watch) return finish(render_exec_failure(watch.error()));
  output.watch = std::move(*watch);
  output.watching = true;
}

bool ExecSession::pump(Output& output, bool only_now) {
  std::array<char, kStdinPiece> block;
  while (output.fd) {
    if (socket_.queued() > kAhead) {
      output.watch = {};  // drained() goes on
      output.watching = false;
      return false;
    }
    const ssize_t size = ::read(output.fd.get(), block.data(), block.size());
    if (size > 0) {
      std::string message(1, static_cast<char>(output.channel));
      message.append(block.data(), static_cast<size_t>(size));
      if (!socket_.send(std::move(message))) return true;
      if (!only_now) return false;  // others have their turn
    } else if (size < 0 && errno == EINTR) {
      continue;
    } else if (size < 0 && errno == EAGAIN) {
      return only_now;
    } else {  // end of file; EIO from a terminal whose processes have gone
      output.watch = {};
      output.watching = false;
      output.fd.reset();
    }
  }
  return true;
}

void ExecSession::pump_after_exit() {
  // What the process wrote is all there by now. A child that it left behind may hold the
  // pipes for ever; nobody waits for that.
  for (const auto& output : outputs_) {
    if (!pump(*output, true)) return;
  }
  finish(std::move(final_status_));
}

void ExecSession::drained() {
  if (ended_) return;
  if (!final_status_.empty()) return pump_after_exit();
  for (const auto& output : outputs_) watch_output(*output);
}

void ExecSession::finish(std::string status) {
  if (ended_) return;
  (void)socket_.send(std::string(1, static_cast<char>(kStatus)) + status);
  socket_.close();
  end();
}

void ExecSession::end() {
  if (ended_) return;
  ended_ = true;
  stdin_watch_ = {};
  stdin_.reset();
  for (const auto& output : outputs_) {
    output->watch = {};
    output->fd.reset();
  }
  terminal_.reset();
  if (auto over = std::exchange(over_, nullptr)) loop_.post(std::move(over));
}

}  // namespace keelson::server
