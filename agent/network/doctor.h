#pragma once
// What stands in the pod network's way on this host, in the user's words: keelsonctl's
// doctor prints it. Blocking, and changes nothing that stays; needs CAP_NET_ADMIN.

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
};

// At least one finding for each subject. Looks at: overlapping networks; what nftables can; conntrack and how full it
// is; forward chains that drop by policy (Docker's, by nftables or iptables-legacy), which an accept in a table of ours
// would not override; strict rp_filter; a read-only /proc/sys.
std::vector<Finding> examine_host(const Settings& settings);

}  // namespace keelson::network
