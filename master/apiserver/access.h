#pragma once
// Who may do what: the three questions that the API server asks of others. Loop's thread;
// each is asked once for every request, so none may block or take long.

#include <optional>
#include <string>

#include "api/resource.h"
#include "master/apiserver/attributes.h"

namespace keelson::apiserver {

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // From the header alone: certificate, token. Nothing: 401. It may let a path through
  // without credentials (/healthz) by answering system:anonymous. Asked when the header has
  // come and again when the body has.
  virtual std::optional<User> authenticate(const http::Request& head) = 0;
};

struct Decision {
  bool allowed = false;
  std::string reason;  // of a refusal, for the user; may be empty
};

class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual Decision authorize(const User& user, const Attributes& attributes) = 0;
};

// What only the content can tell (a node may create Pods, but only mirrors bound to itself).
// Asked before each write with the object as it would be stored and as it is stored; either
// is null when there is none (create; delete).
class Admission {
 public:
  virtual ~Admission() = default;
  // Nothing: fine. A Status refuses (403 mostly; status.h makes them).
  virtual std::optional<api::Status> admit(const User& user, const Attributes& attributes, const api::AnyObject* object,
                                           const api::AnyObject* old) = 0;
};

}  // namespace keelson::apiserver
