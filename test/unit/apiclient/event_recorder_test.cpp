// Events, against an HTTP server that takes them all.
#include "apiclient/event_recorder.h"

#include <chrono>
#include <thread>

#include "test/patience.h"
#include "test/unit/apiclient/fake_api.h"

BOOST_AUTO_TEST_SUITE(event_recorder_tests)

using namespace std::chrono_literals;
using namespace keelson::apiclient;
using keelson::test::FakeApi;
namespace api = keelson::api;

namespace {

struct Fixture {
  Fixture() {
    loop.run([&] {
      client = Client::create(loop.loop(), {.server = server.url()}).value();
      recorder = std::make_unique<EventRecorder>(*client, RecorderOptions{.component = "test", .host = {}});
    });
  }
  ~Fixture() {
    loop.run([&] {
      recorder.reset();
      client.reset();
    });
  }
  void record(const std::string& pod) {
    loop.run([&] {
      recorder->record({.kind = "Pod",
                        .namespace_ = "default",
                        .name = pod,
                        .uid = pod,
                        .api_version = "v1",
                        .resource_version = {},
                        .field_path = {}},
                       "Normal", "Scheduled", "it was");
    });
  }
  size_t sent() {
    size_t count = 0;
    server.run([&] { count = server.requests.size(); });
    return count;
  }
  bool comes_to(size_t count) {
    const auto until = std::chrono::steady_clock::now() + keelson::test::patient(5000ms);
    while (sent() < count && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(5ms);
    return sent() == count;
  }

  FakeApi server;
  keelson::test::LoopThread loop;
  std::unique_ptr<Client> client;
  std::unique_ptr<EventRecorder> recorder;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_pause_holds_events_back_until_its_end, Fixture) {
  record("a");
  BOOST_TEST(comes_to(1));
  loop.run([&] { recorder->pause(); });
  record("b");
  record("c");
  std::this_thread::sleep_for(100ms);
  BOOST_TEST(sent() == 1);
  loop.run([&] { recorder->resume(); });
  BOOST_TEST(comes_to(3));
}

BOOST_FIXTURE_TEST_CASE(a_pause_without_end_lasts_a_second, Fixture) {
  const auto began = std::chrono::steady_clock::now();
  loop.run([&] { recorder->pause(); });
  record("a");
  loop.run([&] { recorder->pause(); });
  BOOST_TEST(comes_to(1));
  BOOST_TEST((std::chrono::steady_clock::now() - began >= 900ms));
  record("b");
  BOOST_TEST(comes_to(2));
}

BOOST_AUTO_TEST_SUITE_END()
