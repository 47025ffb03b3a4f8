#include "master/election/elector.h"

namespace keelson::election {

void Elector::saw(const std::optional<api::Lease>& lease, host::TimePoint now) {
  const bool same = lease_.has_value() == lease.has_value() && (!lease || lease_->spec == lease->spec);
  if (!same) observed_ = now;
  lease_ = lease;
}

std::optional<Elector::Bid> Elector::bid(host::TimePoint now, int64_t wall_microseconds) const {
  Bid bid;
  const api::MicroTime time{wall_microseconds};
  bid.create = !lease_;
  if (lease_) {
    bid.lease = *lease_;
    const api::LeaseSpec& spec = lease_->spec;
    const bool ours = spec.holder_identity == options_.identity;
    const std::chrono::seconds lasts(spec.lease_duration_seconds.value_or(0));
    if (!ours && !spec.holder_identity.empty() && observed_ + lasts > now) return std::nullopt;
    if (!ours) {
      bid.lease.spec.acquire_time = time;
      bid.lease.spec.lease_transitions = spec.lease_transitions.value_or(0) + 1;
    }
  } else {
    bid.lease.metadata.namespace_ = options_.namespace_;
    bid.lease.metadata.name = options_.name;
    bid.lease.spec.acquire_time = time;
    bid.lease.spec.lease_transitions = 0;
  }
  bid.lease.spec.holder_identity = options_.identity;
  bid.lease.spec.lease_duration_seconds = static_cast<int32_t>(options_.lease_duration.count());
  bid.lease.spec.renew_time = time;
  return bid;
}

void Elector::won(const api::Lease& lease, host::TimePoint asked) {
  lease_ = lease;
  observed_ = asked;
  won_at_ = asked;  // not when the answer came: others count from no later than that
}

api::Lease Elector::released(int64_t wall_microseconds) const {
  api::Lease lease = lease_.value_or(api::Lease{});
  lease.spec.holder_identity.clear();
  lease.spec.lease_duration_seconds = 1;
  lease.spec.acquire_time = lease.spec.renew_time = api::MicroTime{wall_microseconds};
  return lease;
}

const std::string& Elector::holder() const {
  static const std::string kNobody;
  return lease_ ? lease_->spec.holder_identity : kNobody;
}

}  // namespace keelson::election
