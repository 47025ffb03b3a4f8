#pragma once
// Writers on threads of their own, each with a connection of its own, and the book that they
// keep: of every write what it was and what became of it, as far as its sender can know.
//
// Each write puts a token of its own into the object, so that wherever an object is seen, it is
// known which write made it so. Names belong to one writer each; the counters to all of them,
// who raise them by what they have read (resourceVersion).

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/loop.h"
#include "test/integration/https_client.h"

namespace keelson::test {

inline constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
inline constexpr const char* kServices = "/api/v1/namespaces/default/services";

struct Write {
  enum class Kind : uint8_t { create, update, patch, remove };
  // Unknown: an error that does not exclude it, or no answer.
  enum class Fate : uint8_t { acknowledged, refused, unknown };
  Kind kind = Kind::create;
  Fate fate = Fate::unknown;
  std::string name;
  std::string token;     // of what is no removal
  std::string uid;       // of a removal: of whom
  int64_t revision = 0;  // when acknowledged; not of a removal
  bool counter = false;
  int status = 0;
  bool by_read = false;  // it was unknown until a read told
};

struct LoadOptions {
  std::vector<ApiAddress> servers;  // writers take them in turn
  int map_writers = 4, service_writers = 1;
  int names = 6;  // of each writer
  int counters = 2;
  std::chrono::milliseconds pause{2};  // between two writes of a writer
  uint32_t seed = 1;
  // A write of unknown fate has happened by the time of the next answer to a read, or never
  // will: so where there is one etcd, and one master at a time.
  bool reads_decide = true;
};

class WriteLoad {
 public:
  // Makes the counters, then begins. The server must be there.
  explicit WriteLoad(LoadOptions options);
  ~WriteLoad();
  // Each writer ends with its write.
  void stop();

  int acknowledged() const { return acknowledged_; }
  // Between two acknowledgements (of whomever), since the last call; also to now.
  std::chrono::milliseconds longest_gap();

  // After stop().
  std::vector<std::vector<Write>> books;  // of each writer, in order
  std::vector<std::string> faults;        // answers that cannot be
  std::chrono::milliseconds longest_request{0};

 private:
  class Writer;
  friend class Writer;
  void acknowledge();

  const LoadOptions options_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> acknowledged_ = 0;
  std::mutex mutex_;
  host::TimePoint last_;
  host::Duration gap_{0};
  std::vector<std::unique_ptr<Writer>> writers_;
  std::vector<std::thread> threads_;
};

}  // namespace keelson::test
