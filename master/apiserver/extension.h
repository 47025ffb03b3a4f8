#pragma once
// An endpoint that is not the storage of a kind: discovery, OpenAPI, health, metrics,
// access reviews, a Pod's log. ApiServer authenticates and authorizes the request, and hands
// it over; it is counted and logged when it is answered, as every other. Loop's thread.
//
//   api_server.add(discovery);   // borrowed; asked in the order of adding, before the kinds

#include <cstddef>

#include "http/server.h"
#include "master/apiserver/attributes.h"
#include "master/apiserver/call.h"

namespace keelson::apiserver {

class Extension {
 public:
  virtual ~Extension() = default;
  // Whether this request is its own to answer, whatever the answer.
  virtual bool serves(const http::Request& head, const Attributes& attributes) const = 0;
  // How much of a body it reads.
  virtual size_t body_limit(const Attributes& attributes) const = 0;
  virtual void handle(CallPtr call) = 0;
};

}  // namespace keelson::apiserver
