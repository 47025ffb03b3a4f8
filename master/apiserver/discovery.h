#pragma once
// What the server serves, for clients that learn it: /api, /apis, /api/v1, /apis/GROUP/VERSION,
// and all of it at once (aggregated discovery, v2 and v2beta1: KEP-3352).
//
// Made once from the table of kinds; loop's thread.

#include <map>
#include <string>

#include "master/apiserver/document.h"
#include "master/apiserver/extension.h"

namespace keelson::apiserver {

class Discovery : public Extension {
 public:
  // `server_address` is "192.0.2.10:6443", which /api tells clients.
  explicit Discovery(const std::string& server_address);

  bool serves(const http::Request& head, const Attributes& attributes) const override;
  size_t body_limit(const Attributes&) const override { return 0; }
  void handle(CallPtr call) override;

 private:
  std::map<std::string, Document, std::less<>> documents_;      // by path
  std::map<std::string, Document, std::less<>> aggregated_[2];  // of v2 and v2beta1: /api and /apis
};

}  // namespace keelson::apiserver
