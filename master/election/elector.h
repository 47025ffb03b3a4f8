#pragma once
// Who leads, by a Lease: what to do about the Lease as it was last seen. Pure. The rules
// are client-go's (tools/leaderelection): only our own clock counts, since others' may be
// wrong; a holder that has renewed nothing for as long as its Lease lasts, by our watch,
// has lost it.

#include <cstdint>
#include <optional>
#include <string>

#include "api/lease.h"
#include "host/loop.h"

namespace keelson::election {

struct ElectionOptions {
  std::string namespace_ = "kube-system";
  std::string name;      // "kube-scheduler"
  std::string identity;  // of this process, unlike any other's
  std::chrono::seconds lease_duration{15};
  host::Duration renew_deadline = std::chrono::seconds(10);  // a leader without renewal for so long is none
  host::Duration retry_period = std::chrono::seconds(2);
};

class Elector {
 public:
  explicit Elector(ElectionOptions options) : options_(std::move(options)) {}

  // The Lease as read now, or nothing when there is none.
  void saw(const std::optional<api::Lease>& lease, host::TimePoint now);
  // What to write, and whether it is a new object; nothing: another one leads.
  struct Bid {
    api::Lease lease;
    bool create = false;
  };
  std::optional<Bid> bid(host::TimePoint now, int64_t wall_microseconds) const;
  // The server has taken the bid of `asked`.
  void won(const api::Lease& lease, host::TimePoint asked);

  bool leads() const { return lease_ && lease_->spec.holder_identity == options_.identity && won_at_; }
  // When leadership ends unless it is renewed before.
  host::TimePoint deadline() const { return won_at_.value_or(host::TimePoint{}) + options_.renew_deadline; }
  void lost() { won_at_.reset(); }
  // To write when it lets go: the next one need not wait.
  api::Lease released(int64_t wall_microseconds) const;
  const std::string& holder() const;

 private:
  ElectionOptions options_;
  std::optional<api::Lease> lease_;
  host::TimePoint observed_{};  // when it last changed
  std::optional<host::TimePoint> won_at_;
};

}  // namespace keelson::election
