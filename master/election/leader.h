#pragma once
// Takes part in the election of a leader, for as long as it lives. Exactly one of all
// processes leads at a time: one that could not renew its Lease within the deadline stops
// before the Lease has run out for the others.
//
//   auto leader = Leader::create(loop, api, {.name = "kube-scheduler", .identity = …},
//                                [&] { scheduler = start(); }, [&] { scheduler.reset(); });
//
// Loop's thread.

#include <functional>
#include <memory>

#include "apiclient/client.h"
#include "host/file.h"
#include "master/election/elector.h"

namespace keelson::election {

class Leader {
 public:
  // `started` when it begins to lead, `stopped` when it does no more (not from the destructor);
  // then it tries again. Invalid: the configuration.
  static host::Result<std::unique_ptr<Leader>> create(host::Loop& loop, apiclient::Config api, ElectionOptions options,
                                                      std::function<void()> started, std::function<void()> stopped);
  ~Leader();

  bool leads() const;
  // Takes part no longer: stops (`stopped` is called), gives the Lease back if it has it, then
  // `done`, after 2 s at the latest.
  void release(std::function<void()> done);

 private:
  struct Impl;
  explicit Leader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "hostname_<uuid>", as Kubernetes' components call themselves: another one each time.
std::string make_identity();
// The same one at each start with that directory, which is locked by the process that uses
// it: one that was killed need not wait for its own Lease to run out.
host::Result<std::string> identity_in(const host::Path& directory);

}  // namespace keelson::election
