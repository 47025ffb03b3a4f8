#pragma once
// Time and threads as this room sees them: the loop in the agent, a hand-driven
// double in tests. Everything is called, and calls back, on the loop's thread.

#include <cstdint>
#include <functional>
#include <memory>

#include "host/loop.h"

namespace keelson::pods {

using Duration = host::Duration;
using TimePoint = host::TimePoint;

// One reading of both clocks: `steady` for deadlines, `wall_us` (microseconds since
// the epoch) for what a user reads.
struct Moment {
  TimePoint steady;
  int64_t wall_us = 0;
};

// A deadline that is set; destroying it cancels.
class Armed {
 public:
  virtual ~Armed() = default;
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual Moment now() = 0;
  virtual std::unique_ptr<Armed> after(Duration delay, std::function<void()> task) = 0;
  // Later in this turn of the loop, in order.
  virtual void post(std::function<void()> task) = 0;
  // `work` on a worker thread, then `done` on the loop's thread. Jobs of one lane
  // run in order (0: no order).
  virtual void offload(std::function<void()> work, std::function<void()> done, uint64_t lane) = 0;
  // Uniform in [0, 1), for jitter.
  virtual double random() = 0;
};

std::unique_ptr<Scheduler> make_scheduler(host::Loop& loop);

}  // namespace keelson::pods
