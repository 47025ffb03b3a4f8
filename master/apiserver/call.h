#pragma once
// One request under way, from the header to the answer; and the record that is kept of it:
// metrics, and the audit log. Loop's thread.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/metrics.h"
#include "http/server.h"
#include "master/apiserver/attributes.h"

namespace keelson::apiserver {

// A line for each request:
//   audit verb=create resource=pods namespace=default name=web user=admin source=127.0.0.1:4711
//   agent=kubectl/v1.31.0 code=201 ms=1.204
// writes and refusals at info, reads at debug.
class Journal {
 public:
  explicit Journal(host::Metrics& metrics) : metrics_(metrics) {}
  void record(const User* user, const Attributes& attributes, const http::Request& request, int code,
              host::Duration took, const std::string& name = {});

 private:
  struct Series {
    host::Counter* requests = nullptr;
    host::Histogram* seconds = nullptr;
  };
  host::Metrics& metrics_;
  // Metrics' own maps are for few look-ups: these are the ones in use.
  std::map<std::pair<std::string, int>, Series> series_;
};

struct Call {
  User user;
  Attributes attributes;
  http::Request request;
  http::Exchange exchange;
  host::TimePoint began;
  Journal* journal = nullptr;
  std::vector<std::string> warnings;  // of Warning fields
  std::string name;                   // of what was made, where the path does not say
  std::shared_ptr<void> place;        // among the writes under way, for as long as it is one

  void answer(http::Answer answer);
  void fail(const api::Status& status);
  http::Stream stream(http::Answer answer);
};
using CallPtr = std::shared_ptr<Call>;  // shared by whatever it waits for

}  // namespace keelson::apiserver
