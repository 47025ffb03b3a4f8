#pragma once
// The agent's HTTP API: health and metrics for anybody; pods, pushed manifests, logs,
// exec, services and the node for whoever shows the token or a client certificate.
// Paths and formats are kubelet's where kubelet has them; errors are Kubernetes'
// Status objects.
//
//   GET    /healthz /readyz /metrics                    no credentials needed
//   GET    /pods [/{namespace}/{name}]                  PodList, Pod
//   POST   /pods                                        a manifest with objects of any kind
//   PUT    /{kinds}/{namespace}/{name}                  kinds: pods services endpoints
//   DELETE /{kinds}/{namespace}/{name}                         configmaps secrets
//   GET    /containerLogs/{namespace}/{pod}/{container} ?follow&tailLines&sinceSeconds&
//                                                       sinceTime&previous&timestamps&limitBytes
//   GET    /exec/{namespace}/{pod}/{container}          WebSocket v5.channel.k8s.io or v4:
//                                                       ?command=…&stdin&stdout&stderr&tty
//   GET    /services /backends /images /status          lists, as JSON
//   GET    /flows                                       the latest, as JSON lines; ?follow goes on
//   POST   /drain                                       answers when it is done
//
// Loop's thread. main owns it; the views must outlive it.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/server/views.h"
#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"
#include "host/metrics.h"
#include "http/server.h"

namespace keelson::server {

struct Options {
  std::string listen = "127.0.0.1:10250";  // address:port; [address]:port for IPv6; port 0: any
  std::string tls_cert_file, tls_private_key_file, client_ca_file;
  // Whose client certificates are let in: common names and organizations. Empty: everybody's
  // that the CA vouches for. In a cluster the CA vouches for every node and user.
  std::vector<std::string> admitted;
  host::Path token_file;            // <root-dir>/api.token
  std::string version = "unknown";  // shown by /status
};

struct Views {
  PodView& pods;
  ManifestInbox& inbox;
  ServiceView& services;
  NodeView& node;
};

class Server {
 public:
  // What create() would refuse for its options alone; for before anything else is made.
  static host::Status check(const Options& options);

  // Makes the token file when there is none, then listens. Invalid: an address that is
  // none, TLS files that cannot be used, or no TLS on an address that is not loopback.
  static host::Result<std::unique_ptr<Server>> create(host::Loop& loop, Options options, Views views,
                                                      host::Metrics& metrics);
  ~Server();

  uint16_t port() const;
  // Takes new certificate files into use; after a failure the old ones stay.
  host::Status reload_tls();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "127.0.0.1:10250", "[::1]:10250" → address and port.
host::Result<std::pair<std::string, uint16_t>> parse_listen(const std::string& text);

}  // namespace keelson::server
