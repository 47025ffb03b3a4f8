#pragma once
// The certificates that the master makes for itself and its administrator, below
// <data-dir>/pki, and <data-dir>/admin.kubeconfig. Blocking; any thread.

#include <memory>
#include <string>

#include "host/error.h"
#include "host/file.h"
#include "http/client.h"
#include "http/server.h"
#include "master/options.h"
#include "master/pki/authority.h"
#include "master/setup.h"

namespace keelson::master {

class Identity {
 public:
  // Opens the authority, or makes one.
  static host::Result<std::unique_ptr<Identity>> open(const Options& options, const Setup& setup, pki::Time now);

  // Makes anew whatever nears its end or no longer says what it should; before it there are no
  // files to ask for. True when something that a running server has read is another one now.
  host::Result<bool> renew(pki::Time now);

  http::TlsFiles server_files() const;      // of the API
  http::ClientTls agent_client() const;     // towards agents: CN=kube-apiserver-kubelet-client
  http::ClientTls loopback_client() const;  // of components within this process, but for their tokens

  // With a fresh certificate, which an agent also serves its own API with.
  host::Result<std::string> kubeconfig_for(const KubeconfigCommand& command, pki::Time now) const;

 private:
  Identity(const Options& options, const Setup& setup, std::unique_ptr<pki::Authority> authority)
      : options_(options), setup_(setup), authority_(std::move(authority)) {}
  // What vouches for the API server: our authority, and who is behind --tls-cert-file.
  host::Result<std::string> trusted() const;

  Options options_;
  Setup setup_;
  std::unique_ptr<pki::Authority> authority_;
  http::TlsFiles server_files_;
  host::Path agent_client_cert_, agent_client_key_;
};

}  // namespace keelson::master
