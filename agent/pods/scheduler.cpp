#include "agent/pods/scheduler.h"

#include <chrono>
#include <random>
#include <utility>

namespace keelson::pods {
namespace {

struct LoopTimer : Armed {
  explicit LoopTimer(host::Timer timer) : timer(std::move(timer)) {}
  host::Timer timer;
};

class LoopScheduler : public Scheduler {
 public:
  explicit LoopScheduler(host::Loop& loop) : loop_(loop), engine_(std::random_device{}()) {}

  Moment now() override {
    auto wall = std::chrono::system_clock::now().time_since_epoch();
    return {host::Clock::now(), std::chrono::duration_cast<std::chrono::microseconds>(wall).count()};
  }
  std::unique_ptr<Armed> after(Duration delay, std::function<void()> task) override {
    return std::make_unique<LoopTimer>(loop_.after(delay, std::move(task)));
  }
  void post(std::function<void()> task) override { loop_.post(std::move(task)); }
  void offload(std::function<void()> work, std::function<void()> done, uint64_t lane) override {
    loop_.offload(
        [work = std::move(work)] {
          work();
          return true;
        },
        [done = std::move(done)](bool) { done(); }, lane);
  }
  double random() override { return std::uniform_real_distribution<double>(0, 1)(engine_); }

 private:
  host::Loop& loop_;
  std::minstd_rand engine_;  // jitter only: nothing secret
};

}  // namespace

std::unique_ptr<Scheduler> make_scheduler(host::Loop& loop) { return std::make_unique<LoopScheduler>(loop); }

}  // namespace keelson::pods
