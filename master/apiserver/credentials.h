#pragma once
// Who a request comes from: a client certificate that the TLS layer has verified (CN is the
// user, O the groups), or a bearer token. Without either, only the paths that probes need
// are open.
//
// Loop's thread. Tokens are compared by their digests, which tells nobody's clock anything.
// Source: Kubernetes' "Authenticating", static token file.

#include <string>
#include <string_view>
#include <unordered_map>

#include "host/error.h"
#include "master/apiserver/access.h"

namespace keelson::apiserver {

inline constexpr std::string_view kMasters = "system:masters";
inline constexpr std::string_view kAuthenticated = "system:authenticated";
inline constexpr std::string_view kAnonymous = "system:anonymous";
inline constexpr std::string_view kUnauthenticated = "system:unauthenticated";

class Credentials : public Authenticator {
 public:
  // The text of --token-auth-file: token,user,uid[,"group1,group2"] on each line. The error names the line.
  // After a failure the tokens are what they were; otherwise those of an earlier text are gone.
  host::Status read_token_file(std::string_view text, std::string_view file_name);
  // A token that was never anywhere but in this process, for a component that runs in it.
  host::Result<std::string> issue_token(User user);

  std::optional<User> authenticate(const http::Request& head) override;

 private:
  using Tokens = std::unordered_map<std::string, User>;  // by digest
  Tokens file_tokens_, own_tokens_;
};

}  // namespace keelson::apiserver
