#include "etcd/client.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <deque>

#include "etcd/mirror.h"
#include "etcd/transport.h"
#include "host/backoff.h"

namespace keelson::etcd {
BOOST_AUTO_TEST_SUITE(client_tests)
namespace {

using std::chrono::milliseconds;

// A transport that notes what it is asked; the test answers.
struct Double : Transport {
  struct Call {
    size_t endpoint;
    Request request;
    std::move_only_function<void(CallResult)> done;
  };
  struct Opened {
    size_t endpoint;
    WatchRequest request;
    std::function<void(WatchNews)> news;
    bool open = true;
  };
  struct Beating {
    size_t endpoint;
    std::function<void(KeepAliveNews)> news;
    int beats = 0;
    bool open = true;
  };
  struct WatchStream : Stream {
    explicit WatchStream(Opened& opened) : opened(opened) {}
    ~WatchStream() override { opened.open = false; }
    void beat() override {}
    Opened& opened;
  };
  struct BeatStream : Stream {
    explicit BeatStream(Beating& beating) : beating(beating) {}
    ~BeatStream() override { beating.open = false; }
    void beat() override { ++beating.beats; }
    Beating& beating;
  };

  void call(size_t endpoint, Request request, milliseconds, std::move_only_function<void(CallResult)> done) override {
    calls.push_back({endpoint, std::move(request), std::move(done)});
    if (on_call) on_call();
  }
  std::unique_ptr<Stream> watch(size_t endpoint, WatchRequest request, std::function<void(WatchNews)> news) override {
    watches.push_back({endpoint, std::move(request), std::move(news)});
    if (on_call) on_call();
    return std::make_unique<WatchStream>(watches.back());
  }
  std::unique_ptr<Stream> keep_alive(size_t endpoint, int64_t, std::function<void(KeepAliveNews)> news) override {
    beating.push_back({endpoint, std::move(news)});
    return std::make_unique<BeatStream>(beating.back());
  }

  Call take() {
    BOOST_REQUIRE(!calls.empty());
    Call call = std::move(calls.front());
    calls.pop_front();
    return call;
  }

  std::deque<Call> calls;
  std::deque<Opened> watches;
  std::deque<Beating> beating;
  std::function<void()> on_call;
};

CallError unavailable(bool never_sent = false) {
  return {.error = {.code = host::Error::Code::unavailable, .message = "away"}, .never_sent = never_sent};
}

KeyValue kv(std::string key, int64_t revision, std::string value = "v") {
  return {.key = std::move(key), .value = std::move(value), .mod_revision = revision};
}

struct Fixture {
  explicit Fixture(size_t endpoints = 2, milliseconds deadline = milliseconds(400))
      : loop(host::Loop::create(0)),
        owned(std::make_unique<Double>()),
        transport(*owned),
        client(Client::create(*loop, std::move(owned), endpoints, deadline)) {}

  // Runs the loop until it holds, or for a second.
  bool until(const std::function<bool()>& holds) {
    bool late = false;
    auto deadline = loop->after(std::chrono::seconds(1), [&] {
      late = true;
      loop->stop();
    });
    std::function<void()> look = [&] {
      if (holds()) {
        loop->stop();
      } else if (!late) {
        loop->post(look);
      }
    };
    loop->post(look);
    loop->run();
    return holds();
  }

