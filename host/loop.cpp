#include "host/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>
#include <vector>

namespace keelson::host {

namespace asio = boost::asio;

struct Timer::State {
  asio::steady_timer timer;
  std::function<void()> task;
  bool armed = true;
};

Timer::Timer() = default;
Timer::Timer(Timer&&) noexcept = default;
Timer& Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}
Timer::~Timer() { cancel(); }

bool Timer::armed() const { return state_ && state_->armed; }

void Timer::cancel() {
  if (!state_) return;
  state_->armed = false;
  state_->task = nullptr;
  state_->timer.cancel();
  state_.reset();
}

struct FdWatch::State {
  asio::posix::stream_descriptor descriptor;
  std::function<void()> task;
  asio::posix::stream_descriptor::wait_type type;

  static void wait_again(const std::shared_ptr<State>& state) {
    state->descriptor.async_wait(state->type, [state](const boost::system::error_code& error) {
      if (error || !state->task) return;
      const auto run = state->task;  // a copy: the task may destroy its own watch
      run();
      if (state->task) wait_again(state);
    });
  }
};

FdWatch::FdWatch() = default;
FdWatch::FdWatch(FdWatch&&) noexcept = default;
FdWatch& FdWatch::operator=(FdWatch&& other) noexcept {
  if (this != &other) {
    FdWatch old(std::move(*this));
    state_ = std::move(other.state_);
  }
  return *this;
}
FdWatch::~FdWatch() {
  if (!state_) return;
  state_->task = nullptr;
  // The descriptor is the caller's: Asio must forget it, not close it.
  if (state_->descriptor.is_open()) state_->descriptor.release();
}

struct Loop::Impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(context);
  std::list<asio::signal_set> signals;

  // The workers: a queue, and the lanes that have a job running.
  struct Job {
    std::move_only_function<void()> task;
    uint64_t lane;
  };
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> jobs;
  std::unordered_set<uint64_t> busy_lanes;
  bool ending = false;
  std::vector<std::thread> workers;

  void work_through_jobs();
  std::optional<Job> take_job();
  void end_workers();
};

// The first job whose lane is free. The mutex is held by the caller.
std::optional<Loop::Impl::Job> Loop::Impl::take_job() {
  for (auto it = jobs.begin(); it != jobs.end(); ++it) {
    if (it->lane != 0 && busy_lanes.contains(it->lane)) continue;
    Job job = std::move(*it);
    jobs.erase(it);
    if (job.lane != 0) busy_lanes.insert(job.lane);
    return job;
  }
  return std::nullopt;
}

void Loop::Impl::work_through_jobs() {
  std::unique_lock lock(mutex);
  for (;;) {
    auto job = take_job();
    if (!job) {
      if (ending && jobs.empty()) return;
      wake.wait(lock);
      continue;
    }
    lock.unlock();
    job->task();
    job->task = nullptr;
    lock.lock();
    if (job->lane != 0) {
      busy_lanes.erase(job->lane);
      wake.notify_all();  // the lane's next job may be waiting
    }
  }
}

void Loop::Impl::end_workers() {
  {
    const std::lock_guard lock(mutex);
    ending = true;
  }
  wake.notify_all();
  for (auto& worker : workers) {
    if (worker.joinable()) worker.join();
  }
  workers.clear();
}

Loop::Loop(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Loop::~Loop() { impl_->end_workers(); }

std::unique_ptr<Loop> Loop::create(unsigned workers) {
  auto impl = std::make_unique<Impl>();
  for (unsigned i = 0; i < workers; ++i) {
    impl->workers.emplace_back([raw = impl.get()] { raw->work_through_jobs(); });
  }
  return std::unique_ptr<Loop>(new Loop(std::move(impl)));
}

void Loop::run() {
  impl_->context.restart();
  impl_->context.run();
}

void Loop::stop() { impl_->context.stop(); }

void Loop::post(std::move_only_function<void()> task) { asio::post(impl_->context, std::move(task)); }

Timer Loop::after(Duration delay, std::function<void()> task) {
  Timer timer;
  timer.state_ =
      std::make_shared<Timer::State>(Timer::State{asio::steady_timer(impl_->context, delay), std::move(task)});
  auto fire = [state = timer.state_](const boost::system::error_code& error) {
    if (error || !state->armed) return;
    state->armed = false;
    auto run = std::move(state->task);  // the task may re-arm or destroy its own timer
    run();
  };
  if (delay > Duration::zero()) {
    timer.state_->timer.async_wait(std::move(fire));
  } else {  // arming a timerfd costs 30 us when it is due already
    asio::post(impl_->context, [fire = std::move(fire)] { fire({}); });
  }
  return timer;
}

// Asio wants a descriptor that epoll takes; it sets O_NONBLOCK only when asked for I/O.
Result<FdWatch> Loop::watch(int fd, bool for_writing, std::function<void()> task) {
  auto state = std::make_shared<FdWatch::State>(FdWatch::State{
      asio::posix::stream_descriptor(impl_->context), std::move(task),
      for_writing ? asio::posix::stream_descriptor::wait_write : asio::posix::stream_descriptor::wait_read});
  boost::system::error_code error;
  state->descriptor.assign(fd, error);
  if (error) return sys_fail("watch a descriptor", error.value());
  FdWatch::State::wait_again(state);
  FdWatch result;
  result.state_ = std::move(state);
  return result;
}

Result<FdWatch> Loop::on_readable(int fd, std::function<void()> task) { return watch(fd, false, std::move(task)); }

Result<FdWatch> Loop::on_writable(int fd, std::function<void()> task) { return watch(fd, true, std::move(task)); }

namespace {

void wait_for_signal(asio::signal_set& set, std::function<void()> task) {
  set.async_wait([&set, task = std::move(task)](const boost::system::error_code& error, int) {
    if (error) return;
    task();
    wait_for_signal(set, task);
  });
}

}  // namespace

void Loop::on_signal(int signal, std::function<void()> task) {
  impl_->signals.emplace_back(impl_->context, signal);
  wait_for_signal(impl_->signals.back(), std::move(task));
}

void Loop::offload_task(std::move_only_function<void()> task, uint64_t lane) {
  {
    const std::lock_guard lock(impl_->mutex);
    assert(!impl_->ending);
    impl_->jobs.push_back({std::move(task), lane});
  }
  impl_->wake.notify_one();
}

asio::io_context& Loop::context() { return impl_->context; }

}  // namespace keelson::host
