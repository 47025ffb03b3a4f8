// A reflector on a real API server over a real etcd, both killed again and again under writes.
#include <fmt/core.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <future>
#include <map>
#include <random>
#include <set>

#include "api/codec.h"
#include "apiclient/reflector.h"
#include "test/master_run.h"
#include "test/patience.h"
#include "test/unit/http/loop_thread.h"

using namespace std::chrono_literals;
using namespace keelson;
using apiclient::Client;
using apiclient::Outcome;
using apiclient::Reflector;

namespace {

constexpr int kKills = 20;
constexpr int kNames = 40;

struct Rig {
  Rig() {
    test::enter_own_network();
    char name[] = "/tmp/keelson-reflector-XXXXXX";
    directory = ::mkdtemp(name);
    loop = std::make_unique<test::LoopThread>();
    launch();
    const auto admin = directory / "data/admin.kubeconfig";
    BOOST_REQUIRE(eventually([&] { return std::filesystem::exists(admin); }));
    loop->run([&] {
      auto config = apiclient::load_kubeconfig(admin);
      BOOST_REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
      client = std::move(Client::create(loop->loop(), *config).value());
    });
    BOOST_REQUIRE_MESSAGE(eventually([&] { return ready(); }), *host::read_file(directory / "master.log"));
  }
  ~Rig() {
    loop->run([&] { client.reset(); });
    master.reset();
    std::filesystem::remove_all(directory);
  }
  void launch() {
    master = std::make_unique<test::Daemon>(
        std::vector<std::string>{test::own_binaries() / "keelson-master", "--config", "", "--data-dir",
                                 directory / "data", "--components=apiserver"},
        directory / "master.log");
  }
  bool ready() {
    std::promise<bool> answered;
    loop->run([&] {
      client
          ->request({.path = "/readyz", .timeout = 2s}, [&](auto outcome) { answered.set_value(outcome.has_value()); })
          .detach();
    });
    return answered.get_future().get();
  }
  static bool eventually(const std::function<bool()>& holds, host::Duration limit = 20s) {
    const auto until = host::Clock::now() + limit;
    while (host::Clock::now() < until) {
      if (holds()) return true;
      std::this_thread::sleep_for(20ms);
    }
    return false;
  }

  host::Path directory;
  std::unique_ptr<test::LoopThread> loop;
  std::unique_ptr<test::Daemon> master;
  std::unique_ptr<Client> client;
};

// Writes ConfigMaps at random, one request at a time for each name, and remembers what was
// acknowledged: the value; or nothing for a deletion. Names whose last outcome is unknown are told.
class Writer {
 public:
  explicit Writer(Rig& rig) : rig_(rig) {
    rig.loop->run([&] {
      for (int i = 0; i < 8; ++i) next(i);
    });
  }
  void stop() {
    rig_.loop->run([&] { stopping_ = true; });
    BOOST_REQUIRE(Rig::eventually([&] {
      int under_way = 0;
      rig_.loop->run([&] { under_way = under_way_; });
      return under_way == 0;
    }));
  }
  int acknowledged = 0;
  std::map<std::string, std::string> known;
  std::set<std::string> unsure;

 private:
  void next(int lane) {
    if (stopping_) return;
    // Each lane has names of its own, so that the order of its answers is the order of writes.
    const auto name = fmt::format("m{}", lane + 8 * static_cast<int>(random_() % (kNames / 8)));
    ++under_way_;
    if (known.contains(name) && random_() % 3 == 0) {
      rig_.client
          ->remove<api::ConfigMap>("default", name, {},
                                   [this, lane, name](Outcome<void> outcome) {
                                     settle(lane, name, outcome ? nullptr : &outcome.error(), {});
                                   })
          .detach();
      return;
    }
    const auto value = std::to_string(++count_);
    api::ConfigMap map;
    map.metadata.name = name;
    map.metadata.namespace_ = "default";
    map.data["v"] = value;
    auto done = [this, lane, name, value](Outcome<api::ConfigMap> outcome) {
      settle(lane, name, outcome ? nullptr : &outcome.error(), value);
    };
    if (known.contains(name)) {
      rig_.client->update<api::ConfigMap>(map, {}, std::move(done)).detach();
    } else {
      rig_.client->create<api::ConfigMap>(map, {}, std::move(done)).detach();
    }
  }
  void settle(int lane, const std::string& name, const apiclient::Failure* failure, const std::string& value) {
    --under_way_;
    if (failure == nullptr) {
      ++acknowledged;
      unsure.erase(name);
      if (value.empty()) {
        known.erase(name);
      } else {
        known[name] = value;
      }
    } else if (failure->already_exists()) {  // an unknown outcome has come to light
      known[name] = "?";
      unsure.insert(name);
    } else if (failure->not_found()) {
      known.erase(name);
      unsure.erase(name);
    } else {
      BOOST_CHECK_MESSAGE(failure->transient(), failure->message);
      unsure.insert(name);
    }
    again_[static_cast<size_t>(lane)] = rig_.loop->loop().after(failure ? 20ms : 1ms, [this, lane] { next(lane); });
  }

