#pragma once
// Sends a container's log to one client, block by block as the client takes it, and on
// follow as it grows. Loop's thread; the file is read on a worker.

#include <functional>
#include <memory>

#include "agent/server/log_reader.h"
#include "host/loop.h"
#include "http/server.h"

namespace keelson::server {

class LogStream : public std::enable_shared_from_this<LogStream> {
 public:
  // `running` tells whether the attempt still runs: a followed log ends with it. `over`
  // is called once, later, when the stream has ended: the owner drops it.
  LogStream(host::Loop& loop, host::Path file, LogOptions options, bool follow, std::function<bool()> running,
            std::function<void()> over);
  // Answers, with `fail` when the log cannot be read at all.
  void start(http::Exchange exchange, const std::function<http::Answer(const host::Error&)>& fail);

 private:
  void read();
  void got(std::string text, bool at_end);
  void wait_for_more();
  void end();

  host::Loop& loop_;
  host::Path file_;
  std::shared_ptr<LogReader> reader_;  // shared with the worker that reads
  bool follow_;
  std::function<bool()> running_;
  std::function<void()> over_;
  http::Stream stream_;
  std::unique_ptr<LogWatch> watch_;
  host::Timer look_;
  bool reading_ = false, changed_ = false, at_end_ = false, last_round_ = false, ended_ = false;
};

}  // namespace keelson::server
