#pragma once
// Where an API server is and who we are to it: kubectl's configuration file. Any thread.

#include <string>

#include "host/error.h"
#include "http/client.h"

namespace keelson::apiclient {

struct Config {
  std::string server;                  // https://host:port; a path in front of /api is not supported
  std::string connect_to;              // an address to connect to instead of the server's, when set (http::PoolOptions)
  http::ClientTls tls;                 // server's CA, our certificate
  std::string token;                   // a bearer token, when set
  std::string token_file;              // read anew each minute (it may be rotated); `token` comes before it
  std::string namespace_ = "default";  // of the context
  std::string user_agent = "keelson";
};

// The context named, or else current-context. Paths in the file are relative to its
// directory. Errors name file and field: `users[0].user.client-key-data: …`. What we
// cannot do (exec plugins, auth providers, impersonation) is an error, not ignored.
host::Result<Config> load_kubeconfig(const std::string& path, const std::string& context = {});
host::Result<Config> parse_kubeconfig(std::string_view text, const std::string& directory,
                                      const std::string& context = {});

}  // namespace keelson::apiclient
