#pragma once
// Keys that want to be looked at: soon, at a time, or after a failure when it is worth
// another try. A key is looked at once however often it is named meanwhile; some at a
// turn of the loop, so that others have theirs. Loop's thread.

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "host/loop.h"

namespace keelson::controllers {

class Agenda {
 public:
  // `look` never runs within a call of ours.
  Agenda(host::Loop& loop, std::function<void(const std::string& key)> look);
  ~Agenda();
  Agenda(const Agenda&) = delete;
  Agenda& operator=(const Agenda&) = delete;

  void soon(const std::string& key);
  // Not later than that; an earlier time stands.
  void at(const std::string& key, host::TimePoint when);
  // After 50 ms, then twice as long each time, up to 30 s; until succeeded(). Returns when.
  host::TimePoint after_failure(const std::string& key);
  void succeeded(const std::string& key);
  // Takes it off, and forgets its failures.
  void drop(const std::string& key);

 private:
  struct Later {
    host::Timer timer;
    host::TimePoint when;
  };
  void turn();

  host::Loop& loop_;
  std::function<void(const std::string&)> look_;
  std::deque<std::string> queue_;
  std::unordered_set<std::string> queued_;
  std::unordered_map<std::string, Later> later_;
  std::unordered_map<std::string, int> failures_;
  bool turn_posted_ = false;
  std::shared_ptr<Agenda*> self_;  // what is posted may come after us
};

}  // namespace keelson::controllers
