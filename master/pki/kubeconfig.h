#pragma once
// kubectl's configuration file with everything in it: the server, the authority that
// vouches for it, and one user's certificate and key. Pure.

#include <string>

#include "master/pki/authority.h"

namespace keelson::pki {

struct KubeconfigContent {
  std::string server;     // https://192.0.2.10:6443
  std::string authority;  // PEM
  std::string user;       // the name of the entry: "admin"
  KeyPair credentials;
};
std::string write_kubeconfig(const KubeconfigContent& content);

}  // namespace keelson::pki