  std::unique_ptr<host::Loop> loop;
  std::unique_ptr<Double> owned;
  Double& transport;
  std::unique_ptr<Client> client;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_read_goes_on_at_the_next_endpoint, Fixture) {
  int64_t revision = 0;
  client->range({.key = "a"}, [&](auto answer) { revision = answer.value().revision; });
  auto first = transport.take();
  BOOST_TEST(first.endpoint == 0U);
  first.done(std::unexpected(unavailable()));
  BOOST_REQUIRE(until([&] { return !transport.calls.empty(); }));
  auto second = transport.take();
  BOOST_TEST(second.endpoint == 1U);
  second.done(RangeAnswer{.revision = 7});
  BOOST_TEST(until([&] { return revision == 7; }));
}

BOOST_FIXTURE_TEST_CASE(a_read_gives_up_at_its_deadline, Fixture) {
  std::optional<host::Error> error;
  transport.on_call = [&] { loop->post([&] { transport.take().done(std::unexpected(unavailable())); }); };
  client->range({.key = "a"}, [&](auto answer) { error = answer.error(); });
  BOOST_REQUIRE(until([&] { return error.has_value(); }));
  BOOST_TEST((error->code == host::Error::Code::unavailable));
}

BOOST_FIXTURE_TEST_CASE(a_write_that_may_have_been_sent_is_not_sent_again, Fixture) {
  std::optional<host::Error> error;
  client->put({.key = "a"}, [&](auto answer) { error = answer.error(); });
  transport.take().done(std::unexpected(unavailable()));
  BOOST_REQUIRE(until([&] { return error.has_value(); }));
  BOOST_TEST(transport.calls.empty());
  // But the next goes elsewhere.
  client->put({.key = "a"}, [](auto) {});
  BOOST_TEST(transport.take().endpoint == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_write_that_was_never_sent_goes_to_the_next_endpoint, Fixture) {
  bool done = false;
  client->put({.key = "a"}, [&](auto answer) { done = answer.has_value(); });
  transport.take().done(std::unexpected(unavailable(true)));
  BOOST_REQUIRE(until([&] { return !transport.calls.empty(); }));
  auto second = transport.take();
  BOOST_TEST(second.endpoint == 1U);
  second.done(PutAnswer{.revision = 1});
  BOOST_TEST(until([&] { return done; }));
}

BOOST_FIXTURE_TEST_CASE(an_error_that_will_stay_is_not_retried, Fixture) {
  std::optional<host::Error> error;
  client->range({.key = "a"}, [&](auto answer) { error = answer.error(); });
  transport.take().done(std::unexpected(CallError{.error = {.code = host::Error::Code::denied, .message = "no"}}));
  BOOST_REQUIRE(until([&] { return error.has_value(); }));
  BOOST_TEST(transport.calls.empty());
}

BOOST_FIXTURE_TEST_CASE(an_answer_after_the_client_has_gone_calls_nobody, Fixture) {
  bool called = false;
  client->range({.key = "a"}, [&](auto) { called = true; });
  auto call = transport.take();
  client.reset();
  call.done(RangeAnswer{});
  BOOST_TEST(!called);
}

BOOST_FIXTURE_TEST_CASE(a_list_goes_by_pages_at_one_revision, Fixture) {
  std::optional<RangeAnswer> all;
  client->list("/a/", [&](auto answer) { all = answer.value(); });
  auto first = transport.take();
  BOOST_TEST(std::get<Range>(first.request).range_end == "/a0");
  BOOST_TEST(std::get<Range>(first.request).revision == 0);
  first.done(RangeAnswer{.revision = 9, .kvs = {kv("/a/1", 2), kv("/a/2", 3)}, .more = true});
  BOOST_REQUIRE(until([&] { return !transport.calls.empty(); }));
  auto second = transport.take();
  BOOST_TEST((std::get<Range>(second.request).key == std::string("/a/2") + '\0'));
  BOOST_TEST(std::get<Range>(second.request).revision == 9);
  second.done(RangeAnswer{.revision = 12, .kvs = {kv("/a/3", 4)}});
  BOOST_REQUIRE(until([&] { return all.has_value(); }));
  BOOST_TEST(all->kvs.size() == 3U);
  BOOST_TEST(all->revision == 9);
}

BOOST_FIXTURE_TEST_CASE(a_page_that_is_too_large_is_asked_for_in_smaller_ones, Fixture) {
  client->list("/a/", [](auto) {});
  auto first = transport.take();
  const auto limit = std::get<Range>(first.request).limit;
  first.done(std::unexpected(CallError{.error = {.message = "Received message larger than max"}, .too_large = true}));
  BOOST_REQUIRE(until([&] { return !transport.calls.empty(); }));
  BOOST_TEST(std::get<Range>(transport.take().request).limit < limit);
}

BOOST_FIXTURE_TEST_CASE(a_watch_resumes_behind_the_last_revision_it_told, Fixture) {
  std::vector<std::string> keys;
  int interrupted = 0;
  auto watch = client->watch("/a/", 5,
                             {.events =
                                  [&](int64_t, auto events) {
                                    for (const auto& event : events) keys.push_back(event.kv.key);
                                  },
                              .compacted = [] { BOOST_ERROR("not compacted"); },
                              .interrupted = [&](const auto&) { ++interrupted; }});
  auto& first = transport.watches.at(0);
  BOOST_TEST(first.request.start_revision == 5);
  first.news(WatchBatch{.cluster_id = 1, .revision = 4, .created = true});
  first.news(WatchBatch{.cluster_id = 1, .revision = 8, .events = {{.kv = kv("/a/x", 8)}}});
  // A fragment of revision 9 that is never completed: told again after the break.
  first.news(WatchBatch{.cluster_id = 1, .revision = 0, .events = {{.kv = kv("/a/half", 9)}}});
  first.news(WatchEnd{.error = {.code = host::Error::Code::unavailable, .message = "gone"}});
  BOOST_REQUIRE(until([&] { return transport.watches.size() == 2; }));
  auto& second = transport.watches.at(1);
  BOOST_TEST(second.endpoint == 1U);
  BOOST_TEST(second.request.start_revision == 9);
  second.news(WatchBatch{.cluster_id = 1, .revision = 9, .created = true});
  second.news(WatchBatch{.cluster_id = 1, .revision = 0, .events = {{.kv = kv("/a/half", 9)}}});
  second.news(WatchBatch{.cluster_id = 1, .revision = 9, .events = {{.kv = kv("/a/whole", 9)}}});
  BOOST_REQUIRE(until([&] { return keys.size() == 3; }));
  BOOST_TEST(keys == (std::vector<std::string>{"/a/x", "/a/half", "/a/whole"}), boost::test_tools::per_element());
  BOOST_TEST(interrupted == 1);
  watch.reset();
  BOOST_TEST(!second.open);
}

BOOST_FIXTURE_TEST_CASE(progress_moves_the_point_of_resumption, Fixture) {
  auto watch = client->watch("/a/", 5, {.events = [](int64_t, auto) {}, .compacted = [] {}});
  transport.watches.at(0).news(WatchBatch{.cluster_id = 1, .revision = 4, .created = true});
  transport.watches.at(0).news(WatchBatch{.cluster_id = 1, .revision = 100});
  transport.watches.at(0).news(WatchEnd{.error = {.message = "gone"}});
  BOOST_REQUIRE(until([&] { return transport.watches.size() == 2; }));
  BOOST_TEST(transport.watches.at(1).request.start_revision == 101);
}

BOOST_FIXTURE_TEST_CASE(a_compacted_watch_says_so_and_ends, Fixture) {
  bool compacted = false;
  auto watch = client->watch("/a/", 5, {.events = [](int64_t, auto) {}, .compacted = [&] { compacted = true; }});
  transport.watches.at(0).news(WatchEnd{.error = {}, .compact_revision = 50});
  BOOST_REQUIRE(until([&] { return compacted; }));
  BOOST_TEST(transport.watches.size() == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_cluster_with_another_history_counts_as_compacted, Fixture) {
  int compacted = 0;
  WatchHandlers handlers{.events = [](int64_t, auto) {}, .compacted = [&] { ++compacted; }};
  // Restored from a backup: it is behind what we have seen.
  auto behind = client->watch("/a/", 50, handlers);
  transport.watches.at(0).news(WatchBatch{.cluster_id = 1, .revision = 20, .created = true});
  BOOST_REQUIRE(until([&] { return transport.calls.size() == 1; }));
  BOOST_TEST(compacted == 0);
  transport.take().done(RangeAnswer{.revision = 20});
  BOOST_TEST(until([&] { return compacted == 1; }));
  BOOST_TEST(!transport.watches.at(0).open);
  // Set up anew.
  auto other = client->watch("/a/", 50, handlers);
  transport.watches.at(1).news(WatchBatch{.cluster_id = 1, .revision = 60, .created = true});
  transport.watches.at(1).news(WatchEnd{.error = {.message = "gone"}});
  BOOST_REQUIRE(until([&] { return transport.watches.size() == 3; }));
  transport.watches.at(2).news(WatchBatch{.cluster_id = 2, .revision = 70, .created = true});
  BOOST_TEST(until([&] { return compacted == 2; }));
}

BOOST_FIXTURE_TEST_CASE(a_member_that_lags_behind_the_others_is_waited_for, Fixture) {
  int compacted = 0, interrupted = 0, resumed = 0;
  std::vector<int64_t> told;
  auto watch = client->watch("/a/", 50,
                             {.events = [&](int64_t revision, auto) { told.push_back(revision); },
                              .compacted = [&] { ++compacted; },
                              .interrupted = [&](const host::Error&) { ++interrupted; },
                              .resumed = [&] { ++resumed; }});
  transport.watches.at(0).news(WatchEnd{.error = {.message = "gone"}});
  BOOST_REQUIRE(until([&] { return transport.watches.size() == 2; }));
  transport.watches.at(1).news(WatchBatch{.cluster_id = 1, .revision = 48, .created = true});
  BOOST_REQUIRE(until([&] { return transport.calls.size() == 1; }));
  // Nobody can tell just now: it is as if the watch had broken again.
  transport.take().done(std::unexpected(CallError{.error = {.message = "no leader"}}));
  BOOST_REQUIRE(until([&] { return transport.watches.size() == 3; }));
  BOOST_TEST(interrupted == 2);
  transport.watches.at(2).news(WatchBatch{.cluster_id = 1, .revision = 48, .created = true});
  BOOST_REQUIRE(until([&] { return transport.calls.size() == 1; }));
  BOOST_TEST(std::get<Range>(transport.calls.front().request).serializable == false);
  transport.take().done(RangeAnswer{.revision = 49});
  BOOST_TEST(until([&] { return resumed == 1; }));
  transport.watches.at(2).news(WatchBatch{.cluster_id = 1, .revision = 50, .events = {{.kv = kv("/a/b", 50)}}});
  BOOST_TEST(until([&] { return told == std::vector<int64_t>{50}; }));
  BOOST_TEST(compacted == 0);
}

BOOST_FIXTURE_TEST_CASE(a_lease_is_lost_when_etcd_says_so_or_says_nothing, Fixture) {
  bool lost = false;
  auto one = client->keep_alive(1, std::chrono::seconds(10), [&] { lost = true; });
  BOOST_TEST(transport.beating.at(0).beats == 1);
  transport.beating.at(0).news(KeepAliveAnswer{.ttl_seconds = 0});
  BOOST_TEST(until([&] { return lost; }));
  BOOST_TEST(!transport.beating.at(0).open);

  lost = false;
  std::unique_ptr<KeepAlive> two;
  two = client->keep_alive(1, std::chrono::seconds(0), [&] {
    lost = true;
    two.reset();  // from within
  });
  BOOST_TEST(until([&] { return lost; }));
}

BOOST_FIXTURE_TEST_CASE(a_beat_that_fails_goes_to_the_next_endpoint, Fixture) {
  auto beats = client->keep_alive(1, std::chrono::seconds(10), [] { BOOST_ERROR("not lost"); });
  transport.beating.at(0).news(std::unexpected(host::Error{.message = "gone"}));
  BOOST_REQUIRE(until([&] { return transport.beating.size() == 2; }));
  BOOST_TEST(transport.beating.at(1).endpoint == 1U);
  BOOST_TEST(transport.beating.at(1).beats == 1);
}

BOOST_FIXTURE_TEST_CASE(a_mirror_lists_watches_and_lists_anew_after_a_compaction, Fixture) {
  std::vector<std::string> seen;
  int failures = 0;
  Mirror mirror(*loop, *client, "/a/",
                {.changed =
                     [&](const Mirror::Content& content) {
                       std::string text;
                       for (const auto& [key, one] : content) text += key + "=" + one.value + " ";
                       seen.push_back(text);
                     },
                 .failed = [&](const auto&) { ++failures; }});
  transport.take().done(RangeAnswer{.revision = 9, .kvs = {kv("/a/1", 2, "x")}});
  BOOST_REQUIRE(until([&] { return transport.watches.size() == 1; }));
  BOOST_TEST(seen.back() == "/a/1=x ");
  BOOST_TEST(transport.watches.at(0).request.start_revision == 10);

  transport.watches.at(0).news(
      WatchBatch{.cluster_id = 1,
                 .revision = 11,
                 .events = {{.kv = kv("/a/2", 10, "y")}, {.type = Event::Type::deleted, .kv = kv("/a/1", 11)}}});
  BOOST_REQUIRE(until([&] { return seen.size() == 2; }));
  BOOST_TEST(seen.back() == "/a/2=y ");

  transport.watches.at(0).news(WatchEnd{.error = {}, .compact_revision = 40});
  BOOST_REQUIRE(until([&] { return !transport.calls.empty(); }));
  BOOST_TEST(!transport.watches.at(0).open);
  transport.take().done(RangeAnswer{.revision = 50, .kvs = {kv("/a/3", 45, "z")}});
  BOOST_REQUIRE(until([&] { return seen.size() == 3; }));
  BOOST_TEST(seen.back() == "/a/3=z ");
  BOOST_TEST(transport.watches.at(1).request.start_revision == 51);
  BOOST_TEST(failures == 0);
}

BOOST_FIXTURE_TEST_CASE(a_mirror_tries_again_when_it_cannot_list, Fixture) {
  int failures = 0, changes = 0;
  Mirror mirror(*loop, *client, "/a/",
                {.changed = [&](const auto&) { ++changes; }, .failed = [&](const auto&) { ++failures; }});
  transport.take().done(std::unexpected(CallError{.error = {.code = host::Error::Code::denied, .message = "no"}}));
  BOOST_REQUIRE(until([&] { return failures == 1 && !transport.calls.empty(); }));
  transport.take().done(RangeAnswer{.revision = 1});
  BOOST_TEST(until([&] { return changes == 1; }));  // even though it is empty
}

BOOST_AUTO_TEST_CASE(the_back_off_doubles_to_its_bound) {
  host::Backoff backoff;
  milliseconds before(0);
  for (int i = 0; i < 12; ++i) {
    const auto wait = backoff.next();
    BOOST_TEST((wait > before * 3 / 4 || wait >= std::chrono::milliseconds(2000) * 3 / 4));
    BOOST_TEST((wait <= std::chrono::milliseconds(2000)));
    before = wait;
  }
  backoff.reset();
  BOOST_TEST((backoff.next() <= std::chrono::milliseconds(50)));
}

BOOST_AUTO_TEST_CASE(endpoints_are_written_as_etcd_writes_them) {
  auto target = [](std::string_view text) { return parse_endpoint(text).value().target; };
  BOOST_TEST(target("http://10.0.0.1:2379") == "10.0.0.1:2379");
  BOOST_TEST(target("https://etcd-1:2379/") == "etcd-1:2379");
  BOOST_TEST(target("etcd-1") == "etcd-1:2379");
  BOOST_TEST(target("http://[::1]:2379") == "[::1]:2379");
  BOOST_TEST(target("https://[::1]") == "[::1]:2379");
  BOOST_TEST(target("unix:///run/etcd.sock") == "unix:/run/etcd.sock");
  BOOST_TEST(parse_endpoint("https://a")->tls);
  BOOST_TEST(!parse_endpoint("a:1")->tls);
  for (const auto* wrong : {"", "http://", "ftp://a:1", "a:b", "a:0", "a:65536", "a:", "::1", "a/b", "u@a", "unix:x"}) {
    BOOST_TEST_CONTEXT(wrong) { BOOST_TEST(!parse_endpoint(wrong)); }
  }
}

BOOST_AUTO_TEST_CASE(the_end_of_a_prefix_is_the_next_one) {
  BOOST_TEST(prefix_end("/a/") == "/a0");
  BOOST_TEST(prefix_end("a\xff") == "b");
  BOOST_TEST((prefix_end("\xff") == std::string(1, '\0')));
  BOOST_TEST((prefix_end("") == std::string(1, '\0')));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace keelson::etcd
