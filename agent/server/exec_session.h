#pragma once
// One exec over a WebSocket: Kubernetes' remote command protocol, subprotocols
// v4.channel.k8s.io and v5.channel.k8s.io (KEP-4006). The first byte of each binary
// message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the Status at the end, 4 the
// terminal's size, and with v5 255: the channel named in the next byte is closed.
//
// Loop's thread. The session owns the WebSocket and our ends of the pipes. When the
// client goes, they are closed, and the process sees end of file, SIGPIPE or SIGHUP, as
// under kubelet.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/server/views.h"
#include "host/fd.h"
#include "host/loop.h"
#include "http/server.h"

namespace keelson::server {

struct ExecOptions {
  std::vector<std::string> command;
  bool use_stdin = false, use_stdout = false, use_stderr = false, tty = false;
};
// From the query: command (repeated), stdin, stdout, stderr, tty, also by the names
// that the API server uses towards kubelet: input, output, error.
host::Result<ExecOptions> parse_exec_options(const http::Query& query);

class ExecSession : public std::enable_shared_from_this<ExecSession> {
 public:
  // `over` is called once, later, when there is nothing left to do: the owner drops it.
  ExecSession(host::Loop& loop, ExecOptions options, http::WebSocket socket, std::function<void()> over);
  // Runs the command by `exec`; everything else follows from there.
  void start(const std::function<void(api::ExecSpec, api::Callback<int>)>& exec);

 private:
  struct Output {
    uint8_t channel = 0;
    host::Fd fd;
    host::FdWatch watch;
    bool watching = false;
  };

  void received(std::string message);
  void resize(std::string_view json);
  void write_stdin();
  void stop_stdin();
  void watch_output(Output& output);
  // Sends what there is. True when the end was reached, or all was taken and `only_now`.
  bool pump(Output& output, bool only_now);
  void pump_after_exit();
  void drained();
  void finish(std::string status);
  void end();

  host::Loop& loop_;
  ExecOptions options_;
  http::WebSocket socket_;
  std::function<void()> over_;
  host::Fd terminal_;  // with tty: stdin and stdout both
  host::Fd stdin_;
  host::FdWatch stdin_watch_;
  bool waits_for_stdin_ = false, stdin_ends_ = false;
  std::string stdin_pending_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::string final_status_;  // the process has ended with it; output may still be left
  std::string early_size_;    // a size that came before the terminal
  bool ended_ = false;
};

}  // namespace keelson::server
