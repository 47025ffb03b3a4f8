#pragma once
// An etcd of the master's own: a child process that listens on unix sockets in its
// directory and on no network, is started again when it dies, and never outlives us.
//
// Loop's thread, which must be the process's main thread: the child is killed when the
// thread that started it ends (PR_SET_PDEATHSIG). What etcd acknowledged is on disk by
// then; killing it loses nothing.
//
//   <directory>/data        etcd's data
//   <directory>/client.sock:0, peer.sock:0    etcd 3.4 takes unix sockets by a name in its
//                                             working directory, with a port that means nothing
//   <directory>/notify      where it says that it serves (sd_notify(3))

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::etcd_child {

struct Settings {
  host::Path directory;  // made when missing, 0700
  std::string program = "/usr/bin/etcd";
  int64_t quota_bytes = int64_t{8} << 30;  // of its database; beyond it writes fail (etcd advises 8 GiB at most)
  host::Duration least_backoff = std::chrono::milliseconds(100);  // after a death; doubles, with jitter
  host::Duration most_backoff = std::chrono::seconds(10);
  host::Duration stop_timeout = std::chrono::seconds(10);  // from SIGTERM to SIGKILL
};

class EtcdChild {
 public:
  struct Impl;
  // `ready` runs each time it begins to serve, later. Fails when the directory cannot be used
  // or the program cannot be run at all; a child that dies later is started again, and the
  // reason is logged.
  static host::Result<std::unique_ptr<EtcdChild>> start(host::Loop& loop, Settings settings,
                                                        std::function<void()> ready);
  // Kills it, if stop() has not ended it before.
  ~EtcdChild();

  // For etcd::Settings::servers; valid while this object lives, whether it serves or not.
  std::string endpoint() const;
  bool serves() const;
  int64_t pid() const;     // 0: it is not running now
  int64_t deaths() const;  // how often it has been started again

  // Ends it gracefully and for good; `stopped` runs once it has ended.
  void stop(std::function<void()> stopped);

 private:
  explicit EtcdChild(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::etcd_child
