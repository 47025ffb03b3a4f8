// The reflector against an API server that goes away, forgets, stutters and lies.
#include "apiclient/reflector.h"

#include <condition_variable>
#include <mutex>
#include <random>

#include "test/unit/apiclient/fake_api.h"

BOOST_AUTO_TEST_SUITE(reflector_tests)

using namespace std::chrono_literals;
using namespace keelson::apiclient;
using keelson::test::FakeApi;
using keelson::test::status_answer;
namespace api = keelson::api;
namespace host = keelson::host;
namespace http = keelson::http;

namespace {

// What a reflector of ConfigMaps has told, one word each: "synced(a=1 b=2)", "+c=3", "a=1>2", "-b=2", "!".
class Watcher {
 public:
  // on_first is on_next from the start, so that it sees the first handler however soon that comes.
  explicit Watcher(FakeApi& server, ReflectorOptions options = {}, std::function<void(Watcher&)> on_first = nullptr)
      : on_next(std::move(on_first)), server_(server) {
    options.first_retry = 10ms;
    options.most_retry = 50ms;
    loop_.run([&] {
      client_ = std::move(Client::create(loop_.loop(), {.server = server.url()}).value());
      reflector_ = std::make_unique<Reflector<api::ConfigMap>>(
          *client_, options,
          Reflector<api::ConfigMap>::Handlers{
              .synced =
                  [this] {
                    std::string all;
                    reflector_->each([&](const auto& map) { all += (all.empty() ? "" : " ") + text(*map); });
                    told("synced(" + all + ")");
                  },
              .changed = [this](
                             const auto& old,
                             const auto& now) { told(old ? text(*old) + ">" + now->data.at("v") : "+" + text(*now)); },
              .deleted = [this](const auto& old) { told("-" + text(*old)); },
              .failed =
                  [this](const Failure& failure) {
                    const std::lock_guard lock(mutex_);
                    failures_.push_back(failure.message);
                    news_.notify_all();
                  }});
    });
  }
  ~Watcher() {
    loop_.run([&] {
      reflector_.reset();
      client_.reset();
    });
  }

  // Waits until exactly this has been told since the last time.
  void expect(const std::string& words, host::Duration time = 5s) {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, time, [&] { return told_.size() >= words.size(); });
    BOOST_TEST(told_ == words);
    told_.clear();
  }
  bool failed(const std::string& part, host::Duration time = 5s) {
    std::unique_lock lock(mutex_);
    const bool found = news_.wait_for(lock, time, [&] {
      for (const auto& message : failures_) {
        if (message.find(part) != std::string::npos) return true;
      }
      return false;
    });
    if (!found) {
      for (const auto& message : failures_) BOOST_TEST_MESSAGE(message);
    }
    failures_.clear();
    return found;
  }
  void nothing() {
    std::this_thread::sleep_for(150ms);
    expect("", 0s);
  }
  // The server has that many watches open.
  void watching(size_t count = 1) {
    for (int i = 0; i < 500; ++i) {
      size_t open = 0;
      server_.run([&] {
        std::erase_if(server_.watches, [](const auto& watch) { return !watch.open(); });
        open = server_.watches.size();
      });
      if (open == count) return;
      std::this_thread::sleep_for(10ms);
    }
    BOOST_FAIL("no watch");
  }
  std::string version() {
    std::string result;
    loop_.run([&] { result = reflector_->version(); });
    return result;
  }
  bool connected() {
    bool result = false;
    loop_.run([&] { result = reflector_->connected(); });
    return result;
  }
  size_t size() {
    size_t result = 0;
    loop_.run([&] { result = reflector_->size(); });
    return result;
  }
  std::unique_ptr<Reflector<api::ConfigMap>>& reflector() { return reflector_; }
  keelson::test::LoopThread& loop() { return loop_; }
  std::function<void(Watcher&)> on_next;  // runs in the next handler

 private:
  static std::string text(const api::ConfigMap& map) { return map.metadata.name + "=" + map.data.at("v"); }
  void told(const std::string& word) {
    {
      const std::lock_guard lock(mutex_);
      told_ += (told_.empty() ? "" : ", ") + word;
      news_.notify_all();
    }
    if (const auto run = std::exchange(on_next, nullptr)) run(*this);
  }

