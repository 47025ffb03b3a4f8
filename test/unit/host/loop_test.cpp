#include "host/loop.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>
#include <vector>

#include "host/fd.h"

BOOST_AUTO_TEST_SUITE(loop_tests)

using namespace keelson::host;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(posted_tasks_run_in_order) {
  auto loop = Loop::create();
  std::vector<int> seen;
  for (int i = 0; i < 3; ++i) loop->post([&seen, i] { seen.push_back(i); });
  loop->post([&] { loop->stop(); });
  loop->run();
  BOOST_TEST(seen == (std::vector{0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_destroyed_timer_does_not_fire) {
  auto loop = Loop::create();
  bool fired = false;
  {
    const Timer timer = loop->after(1ms, [&] { fired = true; });
  }
  const Timer end = loop->after(20ms, [&] { loop->stop(); });
  loop->run();
  BOOST_TEST(!fired);
}

BOOST_AUTO_TEST_CASE(a_timer_may_re_arm_itself) {
  auto loop = Loop::create();
  int count = 0;
  Timer timer;
  std::function<void()> tick = [&] {
    if (++count == 3) {
      loop->stop();
      return;
    }
    timer = loop->after(1ms, tick);
  };
  timer = loop->after(1ms, tick);
  loop->run();
  BOOST_TEST(count == 3);
}

BOOST_AUTO_TEST_CASE(a_readable_descriptor_calls_back_until_its_watch_goes) {
  auto loop = Loop::create();
  std::array<int, 2> ends{};
  BOOST_REQUIRE(::pipe(ends.data()) == 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  BOOST_REQUIRE(::write(writer.get(), "ab", 2) == 2);
  int calls = 0;
  FdWatch watch;
  watch = *loop->on_readable(reader.get(), [&] {
    char byte = 0;
    BOOST_TEST(::read(reader.get(), &byte, 1) == 1);
    if (++calls == 2) watch = FdWatch();
  });
  const Timer end = loop->after(20ms, [&] { loop->stop(); });
  BOOST_REQUIRE(::write(writer.get(), "c", 1) == 1);
  loop->run();
  BOOST_TEST(calls == 2);
  BOOST_TEST(::fcntl(reader.get(), F_GETFD) >= 0, "the descriptor stays the caller's");
}

BOOST_AUTO_TEST_CASE(jobs_of_one_lane_run_one_after_the_other_in_order) {
  auto loop = Loop::create(4);
  std::atomic<int> running{0};
  std::vector<int> order;
  for (int i = 0; i < 50; ++i) {
    loop->offload(
        [&running, i] {
          const bool alone = running.fetch_add(1) == 0;
          std::this_thread::yield();
          running.fetch_sub(1);
          return alone ? i : -1;
        },
        [&](int result) {
          order.push_back(result);
          if (order.size() == 50) loop->stop();
        },
        7);
  }
  loop->run();
  for (int i = 0; i < 50; ++i) BOOST_TEST(order[static_cast<size_t>(i)] == i);
}

BOOST_AUTO_TEST_SUITE_END()
