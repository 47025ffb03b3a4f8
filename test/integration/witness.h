#pragma once
// What a client saw of one collection: it lists once, then watches, and goes on from the last
// version it was told whenever the watch breaks. It lists again only when it is told to (410).

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "test/integration/https_client.h"

namespace keelson::api {
struct Value;
}

namespace keelson::test {

// What these tests look at in an object.
struct Observed {
  std::string name, uid;
  int64_t revision = 0;
  std::string token;  // annotation: by which write it is as it is
  int64_t count = 0;  // annotation: of a counter
  std::string cluster_ip;
  std::vector<int> node_ports;
  bool operator==(const Observed&) const = default;
};
Observed observe(const api::Value& object);
std::optional<Observed> observe_object(std::string_view json);

// Of a list's answer; nothing when it is none.
struct ObservedList {
  int64_t revision = 0;
  std::map<std::string, Observed> items;
};
std::optional<ObservedList> observe_list(std::string_view json);

struct Sighting {
  std::string type;  // ADDED, MODIFIED, DELETED
  Observed object;   // of a deletion: as it was, with the deletion's revision
};

class Witness {
 public:
  // Of "/api/v1/namespaces/default/configmaps". Returns when the first list is there.
  Witness(ApiAddress server, std::string path);
  ~Witness();

  // What it holds now.
  std::map<std::string, Observed> state() const;
  void stop();

  // After stop().
  std::map<int64_t, Sighting> sightings;  // by revision
  std::vector<std::string> faults;        // events that contradict those before them
  int watches = 0, lists = 0;             // that were answered, with the first

 private:
  void run();
  bool list();
  void watch();
  bool take(const std::string& line);
  void fault(std::string what) { faults.push_back(path_ + ": " + std::move(what)); }

  const std::string path_;
  HttpsClient client_;
  int64_t last_ = 0;
  mutable std::mutex mutex_;
  std::map<std::string, Observed> state_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace keelson::test