  Rig& rig_;
  std::minstd_rand random_{11};
  std::array<host::Timer, 8> again_;
  int count_ = 0, under_way_ = 0;
  bool stopping_ = false;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_reflector_loses_nothing_when_master_and_etcd_are_killed_under_writes) {
  Rig rig;
  std::map<std::string, std::string> seen;
  std::vector<std::string> wrong;
  int told = 0;
  std::unique_ptr<Reflector<api::ConfigMap>> reflector;
  rig.loop->run([&] {
    using Handlers = Reflector<api::ConfigMap>::Handlers;
    reflector = std::make_unique<Reflector<api::ConfigMap>>(
        *rig.client, apiclient::ReflectorOptions{.namespace_ = "default", .page = 7, .most_retry = 200ms},
        Handlers{
            .synced = [&] { reflector->each([&](const auto& map) { seen[map->metadata.name] = map->data.at("v"); }); },
            .changed =
                [&](const auto& old, const auto& now) {
                  ++told;
                  auto& value = seen[now->metadata.name];
                  const std::string before = old ? old->data.at("v") : "";
                  if (value != before) wrong.push_back(fmt::format("{}: {} not {}", now->metadata.name, before, value));
                  value = now->data.at("v");
                },
            .deleted =
                [&](const auto& old) {
                  ++told;
                  if (seen.erase(old->metadata.name) == 0) wrong.push_back("deleted twice: " + old->metadata.name);
                },
            .failed = {}});
  });
  std::unique_ptr<Writer> writer;
  writer = std::make_unique<Writer>(rig);
  std::minstd_rand random(5);
  for (int i = 0; i < kKills; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 400));
    rig.master->stop(SIGKILL);
    rig.launch();
    BOOST_REQUIRE_MESSAGE(Rig::eventually([&] { return rig.ready(); }),
                          "kill " << i << "\n"
                                  << *host::read_file(rig.directory / "master.log"));
  }
  writer->stop();

  // What the server has now, by a list of its own.
  std::map<std::string, std::string> stored;
  std::promise<void> listed;
  rig.loop->run([&] {
    rig.client
        ->list(api::resource_of<api::ConfigMap>(), "default", {},
               [&](Outcome<apiclient::ObjectList> list) {
                 BOOST_CHECK_MESSAGE(list.has_value(), (list ? "" : list.error().message));
                 for (const auto& item : list ? list->items : std::vector<api::AnyObject>()) {
                   stored[item.metadata().name] = item.get_if<api::ConfigMap>()->data.at("v");
                 }
                 listed.set_value();
               })
        .detach();
  });
  listed.get_future().wait();
  rig.loop->run([&] {
    for (const auto& [name, value] : writer->known) {
      if (writer->unsure.contains(name)) continue;
      BOOST_TEST(stored.contains(name), "acknowledged and lost: " << name);
      BOOST_TEST(stored[name] == value, name);
    }
    for (const auto& [name, value] : stored) {
      if (!writer->unsure.contains(name)) BOOST_TEST(writer->known.contains(name), "deleted and back: " << name);
    }
  });
  BOOST_TEST(Rig::eventually([&] {
    bool same = false;
    rig.loop->run([&] { same = seen == stored; });
    return same;
  }));
  rig.loop->run([&] {
    BOOST_TEST(wrong.empty(), (wrong.empty() ? "" : wrong.front()));
    BOOST_TEST(writer->acknowledged > 100);
    BOOST_TEST(told > 100);
    BOOST_TEST_MESSAGE(writer->acknowledged << " writes acknowledged, " << told << " changes told");
    reflector.reset();
  });
}
