#pragma once
// What a server that is away, or refuses, is complained of by somebody who asks it for many
// kinds: it is away for all of them, so that is said once, and again when it stays so. Loop's
// thread.

#include <optional>
#include <string>

#include "apiclient/failure.h"
#include "host/loop.h"

namespace keelson::apiclient {

class Complaints {
 public:
  explicit Complaints(std::string who) : who_(std::move(who)) {}
  // A warning; for half a minute after one, a debug message.
  void add(const Failure& failure);

 private:
  const std::string who_;
  std::optional<host::TimePoint> last_;
};

}  // namespace keelson::apiclient
