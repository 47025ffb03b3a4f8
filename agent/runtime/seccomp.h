#pragma once
// Seccomp profiles as BPF programs, built once per profile and capability set with
// libseccomp, in the agent; the container's first process only loads them.

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "agent/runtime/capabilities.h"
#include "host/error.h"

namespace keelson::runtime {

// Safe on every thread.
class SeccompProfiles {
 public:
  // "Unconfined" (an empty program), "RuntimeDefault" (the allow-list of containerd
  // and moby, capabilities considered), "Localhost:/path" (a JSON profile of that
  // format). A profile file is read anew when its size or time has changed.
  host::Result<std::shared_ptr<const std::string>> program(const std::string& profile, CapabilitySet capabilities);

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, CapabilitySet>, std::shared_ptr<const std::string>>
      programs_;  // shared with launches
};

// For tests: the program for the JSON text of a profile.
host::Result<std::string> build_localhost_profile(std::string_view json, CapabilitySet capabilities);

}  // namespace keelson::runtime