  FakeApi& server_;
  keelson::test::LoopThread loop_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Reflector<api::ConfigMap>> reflector_;
  std::mutex mutex_;
  std::condition_variable news_;
  std::string told_;
  std::vector<std::string> failures_;
};

size_t lists(FakeApi& server) {
  size_t count = 0;
  server.run([&] {
    for (const auto& request : server.requests) count += request.find("watch=") == std::string::npos;
  });
  return count;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_list_then_its_changes) {
  FakeApi server;
  server.run([&] {
    server.put("a", "1");
    server.put("b", "2");
  });
  Watcher watcher(server, {.namespace_ = "default", .label_selector = "x=y", .page = 100});
  watcher.expect("synced(a=1 b=2)");
  watcher.watching();
  server.run([&] {
    BOOST_TEST(server.requests[0] == "GET /api/v1/namespaces/default/configmaps?labelSelector=x%3Dy&limit=100");
    BOOST_TEST(
        server.requests[1].starts_with("GET /api/v1/namespaces/default/configmaps?labelSelector=x%3Dy"
                                       "&resourceVersion=12&watch=true&allowWatchBookmarks=true&timeoutSeconds="));
    server.put("c", "3");
    server.put("a", "4");
    server.erase("b");
  });
  watcher.expect("+c=3, a=1>4, -b=2");
  BOOST_TEST(watcher.version() == "15");
  BOOST_TEST(watcher.size() == 2u);
}

BOOST_AUTO_TEST_CASE(an_empty_set_is_told_as_well) {
  FakeApi server;
  Watcher watcher(server);
  watcher.expect("synced()");
  watcher.watching();
  server.run([&] { server.put("a", "1"); });
  watcher.expect("+a=1");
}

BOOST_AUTO_TEST_CASE(a_long_list_comes_in_pages_and_is_told_once) {
  FakeApi server;
  server.run([&] {
    for (int i = 10; i < 33; ++i) server.put(fmt::format("m{}", i), "x");
  });
  Watcher watcher(server, {.page = 5});
  watcher.watching();
  BOOST_TEST(watcher.size() == 23u);
  BOOST_TEST(lists(server) == 5u);
}

BOOST_AUTO_TEST_CASE(nothing_is_told_of_a_list_that_breaks_off_half_way) {
  FakeApi server;
  server.run([&] {
    for (int i = 0; i < 6; ++i) server.put(fmt::format("m{}", i), "x");
  });
  Watcher watcher(server, {.page = 2});
  watcher.expect("synced(m0=x m1=x m2=x m3=x m4=x m5=x)");
  watcher.watching();
  // The next list loses its second page, thrice; the set stands meanwhile.
  server.run([&] {
    for (int i = 0; i < 3; ++i) {
      server.spoiled.push_back(
          {.body = R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"20","continue":"m1"},"items":[]})"});
      server.spoiled.push_back(status_answer(410, "Expired", "the continue token is gone"));
    }
    server.expire();
  });
  watcher.nothing();
  watcher.watching();
  BOOST_TEST(watcher.size() == 6u);
  // The fourth was without pages.
  server.run([&] {
    BOOST_TEST(std::ranges::count_if(server.requests, [](const auto& request) {
                 return request.find("limit=") == std::string::npos && request.find("watch=") == std::string::npos;
               }) == 1);
  });
}

BOOST_AUTO_TEST_CASE(a_watch_that_ends_goes_on_from_where_it_was) {
  FakeApi server;
  server.run([&] { server.put("a", "1"); });
  Watcher watcher(server);
  watcher.expect("synced(a=1)");
  watcher.watching();
  server.run([&] {
    server.put("b", "2");
    for (auto& watch : server.watches) watch.end();  // as at its timeoutSeconds
    server.watches.clear();
    server.put("c", "3");
  });
  watcher.expect("+b=2, +c=3");
  server.run([&] {
    server.version = 40;
    server.bookmark();
  });
  watcher.watching();
  for (int i = 0; i < 100 && watcher.version() != "40"; ++i) std::this_thread::sleep_for(10ms);
  BOOST_TEST(watcher.version() == "40");
  server.run([&] { server.watches.clear(); });  // broken off
  BOOST_TEST(watcher.failed("the connection was closed"));
  watcher.watching();
  server.run([&] { BOOST_TEST(server.requests.back().find("resourceVersion=40") != std::string::npos); });
  BOOST_TEST(lists(server) == 1u);
}

