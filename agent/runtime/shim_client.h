#pragma once
// One shim, seen from the agent: its socket, its process, and the requests that wait
// for an answer. All on the loop's thread.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/runtime/shim/protocol.h"
#include "host/error.h"
#include "host/fd.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::runtime {

struct ShimMessage {
  shim::Type type = shim::Type::done;
  std::string body;
  std::vector<host::Fd> fds;

  // The body as a message of that type; its text is viewed in here.
  template <typename Message>
  host::Result<Message> as() const {
    Message message;
    shim::Reader in(body.data(), body.size());
    if (!message.decode(in)) return host::fail("the shim's answer is malformed");
    return message;
  }
};

// Connects to a shim's socket in that directory; the path may be longer than sun_path.
host::Result<host::Fd> connect_shim(const host::Path& run_directory);
// Makes that socket, listening, mode 0600.
host::Result<host::Fd> listen_for_shim(const host::Path& run_directory);

class ShimClient {
 public:
  // Answer to one request: never `error`, which becomes an Error. For exec it is called
  // twice, with exec_started and exec_exited.
  using Reply = std::move_only_function<void(host::Result<ShimMessage>)>;

  struct Events {
    std::function<void(const ShimMessage&)> reported;  // `exited`
    std::function<void()> disconnected;                // the socket is of no more use; the process may live
    std::function<void()> ended;                       // the process has ended
  };

  // The events are called from the loop, never from within a call here; any of them
  // may destroy the client.
  static host::Result<std::unique_ptr<ShimClient>> create(host::Loop& loop, host::Fd socket, host::Fd pidfd,
                                                          Events events);
  // Waiting replies are dropped without a call.
  ~ShimClient();

  void call(shim::Type type, std::string body, std::vector<host::Fd> fds, Reply reply);
  // Every waiting reply gets the error.
  void fail_all(const host::Error& error);
  // After a lost connection.
  host::Status reconnect(host::Fd socket);
  const host::Fd& pidfd() const { return pidfd_; }

 private:
  struct Outgoing {
    std::string packet;
    std::vector<host::Fd> fds;
  };
  ShimClient(host::Loop& loop, host::Fd socket, host::Fd pidfd, Events events);
  host::Status watch();
  void readable();
  bool send(const Outgoing& outgoing);  // false: not now
  void flush();
  void lose();

  host::Loop& loop_;
  host::Fd socket_;
  host::Fd pidfd_;
  Events events_;
  host::FdWatch socket_watch_, writable_watch_, process_watch_;
  std::map<uint32_t, Reply> waiting_;
  std::deque<Outgoing> outgoing_;
  uint32_t last_number_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with calls that may destroy us
};

}  // namespace keelson::runtime
