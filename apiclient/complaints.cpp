#include "apiclient/complaints.h"

#include "host/log.h"

namespace keelson::apiclient {

void Complaints::add(const Failure& failure) {
  const auto now = host::Clock::now();
  if (last_ && now - *last_ < std::chrono::seconds(30)) return host::log_debug("{}: {}", who_, failure.message);
  last_ = now;
  host::log_warning("{}: {}", who_, failure.message);
}

}  // namespace keelson::apiclient