BOOST_AUTO_TEST_CASE(the_set_stands_while_the_server_is_away) {
  FakeApi server;
  server.run([&] {
    server.put("a", "1");
    server.put("b", "2");
  });
  Watcher watcher(server);
  watcher.expect("synced(a=1 b=2)");
  watcher.watching();
  server.stop();
  BOOST_TEST(watcher.failed("Connection refused"));
  BOOST_TEST(!watcher.connected());
  watcher.nothing();
  BOOST_TEST(watcher.size() == 2u);
  server.listen();
  watcher.watching();
  BOOST_TEST(watcher.connected());
  server.run([&] { server.erase("a"); });
  watcher.expect("-a=1");
}

BOOST_AUTO_TEST_CASE(a_server_that_is_away_at_first_is_waited_for) {
  FakeApi server;
  server.run([&] { server.put("a", "1"); });
  server.stop();
  Watcher watcher(server);
  BOOST_TEST(watcher.failed("Connection refused"));
  server.listen();
  watcher.expect("synced(a=1)");
}

BOOST_AUTO_TEST_CASE(history_that_is_gone_is_listed_anew_and_the_difference_told) {
  FakeApi server;
  server.run([&] {
    for (const auto* name : {"a", "b", "c", "d"}) server.put(name, "1");
  });
  Watcher watcher(server, {.page = 3});
  watcher.expect("synced(a=1 b=1 c=1 d=1)");
  watcher.watching();
  server.run([&] {
    // Behind its back: nothing is told of it but that the history is gone.
    auto watches = std::exchange(server.watches, {});
    server.objects.erase("a");
    server.put("b", "2");
    server.put("c", "1", "another-uid");
    server.put("e", "1");
    server.watches = std::move(watches);
    server.expire();
  });
  watcher.expect("-a=1, -c=1, b=1>2, +c=1, +e=1");
  watcher.watching();
  // As an answer to the watch, not within it.
  server.run([&] {
    auto watches = std::exchange(server.watches, {});
    server.erase("e");
    server.spoiled.push_back(status_answer(410, "Expired", "too old"));
    watches.clear();
  });
  watcher.expect("-e=1");
}

BOOST_AUTO_TEST_CASE(an_object_made_anew_under_its_name_is_deleted_first) {
  FakeApi server;
  server.run([&] { server.put("a", "1"); });
  Watcher watcher(server);
  watcher.expect("synced(a=1)");
  watcher.watching();
  server.run([&] {
    server.put("a", "2", "another-uid");
    // The end of one that is not there, and of an older one of that name.
    server.tell("DELETED", FakeApi::object("x", 50, "1"));
    server.tell("DELETED", FakeApi::object("a", 51, "1"));
    // The same once more says nothing.
    server.tell("MODIFIED", server.objects["a"]);
    server.put("b", "1");
  });
  watcher.expect("-a=1, +a=2, +b=1");
}

BOOST_AUTO_TEST_CASE(events_may_come_torn_anywhere) {
  FakeApi server;
  Watcher watcher(server);
  watcher.expect("synced()");
  watcher.watching();
  std::string expected;
  for (int i = 0; i < 5; ++i) {
    server.run([&] {
      const auto event = fmt::format(R"({{"type":"ADDED","object":{}}})",
                                     FakeApi::object(fmt::format("m{}", i), 100 + i, "\\\"\\n}")) +
                         "\n\n";
      for (size_t at = 0; at < event.size(); at += 1 + i * 7) server.send(event.substr(at, 1 + i * 7));
    });
    expected += fmt::format("{}+m{}=\"\n}}", i ? ", " : "", i);
  }
  watcher.expect(expected);
}

