#pragma once
// What stands in the pod network's way on this host, in the user's words: keelsonctl's
// doctor prints it, and an agent that runs looks out for the part that may change under it.
// Blocking, and changes nothing that stays; needs CAP_NET_ADMIN.

#include <string>
#include <vector>

#include "agent/network/pod_network.h"

namespace keelson::network {

struct Finding {
  enum class Severity {
    fine,     // looked at, and as it should be
    note,     // good to know
    warning,  // something will not work, depending on what is asked of it
    error,    // pods will have no working network
  };
  Severity severity = Severity::note;
  std::string subject;  // "FORWARD policy", "nftables: fib"
  std::string found;
  std::string remedy;  // what to do, with the command; empty when fine
  bool operator==(const Finding&) const = default;
};

// At least one finding for each subject. Looks at: overlapping networks; what nftables can; conntrack and how full it
// is; forward chains that drop by policy (Docker's, by nftables or iptables-legacy), which an accept in a table of ours
// would not override, unless rules beside them accept the pods' interfaces; strict rp_filter; a read-only /proc/sys.
std::vector<Finding> examine_host(const Settings& settings);

// The errors that others may bring about while pods run: a forward chain that drops, forwarding or IPv6 switched off.
// Cheap enough (1 ms) to be asked again and again.
std::vector<Finding> examine_running_host(const Settings& settings);
// The subjects of such errors.
inline constexpr const char* kRunningSubjects[] = {"FORWARD policy", "forwarding", "IPv6"};

}  // namespace keelson::network
