#include "test/integration/write_load.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <random>

#include "test/integration/witness.h"
#include "test/patience.h"

namespace keelson::test {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

constexpr const char* kMergePatch = "application/merge-patch+json";

std::string counter_name(int number) { return fmt::format("counter-{}", number); }

std::string map_body(const std::string& name, const std::string& token, int64_t count, int64_t revision) {
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{}"{},"annotations":{{"token":"{}","count":"{}"}}}},"data":{{"ballast":"{}"}}}})",
      name, revision == 0 ? "" : fmt::format(R"(,"resourceVersion":"{}")", revision), token, count,
      std::string(200, 'b'));
}

std::string service_body(const std::string& name, const std::string& token) {
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{}","annotations":{{"token":"{}"}}}},"spec":{{"type":"NodePort","ports":[{{"name":"a","port":80}},{{"name":"b","port":81}}]}}}})",
      name, token);
}

}  // namespace

class WriteLoad::Writer {
 public:
  Writer(WriteLoad& load, int number, bool services)
      : load_(load),
        options_(load.options_),
        number_(number),
        services_(services),
        client_(options_.servers[static_cast<size_t>(number) % options_.servers.size()], patient(30'000ms)),
        random_(options_.seed + static_cast<uint32_t>(number)) {
    for (int i = 0; i < options_.names; ++i) slots_.push_back({.name = fmt::format("w{}-{}", number, i)});
  }

  void run() {
    while (!load_.stopping_) {
      step();
      std::this_thread::sleep_for(options_.pause);
    }
  }

  std::vector<Write> book;
  std::vector<std::string> faults;
  milliseconds longest{0};

 private:
  // What stands under a name, as far as is known.
  struct Slot {
    std::string name;
    bool there = false;
    Observed object;
    bool unsure = false;  // the last write's fate is unknown
    size_t unknown = 0;   // its place in the book
  };

  const char* path() const { return services_ ? kServices : kMaps; }
  std::string token() { return fmt::format("w{}-t{}", number_, ++tokens_); }
  unsigned dice(unsigned sides) { return static_cast<unsigned>(random_() % sides); }

  void step() {
    if (!services_ && options_.counters > 0 && dice(4) == 0) return count();
    Slot& slot = slots_[dice(static_cast<unsigned>(slots_.size()))];
    if (slot.unsure && !look(slot)) return;
    if (!slot.there) return create(slot);
    const unsigned what = dice(10);
    if (what < 2) return remove(slot);
    if (what < 6 || services_) return patch(slot);
    update(slot, what < 9);
  }

  void create(Slot& slot) {
    Write write{.kind = Write::Kind::create, .name = slot.name, .token = token()};
    const auto body = services_ ? service_body(slot.name, write.token) : map_body(slot.name, write.token, 0, 0);
    settle(slot, std::move(write), "POST", path(), body);
  }
  void update(Slot& slot, bool conditional) {
    Write write{.kind = Write::Kind::update, .name = slot.name, .token = token()};
    const auto body = map_body(slot.name, write.token, 0, conditional ? slot.object.revision : 0);
    settle(slot, std::move(write), "PUT", fmt::format("{}/{}", path(), slot.name), body);
  }
  void patch(Slot& slot) {
    Write write{.kind = Write::Kind::patch, .name = slot.name, .token = token()};
    std::string spec;
    // Node ports are given back, and others are taken.
    if (services_ && dice(2) == 0) {
      spec = fmt::format(R"(,"spec":{{"type":"{}"}})", slot.object.node_ports.empty() ? "NodePort" : "ClusterIP");
    }
    const auto body = fmt::format(R"({{"metadata":{{"annotations":{{"token":"{}"}}}}{}}})", write.token, spec);
    settle(slot, std::move(write), "PATCH", fmt::format("{}/{}", path(), slot.name), body, kMergePatch);
  }
  void remove(Slot& slot) {
    Write write{.kind = Write::Kind::remove, .name = slot.name, .uid = slot.object.uid};
    // A removal without the condition is as much a removal of what is there.
    const auto body =
        dice(2) == 0 ? std::string() : fmt::format(R"({{"preconditions":{{"uid":"{}"}}}})", slot.object.uid);
    settle(slot, std::move(write), "DELETE", fmt::format("{}/{}", path(), slot.name), body);
  }

  void count() {
    const std::string name = counter_name(static_cast<int>(dice(static_cast<unsigned>(options_.counters))));
    const auto target = fmt::format("{}/{}", kMaps, name);
    const Reply seen = ask("GET", target);
    if (seen.status != 200) return wait_a_little();
    const auto counter = observe_object(seen.body);
    Write write{.kind = Write::Kind::update, .name = name, .token = token(), .counter = true};
    const Reply reply = ask("PUT", target, map_body(name, write.token, counter->count + 1, counter->revision));
    judge(write, reply);
    book.push_back(std::move(write));
  }

  Reply ask(const char* method, const std::string& target, const std::string& body = {},
            const char* type = "application/json") {
    const auto began = host::Clock::now();
    Reply reply = client_.request(method, target, body, type);
    longest = std::max(longest, std::chrono::duration_cast<milliseconds>(host::Clock::now() - began));
    return reply;
  }

  void judge(Write& write, const Reply& reply) {
    write.status = reply.status;
    if (reply.status >= 200 && reply.status < 300) {
      write.fate = Write::Fate::acknowledged;
      if (write.kind != Write::Kind::remove) write.revision = observe_object(reply.body)->revision;
      return load_.acknowledge();
    }
    if (reply.status >= 400 && reply.status < 500) {
      write.fate = Write::Fate::refused;
      // Nobody else writes these names, and what is written is right: there is no reason to refuse.
      // But a write of unknown fate may come late where reads do not decide it, and counters are everybody's.
      const bool conflicts = reply.status == 404 || reply.status == 409;
      if (!conflicts || (!write.counter && options_.reads_decide)) {
        faults.push_back(fmt::format("{} ({}) was refused: {}", write.name, write.token, reply.body));
      }
      return;
    }
    write.fate = reply.sent ? Write::Fate::unknown : Write::Fate::refused;
    wait_a_little();
  }

  void settle(Slot& slot, Write write, const char* method, const std::string& target, const std::string& body,
              const char* type = "application/json") {
    const Reply reply = ask(method, target, body, type);
    judge(write, reply);
    if (write.fate == Write::Fate::acknowledged) {
      slot.there = write.kind != Write::Kind::remove;
      if (slot.there) slot.object = *observe_object(reply.body);
    } else if (write.fate == Write::Fate::unknown || reply.status != 0) {
      slot.unsure = true;
      slot.unknown = book.size();
    }
    book.push_back(std::move(write));
  }

  // What became of the slot's last write. False: nobody can tell yet.
  bool look(Slot& slot) {
    const Reply reply = ask("GET", fmt::format("{}/{}", path(), slot.name));
    if (reply.status != 200 && reply.status != 404) {
      wait_a_little();
      return false;
    }
    const bool was_there = slot.there;
    const std::string before = slot.object.token;
    slot.unsure = false;
    slot.there = reply.status == 200;
    if (slot.there) slot.object = *observe_object(reply.body);
    Write& write = book[slot.unknown];
    if (!options_.reads_decide || write.fate != Write::Fate::unknown) return true;
    const bool removal = write.kind == Write::Kind::remove;
    const bool happened = removal ? !slot.there : slot.there && slot.object.token == write.token;
    const bool as_before = slot.there == was_there && (!slot.there || slot.object.token == before);
    if (!happened && !as_before) {
      faults.push_back(fmt::format("{} is neither as before {} nor after it: {}", slot.name, write.token, reply.body));
    }
    write.by_read = true;
    write.fate = happened ? Write::Fate::acknowledged : Write::Fate::refused;
    if (happened && !removal) write.revision = slot.object.revision;
    return true;
  }

  static void wait_a_little() { std::this_thread::sleep_for(10ms); }

  WriteLoad& load_;
  const LoadOptions& options_;
  const int number_;
  const bool services_;
  HttpsClient client_;
  std::minstd_rand random_;
  std::vector<Slot> slots_;
  int tokens_ = 0;
};

WriteLoad::WriteLoad(LoadOptions options) : options_(std::move(options)), last_(host::Clock::now()) {
  HttpsClient client(options_.servers.front(), patient(30'000ms));
  for (int i = 0; i < options_.counters; ++i) {
    const Reply made = client.request("POST", kMaps, map_body(counter_name(i), fmt::format("made-{}", i), 0, 0));
    if (made.status != 201) faults.push_back("a counter was not made: " + made.body);
  }
  for (int i = 0; i < options_.map_writers + options_.service_writers; ++i) {
    writers_.push_back(std::make_unique<Writer>(*this, i, i >= options_.map_writers));
  }
  for (const auto& writer : writers_) threads_.emplace_back([&writer] { writer->run(); });
}

WriteLoad::~WriteLoad() { stop(); }

void WriteLoad::stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  for (const auto& writer : writers_) {
    books.push_back(std::move(writer->book));
    std::ranges::copy(writer->faults, std::back_inserter(faults));
    longest_request = std::max(longest_request, writer->longest);
  }
  writers_.clear();
}

void WriteLoad::acknowledge() {
  ++acknowledged_;
  const std::lock_guard lock(mutex_);
  const auto now = host::Clock::now();
  gap_ = std::max(gap_, now - last_);
  last_ = now;
}

milliseconds WriteLoad::longest_gap() {
  const std::lock_guard lock(mutex_);
  const auto gap = std::max(gap_, host::Clock::now() - last_);
  gap_ = {};
  return std::chrono::duration_cast<milliseconds>(gap);
}

}  // namespace keelson::test