BOOST_AUTO_TEST_CASE(half_an_event_is_none) {
  FakeApi server;
  Watcher watcher(server);
  watcher.expect("synced()");
  watcher.watching();
  server.run([&] {
    server.send(R"({"type":"ADDED","object":{"kind":"ConfigMap","metadata":{"name":"a","resourceVersion":"9"})");
    for (auto& watch : server.watches) watch.end();
    server.watches.clear();
  });
  BOOST_TEST(watcher.failed("half an event"));
  watcher.watching();
  server.run([&] { server.put("b", "1"); });
  watcher.expect("+b=1");
}

BOOST_AUTO_TEST_CASE(garbage_in_a_watch_is_reported_and_listed_over) {
  FakeApi server;
  Watcher watcher(server);
  watcher.expect("synced()");
  for (const std::string garbage :
       {"<html>\n", "{}\n",
        R"({"type":"ADDED","object":7})"
        "\n",
        R"({"type":"WHAT","object":{"metadata":{"name":"a","resourceVersion":"9"}}})"
        "\n",
        R"({"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","resourceVersion":"9"}}})"
        "\n",
        R"({"type":"ADDED","object":{"metadata":{"name":"a"}}})"
        "\n",
        R"({"type":"ADDED","object":{"metadata":{"resourceVersion":"9"}}})"
        "\n",
        R"({"type":"ADDED","object":{"metadata":{"name":7,"resourceVersion":"9"}}})"
        "\n"}) {
    watcher.watching();
    server.run([&] {
      server.send(garbage);
      (void)std::exchange(server.watches, {});
    });
    BOOST_TEST(watcher.failed("an event:"), garbage);
  }
  watcher.watching();
  server.run([&] { server.put("b", "1"); });
  watcher.expect("+b=1");
}

BOOST_AUTO_TEST_CASE(refusals_of_a_list_are_tried_again) {
  FakeApi server;
  server.run([&] {
    server.put("a", "1");
    server.spoiled.push_back(status_answer(403, "Forbidden", "not yours"));
    server.spoiled.push_back({.status = 500, .content_type = "text/plain", .body = "oops"});
    server.spoiled.push_back({.body = "<html>"});
    server.spoiled.push_back(
        {.body = R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"1"},"items":[{"metadata":7}]})"});
  });
  Watcher watcher(server);
  watcher.expect("synced(a=1)");
  BOOST_TEST(watcher.failed("not yours"));
}

BOOST_AUTO_TEST_CASE(a_server_without_memory_of_our_version_is_believed) {
  FakeApi server;
  server.run([&] {
    server.put("a", "1");
    server.put("b", "1");
  });
  Watcher watcher(server);
  watcher.expect("synced(a=1 b=1)");
  watcher.watching();
  server.run([&] {  // etcd restored from a backup
    server.version = 3;
    server.objects.clear();
    server.history.clear();
    auto watches = std::exchange(server.watches, {});
    server.put("a", "0");
    server.spoiled.push_back(status_answer(504, "Timeout", "Too large resource version"));
    watches.clear();
  });
  watcher.expect("-b=1, a=1>0");
  BOOST_TEST(watcher.version() == "4");
}

BOOST_AUTO_TEST_CASE(a_silent_connection_is_given_up) {
  FakeApi server;
  server.run([&] { server.put("a", "1"); });
  Watcher watcher(server, {.silence = 150ms});
  watcher.expect("synced(a=1)");
  watcher.watching();
  BOOST_TEST(watcher.failed("fallen silent"));
  watcher.watching();
  server.run([&] { server.put("b", "1"); });
  watcher.expect("+b=1");
  BOOST_TEST(lists(server) == 1u);
}

BOOST_AUTO_TEST_CASE(a_watch_that_does_not_end_at_its_time_is_given_up) {
  FakeApi server;
  Watcher watcher(server, {.watch_time = 100ms, .patience = 100ms});
  watcher.expect("synced()");
  watcher.watching();
  BOOST_TEST(watcher.failed("fallen silent"));
  watcher.watching();
  server.run([&] { server.put("b", "1"); });
  watcher.expect("+b=1");
}

