#pragma once
// The event loop: one thread that owns all state, and a small pool of workers for
// what blocks. Built on Boost.Asio, which only loop.cpp and http/ include.
//
// Everything here but post() and stop() is called on the loop's thread. Callbacks
// run on the loop's thread, never inside the call that registered them.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "host/error.h"

namespace boost::asio {
class io_context;
}

namespace keelson::host {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

class Loop;

// A deadline. Destroying or re-arming it cancels: the old callback does not run.
class Timer {
 public:
  Timer();
  Timer(Timer&&) noexcept;
  Timer& operator=(Timer&&) noexcept;
  ~Timer();
  bool armed() const;
  void cancel();

 private:
  friend class Loop;
  struct State;
  std::shared_ptr<State> state_;  // shared with the pending Asio operation
};

// A file descriptor under watch. The descriptor itself belongs to the caller and
// must outlive the watch; destroying the watch ends it, and the callback does not
// run again.
class FdWatch {
 public:
  FdWatch();
  FdWatch(FdWatch&&) noexcept;
  FdWatch& operator=(FdWatch&&) noexcept;
  ~FdWatch();

 private:
  friend class Loop;
  struct State;
  std::shared_ptr<State> state_;  // shared with the pending Asio operation
};

class Loop {
 public:
  // Workers are threads for blocking calls (file systems, fsync, DNS).
  static std::unique_ptr<Loop> create(unsigned workers = 2);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). Returns after the workers' running jobs have ended.
  void run();
  // From any thread, and from a signal callback.
  void stop();

  // From any thread: run `task` on the loop's thread, in order.
  void post(std::move_only_function<void()> task);

  // `task` once, at or after now + delay.
  Timer after(Duration delay, std::function<void()> task);

  // `task` each time the descriptor is readable (level-triggered; hang-ups too).
  Result<FdWatch> on_readable(int fd, std::function<void()> task);
  // `task` each time it is writable, until the watch goes.
  Result<FdWatch> on_writable(int fd, std::function<void()> task);

  // `task` for each arrival of the signal, until the loop ends.
  void on_signal(int signal, std::function<void()> task);

  // `work` on a worker; then `done(result)` on the loop's thread. Jobs of one
  // `lane` run one after the other, in order (0: no order).
  template <typename Work, typename Done>
  void offload(Work work, Done done, uint64_t lane = 0) {
    offload_task(
        [this, work = std::move(work), done = std::move(done)]() mutable {
          auto result = std::make_shared<decltype(work())>(work());  // moves to the loop's thread
          post([result, done = std::move(done)]() mutable { done(std::move(*result)); });
        },
        lane);
  }

  // For http/, which builds on Asio too.
  boost::asio::io_context& context();

 private:
  struct Impl;
  explicit Loop(std::unique_ptr<Impl> impl);
  Result<FdWatch> watch(int fd, bool for_writing, std::function<void()> task);
  void offload_task(std::move_only_function<void()> task, uint64_t lane);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::host
