#pragma once
// Events on their way to the API server: one request at a time, in order, each Event once
// however often it changed while it waited. An API server that is away holds them up, not
// us: the oldest are dropped when too many wait. Loop's thread.

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "agent/cluster/event_book.h"
#include "agent/cluster/retry.h"
#include "apiclient/client.h"

namespace keelson::cluster {

class EventWriter {
 public:
  // The client must outlive it.
  EventWriter(apiclient::Client& client, std::string node_name);

  void tell(const Happening& what);
  size_t waiting() const { return order_.size(); }

 private:
  using Name = std::pair<std::string, std::string>;  // namespace, name
  struct Waiting {
    api::Event event;
    bool created = false;  // the API has it: written over
  };
  void next();
  void send(const Name& name, const Waiting& waiting);
  void answered(const Name& name, bool created, const apiclient::Outcome<api::Event>& outcome);

  apiclient::Client& client_;
  EventBook book_;
  std::map<Name, Waiting> waiting_;
  std::deque<Name> order_;
  apiclient::Call call_;
  bool busy_ = false;
  Retry retry_;
  host::Timer timer_;
};

}  // namespace keelson::cluster