BOOST_AUTO_TEST_CASE(a_server_that_ends_each_watch_at_once_is_not_stormed) {
  FakeApi server;
  server.run([&] {
    for (int i = 0; i < 5000; ++i) server.spoiled.push_back({.body = ""});
    server.spoiled.push_front({.body = R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"1"},"items":[]})"});
  });
  Watcher watcher(server);
  watcher.expect("synced()");
  std::this_thread::sleep_for(500ms);
  server.run([&] { BOOST_TEST(server.requests.size() < 30u); });
}

BOOST_AUTO_TEST_CASE(a_handler_may_destroy_the_reflector) {
  FakeApi server;
  server.run([&] { server.put("a", "1"); });
  const auto destroy = [](Watcher& watcher) { watcher.reflector().reset(); };
  for (const bool at_once : {true, false}) {
    Watcher watcher(server, {}, at_once ? std::function<void(Watcher&)>(destroy) : nullptr);
    watcher.expect("synced(a=1)");
    if (!at_once) {
      watcher.watching();
      watcher.loop().run([&] { watcher.on_next = destroy; });
      server.run([&] {
        server.send(fmt::format(R"({{"type":"ADDED","object":{0}}})"
                                "\n"
                                R"({{"type":"ADDED","object":{1}}})"
                                "\n",
                                FakeApi::object("x", 50, "1"), FakeApi::object("y", 51, "1")));
      });
      watcher.expect("+x=1");
    }
    watcher.nothing();
    watcher.loop().run([&] { BOOST_TEST(watcher.reflector() == nullptr); });
  }
}

// Connections cut at random, all the time, under changes: in the end the set is the server's,
// and the changes told add up to it.
BOOST_AUTO_TEST_CASE(a_storm_of_broken_connections_loses_nothing) {
  FakeApi server;
  server.run([&] { server.put("a", "0"); });
  keelson::test::LoopThread loop;
  std::unique_ptr<Client> client;
  std::unique_ptr<Reflector<api::ConfigMap>> reflector;
  std::map<std::string, std::string> seen;
  size_t wrong = 0;
  loop.run([&] {
    client = std::move(Client::create(loop.loop(), {.server = server.url()}).value());
    using Handlers = Reflector<api::ConfigMap>::Handlers;
    reflector = std::make_unique<Reflector<api::ConfigMap>>(
        *client, ReflectorOptions{.page = 3, .first_retry = 1ms, .most_retry = 5ms},
        Handlers{
            .synced = [&] { reflector->each([&](const auto& map) { seen[map->metadata.name] = map->data.at("v"); }); },
            .changed =
                [&](const auto& old, const auto& now) {
                  auto& value = seen[now->metadata.name];
                  if (value != (old ? old->data.at("v") : "")) ++wrong;
                  value = now->data.at("v");
                },
            .deleted =
                [&](const auto& old) {
                  if (seen.erase(old->metadata.name) == 0) ++wrong;
                },
            .failed = {}});
  });
  std::minstd_rand random(7);
  for (int i = 0; i < 600; ++i) {
    server.run([&] {
      const auto name = std::string(1, static_cast<char>('a' + random() % 8));
      if (random() % 3 == 0 && server.objects.contains(name)) {
        server.erase(name);
      } else {
        server.put(name, std::to_string(i));
      }
      if (random() % 4 == 0) {
        if (random() % 2 == 0) server.send(R"({"type":"ADD)");
        server.watches.clear();
        if (random() % 3 == 0) server.spoiled.push_back(status_answer(410, "Expired", "gone"));
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
  }
  std::map<std::string, std::string> expected;
  server.run([&] {
    server.spoiled.clear();
    server.put("z", "end");
    for (const auto& [name, text] : server.objects) {
      expected[name] = api::decode_json<api::ConfigMap>(text).value().data.at("v");
    }
  });
  bool same = false;
  for (int i = 0; i < 500 && !same; ++i) {
    loop.run([&] { same = seen == expected; });
    std::this_thread::sleep_for(10ms);
  }
  BOOST_TEST(same);
  BOOST_TEST(wrong == 0u);
  loop.run([&] {
    BOOST_TEST(reflector->size() == expected.size());
    reflector.reset();
    client.reset();
  });
}

BOOST_AUTO_TEST_SUITE_END()
